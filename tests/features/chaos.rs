//! Anything is done to the plugin directory, at any time, with any tool, while clients watch: the host lives, nobody sees a
//! wrong row, and in the end that serves which the planner says.
//!
//! `BUSWAY_SEED` picks another run, `BUSWAY_CHAOS_SECONDS` its length.

mod mayhem;

use busway::plugin::{Entry, Event, Journal, Outcome, Step, plan};
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use busway_tests::stream::Stream;
use busway_tests::{DEADLINE, wait_for};
use mayhem::{Builds, Dice, GOOD, Janitor, PANICS, Worker};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Datasource, driver id, file.
const BOTH: [(&str, &str, &str); 2] = [("one", "fixture-driver-aa", "a.so"), ("two", "fixture-driver-bb", "b.so")];
const ROWS: usize = 40;
/// The build that is put in place when all is over.
const LAST: u32 = 7001;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn datasources() -> String {
    let one = |(name, driver, _): &(&str, &str, &str)| {
        format!(
            "[datasource.{name}]\ndriver = '{driver}'\npoll = '50ms'\n[datasource.{name}.options]\nrows = {ROWS}\nfault = \
             'poll_panic'\nfault_of = {PANICS}\nafter = 1\n"
        )
    };
    BOTH.iter().map(one).collect()
}

/// Every state is whole, and of one build that may be seen.
fn revision(rows: &[Value]) -> u32 {
    let ids: BTreeSet<u64> = rows.iter().filter_map(|row| row["id"].as_u64()).collect();
    assert_eq!((rows.len(), ids.len()), (ROWS, ROWS), "every row is there at every moment: {rows:?}");
    let revision = u32::try_from(rows[0]["revision"].as_u64().unwrap()).unwrap();
    assert!(rows.iter().all(|row| row["revision"] == revision), "of one build: {rows:?}");
    assert!(revision <= GOOD || [PANICS, LAST].contains(&revision), "revision {revision} never took over");
    revision
}

/// Set when the end begins, whatever that is.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Follows a table until the last build serves it; answers which revisions it saw.
fn consume(mut stream: Stream, over: &AtomicBool) -> Vec<u32> {
    let (mut seen, mut end, mut epoch) = (Vec::new(), None, None);
    while seen.last() != Some(&LAST) {
        if over.load(Ordering::SeqCst) {
            let end = *end.get_or_insert_with(|| Instant::now() + DEADLINE);
            assert!(Instant::now() < end, "the last build never came: {seen:?}");
        }
        if stream.take(Duration::from_millis(100)) {
            seen.push(revision(stream.rows().expect("the table is there at every moment")));
            let now = stream.position().0;
            assert_eq!(*epoch.get_or_insert(now), now, "one epoch over all that happened");
        }
    }
    assert_eq!((stream.snapshots(), stream.resets().len()), (1, 0), "steps, not snapshots");
    seen
}

/// Asks for a table again and again.
fn read(host: &Host, service: &str, over: &AtomicBool) -> usize {
    let mut times = 0;
    while !over.load(Ordering::SeqCst) {
        revision(&host.rows(service, "numbers").unwrap_or_else(|error| panic!("{service} is there: {error}")));
        times += 1;
    }
    times
}

#[test]
fn whatever_is_done_to_the_directory_the_host_lives_and_nobody_sees_a_wrong_row() {
    let (seed, seconds) = (number("BUSWAY_SEED", 5), number("BUSWAY_CHAOS_SECONDS", 15));
    let bed = Bed::new();
    let build = |id: &str, revision| Fixture::new().id(id).revision(revision);
    for (_, id, file) in BOTH {
        build(id, 1).rename_into(&bed.plugin(file));
        std::fs::create_dir(bed.path(&format!("store-{id}"))).unwrap();
    }
    let mut host = bed.start(&datasources());
    BOTH.iter().for_each(|(name, ..)| drop(host.wait_datasource(name, "running")));
    let workers = BOTH.iter().zip(1..).map(|((_, id, file), number)| Worker {
        dice: Dice::new(seed.wrapping_mul(31).wrapping_add(number)),
        builds: Builds::of(id),
        file: host.plugin(file),
        store: host.path(&format!("store-{id}")),
        done: 0,
    });
    let workers: Vec<Worker> = workers.collect();
    let janitor = Janitor {
        dice: Dice::new(seed.wrapping_mul(31)),
        plugins: host.path("plugins"),
        staged: host.path("state/staged"),
    };
    let log: Mutex<Vec<String>> = Mutex::default();
    let (calm, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let until = Instant::now() + Duration::from_secs(seconds);
    let note = |(what, done): (String, std::io::Result<()>)| {
        let came = done.err().map(|error| format!(": {error}")).unwrap_or_default();
        log.lock().unwrap().push(format!("{:?} before the end: {what}{came}", until - Instant::now()));
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        std::thread::scope(|scope| {
            let _over = Over(&over);
            let streams = BOTH.map(|(name, ..)| {
                let (stream, over) = (host.stream(name, "numbers"), &over);
                scope.spawn(move || consume(stream, over))
            });
            let readers = BOTH.map(|(name, ..)| {
                let (host, over) = (&host, &over);
                scope.spawn(move || read(host, name, over))
            });
            let (calm, note) = (&calm, &note);
            let mut tasks = Vec::new();
            for mut worker in workers {
                tasks.push(scope.spawn(move || {
                    while !calm.load(Ordering::SeqCst) {
                        note(worker.work());
                        let most = if worker.dice.below(3) == 0 { 1500 } else { 300 };
                        worker.dice.pause(most);
                    }
                }));
            }
            let mut janitor = janitor;
            tasks.push(scope.spawn(move || {
                while !calm.load(Ordering::SeqCst) {
                    janitor.dice.pause(2500);
                    note(janitor.work());
                }
            }));
            while Instant::now() < until && tasks.iter().all(|task| !task.is_finished()) {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            calm.store(true, Ordering::SeqCst);
            tasks.into_iter().for_each(|task| task.join().expect("mayhem goes on"));
            for (_, id, file) in BOTH {
                build(id, LAST).rename_into(&host.plugin(file));
            }
            drop(_over);
            let seen = streams.map(|stream| stream.join().expect("the consumer saw no wrong row"));
            let times = readers.map(|reader| reader.join().expect("the reader saw no wrong row"));
            eprintln!(
                "seed {seed}: {} things were done; revisions seen: {seen:?}; read {times:?} times",
                log.lock().unwrap().len()
            );
        });
        settled(&host);
    }));
    assert!(host.is_alive(), "the host lives");
    if let Err(failed) = ran {
        eprintln!(
            "seed {seed}, after:\n{}\n--- the host's log ---\n{}",
            log.lock().unwrap().join("\n"),
            host.log_text()
        );
        eprintln!("--- history ---\n{}", host.run(&["plugin", "history", "--limit", "1000"]).out);
        std::panic::resume_unwind(failed);
    }
    assert!(
        host.log().iter().all(|line| !line["message"].as_str().unwrap_or_default().contains("a fault of the host"))
    );
}

/// What serves is what lies there, as the planner says; and the planner says of what is recorded what was done.
fn settled(host: &Host) {
    let reload = host.run(&["plugin", "reload"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    let mut lies = BTreeMap::new();
    for (name, id, file) in BOTH {
        let row = host.wait_plugin(file, "serving");
        lies.insert(id.to_owned(), row["sha256"].as_str().unwrap().to_owned());
        host.wait_datasource(name, "running");
        let explained = wait_for("the planner to be content", || {
            let (_, explained) = host.get(&format!("/v1/drivers/{id}/explanation"));
            let text = explained["explanation"].to_string();
            if text.contains("next:") || text.contains("on probation") { Err(text) } else { Ok(text) }
        });
        assert!(
            explained.contains(&format!("{id} is served from ")) && explained.contains("by the bytes that it holds")
        );
        let sum = std::process::Command::new("sha256sum").arg(host.plugin(file)).output().unwrap();
        assert!(String::from_utf8(sum.stdout).unwrap().starts_with(&lies[id]), "what serves is what lies there");
    }
    let entries = Journal::closed(&host.path("state/history.jsonl")).read();
    let (plans, serving) = replayed(&entries);
    assert_eq!(serving, lies, "the history alone says what serves");
    let replay = host.run(&["plugin", "replay", "state/history.jsonl"]);
    assert_eq!((replay.code, replay.out), (Some(0), format!("{plans} plans, {plans} of them the same\n")));
}

/// Plans again from what was recorded, follows what became of the plans, and answers how many there were and what serves
/// each driver by that.
fn replayed(entries: &[Entry]) -> (usize, BTreeMap<String, String>) {
    let (mut plans, mut serving, mut begun) = (0, BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        match &entry.event {
            Event::Planned { inputs, steps } => {
                plans += 1;
                assert_eq!(&plan(inputs).steps(), steps, "the same inputs give the same steps: {entry:?}");
                for (id, serves) in inputs.serving.iter().filter(|(id, _)| !inputs.busy.contains(*id)) {
                    let known = serving.entry(id.clone()).or_insert_with(|| serves.sha256.clone());
                    assert_eq!(*known, serves.sha256, "{entry:?}");
                }
                for step in steps {
                    let (Step::Load { claim } | Step::Reload { claim } | Step::Restore { claim }) = step else {
                        panic!("nothing was to stop: {entry:?}");
                    };
                    let other = begun.insert(claim.id.clone(), claim.sha256.clone());
                    assert_eq!(other, None, "one after the other: {entry:?}");
                }
            }
            Event::Transaction(report) => {
                let begun = begun.remove(&report.driver);
                // The oldest entries may be gone.
                assert!(plans == 0 || begun.as_ref() == Some(&report.sha256), "it was planned: {report}");
                let ledger = report.ledger.unwrap_or_default();
                assert_eq!((ledger.gap, ledger.dup), (0, 0), "{report}");
                if matches!(report.outcome, Outcome::Loaded | Outcome::Committed) {
                    serving.insert(report.driver.clone(), report.sha256.clone());
                }
            }
            _ => {}
        }
    }
    assert!(begun.is_empty(), "{begun:?} never ended");
    (plans, serving)
}
