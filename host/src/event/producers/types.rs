//! The types that drivers bring: there while a generation of theirs serves.

use super::super::Events;
use super::super::catalogue::{EventType, Owner, Role, fields_of};
use crate::plugin::{Catalog, Generation};
use busway_plugin_api::event::EventTypeInfo;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// The types of one driver.
#[derive(Debug)]
struct Known {
    /// The generation that they are of.
    generation: u64,
    types: Vec<EventTypeInfo>,
}

/// The types that drivers bring.
#[derive(Debug)]
pub(crate) struct DriverTypes {
    events: Events,
    catalog: Arc<Catalog>,
    known: RwLock<HashMap<String, Known>>,
}

impl DriverTypes {
    pub(super) fn new(events: &Events, catalog: &Arc<Catalog>) -> Self {
        Self { events: events.clone(), catalog: Arc::clone(catalog), known: RwLock::default() }
    }

    /// Follows which generations serve.
    pub(super) async fn run(self: Arc<Self>, mut changed: watch::Receiver<u64>) {
        loop {
            changed.borrow_and_update();
            self.settle();
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// The types are those of the generations that serve.
    fn settle(&self) {
        let serving = self.catalog.drivers();
        serving.iter().for_each(|generation| self.bring(generation));
        let ids: BTreeSet<&str> = serving.iter().map(|generation| generation.info.id.as_str()).collect();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<String> = known.keys().filter(|id| !ids.contains(id.as_str())).cloned().collect();
        drop(known);
        for id in gone {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            self.events.catalogue().remove_of(&Owner::Driver(id.clone()));
            self.catalog.remark(&id, None);
        }
        // A name that another driver had may be free by now.
        for generation in serving.iter().filter(|generation| self.lacks(generation)) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(generation.info.id.as_str());
            self.bring(generation);
        }
    }

    /// Whether a type that it brings is nobody's.
    fn lacks(&self, generation: &Generation) -> bool {
        generation.info.events.iter().any(|one| self.events.catalogue().get(&one.name).is_none())
    }

    /// The driver's types are this generation's from now on. A source that is in charge a moment before its generation is
    /// said to serve has its types already: who tells of something brings them.
    pub(super) fn bring(&self, generation: &Generation) {
        let id = generation.info.id.as_str();
        let is_known = |known: &Known| known.generation == generation.number;
        if self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).is_some_and(is_known) {
            return;
        }
        let types = &generation.info.events;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let now = Known { generation: generation.number, types: types.clone() };
        let before = known.insert(id.to_owned(), now);
        if before.is_some_and(|before| before.types == *types) || (types.is_empty() && !self.has(id)) {
            return;
        }
        let owner = Owner::Driver(id.to_owned());
        // What is wrong with a schema has kept the build from being loaded.
        let types = types.iter().filter_map(|one| typed(one, &owner)).collect();
        let refused = self.events.catalogue().replace_of(&owner, types, false);
        drop(known);
        for error in &refused {
            tracing::warn!(driver = id, generation = generation.number, %error, "a driver's event type is not taken");
        }
        let remark: Vec<String> = refused.iter().map(ToString::to_string).collect();
        self.catalog.remark(
            id,
            (!remark.is_empty()).then(|| format!("serves without some of its event types: {}", remark.join("; "))),
        );
    }

    fn has(&self, id: &str) -> bool {
        let owner = Owner::Driver(id.to_owned());
        self.events.catalogue().all().iter().any(|one| one.owner == owner)
    }
}

fn typed(one: &EventTypeInfo, owner: &Owner) -> Option<EventType> {
    Some(EventType {
        name: one.name.as_str().into(),
        id: one.id,
        base: one.base.as_deref().map(Into::into),
        message: None,
        role: Role::Event,
        fields: fields_of(&one.schema).ok()?,
        origin: one.origin.clone(),
        about: one.about.clone(),
        owner: owner.clone(),
    })
}
