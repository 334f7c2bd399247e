//! An open source, and calls of it with deadlines on its driver's threads.

use super::action::ACTION;
use super::declared::Declared;
use super::ingest::{Door, Ingest};
use super::options::{complete, refers, typed};
use super::record::Record;
use super::runner::Shared;
use super::secret::{self, Redactor};
use crate::bus::Service;
use crate::plugin::{Call, CallError, Generation, HostCalls, PoolError, Source};
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::TableInfo;
use busway_plugin_api::message::{
    CallHead, ExecuteRequest, OpenRequest, PollRequest, StateBody, SubscribedRequest, WebhookRequest,
};
use busway_plugin_api::table::Update;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// It can't be asked with such options.
    #[error("{0}")]
    Options(String),
}

impl SourceError {
    /// Whether its call is still out.
    pub(super) fn is_hung(&self) -> bool {
        matches!(self, Self::Pool(PoolError::Overdue(_) | PoolError::Exhausted(_)))
    }

    /// Whether the code is at fault, not its data.
    pub(super) fn is_code_fault(&self) -> bool {
        match self {
            Self::Pool(PoolError::Busy | PoolError::NoThread) => false,
            Self::Pool(_) => true,
            Self::Call(error) => error.is_code_fault(),
            Self::Options(_) => false,
        }
    }

    /// What the source answered, if it did.
    pub(super) fn status(&self) -> Option<Code> {
        match self {
            Self::Call(error) => Some(error.status),
            Self::Pool(_) | Self::Options(_) => None,
        }
    }

    /// The same, as a fault of the code.
    pub(super) fn into_code_fault(self) -> Self {
        match self {
            Self::Call(error) => Self::Call(error.into_code_fault()),
            other => other,
        }
    }
}

/// A source, its generation, and its door to the tables.
pub(super) struct Open {
    pub(super) generation: Arc<Generation>,
    /// What it was opened by.
    pub(super) record: Arc<Record>,
    pub(super) ingest: Arc<Ingest>,
    /// There until it is closed.
    source: Mutex<Option<Arc<dyn Source>>>,
    calls: AtomicU64,
    /// The number of the last poll.
    polling: AtomicU64,
    /// Held by a poll until the driver is back from it: one at a time, also when nobody waits for one any more.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("generation", &self.generation.number).finish_non_exhaustive()
    }
}

impl Open {
    /// Opens a source in standby.
    pub(super) async fn new(
        record: &Arc<Record>,
        service: &Arc<Service>,
        generation: Arc<Generation>,
        shared: &Shared,
    ) -> Result<Self, SourceError> {
        let (options, redactor) = options(record, &generation).await?;
        let limits = record.spec.limits();
        let ingest = Arc::new(Ingest::new(Arc::clone(service), &generation, limits, redactor, shared));
        if !shared.expect(&ingest) {
            return Err(ending().into());
        }
        let request =
            OpenRequest { datasource: service.name().to_owned(), call: 1, generation: generation.number, options };
        let driver = Arc::clone(&generation.driver);
        let host: Arc<dyn HostCalls> = Arc::clone(&ingest) as _;
        let door = Arc::clone(&ingest);
        let opening = move || driver.open(&request, host);
        let opened = generation.pool.run(DEADLINE, move || door.close(), opening).await;
        let source = blame(&generation, answer(opened, &ingest))?;
        generation.sources.fetch_add(1, Ordering::Relaxed);
        let record = Arc::clone(record);
        ingest.came(&source);
        let (source, calls) = (Mutex::new(Some(source)), AtomicU64::new(2));
        let (polling, turn) = Default::default();
        let open = Self { generation, record, ingest, source, calls, polling, turn };
        if let Err(error) = open.learn_tables().await {
            match error.is_hung() {
                true => Arc::new(open).leak(),
                false => open.close().await,
            }
            return Err(error);
        }
        Ok(open)
    }

    /// Asks which tables it has now.
    pub(super) async fn learn_tables(&self) -> Result<(), SourceError> {
        let tables = match self.call(DEADLINE, |s, head| s.tables(head)).await {
            Ok(tables) => tables,
            Err(error) if error.status() == Some(Code::NOT_IMPLEMENTED) => return Ok(()),
            Err(error) => return Err(error),
        };
        let next = self.ingest.declared(tables);
        let troubles = next.troubles();
        let next = (!troubles.is_empty() || next.tables != self.generation.info.tables).then_some(next);
        let before = std::mem::replace(&mut *self.declared(), next).map(|before| before.troubles()).unwrap_or_default();
        for why in troubles.difference(&before) {
            tracing::warn!(driver = self.generation.info.id, generation = self.generation.number, %why, "table refused");
        }
        Ok(())
    }

    fn declared(&self) -> MutexGuard<'_, Option<Declared>> {
        self.ingest.listed()
    }

    /// The tables that it says it has.
    pub(super) fn tables(&self) -> Vec<TableInfo> {
        self.with_tables(<[TableInfo]>::to_vec)
    }

    fn with_tables<T>(&self, look: impl FnOnce(&[TableInfo]) -> T) -> T {
        match &*self.declared() {
            Some(declared) => look(&declared.tables),
            None => look(&self.generation.info.tables),
        }
    }

    /// Whether one of them is polled only while somebody subscribes to it.
    pub(super) fn has_lazy(&self) -> bool {
        self.with_tables(|tables| tables.iter().any(|table| table.lazy))
    }

    fn source(&self) -> Result<Arc<dyn Source>, CallError> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source.ok_or_else(|| CallError::new(Code::CLOSED, "the source is closed"))
    }

    /// Runs a call; one that is overdue is cancelled. None begins once the source is to end.
    async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&dyn Source, CallHead) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let source = self.source()?;
        if self.ingest.calls.is_closing() {
            return Err(ending().into());
        }
        self.call_of(source, deadline, deadline, work).await
    }

    /// `told`: how long the source is told that it has; `deadline`: when its thread is given up for lost. A call whose caller
    /// goes is cancelled.
    async fn call_of<T: Send + 'static>(
        &self,
        source: Arc<dyn Source>,
        told: Duration,
        deadline: Duration,
        work: impl FnOnce(&dyn Source, CallHead) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, SourceError> {
        self.call_as(self.number(), source, told, deadline, work).await
    }

    /// The number of the next call.
    fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// The same, under a number that was taken before.
    async fn call_as<T: Send + 'static>(
        &self,
        call: u64,
        source: Arc<dyn Source>,
        told: Duration,
        deadline: Duration,
        work: impl FnOnce(&dyn Source, CallHead) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let head = CallHead { call, deadline_ms: u64::try_from(told.as_millis()).unwrap_or(u64::MAX) };
        let mut waits = Waits(Some((Arc::clone(&self.ingest), call)));
        let ingest = Arc::clone(&self.ingest);
        let overdue = move || ingest.cancel(call);
        let ticket = self.ingest.calls.begin(call);
        let work = move || {
            // Nobody waited until a thread was free.
            let done = match ticket.is_cancelled() {
                true => Err(CallError::new(Code::CANCELLED, "cancelled")),
                false => ticket.inside(|| work(source.as_ref(), head)),
            };
            // Not before it is back: until then it may ask whether it was cancelled.
            drop(ticket);
            // The last reference to a closed source goes here, on the driver's own thread: dropping runs its code.
            drop(source);
            done
        };
        let done = self.generation.pool.run(deadline, overdue, work).await;
        waits.0 = None;
        blame(&self.generation, answer(done, &self.ingest))
    }

    /// A poll whose caller goes is cancelled; the next one waits until the driver is back from it, for as long as a poll may
    /// take.
    pub(super) async fn poll(&self, request: PollRequest, deadline: Duration) -> Result<Vec<Update>, SourceError> {
        let asked = request.tables.clone();
        let turn = tokio::time::timeout(deadline, Arc::clone(&self.turn).lock_owned()).await;
        let turn = turn.map_err(|_| PoolError::Overdue(deadline))?;
        let source = self.source()?;
        if self.ingest.calls.is_closing() {
            return Err(ending().into());
        }
        let call = self.number();
        self.polling.store(call, Ordering::Relaxed);
        let work = move |source: &dyn Source, head: CallHead| {
            let _turn = turn;
            source.poll(Call { head, body: &request })
        };
        let mut updates = self.call_as(call, source, deadline, deadline, work).await?;
        let mut seen = BTreeSet::new();
        for update in &updates {
            let unasked = asked.as_ref().is_some_and(|tables| !tables.contains(&update.table));
            if unasked || !seen.insert(update.table.as_str()) {
                let what = if unasked { "that was not asked for" } else { "twice" };
                let text = format!("it answered table {:?} {what}", update.table);
                return Err(self.ingest.clean(CallError::broken(&text)).into());
            }
        }
        match &*self.declared() {
            Some(declared) => self.ingest.clean_updates(&mut updates, declared),
            None => self.ingest.clean_updates(&mut updates, &Declared::default()),
        }
        self.ingest.crossed(&updates);
        Ok(updates)
    }

    /// Cancels the poll that runs, or waits for a thread, if one does.
    pub(super) fn cancel_poll(&self) {
        self.ingest.cancel(self.polling.load(Ordering::Relaxed));
    }

    /// Runs an action, if the source is `still` the one to run it when a thread is free; `None`: not. The caller's deadline is
    /// what the source is told; only one that is overdue by the host's own costs a thread: callers can't spend a driver's.
    pub(super) async fn execute(
        &self,
        request: ExecuteRequest,
        deadline: Duration,
        still: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<Option<Value>, SourceError> {
        let work = move |source: &dyn Source, head: CallHead| match still() {
            true => source.execute(Call { head, body: &request }).map(Some),
            false => Ok(None),
        };
        let answer = self.call_of(self.source()?, deadline, ACTION, work).await?;
        Ok(answer.map(|answer| self.ingest.clean_answer(answer)))
    }

    /// Hands on what somebody sent about news; the tables that were updated.
    pub(super) async fn webhook(&self, request: WebhookRequest) -> Result<Vec<String>, SourceError> {
        let tables = self.call(ACTION, move |s, head| s.webhook(Call { head, body: &request })).await?;
        Ok(tables.iter().map(|table| self.ingest.clean_text(table)).collect())
    }

    /// Tells which tables have subscribers.
    pub(super) async fn subscribed(&self, request: SubscribedRequest) -> Result<(), SourceError> {
        self.call(DEADLINE, move |s, head| s.subscribed(Call { head, body: &request })).await
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
        // What its threads wait for ends now: it waits for them.
        let pausing = self.ingest.calls.pause();
        let paused = self.call(DEADLINE, |s, head| s.pause(head)).await;
        drop(pausing);
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

    /// Lets calls that run come to their end, at most so long, and closes the source.
    pub(super) async fn retire(&self, drain: Duration) {
        let left = self.ingest.calls.drain(drain).await;
        if left > 0 {
            tracing::warn!(
                driver = self.generation.info.id,
                generation = self.generation.number,
                calls = left,
                ?drain,
                "calls of a source that was replaced did not end in time: they are cancelled"
            );
        }
        self.close().await;
    }

    /// The last call. A source that does not come back is leaked, with whatever it holds.
    pub(super) async fn close(&self) {
        self.ingest.close();
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(source) = source else { return };
        let closed = self.call_of(source, DEADLINE, DEADLINE, |s, head| s.close(head)).await;
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
}

/// What a call came to, without secrets.
fn answer<T>(done: Result<Result<T, CallError>, PoolError>, ingest: &Ingest) -> Result<T, SourceError> {
    Ok(done?.map_err(|error| ingest.clean(error))?)
}

/// Code that is at fault is not mapped again from the same copy.
fn blame<T>(generation: &Generation, done: Result<T, SourceError>) -> Result<T, SourceError> {
    done.inspect_err(|error| {
        if error.is_code_fault() {
            generation.health.blame();
        }
    })
}

fn ending() -> CallError {
    CallError::new(Code::CLOSED, "the source is being closed")
}

/// What a source is opened with: the options as they are declared, with what they refer to; and who knows the secrets in
/// them.
async fn options(
    record: &Record,
    generation: &Generation,
) -> Result<(serde_json::Map<String, Value>, Redactor), SourceError> {
    let declared = &generation.info.options;
    let given = complete(declared, &record.spec.options);
    let elsewhere: Vec<String> = given.iter().filter(|(_, v)| refers(v)).map(|(name, _)| name.clone()).collect();
    let mut resolved = Value::Object(given);
    let mut referred = Vec::new();
    if !elsewhere.is_empty() {
        let found = secret::read(resolved).await.map_err(SourceError::Options)?;
        (resolved, referred) = (found.options, found.values);
    }
    let resolved = resolved.as_object().cloned().unwrap_or_default();
    let is_secret = |name: &String| {
        let declared = declared.iter().any(|o| o.secret && o.name == *name);
        declared || record.secret.contains(name) || elsewhere.contains(name)
    };
    let secret = resolved.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
    // What is referred to within a longer text may be said by itself.
    let redactor = Redactor::new(secret.chain(&referred));
    let options =
        typed(declared, &resolved).map_err(|e| SourceError::Options(redactor.clean(&e.to_string()).into()))?;
    Ok((options, redactor))
}

/// Cancels a call that its caller left before it was back.
struct Waits(Option<(Arc<Ingest>, u64)>);

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some((ingest, call)) = &self.0 {
            ingest.cancel(*call);
        }
    }
}
