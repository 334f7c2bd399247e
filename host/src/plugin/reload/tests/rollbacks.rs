//! `rollback`: with and without a copy, while something is under way, after a file got another name.

use super::super::{Copies, OrderError, Outcome, Record};
use super::rig::{Rig, soon};
use std::sync::Arc;
use std::time::Duration;

/// Version 2 serves, and version 1 did.
async fn second() -> Rig {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.put("a.so", "a 2.0.0");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert_eq!(answer.reports[0].outcome, Outcome::Committed);
    rig
}

fn good(rig: &Rig, text: &str) -> std::path::PathBuf {
    let sha256 = crate::plugin::Bytes::of(text.as_bytes().to_vec()).sha256;
    rig.folder.path().join("good").join(format!("{sha256}.so"))
}

#[tokio::test]
async fn nothing_to_go_back_to_is_said_and_changes_nothing() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    let error = soon(rig.control.rollback("a")).await.unwrap_err();
    assert!(matches!(&error, OrderError::NoCopy { driver, .. } if driver == "a"), "{error}");
    assert_eq!(rig.control.quarantine().await.unwrap(), []);
    // A copy that somebody removed is none.
    let rig = second().await;
    std::fs::remove_file(good(&rig, "a 1.0.0")).unwrap();
    let error = soon(rig.control.rollback("a")).await.unwrap_err();
    assert!(matches!(&error, OrderError::NoCopy { driver, .. } if driver == "a"), "{error}");
    assert_eq!(rig.control.quarantine().await.unwrap(), []);
    assert_eq!(rig.serves("a"), Some(("2.0.0".to_owned(), 2)));
}

#[tokio::test]
async fn a_copy_whose_bytes_differ_is_not_taken_and_what_serves_serves_on() {
    // The copies are read anew after a restart.
    let rig = second().await;
    let folder = rig.stop().await;
    let rig = Rig::begin(folder, &[], |_| {}).await;
    std::fs::remove_file(good(&rig, "a 1.0.0")).unwrap();
    std::fs::write(good(&rig, "a 1.0.0"), "a 6.6.6").unwrap();
    let answer = soon(rig.control.rollback("a")).await.unwrap();
    let told: Vec<_> = answer.reports.iter().map(|r| (r.outcome, r.reason.clone().unwrap_or_default())).collect();
    let reason = "the copy that was kept of it is not there any more, or is not what it was";
    assert_eq!(told, [(Outcome::Inconclusive, reason.to_owned())]);
    assert_eq!(rig.serves("a").map(|(version, _)| version), Some("2.0.0".to_owned()));
    assert!(!good(&rig, "a 1.0.0").exists(), "it is of no use");
    // Nor is it tried for ever.
    assert_eq!(soon(rig.control.reload(Some("a"), false)).await.unwrap().reports, []);
}

#[tokio::test]
async fn a_copy_that_is_no_plugin_for_this_host_any_more_is_not_taken() {
    let folder = second().await.stop().await;
    let rig = Rig::begin(folder, &[], |executor| {
        let tools = super::super::workshop::Tools {
            note: |_| Err(crate::plugin::BytesError::NoNote),
            ..executor.workshop.tools
        };
        std::sync::Arc::get_mut(&mut executor.workshop).unwrap().tools = tools;
    })
    .await;
    let answer = soon(rig.control.rollback("a")).await.unwrap();
    let reason = answer.reports[0].reason.clone().unwrap();
    assert!(reason.starts_with("the copy that was kept of it is no plugin for this host any more: "), "{reason}");
    assert_eq!(answer.reports.len(), 1, "it is not tried for ever");
    assert_eq!(rig.serves("a").map(|(version, _)| version), Some("2.0.0".to_owned()));
}

/// Whatever it was that the host panicked of, the bytes before are known to be good.
#[tokio::test]
async fn inv05_a_probation_in_which_the_host_panics_is_taken_back() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.put("a.so", "a 2.0.0 bursts");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    let told: Vec<_> = answer.reports.iter().map(|r| (r.outcome, r.reason.clone().unwrap_or_default())).collect();
    assert_eq!(told, [(Outcome::RolledBack, "the host panicked loading it: its log says where".to_owned())]);
    assert_eq!((rig.serves("a"), rig.sources.aborted()), (Some(("1.0.0".to_owned(), 1)), vec!["a".to_owned()]));
    let held = "a.so a held back: the host panicked loading it: its log says where; the bytes before serve on";
    rig.until("held back", |rig| rig.shown() == [held]).await;
    // It says nothing of the bytes.
    assert_eq!(rig.control.quarantine().await.unwrap(), []);
    rig.put("a.so", "a 3.0.0");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert_eq!(answer.reports[0].outcome, Outcome::Committed);
    assert_eq!(rig.serves("a").map(|(version, _)| version), Some("3.0.0".to_owned()));
}

/// The bytes had proved themselves, and the former sources were told to go.
#[tokio::test]
async fn inv05_after_a_good_probation_a_panic_of_the_host_takes_nothing_back() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.put("a.so", "a 2.0.0 topples");
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert!(answer.is_good(), "{answer:?}");
    assert_eq!((answer.reports[0].outcome, answer.reports[0].from), (Outcome::Committed, Some(1)));
    assert_eq!((rig.shown(), rig.sources.aborted()), (vec!["a.so a serving".to_owned()], Vec::new()));
    let answer = soon(rig.control.rollback("a")).await.unwrap();
    assert_eq!(answer.reports[0].outcome, Outcome::Committed);
    assert_eq!(rig.serves("a").map(|(version, _)| version), Some("1.0.0".to_owned()));
}

#[tokio::test]
async fn after_its_file_got_another_name_a_driver_goes_back_under_that() {
    let rig = second().await;
    std::fs::rename(rig.path("a.so"), rig.path("b.so")).unwrap();
    rig.until("adopted", |rig| rig.shown() == ["b.so a serving"]).await;
    rig.put("b.so", "a 3.0.0 waits");
    rig.until_version("a", "3.0.0").await;
    rig.sources.err();
    rig.until_version("a", "2.0.0").await;
    let held = "b.so a held back: datasource \"one\" could not be polled with it: no data; the bytes before serve on";
    rig.until("held back", |rig| rig.shown() == [held]).await;
    let answer = soon(rig.control.rollback("a")).await.unwrap();
    assert_eq!((answer.reports[0].outcome, answer.reports[0].path.clone()), (Outcome::Committed, rig.path("b.so")));
    assert_eq!(rig.serves("a").map(|(version, _)| version), Some("1.0.0".to_owned()));
}

#[tokio::test]
async fn on_probation_a_rollback_is_back_to_what_still_waits() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.put("a.so", "a 2.0.0 waits");
    rig.until_version("a", "2.0.0").await;
    let answer = soon(rig.control.rollback("a")).await.unwrap();
    assert_eq!(answer.reports[0].outcome, Outcome::RolledBack);
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)));
    assert_eq!(rig.control.quarantine().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_fresh_copy_of_the_only_bytes_there_are_is_not_rolled_back() {
    let rig = Rig::start(&[("a.so", "a 1.0.0 waits")]).await;
    let (_release, gate) = std::sync::mpsc::channel::<()>();
    let pool = rig.catalog.serving("a").unwrap().pool.clone();
    pool.run(Duration::from_millis(1), || (), move || gate.recv().is_ok()).await.unwrap_err();
    let renewing = tokio::spawn({
        let control = rig.control.clone();
        async move { control.reload(Some("a"), false).await }
    });
    rig.until("on probation", |rig| rig.serves("a").is_some_and(|(_, generation)| generation == 2)).await;
    let refused = soon(rig.control.rollback("a")).await.unwrap_err();
    assert!(matches!(refused, OrderError::NoCopy { .. }), "{refused}");
    assert_eq!(rig.control.quarantine().await.unwrap(), [], "a restart would load none");
    renewing.abort();
}

#[tokio::test]
async fn while_a_build_is_tried_a_rollback_is_of_that() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.gate.hold();
    rig.put("a.so", "a 2.0.0");
    rig.until("loading", |rig| rig.shown() == ["a.so a loading"]).await;
    let ordered = tokio::spawn({
        let control = rig.control.clone();
        async move { control.rollback("a").await }
    });
    while rig.control.quarantine().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.gate.free();
    let answer = soon(ordered).await.unwrap().unwrap();
    let told: Vec<_> = answer.reports.iter().map(|r| (r.outcome, r.reason.clone().unwrap_or_default())).collect();
    assert_eq!(told, [(Outcome::Refused, "an operator rolled it back".to_owned())]);
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)));
}

/// The state directory may be that of a host that runs, and what is looked at be new.
#[tokio::test]
async fn a_look_without_consequences_neither_keeps_copies_nor_removes_them() {
    for forgetful in [true, false] {
        let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
        rig.put("a.so", "a 2.0.0");
        soon(rig.control.reload(Some("a"), false)).await.unwrap();
        let folder = rig.stop().await;
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let copies = || {
            let kept = std::fs::read_dir(folder.path().join("good")).unwrap();
            kept.map(|copy| copy.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
        };
        let before = (copies(), read("plugins.json"));
        assert_eq!(before.0.len(), 2);
        let rig = Rig::begin(tempfile::tempdir().unwrap(), &[("a.so", "a 3.0.0")], |executor| {
            let copies = Copies::new(folder.path().join("good"));
            Arc::get_mut(&mut executor.workshop).unwrap().copies = copies;
            executor.record = Record::read(&folder.path().join("plugins.json"));
            if forgetful {
                executor.forget();
            }
        })
        .await;
        rig.until_version("a", "3.0.0").await;
        soon(rig.control.reload(Some("a"), false)).await.unwrap();
        assert_eq!((copies(), read("plugins.json")) == before, forgetful);
    }
}
