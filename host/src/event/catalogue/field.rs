//! What an event's fields may be.

use busway_plugin_api::options::nearest;
use serde_json::{Map, Number, Value, json};
use std::fmt;

/// What a field may be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A text; a link is one, too.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Texts.
    Texts,
    /// One of these names; each has a number by which it may be given, too.
    OneOf(Vec<(String, i64)>),
    /// Anything.
    Json,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Integer => f.write_str("a whole number"),
            Self::Number => f.write_str("a number"),
            Self::Boolean => f.write_str("true or false"),
            Self::Texts => f.write_str("a list of texts"),
            Self::OneOf(names) => {
                let names: Vec<String> = names.iter().map(|(name, number)| format!("{name} ({number})")).collect();
                write!(f, "one of {}", names.join(", "))
            }
            Self::Json => f.write_str("any value"),
        }
    }
}

/// A field of an event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it may be.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it says.
    pub about: String,
}

/// Why a field can't be that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// It is of another type.
    #[error("{field:?} is {found}, and must be {expected}")]
    WrongType {
        /// Which field.
        field: String,
        /// What it must be.
        expected: String,
        /// What was given.
        found: String,
    },
    /// It is none of its names or numbers.
    #[error("{field:?} can't be {found}: it is {expected}{}", nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    UnknownName {
        /// Which field.
        field: String,
        /// What it may be.
        expected: String,
        /// What was given.
        found: String,
        /// The name that looks most like it.
        nearest: Option<String>,
    },
    /// It must be there.
    #[error("{field:?} is missing: it is {expected}")]
    Missing {
        /// Which field.
        field: String,
        /// What it must be.
        expected: String,
    },
    /// There are no fields of these names.
    #[error("{}", unused(fields, known))]
    Unused {
        /// Each with the name that looks most like it.
        fields: Vec<(String, Option<String>)>,
        /// What there is.
        known: Vec<String>,
    },
}

fn unused(fields: &[(String, Option<String>)], known: &[String]) -> String {
    let one = |(field, nearest): &(String, Option<String>)| match nearest {
        Some(nearest) => format!("there is no field {field:?}, did you mean {nearest:?}?"),
        None => format!("there is no field {field:?}"),
    };
    let said: Vec<String> = fields.iter().map(one).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("{} (its fields are: {known})", said.join("; "))
}

impl Field {
    /// One that may be left out.
    pub(super) fn new(name: &str, kind: Kind, about: &str) -> Self {
        Self { name: name.to_owned(), kind, required: false, about: about.trim().to_owned() }
    }

    /// The value as it is kept: a number of a name becomes the name.
    ///
    /// # Errors
    ///
    /// It is nothing that this field may be.
    pub(crate) fn read(&self, value: Value) -> Result<Value, FieldError> {
        let fits = match (&self.kind, &value) {
            (Kind::Json, _) | (Kind::Text, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => true,
            (Kind::Number, Value::Number(_)) => true,
            (Kind::Integer, Value::Number(number)) => number.is_u64() || whole(number).is_some(),
            (Kind::Texts, Value::Array(all)) => all.iter().all(Value::is_string),
            (Kind::OneOf(names), given) => return self.name_of(names, given),
            _ => false,
        };
        match (fits, value) {
            // 3.0 is the whole number 3.
            (true, Value::Number(number)) if self.kind == Kind::Integer => {
                Ok(whole(&number).map_or(Value::Number(number), Value::from))
            }
            (true, value) => Ok(value),
            (false, value) => Err(FieldError::WrongType {
                field: self.name.clone(),
                expected: self.kind.to_string(),
                found: shown(&value),
            }),
        }
    }

    fn name_of(&self, names: &[(String, i64)], given: &Value) -> Result<Value, FieldError> {
        let found = match given {
            Value::String(text) => names.iter().find(|(name, _)| name == text),
            Value::Number(number) => names.iter().find(|(_, code)| number.as_i64() == Some(*code)),
            _ => {
                let (field, expected) = (self.name.clone(), self.kind.to_string());
                return Err(FieldError::WrongType { field, expected, found: shown(given) });
            }
        };
        found.map(|(name, _)| json!(name)).ok_or_else(|| {
            let upper = given.as_str().map(str::to_uppercase);
            let near =
                upper.and_then(|text| nearest(&text, names.iter().map(|(name, _)| name.as_str())).map(str::to_owned));
            FieldError::UnknownName {
                field: self.name.clone(),
                expected: self.kind.to_string(),
                found: shown(given),
                nearest: near,
            }
        })
    }
}

/// A number without a fraction, if it is one.
#[allow(clippy::cast_possible_truncation, reason = "it is one of the numbers that both types have")]
fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT).map(|n| n as i64))
}

/// A value in an error: not all of it.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Object(_) => return "an object".to_owned(),
        Value::Array(_) => return "a list".to_owned(),
        Value::Null => return "null".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Values for all these fields, as they are kept.
///
/// # Errors
///
/// The first that does not fit, or all for which there is no field.
pub(crate) fn read_all(fields: &[Field], given: Map<String, Value>) -> Result<Map<String, Value>, FieldError> {
    let unknown: Vec<&String> = given.keys().filter(|name| fields.iter().all(|field| field.name != **name)).collect();
    if !unknown.is_empty() {
        let near = |name: &String| nearest(name, fields.iter().map(|field| field.name.as_str())).map(str::to_owned);
        let fields_of = unknown.into_iter().map(|name| (name.clone(), near(name))).collect();
        let known = fields.iter().map(|field| field.name.clone()).collect();
        return Err(FieldError::Unused { fields: fields_of, known });
    }
    if let Some(field) = fields.iter().find(|field| field.required && !given.contains_key(&field.name)) {
        return Err(FieldError::Missing { field: field.name.clone(), expected: field.kind.to_string() });
    }
    let mut read = Map::new();
    for (name, value) in given {
        if let Some(field) = fields.iter().find(|field| field.name == name) {
            read.insert(name, field.read(value)?);
        }
    }
    Ok(read)
}
