//! What happens to the driver's tables, row by row.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::say::{MARGIN, Say};
use crate::cli::cell::printable;
use crate::cli::failure::Failure;
use crate::cli::follow::News;
use crate::cli::output::{DIM, Format, GREEN, Output, RED, YELLOW};
use crate::cli::replica::{Change, Replica};
use crate::cli::snapshot::Row;
use crate::cli::table_name::TableName;
use crate::cli::watch::{labelled, object};

/// Of one step so many rows are told; the others are counted.
const MOST: usize = 20;

/// The tables as they are.
#[derive(Debug, Default)]
pub(super) struct Rows {
    tables: BTreeMap<TableName, Replica>,
    /// What was last said to be wrong with the datasource or a table.
    wrong: BTreeMap<String, String>,
}

impl Rows {
    /// Tells the news of a table.
    pub(super) fn take(&mut self, name: &TableName, news: News, output: &mut Output) -> Result<(), Failure> {
        let (changes, at) = match news {
            News::Snapshot(snapshot) => {
                let at = (snapshot.epoch, snapshot.to);
                let empty = snapshot.rows.is_empty() && !self.tables.contains_key(name);
                let replica = self.tables.entry(name.clone()).or_default();
                let changes = replica.replace(snapshot);
                if empty && !name.is_hidden() {
                    self.empty(name, output)?;
                }
                (changes, at)
            }
            News::Step(step) => {
                let at = (step.epoch, step.to);
                let Some(replica) = self.tables.get_mut(name) else { return Ok(()) };
                (replica.apply(step), at)
            }
            News::Gone => {
                self.tables.remove(name);
                return if name.is_hidden() { Ok(()) } else { gone(name, output) };
            }
            News::Resumed { .. } | News::Lost { .. } => return Ok(()),
        };
        if name.is_hidden() {
            return changes.iter().try_for_each(|change| self.condition(name, change, output));
        }
        let key = self.tables.get(name).map(|replica| replica.key().to_vec()).unwrap_or_default();
        changed(name, &changes, &key, at, output)
    }

    fn empty(&self, name: &TableName, output: &mut Output) -> Result<(), Failure> {
        match output.format() {
            Format::Table => {
                let line = output.paint().put(DIM, &format!("{} has no rows", name.table));
                Say::new(output).row('=', &line)
            }
            // The first row that comes says enough.
            Format::Json | Format::Jsonl => Ok(()),
        }
    }

    /// Tells how the datasource and its tables are, when that is otherwise than before, and not well or well again.
    fn condition(&mut self, name: &TableName, change: &Change, output: &mut Output) -> Result<(), Failure> {
        let row = change.row();
        let text = |column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default();
        let subject = match name.table.as_str() {
            "datasources" => text("name").to_owned(),
            _ if text("service").starts_with('_') => return Ok(()),
            _ => format!("{}/{}", text("service"), text("table")),
        };
        let is_table = subject.contains('/');
        // Where all of a source fails, so do its tables, in the same words.
        let of_source = self.wrong.get(text("service")).cloned().unwrap_or_default();
        let error = text("error");
        let error =
            if matches!(change, Change::Removed(_)) || (is_table && of_source.contains(error)) { "" } else { error };
        let before = self.wrong.insert(subject.clone(), error.to_owned()).unwrap_or_default();
        if before == error {
            return Ok(());
        }
        let state = if is_table { "" } else { text("state") };
        if output.format() != Format::Table {
            let error = Some(error).filter(|error| !error.is_empty());
            return output.json_line(&json!({"kind": "state", "of": subject, "state": state, "error": error}));
        }
        match error {
            "" => Say::new(output).line(GREEN, "Well again", &subject),
            error => Say::new(output).line(RED, "Failing", &format!("{subject}: {}", printable(error))),
        }
    }
}

fn gone(name: &TableName, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        return output.json_line(&json!({"kind": "rows", "op": "gone", "service": name.service, "table": name.table}));
    }
    let line = output.paint().put(YELLOW, &format!("{} is gone", name.table));
    Say::new(output).row('-', &line)
}

fn changed(
    name: &TableName,
    changes: &[Change],
    key: &[String],
    (epoch, to): (u64, u64),
    output: &mut Output,
) -> Result<(), Failure> {
    if output.format() != Format::Table {
        return changes.iter().try_for_each(|change| {
            let mut fields = Row::from_iter([
                ("kind".to_owned(), "rows".into()),
                ("service".to_owned(), name.service.as_str().into()),
                ("table".to_owned(), name.table.as_str().into()),
            ]);
            if let Value::Object(object) = object(change, epoch, to) {
                fields.extend(object);
            }
            output.json_line(&fields)
        });
    }
    let room = output.width().map(|width| width.saturating_sub(MARGIN));
    for change in changes.iter().take(MOST) {
        let line = labelled(change, &name.table, key, room, output.paint());
        Say::new(output).indented(&line)?;
    }
    match changes.len().saturating_sub(MOST) {
        0 => Ok(()),
        more => {
            let line = output.paint().put(DIM, &format!("and {more} more of {}", name.table));
            Say::new(output).row('…', &line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::pages;
    use serde_json::from_value;

    fn snapshot(service: &str, table: &str, key: &[&str], rows: Value) -> (TableName, News) {
        let snapshot = json!({"service": service, "table": table, "epoch": 1, "to": 1, "key": key, "rows": rows});
        (TableName::new(service, table), News::Snapshot(from_value(snapshot).unwrap()))
    }

    fn step(service: &str, table: &str, from: u64, changes: Value) -> (TableName, News) {
        let mut step = json!({"epoch": 1, "from": from, "to": from + 1});
        step.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        (TableName::new(service, table), News::Step(from_value(step).unwrap()))
    }

    fn told(format: Format, width: Option<usize>, news: Vec<(TableName, News)>) -> String {
        let (mut output, data, _) = pages(format, width);
        let mut rows = Rows::default();
        news.into_iter().for_each(|(name, news)| rows.take(&name, news, &mut output).unwrap());
        data.text()
    }

    fn life() -> Vec<(TableName, News)> {
        let changes = json!({"added": [{"id": 2, "name": "b c"}], "removed": [{"id": 1, "name": "a"}]});
        let many: Vec<Value> = (10..35).map(|id| json!({"id": id, "name": "x"})).collect();
        vec![
            snapshot("web", "pages", &["id"], json!([{"id": 1, "name": "a"}])),
            snapshot("web", "empty", &["id"], json!([])),
            step("web", "pages", 1, changes),
            step(
                "web",
                "pages",
                2,
                json!({"updated": [{"old": {"id": 2, "name": "b c"}, "new": {"id": 2, "name": "d"}}]}),
            ),
            step("web", "pages", 3, json!({ "added": many })),
            (TableName::new("web", "empty"), News::Gone),
        ]
    }

    #[test]
    fn rows_come_go_and_change() {
        let text = told(Format::Table, Some(60), life());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "           + pages id=1 name=a",
                "           = empty has no rows",
                "           - pages id=1 name=a",
                "           + pages id=2 name=\"b c\"",
                "           ~ pages id=2 name=\"b c\"→d",
            ]
        );
        assert_eq!(lines.len(), 5 + MOST + 2);
        assert_eq!(lines[25..], ["           … and 5 more of pages", "           - empty is gone"]);
        let plain = told(Format::Table, None, life());
        assert_eq!(plain.lines().next(), Some("+ pages id=1 name=a"));
    }

    #[test]
    fn for_programs_nothing_is_left_out() {
        let text = told(Format::Jsonl, None, life());
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1 + 2 + 1 + 25 + 1);
        assert_eq!(
            lines[0],
            json!({"kind": "rows", "service": "web", "table": "pages", "op": "add", "epoch": 1, "to": 1, "row": {"id": 1, "name": "a"}})
        );
        assert_eq!(lines.last().unwrap()["op"], "gone");
    }

    #[test]
    fn what_fails_is_told_once_and_that_it_is_well_again() {
        let source = |error: Value| json!({"name": "web", "state": "degraded", "error": error});
        let table = |error: Value| json!({"service": "web", "table": "pages", "error": error});
        let changed = |table: &str, from: u64, old: Value, new: Value| {
            step("_host", table, from, json!({"updated": [{"old": old, "new": new}]}))
        };
        let news = || {
            vec![
                snapshot("_host", "datasources", &["name"], json!([source(Value::Null)])),
                snapshot(
                    "_host",
                    "tables",
                    &["service", "table"],
                    json!([table(Value::Null), {"service": "_host", "table": "x", "error": "y"}]),
                ),
                changed("datasources", 1, source(Value::Null), source(json!("table \"pages\": no"))),
                // The same, in the same words.
                changed("tables", 1, table(Value::Null), table(json!("no"))),
                changed("tables", 2, table(json!("no")), table(json!("another"))),
                changed("tables", 3, table(json!("another")), table(Value::Null)),
                changed("datasources", 2, source(json!("table \"pages\": no")), source(Value::Null)),
            ]
        };
        assert_eq!(
            told(Format::Table, None, news()),
            "Failing web: table \"pages\": no\nFailing web/pages: another\nWell again web/pages\nWell again web\n"
        );
        let text = told(Format::Json, None, news());
        assert_eq!(
            text.lines().next(),
            Some("{\"kind\":\"state\",\"of\":\"web\",\"state\":\"degraded\",\"error\":\"table \\\"pages\\\": no\"}")
        );
    }
}
