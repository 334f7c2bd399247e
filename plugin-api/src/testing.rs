//! A host in memory, for an author's own tests: no process, no library, the real entry points.
//!
//! See the [crate's example](crate).

use crate::abi::abi_stable::prefix_type::PrefixTypeTrait as _;
use crate::abi::abi_stable::sabi_trait::TD_Opaque;
use crate::abi::abi_stable::std_types::RStr;
use crate::abi::object::Host_TO;
use crate::abi::{Host, ModuleRef, Reply, Root, SourceObject, Status, TableUpdate};
use crate::driver::Driver;
use crate::export::{Entry, Export, WEBHOOK};
use crate::info::{DriverInfo, TableInfo};
use crate::message::{
    CallHead, CallRequest, ErrorBody, EventBody, ExecuteRequest, Headed, LogRecord, OpenRequest, PollRequest,
    StateBody, StatusRequest, SubscribedRequest, WebhookRequest, decode, encode, failure, success,
};
use crate::table::{Batches, Change, Update};
use crate::{Error, guard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Service = Arc<dyn Fn(&str, Value) -> Result<Value, Error> + Send + Sync>;

/// Plays the host: opens sources, and keeps all that they tell it.
#[derive(Clone, Default)]
pub struct TestHost {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
    service: Mutex<Option<Service>>,
}

/// The host as one source sees it.
#[derive(Clone)]
struct Seat {
    host: TestHost,
    state: Arc<SeatState>,
}

#[derive(Default)]
struct SeatState {
    active: AtomicBool,
    closing: AtomicBool,
    /// The number of the last call.
    calls: AtomicU64,
    /// Calls up to this one are cancelled.
    cancelled: AtomicU64,
}

impl Seat {
    fn new(host: &TestHost) -> Self {
        Self { host: host.clone(), state: Arc::default() }
    }

    fn next_call(&self) -> CallHead {
        CallHead { call: self.state.calls.fetch_add(1, Ordering::AcqRel) + 1, deadline_ms: 2000 }
    }

    fn request<T: Serialize>(&self, body: T) -> String {
        encode(&Headed { head: self.next_call(), body })
    }
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
        let unowned = Host_TO::from_value(Seat::new(self), TD_Opaque);
        answer::<()>(&module.attach()(unowned, r#"{"generation": 1, "log_filter": "trace"}"#.into()))?;
        guard::keep_reports();
        let Value::Object(options) = options else {
            return Err(Error::new("options are a JSON object"));
        };
        let seat = Seat::new(self);
        let call = seat.next_call().call;
        let request = OpenRequest { datasource: "test".to_owned(), call, generation: 1, options };
        let host = Host_TO::from_value(seat.clone(), TD_Opaque);
        let opened = module.open()(encode(&request).as_str().into(), host);
        answer::<()>(&opened.reply)?;
        let source = opened.source.into_option().ok_or_else(|| Error::new("the driver gave no source"))?;
        Ok(TestSource { source, seat })
    }

    /// Plays every other service: answers the source's calls, given as `service/method`.
    pub fn answer_calls(&self, service: impl Fn(&str, Value) -> Result<Value, Error> + Send + Sync + 'static) {
        *self.shared.service.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(service));
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

impl Host for Seat {
    fn publish(&self, update: TableUpdate, _wait_ms: u64) -> Reply {
        if let Some(refused) = self.not_active() {
            return refused;
        }
        match Update::import(update) {
            Ok(update) => Reply { status: self.host.tell(|told| told.published.push(update)), ..Reply::ok() },
            Err(error) => failure(Status::INVALID, &error),
        }
    }

    fn emit(&self, event: RStr<'_>) -> Reply {
        if let Some(refused) = self.not_active() {
            return refused;
        }
        match decode(&event) {
            Ok(event) => Reply { status: self.host.tell(|told| told.events.push(event)), ..Reply::ok() },
            Err(error) => failure(Status::INVALID, &error),
        }
    }

    fn call(&self, request: RStr<'_>) -> Reply {
        let request: CallRequest = match decode(&request) {
            Ok(request) => request,
            Err(error) => return failure(Status::INVALID, &error),
        };
        let service = self.host.shared.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(service) = service else {
            return failure(Status::NOT_FOUND, &ErrorBody::new(format!("no service {:?}", request.service)));
        };
        match guard::run(|| service(&format!("{}/{}", request.service, request.method), request.args)) {
            Ok(value) => success(&value),
            Err(error) => failure(error.status(), error.body()),
        }
    }

    fn request_poll(&self, _: RStr<'_>) -> Reply {
        Reply { status: self.host.tell(|told| told.polls_requested += 1), ..Reply::ok() }
    }

    fn status(&self, request: RStr<'_>) -> Status {
        let request: StatusRequest = decode(&request).unwrap_or_default();
        self.host.tell(|told| told.statuses.push(request.text))
    }

    fn log(&self, record: RStr<'_>) -> Status {
        match decode(&record) {
            Ok(record) => self.host.tell(|told| told.log.push(record)),
            Err(_) => Status::INVALID,
        }
    }

    fn cancelled(&self, call: u64) -> bool {
        let state = &self.state;
        state.closing.load(Ordering::Acquire) || (call != 0 && call <= state.cancelled.load(Ordering::Acquire))
    }

    fn control(&self, op: RStr<'_>, _: RStr<'_>) -> Reply {
        failure(Status::NOT_IMPLEMENTED, &ErrorBody::new(format!("unknown operation {op:?}")))
    }
}

impl Seat {
    fn not_active(&self) -> Option<Reply> {
        let refuse = |status, why: &str| Some(failure(status, &ErrorBody::new(why)));
        if self.state.closing.load(Ordering::Acquire) {
            return refuse(Status::CLOSED, "the source is closed");
        }
        if self.state.active.load(Ordering::Acquire) {
            None
        } else {
            refuse(Status::STANDBY, "the source is not active")
        }
    }
}

/// An open source. Dropping it closes it.
pub struct TestSource {
    source: SourceObject,
    seat: Seat,
}

impl TestSource {
    /// The tables it has now.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn tables(&self) -> Result<Vec<TableInfo>, Error> {
        answer(&self.source.tables(self.seat.request(json!({})).as_str().into()))
    }

    /// Polls all tables.
    ///
    /// # Errors
    ///
    /// When the whole poll failed, or its answer breaks the contract.
    pub fn poll(&self) -> Result<Polled, Error> {
        self.poll_with(&PollRequest::default())
    }

    /// Polls some tables, or insists on snapshots.
    ///
    /// # Errors
    ///
    /// When the whole poll failed, or its answer breaks the contract.
    pub fn poll_with(&self, request: &PollRequest) -> Result<Polled, Error> {
        let request = self.seat.request(request);
        let polled = self.source.poll(request.as_str().into());
        answer::<Value>(&polled.reply)?;
        let updates: Vec<Update> = polled
            .updates
            .into_iter()
            .map(|update| Update::import(update).map_err(|e| Error::from_parts(Status::FAILED, e)))
            .collect::<Result<_, _>>()?;
        for (i, update) in updates.iter().enumerate() {
            if updates[..i].iter().any(|other| other.table == update.table) {
                return Err(Error::new(format!("the poll answered table {:?} twice", update.table)));
            }
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
        answer(&self.source.execute(self.seat.request(request).as_str().into()))
    }

    /// Hands it what came from outside; answers the tables that it updated.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn webhook(&self, table: Option<&str>, payload: Value) -> Result<Vec<String>, Error> {
        let request = WebhookRequest { table: table.map(str::to_owned), payload };
        answer(&self.source.control(WEBHOOK.into(), self.seat.request(request).as_str().into()))
    }

    /// Tells it which tables have subscribers, all of them each time.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn subscribed(&self, tables: &[&str]) -> Result<(), Error> {
        let tables = tables.iter().map(|table| ((*table).to_owned(), None)).collect();
        answer(&self.source.subscribed(self.seat.request(SubscribedRequest { tables }).as_str().into()))
    }

    /// Leaves standby.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn activate(&self) -> Result<(), Error> {
        self.activating(|request| self.source.activate(request.into()))
    }

    /// Pauses it.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn pause(&self) -> Result<(), Error> {
        answer::<()>(&self.source.pause(self.seat.request(json!({})).as_str().into()))?;
        self.seat.state.active.store(false, Ordering::Release);
        Ok(())
    }

    /// Resumes it.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn resume(&self) -> Result<(), Error> {
        self.activating(|request| self.source.resume(request.into()))
    }

    /// Publications are accepted from the beginning of the call on; not any longer when it fails.
    fn activating(&self, call: impl FnOnce(&str) -> Reply) -> Result<(), Error> {
        let before = self.seat.state.active.swap(true, Ordering::AcqRel);
        answer(&call(&self.seat.request(json!({})))).inspect_err(|_| {
            self.seat.state.active.store(before, Ordering::Release);
        })
    }

    /// Its state, as the next generation would get it.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn export_state(&self) -> Result<Option<StateBody>, Error> {
        answer(&self.source.export_state(self.seat.request(json!({})).as_str().into()))
    }

    /// Gives it an earlier one's state.
    ///
    /// # Errors
    ///
    /// What the source answers.
    pub fn import_state(&self, state: &StateBody) -> Result<(), Error> {
        answer(&self.source.import_state(self.seat.request(state).as_str().into()))
    }

    /// Cancels the calls in flight; those that come later run.
    pub fn cancel(&self) {
        let state = &self.seat.state;
        state.cancelled.store(state.calls.load(Ordering::Acquire), Ordering::Release);
        let _ = self.source.cancel(self.seat.request(json!({})).as_str().into());
    }
}

impl Drop for TestSource {
    fn drop(&mut self) {
        self.seat.state.closing.store(true, Ordering::Release);
        let _ = self.source.close(self.seat.request(json!({})).as_str().into());
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
