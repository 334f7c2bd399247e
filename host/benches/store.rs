//! Durable writes a second, by how many write at once, beside a plain loop of one transaction a write; what one creation and
//! one removal take; what reading and opening take with many records.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use busway::datasource::store::{Document, SqliteStore, Store, backup, restore};
use measure::{median, medians, rounds, time};
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const WRITES: usize = 400;
const MANY: usize = 10_000;

/// A record of common size: 600 bytes of configuration.
fn document() -> Document {
    let id = Uuid::new_v4();
    let body = format!("{{\"driver\":\"sql\",\"options\":{{\"url\":\"{}\"}}}}", "x".repeat(560));
    Document { id, name: format!("source-{id}"), revision: 1, body }
}

struct Ours {
    runtime: Runtime,
    store: Arc<SqliteStore>,
    _folder: TempDir,
}

impl Ours {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        Self { runtime, store, _folder: folder }
    }

    /// So many writers, each one write after the other.
    fn write(&self, writers: usize, writes: usize) -> Duration {
        let documents: Vec<Vec<Document>> =
            (0..writers).map(|_| (0..writes / writers).map(|_| document()).collect()).collect();
        let work = || {
            self.runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for documents in documents {
                    let store = Arc::clone(&self.store);
                    tasks.spawn(async move {
                        for document in documents {
                            store.create(document).await.unwrap();
                        }
                    });
                }
                tasks.join_all().await;
            });
        };
        time(work).0
    }
}

struct Plain {
    connection: Connection,
    _folder: TempDir,
}

impl Plain {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("plain.db")).unwrap();
        for (name, value) in [("locking_mode", "exclusive"), ("synchronous", "full"), ("journal_mode", "wal")] {
            connection.pragma_update(None, name, value).unwrap();
        }
        connection
            .execute_batch(
                "CREATE TABLE record (id BLOB NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL, body \
                 TEXT NOT NULL) STRICT",
            )
            .unwrap();
        Self { connection, _folder: folder }
    }

    fn write(&self, writes: usize) -> Duration {
        let documents: Vec<Document> = (0..writes).map(|_| document()).collect();
        let work = || {
            for document in documents {
                let mut insert = self.connection.prepare_cached("INSERT INTO record VALUES (?1, ?2, 1, ?3)").unwrap();
                insert.execute(params![document.id.as_bytes(), document.name, document.body]).unwrap();
            }
        };
        time(work).0
    }
}

fn main() {
    let bench = rounds(2) == 2;
    let writes = if bench { WRITES } else { 100 };
    let (ours, plain) = (Ours::new(), Plain::new());
    let [loops, one, ten, hundred] = medians(
        7,
        [&mut || plain.write(writes), &mut || ours.write(1, writes), &mut || ours.write(10, writes), &mut || {
            ours.write(100, writes)
        }],
    )
    .map(|seconds| writes as f64 / seconds);
    println!("durable writes/s");
    println!("  a plain loop           {loops:8.0}");
    for (writers, rate) in [(1, one), (10, ten), (100, hundred)] {
        println!("  {writers:3} writers at once    {rate:8.0}   {:.2}x", rate / loops);
    }

    let (mut creations, mut removals) = (Vec::new(), Vec::new());
    for _ in 0..rounds(300) {
        let one = document();
        let id = one.id;
        creations.push(time(|| ours.runtime.block_on(ours.store.create(one)).unwrap()).0.as_secs_f64());
        removals.push(time(|| ours.runtime.block_on(ours.store.remove(id, 1)).unwrap()).0.as_secs_f64());
    }
    let (create, remove) = (median(creations) * 1e3, median(removals) * 1e3);
    println!(
        "one record, acknowledged: create {create:.2} ms (predecessor's whole request 22), remove {remove:.2} ms (36)"
    );

    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("backup"));
    std::fs::create_dir(&state).unwrap();
    let many = if bench { MANY } else { 100 };
    let store = SqliteStore::open(&state).unwrap();
    let ids: Vec<Uuid> = ours.runtime.block_on(async {
        let documents: Vec<Document> = (0..many).map(|_| document()).collect();
        let ids = documents.iter().map(|document| document.id).collect();
        futures_util::future::join_all(documents.into_iter().map(|document| store.create(document))).await;
        ids
    });
    let mut next = ids.iter().cycle();
    let [get, all, copy] = medians(
        9,
        [
            &mut || time(|| ours.runtime.block_on(store.get(*next.next().unwrap())).unwrap().unwrap()).0,
            &mut || time(|| ours.runtime.block_on(store.all()).unwrap()).0,
            &mut || time(|| ours.runtime.block_on(backup(&store, &file, true)).unwrap()).0,
        ],
    );
    drop(store);
    let [open, back] = medians(
        5,
        [&mut || time(|| SqliteStore::open(&state).unwrap()).0, &mut || time(|| restore(&state, &file).unwrap()).0],
    );
    println!("{many} records");
    println!("  get {:.1} us, all {:.1} ms, open {:.0} ms", get * 1e6, all * 1e3, open * 1e3);
    println!("  backup {:.0} ms, restore {:.0} ms", copy * 1e3, back * 1e3);
}
