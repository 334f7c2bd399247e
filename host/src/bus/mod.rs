//! Services with unique names, their tables, those who subscribe to them, and calls between them. No I/O; knows no driver.
//!
//! A table belongs to the bus, not to whoever writes it: a subscription may come before the table, and outlives it. Nodes
//! are joined by a [`Transport`]: a pipe that may lose, double, delay and reorder. What is published on another node is
//! followed by one copy here, which serves all who subscribe here: to them it is a table as any other.

mod address;
mod call;
mod calling;
mod directory;
mod link;
mod matcher;
mod pattern;
mod places;
mod policy;
mod queue;
mod registry;
mod resting;
mod resync;
mod selector;
mod service;
mod slot;
mod subscription;
#[cfg(test)]
mod suite;
mod table_view;
mod transport;
mod view;

pub use address::{Address, BadAddress, is_service_name, is_table_name};
pub use call::{
    BadServiceInfo, Call, CallError, CallRequest, Caller, Fault, LIVENESS_DEADLINE, Reply, ServiceInfo, Target,
    WORK_DEADLINE,
};
pub use calling::TableReply;
pub use link::{LinkError, NodeView, Timing};
pub use matcher::Matcher;
pub use pattern::{BadPattern, MAX_HASHES, MAX_PATTERN, Pattern};
pub use policy::Policy;
pub use queue::{Bounds, Counters, Message, Mode, Position};
pub use resync::Resync;
pub use selector::{BadSelector, Selector};
pub use service::{PublishError, RegisterError, Service, ServiceState};
pub use slot::Slot;
pub use subscription::{Delivery, NotInTime, SubscribeError, SubscribeOptions, Subscription, SubscriptionView};
pub use table_view::{Publisher, TableView};
pub use transport::{Direct, FaultCounters, Faults, Faulty, FaultyHub, Hub, Received, To, Transport};
pub use view::{BadConstant, Bound, Comparison, Condition, Constant, Mask, View, ViewError, ViewFault};

use crate::happenings::{Happenings, Receiver};
use crate::table::{Epoch, Shape};
use call::Methods;
use jiff::Timestamp;
use link::Link;
use queue::Queue;
use registry::{Follower, OtherNode, Registry, Touched};
use service::Core;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;
use uuid::Uuid;

/// All services of a node. Clones are the same bus.
#[derive(Debug, Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    node: Arc<str>,
    /// Its life on the bus: another after each restart, and each time it joins others.
    process: Mutex<Uuid>,
    registry: Mutex<Registry>,
    running: watch::Sender<bool>,
    /// Rung when a service or table comes or goes.
    changed: watch::Sender<u64>,
    link: Mutex<Option<Arc<Link>>>,
    /// What the node itself answers.
    methods: Methods,
    /// Who follows what, and who does no more.
    followed: Happenings<Followed>,
    /// Tables with other columns.
    reshaped: Happenings<Reshaped>,
}

/// Somebody follows tables from now on, or no more.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    /// The subscription.
    pub(crate) id: Uuid,
    /// The service that subscribed.
    pub(crate) owner: Option<String>,
    /// Which tables.
    pub(crate) selector: String,
    /// Whether it begins.
    pub(crate) begins: bool,
}

/// A table begins a new epoch with other columns, or another key.
#[derive(Debug, Clone)]
pub(crate) struct Reshaped {
    /// Which.
    pub(crate) address: Address,
    /// As it is now.
    pub(crate) table: Arc<TableView>,
}

/// So many subscriptions may come at once before some are counted only.
const MOST_FOLLOWED: usize = 4096;
/// The same for tables.
const MOST_RESHAPED: usize = 1024;

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Default for Bus {
    /// A running one, of a node named `node`, with no others.
    fn default() -> Self {
        Self::new("node")
    }
}

impl Bus {
    /// A running one with no other nodes.
    #[must_use]
    pub fn new(node: &str) -> Self {
        let inner = Inner {
            node: Arc::from(node),
            process: Mutex::new(Uuid::new_v4()),
            registry: Mutex::default(),
            running: watch::Sender::new(true),
            changed: watch::Sender::new(0),
            link: Mutex::default(),
            methods: Methods::default(),
            followed: Happenings::new(MOST_FOLLOWED),
            reshaped: Happenings::new(MOST_RESHAPED),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// This process: another after each restart, and each time it joins other nodes.
    #[must_use]
    pub fn process(&self) -> Uuid {
        *self.inner.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether services take part.
    #[must_use]
    pub fn is_running(&self) -> bool {
        *self.inner.running.borrow()
    }

    /// Starts all services that were not stopped on their own. No effect when running.
    pub fn start(&self) {
        self.run(true);
    }

    /// Stops all services: they take no calls and publish nothing; tables and subscriptions stay. It can start again.
    pub fn stop(&self) {
        self.run(false);
    }

    fn run(&self, running: bool) {
        if self.inner.running.send_replace(running) != running {
            self.registry().services.values().for_each(|core| core.follow_node(running));
            self.announce();
        }
    }

    /// Waits until no call runs in any service.
    pub async fn wait(&self) {
        let cores: Vec<Arc<Core>> = self.registry().services.values().cloned().collect();
        for core in cores {
            // The sender lives in `core`.
            let _ = core.outstanding.subscribe().wait_for(|calls| *calls == 0).await;
        }
    }

    /// Registers a service; dropping the handle unregisters it and ends its tables. On a bus that is stopped it starts
    /// when the bus does.
    ///
    /// # Errors
    ///
    /// When one of that name is registered, here or on another node; it is unharmed. When it can't be a name.
    pub fn register(&self, name: &str) -> Result<Service, RegisterError> {
        if !is_service_name(name) {
            return Err(RegisterError::Name(name.to_owned()));
        }
        let mut touched = Touched::default();
        let mut registry = self.registry();
        let at = registry.remote.get(name).map(|remote| remote.node.to_string());
        if at.is_some() || registry.services.contains_key(name) {
            return Err(RegisterError::AlreadyExists { name: name.to_owned(), at });
        }
        let core = Arc::new(Core::new(name, Epoch::next().0, self.is_running()));
        registry.services.insert(name.to_owned(), Arc::clone(&core));
        registry.reconcile(name, None, &mut touched);
        // Who waited for it from before.
        touched.tables.extend(registry.slots_of(name).iter().map(|slot| (**slot.address()).clone()));
        drop(registry);
        self.settle(touched);
        Ok(Service::new(self.clone(), core))
    }

    fn unregister(&self, name: &str, instance: Uuid) {
        let mut touched = Touched::default();
        let mut registry = self.registry();
        if registry.services.get(name).is_none_or(|core| core.instance != instance) {
            return;
        }
        registry.services.remove(name);
        registry.moved(name, &mut touched);
        drop(registry);
        self.settle(touched);
    }

    /// The names of all services, on all nodes; hidden ones (`_…`) too if asked.
    #[must_use]
    pub fn services(&self, hidden: bool) -> Vec<String> {
        let registry = self.registry();
        let mut all: Vec<String> = registry.services.keys().chain(registry.remote.keys()).cloned().collect();
        drop(registry);
        all.retain(|name| hidden || !name.starts_with('_'));
        all.sort();
        all.dedup();
        all
    }

    /// Whether a service of that name is registered, on any node.
    #[must_use]
    pub fn has_service(&self, name: &str) -> bool {
        let registry = self.registry();
        registry.services.contains_key(name) || registry.remote.contains_key(name)
    }

    /// Whether a service of that name is on another node.
    #[must_use]
    pub fn is_elsewhere(&self, name: &str) -> bool {
        self.registry().remote.contains_key(name)
    }

    /// Subscribes to tables, there or not: of each the first message is its state, or comes when the table does.
    #[must_use]
    pub fn subscribe(&self, tables: impl Into<Selector>) -> Subscription {
        self.begin(tables.into(), SubscribeOptions::default(), None)
    }

    /// Subscribes to tables in some way.
    ///
    /// # Errors
    ///
    /// When the table is there and can't be looked at in that way. One that comes later and can't is not heard of:
    /// [`Slot::error`] says why.
    pub fn subscribe_with(
        &self,
        tables: impl Into<Selector>,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        let selector = tables.into();
        if let Some(table) = selector.literal().and_then(|address| self.table(address))
            && let Err(why) = self.look(&table.address, options.owner.as_deref(), &options.view)
        {
            return Err(why);
        }
        Ok(self.begin(selector, options, None))
    }

    /// `on`: of another node's copy.
    fn begin(&self, selector: Selector, options: SubscribeOptions, on: Option<OtherNode>) -> Subscription {
        let SubscribeOptions { view, mode, bounds, owner, resume, resume_mark } = options;
        let id = Uuid::new_v4();
        let queue = Arc::new(Queue::new(id, mode, bounds));
        let follower = Follower { id, owner, selector, view, queue: Arc::clone(&queue), since: Timestamp::now(), on };
        let resumed = self.follow(follower, resume.map(|at| (at, resume_mark)));
        Subscription::new(self.clone(), queue, resumed)
    }

    fn follow(&self, follower: Follower, resume: Option<(Position, u64)>) -> bool {
        self.tell_followed(&follower, true);
        let mut touched = Touched::default();
        let resumed = self.registry().subscribe(&Arc::new(follower), resume, &mut touched);
        self.settle(touched);
        resumed
    }

    fn unsubscribe(&self, id: Uuid) {
        let mut touched = Touched::default();
        let mut registry = self.registry();
        let follower = registry.follower(&id).cloned();
        registry.unsubscribe(&id, &mut touched);
        drop(registry);
        if let Some(follower) = follower {
            self.tell_followed(&follower, false);
        }
        self.settle(touched);
        self.await_resting();
    }

    /// Other nodes' copies are nobody's subscriptions here.
    fn tell_followed(&self, follower: &Follower, begins: bool) {
        if follower.on.is_none() {
            self.inner.followed.tell(|| Followed {
                id: follower.id,
                owner: follower.owner.clone(),
                selector: follower.selector.to_string(),
                begins,
            });
        }
    }

    /// Who begins to follow tables from now on, and who ends.
    pub(crate) fn follows(&self) -> Receiver<Followed> {
        self.inner.followed.follow()
    }

    /// Which tables get other columns from now on.
    pub(crate) fn reshapes(&self) -> Receiver<Reshaped> {
        self.inner.reshaped.follow()
    }

    /// A table begins anew.
    fn begun(&self, slot: &Slot, before: Option<&Shape>) {
        let now = before.and_then(|_| slot.view());
        if let (Some(before), Some(now)) = (before, now)
            && (before.schema != now.shape.schema || before.key != now.shape.key)
        {
            self.inner.reshaped.tell(|| Reshaped { address: (**slot.address()).clone(), table: now });
        }
    }

    /// All subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        self.subscriptions_where(|_| true)
    }

    /// The subscriptions of one service.
    pub(crate) fn subscriptions_of(&self, owner: &str) -> Vec<SubscriptionView> {
        self.subscriptions_where(|follower| follower.owner.as_deref() == Some(owner))
    }

    fn subscriptions_where(&self, meant: impl Fn(&Follower) -> bool) -> Vec<SubscriptionView> {
        let followers: Vec<Arc<Follower>> = self.registry().followers().filter(|of| meant(of)).cloned().collect();
        let one = |follower: Arc<Follower>| SubscriptionView {
            id: follower.id,
            owner: follower.owner.clone(),
            selector: follower.selector.to_string(),
            since: follower.since,
            tables: follower.queue.slots().iter().map(|(slot, at)| (Arc::clone(slot.address()), *at)).collect(),
            counters: follower.queue.counters(),
        };
        followers.into_iter().map(one).collect()
    }

    /// A table's present state, if it is there: of this node, or followed from another.
    #[must_use]
    pub fn table(&self, address: &Address) -> Option<Arc<TableView>> {
        let slot = self.registry().find(address).cloned();
        slot.and_then(|slot| slot.view())
    }

    /// A table's present state as a receiver sees it: the service of that name, or nobody in particular. `None`: it is not
    /// there, or not shown to it.
    ///
    /// # Errors
    ///
    /// When it can't be looked at in that way.
    pub fn look(
        &self,
        address: &Address,
        receiver: Option<&str>,
        own: &View,
    ) -> Result<Option<Arc<TableView>>, SubscribeError> {
        let registry = self.registry();
        let (whole, view) = (registry.find(address).cloned(), registry.view_for(receiver, own, address));
        drop(registry);
        let (Some(table), Some(view)) = (whole.and_then(|slot| slot.view()), view) else { return Ok(None) };
        table.through(&view).map(Some).map_err(|why| SubscribeError { address: address.clone(), why })
    }

    /// What tells views of a table apart that its publisher may show to nobody in particular.
    pub(crate) fn mark_of(&self, address: &Address) -> u64 {
        let view = self.registry().view_for(None, &View::default(), address);
        view.map_or(0, |view| view.mark())
    }

    /// All tables that are there, in order.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<TableView>> {
        self.slots().iter().filter_map(|slot| slot.view()).collect()
    }

    /// All slots: tables that are there, and places of tables that are subscribed to.
    #[must_use]
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.registry().slots().cloned().collect()
    }

    /// The slots of one service. Costs what it has, not what all have.
    #[must_use]
    pub fn slots_of(&self, service: &str) -> Vec<Arc<Slot>> {
        self.registry().slots_of(service)
    }

    /// Rung when a service or table comes or goes.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    fn slot(&self, address: &Address, view: &View) -> Arc<Slot> {
        let mut touched = Touched::default();
        let slot = self.registry().slot(address, view, &mut touched);
        Self::align(&touched);
        slot
    }

    fn publisher(&self, instance: Uuid) -> Publisher {
        Publisher { node: Arc::clone(&self.inner.node), instance }
    }

    /// A service's tables or addresses are others.
    fn reconcile(&self, name: &str) {
        let mut touched = Touched::default();
        self.registry().reconcile(name, None, &mut touched);
        self.settle(touched);
    }

    /// A service has a table that it did not have.
    fn reconcile_table(&self, name: &str, table: &str) {
        let mut touched = Touched::default();
        self.registry().reconcile(name, Some(table), &mut touched);
        self.settle(touched);
    }

    /// A table went on by a step.
    fn stepped(&self, slot: &Arc<Slot>) {
        if !slot.needs_compaction() {
            return;
        }
        let slot = Arc::clone(slot);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || slot.compact())),
            // A driver's own thread: nobody else waits for it.
            Err(_) => slot.compact(),
        }
    }

    /// What the registry left to do. Nothing may be locked: it waits for who writes a table, and works on rows.
    fn align(touched: &Touched) {
        touched.unfit.iter().for_each(|slot| slot.align());
    }

    /// Tells publishers who is wanted, and everyone that something changed. Nothing may be locked.
    fn settle(&self, touched: Touched) {
        Self::align(&touched);
        for address in &touched.tables {
            let core = self.registry().services.get(address.service()).cloned();
            if let Some(core) = core {
                core.tell(address.table(), |table| {
                    let address = Address::new(&core.name, table).ok();
                    let slot = address.and_then(|address| self.registry().find(&address).cloned());
                    slot.is_some_and(|slot| slot.subscribers() > 0)
                });
            }
        }
        self.announce();
    }

    /// Something changed that other nodes, or those who look after the bus, want to know.
    fn announce(&self) {
        self.inner.changed.send_modify(|n| *n += 1);
        if let Some(link) = self.link() {
            link.ring();
        }
    }

    /// Other nodes are to hear of a service again.
    fn announce_service(&self, name: &str) {
        self.registry().note(name);
        self.announce();
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.inner.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
