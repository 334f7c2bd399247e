//! Options against what a driver declares: typed, complete, every problem at once.

use super::record::Record;
use super::refusal::Refusal;
use super::secret::{HIDDEN, ReferenceProblem, read_limited, resolve};
use crate::config::{Datasource, read_duration};
use busway_plugin_api::info::OptionInfo;
use busway_plugin_api::options::problems;
use serde_json::{Map, Number, Value};
use std::time::Duration;

/// The predecessor's name for how often a datasource is polled, in seconds.
pub const POLL_TIME: &str = "poll_time";
/// The predecessor's name for whether its last tables are kept.
pub const PERSIST_DATA: &str = "persist_data";

/// Lists and objects in an option are within each other at most so often: most readers of JSON end at 127 levels, and
/// records and answers put some around it.
const DEEPEST: usize = 100;

/// The options as their types are declared: a text for another type is read as one, since simple clients send texts.
/// Nulls are left out. Defaults are not filled in: the driver's next version may have others.
///
/// # Errors
///
/// Unknown options with the nearest known one, missing ones, values that don't fit; all at once. No secret is quoted.
pub(crate) fn typed(declared: &[OptionInfo], given: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let option = |name: &str| declared.iter().find(|o| o.name == name);
    let mut values = Map::new();
    // The same, with something that fits in place of what is read from elsewhere when a source opens.
    let mut fitting = Map::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let (kind, items) = option(name).map_or(("any", ""), |o| (o.kind.as_str(), items(o)));
        let (value, fits) = match value {
            Value::String(text) if kind != "string" && refers(value) => (value.clone(), any_of(kind)),
            Value::String(text) => {
                let value = read(text, kind, items).unwrap_or_else(|| value.clone());
                (value.clone(), value)
            }
            value => (value.clone(), value.clone()),
        };
        values.insert(name.clone(), value);
        fitting.insert(name.clone(), fits);
    }
    let mut found = problems(declared, &fitting);
    let deep = values.iter().filter(|(_, value)| !is_flat(value, DEEPEST));
    found.extend(deep.map(|(name, _)| format!("option {name:?} has lists or objects more than {DEEPEST} deep")));
    if found.is_empty() {
        return Ok(values);
    }
    let missing = declared.iter().filter(|o| o.required && !values.contains_key(&o.name)).count();
    Err(match found.len() == missing {
        true => Refusal::MissingRequiredConfigOptions(found),
        false => Refusal::InvalidDriverOption(found),
    })
}

/// The options with what holds where nothing is set.
pub(crate) fn complete(declared: &[OptionInfo], given: &Map<String, Value>) -> Map<String, Value> {
    let unset = declared.iter().filter(|o| !o.default.is_null() && !given.contains_key(&o.name));
    let defaults = unset.map(|o| (o.name.clone(), o.default.clone()));
    given.iter().map(|(name, value)| (name.clone(), value.clone())).chain(defaults).collect()
}

/// What a source would be opened with, if a datasource had these options; outside any host.
///
/// # Errors
///
/// When they don't fit what the driver declares, or refer to what can't be read.
pub(crate) fn as_opened(declared: &[OptionInfo], given: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let given = typed(declared, given).map_err(|refusal| refusal.to_string())?;
    let variable = |name: &str| std::env::var(name).ok();
    let resolved = resolve(&Value::Object(complete(declared, &given)), &variable, &read_limited);
    let told = |problems: Vec<ReferenceProblem>| problems.iter().map(ToString::to_string).collect();
    let resolved = resolved.map_err(|problems| Refusal::InvalidDriverOption(told(problems)).to_string())?;
    let resolved = resolved.as_object().cloned().unwrap_or_default();
    typed(declared, &resolved).map_err(|refusal| refusal.to_string())
}

/// The type of a list's items, if that is declared.
fn items(option: &OptionInfo) -> &str {
    option.schema["items"]["type"].as_str().unwrap_or_default()
}

/// What a host does for every datasource, under the names by which the predecessor's clients set it among a driver's own
/// options: they go to the datasource itself, unless the driver has an option of the name. `before`: what is changed; a
/// value that it has was only sent back as it was shown.
///
/// # Errors
///
/// When a value is none, or two are given for one thing.
pub(crate) fn lift(declared: &[OptionInfo], spec: &mut Datasource, before: Option<&Datasource>) -> Result<(), Refusal> {
    let own = |name: &str| declared.iter().any(|o| o.name == name);
    let (mut problems, mut twice) = (Vec::new(), Vec::new());
    if !own(POLL_TIME)
        && let Some(value) = spec.options.shift_remove(POLL_TIME)
    {
        match read_duration(&value) {
            Ok(poll) if before.is_some_and(|before| before.poll == poll) => {}
            Ok(poll) if before.is_some_and(|before| before.poll != spec.poll) && poll != spec.poll => {
                let [a, b] = [spec.poll, poll].map(humantime::format_duration);
                twice.push(format!("poll is {a} and config's {POLL_TIME} is {b}: set one of them"));
            }
            Ok(poll) => spec.poll = poll,
            Err(error) => problems.push(format!("option {POLL_TIME:?}: {error}")),
        }
    }
    if !own(PERSIST_DATA)
        && let Some(value) = spec.options.shift_remove(PERSIST_DATA)
    {
        let read = if let Value::String(text) = &value { read(text, "boolean", "") } else { Some(value.clone()) };
        match read.as_ref().and_then(Value::as_bool) {
            // Of two values, one is what it was.
            Some(yes) if before.is_some_and(|before| before.persist_data == yes) => {}
            Some(yes) => spec.persist_data = yes,
            None => problems.push(format!("option {PERSIST_DATA:?} takes true or false, got {value}")),
        }
    }
    problems.extend(spec.problem().filter(|_| problems.is_empty()));
    match (problems.is_empty(), twice.is_empty()) {
        (false, _) => Err(Refusal::InvalidDriverOption(problems)),
        (true, false) => Err(Refusal::InvalidRequest(twice)),
        (true, true) => Ok(()),
    }
}

/// How a record's options may be shown: with what holds where nothing is set, and without what is secret; and among them
/// what the host does for it, as the predecessor's clients set it there and look for it. `declared`: by the driver, if it
/// is there.
#[must_use]
pub fn shown(record: &Record, declared: Option<&[OptionInfo]>) -> Map<String, Value> {
    let secret = |name: &str| match declared {
        // An option that the driver does not know may be a secret one misspelled.
        Some(declared) => {
            record.secret.contains(name) || declared.iter().find(|o| o.name == name).is_none_or(|o| o.secret)
        }
        // Nobody can say which are: none is shown.
        None => true,
    };
    let mut options = complete(declared.unwrap_or_default(), &record.spec.options);
    // What is hidden stands for a value that was set: sent back, it keeps that. A default stands for nothing.
    options.retain(|name, _| record.spec.options.contains_key(name) || !secret(name));
    let show = |(name, value): (String, Value)| if secret(&name) { (name, Value::from(HIDDEN)) } else { (name, value) };
    let mut shown: Map<String, Value> = options.into_iter().map(show).collect();
    // While the driver is not there, nobody can say whether such an option is its own.
    let Some(declared) = declared else { return shown };
    let spec = &record.spec;
    for (name, value) in [(POLL_TIME, seconds(spec.poll)), (PERSIST_DATA, spec.persist_data.into())] {
        if declared.iter().all(|o| o.name != name) {
            shown.entry(name).or_insert(value);
        }
    }
    shown
}

/// Whole ones as the predecessor has them.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => time.as_secs().into(),
        _ => time.as_secs_f64().into(),
    }
}

/// Whether a variable or a file is named in the value: it is read when a source opens.
pub(crate) fn refers(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(refers),
        Value::Object(map) => map.values().any(refers),
        _ => false,
    }
}

/// Some value of that type.
fn any_of(kind: &str) -> Value {
    match kind {
        "integer" | "number" => Value::from(0),
        "boolean" => Value::Bool(false),
        "array" => Value::Array(Vec::new()),
        "object" => Value::Object(Map::new()),
        _ => Value::from(""),
    }
}

/// Whether lists and objects are within each other at most so often.
fn is_flat(value: &Value, deepest: usize) -> bool {
    let within = |value: &Value| deepest > 0 && is_flat(value, deepest - 1);
    match value {
        Value::Array(values) => values.iter().all(within),
        Value::Object(map) => map.values().all(within),
        _ => true,
    }
}

/// A text as a value of that type; `None`: it can't be one.
fn read(text: &str, kind: &str, items: &str) -> Option<Value> {
    let word = text.trim();
    match kind {
        "integer" => {
            let number = word.parse::<i64>().map(Number::from).or_else(|_| word.parse::<u64>().map(Number::from));
            number.ok().map(Value::Number)
        }
        "number" => match read(text, "integer", "") {
            Some(whole) => Some(whole),
            None => Number::from_f64(word.parse().ok()?).map(Value::Number),
        },
        "boolean" => match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(Value::Bool(true)),
            "false" | "no" | "off" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        "array" if word.starts_with('[') => serde_json::from_str(word).ok().filter(Value::is_array),
        "array" if word.is_empty() => Some(Value::Array(Vec::new())),
        "array" => word
            .split(',')
            .map(|item| match items {
                "integer" | "number" | "boolean" => read(item, items, ""),
                _ => Some(Value::from(item.trim())),
            })
            .collect(),
        "object" => serde_json::from_str(word).ok().filter(Value::is_object),
        _ => Some(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::ManagedBy;
    use super::*;
    use serde_json::json;

    fn declared() -> Vec<OptionInfo> {
        let options = json!([
            {"name": "path", "type": "string", "required": true, "description": "The folder"},
            {"name": "password", "type": "string", "secret": true},
            {"name": "depth", "type": "integer", "default": 3},
            {"name": "ratio", "type": "number"},
            {"name": "deep", "type": "boolean"},
            {"name": "names", "type": "array", "schema": {"items": {"type": "string"}}},
            {"name": "ports", "type": "array", "schema": {"items": {"type": "integer"}}},
            {"name": "map", "type": "object"},
            {"name": "anything", "type": "any"},
        ]);
        serde_json::from_value(options).unwrap()
    }

    fn check(given: Value) -> Result<Value, Refusal> {
        typed(&declared(), given.as_object().unwrap()).map(Value::Object)
    }

    #[test]
    fn texts_become_what_is_declared() {
        let given = json!({"path": "7", "depth": " 4", "ratio": "0.5", "deep": "Yes", "names": "a, b", "ports": "[80]",
            "map": "{\"a\": 1}", "anything": "1", "password": null});
        let typed = json!({"path": "7", "depth": 4, "ratio": 0.5, "deep": true, "names": ["a", "b"], "ports": [80],
            "map": {"a": 1}, "anything": "1"});
        assert_eq!(check(given), Ok(typed));
        assert_eq!(check(json!({"path": "x", "ports": "80,443"})), Ok(json!({"path": "x", "ports": [80, 443]})));
        assert_eq!(check(json!({"path": "x", "names": ""})), Ok(json!({"path": "x", "names": []})));
    }

    #[test]
    fn an_option_is_no_deeper_than_records_and_answers_can_be() {
        for (depth, kept) in [(101, true), (102, false), (127, false)] {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            let value: Value = serde_json::from_str(&text).unwrap();
            for value in [json!(text), value] {
                let error = check(json!({"path": "x", "names": value})).err().map(|e| e.to_string());
                let wanted =
                    "Invalid driver options: option \"names\" has lists or objects more than 100 deep".to_owned();
                assert_eq!(error, (!kept).then_some(wanted), "{depth}");
            }
        }
    }

    #[test]
    fn what_is_read_later_is_checked_later() {
        let given = json!({"path": "${env:HOME}/x", "depth": "${env:DEPTH}", "password": "${file:/run/secret}"});
        assert_eq!(check(given.clone()), Ok(given));
        let unknown = check(json!({"path": "x", "bogus": "${env:A}"}));
        let text = unknown.unwrap_err().to_string();
        assert!(text.starts_with("Invalid driver options: unknown option \"bogus\": the driver has path, "), "{text}");
    }

    #[test]
    fn all_problems_come_at_once_and_only_missing_ones_have_their_own_name() {
        let missing = check(json!({"depth": 1})).unwrap_err();
        assert_eq!(missing.kind(), "MissingRequiredConfigOptions");
        assert_eq!(
            missing.to_string(),
            "Missing required config options: missing option \"path\" (string): The folder"
        );
        let wrong = check(json!({"pathh": "x", "depth": "deep", "password": 7})).unwrap_err();
        assert_eq!(wrong.kind(), "InvalidDriverOption");
        assert_eq!(
            wrong.to_string(),
            "Invalid driver options: unknown option \"pathh\": did you mean \"path\"?; missing option \"path\" (string): \
             The folder; option \"password\" takes a string, got <hidden>; option \"depth\" takes a whole number, got \
             \"deep\""
        );
    }

    #[test]
    fn the_predecessors_words_for_what_the_host_does() {
        let mut spec =
            Datasource::new("files").option("poll_time", "5").option("persist_data", "True").option("path", "x");
        assert_eq!(lift(&declared(), &mut spec, None), Ok(()));
        let expected = Datasource { persist_data: true, ..Datasource::new("files").option("path", "x") };
        assert_eq!(spec, expected.poll(std::time::Duration::from_secs(5)));
        let mut spec = Datasource::new("files").option("poll_time", "often").option("persist_data", 7);
        assert_eq!(
            lift(&declared(), &mut spec, None).unwrap_err().to_string(),
            "Invalid driver options: option \"poll_time\": \"often\" is no duration like \"10s\" or \"1m 30s\": expected \
             number at 0; option \"persist_data\" takes true or false, got 7"
        );
        let own: Vec<OptionInfo> = serde_json::from_value(json!([{"name": "poll_time", "type": "any"}])).unwrap();
        let mut spec = Datasource::new("files").option("poll_time", "often");
        assert_eq!(lift(&own, &mut spec, None), Ok(()));
        assert_eq!(spec, Datasource::new("files").option("poll_time", "often"));
    }

    #[test]
    fn what_is_sent_back_as_it_was_shown_changes_nothing() {
        let seconds = Duration::from_secs;
        let before = Datasource::new("files").poll(seconds(5));
        let lifted = |now: Datasource, poll_time: Value| {
            let mut spec = now.option("poll_time", poll_time).option("persist_data", false);
            lift(&declared(), &mut spec, Some(&before)).map(|()| (spec.poll, spec.persist_data))
        };
        assert_eq!(lifted(before.clone(), json!(5)), Ok((seconds(5), false)));
        // Beside it another poll, which is meant; or another poll_time, which is meant.
        let kept = Datasource { persist_data: true, ..before.clone() };
        assert_eq!(lifted(kept.poll(seconds(60)), json!("5")), Ok((seconds(60), true)));
        assert_eq!(lifted(before.clone(), json!(7)), Ok((seconds(7), false)));
        assert_eq!(lifted(before.clone().poll(seconds(7)), json!(7)), Ok((seconds(7), false)));
        let both = lifted(before.clone().poll(seconds(60)), json!(7)).unwrap_err();
        assert_eq!(both.to_string(), "Invalid datasource: poll is 1m and config's poll_time is 7s: set one of them");
    }

    #[test]
    fn secrets_are_shown_by_nobody() {
        let spec = Datasource::new("files").option("path", "x").option("password", "p").option("passwrd", "q");
        let known = ["path".to_owned()].into();
        let show = |secret, declared: Option<&[OptionInfo]>| {
            Value::Object(shown(&Record::new("web", spec.clone(), ManagedBy::Api, secret), declared))
        };
        let declared = declared();
        let none = Default::default();
        assert_eq!(
            show(none, Some(&declared)),
            json!({
                "path": "x", "password": "<hidden>", "passwrd": "<hidden>", "depth": 3, "poll_time": 10,
                "persist_data": false,
            })
        );
        let default: Vec<OptionInfo> = serde_json::from_value(json!([
            {"name": "path", "type": "string"}, {"name": "password", "type": "string"}, {"name": "passwrd", "type": "string"},
            {"name": "token", "type": "string", "secret": true, "default": "well-known"},
        ]))
        .unwrap();
        let unset = show(Default::default(), Some(&default));
        assert_eq!(unset.get("token"), None, "sent back, it would be taken for the value");
        assert_eq!(show(known, Some(&declared))["path"], "<hidden>", "it was secret when it was set");
        let all = json!({"path": "<hidden>", "password": "<hidden>", "passwrd": "<hidden>"});
        assert_eq!(show(Default::default(), None), all);
    }

    #[test]
    fn defaults_hold_where_nothing_is_set() {
        let given = json!({"path": "x"});
        assert_eq!(Value::Object(complete(&declared(), given.as_object().unwrap())), json!({"path": "x", "depth": 3}));
        let set = json!({"depth": 9});
        assert_eq!(Value::Object(complete(&declared(), set.as_object().unwrap())), set);
    }
}
