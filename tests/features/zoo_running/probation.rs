//! Builds that are good when they are tried, and bad when they are in charge.

use super::{FILE, Watcher, attempt, datasources, placeless, polls, quarantined, reports, runs_on, serving, verdict};
use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use serde_json::{Value, json};

/// Revision 2 with that fault after a good poll; what came of it, and the host.
fn tried(bed: Bed, options: &str) -> (Host, Value) {
    let host = serving(bed, &Fixture::new(), &format!("fault_of = 2\n{options}"));
    let mut watcher = Watcher::of(&host);
    let report = attempt(&host, &Fixture::new().revision(2));
    runs_on(&host, 1);
    // The watcher may have seen both, and stands where it began.
    attempt(&host, &Fixture::new().revision(3));
    watcher.until(3);
    assert!(watcher.seen.is_subset(&[1, 2, 3].into()), "{:?}", watcher.seen);
    (host, report)
}

fn is(report: &Value, reason: &str) {
    let expected = ("rolled_back".to_owned(), format!("datasource \"one\" could not be polled with it: {reason}"));
    assert_eq!(verdict(report), expected);
}

#[test]
fn inv05_a_poll_that_hangs() {
    let (mut host, report) = tried(Bed::new(), "fault = 'poll_hang'\nafter = 1");
    is(&report, "no answer within 300ms");
    assert_eq!(quarantined(&host, &report).as_deref(), Some("fault"));
    assert!(host.is_alive());
}

#[test]
fn inv05_a_poll_that_panics() {
    let (mut host, report) = tried(Bed::new(), "fault = 'poll_panic'\nafter = 1");
    is(&report, "panicked: fixture panics on purpose");
    assert_eq!(quarantined(&host, &report).as_deref(), Some("fault"));
    assert!(host.is_alive());
}

#[test]
fn inv05_other_columns_than_in_the_first_poll_are_inconclusive() {
    let (host, report) = tried(Bed::new(), "fault = 'other_columns'\nafter = 1");
    is(&report, "table \"numbers\" has other columns or another key than in its first poll");
    assert_eq!(quarantined(&host, &report), None);
}

#[test]
fn inv05_a_table_that_vanishes_is_inconclusive() {
    let (host, report) = tried(Bed::new(), "fault = 'table_vanishes'\nafter = 1");
    is(&report, "table \"ticks\": the last poll said nothing of it");
    assert_eq!(quarantined(&host, &report), None);
    assert_eq!(host.rows("one", "ticks").unwrap().len(), 1);
}

#[test]
fn inv05_a_panic_in_an_action() {
    let bed = Bed::new().plugins("probation = '20s'");
    Fixture::new().rename_into(&bed.plugin(FILE));
    let host = bed.start(&datasources(""));
    host.wait_datasource("one", "running");
    let mut watcher = Watcher::of(&host);
    Fixture::new().revision(2).rename_into(&host.plugin(FILE));
    watcher.until(2);
    let (status, body) = host.post("/v1/services/one/actions/panic", &Value::Null);
    assert_eq!(status, 400, "{body}");
    watcher.until(1);
    let report = busway_tests::wait_for("the end of the reload", || {
        reports(&host).get(1).cloned().ok_or_else(|| "it goes on".to_owned())
    });
    let expected = "datasource \"one\" could not be polled with it: an earlier panic poisoned this source";
    assert_eq!(verdict(&report), ("rolled_back".to_owned(), expected.to_owned()));
    assert_eq!(quarantined(&host, &report).as_deref(), Some("fault"));
    runs_on(&host, 1);
}

#[test]
fn inv07_good_polls_and_then_a_panic_after_probation_is_the_sources_own() {
    let host = serving(Bed::new(), &Fixture::new(), "fault_of = 2\nfault = 'poll_panic'\nafter = 40");
    let report = attempt(&host, &Fixture::new().revision(2));
    assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
    let failed = host.wait_datasource("one", "failed");
    assert_eq!(placeless(failed["error"].as_str().unwrap()), "panicked: fixture panics on purpose");
    // The bytes serve on: nobody goes back for one source, and the others are well.
    assert_eq!(host.wait_plugin(FILE, "serving")["generation"], 2);
    assert_eq!(reports(&host).len(), 2);
    assert_eq!(quarantined(&host, &report), None);
    let before = polls(&host.wait_datasource("two", "running"));
    host.wait_row("_host", "datasources", "further polls", |row| row["name"] == "two" && polls(row) > before);
    host.wait_row("one", "numbers", "rows that stay", |row| row["revision"] == 2);
    host.wait_datasource("one", "running");
}

#[test]
fn inv07_an_action_that_never_answers_costs_its_caller_no_more_than_it_gave() {
    let host = serving(Bed::new(), &Fixture::new(), "");
    let asked = json!({"service": "two", "method": "hang", "deadline_ms": 200});
    let (status, body) = host.post("/v1/services/one/actions/relay", &asked);
    assert_eq!(status, 504, "{body}");
    assert_eq!(
        placeless(body["error"]["message"].as_str().unwrap()),
        "service \"two\" did not answer \"hang\" within 200ms"
    );
    runs_on(&host, 1);
    // And a new build takes over, whatever still runs in the one before.
    let report = attempt(&host, &Fixture::new().revision(2));
    assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
    runs_on(&host, 2);
}

#[test]
fn a_thread_that_is_left_behind_harms_nobody() {
    let host = serving(Bed::new(), &Fixture::new(), "fault = 'thread_stays'\nfault_of = 1");
    let report = attempt(&host, &Fixture::new().revision(2));
    assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
    runs_on(&host, 2);
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    let names = threads.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok());
    assert_eq!(names.filter(|name| name.trim() == "stays").count(), 1);
}

#[test]
fn inv05_plain_errors_are_inconclusive_unless_they_are_accepted() {
    let host = serving(Bed::new(), &Fixture::new(), "");
    let report = attempt(&host, &Fixture::new().revision(2).fault("poll", "error"));
    let reason = "datasource \"one\" could not be polled with it: table \"numbers\": fixture fails on purpose";
    assert_eq!(
        (report["outcome"].as_str(), placeless(report["reason"].as_str().unwrap())),
        (Some("inconclusive"), reason.replace("one", which(&report)))
    );
    runs_on(&host, 1);
    let reload = host.run(&["plugin", "reload", ID, "--wait"]);
    assert_eq!(reload.code, Some(8), "{reload:?}");
    let said = placeless(&reload.out);
    assert!(said.starts_with(&format!("{ID} 0.1.0 inconclusive, generation 2 after 1: datasource ")), "{said}");
    runs_on(&host, 1);
    let reload = host.run(&["plugin", "reload", ID, "--wait", "--accept-errors"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    assert_eq!(reload.out, format!("{ID} 0.1.0 committed, generation 2 after 1, gap=0 dup=0\n"));
    // Its rows stay, and say that they are old.
    let degraded = host.wait_datasource("one", "degraded");
    assert_eq!(placeless(degraded["error"].as_str().unwrap()), "table \"numbers\": fixture fails on purpose");
    host.wait_row("one", "numbers", "the last good rows", |row| row["revision"] == 1);
}

#[test]
fn inv05_errors_are_accepted_of_one_reload_not_of_a_later_one() {
    let host = serving(Bed::new(), &Fixture::new(), "");
    let reload = host.run(&["plugin", "reload", ID, "--wait", "--accept-errors"]);
    let said = format!("{ID} 0.1.0 already serves these bytes, those of plugins/{FILE}\n");
    assert_eq!((reload.code, &*reload.out), (Some(0), &*said));
    let report = attempt(&host, &Fixture::new().revision(2).fault("poll", "error"));
    assert_eq!(report["outcome"], "inconclusive");
    runs_on(&host, 1);
}

/// Which of the two datasources a report tells of.
fn which(report: &Value) -> &'static str {
    if report["reason"].as_str().unwrap().contains("\"two\"") { "two" } else { "one" }
}
