//! All datasources of a node: what is known of them, and what they can be asked.

use super::entry::Entry;
use super::keep::Keep;
use super::news::{Emit, Happening, News, Updates};
use super::once::Once;
use super::record::Record;
use super::runner::Status;
use super::secret::Keyring;
use super::store::{self, BackupError, Store, StoreError};
use super::tenants::Trials;
use crate::bus::Bus;
use crate::happenings::Receiver;
use crate::plugin::Catalog;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A datasource at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// What is kept of it.
    pub record: Arc<Record>,
    /// How it is.
    pub status: Status,
}

/// All that the host knows.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) by_id: BTreeMap<Uuid, Arc<Entry>>,
    pub(super) by_name: BTreeMap<String, Uuid>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) bus: Bus,
    pub(super) catalog: Arc<Catalog>,
    pub(super) store: Arc<dyn Store>,
    pub(super) keyring: Keyring,
    pub(super) keep: Keep,
    entries: RwLock<Entries>,
    pub(super) news: Arc<News>,
    /// Who brings what runs to what the records say: one at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Rung when that is to be done soon.
    pub(super) wake: Notify,
    pub(super) stopping: watch::Sender<bool>,
    /// Requests that carried an id.
    pub(super) once: Arc<Once>,
    /// Drivers on probation.
    pub(super) trials: Trials,
    /// Read by who moves sources; the host's end waits for that.
    pub(super) moving: Arc<tokio::sync::RwLock<()>>,
    /// Runners that were told to end.
    pub(super) ending: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// All datasources of a node. Clones are the same.
#[derive(Debug, Clone)]
pub struct Datasources {
    pub(super) inner: Arc<Inner>,
}

impl Datasources {
    /// Reads the records and begins to run those that are enabled: each opens as soon as its driver serves. From then on what
    /// runs follows the records. What sources tell of is told to `emit`.
    ///
    /// # Errors
    ///
    /// When the store can't be read.
    pub(crate) async fn start(
        bus: &Bus,
        catalog: &Arc<Catalog>,
        store: Arc<dyn Store>,
        keyring: Keyring,
        keep: PathBuf,
        emit: Option<Arc<dyn Emit>>,
    ) -> Result<Self, StoreError> {
        let inner = Inner {
            bus: bus.clone(),
            catalog: Arc::clone(catalog),
            store,
            keyring,
            keep: Keep::new(keep),
            entries: RwLock::default(),
            news: Arc::new(News::new(emit)),
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            stopping: watch::Sender::new(false),
            once: Arc::default(),
            trials: Trials::default(),
            moving: Arc::default(),
            ending: std::sync::Mutex::default(),
        };
        let all = Self { inner: Arc::new(inner) };
        all.synchronize().await?;
        // What one kept whose record can't be read is left until somebody can say.
        let keeps = |record: &Record| record.spec.persist_data || record.fault.is_some();
        let records = all.list().into_iter().map(|view| view.record);
        let known = records.filter(|record| keeps(record)).map(|record| record.id).collect();
        // Before anything new is kept.
        let keep = all.inner.keep.clone();
        drop(tokio::task::spawn_blocking(move || keep.retain(&known)).await);
        tokio::spawn(all.clone().keep_synchronized());
        Ok(all)
    }

    pub(super) fn entries(&self) -> RwLockReadGuard<'_, Entries> {
        self.inner.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entries_mut(&self) -> RwLockWriteGuard<'_, Entries> {
        self.inner.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rung whenever a datasource's record or status changed.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.news.changed()
    }

    /// All that happens to them from now on.
    pub(crate) fn happenings(&self) -> Receiver<Happening> {
        self.inner.news.follow()
    }

    /// The tables that change from now on.
    pub(crate) fn updates(&self) -> Arc<Updates> {
        self.inner.news.updates()
    }

    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<View> {
        let entries = self.entries();
        entries.by_name.values().filter_map(|id| entries.by_id.get(id)).map(|entry| view(entry)).collect()
    }

    /// One by name, else by id.
    #[must_use]
    pub fn get(&self, name_or_id: &str) -> Option<View> {
        self.find(name_or_id).map(|entry| view(&entry))
    }

    /// One by name, else by id.
    pub(super) fn find(&self, name_or_id: &str) -> Option<Arc<Entry>> {
        let entries = self.entries();
        let id = entries.by_name.get(name_or_id).copied().or_else(|| Uuid::try_parse(name_or_id).ok())?;
        entries.by_id.get(&id).cloned()
    }

    /// Writes all records, as they are at one moment, to a new file; answers how many.
    ///
    /// # Errors
    ///
    /// When the file is there, or can't be written, or the records can't be read.
    pub async fn backup(&self, file: &Path) -> Result<usize, BackupError> {
        store::backup(&*self.inner.store, file, false).await
    }

    /// Ends calls in flight, closes every source, and waits for that, at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stopping.send_replace(true);
        let until = tokio::time::Instant::now() + limit;
        // Whoever changes something now is waited for: no runner begins after this.
        let turn = tokio::time::timeout_at(until, self.inner.turn.lock()).await;
        if turn.is_err() {
            tracing::warn!(?limit, "somebody changes datasources for ever: not waited for");
        }
        let entries: Vec<Arc<Entry>> = self.entries().by_id.values().cloned().collect();
        let stop = |entry: &Arc<Entry>| entry.end(super::runner::Event::Stopped, &self.inner.news);
        let mut tasks: Vec<JoinHandle<()>> = entries.iter().filter_map(stop).collect();
        tasks.append(&mut self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async {
            for task in tasks {
                // A panic of a runner was logged where it happened.
                let _ = task.await;
            }
            drop(self.inner.moving.write().await);
        };
        if tokio::time::timeout_at(until, ended).await.is_err() {
            tracing::warn!(?limit, "sources did not close in time: left behind");
        }
    }
}

pub(super) fn view(entry: &Entry) -> View {
    View { record: entry.record(), status: entry.status() }
}
