//! `busway watch`: a table and every change of it.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use crate::bus::Selector;

use super::cell::{count_of, field, fields, shortened, width};
use super::client::Client;
use super::failure::Failure;
use super::follow::{Follower, News};
use super::followers::Followers;
use super::grid::Grid;
use super::output::{BOLD, DIM, Format, GREEN, Output, Paint, RED, YELLOW};
use super::replica::{Change, Replica};
use super::snapshot::{Row, Snapshot};
use super::table_name::{TableName, ensure, explain, known, resolve};

/// Print a table, then each change of it as it comes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway watch files/orders
  busway watch system/processes --output jsonl | jq -c 'select(.op == \"add\") | .row.name'
  busway watch files/orders --count 1      waits for the next change
  busway watch '#/orders'                  of all services, those that come later too

Between dots, * is any word and # any number of words. If the host goes away, this says so on
stderr, waits for it and goes on where it was, or with what is different.

JSON and JSON lines: one object a line:
  {\"op\":\"snapshot\",\"service\",\"table\",\"epoch\",\"to\",\"as_of\",\"key\",\"columns\",\"rows\"}   what was before is void
  {\"op\":\"add\",\"epoch\",\"to\",\"row\"}  {\"op\":\"remove\",\"epoch\",\"to\",\"row\"}
  {\"op\":\"update\",\"epoch\",\"to\",\"old\",\"new\"}  {\"op\":\"gone\"}
Of a pattern, each says \"service\" and \"table\", too.")]
pub(crate) struct WatchArguments {
    /// The table, SERVICE/TABLE; TABLE alone if only one service has it; or a pattern such as web.*/orders
    #[arg(value_name = "SERVICE/TABLE")]
    table: String,
    /// End after so many changes (a row that comes, goes or changes, or a table's going)
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Prints what happens to a table, or to all that a pattern meets, until the count is reached or Ctrl-C.
pub(crate) async fn run(client: &Client, arguments: &WatchArguments, output: &mut Output) -> Result<(), Failure> {
    let mut watch = Watch { many: false, replicas: BTreeMap::new(), left: arguments.count, away: false };
    if let Some(pattern) = pattern(&arguments.table)? {
        watch.many = true;
        if !known(client).await?.iter().any(|name| meets(&pattern, name)) {
            output.note(&format!("no table meets {pattern} yet; waiting for one"));
        }
        let mut followers = Followers::new(client.clone(), pattern.to_string());
        while watch.left != Some(0) {
            let (name, news) = unless_interrupted(followers.next(), output).await?;
            let name = name.unwrap_or_else(|| TableName::new(pattern.service().to_string(), "…"));
            if let Some(failure) = watch.take(&name, news, output)? {
                return Err(failure);
            }
            output.flush()?;
        }
        return Ok(());
    }
    let name = resolve(client, &arguments.table).await?;
    ensure(client, &name).await?;
    let mut follower = Follower::new(client.clone(), name.clone());
    while watch.left != Some(0) {
        let news = unless_interrupted(follower.next(), output).await?;
        if let Some(failure) = watch.take(&name, news, output)? {
            return Err(explain(client, &name, failure).await);
        }
        output.flush()?;
    }
    Ok(())
}

/// What is written with wildcards.
fn pattern(reference: &str) -> Result<Option<Selector>, Failure> {
    let is_wildcard = |word: &str| word == "*" || word == "#";
    if !reference.split(['.', '/']).any(is_wildcard) {
        return Ok(None);
    }
    Ok(Some(reference.parse()?))
}

/// As far as names tell: a shared address is known to the host alone.
fn meets(pattern: &Selector, name: &TableName) -> bool {
    pattern.has_service(&name.service) && pattern.has_table(&name.table)
}

async fn unless_interrupted<T>(news: impl Future<Output = T>, output: &mut Output) -> Result<T, Failure> {
    tokio::select! {
        news = news => Ok(news),
        interrupt = tokio::signal::ctrl_c() => {
            output.flush()?;
            Err(interrupt.map_or_else(Failure::from, |()| Failure::Interrupted))
        }
    }
}

struct Watch {
    /// Whether each line says which table it is about.
    many: bool,
    replicas: BTreeMap<TableName, Replica>,
    /// How many changes may still be printed.
    left: Option<u64>,
    away: bool,
}

impl Watch {
    /// Prints the news. A failure that waiting does not mend is given back.
    fn take(&mut self, name: &TableName, news: News, output: &mut Output) -> Result<Option<Failure>, Failure> {
        match news {
            News::Snapshot(snapshot) => {
                self.back(name, snapshot.to, output);
                self.snapshot(name, snapshot, output)?;
            }
            News::Resumed { to } => self.back(name, to, output),
            News::Step(step) => {
                let (epoch, to) = (step.epoch, step.to);
                let Some(replica) = self.replicas.get_mut(name) else { return Ok(None) };
                let changes = replica.apply(step);
                self.changes(name, &changes, (epoch, to), output)?;
            }
            News::Gone => {
                if output.format() == Format::Table {
                    let line = format!("{name} is gone; waiting for it");
                    let line = output.paint().put(YELLOW, &line);
                    output.line(&line)?;
                } else {
                    output.json_line(&self.named(name, json!({"op": "gone"})))?;
                }
                self.replicas.remove(name);
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            News::Lost { failure: failure @ Failure::Refused { .. }, .. } if self.replicas.is_empty() && !self.away => {
                return Ok(Some(failure));
            }
            News::Lost { failure, wait } => {
                if !std::mem::replace(&mut self.away, true) {
                    let text = format!("{failure}; trying again in {wait:?}, then ever more slowly");
                    output.note(&if self.many { text } else { format!("{name}: {text}") });
                }
            }
        }
        Ok(None)
    }

    fn back(&mut self, name: &TableName, to: u64, output: &mut Output) {
        if std::mem::take(&mut self.away) {
            output.note(&if self.many { "back".to_owned() } else { format!("{name}: back, at step {to}") });
        }
    }

    /// Of several tables, an object says which it is about.
    fn named(&self, name: &TableName, object: Value) -> Value {
        match object {
            Value::Object(mut fields) if self.many => {
                // Behind the first, which says what happened.
                for (at, (key, value)) in [("service", &name.service), ("table", &name.table)].into_iter().enumerate() {
                    fields.shift_insert(at + 1, key.to_owned(), Value::from(value.as_str()));
                }
                Value::Object(fields)
            }
            other => other,
        }
    }

    fn snapshot(&mut self, name: &TableName, snapshot: Snapshot, output: &mut Output) -> Result<(), Failure> {
        if output.format() != Format::Table {
            let mut line = json!({"op": "snapshot"});
            if let (Some(line), Ok(Value::Object(fields))) = (line.as_object_mut(), serde_json::to_value(&snapshot)) {
                line.extend(fields);
            }
            self.replicas.insert(name.clone(), Replica::new(snapshot));
            return output.json_line(&line);
        }
        match self.replicas.get_mut(name) {
            // Someone who reads along wants what is new, not the whole anew.
            Some(replica) => {
                let at = (snapshot.epoch, snapshot.to);
                let changes = replica.replace(snapshot);
                self.changes(name, &changes, at, output)
            }
            None if self.many => {
                let rows = count_of(snapshot.rows.len());
                let line = format!("= {name}: {rows} at step {}", snapshot.to);
                self.replicas.insert(name.clone(), Replica::new(snapshot));
                output.line(&line)
            }
            None => {
                let grid = Grid::new(&snapshot.column_names(), &snapshot.rows);
                let drawn = grid.lines(output.width(), &|_, text| text.to_owned(), output.paint());
                drawn.lines.iter().try_for_each(|line| output.line(line))?;
                let rows = count_of(snapshot.rows.len());
                let title = format!("{name}: {rows} at step {}; changes follow", snapshot.to);
                self.replicas.insert(name.clone(), Replica::new(snapshot));
                output.flush()?;
                output.note(&title);
                Ok(())
            }
        }
    }

    fn changes(
        &mut self,
        name: &TableName,
        changes: &[Change],
        (epoch, to): (u64, u64),
        output: &mut Output,
    ) -> Result<(), Failure> {
        let key = self.replicas.get(name).map(|replica| replica.key().to_vec()).unwrap_or_default();
        for change in changes {
            if self.left == Some(0) {
                break;
            }
            self.left = self.left.map(|left| left - 1);
            match output.format() {
                Format::Table if self.many => {
                    let text = name.to_string();
                    let room = output.width().map(|most| most.saturating_sub(width(&text) + 1));
                    let line = line(change, &key, room, output.paint());
                    output.line(&format!("{text} {line}"))?;
                }
                Format::Table => {
                    let line = line(change, &key, output.width(), output.paint());
                    output.line(&line)?;
                }
                Format::Json | Format::Jsonl => {
                    output.json_line(&self.named(name, object(change, epoch, to)))?;
                }
            }
        }
        Ok(())
    }
}

/// A change as an object.
pub(super) fn object(change: &Change, epoch: u64, to: u64) -> Value {
    match change {
        Change::Added(row) => json!({"op":"add","epoch":epoch,"to":to,"row":**row}),
        Change::Removed(row) => json!({"op":"remove","epoch":epoch,"to":to,"row":**row}),
        Change::Updated { old, new } => json!({"op":"update","epoch":epoch,"to":to,"old":**old,"new":**new}),
    }
}

/// A change as `+ …`, `- …` or `~ KEY column=old→new`.
fn line(change: &Change, key: &[String], most: Option<usize>, paint: Paint) -> String {
    labelled(change, "", key, most, paint)
}

/// The same, with a name before the row: `+ orders id=7`.
pub(super) fn labelled(change: &Change, label: &str, key: &[String], most: Option<usize>, paint: Paint) -> String {
    let style = match change {
        Change::Added(_) => GREEN,
        Change::Removed(_) => RED,
        Change::Updated { .. } => YELLOW,
    };
    let (head, rest) = match change {
        Change::Added(row) | Change::Removed(row) => (String::new(), fields(row)),
        Change::Updated { old, new } => (of_key(new, key), differences(old, new, key)),
    };
    let room = most.map_or(usize::MAX, |most| most.saturating_sub(2));
    let label = shortened(label, room);
    let room = room.saturating_sub(width(&label) + usize::from(!label.is_empty()));
    let head = shortened(&head, room);
    let rest = shortened(&rest, room.saturating_sub(width(&head) + usize::from(!head.is_empty())));
    let mut line = paint.put(style.bold(), &change.sign().to_string());
    if !label.is_empty() {
        line.push(' ');
        line.push_str(&label);
    }
    for (part, style) in [(head, BOLD), (rest, if matches!(change, Change::Updated { .. }) { DIM } else { style })] {
        if !part.is_empty() {
            line.push(' ');
            // What changed is to be read: only the signs and the keys stand out.
            line.push_str(&if style == DIM { part } else { paint.put(style, &part) });
        }
    }
    line
}

pub(super) fn of_key(row: &Row, key: &[String]) -> String {
    let part = |column: &String| row.get(column).map(|value| field(column, value));
    key.iter().filter_map(part).collect::<Vec<_>>().join(" ")
}

/// What differs between the two, as `column=old→new`.
pub(super) fn differences(old: &Row, new: &Row, key: &[String]) -> String {
    let gone = old.keys().filter(|column| !new.contains_key(*column));
    let parts: Vec<String> = new
        .keys()
        .chain(gone)
        .filter(|column| !key.contains(column) && old.get(*column) != new.get(*column))
        .map(|column| {
            let value = |row: &Row| row.get(column).cloned().unwrap_or_default();
            let (old, new) = (field(column, &value(old)), field(column, &value(new)));
            format!("{old}→{}", new.get(column.len() + 1..).unwrap_or_default())
        })
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::mock::MockHost;
    use super::super::output::tests::pages;
    use super::*;

    fn orders() -> TableName {
        TableName::new("files", "orders")
    }

    fn step() -> Value {
        json!({"epoch":1,"from":7,"to":8,"added":[{"id":11,"customer":"Alan","total":1}],"removed":[{"id":1,"customer":"Ada"}],
            "updated":[{"old":{"id":2,"customer":"Grace","total":7},"new":{"id":2,"customer":"Grace","total":9.5}}]})
    }

    async fn watched(format: Format, count: u64) -> (String, String) {
        let host = MockHost::start().await;
        let (mut output, data, diagnostics) = pages(format, None);
        let client = Client::new(host.socket());
        let arguments = WatchArguments { table: "orders".to_owned(), count: Some(count) };
        let said = data.clone();
        let speak = async {
            while said.text().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            host.send(&orders(), "step", &step());
            host.send(&orders(), "gone", &json!({}));
        };
        let (ended, ()) = tokio::join!(run(&client, &arguments, &mut output), speak);
        ended.unwrap();
        (data.text(), diagnostics.text())
    }

    #[tokio::test]
    async fn changes_follow_the_table() {
        let (data, diagnostics) = watched(Format::Table, 4).await;
        let lines: Vec<&str> = data.lines().skip(4).collect();
        assert_eq!(
            lines,
            [
                "- id=1 customer=Ada total=12.5 size_bytes=2.0KiB tags=[\"new\"]",
                "~ id=2 total=7→9.5",
                "+ id=11 customer=Alan total=1",
                "files/orders is gone; waiting for it"
            ]
        );
        assert_eq!(diagnostics, "files/orders: 3 rows at step 7; changes follow\n");
    }

    #[tokio::test]
    async fn every_line_of_json_says_what_it_is() {
        let (data, diagnostics) = watched(Format::Jsonl, 2).await;
        let lines: Vec<Value> = data.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ops: Vec<&str> = lines.iter().map(|line| line["op"].as_str().unwrap()).collect();
        assert_eq!((ops, diagnostics.as_str()), (vec!["snapshot", "remove", "update"], ""));
        assert_eq!(lines[0]["rows"].as_array().unwrap().len(), 3);
        assert_eq!((&lines[2]["new"]["total"], &lines[2]["to"]), (&json!(9.5), &json!(8)));
    }

    #[tokio::test]
    async fn a_host_that_goes_away_is_waited_for() {
        let mut host = MockHost::start().await;
        let (mut output, data, diagnostics) = pages(Format::Table, None);
        let client = Client::new(host.socket());
        let arguments = WatchArguments { table: "orders".to_owned(), count: Some(1) };
        let said = data.clone();
        let restart = async {
            while said.text().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            host.stop().await;
            host.put(json!({"service":"files","table":"orders","epoch":2,"to":1,"key":["id"],"rows":[
                {"id":1,"customer":"Ada","total":12.5,"size_bytes":2048,"tags":["new"]},
                {"id":10,"customer":"Edsger","total":1200.25,"size_bytes":13_000_000,"tags":{"a":1}}]}));
            host.restart().await;
        };
        let (ended, ()) = tokio::join!(run(&client, &arguments, &mut output), restart);
        ended.unwrap();
        assert_eq!(data.text().lines().last().unwrap(), "- id=2 customer=Grace\\nHopper total=7 size_bytes=- tags=[]");
        let notes = diagnostics.text();
        assert!(notes.contains("files/orders: the host went away: "), "{notes}");
        assert!(
            notes.ends_with("; trying again in 250ms, then ever more slowly\nfiles/orders: back, at step 1\n"),
            "{notes}"
        );
    }

    #[tokio::test]
    async fn a_table_that_is_not_there_is_not_waited_for() {
        let host = MockHost::start().await;
        let (mut output, _, _) = pages(Format::Table, None);
        let arguments = WatchArguments { table: "files/order".to_owned(), count: None };
        let failure = run(&Client::new(host.socket()), &arguments, &mut output).await.unwrap_err();
        assert_eq!(failure.report().unwrap(), "error: no table files/order\n  try: files/orders, which is a near name");
    }

    #[test]
    fn lines_fit_their_width() {
        let change =
            Change::Added(std::sync::Arc::new(json!({"id": 1, "customer": "Ada"}).as_object().unwrap().clone()));
        assert_eq!(line(&change, &[], Some(12), Paint::default()), "+ id=1 cust…");
        let painted = line(&change, &[], Some(12), Paint::new(true));
        assert!(painted.contains("\u{1b}[32m") && painted.ends_with("\u{1b}[0m"), "{painted:?}");
    }
}
