//! A table as a follower has it: rows in the order of their keys, brought forward step by step.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::snapshot::{Row, Snapshot, Step};

/// What happened to one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// It came.
    Added(Arc<Row>),
    /// It went.
    Removed(Arc<Row>),
    /// Its values changed.
    Updated {
        /// Before.
        old: Arc<Row>,
        /// After.
        new: Arc<Row>,
    },
}

impl Change {
    /// The row as it is now, or was at last.
    pub(crate) fn row(&self) -> &Arc<Row> {
        match self {
            Self::Added(row) | Self::Removed(row) | Self::Updated { new: row, .. } => row,
        }
    }

    /// `+`, `-` or `~`.
    pub(crate) fn sign(&self) -> char {
        match self {
            Self::Added(_) => '+',
            Self::Removed(_) => '-',
            Self::Updated { .. } => '~',
        }
    }
}

/// One value of a key, which sorts as people expect: numbers by size.
#[derive(Clone, Debug)]
enum KeyPart {
    Number(f64, String),
    Text(String),
}

impl KeyPart {
    fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Number(number)) => Self::Number(number.as_f64().unwrap_or(f64::NAN), number.to_string()),
            Some(Value::String(text)) => Self::Text(text.clone()),
            Some(other) => Self::Text(other.to_string()),
            None => Self::Text(String::new()),
        }
    }
}

impl Ord for KeyPart {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // The text tells apart what an f64 can't.
            (Self::Number(a, a_text), Self::Number(b, b_text)) => a.total_cmp(b).then_with(|| a_text.cmp(b_text)),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(..), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(..)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for KeyPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyPart {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyPart {}

/// What tells a row from the others of its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey(Vec<KeyPart>);

/// A followed table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    columns: Vec<String>,
    key: Vec<String>,
    epoch: u64,
    to: u64,
    rows: BTreeMap<RowKey, Arc<Row>>,
}

impl Replica {
    /// The table at its first moment.
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let mut replica = Self::default();
        replica.replace(snapshot);
        replica
    }

    /// Its columns' names.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The names of its key's columns.
    pub(crate) fn key(&self) -> &[String] {
        &self.key
    }

    /// The number of the state it is in.
    pub(crate) fn to(&self) -> u64 {
        self.to
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Its rows in the order of their keys.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }

    /// What tells `row` from the others.
    pub(crate) fn key_of(&self, row: &Row) -> RowKey {
        if self.key.is_empty() {
            RowKey(row.values().map(|value| KeyPart::of(Some(value))).collect())
        } else {
            RowKey(self.key.iter().map(|column| KeyPart::of(row.get(column))).collect())
        }
    }

    /// Takes the whole table anew, and tells what that changed.
    pub(crate) fn replace(&mut self, snapshot: Snapshot) -> Vec<Change> {
        self.columns = snapshot.column_names();
        self.epoch = snapshot.epoch;
        self.to = snapshot.to;
        if self.key != snapshot.key {
            self.key = snapshot.key;
            // Under another key nothing is the same row.
            let mut changes: Vec<Change> = std::mem::take(&mut self.rows).into_values().map(Change::Removed).collect();
            changes.extend(snapshot.rows.into_iter().map(|row| self.put(row)));
            return changes;
        }
        let mut before = std::mem::take(&mut self.rows);
        let mut changes = Vec::new();
        for row in snapshot.rows {
            let (key, new) = (self.key_of(&row), Arc::new(row));
            match before.remove(&key) {
                Some(old) if old != new => changes.push(Change::Updated { old, new: new.clone() }),
                Some(_) => {}
                None => changes.push(Change::Added(new.clone())),
            }
            self.rows.insert(key, new);
        }
        changes.extend(before.into_values().map(Change::Removed));
        changes
    }

    /// Takes a step. Nothing if it is one that the table has behind it already; the caller sees to it that none is missing.
    pub(crate) fn apply(&mut self, step: Step) -> Vec<Change> {
        if step.epoch != self.epoch || step.to <= self.to {
            return Vec::new();
        }
        self.to = step.to;
        let mut changes = Vec::new();
        for row in step.removed {
            let key = self.key_of(&row);
            changes.extend(self.rows.remove(&key).map(Change::Removed));
        }
        for update in step.updated {
            self.rows.remove(&self.key_of(&update.old));
            let new = Arc::new(update.new);
            self.rows.insert(self.key_of(&new), new.clone());
            changes.push(Change::Updated { old: Arc::new(update.old), new });
        }
        changes.extend(step.added.into_iter().map(|row| self.put(row)));
        changes
    }

    fn put(&mut self, row: Row) -> Change {
        let (key, row) = (self.key_of(&row), Arc::new(row));
        self.rows.insert(key, row.clone());
        Change::Added(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(id: i64, name: &str) -> Value {
        json!({"id": id, "name": name})
    }

    fn snapshot(to: u64, rows: &[Value]) -> Snapshot {
        let value = json!({"service":"a","table":"b","epoch":1,"to":to,"key":["id"],"rows":rows});
        serde_json::from_value(value).unwrap()
    }

    fn names(replica: &Replica) -> Vec<String> {
        replica.rows().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rows_are_in_the_order_of_their_keys() {
        let replica = Replica::new(snapshot(1, &[row(10, "ten"), row(9, "nine"), row(-1, "minus")]));
        assert_eq!(names(&replica), ["minus", "nine", "ten"]);
        let big = [row(9_007_199_254_740_993, "b"), row(9_007_199_254_740_992, "a")];
        assert_eq!(names(&Replica::new(snapshot(1, &big))), ["a", "b"]);
    }

    #[test]
    fn a_step_changes_what_it_says() {
        let mut replica = Replica::new(snapshot(1, &[row(1, "one"), row(2, "two")]));
        let step = json!({"epoch":1,"from":1,"to":2,"added":[row(3,"three")],"removed":[row(1,"one")],
            "updated":[{"old":row(2,"two"),"new":row(2,"zwei")}]});
        let step: Step = serde_json::from_value(step).unwrap();
        let signs: String = replica.apply(step.clone()).iter().map(Change::sign).collect();
        assert_eq!((signs.as_str(), names(&replica)), ("-~+", vec!["zwei".to_owned(), "three".to_owned()]));
        assert!(replica.apply(step).is_empty(), "a step twice is a step once");
    }

    #[test]
    fn a_new_snapshot_tells_what_changed() {
        let mut replica = Replica::new(snapshot(1, &[row(1, "one"), row(2, "two")]));
        let changes = replica.replace(snapshot(9, &[row(2, "zwei"), row(3, "three")]));
        let signs: String = changes.iter().map(Change::sign).collect();
        assert_eq!((signs.as_str(), replica.to(), replica.len()), ("~+-", 9, 2));
    }

    #[test]
    fn without_a_key_a_row_is_its_own() {
        let value = json!({"service":"a","table":"b","epoch":1,"to":1,"rows":[{"x":1},{"x":2}]});
        let mut replica = Replica::new(serde_json::from_value(value).unwrap());
        let step = json!({"epoch":1,"from":1,"to":2,"removed":[{"x":1}],"added":[{"x":null}]});
        assert_eq!(replica.apply(serde_json::from_value(step).unwrap()).len(), 2);
        assert_eq!(replica.len(), 2);
    }
}
