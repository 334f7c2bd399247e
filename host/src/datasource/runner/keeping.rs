//! A datasource whose last tables are kept on disk: what a runner does for that.

use super::Runner;
use crate::bus::{Address, ServiceState, TableView};
use crate::datasource::keep::Place;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What changed is kept so soon.
const SOON: Duration = Duration::from_secs(1);
/// And so often at most.
const SELDOM: Duration = Duration::from_secs(10);

/// What of a datasource is on the disk.
#[derive(Debug)]
pub(super) struct Keeping {
    place: Arc<Place>,
    /// The state of each table that is kept: its epoch and number.
    saved: BTreeMap<String, (u64, u64)>,
    /// When to look again.
    pub(super) due: Option<Instant>,
}

impl Keeping {
    pub(super) fn new(place: Arc<Place>) -> Self {
        Self { place, saved: BTreeMap::new(), due: None }
    }
}

impl Runner {
    /// Serves what is kept, as out of date, until the source has been read.
    pub(super) async fn restore(&mut self) {
        if !self.record.spec.persist_data {
            return;
        }
        self.keeping.due = Some(Instant::now() + SOON);
        let place = Arc::clone(&self.keeping.place);
        let kept = tokio::task::spawn_blocking(move || place.load()).await.unwrap_or_default();
        for kept in kept {
            self.service.limit(&kept.table, self.record.spec.limits());
            let published = self.service.snapshot(&kept.table, kept.shape, &kept.rows, 0);
            if let Err(error) = published {
                tracing::warn!(datasource = self.service.name(), table = kept.table, %error, "a kept table is not served");
                continue;
            }
            let since = kept.as_of.map(|time| format!(" as of {time:.0}")).unwrap_or_default();
            let error = format!("kept from before the host started{since}: the source has not been read since");
            self.service.outdate(&kept.table, &error, kept.as_of);
            self.shared.restored.insert(&kept.table);
            // Its file goes when it does, though it was not written in this life.
            self.keeping.saved.insert(kept.table, (0, 0));
        }
    }

    /// Keeps the tables that changed.
    pub(super) async fn save(&mut self) {
        if !self.record.spec.persist_data {
            self.keeping.due = None;
            return;
        }
        self.keeping.due = Some(Instant::now() + SELDOM);
        let tables = self.service.tables();
        if self.service.state() != ServiceState::Running {
            // It ends: that its tables are no more is no reason to forget them.
            return;
        }
        for table in &tables {
            // What is from the disk is there.
            let address =
                Address::new(self.service.name(), table).ok().filter(|_| !self.shared.restored.contains(table));
            let Some(address) = address else { continue };
            let (service, known) = (Arc::clone(&self.service), self.keeping.saved.get(table).copied());
            let view = move || {
                let view = service.bus().table(&address);
                view.filter(|view| view.publisher.instance == service.instance() && known != Some(position(view)))
            };
            if view().is_none() {
                continue;
            }
            let place = Arc::clone(&self.keeping.place);
            let saved = tokio::task::spawn_blocking(move || place.save(view)).await;
            match saved.unwrap_or_else(|panic| Err(std::io::Error::other(panic.to_string()))) {
                Ok(None) => {}
                Ok(Some(view)) => drop(self.keeping.saved.insert(table.clone(), position(&view))),
                Err(error) => {
                    tracing::warn!(datasource = self.service.name(), table, %error, "a table could not be kept: tried again");
                }
            }
        }
        let gone: Vec<String> = self.keeping.saved.keys().filter(|table| !tables.contains(table)).cloned().collect();
        for table in gone {
            if let Err(error) = self.keeping.place.drop_table(&table) {
                tracing::warn!(datasource = self.service.name(), table, %error, "a kept table could not be removed");
            }
            self.keeping.saved.remove(&table);
        }
    }

    /// The record says anew whether tables are kept.
    pub(super) async fn keep_or_not(&mut self, before: bool) {
        match (before, self.record.spec.persist_data) {
            (false, true) => self.keeping.due = Some(Instant::now() + SOON),
            (true, false) => {
                self.keeping.due = None;
                self.keeping.saved.clear();
                let place = Arc::clone(&self.keeping.place);
                drop(tokio::task::spawn_blocking(move || place.clear()).await);
            }
            _ => {}
        }
    }
}

fn position(view: &TableView) -> (u64, u64) {
    (view.epoch.0, view.to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Bus;
    use crate::config::Datasource;
    use crate::datasource::keep::Keep;
    use crate::datasource::record::{ManagedBy, Record};
    use crate::datasource::runner::Shared;
    use crate::plugin::Catalog;
    use busway_plugin_api::TableSpec;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeSet;
    use tokio::sync::{mpsc, watch};

    #[derive(Serialize, Deserialize)]
    struct Row {
        id: i64,
    }

    /// The bus is left before the runner hears of its end: its tables are no more then.
    #[tokio::test]
    async fn what_was_kept_stays_when_it_is_looked_at_between_the_services_end_and_the_runners() {
        let folder = tempfile::tempdir().unwrap();
        let service = Arc::new(Bus::new("alpha").register("web").unwrap());
        let publish = |table: &str| service.publish(&TableSpec::of::<Row>(table), &[Row { id: 1 }]).unwrap();
        publish("one");
        publish("two");
        let spec = Datasource { persist_data: true, ..Datasource::new("fake") };
        let record = Arc::new(Record::new("web", spec, ManagedBy::Api, BTreeSet::new()));
        let place = Arc::new(Keep::new(folder.path().to_owned()).place(record.id));
        place.turn(true);
        let (_commands, commands) = mpsc::unbounded_channel();
        let (_records, records) = watch::channel(record);
        let shared = Arc::new(Shared::new(Arc::default(), "web"));
        let catalog = Arc::new(Catalog::new("info"));
        let mut runner = Runner::new(Arc::clone(&service), catalog, shared, (commands, records), Arc::clone(&place));
        runner.save().await;
        assert_eq!(place.load().len(), 2);
        // One that is gone while the service is there goes.
        service.end("two");
        runner.save().await;
        assert_eq!(place.load().len(), 1);
        service.unregister();
        runner.save().await;
        assert_eq!(place.load().len(), 1);
    }
}
