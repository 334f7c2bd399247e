//! Services with unique names, their tables, and those who subscribe to them. No I/O; knows no driver.
//!
//! A table belongs to the bus, not to whoever writes it: a subscription may come before the table, and outlives it.

mod address;
mod matcher;
mod pattern;
mod queue;
mod service;
mod table;
mod view;

pub use address::{Address, BadAddress, is_service_name, is_table_name};
pub use matcher::Matcher;
pub use pattern::{BadPattern, MAX_HASHES, MAX_PATTERN, Pattern};
pub use queue::{Message, Subscription};
pub use service::{AlreadyExists, PublishError, Service};
pub use table::{Slot, SubscriberView, TableView};
pub use view::{BadConstant, Bound, Comparison, Condition, Constant, Mask, View, ViewError, ViewFault};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// All services of a node. Clones are the same bus.
#[derive(Debug, Clone, Default)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rooms: Mutex<Rooms>,
    /// Rung when a service or table comes or goes.
    changed: watch::Sender<u64>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { rooms: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

#[derive(Debug, Default)]
struct Rooms {
    services: BTreeMap<String, uuid::Uuid>,
    tables: BTreeMap<Address, Arc<Slot>>,
}

impl Bus {
    /// Registers a service; dropping the handle unregisters it and ends its tables.
    ///
    /// # Errors
    ///
    /// When one of that name is registered; it is unharmed.
    pub fn register(&self, name: &str) -> Result<Service, AlreadyExists> {
        let mut rooms = self.rooms();
        if rooms.services.contains_key(name) {
            return Err(AlreadyExists { name: name.to_owned() });
        }
        let instance = uuid::Uuid::new_v4();
        rooms.services.insert(name.to_owned(), instance);
        drop(rooms);
        self.ring();
        Ok(Service::new(self.clone(), name.to_owned(), instance))
    }

    /// The names of all services; hidden ones (`_…`) too if asked.
    #[must_use]
    pub fn services(&self, hidden: bool) -> Vec<String> {
        self.rooms().services.keys().filter(|name| hidden || !name.starts_with('_')).cloned().collect()
    }

    /// Whether a service of that name is registered.
    #[must_use]
    pub fn has_service(&self, name: &str) -> bool {
        self.rooms().services.contains_key(name)
    }

    /// Subscribes to a table, there or not: the first message is its state, or comes when the table does.
    #[must_use]
    pub fn subscribe(&self, address: &Address) -> Subscription {
        self.slot(address).subscribe()
    }

    /// A table's present state, if it is there.
    #[must_use]
    pub fn table(&self, address: &Address) -> Option<TableView> {
        let slot = self.rooms().tables.get(address).cloned();
        slot.and_then(|slot| slot.view())
    }

    /// All tables that are there, in order.
    #[must_use]
    pub fn tables(&self) -> Vec<TableView> {
        let slots: Vec<Arc<Slot>> = self.rooms().tables.values().cloned().collect();
        slots.iter().filter_map(|slot| slot.view()).collect()
    }

    /// All slots: tables that are there, and places of tables that are subscribed to.
    #[must_use]
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.rooms().tables.values().cloned().collect()
    }

    /// The slots of one service. Costs what it has, not what all have.
    #[must_use]
    pub fn slots_of(&self, service: &str) -> Vec<Arc<Slot>> {
        let rooms = self.rooms();
        let from = rooms.tables.range(Address::first_of(service)..);
        from.take_while(|(address, _)| address.service() == service).map(|(_, slot)| Arc::clone(slot)).collect()
    }

    /// Rung when a service or table comes or goes.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    pub(crate) fn slot(&self, address: &Address) -> Arc<Slot> {
        let mut rooms = self.rooms();
        if let Some(slot) = rooms.tables.get(address) {
            return Arc::clone(slot);
        }
        // Places nobody needs any more go when a new one comes.
        rooms.tables.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_idle());
        let slot = Arc::new(Slot::new(address.clone()));
        rooms.tables.insert(address.clone(), Arc::clone(&slot));
        slot
    }

    pub(crate) fn unregister(&self, name: &str, instance: uuid::Uuid) {
        let mut rooms = self.rooms();
        if rooms.services.get(name) != Some(&instance) {
            return;
        }
        rooms.services.remove(name);
        drop(rooms);
        for slot in self.slots_of(name) {
            slot.end();
        }
        self.ring();
    }

    pub(crate) fn ring(&self) {
        self.inner.changed.send_modify(|n| *n += 1);
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.inner.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
