//! One build after the other under load, bad ones among them, while an independent process follows: it misses no state, gets
//! none twice, and all in order.
//!
//! `BUSWAY_RELOADS` says how many there are. With `BUSWAY_DISTINCT` set no two builds have the same bytes, so each is
//! mapped: then it is said what memory a retired generation holds.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::running::Running;
use busway_tests::wait_for;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROWS: usize = 40;
/// The datasources make this one panic when it is in charge.
const PANICS: u32 = 950;
/// So often the build is a bad one.
const BAD: usize = 6;

fn datasources() -> String {
    let one = |name: &str| {
        format!(
            "[datasource.{name}]\ndriver = '{ID}'\npoll = '50ms'\n[datasource.{name}.options]\nrows = {ROWS}\nfault = \
             'poll_panic'\nfault_of = {PANICS}\nafter = 1\n"
        )
    };
    one("one") + &one("two")
}

/// A build that has its like nowhere.
fn unlike(fixture: Fixture, number: usize) -> Fixture {
    fixture.replace("fixture panics in an action", &format!("fixture panics, build {number:05}"))
}

/// What a process that follows `numbers` printed, line by line.
#[derive(Default)]
struct Consumer {
    rows: BTreeMap<u64, u64>,
    at: (u64, u64),
    /// The revision of each state, in order, and the state's number.
    states: Vec<(u64, u64)>,
    snapshots: usize,
}

impl Consumer {
    fn line(&mut self, line: &str) {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let row = |key: &str| (line[key]["id"].as_u64().unwrap(), line[key]["revision"].as_u64().unwrap());
        let place = (line["epoch"].as_u64().unwrap_or_default(), line["to"].as_u64().unwrap_or_default());
        match line["op"].as_str().unwrap() {
            "snapshot" => {
                let read = |row: &Value| (row["id"].as_u64().unwrap(), row["revision"].as_u64().unwrap());
                self.rows = line["rows"].as_array().unwrap().iter().map(read).collect();
                self.snapshots += 1;
                self.at = place;
            }
            "update" => {
                let ((old, before), (new, after)) = (row("old"), row("new"));
                assert_eq!((old, self.rows.get(&old)), (new, Some(&before)), "what changes is held: {line}");
                assert_eq!(place.0, self.at.0, "one epoch: {line}");
                assert!(place.1 == self.at.1 || place.1 == self.at.1 + 1, "none is missed, none comes late: {line}");
                if place.1 > self.at.1 {
                    self.whole();
                    self.states.push((place.1, after));
                }
                self.at = place;
                self.rows.insert(new, after);
            }
            other => panic!("{other}: no row comes, none goes"),
        }
    }

    /// No state is of two builds.
    fn whole(&self) {
        let first = self.rows.values().next().unwrap();
        assert!(self.rows.len() == ROWS && self.rows.values().all(|revision| revision == first), "{:?}", self.rows);
    }

    fn stands_at(&self, revision: u32) -> bool {
        self.rows.len() == ROWS && self.rows.values().all(|held| *held == u64::from(revision))
    }
}

/// Waits for the end of what was begun last, after generation `after`.
fn report(host: &Host, after: u64) -> Value {
    wait_for("the end of a reload", || {
        let (_, history) = host.get(&format!("/v1/plugins/history?driver={ID}&limit=8"));
        let entries = history["results"].as_array().unwrap();
        let newer = |entry: &&Value| entry["event"] == "transaction" && entry["to"].as_u64() > Some(after);
        entries.iter().find(newer).cloned().ok_or_else(|| format!("{history:#}"))
    })
}

fn resident(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn inv05_no_state_is_missed_doubled_or_out_of_order_over_many_reloads() {
    let reloads = std::env::var("BUSWAY_RELOADS").map_or(25, |text| text.parse().expect("a number"));
    let distinct = std::env::var_os("BUSWAY_DISTINCT").is_some();
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("a.so"));
    let mut host = bed.start(&datasources());
    ["one", "two"].iter().for_each(|name| drop(host.wait_datasource(name, "running")));
    let mut process = Running::start(host.command(&["watch", "one/numbers", "--output", "jsonl"]));
    let mut consumer = Consumer::default();
    consumer.line(&process.line());
    let over = AtomicBool::new(false);
    let mut ticks = host.stream("two", "ticks");
    let (expected, taken_back, counted) = std::thread::scope(|scope| {
        let over = Over(&over);
        let flag = over.0;
        // Every step of a table that changes with every poll fits on the one before: `Stream` minds it.
        let counted = scope.spawn(move || {
            let mut polls: Vec<u64> = Vec::new();
            while !flag.load(Ordering::SeqCst) {
                if ticks.take(Duration::from_millis(100)) {
                    polls.push(ticks.rows().unwrap()[0]["polls"].as_u64().unwrap());
                }
            }
            assert_eq!(ticks.snapshots(), 1, "steps, not snapshots");
            polls
        });
        let (expected, taken_back) = drive(&host, reloads, distinct);
        drop(over);
        (expected, taken_back, counted.join().expect("no step is missed"))
    });
    let last = *expected.last().unwrap();
    while !consumer.stands_at(last) || consumer.states.len() < expected.len() {
        consumer.line(&process.line());
    }
    let seen: Vec<u32> = consumer.states.iter().map(|(_, revision)| u32::try_from(*revision).unwrap()).collect();
    assert_eq!(seen, expected, "gap 0, duplicate 0, reordered 0");
    assert_eq!(consumer.snapshots, 1);
    let back = counted.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(back <= taken_back, "it counts on over every reload but those that were taken back: {back} > {taken_back}");
    assert!(host.is_alive());
    eprintln!("{} states of one table, {} of the other", seen.len(), counted.len());
}

/// Set when the end begins, whatever that is.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Puts one build after the other in place. Answers the revisions that must have been seen, and how many were taken back
/// on probation.
fn drive(host: &Host, reloads: usize, distinct: bool) -> (Vec<u32>, usize) {
    let file = host.plugin("a.so");
    let (mut expected, mut serving, mut generation, mut back) = (Vec::new(), 1, 1, 0);
    let (begun, before) = (Instant::now(), resident(host));
    for number in 1..=reloads {
        let other = 3 - serving;
        let bad = if number % BAD == 0 { number / BAD % 3 } else { 3 };
        let good = Fixture::new().revision(other);
        let (build, outcome) = match bad {
            0 => (unlike(good.fault("open", "panic"), number), "refused"),
            1 => (unlike(Fixture::new().revision(PANICS), number), "rolled_back"),
            2 => (unlike(good.fault("poll", "panic"), number), "refused"),
            _ if distinct => (unlike(good, number), "committed"),
            _ => (good, "committed"),
        };
        match number % 2 {
            0 => build.rename_into(&file),
            _ => build.copy_over(&file),
        }
        let report = report(host, generation);
        assert_eq!(report["outcome"], outcome, "{report}");
        generation = report["to"].as_u64().unwrap();
        if outcome == "committed" {
            serving = other;
            expected.push(other);
        } else if outcome == "rolled_back" {
            expected.extend([PANICS, serving]);
            back += 1;
        }
        if outcome != "refused" {
            let ledger = &report["ledger"];
            assert_eq!((ledger["gap"].as_u64(), ledger["dup"].as_u64()), (Some(0), Some(0)), "{report}");
            assert!(ledger["delivered"].as_u64() > Some(0) && ledger["tables"] == 4, "{report}");
        }
    }
    let retired = host.rows("_host", "generations").unwrap().iter().filter(|row| row["state"] == "retired").count();
    let grown = resident(host).saturating_sub(before);
    eprintln!(
        "{reloads} reloads in {:?}: {grown} KiB more, {retired} generations retired, {} KiB each",
        begun.elapsed(),
        grown / (retired as u64).max(1)
    );
    (expected, back)
}
