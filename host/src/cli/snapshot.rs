//! What the host answers: tables and their steps, as JSON carries them.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// One row: its columns' values, in the table's order.
pub(crate) type Row = Map<String, Value>;

/// A table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Who publishes it.
    pub(crate) service: String,
    /// Its name.
    pub(crate) table: String,
    /// The run of numbers that `to` belongs to.
    pub(crate) epoch: u64,
    /// The number of this state within its epoch.
    pub(crate) to: u64,
    /// When it was so.
    #[serde(default)]
    pub(crate) as_of: Option<String>,
    /// The columns that tell a row from the others; none if a row is its own key.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) key: Vec<String>,
    /// What the rows consist of.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) columns: Vec<Column>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// How many rows there are, on all pages.
    #[serde(default, skip_serializing)]
    pub(crate) total_rows: Option<usize>,
    /// Whether more rows of the same state follow, in another event.
    #[serde(default, skip_serializing)]
    pub(crate) more: bool,
}

impl Snapshot {
    /// The columns' names: as declared, or, should the host not say, as the rows have them.
    pub(crate) fn column_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        if names.is_empty() {
            for name in self.rows.iter().flat_map(Row::keys) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }
}

/// A column of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// What its values are.
    #[serde(rename = "type", default)]
    pub(crate) kind: Value,
    /// Whether a value may be missing.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) nullable: bool,
    /// What it means.
    #[serde(default)]
    pub(crate) description: Option<String>,
}

/// What takes a table from state `from` to state `to`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Step {
    /// The run of numbers that both belong to.
    pub(crate) epoch: u64,
    /// The state it starts at.
    pub(crate) from: u64,
    /// The state it leads to.
    pub(crate) to: u64,
    /// Rows that came.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) added: Vec<Row>,
    /// Rows that went.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) removed: Vec<Row>,
    /// Rows whose values changed under the same key.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) updated: Vec<Update>,
}

/// A row before and after.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Update {
    /// Before.
    pub(crate) old: Row,
    /// After.
    pub(crate) new: Row,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(source: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_leaves_out_is_empty() {
        let text = r#"{"service":"a","table":"b","epoch":1,"to":2,"key":null,"rows":[{"z":1,"a":2},{"m":3}],"new":1}"#;
        let snapshot: Snapshot = serde_json::from_str(text).unwrap();
        assert_eq!(snapshot.column_names(), ["z", "a", "m"]);
        assert!(snapshot.key.is_empty());
        let step: Step = serde_json::from_str(r#"{"epoch":1,"from":2,"to":3}"#).unwrap();
        assert_eq!(step, Step { epoch: 1, from: 2, to: 3, ..Step::default() });
    }
}
