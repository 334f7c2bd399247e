//! Files whose reading takes too long.

use super::super::super::bytes::{FRESH, Libraries};
use super::super::super::plan::{Claim, Unclear};
use super::super::super::scan::{Found, look};
use super::super::super::stage::{Bytes, Stage};
use super::super::judge::{Examined, Judge, Verdict};
use super::super::workshop::Staged;
use super::rig::{LONG, note};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Reads nothing before there is a file of that name that ends in `.go`.
fn slow(path: &Path, _: &Found, stage: &Stage, _: &Libraries) -> Examined {
    while !path.with_extension("go").exists() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let bytes = Bytes::of(b"a 1.0.0".to_vec());
    let copy = stage.put(&bytes).unwrap();
    std::fs::write(path.with_extension("read"), "").unwrap();
    let (id, version) = ("a".to_owned(), "1.0.0".to_owned());
    let staged = Staged { path: copy, note: note(&id, &version) };
    (Verdict::Claims(Claim { path: path.to_owned(), id, version, sha256: bytes.sha256 }), Some(staged))
}

fn copies(folder: &Path) -> usize {
    let hashes = std::fs::read_dir(folder).unwrap().flatten();
    hashes.map(|hash| std::fs::read_dir(hash.path()).unwrap().count()).sum()
}

/// In each case a read is given up; when its answer comes the file is the same, has changed, or is gone.
#[tokio::test]
async fn the_copy_of_a_late_read_stays_only_if_the_file_is_still_that() {
    for (fate, kept) in [("same", 1), ("changed", 1), ("gone", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let (staged, path) = (folder.path().join("staged"), folder.path().join("a.so"));
        let stage = Arc::new(Stage::new(staged.clone()).unwrap());
        let mut judge = Judge::default();
        (judge.examine, judge.patience) = (slow, Duration::from_millis(1));
        let file = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let old = SystemTime::now() - 2 * FRESH;
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            let mut found = look(&path).unwrap().unwrap();
            // Nobody has touched it for long.
            found.changed = found.modified;
            BTreeMap::from([(path.clone(), Ok(found))])
        };
        let mut files = file("one");
        judge.look(&files, &stage).await;
        assert_eq!(judge.unclear()[&path], Unclear::Refused, "{fate}");
        std::fs::write(path.with_extension("go"), "").unwrap();
        let end = Instant::now() + LONG;
        while !path.with_extension("read").exists() {
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(copies(&staged), 1, "{fate}");
        match fate {
            "changed" => files = file("another"),
            "gone" => files.clear(),
            _ => {}
        }
        judge.patience = LONG;
        // The answer is on its way to who asked.
        while copies(&staged) != kept || (kept == 1 && judge.claim(&path).is_none()) {
            assert!(Instant::now() < end, "{fate}: {} copies", copies(&staged));
            judge.forget_refusals();
            judge.look(&files, &stage).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(judge.staged.len(), kept, "{fate}");
        judge.sweep();
        assert_eq!(copies(&staged), 0, "{fate}");
    }
}
