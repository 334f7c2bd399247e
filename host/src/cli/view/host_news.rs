//! What happens to the host itself, in an operator's words: reloads, refusals, failures.

use super::tables::{file_name, number, text};
use crate::cli::cell::printable;
use crate::cli::plugin::predicate;
use crate::cli::replica::Change;
use crate::cli::snapshot::Row;
use crate::cli::table_name::TableName;

/// What is to be said of a change in one of the host's own tables, if anything is.
pub(super) fn told(table: &TableName, change: &Change) -> Option<String> {
    let said = match table.table.as_str() {
        "plugins" => plugin(change),
        "generations" => generation(change),
        "datasources" => datasource(change),
        _ => None,
    };
    said.map(|said| printable(&said))
}

fn plugin(change: &Change) -> Option<String> {
    let file = file_name(text(change.row(), "file"));
    match change {
        Change::Removed(_) => Some(format!("plugin {file} is gone")),
        // What serves is told as a generation.
        Change::Added(row) | Change::Updated { new: row, .. } if text(row, "state") == "serving" => None,
        Change::Updated { old, new } if !differ(old, new, &["state", "reason", "sha256"]) => None,
        Change::Added(row) | Change::Updated { new: row, .. } => {
            Some(format!("plugin {file} is {}{}", predicate(text(row, "state")), because(text(row, "reason"))))
        }
    }
}

fn generation(change: &Change) -> Option<String> {
    let row = change.row();
    let which = format!("driver {}: generation {:.0}", text(row, "driver"), number(row, "generation"));
    match change {
        Change::Removed(_) => None,
        Change::Updated { old, new } if !differ(old, new, &["state"]) => None,
        Change::Added(_) | Change::Updated { .. } => Some(match text(row, "state") {
            "serving" => format!("{which} serves, version {}", text(row, "version")),
            state => format!("{which} is {state}"),
        }),
    }
}

fn datasource(change: &Change) -> Option<String> {
    let row = change.row();
    let name = text(row, "name");
    match change {
        Change::Added(_) => Some(format!("datasource {name} ({}) is new", text(row, "driver"))),
        Change::Removed(_) => Some(format!("datasource {name} is gone")),
        Change::Updated { old, new } if !differ(old, new, &["state", "error"]) => None,
        Change::Updated { new, .. } => {
            Some(format!("datasource {name} is {}{}", text(new, "state"), because(text(new, "error"))))
        }
    }
}

fn differ(old: &Row, new: &Row, columns: &[&str]) -> bool {
    columns.iter().any(|column| old.get(*column) != new.get(*column))
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn row(value: &Value) -> Arc<Row> {
        Arc::new(value.as_object().unwrap().clone())
    }

    fn updated(table: &str, old: &Value, new: &Value) -> Option<String> {
        told(&TableName::of_host(table), &Change::Updated { old: row(old), new: row(new) })
    }

    #[test]
    fn a_reload_is_told_as_two_generations() {
        let second = json!({"driver":"system","generation":2,"version":"0.2.0","state":"serving","sources":0});
        let said = told(&TableName::of_host("generations"), &Change::Added(row(&second)));
        assert_eq!(said.unwrap(), "driver system: generation 2 serves, version 0.2.0");
        let first = |state: &str| json!({"driver":"system","generation":1,"state":state,"sources":1});
        assert_eq!(
            updated("generations", &first("serving"), &first("retired")).unwrap(),
            "driver system: generation 1 is retired"
        );
        let busier = json!({"driver":"system","generation":2,"version":"0.2.0","state":"serving","sources":1});
        assert_eq!(updated("generations", &second, &busier), None);
    }

    #[test]
    fn a_refusal_says_why() {
        let refused = json!({"file":"a.so","state":"refused","reason":"not an\nobject file"});
        let said = told(&TableName::of_host("plugins"), &Change::Added(row(&refused)));
        assert_eq!(said.unwrap(), "plugin a.so is refused: not an\\nobject file");
        let serving = json!({"file":"a.so","state":"serving","reason":null});
        assert_eq!(updated("plugins", &refused, &serving), None);
    }

    #[test]
    fn a_datasources_polls_are_no_news_but_its_failure_is() {
        let running = |polls: u64| json!({"name":"db","state":"running","error":null,"polls":polls});
        assert_eq!(updated("datasources", &running(1), &running(2)), None);
        let failed = json!({"name":"db","state":"failed","error":"no route","polls":2});
        assert_eq!(updated("datasources", &running(2), &failed).unwrap(), "datasource db is failed: no route");
        assert_eq!(told(&TableName::of_host("tables"), &Change::Added(row(&failed))), None);
    }
}
