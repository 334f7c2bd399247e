//! What operators may do to the datasources: create, change, remove; and the configuration file's say.

use super::entry::Entry;
use super::options;
use super::record::{self, Change, Draft, ManagedBy, Record};
use super::refusal::Refusal;
use super::set::{Datasources, View, view};
use super::store::StoreError;
use super::synchronize::{Difference, differences};
use crate::config::{Datasource, check_name};
use crate::plugin::FileState;
use busway_plugin_api::info::DriverInfo;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// A change that says no revision is tried so often against others that come in between.
const TRIES: usize = 8;

impl Datasources {
    /// Creates a datasource, and begins to run it unless it is disabled. When this returns it is kept, whatever happens.
    ///
    /// # Errors
    ///
    /// Why not; nothing was changed.
    pub async fn create(&self, draft: Draft) -> Result<View, Refusal> {
        let all = self.clone();
        whole(async move { all.create_now(draft).await }).await
    }

    async fn create_now(&self, draft: Draft) -> Result<View, Refusal> {
        let Draft { name, spec } = draft;
        check_name(&name)?;
        let (spec, secret) = self.fit(spec, None)?;
        self.free(&name)?;
        self.addresses(&name, &spec.addresses)?;
        self.add(Record::new(&name, spec, ManagedBy::Api, secret)).await
    }

    /// Keeps a new record, and begins to run it.
    pub(super) async fn add(&self, record: Record) -> Result<View, Refusal> {
        let name = record.name.as_str();
        let document = record::write(&record, &self.inner.keyring)?;
        self.inner.store.create(document).await.map_err(|error| Refusal::of_store(name, error))?;
        tracing::info!(datasource = name, driver = record.spec.driver, "datasource created");
        self.settle(record.id).await;
        let entry = self.entries().by_id.get(&record.id).cloned();
        if let Some(entry) = entry.as_ref().filter(|entry| self.lost_its_name(entry)) {
            // A live service took the name since it was found free. Who made the record is told, and nothing is kept: unless
            // it was changed by now, or the store fails, when it stays as one that failed and is tried again.
            if self.inner.store.remove(record.id, record.revision).await.is_ok() {
                let why = entry.status().error;
                self.settle(record.id).await;
                tracing::info!(datasource = name, why, "the datasource was not created");
                return Err(Refusal::DatasourceCreationError(why));
            }
        }
        let there = entry.map(|entry| view(&entry));
        // Somebody removed it in this moment: it was there, as it was asked for.
        Ok(there.unwrap_or_else(|| View { record: Arc::new(record), status: super::Status::default() }))
    }

    /// Whether it can't be put on the bus since its name is another's there.
    fn lost_its_name(&self, entry: &Entry) -> bool {
        let record = entry.record();
        record.spec.enabled && !entry.runs() && self.inner.bus.has_service(&record.name)
    }

    /// Changes a datasource. With `expected`, only if it is at that revision.
    ///
    /// # Errors
    ///
    /// Why not; nothing was changed.
    pub async fn change(&self, name_or_id: &str, change: &Change, expected: Option<u64>) -> Result<View, Refusal> {
        let (all, name_or_id, change) = (self.clone(), name_or_id.to_owned(), change.clone());
        whole(async move { all.change_now(&name_or_id, &change, expected).await }).await
    }

    async fn change_now(&self, name_or_id: &str, change: &Change, expected: Option<u64>) -> Result<View, Refusal> {
        let not_found = || Refusal::DatasourceNotFound(name_or_id.to_owned());
        let id = self.find(name_or_id).ok_or_else(not_found)?.record().id;
        for tried in 1.. {
            let record = self.changeable(id, name_or_id).await?;
            let name = record.name.as_str();
            if let Some(expected) = expected.filter(|expected| *expected != record.revision) {
                let (name, found) = (name.to_owned(), record.revision);
                return Err(Refusal::DatasourceRevisionConflict { name, expected, found });
            }
            if let Some(fault) = record.fault.clone().filter(|_| !change.sets_options()) {
                // What can't be read would be written over.
                return Err(Refusal::DatasourceUnreadable { name: name.to_owned(), fault });
            }
            let spec = change.apply(&record.spec);
            if let Some(problem) = spec.problem() {
                return Err(Refusal::InvalidRequest(vec![problem]));
            }
            // Those that it has may have become a service's since: that is no reason to refuse another change.
            let new: BTreeSet<String> = spec.addresses.difference(&record.spec.addresses).cloned().collect();
            self.addresses(name, &new)?;
            // What the options are is of no interest to one that is only enabled or described anew.
            let (spec, secret) = match spec.options == record.spec.options {
                true => (spec, record.secret.clone()),
                false => self.fit(spec, Some(&record.spec))?,
            };
            if spec == record.spec && record.fault.is_none() {
                break;
            }
            let next = record.to(spec, secret);
            match self.inner.store.replace(record::write(&next, &self.inner.keyring)?).await {
                Ok(()) => {
                    tracing::info!(datasource = name, revision = next.revision, "datasource changed");
                    break;
                }
                Err(StoreError::Conflict { .. }) if expected.is_none() && tried < TRIES => {}
                Err(error) => return Err(Refusal::of_store(name, error)),
            }
        }
        self.settle(id).await;
        self.entries().by_id.get(&id).map(|entry| view(entry)).ok_or_else(not_found)
    }

    /// The record as it is kept now, if it is one that the API may change.
    async fn changeable(&self, id: Uuid, name_or_id: &str) -> Result<Record, Refusal> {
        let document = self.inner.store.get(id).await.map_err(|error| Refusal::of_store(name_or_id, error))?;
        let document = document.ok_or_else(|| Refusal::DatasourceNotFound(name_or_id.to_owned()))?;
        let record = record::read(document, &self.inner.keyring);
        match record.managed_by {
            ManagedBy::File => Err(Refusal::DatasourceManagedByFile(record.name)),
            ManagedBy::Api | ManagedBy::Unknown => Ok(record),
        }
    }

    /// Removes a datasource, its tables with it. With `expected`, only if it is at that revision.
    ///
    /// # Errors
    ///
    /// Why not; nothing was changed.
    pub async fn remove(&self, name_or_id: &str, expected: Option<u64>) -> Result<(), Refusal> {
        let (all, name_or_id) = (self.clone(), name_or_id.to_owned());
        whole(async move { all.remove_now(&name_or_id, expected).await }).await
    }

    async fn remove_now(&self, name_or_id: &str, expected: Option<u64>) -> Result<(), Refusal> {
        let not_found = || Refusal::DatasourceNotFound(name_or_id.to_owned());
        let id = self.find(name_or_id).ok_or_else(not_found)?.record().id;
        for tried in 1.. {
            let record = self.changeable(id, name_or_id).await?;
            let name = record.name.as_str();
            match self.inner.store.remove(id, expected.unwrap_or(record.revision)).await {
                Ok(()) => {
                    tracing::info!(datasource = name, "datasource removed");
                    break;
                }
                Err(StoreError::Conflict { .. }) if expected.is_none() && tried < TRIES => {}
                Err(error) => return Err(Refusal::of_store(name, error)),
            }
        }
        self.settle(id).await;
        Ok(())
    }

    /// Those whose driver no file claims or serves: what [`prune`](Self::prune) would remove.
    ///
    /// # Errors
    ///
    /// When a directory can't be read, or a file is still being written: a driver may come from it.
    pub fn orphans(&self) -> Result<Vec<View>, Refusal> {
        let files = self.inner.catalog.files();
        let troubles = self.inner.catalog.troubles().into_iter();
        let unsettled =
            files.iter().filter(|f| f.state == FileState::Incomplete).map(|f| (f.path.clone(), f.reason.clone()));
        if let Some((path, why)) = troubles.chain(unsettled).next() {
            return Err(Refusal::DriversNotKnown(format!("{}: {why}", path.display())));
        }
        let claimed: BTreeSet<&str> = files.iter().filter_map(|file| file.driver.as_deref()).collect();
        let has_driver = |driver: &str| claimed.contains(driver) || self.inner.catalog.serving(driver).is_some();
        let orphan = |view: &View| view.record.managed_by == ManagedBy::Api && !has_driver(&view.record.spec.driver);
        Ok(self.list().into_iter().filter(orphan).collect())
    }

    /// Removes the named ones, each only if its driver is gone still. Answers the names of those removed.
    ///
    /// # Errors
    ///
    /// Why one of them can't be removed; those before it are.
    pub async fn prune(&self, names: &[String]) -> Result<Vec<String>, Refusal> {
        let mut removed = Vec::new();
        for orphan in self.orphans()?.into_iter().filter(|view| names.contains(&view.record.name)) {
            let record = &orphan.record;
            self.remove(&record.id.to_string(), Some(record.revision)).await?;
            removed.push(record.name.clone());
        }
        Ok(removed)
    }

    /// What the configuration file says otherwise than the records.
    #[must_use]
    pub fn compare(&self, file: &BTreeMap<String, Datasource>) -> Vec<Difference> {
        let all: Vec<Arc<Record>> = self.list().into_iter().map(|view| view.record).collect();
        differences(file, &all.iter().map(|record| &**record).collect::<Vec<_>>())
    }

    /// Makes the records that the configuration file manages what it says, in one pass. Names that are taken by others
    /// are left out, as the answer says.
    ///
    /// # Errors
    ///
    /// When the store can't be used; some may be done.
    pub async fn follow_file(&self, file: &BTreeMap<String, Datasource>) -> Result<Vec<Difference>, Refusal> {
        let (all, file) = (self.clone(), file.clone());
        whole(async move { all.follow_file_now(&file).await }).await
    }

    async fn follow_file_now(&self, file: &BTreeMap<String, Datasource>) -> Result<Vec<Difference>, Refusal> {
        let all: Vec<Arc<Record>> = self.list().into_iter().map(|view| view.record).collect();
        let all: Vec<&Record> = all.iter().map(|record| &**record).collect();
        let found = differences(file, &all);
        // At once: the store writes what comes together in one go.
        let done = found.iter().map(async |difference| {
            let name = difference.name();
            let record = all.iter().find(|record| record.name == name);
            let spec = file.get(name).cloned();
            let done = match (difference, record, spec) {
                (Difference::Added { .. }, _, Some(spec)) => {
                    let secret = self.secret_options(&spec);
                    let record = Record::new(name, spec, ManagedBy::File, secret);
                    self.inner.store.create(record::write(&record, &self.inner.keyring)?).await
                }
                (Difference::Changed { .. }, Some(record), Some(spec)) => {
                    let secret = self.secret_options(&spec);
                    let record = Record { managed_by: ManagedBy::File, ..record.to(spec, secret) };
                    self.inner.store.replace(record::write(&record, &self.inner.keyring)?).await
                }
                (Difference::Removed { .. }, Some(record), _) => {
                    self.inner.store.remove(record.id, record.revision).await
                }
                _ => Ok(()),
            };
            done.map_err(|error| Refusal::of_store(name, error))
        });
        let done: Vec<Result<(), Refusal>> = join_all(done).await;
        for difference in &found {
            tracing::info!(datasource = difference.name(), "configuration file: {}", difference.as_str());
        }
        self.synchronize().await.map_err(Refusal::Store)?;
        done.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(found)
    }

    /// The options as the driver declares them, and which of them are secret. `before`: what is changed.
    fn fit(
        &self,
        mut spec: Datasource,
        before: Option<&Datasource>,
    ) -> Result<(Datasource, BTreeSet<String>), Refusal> {
        let driver = &spec.driver;
        let serving = self.inner.catalog.serving(driver).ok_or_else(|| Refusal::InvalidDriver {
            driver: driver.clone(),
            why: self.inner.catalog.why_not(driver),
        })?;
        options::lift(&serving.info.options, &mut spec, before)?;
        spec.options = options::typed(&serving.info.options, &spec.options)?;
        let secret = secrets(&serving.info, &spec);
        Ok((spec, secret))
    }

    /// Which of the options are secret. While its driver is not there nobody can say, and none is shown.
    fn secret_options(&self, spec: &Datasource) -> BTreeSet<String> {
        self.inner.catalog.serving(&spec.driver).map(|serving| secrets(&serving.info, spec)).unwrap_or_default()
    }

    /// Whether the name is free: of records, and of live services.
    fn free(&self, name: &str) -> Result<(), Refusal> {
        let taken = self.entries().by_name.contains_key(name);
        let service = !taken && self.inner.bus.has_service(name);
        match taken || service {
            true => Err(Refusal::DatasourceNameInUse { name: name.to_owned(), service }),
            false => Ok(()),
        }
    }

    /// An address that others share is no service's name.
    fn addresses(&self, name: &str, addresses: &BTreeSet<String>) -> Result<(), Refusal> {
        let taken = addresses.iter().find(|address| *address == name || self.inner.bus.has_service(address));
        taken.map_or(Ok(()), |address| {
            Err(Refusal::InvalidRequest(vec![format!("address {address:?} is a service's own name: choose another")]))
        })
    }
}

/// Does the whole of it, also when who asked is gone by then: what is kept is followed at once.
async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::spawn(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn secrets(info: &DriverInfo, spec: &Datasource) -> BTreeSet<String> {
    let secret = info.options.iter().filter(|option| option.secret && spec.options.contains_key(&option.name));
    secret.map(|option| option.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Bus;
    use crate::datasource::secret::Keyring;
    use crate::datasource::store::{MemoryStore, Store};
    use crate::plugin::Catalog;
    use std::time::Duration;

    struct Bed {
        folder: tempfile::TempDir,
        bus: Bus,
        store: Arc<MemoryStore>,
    }

    fn bed() -> Bed {
        let folder = tempfile::tempdir().unwrap();
        for key in ["ours", "other"] {
            std::fs::create_dir(folder.path().join(key)).unwrap();
        }
        Bed { folder, bus: Bus::new("alpha"), store: Arc::new(MemoryStore::new()) }
    }

    impl Bed {
        fn keyring(&self, name: &str) -> Keyring {
            Keyring::open(&self.folder.path().join(name)).unwrap()
        }

        async fn keep(&self, record: &Record, keyring: &str) {
            self.store.create(record::write(record, &self.keyring(keyring)).unwrap()).await.unwrap();
        }

        async fn start(&self) -> Datasources {
            let (catalog, store) = (Arc::new(Catalog::new("info")), Arc::clone(&self.store) as Arc<dyn Store>);
            let keep = self.folder.path().join("tables");
            Datasources::start(&self.bus, &catalog, store, self.keyring("ours"), keep, None).await.unwrap()
        }
    }

    fn record(spec: Datasource) -> Record {
        Record::new("web", spec, ManagedBy::Api, BTreeSet::new())
    }

    #[tokio::test]
    async fn inv14_a_record_that_cannot_be_read_is_not_written_over() {
        let bed = bed();
        let record = record(Datasource::new("files").option("path", "/srv"));
        bed.keep(&record, "other").await;
        let before = bed.store.get(record.id).await.unwrap();
        let all = bed.start().await;
        assert!(all.get("web").unwrap().record.fault.is_some());
        let refused = all.change("web", &Change::enabled(false), None).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), ("DatasourceUnreadable", 409), "{refused}");
        assert_eq!(bed.store.get(record.id).await.unwrap(), before);
        assert_eq!(all.remove("web", None).await, Ok(()));
    }

    #[tokio::test]
    async fn an_address_that_became_a_services_name_keeps_no_other_change() {
        let bed = bed();
        let addresses = BTreeSet::from(["shared".to_owned()]);
        bed.keep(&record(Datasource { addresses, ..Datasource::new("files") }), "ours").await;
        let all = bed.start().await;
        let _service = bed.bus.register("shared").unwrap();
        let changed = all.change("web", &Change::enabled(false), None).await.unwrap();
        assert!(!changed.record.spec.enabled);
        let own = Change::read(&serde_json::json!({"addresses": ["web"]})).unwrap();
        assert_eq!(all.change("web", &own, None).await.unwrap_err().kind(), "InvalidDatasource");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_host_waits_for_nobody_for_ever() {
        let all = bed().start().await;
        let _turn = all.inner.turn.lock().await;
        all.stop(Duration::from_secs(1)).await;
    }

    #[tokio::test]
    async fn a_runner_that_was_lost_is_replaced() {
        let bed = bed();
        bed.keep(&record(Datasource::new("files")), "ours").await;
        let all = bed.start().await;
        let entry = all.find("web").unwrap();
        entry.break_runner().await;
        assert!(entry.is_lost());
        all.synchronize().await.unwrap();
        assert!(entry.runs() && !entry.is_lost() && bed.bus.has_service("web"));
    }
}
