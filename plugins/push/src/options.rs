//! What a datasource may set: the tables.

use busway_plugin_api::arrow_schema::{Field, Schema};
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{self, Value};
use busway_plugin_api::table::kind_of_name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The table of a datasource that does not name its tables.
const ONE: &str = "data";
/// The longest name of a table, in bytes.
const LONGEST: usize = 255;

/// As they are given. What is within is read by `check`, which says where it is wrong.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Options {
    /// The tables by name, each with columns, key, topic, description; without it there is one table, data.
    #[schemars(with = "Option<BTreeMap<String, Table>>")]
    tables: Option<BTreeMap<String, Value>>,
    /// The columns of table data: names of text columns, or objects with name, type, nullable, description.
    #[schemars(with = "Option<Vec<Column>>")]
    columns: Option<Vec<Value>>,
    /// The columns of table data that make a row's identity; none: the table is a set of rows.
    key: Option<Vec<String>>,
    /// The column of table data by which subscribers may choose rows.
    topic: Option<String>,
    /// One line about table data.
    description: Option<String>,
}

/// One table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// In order.
    #[schemars(with = "Vec<Column>")]
    columns: Vec<Value>,
    /// The columns that make a row's identity; none: the table is a set of rows.
    #[serde(default)]
    key: Vec<String>,
    /// The column by which subscribers may choose rows.
    topic: Option<String>,
    /// One line for consumers.
    #[serde(default)]
    description: String,
}

/// One column.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used: serde does not say why a value is none of these")]
enum Column {
    Name(String),
    Whole(Whole),
}

/// A column that says more than its name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Whole {
    /// Unique within the table.
    name: String,
    /// Text unless it says so.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Whether a row may lack it; columns of the key may not be.
    nullable: Option<bool>,
    /// One line for consumers.
    #[serde(default)]
    description: String,
}

impl Options {
    /// The tables, or all problems at once.
    pub(crate) fn check(self) -> Result<Vec<TableSpec>, Error> {
        let mut problems = Vec::new();
        let single = self.columns.is_some() || self.key.is_some() || self.topic.is_some() || self.description.is_some();
        let mut specs = Vec::new();
        match (self.tables, self.columns) {
            (Some(_), _) if single => {
                let problem = "options \"columns\", \"key\", \"topic\" and \"description\" are those of the one table of a datasource without \
                               \"tables\": say them within \"tables\"";
                problems.push(problem.to_owned());
            }
            (Some(tables), _) => {
                if tables.is_empty() {
                    problems.push("option \"tables\" names no table".to_owned());
                }
                for (name, given) in tables {
                    let spec = serde_json::from_value::<Table>(given).map_err(|e| vec![e.to_string()]);
                    let spec = spec.and_then(|table| table.spec(&name));
                    let place = format!("option \"tables\": table {name:?}");
                    keep(spec, &place, &mut specs, &mut problems);
                }
            }
            (None, Some(columns)) => {
                let (key, topic) = (self.key.unwrap_or_default(), self.topic);
                let table = Table { columns, key, topic, description: self.description.unwrap_or_default() };
                keep(table.spec(ONE), &format!("table {ONE:?}"), &mut specs, &mut problems);
            }
            (None, None) => problems.push(
                "there are no columns: set option \"columns\" to a list of names, or declare tables by option \"tables\""
                    .to_owned(),
            ),
        }
        if problems.is_empty() {
            return Ok(specs);
        }
        Err(Error::invalid("the options of the push driver are wrong").problems(problems))
    }
}

fn keep(spec: Result<TableSpec, Vec<String>>, place: &str, specs: &mut Vec<TableSpec>, problems: &mut Vec<String>) {
    match spec {
        Ok(spec) => specs.push(spec),
        Err(found) => problems.extend(found.into_iter().map(|problem| format!("{place}: {problem}"))),
    }
}

impl Table {
    fn spec(self, name: &str) -> Result<TableSpec, Vec<String>> {
        let mut problems = Vec::new();
        if name.is_empty() || name.len() > LONGEST || name.contains('/') || name.chars().any(char::is_control) {
            let form = "a name is not empty, has no slash or control character, and at most 255 bytes";
            problems.push(format!("no table can be named so: {form}"));
        }
        if self.columns.is_empty() {
            problems.push("it has no columns".to_owned());
        }
        let mut described = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        for (i, given) in self.columns.into_iter().enumerate() {
            let field = column(given).and_then(|column| {
                let twice = fields.iter().any(|field| field.name() == &column.name);
                let field =
                    if twice { Err(format!("the name {:?} is taken", column.name)) } else { column.field(&self.key) };
                described.push((column.name, column.description));
                field
            });
            match field {
                Ok(field) => fields.push(field),
                Err(problem) => problems.push(format!("column {}: {problem}", i + 1)),
            }
        }
        let complete = problems.is_empty();
        for (i, column) in self.key.iter().enumerate() {
            if self.key[..i].contains(column) {
                problems.push(format!("key column {column:?} is named twice"));
            }
            if fields.iter().any(|field| field.name() == column && field.data_type().is_nested()) {
                problems.push(format!("key column {column:?} is a list"));
            }
        }
        let mut spec = TableSpec::with_schema(name, Arc::new(Schema::new(fields))).key(self.key).pushed();
        for (column, text) in described.iter().filter(|(_, text)| !text.is_empty()) {
            spec = spec.column(column, text);
        }
        spec = spec.describe(if self.description.is_empty() { "Rows that clients write" } else { &self.description });
        spec.topic = self.topic;
        // With columns missing this would find faults that are none.
        if complete {
            let of = format!(" of table {name:?}");
            problems.extend(spec.info().problems().into_iter().map(|problem| problem.replacen(&of, "", 1)));
        }
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }
}

fn column(given: Value) -> Result<Whole, String> {
    match given {
        Value::String(name) => Ok(Whole { name, kind: None, nullable: None, description: String::new() }),
        Value::Object(_) => serde_json::from_value(given).map_err(|e| e.to_string()),
        other => Err(format!("it is a name or an object with name, type, nullable, description, not {other}")),
    }
}

impl Whole {
    fn field(&self, key: &[String]) -> Result<Field, String> {
        if self.name.is_empty() || self.name.contains('\0') {
            return Err("its name is empty or holds a zero byte".to_owned());
        }
        let kind = kind_of_name(self.kind.as_deref().unwrap_or("text")).map_err(|e| format!("{:?}: {e}", self.name))?;
        Ok(Field::new(&self.name, kind, self.nullable.unwrap_or(!key.contains(&self.name))))
    }
}
