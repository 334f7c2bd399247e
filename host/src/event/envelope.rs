//! What all events say, and how it is written for others: CloudEvents 1.0.2 in its JSON format.
//!
//! The predecessor's message 2322 is the envelope. Its fields `datetime` and `origin` are the CloudEvents attributes `time`
//! and `subject`; the others are extensions, whose names have no room for underscores.

use super::catalogue::{EventType, Field, FieldError, Kind};
use super::topic::{BadOrigin, Words};
use busway_plugin_api::options::nearest;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The largest event, in bytes of JSON.
pub const MAX_EVENT: usize = 256 * 1024;

/// How deep an event's data may be nested.
pub const MAX_DEPTH: usize = 32;

/// What an event is doing to what it happened to; the predecessor's enumeration.
const STATUS: [(&str, i64); 4] = [("IN_PROGRESS", 1), ("CACHED", 2), ("ERROR", 3), ("NO_CACHE", 4)];

/// The predecessor's fields of all events, each with the CloudEvents attribute that carries it.
const COMMON: [(&str, &str); 9] = [
    ("data_resource_id", "dataresourceid"),
    ("name", "resourcename"),
    ("status", "eventstatus"),
    ("description", "description"),
    ("datetime", "time"),
    ("origin", "subject"),
    ("body", "body"),
    ("user_id", "userid"),
    ("sender", "sender"),
];

/// CloudEvents' own attributes.
const ATTRIBUTES: [&str; 10] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"];

/// The CloudEvents attribute that carries a field which all events have, if it is one.
pub(super) fn attribute_of(field: &str) -> Option<&'static str> {
    COMMON.iter().find(|(name, _)| *name == field).map(|(_, attribute)| *attribute)
}

/// Whether all events have a field of that name.
pub(super) fn is_common(field: &str) -> bool {
    attribute_of(field).is_some()
}

/// What an event says besides its envelope.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// Anything else that is text, with what it is.
    Text(String),
    /// Anything else, in base64.
    Binary(String),
}

/// Where an event was published: the extensions `buswaybus` and `buswaynode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What sets the system apart.
    pub bus_id: String,
    /// The host's name.
    pub node: String,
}

/// What a CloudEvent says of its origin. What comes from another system is given to others as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Subject {
    /// The origin, as all events say that are published here.
    #[default]
    Origin,
    /// Something that can't stand in a topic so.
    Other(Arc<str>),
    /// Nothing, or a word that means nothing: its origin is who said it.
    Unsaid(Option<Arc<str>>),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Unique among those of its source.
    pub id: String,
    /// Who said it: `/BUS/NODE`, or what a foreign system calls itself.
    pub source: Arc<str>,
    /// Its type's name.
    pub kind: Arc<str>,
    /// Its type, if it is known here.
    pub of: Option<Arc<EventType>>,
    /// To what it happened, as it stands in its topic.
    pub origin: Arc<str>,
    /// What its CloudEvent says of that.
    pub subject: Subject,
    /// When.
    pub time: Timestamp,
    /// Where it was published; none: it came from elsewhere, and says so itself if it does.
    pub home: Option<Arc<Home>>,
    /// Everything else outside its data, by its CloudEvents name.
    pub extensions: Map<String, Value>,
    /// The media type of the data; none: JSON.
    pub content_type: Option<String>,
    /// Where the data's schema is.
    pub schema: Option<String>,
    /// What it says.
    pub data: Data,
    /// The words under which it was told: its type may be of another base later.
    pub(super) words: Arc<Words>,
}

/// Why a text or a document is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// There is no such type.
    #[error(
        "there is no event type {name:?}{}: busway event types lists them", nearest.as_ref().map(|near| format!(", did you mean {near:?}?"))
        .unwrap_or_default()
    )]
    NoType {
        /// Its name.
        name: String,
        /// What looks most like it.
        nearest: Option<String>,
    },
    /// Several types have the number.
    #[error("{id} is the number of several event types: say which of {}", names.join(", "))]
    Ambiguous {
        /// The number.
        id: u32,
        /// Their names.
        names: Vec<String>,
    },
    /// It can't be published.
    #[error("event type {name:?} can't be published: {why}")]
    NotPublished {
        /// Its name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A field is not what its type says.
    #[error("event type {name:?}: {error}")]
    Field {
        /// The type.
        name: String,
        /// What is wrong.
        error: FieldError,
    },
    /// A field stands twice.
    #[error("{0:?} is given in both the envelope and the data: give it in the envelope, where all events have it")]
    Both(String),
    /// It says that it is of this host, and is not.
    #[error(
        "{attribute:?} is {value:?}, and that is this host itself: say who you are, or leave that to the host with \
         {{\"type\": …, \"origin\": …, \"data\": {{…}}}}"
    )]
    NotTheHost {
        /// The attribute that says so.
        attribute: &'static str,
        /// What it says.
        value: String,
    },
    /// It is of another system.
    #[error(
        "\"buswaybus\" is {bus:?}, and this is bus {own:?}: what happens there is told there; leave it out of what is of no bus"
    )]
    OtherBus {
        /// The one that it says.
        bus: String,
        /// This one.
        own: String,
    },
    /// Its origin can't be one.
    #[error(transparent)]
    Origin(#[from] BadOrigin),
    /// It is no CloudEvent.
    #[error("it is no CloudEvent: {0}")]
    Malformed(String),
    /// It is too large.
    #[error("the event has {bytes} bytes, and may have {MAX_EVENT}: send where the rest is to be had")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It is nested too deep.
    #[error("the event's data is nested deeper than {MAX_DEPTH} levels: say it flatter, or as text")]
    TooDeep,
}

/// The value of one of the predecessor's fields of all events, as it is kept.
pub(super) fn common(field: &str, value: Value) -> Result<Value, FieldError> {
    let kind = match field {
        "status" => Kind::OneOf(STATUS.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()),
        // Seconds since 1970, as the predecessor's; or as everybody writes times.
        "datetime" if value.is_number() => Kind::Number,
        _ => Kind::Text,
    };
    let of = Field { name: field.to_owned(), kind, required: false, about: String::new() };
    of.read(value)
}

/// RFC 3339, and so CloudEvents, has no way to write a year before this.
const FIRST: Timestamp = Timestamp::constant(-62_167_219_200, 0);

/// The years that can be written.
const YEARS: &str = "the years 0000 to 9999";

/// A time as it is written in an event.
pub(super) fn time(value: &Value) -> Result<Timestamp, FieldError> {
    let wrong = || FieldError::WrongType {
        field: "datetime".to_owned(),
        expected: "a time, such as 2026-01-31T12:00:00Z, or seconds since 1970".to_owned(),
        found: value.to_string(),
    };
    let beyond = || FieldError::WrongType {
        field: "datetime".to_owned(),
        expected: format!("a time of {YEARS}"),
        found: value.to_string(),
    };
    let time: Timestamp = match value {
        Value::String(text) => text.parse().map_err(|_| wrong())?,
        Value::Number(number) => {
            let seconds = number.as_f64().and_then(|s| jiff::SignedDuration::try_from_secs_f64(s).ok());
            seconds.and_then(|since| Timestamp::from_duration(since).ok()).ok_or_else(beyond)?
        }
        _ => return Err(wrong()),
    };
    if time < FIRST { Err(beyond()) } else { Ok(time) }
}

impl Event {
    /// As a CloudEvent in JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("specversion".to_owned(), json!("1.0"));
        all.insert("id".to_owned(), json!(self.id));
        all.insert("source".to_owned(), json!(&*self.source));
        all.insert("type".to_owned(), json!(&*self.kind));
        if let Some(subject) = self.subject() {
            all.insert("subject".to_owned(), json!(subject));
        }
        all.insert("time".to_owned(), json!(self.time.to_string()));
        if let Some(schema) = &self.schema {
            all.insert("dataschema".to_owned(), json!(schema));
        }
        all.extend(self.extensions.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(home) = &self.home {
            all.insert("buswaybus".to_owned(), json!(home.bus_id));
            all.insert("buswaynode".to_owned(), json!(home.node));
        }
        match (&self.data, &self.content_type) {
            (Data::None, _) => {}
            (Data::Json(data), None) => {
                all.insert("datacontenttype".to_owned(), json!("application/json"));
                all.insert("data".to_owned(), data.clone());
            }
            (data, content_type) => {
                all.insert("datacontenttype".to_owned(), json!(content_type));
                match data {
                    Data::Json(data) => all.insert("data".to_owned(), data.clone()),
                    Data::Text(text) => all.insert("data".to_owned(), json!(text)),
                    Data::Binary(text) => all.insert("data_base64".to_owned(), json!(text)),
                    Data::None => None,
                };
            }
        }
        Value::Object(all)
    }

    fn subject(&self) -> Option<&str> {
        match &self.subject {
            Subject::Origin => Some(&self.origin),
            Subject::Other(subject) => Some(subject),
            Subject::Unsaid(said) => said.as_deref(),
        }
    }

    /// Its origin as it came.
    fn said_origin(&self) -> &str {
        match &self.subject {
            Subject::Origin => &self.origin,
            Subject::Other(subject) => subject,
            Subject::Unsaid(_) => &self.source,
        }
    }

    /// A field of the data as text; empty: it has none of that name.
    #[must_use]
    pub fn data_text(&self, name: &str) -> String {
        match &self.data {
            Data::Json(data) => match data.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            },
            _ => String::new(),
        }
    }

    /// A field, by the names by which filters have it: an attribute, one of the predecessor's fields, else one of the data.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        let attribute = attribute_of(name).unwrap_or(name);
        match attribute {
            "id" => Some(json!(self.id)),
            "source" => Some(json!(&*self.source)),
            "type" => Some(json!(&*self.kind)),
            "subject" if is_common(name) => Some(json!(self.said_origin())),
            "subject" => self.subject().map(Value::from),
            "buswaybus" if self.home.is_some() => self.home.as_ref().map(|home| json!(home.bus_id)),
            "buswaynode" if self.home.is_some() => self.home.as_ref().map(|home| json!(home.node)),
            "time" if is_common(name) => Some(json!(self.time.to_string())),
            _ => match (&self.data, self.extensions.get(attribute)) {
                (_, Some(value)) => Some(value.clone()),
                (Data::Json(data), None) => {
                    let within = name.strip_prefix("data.").unwrap_or(name);
                    data.get(within).cloned()
                }
                _ => None,
            },
        }
    }
}

/// The same of an event that was written already.
pub(super) fn field_of(event: &Value, name: &str) -> Option<Value> {
    let attribute = attribute_of(name).unwrap_or(name);
    let is_outside = match attribute {
        "data" | "data_base64" | "specversion" | "datacontenttype" | "dataschema" => false,
        "time" => is_common(name),
        _ => true,
    };
    let within = || event.get("data")?.get(name.strip_prefix("data.").unwrap_or(name));
    event.get(attribute).filter(|_| is_outside).or_else(within).cloned()
}

/// A CloudEvent as it came: its parts, before anything is known of its type.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) kind: String,
    pub(super) subject: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) content_type: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) extensions: Map<String, Value>,
    pub(super) data: Data,
}

/// Takes a CloudEvent in JSON to pieces.
pub(super) fn parse(value: Value) -> Result<Parts, EventError> {
    let bad = |why: String| EventError::Malformed(why);
    let Value::Object(mut all) = value else { return Err(bad("it is not an object".to_owned())) };
    let mut text = |name: &str, required: bool| match all.remove(name) {
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            Err(bad(format!("{name:?} has control characters")))
        }
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        None | Some(Value::Null) if !required => Ok(None),
        None => {
            let near = nearest(name, all.keys().map(String::as_str)).map(|near| format!(", {near:?} is there"));
            Err(bad(format!("{name:?} is missing{}", near.unwrap_or_default())))
        }
        Some(_) => Err(bad(format!("{name:?} must be a text that is not empty"))),
    };
    let version = text("specversion", true)?.unwrap_or_default();
    if version != "1.0" {
        return Err(bad(format!("its \"specversion\" is {version:?}, and must be \"1.0\"")));
    }
    let (id, source) = (text("id", true)?.unwrap_or_default(), text("source", true)?.unwrap_or_default());
    let kind = text("type", true)?.unwrap_or_default();
    let subject = text("subject", false)?;
    let time = text("time", false)?;
    let time = time.map(|text| match text.parse::<Timestamp>() {
        Ok(time) if time < FIRST => Err(bad(format!("\"time\" is {text:?}: it is to be of {YEARS}"))),
        Ok(time) => Ok(time),
        Err(_) => Err(bad(format!("\"time\" is {text:?}: write 2026-01-31T12:00:00Z"))),
    });
    let (content_type, schema) = (text("datacontenttype", false)?, text("dataschema", false)?);
    let data = data(all.remove("data"), all.remove("data_base64"), content_type.as_deref())?;
    // JSON is what it is unless said otherwise.
    let content_type = content_type.filter(|_| !matches!(data, Data::None)).filter(|of| of != "application/json");
    let mut extensions = Map::new();
    for (name, value) in all {
        let fits = (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !fits {
            let near = nearest(&name, ATTRIBUTES.into_iter());
            let hint = near.map(|near| format!(", did you mean {near:?}?")).unwrap_or_default();
            return Err(bad(format!(
                "{name:?} can't be an attribute{hint}: extensions have 1 to 20 small letters and digits"
            )));
        }
        match extension(value) {
            Ok(Some(value)) => drop(extensions.insert(name, value)),
            Ok(None) => {}
            Err(()) => return Err(bad(format!("attribute {name:?} must be a text, a number or true or false"))),
        }
    }
    Ok(Parts { id, source, kind, subject, time: time.transpose()?, content_type, schema, extensions, data })
}

/// CloudEvents' integers have 32 bits: larger numbers, and those with a fraction, are texts.
fn extension(value: Value) -> Result<Option<Value>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) if number.as_i64().is_none_or(|n| i32::try_from(n).is_err()) => {
            Ok(Some(json!(number.to_string())))
        }
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Ok(Some(value)),
        Value::Array(_) | Value::Object(_) => Err(()),
    }
}

fn data(plain: Option<Value>, base64: Option<Value>, content_type: Option<&str>) -> Result<Data, EventError> {
    use base64::Engine as _;
    let is_json = content_type.is_none_or(|of| {
        let of = of.split(';').next().unwrap_or(of).trim().to_ascii_lowercase();
        of.ends_with("/json") || of.ends_with("+json")
    });
    match (plain, base64) {
        (Some(_), Some(_)) => Err(EventError::Malformed("it has both \"data\" and \"data_base64\"".to_owned())),
        (None, None) => Ok(Data::None),
        (Some(value), None) if is_json => {
            if depth(&value) > MAX_DEPTH {
                Err(EventError::TooDeep)
            } else {
                Ok(Data::Json(value))
            }
        }
        (Some(Value::String(text)), None) => Ok(Data::Text(text)),
        (Some(_), None) => {
            Err(EventError::Malformed("its \"data\" is JSON, and \"datacontenttype\" is not".to_owned()))
        }
        (None, Some(Value::String(text))) => match base64::engine::general_purpose::STANDARD.decode(&text) {
            Ok(_) => Ok(Data::Binary(text)),
            Err(error) => Err(EventError::Malformed(format!("\"data_base64\" is no base64: {error}"))),
        },
        (None, Some(_)) => Err(EventError::Malformed("\"data_base64\" must be a text".to_owned())),
    }
}

/// How deep a value is nested.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(all) => 1 + all.iter().map(depth).max().unwrap_or_default(),
        Value::Object(all) => 1 + all.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
