//! Sources that hold what only one can hold.

use super::{FILE, Watcher, attempt, quarantined, runs_on, verdict};
use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};

/// A datasource whose source makes a file that must not be there.
fn serving(build: &Fixture) -> Host {
    let bed = Bed::new();
    build.rename_into(&bed.plugin(FILE));
    let lock = bed.path("lock");
    let options = format!("lock = '{}'", lock.display());
    super::serving(bed, build, &options)
}

#[test]
fn inv05_what_can_not_be_open_twice_is_paused_first_and_the_report_says_so() {
    let host = serving(&Fixture::new().exclusive());
    let mut watcher = Watcher::of(&host);
    let report = attempt(&host, &Fixture::new().exclusive().revision(2));
    assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
    assert_eq!(report["exclusive"], true);
    watcher.until(2);
    runs_on(&host, 2);
    // The operator reads how long.
    Fixture::new().exclusive().revision(3).rename_into(&host.plugin(FILE));
    let reload = host.run(&["plugin", "reload", ID, "--wait"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    let said = reload.out.trim_end();
    let pause = said
        .strip_prefix(&format!("{ID} 0.1.0 committed, generation 3 after 2, gap=0 dup=0, paused for "))
        .and_then(|rest| rest.strip_suffix(" as it can't be open twice"));
    assert!(pause.is_some_and(|pause| pause.ends_with('s')), "{said}");
    watcher.until(3);
    assert!(host.path("lock").exists(), "the new one holds it");
}

#[test]
fn inv05_a_bad_build_gives_back_what_only_one_can_hold() {
    let mut host = serving(&Fixture::new().exclusive());
    let mut watcher = Watcher::of(&host);
    let bad = [
        ("open", "panic", "refused"),
        ("open", "error", "inconclusive"),
        ("tables", "panic", "refused"),
        ("import", "panic", "refused"),
        ("poll", "panic", "refused"),
        ("activate", "panic", "rolled_back"),
        ("later", "panic", "rolled_back"),
    ];
    for (i, (step, fault, outcome)) in bad.into_iter().enumerate() {
        let build = Fixture::new().exclusive().revision(2 + u32::try_from(i).unwrap()).fault(step, fault);
        let report = attempt(&host, &build);
        assert_eq!(report["outcome"], outcome, "{step}: {report}");
        assert_eq!(quarantined(&host, &report).is_some(), fault == "panic", "{step}");
        runs_on(&host, 1);
        assert!(host.path("lock").exists(), "{step}: the former one holds it again");
    }
    assert_eq!(attempt(&host, &Fixture::new().exclusive().revision(99))["outcome"], "committed");
    watcher.until(99);
    assert!(host.is_alive());
}

#[test]
fn inv05_one_that_does_not_say_so_can_not_take_over_and_harms_nobody() {
    let host = serving(&Fixture::new());
    let report = attempt(&host, &Fixture::new().revision(2));
    let reason = "datasource \"one\" could not open with it: the lock is taken: File exists (os error 17)";
    assert_eq!(verdict(&report), ("inconclusive".to_owned(), reason.to_owned()));
    runs_on(&host, 1);
}
