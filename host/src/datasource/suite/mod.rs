//! The room's tests of what happens at once: steps of a fake driver are held up until the other thing has happened.

mod ends;
mod fake;
mod keeps;
mod ledgers;
mod losses;
mod moves;
mod news;
mod races;
mod states;
mod trials;
mod turns;

use super::converge::live;
use super::interest;
use super::keep::Keep;
use super::record::Record;
use super::runner::{Runner, Shared};
use super::secret::Keyring;
use super::store::{MemoryStore, Store};
use super::{Change, Datasources, Draft, ManagedBy, Phase, Status};
use crate::bus::{Address, Bus};
use crate::config::Datasource;
use crate::plugin::{Catalog, Generation, Moved, SwitchError, Tenants, Terms};
use crate::table::rows_json;
use fake::Script;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Longer than anything takes here that comes to an end.
const LONG: Duration = Duration::from_secs(20);

/// A room with the fake driver's first generation.
struct Bed {
    folder: TempDir,
    bus: Bus,
    catalog: Arc<Catalog>,
    store: Arc<MemoryStore>,
    all: Datasources,
    script: Arc<Script>,
}

impl Bed {
    /// `tables`: those of the driver, and whether they are lazy.
    async fn new(tables: &[(&'static str, bool)]) -> Self {
        let (folder, store, script) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new()), Script::new(tables));
        let catalog = Arc::new(Catalog::new("info"));
        catalog.serve(script.generation(1));
        let (bus, all) = room(&folder, &catalog, &store).await;
        Self { folder, bus, catalog, store, all, script }
    }

    /// The host ends and begins anew.
    async fn restart(&mut self) {
        self.all.stop(LONG).await;
        (self.bus, self.all) = room(&self.folder, &self.catalog, &self.store).await;
    }

    /// Creates one, polled on request only; what is said beside holds.
    async fn create(&self, name: &str, more: Value) {
        let mut body = json!({"name": name, "driver": "fake", "poll": "0s"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.all.create(Draft::read(&body).unwrap()).await.unwrap();
    }

    async fn change(&self, name: &str, body: Value) {
        self.all.change(name, &Change::read(&body).unwrap(), None).await.unwrap();
    }

    /// Moves all to another generation, and has it serve when that worked, as the plugin room does.
    fn reload(&self, number: u64) -> JoinHandle<Result<(), SwitchError>> {
        let (all, catalog, to) = (self.all.clone(), Arc::clone(&self.catalog), self.script.generation(number));
        tokio::spawn(async move { reload(&all, &catalog, to).await })
    }

    /// Two datasources of one table, which run.
    async fn two(prepare: impl FnOnce(&Script)) -> Self {
        let bed = Self::new(&[("t", false)]).await;
        prepare(&bed.script);
        bed.catalog.serve(bed.script.generation(1));
        for name in ["one", "two"] {
            bed.create(name, json!({})).await;
            bed.script.saw(&format!("activate {name} 1.0")).await;
        }
        settle().await;
        bed
    }

    /// Moves all to another generation, on those terms; it is on probation from then on.
    fn switch(&self, number: u64, terms: Terms) -> JoinHandle<Result<Moved, SwitchError>> {
        let (all, to) = (self.all.clone(), self.script.generation(number));
        tokio::spawn(async move { all.switch(to, terms).await })
    }

    /// Waits until that is who gave a table's rows.
    async fn until_by(&self, table: &str, by: &str) {
        let until = Instant::now() + LONG;
        while self.by(table).as_deref() != Some(by) {
            assert!(Instant::now() < until, "{:?}, not {by:?}: {:#?}", self.by(table), self.script.log());
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a datasource is in that phase.
    async fn until_phase(&self, name: &str, phase: Phase) -> Status {
        let until = Instant::now() + LONG;
        loop {
            let status = self.all.get(name).unwrap().status;
            if status.phase == phase {
                return status;
            }
            assert!(Instant::now() < until, "{status:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Who gave a table's rows.
    fn by(&self, table: &str) -> Option<String> {
        let view = self.bus.table(&address(table))?;
        let rows: Value = serde_json::from_str(rows_json(view.rows.batches()).unwrap().get()).unwrap();
        Some(rows[0]["by"].as_str().unwrap().to_owned())
    }

    /// How many runners that were told to end have not.
    fn ending(&self) -> usize {
        let ending = self.all.inner.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.iter().filter(|task| !task.is_finished()).count()
    }
}

async fn room(folder: &TempDir, catalog: &Arc<Catalog>, store: &Arc<MemoryStore>) -> (Bus, Datasources) {
    let bus = Bus::new("alpha");
    let (store, keyring) = (Arc::clone(store) as Arc<dyn Store>, Keyring::open(folder.path()).unwrap());
    let all = Datasources::start(&bus, catalog, store, keyring, folder.path().join("tables"), None).await.unwrap();
    (bus, all)
}

async fn reload(all: &Datasources, catalog: &Catalog, to: Arc<Generation>) -> Result<(), SwitchError> {
    let driver = to.info.id.clone();
    all.switch(Arc::clone(&to), Terms::default()).await?;
    catalog.serve(to);
    all.retire(&driver, Duration::ZERO).await;
    Ok(())
}

fn address(table: &str) -> Address {
    let (service, table) = table.split_once('/').unwrap();
    Address::new(service, table).unwrap()
}

/// Whatever can go on without what the test holds up has gone on, but for calls of the driver.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// So much time passes, and no more: the driver's threads are not of this time.
async fn pass(time: Duration) {
    settle().await;
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Thousands wait in one host.
#[tokio::test]
async fn the_task_of_a_datasource_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let service = Arc::new(Bus::new("alpha").register("web").unwrap());
    let record = Arc::new(Record::new("web", Datasource::new("fake"), ManagedBy::Api, BTreeSet::new()));
    let ((_commands, commands), (_records, records)) = (mpsc::unbounded_channel(), watch::channel(Arc::clone(&record)));
    let shared = Arc::new(Shared::new(Arc::default(), "web"));
    let noted = interest::listen(&service);
    let (catalog, keep) =
        (Arc::new(Catalog::new("info")), Arc::new(Keep::new(folder.path().to_owned()).place(record.id)));
    let runner = Runner::new(service, catalog, Arc::clone(&shared), (commands, records), keep);
    let (runner_size, size) = (size_of_val(&runner), size_of_val(&live(runner, noted, shared)));
    assert!(size <= 1280, "{size} bytes, {runner_size} of them what it is");
}

/// How often a source came to a step.
fn count(bed: &Bed, step: &str) -> usize {
    bed.script.log().iter().filter(|one| *one == step).count()
}

/// When it first did, among all steps of all.
fn at(bed: &Bed, step: &str) -> usize {
    let log = bed.script.log();
    log.iter().position(|one| one == step).unwrap_or_else(|| panic!("no {step:?} in {log:#?}"))
}

/// It is polled, and clients reach it.
async fn serves(bed: &Bed, name: &str) {
    bed.all.refreshed(name).await.unwrap();
    bed.all.webhook(name, Some("t".to_owned()), json!(1)).await.unwrap();
}
