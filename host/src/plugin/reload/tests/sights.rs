//! What is seen: files that are gone for a moment, that hold another driver, that give no answer.

use super::super::Executor;
use super::super::sight::Scanned;
use super::rig::{Rig, Sources, soon};
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_driver_ends_only_when_its_file_stays_away() {
    let stop = |executor: &mut Executor<Sources>| executor.settings.stop_missing = true;
    let rig = Rig::begin(tempfile::tempdir().unwrap(), &[("a.so", "a 1.0.0")], stop).await;
    // Away for a few looks, again and again.
    for _ in 0..10 {
        std::fs::rename(rig.path("a.so"), rig.folder.path().join("away")).unwrap();
        rig.until("missing", |rig| {
            rig.shown() == ["a.so a missing: the file is gone; what was loaded of it serves on"]
        })
        .await;
        std::fs::rename(rig.folder.path().join("away"), rig.path("a.so")).unwrap();
        rig.until("serving", |rig| rig.shown() == ["a.so a serving"]).await;
    }
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)), "it was never stopped");
    let begun = Instant::now();
    std::fs::remove_file(rig.path("a.so")).unwrap();
    rig.until("stopped", |rig| rig.serves("a").is_none()).await;
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    // Who asks meanwhile is answered when it is over.
    rig.put("a.so", "a 1.0.0");
    rig.until_version("a", "1.0.0").await;
    std::fs::remove_file(rig.path("a.so")).unwrap();
    soon(rig.control.reload(None, false)).await.unwrap();
    assert_eq!(rig.serves("a"), None);
}

#[tokio::test]
async fn a_served_file_that_holds_another_driver_is_listed_for_both() {
    let rig = Rig::start(&[("a.so", "a 1.0.0")]).await;
    rig.put("a.so", "b 1.0.0");
    rig.until_version("b", "1.0.0").await;
    let both = ["a.so b serving", "a.so a serving: the file holds driver \"b\" now; what was loaded of it serves on"];
    rig.until("both", |rig| rig.shown() == both).await;
    assert_eq!(rig.serves("a"), Some(("1.0.0".to_owned(), 1)));
    let answer = soon(rig.control.reload(Some("a"), false)).await.unwrap();
    assert!(answer.is_good(), "{answer:?}");
}

/// A scan of a directory named `hung` never ends.
fn scan(directory: &Path) -> Scanned {
    if directory.ends_with("hung") {
        loop {
            std::thread::park();
        }
    }
    crate::plugin::scan(directory)
}

#[tokio::test]
async fn a_directory_that_gives_no_answer_is_told_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let hung = folder.path().join("hung");
    let change = |executor: &mut Executor<Sources>| {
        executor.scan = scan;
        executor.settings.directories.insert(0, hung.clone());
    };
    let rig = soon(Rig::begin(folder, &[("a.so", "a 1.0.0")], change)).await;
    let told = format!("the plugin directory {} does not answer: see to the file system that it is on", hung.display());
    assert_eq!(rig.catalog.troubles(), [(hung, told)]);
    rig.put("a.so", "a 2.0.0");
    let begun = Instant::now();
    assert_eq!(soon(rig.control.reload(None, false)).await.unwrap().reports.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(2), "it is waited for once, not at each look: {:?}", begun.elapsed());
    assert_eq!(rig.serves("a"), Some(("2.0.0".to_owned(), 2)));
}
