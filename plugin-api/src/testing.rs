//! A host in memory, for an author's own tests: no process, no library, the real entry points.
//!
//! See the [crate's example](crate).

use crate::Error;
use crate::abi::abi_stable::prefix_type::PrefixTypeTrait as _;
use crate::abi::abi_stable::sabi_trait::TD_Opaque;
use crate::abi::abi_stable::std_types::RStr;
use crate::abi::object::Host_TO;
use crate::abi::{Host, ModuleRef, Reply, Root, SourceObject, Status, TableUpdate};
use crate::driver::Driver;
use crate::export::{Entry, Export};
use crate::info::{DriverInfo, TableInfo};
use crate::message::{
    CallRequest, ErrorBody, EventBody, ExecuteRequest, LogRecord, OpenRequest, PollRequest, StateBody, StatusRequest,
    decode, encode, failure, success,
};
use crate::table::{Batches, Change, Update};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Service = Box<dyn Fn(&str, Value) -> Result<Value, Error> + Send + Sync>;

/// Plays the host: opens sources, and keeps all that they tell it.
#[derive(Clone, Default)]
pub struct TestHost {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
    active: AtomicBool,
    cancelled: AtomicBool,
    service: Mutex<Option<Service>>,
}

#[derive(Default)]
struct Told {
    published: Vec<Update>,
    events: Vec<EventBody>,
    log: Vec<LogRecord>,
    statuses: Vec<String>,
    polls_requested: usize,
}

struct Tested<D>(PhantomData<D>);

impl<D: Driver> Export for Tested<D> {
    type Driver = D;
    const VERSION: &'static str = "0.0.0";
}

impl TestHost {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn module<D: Driver>() -> ModuleRef {
        Entry::<Tested<D>>::module().leak_into_prefix()
    }

    /// What the driver says of itself, after the check that the host makes.
    ///
    /// # Errors
    ///
    /// What it says wrong.
    pub fn describe<D: Driver>() -> Result<DriverInfo, Error> {
        let info: DriverInfo = answer(&Self::module::<D>().describe()("{}".into()))?;
        match info.problems() {
            problems if problems.is_empty() => Ok(info),
            problems => Err(Error::new("the driver breaks the rules of its description").problems(problems)),
        }
    }

    /// Opens a source with these options, in standby.
    ///
    /// # Errors
    ///
    /// What the driver answers.
    pub fn open<D: Driver>(&self, options: Value) -> Result<TestSource, Error> {
        let module = Self::module::<D>();
        let host = || Host_TO::from_value(self.clone(), TD_Opaque);
        answer::<()>(&module.attach()(host(), r#"{"generation": 1, "log_filter": "trace"}"#.into()))?;
        let Value::Object(options) = options else {
            return Err(Error::new("options are a JSON object"));
        };
        let request = OpenRequest { datasource: "test".to_owned(), call: 1, generation: 1, options };
        let opened = module.open()(encode(&request).as_str().into(), host());
        answer::<()>(&opened.reply)?;
        let source = opened.source.into_option().ok_or_else(|| Error::new("the driver gave no source"))?;
        Ok(TestSource { source, host: self.clone() })
    }

    /// Plays every other service: answers the source's calls, given as `service/method`.
    pub fn answer_calls(&self, service: impl Fn(&str, Value) -> Result<Value, Error> + Send + Sync + 'static) {
        *self.shared.service.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(service));
    }

    /// What was published so far.
    #[must_use]
    pub fn published(&self) -> Vec<Update> {
        self.told().published.clone()
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> Vec<EventBody> {
        self.told().events.clone()
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> Vec<LogRecord> {
        self.told().log.clone()
    }

    /// The status texts so far.
    #[must_use]
    pub fn statuses(&self) -> Vec<String> {
        self.told().statuses.clone()
    }

    /// How often the source asked to be polled.
    #[must_use]
    pub fn polls_requested(&self) -> usize {
        self.told().polls_requested
    }

    /// Waits until the source told something that satisfies `until`, at most `deadline`; answers whether it did.
    #[must_use]
    pub fn wait(&self, deadline: Duration, until: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + deadline;
        loop {
            if until(self) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let told = self.told();
            let beat = left.min(Duration::from_millis(20));
            drop(self.shared.changed.wait_timeout(told, beat).unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) -> Status {
        what(&mut self.told());
        self.shared.changed.notify_all();
        Status::OK
    }
}

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHost").finish_non_exhaustive()
    }
}

impl Host for TestHost {
    fn publish(&self, update: TableUpdate, _wait_ms: u64) -> Reply {
        if !self.shared.active.load(Ordering::Acquire) {
            return failure(Status::STANDBY, &ErrorBody::new("the source is not active"));
        }
        match Update::import(update) {
            Ok(update) => Reply { status: self.tell(|told| told.published.push(update)), ..Reply::ok() },
            Err(error) => failure(Status::INVALID, &error),
        }
    }

    fn emit(&self, event: RStr<'_>) -> Reply {
        match decode(&event) {
            Ok(event) => Reply { status: self.tell(|told| told.events.push(event)), ..Reply::ok() },
            Err(error) => failure(Status::INVALID, &error),
        }
    }

    fn call(&self, request: RStr<'_>) -> Reply {
        let request: CallRequest = match decode(&request) {
            Ok(request) => request,
            Err(error) => return failure(Status::INVALID, &error),
        };
        let service = self.shared.service.lock().unwrap_or_else(PoisonError::into_inner);
        match service.as_ref().map(|s| s(&format!("{}/{}", request.service, request.method), request.args)) {
            Some(Ok(value)) => success(&value),
            Some(Err(error)) => failure(error.status(), error.body()),
            None => failure(Status::NOT_FOUND, &ErrorBody::new(format!("no service {:?}", request.service))),
        }
    }

    fn request_poll(&self, _: RStr<'_>) -> Reply {
        Reply { status: self.tell(|told| told.polls_requested += 1), ..Reply::ok() }
    }

    fn status(&self, request: RStr<'_>) -> Status {
        let request: StatusRequest = decode(&request).unwrap_or_default();
        self.tell(|told| told.statuses.push(request.text))
    }

    fn log(&self, record: RStr<'_>) -> Status {
        match decode(&record) {
            Ok(record) => self.tell(|told| told.log.push(record)),
            Err(_) => Status::INVALID,
        }
    }

    fn cancelled(&self, _: u64) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    fn control(&self, op: RStr<'_>, _: RStr<'_>) -> Reply {
        failure(Status::NOT_IMPLEMENTED, &ErrorBody::new(format!("unknown operation {op:?}")))
    }
}

/// An open source. Dropping it closes it.
pub struct TestSource {
    source: SourceObject,
    host: TestHost,
}

impl TestSource {
    /// The tables it has now.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn tables(&self) -> Result<Vec<TableInfo>, Error> {
        answer(&self.source.tables("{}".into()))
    }

    /// Polls all tables.
    ///
    /// # Errors
    ///
    /// When the whole poll failed, or its answer breaks the contract.
    pub fn poll(&self) -> Result<Polled, Error> {
        let request = encode(&PollRequest::default());
        let polled = self.source.poll(request.as_str().into());
        answer::<Value>(&polled.reply)?;
        let updates: Vec<Update> = polled
            .updates
            .into_iter()
            .map(|update| Update::import(update).map_err(|e| Error::from_parts(Status::FAILED, e)))
            .collect::<Result<_, _>>()?;
        for update in &updates {
            if let Change::Snapshot(rows) = &update.change {
                rows.validate()?;
            }
        }
        Ok(Polled { updates })
    }

    /// Runs an action with named arguments.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn execute(&self, action: &str, named: Value) -> Result<Value, Error> {
        let named = named.as_object().cloned().unwrap_or_default();
        let request = ExecuteRequest { action: action.to_owned(), named, ..ExecuteRequest::default() };
        answer(&self.source.execute(encode(&request).as_str().into()))
    }

    /// Leaves standby.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn activate(&self) -> Result<(), Error> {
        self.host.shared.active.store(true, Ordering::Release);
        answer(&self.source.activate("{}".into()))
    }

    /// Pauses it.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn pause(&self) -> Result<(), Error> {
        let paused = answer(&self.source.pause(json!({"deadline_ms": 2000}).to_string().as_str().into()));
        self.host.shared.active.store(false, Ordering::Release);
        paused
    }

    /// Resumes it.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn resume(&self) -> Result<(), Error> {
        self.host.shared.active.store(true, Ordering::Release);
        answer(&self.source.resume("{}".into()))
    }

    /// Its state, as the next generation would get it.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn export_state(&self) -> Result<Option<StateBody>, Error> {
        answer(&self.source.export_state("{}".into()))
    }

    /// Gives it an earlier one's state.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn import_state(&self, state: &StateBody) -> Result<(), Error> {
        answer(&self.source.import_state(encode(state).as_str().into()))
    }

    /// Cancels the calls in flight; those that come later run.
    pub fn cancel(&self) {
        self.host.shared.cancelled.store(true, Ordering::Release);
        let _ = self.source.cancel("{}".into());
    }
}

impl Drop for TestSource {
    fn drop(&mut self) {
        self.host.shared.cancelled.store(true, Ordering::Release);
        let _ = self.source.close("{}".into());
        self.host.shared.cancelled.store(false, Ordering::Release);
    }
}

impl fmt::Debug for TestSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSource").finish_non_exhaustive()
    }
}

/// What a poll answered.
#[derive(Debug, Clone)]
pub struct Polled {
    /// One for each table.
    pub updates: Vec<Update>,
}

impl Polled {
    /// The rows of a table.
    ///
    /// # Errors
    ///
    /// When the table is not among them, failed, or its columns do not fit `T`.
    pub fn rows<T: DeserializeOwned>(&self, table: &str) -> Result<Vec<T>, Error> {
        self.batches(table)?.to_vec()
    }

    /// The batches of a table.
    ///
    /// # Errors
    ///
    /// When the table is not among them, or failed.
    pub fn batches(&self, table: &str) -> Result<&Batches, Error> {
        let update = self.updates.iter().find(|u| u.table == table);
        match update.map(|u| &u.change) {
            Some(Change::Snapshot(rows)) => Ok(rows),
            Some(Change::Failed(error)) => Err(Error::from_parts(Status::FAILED, error.clone())),
            Some(_) => Err(Error::new(format!("table {table:?} came without rows"))),
            None => Err(Error::new(format!("no table {table:?}"))),
        }
    }
}

fn answer<T: DeserializeOwned>(reply: &Reply) -> Result<T, Error> {
    if reply.is_ok() {
        return decode(&reply.body).map_err(|e| Error::from_parts(Status::FAILED, e));
    }
    let body = decode(&reply.body).unwrap_or_else(|_| ErrorBody::new("no reason given"));
    Err(Error::from_parts(reply.status, body))
}
