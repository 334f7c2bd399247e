//! What nodes tell each other of themselves, and what this one makes of what it is told.

use super::Bus;
use super::link::Announced;
use super::registry::{Remote, Touched};
use super::service::Core;
use super::slot::Slot;
use super::table_view::TableView;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use uuid::Uuid;

impl Bus {
    /// What this node has that other nodes don't know yet, by name; none: it is no more. The first time, all. Costs what
    /// changed.
    pub(super) fn news(&self, process: Uuid, first: bool) -> Vec<(String, Option<Announced>)> {
        let mut registry = self.registry();
        let names = registry.news(process, first);
        let one = |name: String| {
            let core = registry.services.get(&name).map(|core| (Arc::clone(core), registry.tables(&name, None)));
            (name, core)
        };
        let all: Vec<_> = names.into_iter().map(one).collect();
        drop(registry);
        // Which methods there are may be for others to say: nothing is locked meanwhile.
        let announced = |(core, tables): (Arc<Core>, BTreeSet<String>)| Announced {
            name: core.name.clone(),
            instance: core.instance,
            claim: core.claim,
            addresses: core.addresses(),
            tables,
            methods: core.methods.list().into_iter().map(|(name, _)| name).collect(),
            policies: core.policies(),
        };
        all.into_iter().map(|(name, core)| (name, core.map(announced))).collect()
    }

    /// When each service here took its name. `only`: of those.
    pub(super) fn claims(&self, only: Option<&BTreeSet<String>>) -> BTreeMap<String, u64> {
        let registry = self.registry();
        let one = |core: &Arc<Core>| (core.name.clone(), core.claim);
        match only {
            None => registry.services.values().map(one).collect(),
            Some(names) => names.iter().filter_map(|name| registry.services.get(name)).map(one).collect(),
        }
    }

    /// Learns what other nodes have, and which names of this one's services they had earlier. `only`: as far as those names
    /// are concerned.
    pub(super) fn learn(
        &self,
        only: Option<&BTreeSet<String>>,
        mut remote: BTreeMap<String, Remote>,
        lost: &BTreeMap<String, Arc<str>>,
    ) {
        let mut touched = Touched::default();
        let mut registry = self.registry();
        let mut moved = BTreeSet::new();
        for (name, to) in lost {
            if let Some(core) = registry.services.remove(name) {
                tracing::warn!(service = name, node = &**to, "another node had the name earlier: this service lost it");
                core.lose(to);
                moved.insert(name.clone());
            }
        }
        let names: BTreeSet<String> = match only {
            Some(names) => names.clone(),
            None => registry.remote.keys().chain(remote.keys()).cloned().collect(),
        };
        let mut changed = Vec::new();
        for name in names {
            let is = remote.remove(&name).map(Arc::new);
            let was = match &is {
                Some(is) => registry.remote.insert(name.clone(), Arc::clone(is)),
                None => registry.remote.remove(&name),
            };
            let place = |remote: &Arc<Remote>| (remote.process, remote.instance);
            if was.as_ref().map(place) != is.as_ref().map(place) {
                moved.insert(name);
            } else if was != is {
                changed.push(name);
            }
        }
        changed.iter().for_each(|name| registry.reconcile(name, None, &mut touched));
        moved.iter().for_each(|name| registry.moved(name, &mut touched));
        drop(registry);
        self.settle(touched);
    }

    /// Places here of other nodes' tables, and the services here that follow each.
    pub(super) fn followed(&self) -> Vec<(Arc<Slot>, Arc<Remote>, BTreeSet<String>)> {
        let registry = self.registry();
        let owners = |slot: &Arc<Slot>| {
            let ids = slot.queues().into_iter().map(|queue| queue.id());
            ids.filter_map(|id| registry.follower(&id)?.owner.clone()).collect()
        };
        registry
            .followed()
            .into_iter()
            .map(|(slot, remote)| (Arc::clone(&slot), Arc::clone(remote), owners(&slot)))
            .collect()
    }

    pub(super) fn tidy(&self, slot: &Arc<Slot>) {
        let mut touched = Touched::default();
        self.registry().tidy(slot, &mut touched);
        Self::align(&touched);
    }

    /// The present state of what a subscription to one table sees.
    pub(super) fn follower_view(&self, id: Uuid) -> Option<Arc<TableView>> {
        let follower = self.registry().follower(&id).cloned()?;
        follower.queue.first().and_then(|slot| slot.view())
    }

    /// The services that a subscription of another node serves there.
    pub(super) fn serves(&self, id: &Uuid, services: BTreeSet<String>) {
        if let Some(follower) = self.registry().follower(id)
            && let Some((_, known)) = &follower.on
        {
            *known.lock().unwrap_or_else(PoisonError::into_inner) = services;
        }
    }

    pub(super) fn instance_of(&self, service: &str) -> Option<Uuid> {
        self.registry().services.get(service).map(|core| core.instance)
    }

    /// The tables that a service subscribes to, each as its service and name.
    pub(crate) fn subscribed_by(&self, service: &str) -> BTreeSet<(String, String)> {
        let tables = self.subscriptions_of(service).into_iter().flat_map(|subscription| subscription.tables);
        tables.map(|(address, _)| (address.service().to_owned(), address.table().to_owned())).collect()
    }

    /// Who subscribes to a service's tables, on all nodes: `subscription`, `table`, `node`, `service` of each.
    pub(crate) fn subscribers_of(&self, service: &str) -> Vec<Value> {
        let registry = self.registry();
        let mut all = Vec::new();
        for slot in registry.places_of(service) {
            let table = slot.address().table();
            for follower in slot.queues().iter().filter_map(|queue| registry.follower(&queue.id())) {
                let one = |node: &str, owner: Option<&str>| json!({"subscription": follower.id, "table": table, "node": node, "service": owner});
                match &follower.on {
                    None => all.push(one(self.node(), follower.owner.as_deref())),
                    Some((node, services)) => {
                        let services = services.lock().unwrap_or_else(PoisonError::into_inner);
                        if services.is_empty() {
                            all.push(one(node, None));
                        }
                        all.extend(services.iter().map(|service| one(node, Some(service))));
                    }
                }
            }
        }
        all
    }
}
