//! An event type's fields as a JSON Schema, and back.
//!
//! Of a schema that somebody brings, what fields can say is understood: an object's properties, their types, descriptions,
//! enumerations, and which are required. Anything else is refused by name: a rule that is not heeded is worse than none.

use super::{EventType, Field, Kind};
use serde_json::{Map, Value, json};

/// The dialect in which schemas are written.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Why a schema is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is not an object's.
    #[error("the schema must be an object with \"type\": \"object\" and \"properties\"")]
    NotAnObject,
    /// It says something that is not understood.
    #[error(
        "{place} says {keyword:?}, which is not understood: a property has \"type\" (string, integer, number, boolean, array of \
         strings), \"enum\" of texts, \"description\", or nothing, which takes any value"
    )]
    Keyword {
        /// Where.
        place: String,
        /// What.
        keyword: String,
    },
    /// It wants a property that it does not describe.
    #[error("\"required\" names {0:?}, which is not among the properties")]
    Required(String),
}

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
    let object = schema.as_object().ok_or(SchemaError::NotAnObject)?;
    if object.get("type").is_some_and(|of| of != "object") {
        return Err(SchemaError::NotAnObject);
    }
    // A type without data has no properties.
    let none = Map::new();
    let properties = match object.get("properties") {
        Some(properties) => properties.as_object().ok_or(SchemaError::NotAnObject)?,
        None if object.get("type").is_some() => &none,
        None => return Err(SchemaError::NotAnObject),
    };
    let known = ["$schema", "$id", "title", "description", "type", "properties", "required", "additionalProperties"];
    refuse_others("the schema", object, &known)?;
    if object.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
        return Err(SchemaError::Keyword {
            place: "the schema".to_owned(),
            keyword: "additionalProperties".to_owned(),
        });
    }
    let required = object.get("required").and_then(Value::as_array);
    let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(missing) = required.iter().find(|name| !properties.contains_key(**name)) {
        return Err(SchemaError::Required((*missing).to_owned()));
    }
    let one = |(name, property): (&String, &Value)| {
        let about = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let mut field = Field::new(name, kind(name, property)?, about);
        field.required = required.contains(&name.as_str());
        Ok(field)
    };
    properties.iter().map(one).collect()
}

fn kind(name: &str, property: &Value) -> Result<Kind, SchemaError> {
    let place = || format!("property {name:?}");
    let bad = |keyword: &str| SchemaError::Keyword { place: place(), keyword: keyword.to_owned() };
    let object = match property {
        Value::Bool(true) => return Ok(Kind::Json),
        Value::Object(object) => object,
        _ => return Err(bad(&property.to_string())),
    };
    // Formats and titles are remarks: they refuse nothing.
    refuse_others(
        &place(),
        object,
        &["type", "enum", "description", "items", "title", "format", "default", "examples"],
    )?;
    // An optional field of a Rust struct is of its type or null.
    let of = match object.get("type") {
        Some(Value::Array(types)) => types.iter().find(|of| *of != "null").cloned(),
        of => of.cloned(),
    };
    let of = of.as_ref().map(|of| of.as_str().unwrap_or_default());
    match (of, object.get("enum")) {
        (None | Some("string"), Some(Value::Array(names))) => {
            let numbered = |(at, name): (usize, &Value)| Some((name.as_str()?.to_owned(), i64::try_from(at).ok()? + 1));
            let names: Vec<_> = names.iter().filter(|name| !name.is_null()).enumerate().map(numbered).collect();
            names.into_iter().collect::<Option<Vec<_>>>().map(Kind::OneOf).ok_or_else(|| bad("enum"))
        }
        (_, Some(_)) => Err(bad("enum")),
        (None, None) => Ok(Kind::Json),
        (Some("string"), None) => Ok(Kind::Text),
        (Some("integer"), None) => Ok(Kind::Integer),
        (Some("number"), None) => Ok(Kind::Number),
        (Some("boolean"), None) => Ok(Kind::Boolean),
        (Some("array"), None) if object.get("items").is_some_and(|items| items["type"] == "string") => Ok(Kind::Texts),
        // What is nested is not looked into, and said so: any value.
        (Some(_), None) => Err(bad("type")),
    }
}

fn refuse_others(place: &str, object: &Map<String, Value>, known: &[&str]) -> Result<(), SchemaError> {
    match object.keys().find(|keyword| !known.contains(&keyword.as_str())) {
        Some(keyword) => Err(SchemaError::Keyword { place: place.to_owned(), keyword: keyword.clone() }),
        None => Ok(()),
    }
}
