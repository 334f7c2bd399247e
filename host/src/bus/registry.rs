//! Who is on the bus: services here and elsewhere, tables' places, subscriptions, and which of them belong together.

use super::address::Address;
use super::matcher::Matcher;
use super::places::Places;
use super::policy::Policy;
use super::queue::{Position, Queue};
use super::resting::Resting;
use super::selector::Selector;
use super::service::Core;
use super::slot::Slot;
use super::view::View;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use tokio::time::Instant;
use uuid::Uuid;

/// A service of another node, as its node announced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) node: Arc<str>,
    /// The other process.
    pub(crate) process: Uuid,
    pub(crate) instance: Uuid,
    pub(crate) addresses: BTreeSet<String>,
    pub(crate) tables: BTreeSet<String>,
    pub(crate) methods: BTreeSet<String>,
    pub(crate) policies: BTreeMap<String, Policy>,
}

/// Which node, and the services there that a subscription serves.
pub(crate) type OtherNode = (Arc<str>, Mutex<BTreeSet<String>>);

/// A subscription, as the bus has it.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) id: Uuid,
    /// The service that subscribed.
    pub(crate) owner: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) view: View,
    pub(crate) queue: Arc<Queue>,
    pub(crate) since: Timestamp,
    /// Of another node's copy: which node, and the services there that it serves.
    pub(crate) on: Option<OtherNode>,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) services: BTreeMap<String, Arc<Core>>,
    pub(crate) remote: BTreeMap<String, Arc<Remote>>,
    slots: BTreeMap<Address, Places>,
    followers: BTreeMap<Uuid, Arc<Follower>>,
    patterns: Matcher<Uuid>,
    /// Views that nobody looks at.
    pub(crate) resting: Resting,
    /// Who listens on each address besides its name, as of the last reconciliation; and by service.
    listeners: BTreeMap<String, BTreeSet<String>>,
    listening: BTreeMap<String, BTreeSet<String>>,
    /// Services of this node that other nodes are to hear of again, when they were told by that process.
    news: Option<(Uuid, BTreeSet<String>)>,
}

/// What is left to do when the registry is free.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Tables whose subscribers are others: their services are to be told.
    pub(crate) tables: BTreeSet<Address>,
    /// Places to align, whoever feeds before who is fed. It may take long: the rows of a view are worked out.
    pub(crate) unfit: Vec<Arc<Slot>>,
}

impl Touched {
    fn unfit(&mut self, slot: &Arc<Slot>) {
        if !self.unfit.last().is_some_and(|last| Arc::ptr_eq(last, slot)) {
            self.unfit.push(Arc::clone(slot));
        }
    }
}

/// What a view looks at.
fn parent(view: &View) -> &View {
    static WHOLE: LazyLock<View> = LazyLock::new(View::default);
    view.through.as_deref().unwrap_or(&WHOLE)
}

impl Registry {
    /// A table's place, made if it is not there.
    pub(crate) fn slot(&mut self, address: &Address, view: &View, touched: &mut Touched) -> Arc<Slot> {
        if let Some(slot) = self.slots.get(address).and_then(|views| views.get(view)) {
            return Arc::clone(slot);
        }
        let views = self.slots.entry(address.clone()).or_default();
        let life = views.all().next().map_or(0, |slot| slot.life());
        let slot = Arc::new(Slot::new(address.clone(), view.clone(), life));
        views.insert(view.clone(), Arc::clone(&slot));
        if !view.is_everything() && !self.remote.contains_key(address.service()) {
            let up = self.slot(address, parent(view), touched);
            up.feed(&slot);
            touched.unfit(&up);
        }
        slot
    }

    /// What a subscription sees of a table; `None`: its publisher shows it nothing.
    pub(crate) fn shown(&self, follower: &Follower, address: &Address) -> Option<View> {
        if follower.on.is_some() {
            // Its node looks through what the publisher shows. What it knows of that may be old.
            let policy = self.services.get(address.service()).and_then(|core| core.policy(address.table()));
            let allowed = policy.is_none_or(|policy| policy.allows(&follower.view));
            return allowed.then(|| follower.view.clone());
        }
        self.view_for(follower.owner.as_deref(), &follower.view, address)
    }

    /// What a receiver sees of a table, if it asks for `own`.
    pub(crate) fn view_for(&self, receiver: Option<&str>, own: &View, address: &Address) -> Option<View> {
        let own = View { through: None, ..own.clone() };
        let policy = match (self.services.get(address.service()), self.remote.get(address.service())) {
            (Some(core), _) => core.policy(address.table()),
            (None, Some(remote)) => remote.policies.get(address.table()).cloned(),
            (None, None) => None,
        };
        let Some(policy) = policy else { return Some(own) };
        let imposed = policy.view_for(receiver)?;
        Some(match (imposed.is_everything(), own.is_everything()) {
            (true, _) => own,
            (false, true) => imposed.clone(),
            (false, false) => View { through: Some(Box::new(imposed.clone())), ..own },
        })
    }

    pub(crate) fn find(&self, address: &Address) -> Option<&Arc<Slot>> {
        self.slots.get(address).and_then(|views| views.whole())
    }

    /// All places of whole tables.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.values().filter_map(|views| views.whole())
    }

    /// The places of one service's whole tables. Costs what it has, not what all have.
    pub(crate) fn slots_of(&self, service: &str) -> Vec<Arc<Slot>> {
        self.of(service).filter_map(|(_, views)| views.whole()).cloned().collect()
    }

    /// The places of one service's tables and of their views.
    pub(crate) fn places_of(&self, service: &str) -> Vec<Arc<Slot>> {
        self.of(service).flat_map(|(_, views)| views.all().cloned()).collect()
    }

    fn of(&self, service: &str) -> impl Iterator<Item = (&Address, &Places)> {
        let from = self.slots.range(Address::first_of(service)..);
        from.take_while(move |(address, _)| address.service() == service)
    }

    /// Places with subscribers whose service is on another node.
    pub(crate) fn followed(&self) -> Vec<(Arc<Slot>, &Arc<Remote>)> {
        let mut all = Vec::new();
        for (name, remote) in &self.remote {
            for (_, views) in self.of(name) {
                all.extend(views.all().filter(|slot| slot.has_queues()).map(|slot| (Arc::clone(slot), remote)));
            }
        }
        all
    }

    pub(crate) fn followers(&self) -> impl Iterator<Item = &Arc<Follower>> {
        self.followers.values()
    }

    pub(crate) fn follower(&self, id: &Uuid) -> Option<&Arc<Follower>> {
        self.followers.get(id)
    }

    /// Begins a subscription; answers whether it goes on from where `resume` says.
    pub(crate) fn subscribe(
        &mut self,
        follower: &Arc<Follower>,
        resume: Option<(Position, u64)>,
        touched: &mut Touched,
    ) -> bool {
        self.followers.insert(follower.id, Arc::clone(follower));
        self.patterns.insert(follower.selector.service(), follower.id);
        let mut resumed = false;
        if let Some(address) = follower.selector.literal()
            && let Some(view) = self.shown(follower, address)
        {
            // A place in another view of the table is none in this.
            let resume = resume.filter(|(_, mark)| *mark == view.mark()).map(|(at, _)| at);
            resumed = self.slot(address, &view, touched).attach(&follower.queue, resume) == Some(true);
            touched.tables.insert(address.clone());
        }
        // Another node follows one service's table, whoever else listens on that name.
        let candidates = if follower.on.is_some() { Vec::new() } else { self.candidates(&follower.selector) };
        for name in candidates {
            let met = self.addresses(&name).iter().any(|address| follower.selector.has_service(address));
            if met {
                let tables = self.tables(&name, None);
                self.join(&name, (&tables, None), follower, touched);
            }
        }
        resumed
    }

    /// The services that a selector may mean. Without wildcards it costs what listens on its address, with them all.
    fn candidates(&self, selector: &Selector) -> Vec<String> {
        match selector.literal() {
            Some(address) => self.listeners.get(address.service()).into_iter().flatten().cloned().collect(),
            None => self.services.keys().chain(self.remote.keys()).cloned().collect(),
        }
    }

    /// Who listens on an address, as its name or besides it.
    pub(crate) fn listeners(&self, address: &str) -> BTreeSet<String> {
        let own = self.services.contains_key(address) || self.remote.contains_key(address);
        let others = self.listeners.get(address).into_iter().flatten().cloned();
        others.chain(own.then(|| address.to_owned())).collect()
    }

    /// Keeps in mind on what a service listens besides its name.
    fn listen(&mut self, name: &str, addresses: &BTreeSet<String>) {
        let now: BTreeSet<String> = addresses.iter().filter(|address| *address != name).cloned().collect();
        let was = match now.is_empty() {
            true => self.listening.remove(name),
            false => self.listening.insert(name.to_owned(), now.clone()),
        };
        for address in was.unwrap_or_default() {
            if let Some(names) = self.listeners.get_mut(&address) {
                names.remove(name);
                if names.is_empty() {
                    self.listeners.remove(&address);
                }
            }
        }
        for address in now {
            self.listeners.entry(address).or_default().insert(name.to_owned());
        }
    }

    /// `tables`: those that it may join, or the one that may be among them.
    fn join(
        &mut self,
        name: &str,
        (tables, only): (&BTreeSet<String>, Option<&str>),
        follower: &Arc<Follower>,
        touched: &mut Touched,
    ) {
        let one = |table: &str| BTreeSet::from([table.to_owned()]);
        let own = match follower.selector.literal() {
            // It has its place from the beginning, table or not.
            Some(address) if address.service() == name => {
                only.is_none_or(|only| only == address.table()).then(|| one(address.table()))
            }
            _ => None,
        };
        for table in own.as_ref().unwrap_or(tables).iter().filter(|table| follower.selector.has_table(table)) {
            if let Ok(address) = Address::new(name, table)
                && let Some(view) = self.shown(follower, &address)
                && self.slot(&address, &view, touched).attach(&follower.queue, None).is_some()
            {
                touched.tables.insert(address);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: &Uuid, touched: &mut Touched) {
        let Some(follower) = self.followers.remove(id) else { return };
        self.patterns.remove(follower.selector.service(), id);
        for (slot, _) in follower.queue.slots() {
            slot.detach(&follower.queue);
            touched.tables.insert((**slot.address()).clone());
            self.tidy(&slot, touched);
        }
    }

    /// Lets go of a place that nobody needs; of a view that shows something not at once.
    pub(crate) fn tidy(&mut self, slot: &Arc<Slot>, touched: &mut Touched) {
        let here = self.services.contains_key(slot.address().service());
        if here && !slot.view_of().is_everything() && slot.is_there() && !slot.has_queues() && !slot.has_views() {
            for view in self.resting.add(slot, Instant::now()) {
                self.let_go(&view, touched);
            }
            return;
        }
        self.let_go(slot, touched);
    }

    /// Lets go of a place that nobody needs.
    pub(crate) fn let_go(&mut self, slot: &Arc<Slot>, touched: &mut Touched) {
        let (address, mut view) = (&**slot.address(), slot.view_of());
        let Some(views) = self.slots.get_mut(address) else { return };
        // A view that nobody looks at, then the one it looked at.
        while !view.is_everything() && views.get(view).is_some_and(|slot| !slot.has_queues() && !slot.has_views()) {
            let up = parent(view);
            if let (Some(parent), Some(slot)) = (views.get(up), views.get(view)) {
                parent.unfeed(slot);
                touched.unfit(parent);
            }
            views.remove(view);
            view = up;
        }
        // What is left over is the table's own place, if anything.
        if views.len() <= 1 && views.all().all(|slot| slot.retire()) {
            self.slots.remove(address);
        }
    }

    /// A service is not what other nodes were told.
    pub(crate) fn note(&mut self, name: &str) {
        if let Some((_, names)) = &mut self.news {
            names.insert(name.to_owned());
        }
    }

    /// The services that this process is to tell of: those noted since it asked last. The first time, all.
    pub(crate) fn news(&mut self, process: Uuid, first: bool) -> BTreeSet<String> {
        match &mut self.news {
            _ if first => {
                self.news = Some((process, BTreeSet::new()));
                self.services.keys().cloned().collect()
            }
            Some((of, names)) if *of == process => std::mem::take(names),
            _ => BTreeSet::new(),
        }
    }

    /// Nobody is to be told.
    pub(crate) fn forget_news(&mut self) {
        self.news = None;
    }

    /// What a service listens on: its name, and its shared addresses.
    pub(crate) fn addresses(&self, name: &str) -> BTreeSet<String> {
        let mut all = match (self.services.get(name), self.remote.get(name)) {
            (Some(core), _) => core.addresses(),
            (None, Some(remote)) => remote.addresses.clone(),
            (None, None) => return BTreeSet::new(),
        };
        all.insert(name.to_owned());
        all
    }

    /// The tables that a service has or offers. `only`: whether that one is among them.
    pub(crate) fn tables(&self, name: &str, only: Option<&str>) -> BTreeSet<String> {
        match (self.services.get(name), self.remote.get(name)) {
            (Some(core), _) if only.is_some() => {
                let one = only.and_then(|table| Address::new(name, table).ok());
                let has = |address: &Address| {
                    core.offers(address.table())
                        || self.find(address).is_some_and(|slot| slot.is_there() || slot.error().is_some())
                };
                one.filter(has).map(|address| address.table().to_owned()).into_iter().collect()
            }
            (None, Some(remote)) if only.is_some() => {
                only.and_then(|table| remote.tables.get(table)).cloned().into_iter().collect()
            }
            (Some(core), _) => {
                let there = self.of(name).filter_map(|(_, views)| views.whole());
                let there = there.filter(|slot| slot.is_there() || slot.error().is_some());
                there.map(|slot| slot.address().table().to_owned()).chain(core.offered()).collect()
            }
            (None, Some(remote)) => remote.tables.clone(),
            (None, None) => BTreeSet::new(),
        }
    }

    /// After a service, its addresses or its tables came, changed or went: who is meant joins, who is not leaves.
    /// `only`: as far as that table is concerned.
    pub(crate) fn reconcile(&mut self, name: &str, only: Option<&str>, touched: &mut Touched) {
        self.note(name);
        let addresses = self.addresses(name);
        self.listen(name, &addresses);
        let met: BTreeSet<Uuid> = addresses.iter().flat_map(|address| self.patterns.matches(address)).collect();
        let is_met = |registry: &Self, id: &Uuid| -> Option<Arc<Follower>> {
            let follower = registry.followers.get(id).filter(|_| met.contains(id))?;
            let on_it = match (&follower.on, follower.selector.literal()) {
                (Some(_), Some(address)) => address.service() == name,
                _ => addresses.iter().any(|a| follower.selector.has_service(a)),
            };
            on_it.then(|| Arc::clone(follower))
        };
        let tables = self.tables(name, only);
        let concerned = |address: &Address| only.is_none_or(|table| address.table() == table);
        let places = self.of(name).filter(|(address, _)| concerned(address));
        let places: Vec<Arc<Slot>> = places.flat_map(|(_, views)| views.all().cloned()).collect();
        // First who leaves: a subscriber hears that a place is gone before it hears of the next.
        for slot in &places {
            let address = Arc::clone(slot.address());
            for queue in slot.queues() {
                let Some(follower) = self.followers.get(&queue.id()).cloned() else { continue };
                let literal = follower.selector.literal() == Some(&*address);
                let shown = self.shown(&follower, &address).as_ref() == Some(slot.view_of());
                let meant = tables.contains(address.table())
                    && follower.selector.has_table(address.table())
                    && is_met(self, &follower.id).is_some();
                if !shown || !literal && !meant {
                    slot.detach(&queue);
                    if let Some(number) = queue.number_of(slot) {
                        queue.leave(number);
                    }
                    touched.tables.insert((*address).clone());
                }
            }
        }
        let joining: Vec<Arc<Follower>> = met.iter().filter_map(|id| is_met(self, id)).collect();
        for follower in joining {
            self.join(name, (&tables, only), &follower, touched);
        }
        places.iter().for_each(|slot| self.tidy(slot, touched));
    }

    /// After a service moved between here, elsewhere and nowhere: its tables end, and its views are fed from where the
    /// table is now.
    pub(crate) fn moved(&mut self, name: &str, touched: &mut Touched) {
        let remote = self.remote.contains_key(name) && !self.services.contains_key(name);
        let places: Vec<Address> = self.of(name).map(|(address, _)| address.clone()).collect();
        for address in places {
            let whole = self.slot(&address, &View::default(), touched);
            let life = whole.life() + 1;
            let views: Vec<Arc<Slot>> = self.slots.get(&address).into_iter().flat_map(Places::all).cloned().collect();
            // A view may have been fed from elsewhere: what it shows ends with the table it was of.
            views.iter().for_each(|slot| slot.begin_life(life));
            for view in views.iter().filter(|slot| !slot.view_of().is_everything()) {
                let up = self.slot(&address, parent(view.view_of()), touched);
                if remote {
                    up.unfeed(view);
                } else {
                    up.feed(view);
                }
            }
            // Each lets go of the rows that it worked with.
            touched.unfit(&whole);
            views.iter().for_each(|slot| touched.unfit(slot));
            touched.tables.insert(address);
        }
        self.reconcile(name, None, touched);
    }
}
