//! A registered service: the right to publish tables and to answer calls under a name.

use super::Bus;
use super::address::{Address, BadAddress, is_service_name};
use super::call::{Answer, Call, Fault, Method, Methods};
use super::policy::Policy;
use super::slot::{Change, Outcome, Slot};
use super::subscription::SubscribeError;
use super::view::View;
use crate::table::{Applied, Limits, Refused, Shape};
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::Batches;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// Why a service can't be registered, or have an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is one of that name.
    #[error("a service named {name:?} already exists{}", at.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default())]
    AlreadyExists {
        /// The name.
        name: String,
        /// The other node it is on.
        at: Option<String>,
    },
    /// It can't be a name.
    #[error("{0:?} can't name a service: use words of A-Z a-z 0-9 _ - joined by dots, 255 characters at most")]
    Name(String),
}

/// Why a publication changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The table's name can't be one.
    #[error(transparent)]
    Name(#[from] BadAddress),
    /// The rows were refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Values that do not fit the table's columns.
    #[error("{0}")]
    Rows(String),
    /// A delta came before the table's first snapshot.
    #[error("the table waits for a snapshot")]
    NeedsSnapshot,
    /// The service is not running.
    #[error("service {0:?} is stopped: start it before it publishes")]
    Stopped(String),
    /// Another node's service has the name.
    #[error("service {name:?} lost its name to node {to}, which had it earlier: register under another name")]
    NameLost {
        /// The name.
        name: String,
        /// Who has it.
        to: String,
    },
}

/// Whether a service takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// It answers calls and publishes.
    Running,
    /// It does not; its tables stay as they were.
    Stopped,
    /// Another node's service has the name, for good. That node.
    NameLost(String),
}

type Hook = Arc<dyn Fn(&str, bool) + Send + Sync>;

/// What is known of who is wanted.
#[derive(Debug, Default)]
struct Wanted {
    /// The tables that the hook was told are.
    told: BTreeSet<String>,
    /// Those to be looked at.
    asked: BTreeSet<String>,
    /// Somebody does.
    telling: bool,
}

/// What the bus keeps of a service.
pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) instance: Uuid,
    /// When it took the name: microseconds since 1970. Of two nodes that claim one, the earlier has it.
    pub(crate) claim: u64,
    state: watch::Sender<ServiceState>,
    /// Wanted to run, when the node does.
    started: Mutex<bool>,
    addresses: Mutex<BTreeSet<String>>,
    offered: Mutex<BTreeSet<String>>,
    pub(crate) methods: Methods,
    hook: Mutex<Option<Hook>>,
    wanted: Mutex<Wanted>,
    limits: Mutex<BTreeMap<String, Limits>>,
    policies: Mutex<BTreeMap<String, Policy>>,
    /// Calls that run now.
    pub(crate) outstanding: watch::Sender<usize>,
    /// It is not registered any more, for good.
    gone: AtomicBool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("name", &self.name).field("instance", &self.instance).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(name: &str, claim: u64, running: bool) -> Self {
        Self {
            name: name.to_owned(),
            instance: Uuid::new_v4(),
            claim,
            state: watch::Sender::new(if running { ServiceState::Running } else { ServiceState::Stopped }),
            started: Mutex::new(true),
            addresses: Mutex::default(),
            offered: Mutex::default(),
            methods: Methods::default(),
            hook: Mutex::default(),
            wanted: Mutex::default(),
            limits: Mutex::default(),
            policies: Mutex::default(),
            outstanding: watch::Sender::new(0),
            gone: AtomicBool::new(false),
        }
    }

    pub(crate) fn state(&self) -> ServiceState {
        self.state.borrow().clone()
    }

    pub(crate) fn addresses(&self) -> BTreeSet<String> {
        lock(&self.addresses).clone()
    }

    pub(crate) fn offers(&self, table: &str) -> bool {
        lock(&self.offered).contains(table)
    }

    pub(crate) fn offered(&self) -> BTreeSet<String> {
        lock(&self.offered).clone()
    }

    pub(crate) fn policy(&self, table: &str) -> Option<Policy> {
        lock(&self.policies).get(table).cloned()
    }

    pub(crate) fn policies(&self) -> BTreeMap<String, Policy> {
        lock(&self.policies).clone()
    }

    pub(crate) fn lose(&self, to: &str) {
        self.state.send_replace(ServiceState::NameLost(to.to_owned()));
    }

    /// The node starts or stops: so does the service, if it is meant to run.
    pub(crate) fn follow_node(&self, running: bool) {
        let state = if running && *lock(&self.started) { ServiceState::Running } else { ServiceState::Stopped };
        self.set(state);
    }

    fn set(&self, state: ServiceState) {
        self.state.send_if_modified(|now| {
            let change = *now != state && !matches!(now, ServiceState::NameLost(_));
            if change {
                *now = state;
            }
            change
        });
    }

    /// Tells the hook whether a table is wanted, if that is news. One tells at a time, with nothing locked: what comes
    /// meanwhile, from the hook itself too, is left to it.
    pub(crate) fn tell(&self, table: &str, now: impl Fn(&str) -> bool) {
        let mut wanted = lock(&self.wanted);
        wanted.asked.insert(table.to_owned());
        if wanted.telling {
            return;
        }
        wanted.telling = true;
        // A hook that panics does so in who subscribes or leaves: others are told of the rest.
        let telling = Telling(&self.wanted);
        while let Some(table) = wanted.asked.pop_first() {
            drop(wanted);
            let now = now(&table);
            wanted = lock(&self.wanted);
            let news = if now { wanted.told.insert(table.clone()) } else { wanted.told.remove(&table) };
            let hook = lock(&self.hook).clone();
            if news && let Some(hook) = hook {
                drop(wanted);
                hook(&table, now);
                wanted = lock(&self.wanted);
            }
        }
        wanted.telling = false;
        drop(wanted);
        std::mem::forget(telling);
    }
}

/// Somebody tells the hook; when that ends early, the next one may.
struct Telling<'a>(&'a Mutex<Wanted>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        lock(self.0).telling = false;
    }
}

/// The handle of a registered service. Dropping it unregisters the service and ends its tables.
#[derive(Debug)]
pub struct Service {
    bus: Bus,
    core: Arc<Core>,
}

impl Service {
    pub(super) fn new(bus: Bus, core: Arc<Core>) -> Self {
        Self { bus, core }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// This registration's identity.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.core.instance
    }

    /// The bus it is on.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Whether it takes part.
    #[must_use]
    pub fn state(&self) -> ServiceState {
        self.core.state()
    }

    /// To be told when that changes: when the name is lost, say.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<ServiceState> {
        self.core.state.subscribe()
    }

    /// Takes part again, now or when its node runs. No effect on one that does.
    pub fn start(&self) {
        *lock(&self.core.started) = true;
        self.core.follow_node(self.bus.is_running());
        self.bus.announce();
    }

    /// Takes no new calls and publishes nothing until started; what runs goes on. No effect on one that is stopped.
    pub fn stop(&self) {
        *lock(&self.core.started) = false;
        self.core.follow_node(false);
        self.bus.announce();
    }

    /// Waits until no call runs in it.
    pub async fn wait(&self) {
        // The sender lives in `core`.
        let _ = self.core.outstanding.subscribe().wait_for(|calls| *calls == 0).await;
    }

    /// Unregisters it and ends its tables, as dropping it does: the name is free, and this handle publishes nothing more.
    /// No effect on one that is not registered any more.
    pub fn unregister(&self) {
        *lock(&self.core.started) = false;
        self.core.follow_node(false);
        // Before its tables end: what it says of them from now on is not heard.
        self.core.gone.store(true, Ordering::Release);
        self.bus.unregister(&self.core.name, self.core.instance);
    }

    /// Listens on one more address, which others may share. Subscriptions to it reach this service's tables, calls to it
    /// this service.
    ///
    /// # Errors
    ///
    /// When it is not of a name's form.
    pub fn listen(&self, address: &str) -> Result<(), RegisterError> {
        if !is_service_name(address) {
            return Err(RegisterError::Name(address.to_owned()));
        }
        lock(&self.core.addresses).insert(address.to_owned());
        self.bus.reconcile(&self.core.name);
        Ok(())
    }

    /// Listens on an address no longer. Subscribers that reached its tables by it are told that they left.
    pub fn unlisten(&self, address: &str) {
        lock(&self.core.addresses).remove(address);
        self.bus.reconcile(&self.core.name);
    }

    /// The addresses that it listens on besides its name.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<String> {
        self.core.addresses()
    }

    /// Says that a table may come when somebody wants it: patterns meet it before it is there.
    ///
    /// # Errors
    ///
    /// When the table's name can't be one.
    pub fn offer(&self, table: &str) -> Result<(), BadAddress> {
        Address::new(&self.core.name, table)?;
        if lock(&self.core.offered).insert(table.to_owned()) {
            self.bus.reconcile_table(&self.core.name, table);
        }
        Ok(())
    }

    /// `hook(table, true)` when the first subscriber of a table comes, `(table, false)` when the last goes; for those that
    /// are there, at once. It runs on a thread that subscribes or leaves, so it must be quick; it may use the bus, to publish
    /// the table, say. (Not while it is told at once, from within this call.)
    pub fn on_interest(&self, hook: impl Fn(&str, bool) + Send + Sync + 'static) {
        let wanted = lock(&self.core.wanted);
        wanted.told.iter().for_each(|table| hook(table, true));
        *lock(&self.core.hook) = Some(Arc::new(hook));
    }

    /// Whether anybody, on any node, subscribes to a table.
    #[must_use]
    pub fn is_wanted(&self, table: &str) -> bool {
        self.slot(table).is_ok_and(|slot| slot.subscribers() > 0)
    }

    /// What each kind of receiver sees of a table, from now on. Whoever sees something else than before is told so: with a
    /// snapshot, or that the table is no more.
    ///
    /// # Errors
    ///
    /// When the table's name can't be one, or the table is there and a view does not fit it.
    pub fn show(&self, table: &str, policy: Policy) -> Result<(), SubscribeError> {
        let address = Address::new(&self.core.name, table);
        let address =
            address.map_err(|e| SubscribeError { address: Address::first_of(&self.core.name), why: e.to_string() })?;
        if let Some(view) = self.bus.table(&address) {
            policy.check(&view.shape).map_err(|e| SubscribeError { address, why: e.to_string() })?;
        }
        lock(&self.core.policies).insert(table.to_owned(), policy);
        self.bus.reconcile(&self.core.name);
        Ok(())
    }

    /// The limits of a table that is yet to come, instead of the default ones.
    pub fn limit(&self, table: &str, limits: Limits) {
        let mut all = lock(&self.core.limits);
        // Most tables have these, so they are not noted.
        if limits == Limits::default() {
            all.remove(table);
        } else {
            all.insert(table.to_owned(), limits);
        }
    }

    /// Answers calls of `method`. A second handler replaces the first.
    pub fn method<F, R>(&self, method: &str, description: &str, handler: F)
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Fault>> + Send + 'static,
    {
        let handler = move |call| -> Answer { Box::pin(handler(call)) };
        self.core.methods.insert(method, Method { description: description.to_owned(), handler: Arc::new(handler) });
        self.bus.announce_service(&self.core.name);
    }

    /// Answers calls of methods that have no handler; `names` says which there are, for who asks for another.
    pub fn fallback<F, R>(&self, names: impl Fn() -> Vec<String> + Send + Sync + 'static, handler: F)
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Fault>> + Send + 'static,
    {
        self.core.methods.fall_back(Arc::new(names), Arc::new(move |call| -> Answer { Box::pin(handler(call)) }));
        self.bus.announce_service(&self.core.name);
    }

    /// Publishes all rows of a table from values of a type: the plain way.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; the table stays as it was.
    pub fn publish<T: Serialize>(&self, spec: &TableSpec, rows: &[T]) -> Result<Applied, PublishError> {
        let rows = spec.rows(rows).map_err(|e| PublishError::Rows(e.to_string()))?;
        let shape = Shape::new(Arc::clone(&spec.schema), spec.key.clone())?;
        let shape = Shape { topic: spec.topic.clone(), description: spec.description.clone(), ..shape };
        self.snapshot(&spec.name, shape, &rows, 0)
    }

    /// Publishes all rows of a table. `poll`: the number of the poll they come from, by which several tables of one poll
    /// can be read together; 0: none.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; the table stays as it was.
    pub fn snapshot(&self, table: &str, shape: Shape, rows: &Batches, poll: u64) -> Result<Applied, PublishError> {
        self.change(table, Change::Snapshot { shape, rows }, poll)
    }

    /// Publishes changes of a table.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; the table stays as it was.
    pub fn delta(&self, table: &str, added: &Batches, removed: &Batches, poll: u64) -> Result<Applied, PublishError> {
        self.change(table, Change::Delta { added, removed }, poll)
    }

    fn change(&self, table: &str, change: Change<'_>, poll: u64) -> Result<Applied, PublishError> {
        let limits = lock(&self.core.limits).get(table).copied().unwrap_or_default();
        let publisher = self.bus.publisher(self.core.instance);
        let running = || self.core.state() == ServiceState::Running;
        let (slot, before, applied) = loop {
            match self.core.state() {
                ServiceState::Running => {}
                ServiceState::Stopped => return Err(PublishError::Stopped(self.core.name.clone())),
                ServiceState::NameLost(to) => return Err(PublishError::NameLost { name: self.core.name.clone(), to }),
            }
            let slot = self.slot(table)?;
            let before = self
                .bus
                .inner
                .reshaped
                .is_followed()
                .then(|| slot.view())
                .flatten()
                .map(|table| Arc::clone(&table.shape));
            let outcome = slot.change(&change, poll, limits, &publisher, running);
            if !matches!(outcome, Outcome::Done(Ok(_)) | Outcome::Retired) {
                // Nothing came of it: a place that nobody else needs goes.
                self.bus.tidy(&slot);
            }
            match outcome {
                Outcome::Done(applied) => break (slot, before, applied?),
                Outcome::NoState => return Err(PublishError::NeedsSnapshot),
                // Nobody needed the place a moment ago: there is another. Or the service stopped meanwhile.
                Outcome::Retired | Outcome::Forbidden => {}
            }
        };
        match applied {
            Applied::Begun => {
                self.bus.begun(&slot, before.as_deref());
                self.bus.reconcile_table(&self.core.name, table);
            }
            Applied::Stepped(_) => self.bus.stepped(&slot),
            Applied::Unchanged => {}
        }
        Ok(applied)
    }

    /// Whether the name's tables are this service's still: once it is unregistered they may be another's.
    fn is_on_bus(&self) -> bool {
        !self.core.gone.load(Ordering::Acquire) && !matches!(self.core.state(), ServiceState::NameLost(_))
    }

    /// Whether the table is there.
    #[must_use]
    pub fn has(&self, table: &str) -> bool {
        self.is_on_bus() && self.slot(table).is_ok_and(|slot| slot.is_there())
    }

    /// Whether the table is there, and the last attempt to read it worked.
    #[must_use]
    pub fn is_well(&self, table: &str) -> bool {
        self.is_on_bus() && self.slot(table).is_ok_and(|slot| slot.is_there() && slot.error().is_none())
    }

    /// The table was read and is what it was.
    pub fn confirm(&self, table: &str) {
        // A place that nobody needed a moment ago is another now.
        while self.is_on_bus() && self.slot(table).is_ok_and(|slot| !slot.confirm(&|| self.is_on_bus())) {}
    }

    /// An attempt to read the table failed; its rows stay. No effect once the service is not registered any more.
    pub fn fail(&self, table: &str, error: String) {
        while self.is_on_bus()
            && let Ok(slot) = self.slot(table)
        {
            // A table that failed before it ever came is one that the service has.
            let new = !slot.is_there() && slot.error().is_none();
            if slot.fail(&error, &|| self.is_on_bus()) {
                if new {
                    self.bus.reconcile_table(&self.core.name, table);
                }
                return;
            }
        }
    }

    /// The table's rows are from elsewhere than a reading, and of that time.
    pub(crate) fn outdate(&self, table: &str, error: &str, as_of: Option<jiff::Timestamp>) {
        while self.is_on_bus()
            && let Ok(slot) = self.slot(table)
        {
            if slot.outdate(error, as_of, &|| self.is_on_bus()) {
                return;
            }
        }
    }

    /// The table is no more.
    pub fn end(&self, table: &str) {
        lock(&self.core.offered).remove(table);
        if self.is_on_bus() && self.slot(table).is_ok_and(|slot| slot.end(&|| self.is_on_bus())) {
            self.bus.reconcile_table(&self.core.name, table);
        }
    }

    /// The names of its tables, those that failed before they ever came included.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        if !self.is_on_bus() {
            return Vec::new();
        }
        let slots = self.bus.slots_of(&self.core.name);
        let known = slots.iter().filter(|s| s.is_there() || s.error().is_some());
        known.map(|s| s.address().table().to_owned()).collect()
    }

    fn slot(&self, table: &str) -> Result<Arc<Slot>, BadAddress> {
        Ok(self.bus.slot(&Address::new(&self.core.name, table)?, &View::default()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.bus.unregister(&self.core.name, self.core.instance);
    }
}
