//! What a service says of itself, in the predecessor's five keys (`DataServiceInfo`).

use serde::Serialize;
use serde_json::Value;

/// A service's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceInfo {
    /// Its name.
    pub service_id: String,
    /// The node it runs on.
    pub node_id: String,
    /// The tables it publishes.
    pub published_tables: Vec<String>,
    /// The tables it subscribes to: publisher and table.
    pub subscribed_tables: Vec<(String, String)>,
    /// The methods it answers.
    pub rpc_endpoints_info: Vec<String>,
}

/// Why a JSON value is no description. All that is wrong at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadServiceInfo {
    /// It has other keys.
    #[error("cannot construct a service's info from the input: missing keys: {missing:?}, unknown keys: {unknown:?}")]
    Keys {
        /// Those that are not there.
        missing: Vec<String>,
        /// Those that should not be.
        unknown: Vec<String>,
    },
    /// It is no object.
    #[error("cannot construct a service's info from the input: it is {0}, not an object")]
    NoObject(&'static str),
    /// Keys hold something else than they should.
    #[error("cannot construct a service's info from the input: {}", .0.join("; "))]
    Values(Vec<String>),
}

const KEYS: [&str; 5] = ["service_id", "node_id", "published_tables", "subscribed_tables", "rpc_endpoints_info"];

impl ServiceInfo {
    /// Reads what [`Serialize`] writes, and what the predecessor wrote: there a subscribed table may be a bare name.
    ///
    /// # Errors
    ///
    /// All that is wrong at once.
    pub fn from_json(value: &Value) -> Result<Self, BadServiceInfo> {
        let Value::Object(object) = value else { return Err(BadServiceInfo::NoObject(kind(value))) };
        let missing: Vec<String> = KEYS.iter().filter(|k| !object.contains_key(**k)).map(ToString::to_string).collect();
        let unknown: Vec<String> = object.keys().filter(|k| !KEYS.contains(&k.as_str())).cloned().collect();
        if !missing.is_empty() || !unknown.is_empty() {
            return Err(BadServiceInfo::Keys { missing, unknown });
        }
        let mut wrong = Vec::new();
        let mut text = |key: &str| match &object[key] {
            Value::String(text) => text.clone(),
            other => {
                wrong.push(format!("{key} is {}, not text", kind(other)));
                String::new()
            }
        };
        let (service_id, node_id) = (text("service_id"), text("node_id"));
        let mut list = |key: &str| -> Vec<Value> {
            match &object[key] {
                Value::Array(items) => items.clone(),
                Value::Null => Vec::new(),
                other => {
                    wrong.push(format!("{key} is {}, not a list", kind(other)));
                    Vec::new()
                }
            }
        };
        let lists = [list("published_tables"), list("subscribed_tables"), list("rpc_endpoints_info")];
        let [published, subscribed, methods] = lists;
        let mut names = |key: &str, items: Vec<Value>| -> Vec<String> {
            let one = |item: Value| match item {
                Value::String(text) => Some(text),
                // The predecessor's endpoints may be objects with a name.
                Value::Object(of) => of.get("name").and_then(Value::as_str).map(str::to_owned),
                _ => None,
            };
            let all: Vec<Option<String>> = items.into_iter().map(one).collect();
            if all.iter().any(Option::is_none) {
                wrong.push(format!("{key} holds something else than names"));
            }
            all.into_iter().flatten().collect()
        };
        let published_tables = names("published_tables", published);
        let rpc_endpoints_info = names("rpc_endpoints_info", methods);
        let pair = |item: Value| match item {
            Value::String(table) => Some((String::new(), table)),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(service), Value::String(table)] => Some((service.clone(), table.clone())),
                _ => None,
            },
            _ => None,
        };
        let pairs: Vec<Option<(String, String)>> = subscribed.into_iter().map(pair).collect();
        if pairs.iter().any(Option::is_none) {
            wrong.push("subscribed_tables holds something else than [publisher, table]".to_owned());
        }
        if !wrong.is_empty() {
            return Err(BadServiceInfo::Values(wrong));
        }
        let subscribed_tables = pairs.into_iter().flatten().collect();
        Ok(Self { service_id, node_id, published_tables, subscribed_tables, rpc_endpoints_info })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let info = ServiceInfo {
            service_id: "web".to_owned(),
            node_id: "n1".to_owned(),
            published_tables: vec!["pages".to_owned()],
            subscribed_tables: vec![("files".to_owned(), "orders".to_owned())],
            rpc_endpoints_info: vec!["ping".to_owned()],
        };
        let value = serde_json::to_value(&info).unwrap();
        assert_eq!(
            value,
            json!({"service_id": "web", "node_id": "n1", "published_tables": ["pages"],
                "subscribed_tables": [["files", "orders"]], "rpc_endpoints_info": ["ping"]})
        );
        assert_eq!(ServiceInfo::from_json(&value), Ok(info));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let why = |value: Value| ServiceInfo::from_json(&value).unwrap_err().to_string();
        assert_eq!(
            why(json!({"service_id": "a", "colour": 1, "node_id": "b", "size": 2, "published_tables": []})),
            "cannot construct a service's info from the input: missing keys: [\"subscribed_tables\", \
             \"rpc_endpoints_info\"], unknown keys: [\"colour\", \"size\"]"
        );
        assert_eq!(
            why(json!({"service_id": 1, "node_id": "b", "published_tables": 3, "subscribed_tables": [[1]],
                "rpc_endpoints_info": [4]})),
            "cannot construct a service's info from the input: service_id is a number, not text; published_tables is a \
             number, not a list; rpc_endpoints_info holds something else than names; subscribed_tables holds something \
             else than [publisher, table]"
        );
        assert_eq!(why(json!([])), "cannot construct a service's info from the input: it is a list, not an object");
    }
}
