//! A driver whose every call can be held up, or made to fail: so a race is a list of steps.
//!
//! A step is named by what is called, the datasource, the generation and the option `n`: `open web 1.0`.

use crate::plugin::{Call, CallError, Driver, Generation, HostCalls, Pool, Source};
use busway_plugin_api::TableSpec;
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, OptionInfo, Overlap, StateInfo, TableInfo};
use busway_plugin_api::message::{
    AttachRequest, CallHead, ExecuteRequest, OpenRequest, PollRequest, SelfTestRequest, StateBody, SubscribedRequest,
    WebhookRequest,
};
use busway_plugin_api::table::{Change, Update};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Longer than any step takes that is not held up.
const LONG: Duration = Duration::from_secs(20);

/// A row says who gave it.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// It ends when it is cancelled.
    Heeds,
    /// It does not.
    Deaf,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<String, Held>,
    /// How steps fail, that do.
    failing: BTreeMap<String, Status>,
    /// Which state generations hand over and read; others have none.
    states: BTreeMap<u64, StateInfo>,
    /// What sources hand over, by their names; others hand over who they are.
    gives: BTreeMap<String, StateBody>,
    /// Generations of whose sources only one can be open.
    exclusive: BTreeSet<u64>,
    /// Each poll gives other rows.
    varies: bool,
    /// Tables that clients write.
    pushed: BTreeSet<&'static str>,
    /// Tables that sources publish as they go on after a pause.
    resuming: BTreeSet<&'static str>,
    /// Generations that do not have a table, and which.
    without: BTreeSet<(u64, &'static str)>,
    /// Sources that say that nothing changed.
    unchanging: BTreeSet<String>,
    /// So long a poll takes at least.
    slow: Duration,
    /// So long calls wait for a thread.
    patience: Option<Duration>,
}

/// What sources of the fake driver do, and did.
#[derive(Debug)]
pub(super) struct Script {
    /// Each table, and whether it is polled only while somebody subscribes to it.
    tables: BTreeMap<&'static str, bool>,
    state: Mutex<State>,
    bell: Condvar,
    log: watch::Sender<Vec<String>>,
}

impl Script {
    pub(super) fn new(tables: &[(&'static str, bool)]) -> Arc<Self> {
        let tables = tables.iter().copied().collect();
        Arc::new(Self { tables, state: Mutex::default(), bell: Condvar::new(), log: watch::Sender::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// That step ends when it is freed or cancelled.
    pub(super) fn hold(&self, step: &str) {
        self.state().held.insert(step.to_owned(), Held::Heeds);
    }

    /// That step ends when it is freed.
    pub(super) fn hold_deaf(&self, step: &str) {
        self.state().held.insert(step.to_owned(), Held::Deaf);
    }

    pub(super) fn free(&self, step: &str) {
        self.state().held.remove(step);
        self.bell.notify_all();
    }

    /// That step fails.
    pub(super) fn fail(&self, step: &str) {
        self.state().failing.insert(step.to_owned(), Status::FAILED);
    }

    /// That step fails by a fault of the code.
    pub(super) fn panic(&self, step: &str) {
        self.state().failing.insert(step.to_owned(), Status::PANICKED);
    }

    /// That step works again.
    pub(super) fn mend(&self, step: &str) {
        self.state().failing.remove(step);
    }

    /// Sources of that generation write state of that version, and read such.
    pub(super) fn keeps(&self, generation: u64, version: u32, reads: &[u32]) {
        self.state().states.insert(generation, StateInfo { version, reads: reads.to_vec() });
    }

    /// What that source hands over.
    pub(super) fn gives(&self, name: &str, version: u32, state: Value) {
        self.state().gives.insert(name.to_owned(), StateBody { version, state });
    }

    /// Only one source of that generation can be open.
    pub(super) fn exclusive(&self, generation: u64) {
        self.state().exclusive.insert(generation);
    }

    /// Each poll gives other rows from now on.
    pub(super) fn vary(&self) {
        self.state().varies = true;
    }

    /// Clients write that table.
    pub(super) fn pushed(&self, table: &'static str) {
        self.state().pushed.insert(table);
    }

    /// That generation does not have that table.
    pub(super) fn without(&self, generation: u64, table: &'static str) {
        self.state().without.insert((generation, table));
    }

    /// That generation has that table from now on.
    pub(super) fn with(&self, generation: u64, table: &'static str) {
        self.state().without.remove(&(generation, table));
    }

    /// Sources publish that table as they go on after a pause.
    pub(super) fn resuming(&self, table: &'static str) {
        self.state().resuming.insert(table);
    }

    /// That source says of all its tables that nothing changed, or does so no more.
    pub(super) fn unchanging(&self, name: &str, is: bool) {
        let names = &mut self.state().unchanging;
        if is {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
    }

    /// Polls take so long, and calls wait so long for one of the threads.
    pub(super) fn slow(&self, poll: Duration, patience: Duration) {
        (self.state().slow, self.state().patience) = (poll, Some(patience));
    }

    /// What began until now.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    pub(super) fn has(&self, step: &str) -> bool {
        self.log.borrow().iter().any(|one| one == step)
    }

    /// Waits until that step began.
    pub(super) async fn saw(&self, step: &str) {
        self.until(step, |log| log.iter().any(|one| one == step)).await;
    }

    pub(super) async fn until(&self, what: &str, is: impl FnMut(&Vec<String>) -> bool) {
        let mut log = self.log.subscribe();
        let mut is = is;
        let seen = tokio::time::timeout(LONG, log.wait_for(|log| is(log))).await.is_ok();
        assert!(seen, "no {what:?} in {:#?}", self.log());
    }

    fn note(&self, what: String) {
        self.log.send_modify(|log| log.push(what));
    }

    /// A step as the test wants it.
    fn step(&self, step: &str, cancelled: impl Fn() -> bool) -> Result<(), CallError> {
        self.note(step.to_owned());
        let mut state = self.state();
        while let Some(held) = state.held.get(step).copied() {
            if held == Held::Heeds && cancelled() {
                return Err(CallError::new(Status::CANCELLED, "cancelled"));
            }
            // The host rings for none of its flags: a driver looks at them.
            (state, _) = self.bell.wait_timeout(state, Duration::from_millis(1)).unwrap();
        }
        match state.failing.get(step) {
            Some(status) => Err(CallError::new(*status, format!("{step} fails on purpose"))),
            None => Ok(()),
        }
    }

    /// A generation of a driver named `fake` that does so.
    pub(super) fn generation(self: &Arc<Self>, number: u64) -> Arc<Generation> {
        let state = self.state();
        let table = |(name, lazy): (&&str, &bool)| {
            let pushed = state.pushed.contains(name);
            let columns = if pushed { TableSpec::of::<Row>(*name).info().columns } else { Vec::new() };
            TableInfo { name: (*name).to_owned(), columns, lazy: *lazy, pushed, ..TableInfo::default() }
        };
        let n = OptionInfo {
            name: "n".to_owned(),
            kind: "integer".to_owned(),
            required: false,
            secret: false,
            default: json!(0),
            description: String::new(),
            schema: Value::Null,
        };
        let info = DriverInfo {
            id: "fake".to_owned(),
            version: format!("1.{number}.0"),
            contract: "1.0.0".to_owned(),
            sdk: String::new(),
            description: String::new(),
            overlap: if state.exclusive.contains(&number) { Overlap::Exclusive } else { Overlap::Beside },
            options: vec![n],
            tables: self
                .tables
                .iter()
                .filter(|(name, _)| !state.without.contains(&(number, **name)))
                .map(table)
                .collect(),
            actions: Vec::new(),
            events: Vec::new(),
            state: state.states.get(&number).cloned(),
        };
        Arc::new(Generation {
            number,
            info,
            driver: Arc::new(FakeDriver(Arc::clone(self))),
            pool: Pool::patient("fake", state.patience),
            cancels: Pool::new("cancel"),
            sha256: number.to_string(),
            path: PathBuf::new(),
            loaded: Timestamp::now(),
            sources: AtomicUsize::new(0),
            size: 0,
            secrets: Arc::default(),
            health: Arc::default(),
            state: std::sync::Mutex::default(),
            told: std::sync::Mutex::default(),
        })
    }
}

struct FakeDriver(Arc<Script>);

impl Driver for FakeDriver {
    fn describe(&self) -> Result<DriverInfo, CallError> {
        Err(unasked())
    }

    fn attach(&self, _: Arc<dyn HostCalls>, _: &AttachRequest) -> Result<(), CallError> {
        Ok(())
    }

    fn open(&self, request: &OpenRequest, host: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        let name = format!("{} {}.{}", request.datasource, request.generation, request.options["n"]);
        self.0.step(&format!("open {name}"), || host.cancelled(request.call))?;
        let (all, calls, polls) = Default::default();
        Ok(Arc::new(FakeSource { name, script: Arc::clone(&self.0), all, calls, polls, host }))
    }

    fn set_log_filter(&self, _: &str) -> Result<(), CallError> {
        Ok(())
    }

    fn self_test(&self, _: &SelfTestRequest) -> Result<(), CallError> {
        Err(unasked())
    }
}

/// It heeds `cancel`, and looks at no flag.
struct FakeSource {
    /// Its datasource, its generation, its option.
    name: String,
    script: Arc<Script>,
    /// Whether all its calls are cancelled.
    all: AtomicBool,
    /// Those that are.
    calls: Mutex<BTreeSet<u64>>,
    polls: AtomicUsize,
    host: Arc<dyn HostCalls>,
}

fn unasked() -> CallError {
    CallError::new(Status::NOT_IMPLEMENTED, "not implemented")
}

impl FakeSource {
    fn is_of(&self, generation: u64) -> bool {
        self.name.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(&format!("{generation}.")))
    }

    fn step(&self, step: &str, call: u64) -> Result<(), CallError> {
        let cancelled = || self.all.load(Ordering::SeqCst) || self.calls.lock().unwrap().contains(&call);
        self.script.step(&format!("{step} {}", self.name), cancelled)
    }
}

impl Source for FakeSource {
    fn tables(&self, head: CallHead) -> Result<Vec<TableInfo>, CallError> {
        self.step("tables", head.call)?;
        Err(unasked())
    }

    fn poll(&self, call: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError> {
        self.step("poll", call.head.call)?;
        let (slow, varies, pushed, without, unchanging) = {
            let state = self.script.state();
            let unchanging = state.unchanging.contains(&self.name);
            (state.slow, state.varies, state.pushed.clone(), state.without.clone(), unchanging)
        };
        if !slow.is_zero() {
            std::thread::park_timeout(slow);
        }
        let has =
            |table: &&str| call.body.wants(table) && !without.iter().any(|(of, name)| self.is_of(*of) && name == table);
        let wanted: Vec<&str> = self.script.tables.keys().copied().filter(has).collect();
        self.script.note(format!("polled {} [{}]", self.name, wanted.join(",")));
        let polls = self.polls.fetch_add(1, Ordering::SeqCst) + 1;
        let update = |table: &&str| {
            if pushed.contains(table) {
                return Update::bare(*table, Change::Published);
            }
            if unchanging {
                return Update::bare(*table, Change::Unchanged);
            }
            let by = if varies { format!("{} {polls}", self.name) } else { self.name.clone() };
            Update::bare(*table, Change::Snapshot(TableSpec::of::<Row>(*table).rows(&[Row { by }]).unwrap()))
        };
        Ok(wanted.iter().map(update).collect())
    }

    fn subscribed(&self, call: Call<'_, SubscribedRequest>) -> Result<(), CallError> {
        let tables: Vec<&str> = call.body.tables.keys().map(String::as_str).collect();
        self.script.note(format!("told {} [{}]", self.name, tables.join(",")));
        Ok(())
    }

    /// Publishes a row that says what came.
    fn webhook(&self, call: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError> {
        let table = call.body.table.clone().unwrap_or_default();
        let rows = [Row { by: format!("{} {}", self.name, call.body.payload) }];
        let rows = TableSpec::of::<Row>(&*table).rows(&rows).unwrap();
        self.host.publish(Update::bare(table.clone(), Change::Snapshot(rows)))?;
        Ok(vec![table])
    }

    fn execute(&self, _: Call<'_, ExecuteRequest>) -> Result<Value, CallError> {
        Err(unasked())
    }

    fn pause(&self, head: CallHead) -> Result<(), CallError> {
        self.step("pause", head.call)
    }

    fn resume(&self, head: CallHead) -> Result<(), CallError> {
        self.step("resume", head.call)?;
        let tables = self.script.state().resuming.clone();
        for table in tables {
            let rows = TableSpec::of::<Row>(table).rows(&[Row { by: format!("{} again", self.name) }]).unwrap();
            self.host.publish(Update::bare(table, Change::Snapshot(rows)))?;
        }
        Ok(())
    }

    fn activate(&self, head: CallHead) -> Result<(), CallError> {
        self.step("activate", head.call)
    }

    fn export_state(&self, head: CallHead) -> Result<Option<StateBody>, CallError> {
        self.step("export", head.call)?;
        let gives = self.script.state().gives.get(&self.name).cloned();
        Ok(Some(gives.unwrap_or_else(|| StateBody { version: 1, state: json!(self.name) })))
    }

    fn import_state(&self, call: Call<'_, StateBody>) -> Result<(), CallError> {
        self.step("import", call.head.call)?;
        self.script.note(format!("imported {} {}", self.name, call.body.state));
        Ok(())
    }

    fn cancel(&self, calls: Option<&[u64]>) {
        match calls {
            Some(calls) => self.calls.lock().unwrap().extend(calls),
            None => self.all.store(true, Ordering::SeqCst),
        }
        let _ = self.step("cancel", 0);
    }

    fn close(&self, head: CallHead) -> Result<(), CallError> {
        self.step("close", head.call)
    }
}
