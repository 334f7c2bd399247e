//! The JSON messages of the contract, typed. Host and driver share these types. Unknown keys are ignored on both sides.

use crate::abi::{Reply, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why something did not work, as it crosses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, and why.
    #[serde(default)]
    pub message: String,
    /// A short stable word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where in the driver's source: `src/lib.rs:40:9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Whether trying again may help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// Several findings at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl ErrorBody {
    /// One with a message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if i == 0 { ":" } else { ";" })?;
        }
        if let Some(place) = &self.place {
            write!(f, " (at {place})")?;
        }
        Ok(())
    }
}

/// What `attach` is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The number of this loaded copy.
    pub generation: u64,
    /// Which records cross, see [`set_log_filter`](crate::abi::Module::set_log_filter).
    #[serde(default)]
    pub log_filter: String,
}

/// What `open` is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The datasource's name.
    pub datasource: String,
    /// The number of this call, for [`cancelled`](crate::abi::Host::cancelled).
    #[serde(default)]
    pub call: u64,
    /// The number of the loaded copy that opens it.
    #[serde(default)]
    pub generation: u64,
    /// Its configuration.
    #[serde(default)]
    pub options: Map<String, Value>,
}

/// What `poll` and `request_poll` are told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PollRequest {
    /// The tables wanted; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<String>>,
    /// Whether "unchanged" won't do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}

impl PollRequest {
    /// Whether this table is wanted.
    #[must_use]
    pub fn wants(&self, table: &str) -> bool {
        self.tables.as_ref().is_none_or(|tables| tables.iter().any(|t| t == table))
    }
}

/// What `subscribed` is told: each table that has subscribers, and the topics they want (none: all).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubscribedRequest {
    /// By table.
    #[serde(default)]
    pub tables: std::collections::BTreeMap<String, Option<Vec<String>>>,
}

/// What `execute` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecuteRequest {
    /// The action's name.
    pub action: String,
    /// Arguments by position.
    #[serde(default)]
    pub positional: Vec<Value>,
    /// Arguments by name.
    #[serde(default)]
    pub named: Map<String, Value>,
    /// The same for each try of one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What every call of a source is told, besides its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallHead {
    /// The number of the call within the source; 0 stands for none.
    #[serde(default)]
    pub call: u64,
    /// After how many milliseconds the host gives up waiting; 0: it did not say.
    #[serde(default)]
    pub deadline_ms: u64,
}

/// A request with its head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Headed<T> {
    /// What every call is told.
    #[serde(flatten)]
    pub head: CallHead,
    /// What this one is told.
    #[serde(flatten)]
    pub body: T,
}

/// What `cancel` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// The calls to end; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<u64>>,
}

/// What `set_log_filter` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogFilterRequest {
    /// A default level and `target=level` pairs, separated by commas.
    #[serde(default)]
    pub filter: String,
}

/// What the host's `status` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusRequest {
    /// What the source is doing or waiting for; empty clears it.
    #[serde(default)]
    pub text: String,
}

/// What `self_test` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfTestRequest {
    /// Panic inside the driver.
    #[serde(default)]
    pub panic: bool,
}

/// What the operation `webhook` of a source's `control` is told; it answers the names of the tables that it updated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WebhookRequest {
    /// The table that the sender named, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What was sent, as it came.
    #[serde(default)]
    pub payload: Value,
}

/// A source's state, as `export_state` answers it and `import_state` takes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StateBody {
    /// The version of its form.
    pub version: u32,
    /// The state itself.
    #[serde(default)]
    pub state: Value,
}

/// What the host's `call` is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRequest {
    /// A service's name.
    pub service: String,
    /// One of its methods.
    pub method: String,
    /// The method's arguments.
    #[serde(default)]
    pub args: Value,
    /// How long to wait, in milliseconds.
    pub deadline_ms: u64,
}

/// What the host's `emit` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventBody {
    /// Where it is told; empty: where its type and origin say. Nothing else will do.
    #[serde(default)]
    pub topic: String,
    /// What kind of thing happened: the name of an event type, or its number.
    #[serde(rename = "type")]
    pub kind: String,
    /// To what it happened; empty: to the datasource itself.
    #[serde(default)]
    pub origin: String,
    /// More about it: an object with the type's fields, and with those that all events have; or null.
    #[serde(default)]
    pub body: Value,
}

/// What the host's `log` is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The module path, unless the driver chose another.
    pub target: String,
    /// The text.
    #[serde(default)]
    pub message: String,
    /// Everything else the event carried.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// The names of the spans it happened in, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<String>,
    /// The source file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// A table update's header.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateHeader {
    /// The table's name.
    pub table: String,
    /// `snapshot`, `unchanged`, `gone`, `error`, `published` or `delta`.
    pub kind: String,
    /// The key columns; none: a set of rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The column by which subscribers may choose rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// One line for consumers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Of kind `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// The JSON of a message. These types hold nothing that JSON can't say, so it never fails; were it to, `null` is sent.
pub fn encode<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_else(|_| "null".to_owned())
}

/// Reads a message; an empty text stands for `null`.
///
/// # Errors
///
/// When the text is no JSON of that shape: what was found, and where.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, ErrorBody> {
    let text = if text.is_empty() { "null" } else { text };
    serde_json::from_str(text).map_err(|e| ErrorBody::new(format!("not the JSON that was expected: {e}")))
}

/// The reply of an error.
#[must_use]
pub fn failure(status: Status, error: &ErrorBody) -> Reply {
    Reply { status, body: encode(error).into() }
}

/// The reply of a result; `null` crosses as an empty body.
pub fn success<T: Serialize>(value: &T) -> Reply {
    let body = encode(value);
    if body == "null" { Reply::ok() } else { Reply { status: Status::OK, body: body.into() } }
}
