//! Which of the events that a subscriber gets it wants, by their fields.

use super::envelope::{Event, field_of};
use serde_json::Value;

/// What a field must be.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Test {
    /// This.
    Is(Value),
    /// A text that begins so.
    Begins(String),
    /// One of these.
    In(Vec<Value>),
}

/// A field, and what it must be. The field is one of those that all events have, an attribute of CloudEvents, or one of the
/// data; `data.NAME` is the data's in any case.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    field: String,
    test: Test,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no filter: write FIELD=VALUE, FIELD^=START, or FIELD=A|B for one of several")]
pub struct BadFilter(pub String);

impl Filter {
    /// Events whose field is that. One without the field is not.
    #[must_use]
    pub fn new(field: &str, test: Test) -> Self {
        Self { field: field.to_owned(), test }
    }

    /// Whether it is wanted. Of a list one of its values is enough.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.passes(event.field(&self.field))
    }

    /// The same of an event that was written already.
    pub(super) fn wants_json(&self, event: &Value) -> bool {
        self.passes(field_of(event, &self.field))
    }

    fn passes(&self, value: Option<Value>) -> bool {
        let passes = |value: &Value| match &self.test {
            Test::Is(wanted) => same(value, wanted),
            Test::Begins(start) => value.as_str().is_some_and(|text| text.starts_with(start)),
            Test::In(wanted) => wanted.iter().any(|wanted| same(value, wanted)),
        };
        match value {
            None => false,
            Some(Value::Array(all)) => all.iter().any(passes) || passes(&Value::Array(all)),
            Some(value) => passes(&value),
        }
    }
}

/// `5` and `"5"` are the same to who writes a filter in an address line; `5` and `5.0` to anybody.
fn same(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Number(number), Value::String(text)) => {
            number.to_string() == *text || text.parse().is_ok_and(|wanted: f64| number.as_f64() == Some(wanted))
        }
        (Value::Bool(is), Value::String(text)) => text.parse() == Ok(*is),
        _ => value == wanted,
    }
}

impl std::str::FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = || BadFilter(text.to_owned());
        let (field, value) = text.split_once('=').ok_or_else(bad)?;
        let (field, begins) = field.strip_suffix('^').map_or((field, false), |field| (field, true));
        if field.is_empty() || field.contains(char::is_whitespace) {
            return Err(bad());
        }
        let test = match (begins, value.contains('|')) {
            (true, _) => Test::Begins(value.to_owned()),
            (false, true) => Test::In(value.split('|').map(Value::from).collect()),
            (false, false) => Test::Is(Value::from(value)),
        };
        Ok(Self::new(field, test))
    }
}
