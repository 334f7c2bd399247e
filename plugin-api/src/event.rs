//! Types of events that a driver brings, and what of their JSON Schemas is understood.

use crate::message::EventBody;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;

/// The longest name of a type, in bytes.
const MAX_NAME: usize = 100;

/// A type of events that a driver brings: what it is called, and what it says.
///
/// ```
/// use busway_plugin_api::prelude::*;
///
/// #[derive(Serialize, JsonSchema)]
/// struct Opened {
///     /// Who opened it.
///     badge: String,
///     /// How wide, in degrees.
///     angle: Option<u32>,
/// }
///
/// let opened = EventTypeInfo::of::<Opened>("com.example.door.opened", "A door was opened").origin("the door");
/// assert_eq!(opened.problems(), Vec::<String>::new());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventTypeInfo {
    /// Words of letters, digits, `-` and `_`, with dots between; one's own domain first keeps it apart from others'.
    pub name: String,
    /// A number by which it may be subscribed to as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The type that it is of: who subscribes to that gets this, too. None: of no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// One line for consumers: what it means that it happened.
    #[serde(default)]
    pub about: String,
    /// What its origin is.
    #[serde(default)]
    pub origin: String,
    /// The JSON Schema of its body: an object's.
    #[serde(default)]
    pub schema: Value,
}

impl EventTypeInfo {
    /// A type without a body.
    pub fn new(name: impl Into<String>, about: impl Into<String>) -> Self {
        let schema = json!({"type": "object", "properties": {}});
        Self { name: name.into(), about: about.into(), schema, ..Self::default() }
    }

    /// A type whose body is a struct: doc comments say what its fields are.
    #[must_use]
    pub fn of<T: JsonSchema>(name: impl Into<String>, about: impl Into<String>) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        for property in schema["properties"].as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(property) = property.as_object_mut() {
                // Those of an integer's type in Rust, which the driver can't but keep.
                property.remove("minimum");
                property.remove("maximum");
            }
        }
        Self { schema, ..Self::new(name, about) }
    }

    /// Says what its origin is.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = origin.into();
        self
    }

    /// Makes it one of another type.
    #[must_use]
    pub fn base(mut self, base: impl Into<String>) -> Self {
        self.base = Some(base.into());
        self
    }

    /// Gives it a number.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.id = Some(id);
        self
    }

    /// What is wrong with it; empty when a host can take it.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !is_event_type_name(&self.name) {
            found.push(format!(
                "event type {:?} has no name for one: 1 to {MAX_NAME} letters, digits, '-', '_', in words with '.' or '/' \
                 between, and no number",
                self.name
            ));
        }
        if let Err(error) = properties_of(&self.schema) {
            found.push(format!("event type {:?}: {error}", self.name));
        }
        found
    }
}

impl EventBody {
    /// Something that happened to the datasource itself, with nothing more to say.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// To what it happened, if not to the datasource itself.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = origin.into();
        self
    }

    /// More about it: an object with the type's fields, and with those that all events have, as `description`.
    #[must_use]
    pub fn body(mut self, body: impl Serialize) -> Self {
        // What is no JSON is nothing, and refused by a type that wants something.
        self.body = serde_json::to_value(body).unwrap_or_default();
        self
    }
}

/// Whether a text can be the name of an event type.
#[must_use]
pub fn is_event_type_name(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= MAX_NAME && name.split(['.', '/']).all(is_word) && name.parse::<u64>().is_err()
}

/// What a property may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyKind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Texts.
    Texts,
    /// One of these texts.
    OneOf(Vec<String>),
    /// Anything.
    Any,
}

/// A property that a schema describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What it may be.
    pub kind: PropertyKind,
    /// Whether it must be there.
    pub required: bool,
    /// What it says.
    pub about: String,
}

/// Why a schema is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is not an object's.
    NotAnObject,
    /// It says something that is not understood.
    Keyword {
        /// Where.
        place: String,
        /// What.
        keyword: String,
    },
    /// It wants a property that it does not describe.
    Required(String),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => {
                f.write_str("the schema must be an object with \"type\": \"object\" and \"properties\"")
            }
            Self::Keyword { place, keyword } => write!(
                f,
                "{place} says {keyword:?}, which is not understood: a property has \"type\" (string, integer, number, \
                 boolean, array of strings), \"enum\" of texts, \"description\", or nothing, which takes any value"
            ),
            Self::Required(name) => write!(f, "\"required\" names {name:?}, which is not among the properties"),
        }
    }
}

impl std::error::Error for SchemaError {}

/// The properties that a schema describes. What they can say is understood: their types, descriptions, enumerations, and
/// which are required. Anything else is refused by name: a rule that is not heeded is worse than none.
///
/// # Errors
///
/// What of it is not understood.
pub fn properties_of(schema: &Value) -> Result<Vec<Property>, SchemaError> {
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
        let about = property.get("description").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let required = required.contains(&name.as_str());
        Ok(Property { name: name.clone(), kind: kind(name, property)?, required, about })
    };
    properties.iter().map(one).collect()
}

fn kind(name: &str, property: &Value) -> Result<PropertyKind, SchemaError> {
    let place = || format!("property {name:?}");
    let bad = |keyword: &str| SchemaError::Keyword { place: place(), keyword: keyword.to_owned() };
    let object = match property {
        Value::Bool(true) => return Ok(PropertyKind::Any),
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
            let names = names.iter().filter(|name| !name.is_null()).map(|name| name.as_str().map(str::to_owned));
            names.collect::<Option<Vec<_>>>().map(PropertyKind::OneOf).ok_or_else(|| bad("enum"))
        }
        (_, Some(_)) => Err(bad("enum")),
        (None, None) => Ok(PropertyKind::Any),
        (Some("string"), None) => Ok(PropertyKind::Text),
        (Some("integer"), None) => Ok(PropertyKind::Integer),
        (Some("number"), None) => Ok(PropertyKind::Number),
        (Some("boolean"), None) => Ok(PropertyKind::Boolean),
        (Some("array"), None) if object.get("items").is_some_and(|items| items["type"] == "string") => {
            Ok(PropertyKind::Texts)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "its schema is looked at")]
    struct Opened {
        /// Who opened it.
        badge: String,
        angle: Option<u32>,
        tags: Vec<String>,
        side: Side,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "its schema is looked at")]
    enum Side {
        In,
        Out,
    }

    #[test]
    fn a_struct_says_what_its_events_say() {
        let opened = EventTypeInfo::of::<Opened>("com.example.opened", "A door was opened");
        let properties = properties_of(&opened.schema).unwrap_or_else(|error| panic!("{error}"));
        let shown: Vec<_> =
            properties.iter().map(|p| (p.name.as_str(), &p.kind, p.required, p.about.as_str())).collect();
        let side = PropertyKind::OneOf(vec!["In".to_owned(), "Out".to_owned()]);
        let expected = [
            ("badge", &PropertyKind::Text, true, "Who opened it."),
            ("angle", &PropertyKind::Integer, false, ""),
            ("tags", &PropertyKind::Texts, true, ""),
            ("side", &side, true, ""),
        ];
        for one in expected {
            assert!(shown.contains(&one), "{one:?} in {shown:?}");
        }
        assert_eq!(opened.problems(), Vec::<String>::new());
    }

    #[test]
    fn what_a_host_could_not_take_is_named() {
        let one =
            EventTypeInfo { name: "a b".to_owned(), schema: json!({"type": "array"}), ..EventTypeInfo::default() };
        assert_eq!(
            one.problems(),
            [
                "event type \"a b\" has no name for one: 1 to 100 letters, digits, '-', '_', in words with '.' or '/' \
                 between, and no number",
                "event type \"a b\": the schema must be an object with \"type\": \"object\" and \"properties\"",
            ]
        );
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}});
        let one = EventTypeInfo { schema, ..EventTypeInfo::new("acme.n", "") };
        assert_eq!(
            one.problems(),
            [
                "event type \"acme.n\": property \"n\" says \"minimum\", which is not understood: a property has \"type\" \
                 (string, integer, number, boolean, array of strings), \"enum\" of texts, \"description\", or nothing, \
                 which takes any value"
            ]
        );
    }
}
