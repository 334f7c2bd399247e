//! `reload`: of what hangs, while another is copied, while it is under way.

use super::super::super::catalog::{FileState, FileView};
use super::super::{Answer, Executor, OrderError, Outcome};
use super::rig::{LONG, Rig, Sources, soon};
use std::sync::mpsc;
use std::time::Duration;

/// A call of the driver hangs until what is returned is dropped.
async fn hang(rig: &Rig, id: &str) -> mpsc::Sender<()> {
    let (release, gate) = mpsc::channel::<()>();
    let pool = rig.catalog.serving(id).unwrap().pool.clone();
    pool.run(Duration::from_millis(1), || (), move || gate.recv().is_ok()).await.unwrap_err();
    release
}

#[tokio::test]
async fn inv01_a_driver_that_hangs_gets_a_fresh_copy_of_the_same_bytes_when_that_is_ordered() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    let staged = || std::fs::read_dir(rig.folder.path().join("staged")).unwrap().flatten().next().unwrap().path();
    let copies = || std::fs::read_dir(staged()).unwrap().count();
    assert_eq!((rig.serves("a"), copies()), (Some(("1.0.0".to_owned(), 1)), 1));
    // One that is well is left alone, and that is said.
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert!(answer.is_good() && answer.reports.is_empty(), "{answer:?}");
    let _hangs = hang(&rig, "a").await;
    // Nobody asked for that: it is not tried by itself, nor with all the others.
    soon(rig.control.reload(None, false)).await.unwrap();
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)));
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    let outcomes: Vec<Outcome> = answer.reports.iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Outcome::Committed], "{answer:?}");
    assert_eq!((rig.serves("a"), copies()), (Some(("1.0.0".to_owned(), 2)), 2), "another copy was mapped");
    let retired = rig.catalog.retired();
    assert_eq!((retired.generations, retired.bytes), (1, 7), "the copy that hangs stays mapped");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert_eq!((answer.reports.len(), rig.serves("a")), (0, Some(("1.0.0".to_owned(), 2))), "it is well again");
}

#[tokio::test]
async fn inv01_a_fresh_copy_comes_from_the_kept_one_when_the_file_is_gone_or_bad() {
    for text in [None, Some("garbage")] {
        let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
        match text {
            None => std::fs::remove_file(rig.path("a.so")).unwrap(),
            Some(text) => rig.put("a.so", text),
        }
        let seen = if text.is_none() { "missing" } else { "refused" };
        rig.until(seen, |rig| rig.views().iter().any(|file| file.state.as_str() == seen)).await;
        let _hangs = hang(&rig, "a").await;
        let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
        let told: Vec<_> = answer.reports.iter().map(|report| (report.outcome, report.restored)).collect();
        assert_eq!(told, [(Outcome::Committed, true)], "{answer:?}");
        assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 2)));
    }
}

#[tokio::test]
async fn a_fresh_copy_that_fails_keeps_its_bytes_from_nothing() {
    let rig = Rig::start(&[("a.so", "a 1.0.0 refused")]).await;
    let _hangs = hang(&rig, "a").await;
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert_eq!(answer.reports[0].outcome, Outcome::Refused);
    assert_eq!(rig.control.quarantine().await.unwrap(), [], "they serve");
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)));
}

#[tokio::test]
async fn who_waits_for_one_driver_waits_for_no_other_drivers_file() {
    let rig = Rig::start(&[("a.so", "a 1.0.0"), ("b.so", "b 1.0.0")]).await;
    rig.put("b.so", "half");
    rig.until("incomplete", |rig| rig.shown().iter().any(|line| line.contains("incomplete"))).await;
    rig.put("a.so", "a 2.0.0");
    let answer = tokio::time::timeout(LONG, rig.control.reload(Some("a"), false)).await;
    assert_eq!(answer.expect("b's file is none of its business").unwrap().reports.len(), 1);
    // Of its own it does wait.
    rig.put("a.so", "half");
    let waiting = tokio::spawn({
        let control = rig.control.clone();
        async move { control.reload(Some("a"), false).await }
    });
    rig.until("a incomplete", |rig| rig.shown().iter().any(|line| line.starts_with("a.so a incomplete"))).await;
    assert!(!waiting.is_finished());
    rig.put("a.so", "a 3.0.0");
    assert_eq!(soon(waiting).await.unwrap().unwrap().reports[0].version, "3.0.0");
}

#[tokio::test]
async fn a_file_that_keeps_changing_is_answered_as_that_and_the_others_by_what_came_of_them() {
    let few = |executor: &mut Executor<Sources>| executor.patience = Duration::from_millis(400);
    let rig = Rig::begin(tempfile::tempdir().unwrap(), &[("a.so", "a 1.0.0"), ("b.so", "b 1.0.0")], few).await;
    rig.put("b.so", "b 2.0.0 waits");
    rig.until_version("b", "2.0.0").await;
    // It never rests for as long as it takes to be read.
    let folder = rig.folder.path().to_owned();
    let (over, end) = mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut text = "a 2.0.0 ".to_owned();
        while end.recv_timeout(Duration::from_millis(10)) == Err(mpsc::RecvTimeoutError::Timeout) {
            text.push('x');
            for name in ["plugins/a.so", "plugins/new.so"] {
                std::fs::write(folder.join(name), &text).unwrap();
            }
        }
    });
    rig.until("new.so", |_| rig.path("new.so").exists()).await;
    let order = |driver: Option<&'static str>| {
        let control = rig.control.clone();
        tokio::spawn(async move { control.reload(driver, false).await.unwrap() })
    };
    let (all, one, other) = (order(None), order(Some("a")), order(Some("b")));
    let told = |answer: &Answer| {
        let line = |file: &FileView| {
            let name = file.path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, file.state.as_str(), file.reason.clone())
        };
        answer.troubles.iter().map(line).collect::<Vec<_>>()
    };
    let serves = "it is still being written; the bytes before serve on".to_owned();
    let a = ("a.so".to_owned(), "incomplete", serves);
    assert_eq!(told(&soon(one).await.unwrap()), std::slice::from_ref(&a));
    // What was under way when it was asked for is waited for as long as it takes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!all.is_finished() && !other.is_finished());
    rig.sources.err();
    let outcome = |answer: &Answer| answer.reports.iter().map(|report| report.outcome).collect::<Vec<_>>();
    let all = soon(all).await.unwrap();
    assert_eq!(told(&all)[0], a);
    assert_eq!(
        told(&all).last().unwrap(),
        &("new.so".to_owned(), "incomplete", "it is still being written".to_owned())
    );
    assert_eq!(
        (outcome(&all), outcome(&soon(other).await.unwrap())),
        (vec![Outcome::RolledBack], vec![Outcome::RolledBack])
    );
    drop(over);
    writer.join().unwrap();
}

/// Another's probation may take longer than anybody waits for files.
#[tokio::test]
async fn what_lay_there_when_it_was_ordered_is_waited_for_though_another_holds_it_up() {
    for driver in [None, Some("a")] {
        let few = |executor: &mut Executor<Sources>| executor.patience = Duration::ZERO;
        let rig = Rig::begin(tempfile::tempdir().unwrap(), &[("a.so", "a 1.0.0")], few).await;
        rig.put("a.so", "a 2.0.0 waits");
        rig.until_version("a", "2.0.0").await;
        rig.put("a.so", "a 3.0.0");
        let waits = |file: &FileView| file.version.as_deref() == Some("3.0.0") && file.state == FileState::Loading;
        rig.until("loading", |rig| rig.views().iter().any(waits)).await;
        let ordered = tokio::spawn({
            let control = rig.control.clone();
            async move { control.reload(driver, false).await }
        });
        // It is read before this is answered.
        rig.control.quarantine().await.unwrap();
        tokio::task::yield_now().await;
        rig.control.quarantine().await.unwrap();
        rig.sources.err();
        let answer = soon(ordered).await.unwrap().unwrap();
        let told: Vec<_> = answer.reports.iter().map(|report| (report.version.as_str(), report.outcome)).collect();
        assert_eq!(told, [("2.0.0", Outcome::RolledBack), ("3.0.0", Outcome::Committed)], "{answer:?}");
        assert_eq!(answer.troubles, []);
    }
}

#[tokio::test]
async fn errors_are_accepted_from_then_on_by_a_reload_that_is_under_way() {
    for (accept, outcome) in [(false, Outcome::RolledBack), (true, Outcome::Committed)] {
        let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
        rig.put("a.so", "a 2.0.0 waits");
        rig.until_version("a", "2.0.0").await;
        let ordered = tokio::spawn({
            let control = rig.control.clone();
            async move { control.reload(Some("a"), accept).await }
        });
        // It is read before this is answered.
        rig.control.quarantine().await.unwrap();
        tokio::task::yield_now().await;
        rig.control.quarantine().await.unwrap();
        rig.sources.err();
        let answer = soon(ordered).await.unwrap().unwrap();
        assert_eq!(answer.reports.iter().map(|report| report.outcome).collect::<Vec<_>>(), [outcome]);
        // It is of that reload alone.
        if accept {
            rig.put("a.so", "a 3.0.0 errs");
            let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
            assert_eq!(answer.reports[0].outcome, Outcome::Inconclusive);
        }
    }
}

#[tokio::test]
async fn a_job_that_panics_ends_and_what_comes_next_is_begun() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.put("a.so", "a 2.0.0 panics");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    let reason = "the host panicked loading it: its log says where; the bytes before serve on";
    assert_eq!(answer.troubles.iter().map(|file| file.reason.as_str()).collect::<Vec<_>>(), [reason]);
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)));
    rig.put("a.so", "a 3.0.0");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert_eq!(answer.reports[0].outcome, Outcome::Committed);
    // So does the next start.
    let folder = rig.stop().await;
    let rig = Rig::begin(folder, &[("a.so", "a 4.0.0 panics")], |_| {}).await;
    assert_eq!(rig.serves("a").map(|(version, _)| version), Some("3.0.0".to_owned()));
}

#[tokio::test]
async fn nobody_is_no_driver() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    assert_eq!(soon(rig.control.reload(Some("z"), false)).await, Err(OrderError::NoDriver("z".to_owned())));
    assert_eq!(soon(rig.control.rollback("z")).await, Err(OrderError::NoDriver("z".to_owned())));
}
