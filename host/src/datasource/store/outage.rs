//! A disk that is full, one that turns read-only: changes are refused with the reason, reads go on, nothing is lost, and it
//! goes on when it can.

use super::{Document, SqliteStore, Store, StoreError, backup, schema};
use futures_util::future::join_all;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use uuid::Uuid;

fn document(name: &str, bytes: usize) -> Document {
    Document { id: Uuid::new_v4(), name: name.to_owned(), revision: 1, body: "x".repeat(bytes) }
}

/// A store with a setting of its own.
fn with(folder: &Path, pragma: &str) -> SqliteStore {
    let (connection, documents) = schema::open(folder).unwrap();
    // Some of them answer with a row.
    connection.query_row(&format!("PRAGMA {pragma}"), [], |_| Ok(())).ok();
    SqliteStore::run(connection, documents, folder.join(schema::FILE)).unwrap()
}

fn full(folder: &Path) -> StoreError {
    let path = folder.join(schema::FILE);
    StoreError::Unavailable { reason: format!("the disk of {} is full: make room on it", path.display()) }
}

#[tokio::test]
async fn a_full_file_takes_what_fits_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = with(folder.path(), "max_page_count = 30");
    let mut kept = Vec::new();
    let refused = loop {
        let one = document(&format!("n{:02}", kept.len()), 10_000);
        match store.create(one.clone()).await {
            Ok(()) => kept.push(one),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, full(folder.path()));
    assert!(kept.len() > 3);
    assert_eq!(store.all().await.unwrap(), kept);
    // At once: each is judged by itself, though they may share a transaction.
    let small = document("small", 10);
    let large: Vec<Document> = (0..5).map(|i| document(&format!("large{i}"), 100_000)).collect();
    let (refused, made, removed) = tokio::join!(
        join_all(large.into_iter().map(|one| store.create(one))),
        store.create(small.clone()),
        store.remove(kept[0].id, 1),
    );
    assert!(refused.into_iter().all(|result| result == Err(full(folder.path()))));
    assert_eq!((made, removed), (Ok(()), Ok(())));
    kept[0] = document("n00", 9_000);
    store.create(kept[0].clone()).await.unwrap();
    kept.push(small);
    assert_eq!(store.all().await.unwrap(), kept);
    drop(store);
    assert_eq!(SqliteStore::open(folder.path()).unwrap().all().await.unwrap(), kept);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let one = document("one", 10);
    SqliteStore::open(folder.path()).unwrap().create(one.clone()).await.unwrap();
    let store = with(folder.path(), "query_only = on");
    assert_eq!(
        store.create(document("two", 10)).await.unwrap_err().to_string(),
        format!(
            "the store can't be used now: {}/records.db may not be written: look at its owner, its mode and its mount",
            folder.path().display()
        )
    );
    assert_eq!(store.get(one.id).await.unwrap(), Some(one.clone()));
    drop(store);
    assert_eq!(SqliteStore::open(folder.path()).unwrap().all().await.unwrap(), [one]);
}

const DISK: &str = "BUSWAY_OUTAGE_DISK";

/// Runs one of the tests below again, as another process that sees a file system of its own, made by `mount` (a shell's
/// command; `$0` is the directory). Where the system does not let us make one, says so past what the test's harness holds
/// back.
fn on_a_disk_of_its_own(test: &str, mount: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("unshare")
        .args(if rustix::process::geteuid().is_root() { ["-m"].as_slice() } else { ["-r", "-m"].as_slice() })
        .args(["sh", "-c", &format!("{{ {mount}; }} && echo mounted >&2 && exec \"$@\"")])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("datasource::store::outage::{test}"), "--nocapture"])
        .env(DISK, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut said = String::new();
    let success = child.as_mut().is_ok_and(|child| {
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap().success()
    });
    if said.contains("mounted\n") {
        assert!(success, "{said}");
    } else {
        let why = child.err().map_or(said, |error| error.to_string());
        writeln!(std::io::stderr(), "SKIPPED {test}: no file system could be mounted: {}", why.trim()).unwrap();
    }
}

#[test]
fn a_full_disk_is_survived() {
    match std::env::var_os(DISK) {
        None => on_a_disk_of_its_own("a_full_disk_is_survived", "mount -t tmpfs -o size=1m,mode=700 busway \"$0\""),
        Some(folder) => {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(fill(&PathBuf::from(folder)))
        }
    }
}

async fn fill(folder: &Path) {
    let store = SqliteStore::open(folder).unwrap();
    let mut kept = vec![document("a", 1_000)];
    store.create(kept[0].clone()).await.unwrap();
    let ballast = folder.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    for _ in 0..3 {
        let many = join_all((0..10).map(|i| store.create(document(&format!("b{i}"), 20_000)))).await;
        assert!(many.into_iter().all(|result| result == Err(full(folder))));
        assert_eq!(store.all().await.unwrap(), kept);
    }
    assert_eq!(
        backup(&store, &folder.join("backup"), false).await.unwrap_err().to_string(),
        format!("no backup was made: {0} can't be used: the disk of {0} is full: make room on it", folder.display())
    );
    drop(file);
    fs::remove_file(&ballast).unwrap();
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    kept.push(document("c", 20_000));
    store.create(kept[1].clone()).await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(folder).unwrap().all().await.unwrap(), kept);
}

#[test]
fn a_disk_that_turns_read_only_is_survived() {
    let name = "a_disk_that_turns_read_only_is_survived";
    let mount = "truncate -s 8M \"$0/disk\" && mkfs.ext4 -q \"$0/disk\" && mkdir \"$0/on\" && \
                 mount -o loop,errors=remount-ro \"$0/disk\" \"$0/on\" && device=$(findmnt -n -o SOURCE \"$0/on\") && \
                 test -w /sys/fs/ext4/${device##*/}/trigger_fs_error";
    match std::env::var_os(DISK) {
        None => on_a_disk_of_its_own(name, mount),
        Some(folder) => {
            let folder = PathBuf::from(folder).join("on");
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(turn_read_only(&folder));
        }
    }
}

async fn turn_read_only(folder: &Path) {
    let store = SqliteStore::open(folder).unwrap();
    let kept = document("a", 1_000);
    store.create(kept.clone()).await.unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let device =
        mounts.lines().find(|line| line.split(' ').nth(1) == folder.to_str()).unwrap().split(' ').next().unwrap();
    let device = Path::new(device).file_name().unwrap().to_str().unwrap();
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    for _ in 0..3 {
        assert_eq!(
            store.create(document("b", 1_000)).await.unwrap_err().to_string(),
            format!(
                "the store can't be used now: the file system of {}/records.db is read-only now: the system's log says why; \
                 when it is sound, mount it for writing again and restart the host",
                folder.display()
            )
        );
        assert_eq!(store.all().await.unwrap(), std::slice::from_ref(&kept));
    }
}
