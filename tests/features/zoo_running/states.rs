//! State that the new build can't take: it is refused before the switch, or begins without.

use super::{attempt, placeless, quarantined, runs_on, serving, verdict};
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};

fn ticks(host: &Host) -> u64 {
    host.rows("one", "ticks").unwrap()[0]["polls"].as_u64().unwrap()
}

/// Each: options, the new build, what is said of its state, and who quarantines it.
fn animals() -> Vec<(&'static str, Fixture, &'static str, Option<&'static str>)> {
    let next = || Fixture::new().revision(2);
    vec![
        (
            "fault = 'state_garbage'\nfault_of = 1",
            next(),
            "unreadable state: invalid type: string \"a number of polls\", expected u64",
            Some("fault"),
        ),
        (
            "fault = 'state_large'\nfault_of = 1",
            next(),
            "the state of what serves has 1000 bytes, more than plugins.most_state, 999: raise that, or set plugins.cold_start",
            None,
        ),
        (
            "",
            next().state(2),
            "what serves writes version 1, and the new build reads 2: let it read that one too, or set plugins.cold_start",
            Some("fault"),
        ),
        (
            "",
            next().stateless(),
            "what serves writes version 1, and the new build reads none: let it read that one, or set plugins.cold_start",
            Some("fault"),
        ),
    ]
}

#[test]
fn inv05_state_that_can_not_be_taken_keeps_the_new_build_out() {
    for (options, next, said, by) in animals() {
        let bed = Bed::new().plugins("probation = '100ms'\nmost_state = 999");
        let host = serving(bed, &Fixture::new(), options);
        let report = attempt(&host, &next);
        let (outcome, mut reason) = verdict(&report);
        // Both datasources write the version.
        reason = reason.replace("\"two\"", "\"one\"");
        let expected = format!("datasource \"one\" could not read the state of what it replaces with it: {said}");
        assert_eq!(reason, expected);
        assert_eq!(outcome, if by.is_some() { "refused" } else { "inconclusive" });
        assert_eq!(quarantined(&host, &report).as_deref(), by);
        let before = ticks(&host);
        runs_on(&host, 1);
        assert!(ticks(&host) >= before, "the former one has its own state still");
    }
}

#[test]
fn inv05_with_cold_start_the_new_build_begins_without() {
    for (options, next, said, _) in animals() {
        let bed = Bed::new().plugins("probation = '100ms'\nmost_state = 999\ncold_start = true");
        let host = serving(bed, &Fixture::new(), options);
        let polled = |row: &serde_json::Value| row["polls"].as_u64().unwrap();
        let before = polled(&host.wait_row("one", "ticks", "many polls", |row| polled(row) > 40));
        let report = attempt(&host, &next);
        assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
        let note = format!("datasource \"one\" begins without the state of what it replaces: {said}");
        let notes: Vec<_> =
            report["notes"].as_array().unwrap().iter().map(|note| placeless(note.as_str().unwrap())).collect();
        assert!(notes.contains(&note), "{report}");
        assert!(ticks(&host) < before, "it begins anew");
        let told = host.log().into_iter().any(|line| {
            line["message"] == "the new source begins without the state of what it replaces"
                && line["datasource"] == "one"
                && line["error"].as_str().is_some_and(|error| error.contains(said))
        });
        assert!(told, "it is said: {}", host.log_text());
        runs_on(&host, 2);
    }
}
