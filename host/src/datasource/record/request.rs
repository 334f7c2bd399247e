//! What a client says to create or change a datasource.

use crate::config::{Datasource, read_duration};
use crate::datasource::refusal::Refusal;
use crate::datasource::secret::HIDDEN;
use busway_plugin_api::options::nearest;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// What may be said of any datasource. `config` are the driver's options.
const KEYS: [&str; 9] =
    ["config", "description", "enabled", "addresses", "poll", "deadline", "max_rows", "max_bytes", "persist_data"];
/// What an answer has too: who sends one back as it came means nothing by these.
const ANSWERED: [&str; 13] = [
    "id",
    "type",
    "status",
    "managed_by",
    "created",
    "changed",
    "revision",
    "etag",
    "fault",
    "state",
    "error",
    "generation",
    "rows",
];

/// A datasource that is to be created, as a client describes it: a JSON object with `name`, `driver`, and as it likes
/// `config`, `description`, `enabled`, `addresses`, `poll`, `deadline`, `max_rows`, `max_bytes`, `persist_data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// All else.
    pub spec: Datasource,
}

/// What is to become different; `None` leaves it as it is.
#[derive(Clone, PartialEq, Default)]
pub struct Change {
    /// Options that are set; null unsets one, `<hidden>` leaves it.
    config: Map<String, Value>,
    description: Option<String>,
    enabled: Option<bool>,
    addresses: Option<BTreeSet<String>>,
    poll: Option<Duration>,
    deadline: Option<Duration>,
    max_rows: Option<Option<usize>>,
    max_bytes: Option<Option<usize>>,
    persist_data: Option<bool>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Only the driver knows which of its options are secret.
        f.debug_struct("Change").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl Draft {
    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its form, at once.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let (object, mut problems) = object(body, &["name", "driver"])?;
        let mut must = |key: &str| match object.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                problems.push(format!("{key} is a text, not {other}"));
                String::new()
            }
            None => {
                problems.push(format!("{key} is missing"));
                String::new()
            }
        };
        let (name, driver) = (must("name"), must("driver"));
        let change = Change::of(object, &mut problems);
        let spec = change.apply(&Datasource::new(&driver));
        if problems.is_empty() {
            problems.extend(spec.problem());
        }
        if problems.is_empty() { Ok(Self { name, spec }) } else { Err(Refusal::InvalidRequest(problems)) }
    }
}

impl Change {
    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its form, at once.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let (object, mut problems) = object(body, &[])?;
        for key in ["name", "driver"].iter().filter(|key| object.contains_key(**key)) {
            problems.push(format!("{key} can't be changed: create another datasource"));
        }
        let change = Self::of(object, &mut problems);
        if problems.is_empty() { Ok(change) } else { Err(Refusal::InvalidRequest(problems)) }
    }

    /// One that only enables or disables.
    #[must_use]
    pub fn enabled(enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..Self::default() }
    }

    /// Whether it sets or unsets options.
    pub(crate) fn sets_options(&self) -> bool {
        !self.config.is_empty()
    }

    /// What becomes of it.
    #[must_use]
    pub fn apply(&self, to: &Datasource) -> Datasource {
        let mut options = to.options.clone();
        for (name, value) in &self.config {
            match value {
                Value::Null => drop(options.shift_remove(name)),
                Value::String(hidden) if hidden == HIDDEN && options.contains_key(name) => {}
                value => drop(options.insert(name.clone(), value.clone())),
            }
        }
        let own = |new: &Option<Option<usize>>, old: Option<usize>| new.unwrap_or(old);
        Datasource {
            driver: to.driver.clone(),
            description: self.description.clone().unwrap_or_else(|| to.description.clone()),
            enabled: self.enabled.unwrap_or(to.enabled),
            addresses: self.addresses.clone().unwrap_or_else(|| to.addresses.clone()),
            poll: self.poll.unwrap_or(to.poll),
            deadline: self.deadline.unwrap_or(to.deadline),
            max_rows: own(&self.max_rows, to.max_rows),
            max_bytes: own(&self.max_bytes, to.max_bytes),
            persist_data: self.persist_data.unwrap_or(to.persist_data),
            options,
        }
    }

    fn of(object: &Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut wrong = |key: &str, form: &str, value: &Value| {
            problems.push(format!("{key} is {form}, not {value}"));
        };
        let mut change = Self::default();
        for (key, value) in object {
            match (key.as_str(), value) {
                ("config", Value::Null) | ("description", Value::Null) => {}
                ("config", Value::Object(config)) => change.config = config.clone(),
                // It may hold a secret: it is not quoted.
                ("config", _) => wrong(key, "an object of the driver's options", &Value::from("something else")),
                ("description", Value::String(text)) => change.description = Some(text.clone()),
                ("description", other) => wrong(key, "a text", other),
                ("enabled" | "persist_data", value) => match truth(value) {
                    Some(yes) if key == "enabled" => change.enabled = Some(yes),
                    Some(yes) => change.persist_data = Some(yes),
                    None => wrong(key, "true or false", value),
                },
                ("addresses", value) => match texts(value) {
                    Some(addresses) => change.addresses = Some(addresses),
                    None => wrong(key, "a list of texts", value),
                },
                ("poll" | "deadline", value) => match read_duration(value) {
                    Ok(time) if key == "poll" => change.poll = Some(time),
                    Ok(time) => change.deadline = Some(time),
                    Err(_) => wrong(key, "a duration like \"10s\", or a number of seconds", value),
                },
                ("max_rows" | "max_bytes", value) => {
                    let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
                    match (value, number) {
                        (Value::Null, _) | (_, Some(_)) if key == "max_rows" => change.max_rows = Some(number),
                        (Value::Null, _) | (_, Some(_)) => change.max_bytes = Some(number),
                        _ => wrong(key, "a number, or null for the default", value),
                    }
                }
                _ => {}
            }
        }
        change
    }
}

/// The body as an object, and its keys that mean nothing.
fn object<'a>(body: &'a Value, further: &[&str]) -> Result<(&'a Map<String, Value>, Vec<String>), Refusal> {
    let Value::Object(object) = body else {
        let text = format!("the body is a JSON object with {}", [further, &KEYS].concat().join(", "));
        return Err(Refusal::InvalidRequest(vec![text]));
    };
    let known = || further.iter().chain(&KEYS).chain(&["name", "driver"]).copied();
    let unknown = object.keys().filter(|key| !known().any(|k| k == *key) && !ANSWERED.contains(&key.as_str()));
    let said = |key: &String| match nearest(key, known()) {
        Some(near) => format!("unknown key {key:?}: did you mean {near:?}?"),
        None => format!("unknown key {key:?}: options of the driver belong into config"),
    };
    Ok((object, unknown.map(said).collect()))
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn texts(value: &Value) -> Option<BTreeSet<String>> {
    let list = value.as_array()?;
    list.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_draft_is_read_as_the_predecessors_client_sends_it() {
        let draft = Draft::read(&json!({"name": "web", "driver": "files", "config": {"path": "/srv"}})).unwrap();
        assert_eq!(draft.name, "web");
        assert_eq!(draft.spec, Datasource::new("files").option("path", "/srv"));
        let draft = Draft::read(&json!({"name": "web", "driver": "files", "config": null, "type": null})).unwrap();
        assert_eq!(draft.spec, Datasource::new("files"));
    }

    #[test]
    fn every_problem_of_a_draft_is_said_at_once() {
        let error = Draft::read(&json!({
            "driver": 7, "confg": {}, "enabled": "maybe", "poll": "often", "addresses": "a", "max_rows": "many", "config": [1]
        }));
        assert_eq!(
            error.unwrap_err().to_string(),
            "Invalid datasource: unknown key \"confg\": did you mean \"config\"?; name is missing; driver is a text, not 7; \
             enabled is true or false, not \"maybe\"; poll is a duration like \"10s\", or a number of seconds, not \"often\"; \
             addresses is a list of texts, not \"a\"; max_rows is a number, or null for the default, not \"many\"; config is \
             an object of the driver's options, not \"something else\""
        );
        let error = Draft::read(&json!({"name": "web", "driver": "files", "deadline": 0})).unwrap_err();
        assert_eq!(error.to_string(), "Invalid datasource: a deadline of zero leaves no time for a poll");
        let error = Draft::read(&json!([])).unwrap_err().to_string();
        assert!(
            error.starts_with("Invalid datasource: the body is a JSON object with name, driver, config, "),
            "{error}"
        );
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = Datasource::new("files").option("path", "/srv").option("password", "old").option("depth", 3);
        let change = json!({"config": {"password": "<hidden>", "depth": null, "deep": true}, "description": "the web"});
        let after = Change::read(&change).unwrap().apply(&before);
        let mut expected =
            Datasource::new("files").option("path", "/srv").option("password", "old").option("deep", true);
        expected.description = "the web".to_owned();
        assert_eq!(after, expected);
        assert_eq!(Change::default().apply(&before), before);
        // Nothing is hidden there: the text is meant.
        let named = Change::read(&json!({"config": {"note": "<hidden>"}})).unwrap().apply(&before);
        assert_eq!(named.options["note"], "<hidden>");
    }

    #[test]
    fn who_and_what_it_is_stays() {
        let error = Change::read(&json!({"name": "x", "driver": "y"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid datasource: name can't be changed: create another datasource; driver can't be changed: create another \
             datasource"
        );
    }
}
