//! The door between a source and its tables: who may publish, and what becomes of it.
//!
//! A table belongs to the bus; a source holds the right to write it (its lease) while this door is open. During a reload
//! the new source's door opens between two updates, after the old one's was shut for good.

use super::books::{self, Books};
use super::calls::{Calls, Ended};
use super::declared::{self, Declared};
use super::error;
use super::news::{Emitter, News};
use super::runner::{Restored, Shared};
use super::secret::Redactor;
use crate::bus::{Address, PublishError, Service, TableView};
use crate::hiding::{Finder, Heeded};
use crate::logging::forward;
use crate::plugin::{CallError, Generation, HostCalls, Source};
use crate::table::{Applied, Limits, Shape};
use arrow_schema::Fields;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::TableInfo;
use busway_plugin_api::message::{CallRequest, ErrorBody, EventBody, LogRecord, PollRequest};
use busway_plugin_api::table::{Change, Update};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Whether a source may publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// In standby or paused.
    Standby,
    /// It writes its tables.
    Open,
    /// Another source of the datasource writes them, for good.
    Superseded,
    /// It is closed.
    Closed,
}

/// A source's side of the host.
pub(super) struct Ingest {
    service: Arc<Service>,
    pub(super) generation: Arc<Generation>,
    /// The source, once it is open. Weak: the last reference to it goes on a thread of its driver's.
    pub(super) source: Mutex<Option<Weak<dyn Source>>>,
    /// Held while an update is applied: what the door says holds for the whole of it.
    door: Mutex<Door>,
    pub(super) calls: Arc<Calls>,
    /// Where calls of other services are made.
    pub(super) runtime: Handle,
    /// Of each table.
    limits: Limits,
    /// Knows what of its options is secret.
    redactor: Arc<Redactor>,
    /// The tables that its driver declared before it knew of any secret.
    known: Vec<TableInfo>,
    /// What the source says of its tables, if that is not what its driver declares: of thousands of sources most have that, and
    /// it is there once.
    listed: Mutex<Option<Declared>>,
    /// What the driver says outside any source is searched for this one's secrets, as long as it can reach the host by it.
    _heeded: Heeded,
    /// Tables that the source publishes by itself.
    offered: Mutex<BTreeSet<String>>,
    /// Which tables need a poll: some, or all.
    wanted: Mutex<Wanted>,
    bell: Arc<Notify>,
    restored: Arc<Restored>,
    text: Mutex<String>,
    news: Arc<News>,
    /// The way for what it tells of, made when it is needed.
    emitter: OnceLock<Box<dyn Emitter>>,
    /// What the source gives, while books are kept of that.
    books: Books,
    /// Tables whose rows a former source gave after this one was first polled: deltas, and "unchanged", are of other rows.
    /// With whether this one has said that it has such a table.
    unsaid: Mutex<BTreeMap<String, bool>>,
    /// Tables that were compared with what is declared of them.
    compared: Mutex<BTreeSet<String>>,
    /// Tables that have other columns than they are declared with.
    odd: Mutex<BTreeSet<String>>,
    /// Tables whose updates are lost between here and the bus.
    #[cfg(test)]
    lost: Mutex<BTreeSet<String>>,
}

/// What a source, or the host, asked to be polled out of turn.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) all: bool,
    pub(super) tables: BTreeSet<String>,
    pub(super) snapshot: bool,
}

impl Wanted {
    pub(super) fn request(&self) -> Option<PollRequest> {
        if !self.all && self.tables.is_empty() {
            return None;
        }
        let tables = (!self.all).then(|| self.tables.iter().cloned().collect());
        Some(PollRequest { tables, snapshot: self.snapshot })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("service", &self.service.name()).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Must be called within a tokio runtime, and before the source is told its options.
    pub(super) fn new(
        service: Arc<Service>,
        generation: &Arc<Generation>,
        limits: Limits,
        redactor: Redactor,
        shared: &Shared,
    ) -> Self {
        let redactor = Arc::new(redactor);
        Self {
            service,
            generation: Arc::clone(generation),
            source: Mutex::default(),
            door: Mutex::new(Door::Standby),
            calls: Arc::new(Calls::new()),
            runtime: Handle::current(),
            limits,
            _heeded: generation.secrets.heed(Arc::clone(&redactor) as _),
            redactor,
            known: generation.info.tables.clone(),
            listed: Mutex::default(),
            offered: Mutex::default(),
            wanted: Mutex::default(),
            bell: Arc::clone(&shared.bell),
            restored: Arc::clone(&shared.restored),
            text: Mutex::default(),
            news: Arc::clone(shared.news()),
            emitter: OnceLock::new(),
            books: Books::default(),
            unsaid: Mutex::default(),
            compared: Mutex::default(),
            odd: Mutex::default(),
            #[cfg(test)]
            lost: Mutex::default(),
        }
    }

    /// Counts from now on what the source gives. `look`: at the tables, while nothing comes.
    pub(super) fn count_from_now<T>(&self, look: impl FnOnce() -> T) -> T {
        let _door = lock(&self.door);
        self.books.open();
        look()
    }

    /// How many states of each table came from it since, and what is to be seen of them at that moment. It is counted no
    /// more.
    pub(super) fn counted<T>(&self, look: impl FnOnce() -> T) -> (T, BTreeMap<String, u64>) {
        let _door = lock(&self.door);
        let made = self.books.close();
        (look(), made)
    }

    /// These came across from the source: whatever becomes of them, they are in the books.
    pub(super) fn crossed(&self, updates: &[Update]) {
        updates.iter().filter(|update| books::counts(update)).for_each(|update| self.books.came(&update.table));
    }

    /// These are not applied, on purpose.
    pub(super) fn pass_over(&self, updates: &[Update]) {
        updates.iter().filter(|update| books::counts(update)).for_each(|update| self.books.made_none(&update.table));
    }

    /// Rows of these tables are a former source's, given after this one's first poll, whose rows were passed over: it has to
    /// give them whole before anything else. With each, whether it was in that poll.
    pub(super) fn expect_whole(&self, tables: BTreeMap<String, bool>) {
        *lock(&self.unsaid) = tables;
    }

    /// Whether a table is a former source's, and this one never said that it has such a table; it is expected no more.
    pub(super) fn lacks(&self, table: &str) -> bool {
        let mut unsaid = lock(&self.unsaid);
        let lacks = unsaid.get(table) == Some(&false);
        if lacks {
            unsaid.remove(table);
        }
        lacks
    }

    /// The table has ended: its rows are expected no more.
    pub(super) fn expect_none(&self, table: &str) {
        lock(&self.unsaid).remove(table);
    }

    /// Whether the rows of a table are a former source's, and it has to give them whole; no table named: of any.
    pub(super) fn is_unsaid(&self, table: Option<&str>) -> bool {
        let unsaid = lock(&self.unsaid);
        table.map_or(!unsaid.is_empty(), |table| unsaid.contains_key(table))
    }

    /// What the source gives of that table from now on is lost on the way.
    #[cfg(test)]
    pub(super) fn lose(&self, table: &str) {
        lock(&self.lost).insert(table.to_owned());
    }

    /// Turns the door; waits for an update that is being applied.
    pub(super) fn turn(&self, to: Door) {
        *lock(&self.door) = to;
    }

    /// The table as it is.
    pub(super) fn view(&self, table: &str) -> Option<Arc<TableView>> {
        self.service.bus().table(&Address::new(self.service.name(), table).ok()?)
    }

    /// What the source said went wrong, without its secrets.
    pub(super) fn clean(&self, mut error: CallError) -> CallError {
        self.redactor.hide_in_error(&mut error.body);
        error
    }

    pub(super) fn clean_text(&self, text: &str) -> String {
        self.redactor.hide(text).into_owned()
    }

    /// What the source answered, without its secrets.
    pub(super) fn clean_answer(&self, mut answer: Value) -> Value {
        self.redactor.clean_json(&mut answer);
        answer
    }

    /// The tables that the source says it has, without its secrets.
    pub(super) fn declared(&self, tables: Vec<TableInfo>) -> Declared {
        Declared::new(tables, &self.redactor, &self.known)
    }

    /// What the source says of its tables, if that is not what its driver declares.
    pub(super) fn listed(&self) -> MutexGuard<'_, Option<Declared>> {
        lock(&self.listed)
    }

    /// What a poll answered, without the source's secrets.
    pub(super) fn clean_updates(&self, updates: &mut Vec<Update>, declared: &Declared) {
        declared::clean_all(updates, &self.redactor, &self.known, declared);
    }

    /// Whether the table is there.
    pub(super) fn has(&self, table: &str) -> bool {
        self.service.has(table)
    }

    /// The table is one that clients write: rows from the disk are what they wrote.
    pub(super) fn adopt(&self, table: &str) {
        if self.restored.remove(table) {
            self.service.confirm(table);
        }
    }

    /// Applies what a client wrote, as the source's own publication would be.
    pub(super) fn write(&self, update: Update) -> Result<(), CallError> {
        let door = lock(&self.door);
        match *door {
            Door::Open => {
                self.crossed(std::slice::from_ref(&update));
                self.put(update, 0)
            }
            Door::Standby | Door::Superseded => {
                Err(CallError::new(Code::STANDBY, "the datasource moves to another source: try again at once"))
            }
            Door::Closed => Err(CallError::new(Code::CLOSED, "the source is closed")),
        }
    }

    pub(super) fn close(&self) {
        self.calls.close();
        self.turn(Door::Closed);
    }

    /// The tables that the source publishes by itself, there or not.
    pub(super) fn offered(&self) -> BTreeSet<String> {
        lock(&self.offered).clone()
    }

    /// What the source says it is doing, and what the host says of its tables.
    pub(super) fn text(&self) -> String {
        let (said, odd) = (lock(&self.text).clone(), lock(&self.odd));
        if odd.is_empty() {
            return said;
        }
        let tables: Vec<String> = odd.iter().map(|table| format!("{table:?}")).collect();
        let odd = format!("other columns than declared: {}", tables.join(", "));
        if said.is_empty() { odd } else { format!("{said}; {odd}") }
    }

    /// What is wanted out of turn, once.
    pub(super) fn take_wanted(&self) -> Wanted {
        std::mem::take(&mut *lock(&self.wanted))
    }

    pub(super) fn want(&self, request: &PollRequest) {
        let mut wanted = lock(&self.wanted);
        match &request.tables {
            None => wanted.all = true,
            Some(tables) => wanted.tables.extend(tables.iter().cloned()),
        }
        wanted.snapshot |= request.snapshot;
        drop(wanted);
        self.bell.notify_one();
    }

    /// Applies what a poll answered. Each table's errors are its own; they are returned with its name.
    pub(super) fn apply(&self, updates: Vec<Update>, poll: u64) -> Vec<(String, String)> {
        let mut errors = Vec::new();
        for update in updates {
            let table = update.table.clone();
            if let Err(error) = self.put(update, poll) {
                let text = error.body.to_string();
                self.service.fail(&table, text.clone());
                errors.push((table, text));
            }
        }
        errors
    }

    fn put(&self, update: Update, poll: u64) -> Result<(), CallError> {
        #[cfg(test)]
        if lock(&self.lost).contains(&update.table) {
            return Ok(());
        }
        let (table, counts) = (update.table.clone(), books::counts(&update));
        let put = self.put_in(update, poll);
        if counts && !matches!(put, Ok(true)) {
            self.books.made_none(&table);
        }
        if matches!(put, Ok(true)) {
            self.news.updated(self.service.name(), &table);
        }
        put.map(|_| ())
    }

    /// Answers whether it made a state.
    fn put_in(&self, update: Update, poll: u64) -> Result<bool, CallError> {
        let refuse = |error: PublishError| {
            let status = match &error {
                PublishError::NeedsSnapshot => Code::NEEDS_SNAPSHOT,
                PublishError::Refused(crate::table::Refused::Inconsistent(_)) => Code::INCONSISTENT,
                _ => Code::INVALID,
            };
            self.clean(CallError::new(status, error.to_string()))
        };
        let table = update.table.as_str();
        match &update.change {
            Change::Snapshot(rows) => {
                let shape = Shape::of(&update, rows).map_err(|e| refuse(e.into()))?;
                if !self.service.has(table) {
                    self.service.limit(table, self.limits);
                }
                let declared = shape.schema.fields().clone();
                let applied = self.service.snapshot(table, shape, rows, poll).map_err(refuse)?;
                self.restored.remove(table);
                lock(&self.unsaid).remove(table);
                self.compare(table, &declared, matches!(applied, Applied::Begun));
                return Ok(!matches!(applied, Applied::Unchanged));
            }
            // It is of rows that the source gave, not of those from the disk, nor of a former source's.
            Change::Delta { .. } if self.restored.contains(table) || self.is_unsaid(Some(table)) => {
                return Err(refuse(PublishError::NeedsSnapshot));
            }
            Change::Unchanged if self.restored.contains(table) || self.is_unsaid(Some(table)) => {
                return Err(CallError::new(Code::INVALID, "\"unchanged\", though its rows were never given"));
            }
            Change::Delta { added, removed } => {
                let applied = self.service.delta(table, added, removed, poll).map_err(refuse)?;
                return Ok(!matches!(applied, Applied::Unchanged));
            }
            Change::Unchanged if self.service.has(table) => self.service.confirm(table),
            Change::Unchanged => {
                return Err(CallError::new(Code::INVALID, "\"unchanged\", though its rows were never given"));
            }
            // It may come when somebody wants it: patterns meet it before.
            Change::Published => {
                self.service.offer(table).map_err(|e| refuse(e.into()))?;
                lock(&self.offered).insert(table.to_owned());
            }
            Change::Gone => {
                lock(&self.offered).remove(table);
                if self.service.has(table) {
                    self.news.updated(self.service.name(), table);
                }
                lock(&self.unsaid).remove(table);
                self.service.end(table);
            }
            Change::Failed(error) => return Err(CallError::of(Code::FAILED, error.clone())),
        }
        Ok(false)
    }

    /// Compares a table with what is declared of it, when it is given first and when its columns are others. Rows hold
    /// whatever was declared; that it was otherwise is said once a generation.
    fn compare(&self, table: &str, columns: &Fields, begun: bool) {
        if !lock(&self.compared).insert(table.to_owned()) && !begun {
            return;
        }
        let difference = {
            let listed = lock(&self.listed);
            let tables = listed.as_ref().map_or(&self.known, |listed| &listed.tables);
            tables.iter().find(|info| info.name == table).and_then(|info| declared::difference(info, columns))
        };
        let Some(difference) = difference else {
            lock(&self.odd).remove(table);
            return;
        };
        lock(&self.odd).insert(table.to_owned());
        if self.generation.is_news(table) {
            tracing::warn!(
                driver = self.generation.info.id,
                generation = self.generation.number,
                datasource = self.service.name(),
                table,
                difference,
                "a table has other columns than its driver declares: rows are taken as they come"
            );
        }
    }
}

impl HostCalls for Ingest {
    fn publish(&self, mut update: Update) -> Result<(), CallError> {
        declared::clean(&mut update, &self.redactor, &self.known)?;
        let door = lock(&self.door);
        let closed = |status, why: &str| Err(CallError::new(status, why));
        match *door {
            Door::Open => {}
            Door::Standby => return closed(Code::STANDBY, "the source is in standby or paused"),
            Door::Superseded => return closed(Code::SUPERSEDED, "a newer generation writes these tables"),
            Door::Closed => return closed(Code::CLOSED, "the source is closed"),
        }
        if matches!(update.change, Change::Unchanged | Change::Published) {
            return Err(CallError::new(Code::INVALID, "that is an answer to a poll"));
        }
        let table = update.table.clone();
        self.crossed(std::slice::from_ref(&update));
        let put = self.put(update, 0);
        drop(door);
        if put.as_ref().is_err_and(|e| matches!(e.status, Code::INCONSISTENT | Code::NEEDS_SNAPSHOT)) {
            self.want(&PollRequest { tables: Some(vec![table]), snapshot: true });
        }
        put
    }

    fn request_poll(&self, request: PollRequest) -> Result<(), CallError> {
        if self.calls.is_closing() {
            return Err(CallError::new(Code::CLOSED, "the source is closed"));
        }
        self.want(&request);
        Ok(())
    }

    fn call(&self, request: CallRequest) -> Result<Value, CallError> {
        let CallRequest { service, method, args, deadline_ms } = request;
        if service == self.service.name() {
            let text = format!("a source can't call its own service {service:?}: it would wait for itself");
            return Err(CallError::new(Code::REFUSED, text));
        }
        if Handle::try_current().is_ok() {
            let text = "a call blocks: make it on a thread of the source's, not on one of the host's".to_owned();
            return Err(CallError::new(Code::REFUSED, text));
        }
        let ended = self.calls.end(self.calls.current());
        self.runtime.block_on(async {
            let call = self.service.bus().call(service.as_str(), &method, args);
            let call = call.deadline(Duration::from_millis(deadline_ms)).by(self.service.name());
            tokio::select! {
                biased;
                ended = ended => Err(match ended {
                    Ended::Closed => CallError::new(Code::CLOSED, "the source is closed"),
                    Ended::Cancelled => CallError::new(Code::CANCELLED, "cancelled"),
                    Ended::Paused => CallError::of(
                        Code::CANCELLED,
                        ErrorBody { transient: true, ..ErrorBody::new("cancelled: the source was paused") },
                    ),
                }),
                answer = call => answer.map_err(error::answer),
            }
        })
    }

    fn emit(&self, mut event: EventBody) -> Result<(), CallError> {
        let EventBody { topic, kind, origin, body } = &mut event;
        [topic, kind, origin].into_iter().for_each(|text| self.redactor.hide_in(text));
        self.redactor.clean_json(body);
        // Held until it is told: what the door says holds for the whole of it.
        let door = lock(&self.door);
        match *door {
            Door::Open => {}
            Door::Standby => return Err(CallError::new(Code::STANDBY, "the source is in standby or paused")),
            Door::Superseded => {
                return Err(CallError::new(Code::SUPERSEDED, "a newer generation speaks for this datasource"));
            }
            Door::Closed => return Err(CallError::new(Code::CLOSED, "the source is closed")),
        }
        let Some(emit) = &self.news.emit else {
            return Err(CallError::new(Code::NOT_FOUND, "this host tells nobody of events"));
        };
        self.emitter.get_or_init(|| emit.emitter(self.service.name(), &self.generation)).emit(event)
    }

    fn status(&self, text: String) -> Code {
        *lock(&self.text) = self.redactor.hide(&text).chars().take(200).collect();
        Code::OK
    }

    fn log(&self, mut record: LogRecord) -> Code {
        self.redactor.hide_in_record(&mut record);
        forward(&record, &self.generation.info.id, self.generation.number, Some(self.service.name()));
        Code::OK
    }

    fn cancelled(&self, call: u64) -> bool {
        self.calls.is_cancelled(call)
    }
}
