//! Records in a file of the state directory.
//!
//! One thread writes. Reads are answered from a copy in memory, which follows each transaction before it is acknowledged:
//! records are few and small, and so neither a hung nor a broken disk keeps anybody from reading.

use super::memory::MemoryStore;
use super::writer::{GROUP, Job, Writer};
use super::{Change, Document, OpenError, Store, StoreError, schema};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// A store in the file `records.db` of a state directory.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// What readers see.
    copy: Arc<MemoryStore>,
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the store of a state directory that is there and is the caller's alone; makes its file at first use. Waits for
    /// the disk: not for a thread of an async runtime.
    ///
    /// # Errors
    ///
    /// When the directory is on a network file system, or the file is open in another program, something else, damaged, of
    /// a newer version, or can't be read and written.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let (connection, documents) = schema::open(state_dir)?;
        Self::run(connection, documents, state_dir.join(schema::FILE))
    }

    pub(super) fn run(connection: Connection, documents: Vec<Document>, path: PathBuf) -> Result<Self, OpenError> {
        let copy = Arc::new(MemoryStore::of(documents));
        let (queue, waiting) = mpsc::channel(GROUP);
        let writer = Writer::new(connection, path.clone(), Arc::clone(&copy));
        let thread = Builder::new().name("records".to_owned()).spawn(move || writer.run(waiting));
        let thread = Some(thread.map_err(|error| OpenError::unusable(&path, error))?);
        Ok(Self { path, copy, queue: Some(queue), thread })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn change(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            change.check()?;
            let gone = || format!("the thread that writes {} has ended: restart the host", self.path.display());
            let (reply, answer) = oneshot::channel();
            let queue = self.queue.as_ref().ok_or_else(|| StoreError::Unavailable { reason: gone() })?;
            queue.send(Job { change, reply }).await.map_err(|_| StoreError::Unavailable { reason: gone() })?;
            answer.await.unwrap_or_else(|_| Err(StoreError::Unknown { reason: gone() }))
        }
        .boxed()
    }
}

impl Store for SqliteStore {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        self.copy.all()
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.copy.get(id)
    }

    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Create(document))
    }

    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Replace(document))
    }

    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Remove { id, revision })
    }
}

/// What was asked is done, and the file closed.
impl Drop for SqliteStore {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
