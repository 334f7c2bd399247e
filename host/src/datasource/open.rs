//! An open source, and calls of it with deadlines on its driver's threads.

use super::ingest::{Door, Ingest};
use crate::bus::Service;
use crate::config::Datasource;
use crate::plugin::{Call, CallError, Generation, HostCalls, PoolError, Source};
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::message::{CallHead, ExecuteRequest, OpenRequest, PollRequest, StateBody};
use busway_plugin_api::table::Update;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Everything but polls and actions: it may connect somewhere.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a call of a source did not work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum SourceError {
    /// It did not come back.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// It answered so.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl SourceError {
    pub(super) fn is_hung(&self) -> bool {
        matches!(self, Self::Pool(PoolError::Overdue(_) | PoolError::Exhausted(_)))
    }

    /// Whether the code is at fault, not its data.
    pub(super) fn is_code_fault(&self) -> bool {
        match self {
            Self::Pool(_) => true,
            Self::Call(error) => error.is_code_fault(),
        }
    }
}

/// A source, its generation, and its door to the tables.
pub(super) struct Open {
    pub(super) generation: Arc<Generation>,
    pub(super) ingest: Arc<Ingest>,
    source: Arc<dyn Source>,
    calls: AtomicU64,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("generation", &self.generation.number).finish_non_exhaustive()
    }
}

impl Open {
    /// Opens a source in standby.
    pub(super) async fn new(
        record: &Datasource,
        service: &Arc<Service>,
        generation: Arc<Generation>,
        bell: Arc<Notify>,
    ) -> Result<Self, SourceError> {
        let ingest = Arc::new(Ingest::new(Arc::clone(service), &generation.info.id, generation.number, bell));
        let request = OpenRequest {
            datasource: service.name().to_owned(),
            call: 1,
            generation: generation.number,
            options: record.options.clone(),
        };
        let driver = Arc::clone(&generation.driver);
        let host: Arc<dyn HostCalls> = Arc::clone(&ingest) as _;
        let door = Arc::clone(&ingest);
        let opening = move || driver.open(&request, host);
        let source = generation.pool.run(DEADLINE, || door.close(), opening).await??;
        generation.sources.fetch_add(1, Ordering::Relaxed);
        Ok(Self { generation, ingest, source, calls: AtomicU64::new(2) })
    }

    /// Runs a call; one that is overdue is cancelled.
    async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&dyn Source, CallHead) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let head = CallHead { call, deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX) };
        let source = Arc::clone(&self.source);
        let overdue = || self.cancel(call);
        // A driver that heeds its cancellation gets a moment to come back with whatever it has.
        let ended = self.generation.pool.run(deadline, overdue, move || work(source.as_ref(), head)).await;
        self.ingest.ended(call);
        Ok(ended??)
    }

    fn cancel(&self, call: u64) {
        self.ingest.cancel(call);
        let source = Arc::clone(&self.source);
        // On a thread of its own: it is foreign code, and the driver's threads may be what hangs.
        let spawned =
            std::thread::Builder::new().name("drv-cancel".to_owned()).spawn(move || source.cancel(Some(&[call])));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to cancel a call on");
        }
    }

    pub(super) async fn poll(&self, request: PollRequest, deadline: Duration) -> Result<Vec<Update>, SourceError> {
        let asked = request.tables.clone();
        let updates = self.call(deadline, move |s, head| s.poll(Call { head, body: &request })).await?;
        let mut seen = BTreeSet::new();
        for update in &updates {
            let unasked = asked.as_ref().is_some_and(|tables| !tables.contains(&update.table));
            if unasked || !seen.insert(update.table.as_str()) {
                let what = if unasked { "that was not asked for" } else { "twice" };
                let text = format!("the driver breaks the contract: it answered table {:?} {what}", update.table);
                return Err(CallError::new(Code::FAILED, text).into());
            }
        }
        Ok(updates)
    }

    pub(super) async fn execute(&self, request: ExecuteRequest, deadline: Duration) -> Result<Value, SourceError> {
        self.call(deadline, move |s, head| s.execute(Call { head, body: &request })).await
    }

    /// Opens the door, then has effects.
    pub(super) async fn activate(&self) -> Result<(), SourceError> {
        self.ingest.turn(Door::Open);
        let activated = self.call(DEADLINE, |s, head| s.activate(head)).await;
        if activated.is_err() {
            self.ingest.turn(Door::Standby);
        }
        activated
    }

    pub(super) async fn pause(&self) -> Result<(), SourceError> {
        let paused = self.call(DEADLINE, |s, head| s.pause(head)).await;
        self.ingest.turn(Door::Standby);
        paused
    }

    pub(super) async fn resume(&self) -> Result<(), SourceError> {
        self.ingest.turn(Door::Open);
        self.call(DEADLINE, |s, head| s.resume(head)).await
    }

    pub(super) async fn export_state(&self) -> Result<Option<StateBody>, SourceError> {
        self.call(DEADLINE, |s, head| s.export_state(head)).await
    }

    pub(super) async fn import_state(&self, state: StateBody) -> Result<(), SourceError> {
        self.call(DEADLINE, move |s, head| s.import_state(Call { head, body: &state })).await
    }

    /// The last call. A source that does not come back is leaked, with whatever it holds.
    pub(super) async fn close(&self) {
        self.ingest.close();
        let closed = self.call(DEADLINE, |s, head| s.close(head)).await;
        self.generation.sources.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = closed {
            tracing::warn!(driver = self.generation.info.id, generation = self.generation.number, %error, "source did not close well");
        }
    }

    /// Gives up a source that hangs: it is never dropped, and no more is asked of it.
    pub(super) fn leak(self: Arc<Self>) {
        self.ingest.close();
        self.generation.sources.fetch_sub(1, Ordering::Relaxed);
        std::mem::forget(self);
    }

    /// Ends the calls in flight: the host is stopping.
    pub(super) fn cancel_all(&self) {
        self.ingest.stop();
        let source = Arc::clone(&self.source);
        let spawned = std::thread::Builder::new().name("drv-cancel".to_owned()).spawn(move || source.cancel(None));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to cancel calls on");
        }
    }
}
