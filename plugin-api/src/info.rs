//! What a driver says of itself: the JSON that `describe` answers, typed. Host and driver share these types.

use crate::event::EventTypeInfo;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A driver: its identity, and what its sources can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverInfo {
    /// Unique on a node: a lower-case letter, then letters, digits, `-` and `_`.
    pub id: String,
    /// The driver's own version.
    pub version: String,
    /// The contract it was built with.
    pub contract: String,
    /// Name and version of what it was built with on top of the contract.
    #[serde(default)]
    pub sdk: String,
    /// One line for operators.
    #[serde(default)]
    pub description: String,
    /// Whether two sources of one datasource may be open at once.
    #[serde(default)]
    pub overlap: Overlap,
    /// What a datasource may set.
    #[serde(default)]
    pub options: Vec<OptionInfo>,
    /// The tables that every source has.
    #[serde(default)]
    pub tables: Vec<TableInfo>,
    /// What sources can be asked to do.
    #[serde(default)]
    pub actions: Vec<ActionInfo>,
    /// Types of events that it brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventTypeInfo>,
    /// Set when sources hand their state over to the next generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateInfo>,
}

/// Whether the old and the new source of a datasource may be open at once during a reload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// They may.
    #[default]
    Beside,
    /// A source holds what only one can hold (a port, a lock, a single consumer) until it is paused. A word that this
    /// reader does not know is taken for this one: the cautious way.
    #[serde(other)]
    Exclusive,
}

/// One option of a datasource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionInfo {
    /// Its key in the configuration.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean`, `array`, `object` or `any`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a datasource without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Whether its value is never shown.
    #[serde(default)]
    pub secret: bool,
    /// What holds when it is not set.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub default: Value,
    /// One line for operators.
    #[serde(default)]
    pub description: String,
    /// The option's JSON Schema, for whoever wants more than `kind`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub schema: Value,
}

/// A table: name, key, columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Unique within the source.
    pub name: String,
    /// One line for consumers.
    #[serde(default)]
    pub description: String,
    /// The columns that make a row's identity; none: the table is a set of rows.
    #[serde(default)]
    pub key: Vec<String>,
    /// The column by which subscribers may choose rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// In order.
    #[serde(default)]
    pub columns: Vec<ColumnInfo>,
    /// It costs much to read: it is polled only while somebody subscribes to it. A poll that names no tables may still
    /// want it: hosts that don't know of this word ask so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
    /// Clients may write its rows through the host, which holds them to these columns and this key, and begins it without
    /// rows. Its source answers polls with `published`, never with rows, which would take the clients' away; it may publish
    /// changes itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pushed: bool,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Unique within the table.
    pub name: String,
    /// The type as an Arrow C format string: `l` int64, `u` UTF-8, `tsu:UTC` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a row may lack it.
    #[serde(default)]
    pub nullable: bool,
    /// One line for consumers.
    #[serde(default)]
    pub description: String,
    /// The parts of a nested type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ColumnInfo>,
}

/// Something a source can be asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionInfo {
    /// Unique within the driver.
    pub name: String,
    /// One line for operators.
    #[serde(default)]
    pub description: String,
    /// In the order of positional arguments.
    #[serde(default)]
    pub args: Vec<ArgInfo>,
}

/// One argument of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArgInfo {
    /// Its name when passed by name.
    pub name: String,
    /// One line for operators.
    #[serde(default)]
    pub description: String,
    /// Whether a call without it is refused.
    #[serde(default)]
    pub required: bool,
}

impl ActionInfo {
    /// An action without arguments.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), args: Vec::new() }
    }

    /// With one more required argument.
    #[must_use]
    pub fn arg(mut self, name: impl Into<String>, description: impl Into<String>) -> Self {
        self.args.push(ArgInfo { name: name.into(), description: description.into(), required: true });
        self
    }

    /// With one more argument that may be left out.
    #[must_use]
    pub fn optional_arg(mut self, name: impl Into<String>, description: impl Into<String>) -> Self {
        self.args.push(ArgInfo { name: name.into(), description: description.into(), required: false });
        self
    }
}

impl ActionInfo {
    /// What is wrong with the arguments of a request, everything at once: unknown, missing, given twice, too many.
    #[must_use]
    pub fn misfits(&self, positional: &[Value], named: &Map<String, Value>) -> Vec<String> {
        let mut found = Vec::new();
        let names: Vec<&str> = self.args.iter().map(|a| a.name.as_str()).collect();
        if positional.len() > names.len() {
            found.push(format!("{} arguments given, {} taken", positional.len(), names.len()));
        }
        for name in named.keys() {
            match names.iter().position(|n| n == name) {
                None => found.push(format!("unknown argument {name:?}: it takes {}", names.join(", "))),
                Some(i) if i < positional.len() => found.push(format!("argument {name:?} is given twice")),
                Some(_) => {}
            }
        }
        for (i, arg) in self.args.iter().enumerate() {
            if arg.required && i >= positional.len() && !named.contains_key(&arg.name) {
                found.push(format!("missing argument {:?}", arg.name));
            }
        }
        found
    }
}

/// Which state sources write and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateInfo {
    /// The version that `export_state` writes.
    pub version: u32,
    /// The versions that `import_state` reads.
    pub reads: Vec<u32>,
}

/// Whether `id` may name a driver: a lower-case letter, then at most 63 lower-case letters, digits, `-` or `_`.
#[must_use]
pub const fn is_driver_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut i = 1;
    while i < bytes.len() {
        let b = bytes[i];
        if !(b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_') {
            return false;
        }
        i += 1;
    }
    true
}

impl DriverInfo {
    /// What is wrong with it, everything at once; empty when it keeps its own rules.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !is_driver_id(&self.id) {
            found.push(format!(
                "id {:?} is not a lower-case letter followed by at most 63 of a-z, 0-9, '-', '_'",
                self.id
            ));
        }
        if self.version.is_empty() {
            found.push("version is empty".to_owned());
        }
        unique(&mut found, "option", self.options.iter().map(|o| o.name.as_str()));
        unique(&mut found, "table", self.tables.iter().map(|t| t.name.as_str()));
        unique(&mut found, "action", self.actions.iter().map(|a| a.name.as_str()));
        unique(&mut found, "event type", self.events.iter().map(|e| e.name.as_str()));
        found.extend(self.events.iter().flat_map(EventTypeInfo::problems));
        for option in &self.options {
            if option.required && !option.default.is_null() {
                found.push(format!("option {:?} is required and has a default", option.name));
            }
        }
        for table in &self.tables {
            found.extend(table.problems());
        }
        found
    }
}

impl TableInfo {
    /// What is wrong with it; empty when it keeps its own rules.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        unique(&mut found, &format!("column of table {:?}", self.name), self.columns.iter().map(|c| c.name.as_str()));
        for key in &self.key {
            match self.columns.iter().find(|c| &c.name == key) {
                None if self.columns.is_empty() => {}
                None => found.push(format!("key column {key:?} of table {:?} is not one of its columns", self.name)),
                Some(c) if c.nullable => found.push(format!("key column {key:?} of table {:?} is nullable", self.name)),
                Some(c) if matches!(c.kind.as_str(), "e" | "f" | "g") => {
                    found.push(format!("key column {key:?} of table {:?} is a float", self.name));
                }
                Some(_) => {}
            }
        }
        if let Some(topic) = &self.topic
            && !self.columns.is_empty()
            && !self.columns.iter().any(|c| &c.name == topic)
        {
            found.push(format!("topic column {topic:?} of table {:?} is not one of its columns", self.name));
        }
        if self.pushed && self.lazy {
            found.push(format!("table {:?} is lazy and pushed: what clients write is never polled", self.name));
        }
        if self.pushed && self.columns.is_empty() {
            found.push(format!("table {:?} is pushed and has no columns to hold its rows to", self.name));
        }
        found
    }
}

fn unique<'a>(found: &mut Vec<String>, what: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if name.is_empty() {
            found.push(format!("a {what} has an empty name"));
        } else if !seen.insert(name) {
            found.push(format!("{what} {name:?} is declared twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "files", "my-driver_2"] {
            assert!(is_driver_id(good), "{good}");
        }
        for bad in ["", "A", "2a", "a b", "a.b", "é", &"x".repeat(65)] {
            assert!(!is_driver_id(bad), "{bad}");
        }
    }

    #[test]
    fn words_that_are_not_said_are_false_and_not_written() {
        let table: TableInfo =
            serde_json::from_value(serde_json::json!({"name": "t"})).unwrap_or_else(|e| panic!("{e}"));
        assert!(!table.lazy && !table.pushed);
        let written = |table: &TableInfo| serde_json::to_value(table).unwrap_or_default();
        assert_eq!(written(&table), serde_json::json!({"name": "t", "description": "", "key": [], "columns": []}));
        let table = TableInfo { lazy: true, pushed: true, ..table };
        assert_eq!((&written(&table)["lazy"], &written(&table)["pushed"]), (&Value::Bool(true), &Value::Bool(true)));
        assert_eq!(serde_json::from_value::<TableInfo>(written(&table)).ok(), Some(table));
    }

    #[test]
    fn every_broken_rule_is_named() {
        let info: DriverInfo = serde_json::from_value(serde_json::json!({
            "id": "No", "version": "", "contract": "1.0.0", "unknown": 1,
            "options": [{"name": "a", "type": "string"}, {"name": "a", "type": "string", "required": true, "default": 1}],
            "tables": [{"name": "t", "key": ["x", "f", "n"], "columns": [
                {"name": "f", "type": "g"}, {"name": "n", "type": "l", "nullable": true}]},
                {"name": "p", "lazy": true, "pushed": true}],
        }))
        .unwrap_or_else(|e| panic!("{e}"));
        let found = info.problems().join("\n");
        for part in [
            "id \"No\"",
            "version is empty",
            "\"a\" is declared twice",
            "required and has a default",
            "\"x\" of table \"t\" is not one",
            "\"f\" of table \"t\" is a float",
            "\"n\" of table \"t\" is nullable",
            "table \"p\" is lazy and pushed",
            "table \"p\" is pushed and has no columns",
        ] {
            assert!(found.contains(part), "{part} in\n{found}");
        }
    }
}
