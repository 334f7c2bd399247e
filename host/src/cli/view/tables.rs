//! The followed tables, and what each event did to them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::feed::FeedEvent;
use crate::cli::cell::printable;
use crate::cli::replica::{Change, Replica};
use crate::cli::snapshot::Row;
use crate::cli::table_name::TableName;

/// The tables as they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    tables: BTreeMap<TableName, Replica>,
}

/// What an event did.
#[derive(Debug)]
pub(super) struct Happening {
    /// To which table.
    pub(super) name: TableName,
    /// In which way.
    pub(super) kind: Kind,
    /// To which of its rows.
    pub(super) changes: Vec<Change>,
}

/// The ways in which a table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is here, with so many rows.
    Came(usize),
    /// It is in another state: of that number.
    Changed(u64),
    /// It is no longer.
    Went,
}

impl Tables {
    /// Applies an event.
    pub(super) fn apply(&mut self, event: FeedEvent) -> Option<Happening> {
        match event {
            FeedEvent::Snapshot(name, snapshot) => match self.tables.get_mut(&name) {
                Some(replica) => {
                    let changes = replica.replace(snapshot);
                    let kind = Kind::Changed(replica.to());
                    Some(Happening { name, kind, changes })
                }
                None => {
                    let kind = Kind::Came(snapshot.rows.len());
                    self.tables.insert(name.clone(), Replica::new(snapshot));
                    Some(Happening { name, kind, changes: Vec::new() })
                }
            },
            FeedEvent::Step(name, step) => {
                let replica = self.tables.get_mut(&name)?;
                let changes = pair_up(replica.apply(step), replica.key().is_empty());
                let kind = Kind::Changed(replica.to());
                Some(Happening { name, kind, changes })
            }
            FeedEvent::Gone(name) => {
                self.tables.remove(&name)?;
                Some(Happening { name, kind: Kind::Went, changes: Vec::new() })
            }
            FeedEvent::Connected | FeedEvent::Away(_) => None,
        }
    }

    /// The followed table of that name.
    pub(super) fn get(&self, name: &TableName) -> Option<&Replica> {
        self.tables.get(name)
    }

    /// The host's own table of that name.
    pub(super) fn of_host(&self, table: &str) -> Option<&Replica> {
        self.get(&TableName::of_host(table))
    }

    /// The first table of that name that has all these columns, whatever its service.
    pub(super) fn called(&self, table: &str, columns: &[&str]) -> Option<(&TableName, &Replica)> {
        self.tables.iter().find(|(name, replica)| {
            name.table == table
                && !name.is_hidden()
                && columns.iter().all(|column| replica.columns().iter().any(|known| known == column))
        })
    }

    /// All names, those that are hidden last.
    pub(super) fn names(&self) -> Vec<&TableName> {
        let mut names: Vec<&TableName> = self.tables.keys().collect();
        names.sort_by_key(|name| name.is_hidden());
        names
    }
}

/// A number in a row, zero if there is none.
pub(super) fn number(row: &Row, column: &str) -> f64 {
    row.get(column).and_then(Value::as_f64).unwrap_or_default()
}

/// A text in a row, empty if there is none.
pub(super) fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// Whether this change is one of measurements alone: news to a gauge, not to a reader.
pub(super) fn is_measurement(name: &TableName, change: &Change) -> bool {
    let Change::Updated { old, new } = change else { return false };
    // A running program flips between its states all the time.
    let is_process = new.contains_key("cpu_percent") && new.contains_key("threads");
    let measures = name.is_hidden() || new.keys().any(|column| is_measured(column));
    let measured = |column: &String| match new.get(column) {
        Some(Value::Number(_)) => measures,
        _ => is_measured(column) || column.ends_with("_poll") || (is_process && column == "state"),
    };
    new.keys().filter(|column| old.get(*column) != new.get(*column)).all(measured)
}

/// Whether that column has measurements by its name.
fn is_measured(column: &str) -> bool {
    column.starts_with("load_") || ["_bytes", "_percent", "_per_second"].iter().any(|end| column.ends_with(end))
}

/// The last part of a path, made fit to be shown.
pub(super) fn file_name(path: &str) -> String {
    printable(path.rsplit(['/', '\\']).next().unwrap_or(path))
}

/// In a table without a key, one row that goes as one comes is one that changed.
fn pair_up(mut changes: Vec<Change>, without_key: bool) -> Vec<Change> {
    if without_key && let [Change::Removed(old), Change::Added(new)] = changes.as_slice() {
        changes = vec![Change::Updated { old: old.clone(), new: new.clone() }];
    }
    changes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A snapshot of a table, as an event.
    pub(crate) fn snapshot(service: &str, table: &str, key: &[&str], rows: Value) -> FeedEvent {
        let value = json!({"service":service,"table":table,"epoch":1,"to":1,"key":key,"rows":rows});
        FeedEvent::Snapshot(TableName::new(service, table), serde_json::from_value(value).unwrap())
    }

    /// The step from state `from` to the next, as an event.
    pub(crate) fn step(service: &str, table: &str, from: u64, mut changes: Value) -> FeedEvent {
        changes["epoch"] = 1.into();
        changes["from"] = from.into();
        changes["to"] = (from + 1).into();
        FeedEvent::Step(TableName::new(service, table), serde_json::from_value(changes).unwrap())
    }

    #[test]
    fn a_table_without_a_key_changes_its_only_row() {
        let mut tables = Tables::default();
        tables.apply(snapshot("system", "load", &[], json!([{"load_1": 0.5}])));
        let change = step("system", "load", 1, json!({"removed":[{"load_1":0.5}],"added":[{"load_1":0.6}]}));
        let happening = tables.apply(change).unwrap();
        assert!(matches!(happening.changes.as_slice(), [Change::Updated { .. }]));
        assert!(is_measurement(&happening.name, &happening.changes[0]));
    }

    #[test]
    fn a_measurement_is_told_from_a_turn() {
        let is = |table: &str, old: Value, new: Value| {
            let row = |value: Value| std::sync::Arc::new(value.as_object().unwrap().clone());
            is_measurement(&TableName::new("s", table), &Change::Updated { old: row(old), new: row(new) })
        };
        assert!(is("load", json!({"load_1":1.5,"tasks":7}), json!({"load_1":1.5,"tasks":8})));
        assert!(is(
            "processes",
            json!({"cpu_percent":1,"threads":1,"state":"a"}),
            json!({"cpu_percent":1,"threads":2,"state":"b"})
        ));
        assert!(!is("mounts", json!({"used_bytes":1,"read_only":false}), json!({"used_bytes":2,"read_only":true})));
        assert!(!is("orders", json!({"id":1,"quantity":1}), json!({"id":1,"quantity":2})));
        assert!(!is("orders", json!({"id":1,"state":"new"}), json!({"id":1,"state":"paid"})));
    }

    #[test]
    fn a_table_is_found_by_what_it_has() {
        let mut tables = Tables::default();
        tables.apply(snapshot("a", "load", &[], json!([{"weight": 1}])));
        tables.apply(snapshot("b", "load", &[], json!([{"load_1": 1}])));
        assert_eq!(tables.called("load", &["load_1"]).unwrap().0.service, "b");
        assert!(tables.called("load", &["load_1", "cpus"]).is_none());
    }

    #[test]
    fn what_goes_is_forgotten() {
        let mut tables = Tables::default();
        tables.apply(snapshot("a", "b", &[], json!([])));
        let gone = || FeedEvent::Gone(TableName::new("a", "b"));
        assert_eq!(tables.apply(gone()).unwrap().kind, Kind::Went);
        assert!(tables.apply(gone()).is_none());
        assert!(tables.apply(step("a", "b", 1, json!({}))).is_none(), "a step of a table that is not there");
    }
}
