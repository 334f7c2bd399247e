//! A registered service: the right to publish tables under a name.

use super::Bus;
use super::address::{Address, BadAddress};
use super::table::Slot;
use crate::table::{Applied, Refused, Shape};
use busway_plugin_api::table::Batches;
use std::sync::Arc;
use uuid::Uuid;

/// A service of that name is registered already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a service named {name:?} already exists")]
pub struct AlreadyExists {
    /// The name.
    pub name: String,
}

/// Why a publication changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The table's name can't be one.
    #[error(transparent)]
    Name(#[from] BadAddress),
    /// The rows were refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A delta came before the table's first snapshot.
    #[error("the table waits for a snapshot")]
    NeedsSnapshot,
}

/// The handle of a registered service. Dropping it unregisters the service and ends its tables.
#[derive(Debug)]
pub struct Service {
    bus: Bus,
    name: String,
    instance: Uuid,
}

impl Service {
    pub(crate) fn new(bus: Bus, name: String, instance: Uuid) -> Self {
        Self { bus, name, instance }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This registration's identity.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// Publishes all rows of a table.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; the table stays as it was.
    pub fn snapshot(&self, table: &str, shape: Shape, rows: &Batches) -> Result<Applied, PublishError> {
        let applied = self.slot(table)?.snapshot(shape, rows)?;
        if matches!(applied, Applied::Begun) {
            self.bus.ring();
        }
        Ok(applied)
    }

    /// Publishes changes of a table.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; the table stays as it was.
    pub fn delta(&self, table: &str, added: &Batches, removed: &Batches) -> Result<Applied, PublishError> {
        let applied = self.slot(table)?.delta(added, removed).ok_or(PublishError::NeedsSnapshot)?;
        Ok(applied?)
    }

    /// Whether the table is there.
    #[must_use]
    pub fn has(&self, table: &str) -> bool {
        self.slot(table).is_ok_and(|slot| slot.is_there())
    }

    /// Whether the table is there, and the last attempt to read it worked.
    #[must_use]
    pub fn is_well(&self, table: &str) -> bool {
        self.slot(table).is_ok_and(|slot| slot.is_there() && slot.error().is_none())
    }

    /// The table was read and is what it was.
    pub fn confirm(&self, table: &str) {
        if let Ok(slot) = self.slot(table) {
            slot.confirm();
        }
    }

    /// An attempt to read the table failed; its rows stay.
    pub fn fail(&self, table: &str, error: String) {
        if let Ok(slot) = self.slot(table) {
            slot.fail(error);
        }
    }

    /// The table is no more.
    pub fn end(&self, table: &str) {
        if self.slot(table).is_ok_and(|slot| slot.end()) {
            self.bus.ring();
        }
    }

    /// The names of its tables, those that failed before they ever came included.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        let slots = self.bus.slots_of(&self.name);
        let known = slots.iter().filter(|s| s.is_there() || s.error().is_some());
        known.map(|s| s.address().table().to_owned()).collect()
    }

    fn slot(&self, table: &str) -> Result<Arc<Slot>, BadAddress> {
        Ok(self.bus.slot(&Address::new(&self.name, table)?))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.bus.unregister(&self.name, self.instance);
    }
}
