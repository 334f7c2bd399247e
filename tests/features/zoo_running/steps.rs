//! A fault at every step of the transaction.

use super::{FILE, Watcher, attempt, quarantined, runs_on, serving, verdict};
use busway_tests::fixture::Fixture;
use busway_tests::host::Bed;
use std::collections::BTreeSet;

const PANIC: &str = "panicked: fixture panics on purpose";
const ERROR: &str = "fixture fails on purpose";

#[test]
fn inv05_a_new_build_with_a_fault_at_any_step_leaves_the_former_in_charge() {
    let mut host = serving(Bed::new(), &Fixture::new(), "");
    let mut watcher = Watcher::of(&host);
    let could_not = |what: &str, why: &str| format!("datasource \"one\" could not {what} with it: {why}");
    let read = "read the state of what it replaces";
    let plain = &format!("table \"numbers\": {ERROR}");
    let steps = [
        // Step, fault, outcome, who quarantines, reason.
        ("describe", "panic", "refused", None, "its description failed: panicked: fixture panics in describe".to_owned()),
        (
            "describe",
            "junk",
            "refused",
            None,
            "its description failed: the driver breaks the contract: not the JSON that was expected: expected ident at \
             line 1 column 2"
                .to_owned(),
        ),
        (
            "describe",
            "rules",
            "refused",
            None,
            "its description breaks the rules: table \"numbers\" is declared twice; key column \"nope\" of table \
             \"numbers\" is not one of its columns"
                .to_owned(),
        ),
        (
            "attach",
            "error",
            "refused",
            None,
            "it refused to be attached: not the JSON that was expected: a request is an object".to_owned(),
        ),
        ("open", "panic", "refused", Some("fault"), could_not("open", PANIC)),
        ("open", "error", "inconclusive", None, could_not("open", ERROR)),
        ("tables", "panic", "refused", Some("fault"), could_not("open", PANIC)),
        ("tables", "error", "inconclusive", None, could_not("open", ERROR)),
        ("import", "panic", "refused", Some("fault"), could_not(read, PANIC)),
        ("import", "error", "refused", Some("fault"), could_not(read, ERROR)),
        ("poll", "panic", "refused", Some("fault"), could_not("be polled", PANIC)),
        ("poll", "error", "inconclusive", None, could_not("be polled", plain)),
        ("activate", "panic", "rolled_back", Some("fault"), could_not("go on", PANIC)),
        ("activate", "error", "rolled_back", None, could_not("go on", ERROR)),
        ("later", "panic", "rolled_back", Some("fault"), could_not("be polled", PANIC)),
        ("later", "error", "rolled_back", None, could_not("be polled", plain)),
    ];
    let (mut revision, mut shown) = (1, BTreeSet::from([1]));
    for (step, fault, outcome, by, reason) in steps {
        revision += 1;
        if outcome == "rolled_back" {
            shown.insert(u64::from(revision));
        }
        let report = attempt(&host, &Fixture::new().revision(revision).fault(step, fault));
        let (came, mut why) = verdict(&report);
        // Which of the two is told first is nobody's promise.
        why = why.replace("datasource \"two\"", "datasource \"one\"");
        assert_eq!((came.as_str(), why.as_str()), (outcome, reason.as_str()), "{step} {fault}");
        assert_eq!(quarantined(&host, &report).as_deref(), by, "{step} {fault}");
        let held = host.wait_row("_host", "plugins", "the bytes to be held back", |row| {
            row["state"] == "held back" && row["sha256"] == report["sha256"]
        });
        assert_eq!(held["reason"], format!("{}; the bytes before serve on", report["reason"].as_str().unwrap()));
        runs_on(&host, 1);
    }
    let report = attempt(&host, &Fixture::new().revision(99));
    assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
    watcher.until(99);
    shown.insert(99);
    assert!(watcher.seen.is_subset(&shown), "{:?} of {shown:?}", watcher.seen);
    runs_on(&host, 99);
    assert!(host.is_alive());
}

#[test]
fn inv05_a_former_build_with_a_fault_on_its_way_out_does_not_keep_the_new_one_back() {
    let faults = [
        ("pause", "panic"),
        ("pause", "error"),
        ("export", "panic"),
        ("export", "error"),
        ("close", "panic"),
        ("close", "error"),
    ];
    let build = |i: usize| {
        let build = Fixture::new().revision(1 + u32::try_from(i).unwrap());
        faults.get(i).map_or(build.clone(), |(step, fault)| build.fault(step, fault))
    };
    // What can't be exported is lost: the operator has said that it may be.
    let mut host = serving(Bed::new().plugins("probation = '100ms'\ncold_start = true"), &build(0), "");
    let mut watcher = Watcher::of(&host);
    for i in 1..=faults.len() {
        let report = attempt(&host, &build(i));
        assert_eq!(verdict(&report), ("committed".to_owned(), String::new()), "after {:?}", faults[i - 1]);
        watcher.until(u64::try_from(i).unwrap() + 1);
        runs_on(&host, u64::try_from(i).unwrap() + 1);
    }
    for said in [
        "what is to be replaced did not pause well",
        "what is to be replaced gave no state",
        "source did not close well",
    ] {
        busway_tests::wait_for(said, || {
            let found = host.log().iter().filter(|line| line["message"] == said).count();
            if found >= 4 { Ok(()) } else { Err(format!("{found} of two kinds and two datasources")) }
        });
    }
    assert!(host.is_alive());
}

#[test]
fn inv05_state_that_the_former_build_can_not_hand_over_is_not_lost_without_being_asked_and_no_fault_of_the_new_one() {
    for (fault, why) in [("panic", PANIC), ("error", ERROR)] {
        let host = serving(Bed::new(), &Fixture::new().fault("export", fault), "");
        let report = attempt(&host, &Fixture::new().revision(2));
        let (outcome, reason) = verdict(&report);
        let expected = format!(
            "datasource \"one\" could not read the state of what it replaces with it: what serves could not hand it over: \
             {why}: reload again, or set plugins.cold_start"
        );
        assert_eq!((outcome.as_str(), reason.replace("\"two\"", "\"one\"")), ("inconclusive", expected));
        assert_eq!(quarantined(&host, &report), None);
        runs_on(&host, 1);
    }
}

#[test]
fn inv05_a_former_build_that_could_not_pause_comes_back_from_a_bad_new_one() {
    for fault in ["panic", "error"] {
        // One that panics is poisoned, so its state is lost.
        let bed = Bed::new().plugins("probation = '100ms'\ncold_start = true");
        let mut host = serving(bed, &Fixture::new().fault("pause", fault), "");
        let mut watcher = Watcher::of(&host);
        for (i, step) in ["open", "poll", "later"].into_iter().enumerate() {
            let revision = 2 + u32::try_from(i).unwrap();
            let report = attempt(&host, &Fixture::new().revision(revision).fault(step, "panic"));
            let outcome = if step == "later" { "rolled_back" } else { "refused" };
            assert_eq!(report["outcome"], outcome, "{report}");
            // One whose panic poisoned it is opened anew, of the same build.
            runs_on(&host, 1);
        }
        attempt(&host, &Fixture::new().revision(9));
        watcher.until(9);
        assert!(host.is_alive());
        assert_eq!(host.wait_plugin(FILE, "serving")["generation"], reports_to(&host));
    }
}

/// The generation that came last.
fn reports_to(host: &busway_tests::host::Host) -> serde_json::Value {
    super::reports(host).last().unwrap()["to"].clone()
}
