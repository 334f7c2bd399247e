//! What happened, in lines that a person can follow.

use super::host_news;
use super::tables::{Happening, Kind, is_measurement};
use crate::cli::cell::{count_of, fields};
use crate::cli::replica::Change;
use crate::cli::table_name::TableName;
use crate::cli::watch::{differences, of_key};

/// A step that changes more rows than this is told as a sum.
const MOST_ROWS: usize = 5;

/// One line of news.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// `+`, `-`, `~`, or `=` for a whole table.
    pub(super) sign: char,
    /// The table.
    pub(super) name: TableName,
    /// What happened to it.
    pub(super) text: String,
}

/// The lines that tell of `happening`; `key` are the columns of the table's key. Measurements are left to the gauges.
pub(super) fn lines(happening: &Happening, key: &[String]) -> Vec<Line> {
    let name = &happening.name;
    let line = |sign: char, text: String| Line { sign, name: name.clone(), text };
    if name.is_hidden() {
        let turns = happening.changes.iter().filter_map(|change| Some((change.sign(), host_news::told(name, change)?)));
        return turns.map(|(sign, text)| line(sign, text)).collect();
    }
    match happening.kind {
        Kind::Came(rows) => return vec![line('=', count_of(rows))],
        Kind::Went => return vec![line('-', "the table is gone".to_owned())],
        Kind::Changed(_) => {}
    }
    let news: Vec<&Change> = happening.changes.iter().filter(|change| !is_measurement(name, change)).collect();
    let (updated, others): (Vec<&Change>, Vec<&Change>) =
        news.iter().partition(|change| matches!(change, Change::Updated { .. }));
    // Rows that come and go are told before those that changed are.
    let mut lines = Vec::new();
    for group in [others, updated] {
        let room = MOST_ROWS.saturating_sub(lines.len());
        if group.len() <= room {
            lines.extend(group.iter().map(|change| line(change.sign(), told(change, key))));
        } else {
            let sign = if group.iter().all(|change| change.sign() == group[0].sign()) { group[0].sign() } else { '~' };
            lines.push(line(sign, sum(&group)));
        }
    }
    lines
}

fn told(change: &Change, key: &[String]) -> String {
    match change {
        Change::Added(row) | Change::Removed(row) => fields(row),
        Change::Updated { old, new } => {
            let (row, differences) = (of_key(new, key), differences(old, new, key));
            if row.is_empty() { differences } else { format!("{row} {differences}") }
        }
    }
}

/// `12 rows came, 3 went`.
fn sum(changes: &[&Change]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (sign, verb) in [('+', "came"), ('-', "went"), ('~', "changed")] {
        match changes.iter().filter(|change| change.sign() == sign).count() {
            0 => {}
            count if parts.is_empty() => parts.push(format!("{} {verb}", count_of(count))),
            count => parts.push(format!("{count} {verb}")),
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::{snapshot, step};
    use super::*;
    use serde_json::{Value, json};

    fn said(table: (&str, &str), rows: Value, changes: Value) -> Vec<String> {
        let mut tables = super::super::tables::Tables::default();
        tables.apply(snapshot(table.0, table.1, &["id"], rows));
        let happening = tables.apply(step(table.0, table.1, 1, changes)).unwrap();
        lines(&happening, &["id".to_owned()])
            .into_iter()
            .map(|line| format!("{} {} {}", line.sign, line.name, line.text))
            .collect()
    }

    #[test]
    fn few_rows_are_told_one_by_one() {
        let changes = json!({"added":[{"id":3,"name":"c d"}],"removed":[{"id":1,"name":"a"}],
            "updated":[{"old":{"id":2,"name":"b"},"new":{"id":2,"name":"B"}}]});
        assert_eq!(
            said(("s", "t"), json!([{"id":1,"name":"a"},{"id":2,"name":"b"}]), changes),
            ["- s/t id=1 name=a", "+ s/t id=3 name=\"c d\"", "~ s/t id=2 name=b→B"]
        );
    }

    #[test]
    fn many_rows_are_told_as_a_sum() {
        let many: Vec<Value> = (2..9).map(|id| json!({"id": id})).collect();
        let all = json!({"added": many, "removed": [{"id": 1}]});
        assert_eq!(said(("s", "t"), json!([{"id":1}]), all), ["~ s/t 7 rows came, 1 went"]);
        let updated: Vec<Value> = (1..8).map(|id| json!({"old":{"id":id,"n":1},"new":{"id":id,"n":2}})).collect();
        let changes = json!({"added": [{"id": 70}], "updated": updated});
        assert_eq!(said(("s", "t"), json!([]), changes), ["+ s/t id=70", "~ s/t 7 rows changed"]);
    }
}
