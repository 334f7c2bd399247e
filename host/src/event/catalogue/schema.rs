//! An event type's fields as a JSON Schema, and back.
//!
//! Of a schema that somebody brings, what fields can say is understood: an object's properties, their types, descriptions,
//! enumerations, and which are required. Anything else is refused by name: a rule that is not heeded is worse than none.

use super::{EventType, Field, Kind};
pub use busway_plugin_api::event::SchemaError;
use busway_plugin_api::event::{Property, PropertyKind, properties_of};
use serde_json::{Map, Value, json};

/// The dialect in which schemas are written.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of an event's `data`.
#[must_use]
pub fn schema_of(one: &EventType) -> Value {
    let properties: Map<String, Value> = one.fields.iter().map(|field| (field.name.clone(), property(field))).collect();
    let required: Vec<&str> = one.fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
    let mut schema = json!({
        "$schema": DIALECT, "$id": format!("urn:busway:event:{}", one.name), "title": &*one.name, "description": one.about,
        "type": "object", "properties": properties, "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(field: &Field) -> Value {
    let mut property = match &field.kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Integer => json!({"type": "integer"}),
        Kind::Number => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::OneOf(names) => json!({"type": "string", "enum": names.iter().map(|(name, _)| name).collect::<Vec<_>>()}),
        Kind::Json => json!({}),
    };
    if !field.about.is_empty() {
        property["description"] = json!(field.about);
    }
    property
}

/// The fields that a schema describes. Names of an enumeration get the numbers 1, 2, 3…
///
/// # Errors
///
/// What of it is not understood.
pub fn fields_of(schema: &Value) -> Result<Vec<Field>, SchemaError> {
    let field = |property: Property| {
        let kind = match property.kind {
            PropertyKind::Text => Kind::Text,
            PropertyKind::Integer => Kind::Integer,
            PropertyKind::Number => Kind::Number,
            PropertyKind::Boolean => Kind::Boolean,
            PropertyKind::Texts => Kind::Texts,
            PropertyKind::OneOf(names) => Kind::OneOf(names.into_iter().zip(1..).collect()),
            PropertyKind::Any => Kind::Json,
        };
        Field { required: property.required, ..Field::new(&property.name, kind, &property.about) }
    };
    Ok(properties_of(schema)?.into_iter().map(field).collect())
}
