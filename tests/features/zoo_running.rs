//! The zoo at run time: builds that misbehave at any step of their life. The host lives, the verdict is precise, and who
//! watches a table sees one epoch and no wrong row.

mod batches;
mod beginnings;
mod deaths;
mod exclusive;
mod files;
mod hangs;
mod probation;
mod states;
mod steps;

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::stream::Stream;
use busway_tests::wait_for;
use serde_json::Value;
use std::collections::BTreeSet;

const FILE: &str = "libfixture.so";

/// A datasource `one` with these options, and a plain one, `two`; all of the fixture driver.
fn datasources(options: &str) -> String {
    format!(
        "[datasource.one]\ndriver = '{ID}'\npoll = '50ms'\ndeadline = '300ms'\n[datasource.one.options]\nrows = \
         40\n{options}\n[datasource.two]\ndriver = '{ID}'\npoll = '50ms'\n"
    )
}

/// A host with both, served by that build.
fn serving(bed: Bed, build: &Fixture, options: &str) -> Host {
    build.rename_into(&bed.plugin(FILE));
    let host = bed.start(&datasources(options));
    host.wait_datasource("one", "running");
    host.wait_datasource("two", "running");
    host
}

/// Somebody who watches table `numbers` of `one`.
struct Watcher {
    stream: Stream,
    epoch: u64,
    /// The revisions seen since last asked.
    seen: BTreeSet<u64>,
}

impl Watcher {
    fn of(host: &Host) -> Self {
        let mut stream = host.stream("one", "numbers");
        stream.follow("the first rows", |_| {}, |rows| rows.is_some());
        let epoch = stream.position().0;
        Self { stream, epoch, seen: BTreeSet::new() }
    }

    /// Follows until rows of that revision are there: at every moment all of them, of one revision, and in one epoch.
    fn until(&mut self, revision: u64) {
        let (seen, what) = (&mut self.seen, format!("revision {revision}"));
        let note = |rows: Option<&[Value]>| {
            seen.insert(of(rows));
        };
        self.stream.follow(&what, note, |rows| of(rows) == revision);
        assert_eq!(
            (self.stream.position().0, self.stream.snapshots()),
            (self.epoch, 1),
            "one epoch, steps all the way"
        );
    }
}

/// The revision that all rows have.
fn of(rows: Option<&[Value]>) -> u64 {
    let rows = rows.expect("the table is there at every moment");
    assert_eq!(rows.len(), 40, "every row is there at every moment");
    assert!(rows.iter().all(|row| row["revision"] == rows[0]["revision"] && row.as_object().unwrap().len() == 2));
    rows[0]["revision"].as_u64().unwrap()
}

/// What came of loads and reloads of the fixture driver, the oldest first.
fn reports(host: &Host) -> Vec<Value> {
    let mut all = host.history("transaction");
    all.retain(|report| report["driver"] == ID);
    all
}

/// Puts a build in place, and waits for what comes of it; the books of whatever was moved balance.
fn attempt(host: &Host, build: &Fixture) -> Value {
    let before = reports(host).len();
    build.rename_into(&host.plugin(FILE));
    let report = wait_for("the end of a reload", || reports(host).get(before).cloned().ok_or_else(|| host.log_text()));
    let ledger = &report["ledger"];
    let moved = matches!(report["outcome"].as_str(), Some("committed" | "rolled_back"));
    assert_eq!(ledger.is_object(), moved, "{report}");
    if moved {
        assert_eq!((ledger["gap"].as_u64(), ledger["dup"].as_u64()), (Some(0), Some(0)), "{report}");
    }
    report
}

/// A report's outcome and reason, without the place in the fixture's source.
fn verdict(report: &Value) -> (String, String) {
    let text = |key: &str| report[key].as_str().unwrap_or_default();
    (text("outcome").to_owned(), placeless(text("reason")))
}

/// A text without the places in the fixture's source.
fn placeless(text: &str) -> String {
    let mut parts = text.split(" (at ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| plain.push_str(part.split_once(')').map_or("", |(_, rest)| rest)));
    plain
}

/// Who put those bytes into quarantine, if anybody did.
fn quarantined(host: &Host, report: &Value) -> Option<String> {
    let (status, held) = host.get("/v1/plugins/quarantine");
    assert_eq!(status, 200, "{held}");
    let held = held["results"].as_array().cloned().unwrap_or_default();
    let held = held.into_iter().find(|one| one["sha256"] == report["sha256"]);
    held.map(|one| one["by"].as_str().unwrap().to_owned())
}

fn polls(row: &Value) -> u64 {
    row["polls"].as_u64().unwrap()
}

/// Both datasources are polled, and their rows are of that revision.
fn runs_on(host: &Host, revision: u64) {
    for name in ["one", "two"] {
        host.wait_row(name, "numbers", &format!("rows of revision {revision}"), |row| row["revision"] == revision);
        let before = polls(&host.wait_datasource(name, "running"));
        host.wait_row("_host", "datasources", "further polls", |row| {
            row["name"] == name && row["state"] == "running" && polls(row) > before
        });
    }
}
