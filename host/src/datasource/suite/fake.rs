//! A driver whose every call can be held up, or made to fail: so a race is a list of steps.
//!
//! A step is named by what is called, the datasource, the generation and the option `n`: `open web 1.0`.

use crate::plugin::{Call, CallError, Driver, Generation, HostCalls, Pool, Source};
use busway_plugin_api::TableSpec;
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, OptionInfo, Overlap, TableInfo};
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
    failing: BTreeSet<String>,
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
        self.state().failing.insert(step.to_owned());
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
        let fails = state.failing.contains(step);
        if fails { Err(CallError::new(Status::FAILED, format!("{step} fails on purpose"))) } else { Ok(()) }
    }

    /// A generation of a driver named `fake` that does so.
    pub(super) fn generation(self: &Arc<Self>, number: u64) -> Arc<Generation> {
        let table = |(name, lazy): (&&str, &bool)| TableInfo {
            name: (*name).to_owned(),
            description: String::new(),
            key: Vec::new(),
            topic: None,
            columns: Vec::new(),
            lazy: *lazy,
            pushed: false,
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
            overlap: Overlap::Beside,
            options: vec![n],
            tables: self.tables.iter().map(table).collect(),
            actions: Vec::new(),
            events: Vec::new(),
            state: None,
        };
        Arc::new(Generation {
            number,
            info,
            driver: Arc::new(FakeDriver(Arc::clone(self))),
            pool: Pool::new("fake"),
            cancels: Pool::new("cancel"),
            sha256: number.to_string(),
            path: PathBuf::new(),
            loaded: Timestamp::now(),
            sources: AtomicUsize::new(0),
            size: 0,
            secrets: Arc::default(),
            health: Arc::default(),
            state: std::sync::Mutex::default(),
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
        Ok(Arc::new(FakeSource { name, script: Arc::clone(&self.0), cancelled: AtomicBool::new(false) }))
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
    cancelled: AtomicBool,
}

fn unasked() -> CallError {
    CallError::new(Status::NOT_IMPLEMENTED, "not implemented")
}

impl FakeSource {
    fn step(&self, step: &str) -> Result<(), CallError> {
        self.script.step(&format!("{step} {}", self.name), || self.cancelled.load(Ordering::SeqCst))
    }
}

impl Source for FakeSource {
    fn tables(&self, _: CallHead) -> Result<Vec<TableInfo>, CallError> {
        self.step("tables")?;
        Err(unasked())
    }

    fn poll(&self, call: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError> {
        self.step("poll")?;
        let wanted: Vec<&str> = self.script.tables.keys().copied().filter(|table| call.body.wants(table)).collect();
        self.script.note(format!("polled {} [{}]", self.name, wanted.join(",")));
        let update = |table: &&str| {
            let rows = TableSpec::of::<Row>(*table).rows(&[Row { by: self.name.clone() }]).unwrap();
            let (key, topic, description) = Default::default();
            Update { table: (*table).to_owned(), key, topic, description, change: Change::Snapshot(rows) }
        };
        Ok(wanted.iter().map(update).collect())
    }

    fn subscribed(&self, call: Call<'_, SubscribedRequest>) -> Result<(), CallError> {
        let tables: Vec<&str> = call.body.tables.keys().map(String::as_str).collect();
        self.script.note(format!("told {} [{}]", self.name, tables.join(",")));
        Ok(())
    }

    fn webhook(&self, _: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError> {
        Err(unasked())
    }

    fn execute(&self, _: Call<'_, ExecuteRequest>) -> Result<Value, CallError> {
        Err(unasked())
    }

    fn pause(&self, _: CallHead) -> Result<(), CallError> {
        self.step("pause")
    }

    fn resume(&self, _: CallHead) -> Result<(), CallError> {
        self.step("resume")
    }

    fn activate(&self, _: CallHead) -> Result<(), CallError> {
        self.step("activate")
    }

    fn export_state(&self, _: CallHead) -> Result<Option<StateBody>, CallError> {
        Ok(None)
    }

    fn import_state(&self, _: Call<'_, StateBody>) -> Result<(), CallError> {
        Err(unasked())
    }

    fn cancel(&self, _: Option<&[u64]>) {
        self.cancelled.store(true, Ordering::SeqCst);
        let _ = self.step("cancel");
    }

    fn close(&self, _: CallHead) -> Result<(), CallError> {
        self.step("close")
    }
}
