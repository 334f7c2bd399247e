//! What a source may ask of its host, and the threads it runs.

use crate::abi::{HostObject, Reply, Status};
use crate::message::{CallRequest, ErrorBody, EventBody, OpenRequest, PollRequest, StatusRequest, decode, encode};
use crate::table::{Batches, Change, TableSpec, Update};
use crate::{Error, log};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A source's handle on its host. Clones are the same one; it may be used on any thread.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    host: Arc<HostObject>,
    datasource: String,
    generation: u64,
    life: Mutex<Life>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(feature = "tokio")]
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

/// Where a source is in its life, as far as its threads must know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Life {
    active: bool,
    closed: bool,
    /// How often it has been left: threads started before the last time are to end.
    pauses: u64,
}

impl Context {
    pub(crate) fn new(host: HostObject, request: &OpenRequest) -> Self {
        Self {
            inner: Arc::new(Inner {
                host: Arc::new(host),
                datasource: request.datasource.clone(),
                generation: request.generation,
                life: Mutex::default(),
                changed: Condvar::new(),
                threads: Mutex::default(),
                #[cfg(feature = "tokio")]
                runtime: Mutex::default(),
            }),
        }
    }

    /// The datasource's name.
    #[must_use]
    pub fn datasource(&self) -> &str {
        &self.inner.datasource
    }

    /// The number of the loaded copy of this driver.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.generation
    }

    /// Publishes an update of one table, waiting at most `wait` for room in the host's queue.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; nothing was changed.
    pub fn publish(&self, update: Update, wait: Duration) -> Result<(), PublishError> {
        let update = update.export().map_err(|e| PublishError::Invalid(ErrorBody::new(e.to_string())))?;
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        PublishError::of(&self.inner.host.publish(update, wait))
    }

    /// A publisher of one table's rows.
    #[must_use]
    pub fn publisher(&self, table: TableSpec) -> Publisher {
        Publisher { context: self.clone(), table, wait: Duration::from_secs(1) }
    }

    /// Tells of something that happened. Nobody has to listen, and it never waits for who does.
    ///
    /// ```
    /// use busway_plugin_api::prelude::*;
    ///
    /// #[derive(Serialize, JsonSchema)]
    /// struct Opened {
    ///     /// Who opened it.
    ///     badge: String,
    /// }
    ///
    /// /// What the driver's `events()` answers.
    /// fn events() -> Vec<EventTypeInfo> {
    ///     vec![EventTypeInfo::of::<Opened>("com.example.door.opened", "A door was opened").origin("the door")]
    /// }
    ///
    /// /// Once the source is active.
    /// fn tell(context: &Context) -> Result<(), Error> {
    ///     let opened = Opened { badge: "ada".to_owned() };
    ///     context.emit(&EventBody::new("com.example.door.opened").origin("door.7").body(opened))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When the host refuses it, and nobody was told: it is not what its type says ([`Status::INVALID`]), there are too many
    /// ([`Status::FULL`]: again later), the source is in standby or paused ([`Status::STANDBY`]).
    pub fn emit(&self, event: &EventBody) -> Result<(), Error> {
        answer(&self.inner.host.emit(encode(event).as_str().into())).map(|_: Value| ())
    }

    /// Calls a method of another service on the bus.
    ///
    /// # Errors
    ///
    /// What the service answers; or that it is not there ([`Status::NOT_FOUND`]), that the deadline passed
    /// ([`Status::TIMED_OUT`]), that it is this very source ([`Status::REFUSED`]), that this source was paused meanwhile or
    /// the call that this is a part of cancelled ([`Status::CANCELLED`]).
    pub fn call(&self, service: &str, method: &str, args: &impl Serialize, deadline: Duration) -> Result<Value, Error> {
        let request = CallRequest {
            service: service.to_owned(),
            method: method.to_owned(),
            args: serde_json::to_value(args)?,
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        };
        answer(&self.inner.host.call(encode(&request).as_str().into()))
    }

    /// Asks to be polled soon: all tables, or some by name.
    ///
    /// # Errors
    ///
    /// When the host refuses it.
    pub fn request_poll(&self, tables: Option<&[&str]>) -> Result<(), Error> {
        let tables = tables.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let request = PollRequest { tables, snapshot: false };
        answer(&self.inner.host.request_poll(encode(&request).as_str().into())).map(|_: Value| ())
    }

    /// A short text that operators see beside the source. Empty clears it.
    pub fn status(&self, text: &str) {
        let request = encode(&StatusRequest { text: text.to_owned() });
        // A closed host has no one to tell.
        let _ = self.inner.host.status(request.as_str().into());
    }

    /// Whether the call that this thread is in was cancelled, or the source is being closed. Cheap: ask often.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.inner.host.cancelled(log::current_call())
    }

    /// Whether the source has left standby and is neither paused nor closed: the time for effects.
    #[must_use]
    pub fn active(&self) -> bool {
        let life = self.life();
        life.active && !life.closed
    }

    /// Sleeps, unless cancelled, paused or closed before; answers whether it slept to the end. On a thread of
    /// [`spawn`](Self::spawn) that was started before the last pause it does not sleep at all.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> bool {
        // None: longer than the clock can count.
        let end = Instant::now().checked_add(time);
        let mut life = self.inner.life.lock().unwrap_or_else(PoisonError::into_inner);
        let pauses = log::pauses_at_start().unwrap_or(life.pauses);
        loop {
            if life.closed || life.pauses != pauses || self.cancelled() {
                return false;
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return true;
            }
            // The host's flag has no bell of its own before `cancel` is called; a short beat covers the gap.
            let beat = left.min(Duration::from_millis(100));
            life = self.inner.changed.wait_timeout(life, beat).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Marks this thread as working for this source, until the guard is dropped: its `tracing` events carry the
    /// datasource's name. Threads made by [`spawn`](Self::spawn) and calls of the host already are.
    #[must_use]
    pub fn enter(&self) -> log::Entered {
        self.enter_call(0)
    }

    pub(crate) fn enter_call(&self, call: u64) -> log::Entered {
        log::enter(Arc::clone(&self.inner.host), call, None)
    }

    /// Starts a thread of the source's own, named after the datasource. It must end soon after
    /// [`active`](Self::active) turns false or [`sleep`](Self::sleep) is cut short; `close` waits for it.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give, or the source is closed.
    pub fn spawn(&self, name: &str, work: impl FnOnce(&Self) + Send + 'static) -> Result<(), Error> {
        let context = self.clone();
        let name = format!("{}:{name}", self.inner.datasource);
        let mut threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let life = self.life();
        if life.closed {
            return Err(Error::with_status(Status::CLOSED, "the source is closed"));
        }
        threads.retain(|thread| !thread.is_finished());
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let _entered = log::enter(Arc::clone(&context.inner.host), 0, Some(life.pauses));
            let work = std::panic::AssertUnwindSafe(|| work(&context));
            if let Err(payload) = std::panic::catch_unwind(work) {
                // Dropping it may panic as well.
                std::mem::forget(payload);
                context.status(&format!("thread {name} panicked"));
            }
        })?;
        threads.push(thread);
        Ok(())
    }

    /// The source's private tokio runtime (two workers), made at the first call and shut down at close.
    ///
    /// # Errors
    ///
    /// When it can't be made, or the source is closed.
    #[cfg(feature = "tokio")]
    pub fn runtime(&self) -> Result<tokio::runtime::Handle, Error> {
        let mut runtime = self.inner.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if self.life().closed {
            return Err(Error::with_status(Status::CLOSED, "the source is closed"));
        }
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let context = self.clone();
        let made = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(self.inner.datasource.as_str())
            .on_thread_start(move || log::enter_for_good(Arc::clone(&context.inner.host)))
            .enable_all()
            .build()?;
        let handle = made.handle().clone();
        *runtime = Some(made);
        Ok(handle)
    }

    fn life(&self) -> Life {
        *self.inner.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Life)) {
        change(&mut self.inner.life.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.changed.notify_all();
    }

    pub(crate) fn set_active(&self, active: bool) {
        self.change(|life| {
            life.pauses += u64::from(life.active && !active);
            life.active = active;
        });
    }

    /// Wakes sleepers, so that they see the host's flag.
    pub(crate) fn wake(&self) {
        self.inner.changed.notify_all();
    }

    /// Waits for the source's own threads to end.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic was already reported where it happened.
            let _ = thread.join();
        }
    }

    pub(crate) fn close(&self) {
        self.change(|life| *life = Life { active: false, closed: true, ..*life });
        self.join();
        #[cfg(feature = "tokio")]
        if let Some(runtime) = self.inner.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("datasource", &self.inner.datasource).finish_non_exhaustive()
    }
}

/// What the host answered.
fn answer(reply: &Reply) -> Result<Value, Error> {
    if reply.is_ok() {
        return decode(&reply.body).map_err(|e| Error::from_parts(Status::FAILED, e));
    }
    let body = decode(&reply.body).unwrap_or_else(|_| ErrorBody::new("the host gave no reason"));
    Err(Error::from_parts(reply.status, body))
}

/// Publishes rows of one table, for sources that learn of changes by themselves.
#[derive(Debug, Clone)]
pub struct Publisher {
    context: Context,
    table: TableSpec,
    wait: Duration,
}

impl Publisher {
    /// How long a publication waits for room; a second unless set.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Replaces the whole table.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; nothing was changed.
    pub fn replace<T: Serialize>(&self, rows: &[T]) -> Result<(), PublishError> {
        let rows = self.rows(rows)?;
        self.send(Change::Snapshot(rows))
    }

    /// Adds rows; of a keyed table, inserts or replaces them by key.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; nothing was changed.
    pub fn add<T: Serialize>(&self, rows: &[T]) -> Result<(), PublishError> {
        self.change::<T, T>(rows, &[])
    }

    /// Removes rows; of a keyed table, `K` has the key columns alone.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; nothing was changed.
    pub fn remove<K: Serialize>(&self, rows: &[K]) -> Result<(), PublishError> {
        self.change::<K, K>(&[], rows)
    }

    /// Adds and removes at once: subscribers see one step.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; nothing was changed.
    pub fn change<T: Serialize, K: Serialize>(&self, added: &[T], removed: &[K]) -> Result<(), PublishError> {
        let added = self.rows(added)?;
        let removed = if self.table.key.is_empty() {
            self.rows(removed)?
        } else {
            let key = self.key_table()?;
            key.rows(removed).map_err(invalid)?
        };
        self.send(Change::Delta { added, removed })
    }

    fn key_table(&self) -> Result<TableSpec, PublishError> {
        let column = |name: &String| self.table.schema.index_of(name);
        let indices: Vec<usize> = self.table.key.iter().map(column).collect::<Result<_, _>>().map_err(invalid)?;
        let schema = self.table.schema.project(&indices).map_err(invalid)?;
        Ok(TableSpec::with_schema(self.table.name.clone(), Arc::new(schema)))
    }

    fn rows<T: Serialize>(&self, rows: &[T]) -> Result<Batches, PublishError> {
        self.table.rows(rows).map_err(invalid)
    }

    fn send(&self, change: Change) -> Result<(), PublishError> {
        self.context.publish(self.table.update(change), self.wait)
    }
}

fn invalid(error: impl Into<Error>) -> PublishError {
    PublishError::Invalid(error.into().body().clone())
}

/// Why a publication changed nothing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PublishError {
    /// The host's queue had no room within the wait. The host will poll for a snapshot of the table.
    Full,
    /// The source is not activated yet, or paused: again later.
    Standby,
    /// A newer generation writes its tables, for good.
    Superseded,
    /// The source is closed.
    Closed,
    /// The rows do not fit the table.
    Invalid(ErrorBody),
    /// The rows contradict the table's state. The host will poll for a snapshot of the table.
    Inconsistent(ErrorBody),
    /// The table takes no changes before its next snapshot.
    NeedsSnapshot,
    /// The host failed.
    Failed(ErrorBody),
}

impl PublishError {
    fn of(reply: &Reply) -> Result<(), Self> {
        let body = || decode(&reply.body).unwrap_or_default();
        Err(match reply.status {
            Status::OK => return Ok(()),
            Status::FULL => Self::Full,
            Status::STANDBY => Self::Standby,
            Status::NEEDS_SNAPSHOT => Self::NeedsSnapshot,
            Status::SUPERSEDED => Self::Superseded,
            Status::CLOSED => Self::Closed,
            Status::INVALID => Self::Invalid(body()),
            Status::INCONSISTENT => Self::Inconsistent(body()),
            _ => Self::Failed(body()),
        })
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the host's queue for this source is full"),
            Self::Standby => f.write_str("this source is not active now"),
            Self::Superseded => f.write_str("a newer generation writes these tables"),
            Self::NeedsSnapshot => f.write_str("the table waits for a snapshot"),
            Self::Closed => f.write_str("this source is closed"),
            Self::Invalid(e) => write!(f, "the rows do not fit the table: {e}"),
            Self::Inconsistent(e) => write!(f, "the rows contradict the table: {e}"),
            Self::Failed(e) => write!(f, "the host could not take the rows: {e}"),
        }
    }
}

impl std::error::Error for PublishError {}
