//! All datasources of a node.

use super::action::{self, ACTION, ActionError};
use super::interest;
use super::runner::{Command, Runner, Shared};
use super::status::{Phase, Status};
use crate::bus::{Bus, RegisterError};
use crate::config::Datasource;
use crate::plugin::{Catalog, Generation, SwitchError, Tenants};
use busway_plugin_api::message::{ExecuteRequest, PollRequest};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// A datasource, and the task that runs it.
#[derive(Debug)]
struct Entry {
    record: Datasource,
    id: uuid::Uuid,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// All datasources of a node. Clones are the same.
#[derive(Debug, Clone)]
pub struct Datasources {
    entries: Arc<BTreeMap<String, Entry>>,
    changed: watch::Sender<u64>,
    tasks: Arc<tokio::sync::Mutex<Vec<JoinHandle<()>>>>,
}

impl Datasources {
    /// Registers each enabled datasource as a service and begins to run it: it opens as soon as its driver serves.
    ///
    /// # Errors
    ///
    /// When a service of a datasource's name is there already.
    pub fn start(
        records: &BTreeMap<String, Datasource>,
        bus: &Bus,
        catalog: &Arc<Catalog>,
    ) -> Result<Self, RegisterError> {
        let changed = watch::Sender::new(0);
        let mut entries = BTreeMap::new();
        let mut tasks = Vec::new();
        for (name, record) in records {
            let shared = Arc::new(Shared::new(changed.clone()));
            let (commands, receiver) = mpsc::channel(16);
            if record.enabled {
                let service = Arc::new(bus.register(name)?);
                action::expose(&service, &record.driver, catalog, &shared);
                let told = interest::tell(name.clone(), Arc::clone(&shared), interest::listen(&service));
                let runner = Runner::new(record.clone(), service, Arc::clone(catalog), Arc::clone(&shared), receiver);
                let telling = tokio::spawn(told);
                tasks.push(tokio::spawn(async move {
                    runner.run().await;
                    telling.abort();
                }));
            } else {
                shared.status().phase = Phase::Disabled;
            }
            // The same name is the same datasource after a restart.
            let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
            entries.insert(name.clone(), Entry { record: record.clone(), id, shared, commands });
        }
        Ok(Self { entries: Arc::new(entries), changed, tasks: Arc::new(tokio::sync::Mutex::new(tasks)) })
    }

    /// Rung whenever a datasource's status changed.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Each with its record and status, by name.
    #[must_use]
    pub fn list(&self) -> Vec<(String, uuid::Uuid, Datasource, Status)> {
        let view = |(name, e): (&String, &Entry)| (name.clone(), e.id, e.record.clone(), e.shared.status().clone());
        self.entries.iter().map(view).collect()
    }

    /// One by name or id.
    #[must_use]
    pub fn get(&self, name_or_id: &str) -> Option<(String, uuid::Uuid, Datasource, Status)> {
        let (name, e) = self.find(name_or_id)?;
        Some((name.to_owned(), e.id, e.record.clone(), e.shared.status().clone()))
    }

    fn find(&self, name_or_id: &str) -> Option<(&str, &Entry)> {
        let by_name = self.entries.get_key_value(name_or_id);
        let by_id = || self.entries.iter().find(|(_, e)| e.id.to_string() == name_or_id);
        by_name.or_else(by_id).map(|(name, e)| (name.as_str(), e))
    }

    /// Runs an action of a datasource's source. When the future is dropped, the action is cancelled.
    ///
    /// # Errors
    ///
    /// When it is not there or not open, and what the source answers.
    pub async fn execute(&self, name_or_id: &str, request: ExecuteRequest) -> Result<Value, ActionError> {
        let (name, entry) = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        action::run(name, &entry.shared, request, ACTION).await
    }

    /// Polls a datasource soon.
    ///
    /// # Errors
    ///
    /// When it is not there or not open.
    pub fn refresh(&self, name_or_id: &str) -> Result<(), ActionError> {
        let (name, entry) = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        let open = entry.shared.open().ok_or_else(|| ActionError::not_open(name, &entry.shared))?;
        open.ingest.want(&PollRequest::default());
        Ok(())
    }

    /// Ends calls in flight, closes every source, and waits for that, at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        for entry in self.entries.values() {
            if let Some(open) = entry.shared.open() {
                open.cancel_all();
            }
            // A runner with a full queue of commands is stopped by the end of its channel.
            let _ = entry.commands.try_send(Command::Stop);
        }
        let tasks = std::mem::take(&mut *self.tasks.lock().await);
        let ended = async {
            for task in tasks {
                // A panic of a runner was logged where it happened.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!(?limit, "sources did not close in time: left behind");
        }
    }

    async fn tell<T>(&self, entry: &Entry, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        entry.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Tenants for Datasources {
    async fn switch(&self, to: Arc<Generation>) -> Result<(), SwitchError> {
        let mine = self.entries.values().filter(|e| e.record.driver == to.info.id && e.record.enabled);
        // All at once: the pause is as long as the slowest takes, not as long as all together.
        let asked = mine.map(async |entry| {
            let answer = self.tell(entry, |reply| Command::Prepare(Arc::clone(&to), reply)).await;
            (entry, answer)
        });
        let mut prepared = Vec::new();
        let mut failed: Option<SwitchError> = None;
        for (entry, answer) in join_all(asked).await {
            match answer {
                Some(Ok(())) => prepared.push(entry),
                // Of several the code's own fault is told: it decides whether the build is tried again.
                Some(Err(error)) if failed.as_ref().is_none_or(|f| error.code_fault && !f.code_fault) => {
                    failed = Some(error);
                }
                Some(Err(_)) => {}
                // Its runner has ended: the host is stopping.
                None => {}
            }
        }
        let decided = if failed.is_some() { Command::Abort } else { Command::Commit };
        join_all(prepared.into_iter().map(|entry| self.tell(entry, decided))).await;
        failed.map_or(Ok(()), Err)
    }
}
