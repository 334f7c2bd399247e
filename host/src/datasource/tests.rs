//! Datasources against stores that fail, and records that can't be read.

use super::secret::Keyring;
use super::store::{Document, MemoryStore, Store, StoreError};
use super::{Change, Datasources, Difference, Draft, ManagedBy, Phase, record};
use crate::bus::{Bus, Service};
use crate::config::Datasource;
use crate::plugin::Catalog;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// A store whose disk is full when told so.
#[derive(Debug, Default)]
struct FullStore {
    store: MemoryStore,
    full: AtomicBool,
}

impl FullStore {
    fn when_free<'a>(&self, work: BoxFuture<'a, Result<(), StoreError>>) -> BoxFuture<'a, Result<(), StoreError>> {
        if self.full.load(Ordering::SeqCst) {
            return async { Err(StoreError::Unavailable { reason: "the disk is full".to_owned() }) }.boxed();
        }
        work
    }
}

impl Store for FullStore {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        self.store.all()
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.store.get(id)
    }

    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.when_free(self.store.create(document))
    }

    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.when_free(self.store.replace(document))
    }

    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.when_free(self.store.remove(id, revision))
    }
}

/// A store on whose bus somebody takes the name of a record in the moment in which that is kept.
#[derive(Debug, Default)]
struct TakingStore {
    store: MemoryStore,
    bus: OnceLock<Bus>,
    taken: Mutex<Vec<Service>>,
}

impl Store for TakingStore {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        self.store.all()
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.store.get(id)
    }

    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        let service = self.bus.get().unwrap().register(&document.name).unwrap();
        self.taken.lock().unwrap().push(service);
        self.store.create(document)
    }

    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.replace(document)
    }

    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.remove(id, revision)
    }
}

#[tokio::test]
async fn one_whose_name_is_taken_in_that_moment_is_not_created() {
    let (store, folder) = (Arc::new(TakingStore::default()), tempfile::tempdir().unwrap());
    let (bus, all) = start(Arc::clone(&store) as _, &folder).await;
    store.bus.set(bus.clone()).unwrap();
    let made = |enabled| {
        let spec = Datasource { enabled, ..Datasource::new("files") };
        record::Record::new("web", spec, ManagedBy::Api, BTreeSet::new())
    };
    let refused = all.add(made(true)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), ("DatasourceCreationError", 409));
    let taken = bus.register("web").unwrap_err().to_string();
    assert_eq!(refused.to_string(), format!("Datasource could not be created on the DSE: {taken}"));
    assert_eq!((store.all().await.unwrap(), all.list().len()), (Vec::new(), 0), "nothing is kept");
    assert!(bus.has_service("web"), "whose name it is has it still");
    store.taken.lock().unwrap().clear();
    // One that is not to run needs no name on the bus yet.
    assert_eq!(all.add(made(false)).await.unwrap().status.phase, Phase::Disabled);
}

async fn start(store: Arc<dyn Store>, folder: &TempDir) -> (Bus, Datasources) {
    let bus = Bus::new("alpha");
    let keyring = Keyring::open(folder.path()).unwrap();
    let catalog = Arc::new(Catalog::new("info"));
    let all = Datasources::start(&bus, &catalog, store, keyring, folder.path().join("tables"), None).await.unwrap();
    (bus, all)
}

fn two() -> BTreeMap<String, Datasource> {
    ["one", "two"].map(|name| (name.to_owned(), Datasource::new("files"))).into()
}

#[tokio::test]
async fn inv14_a_full_disk_refuses_changes_with_its_reason_and_what_runs_goes_on() {
    let (store, folder) = (Arc::new(FullStore::default()), tempfile::tempdir().unwrap());
    let keyring = Keyring::open(folder.path()).unwrap();
    let kept = record::Record::new("made", Datasource::new("files"), ManagedBy::Api, BTreeSet::new());
    store.create(record::write(&kept, &keyring).unwrap()).await.unwrap();
    let (bus, all) = start(Arc::clone(&store) as _, &folder).await;
    store.full.store(true, Ordering::SeqCst);
    let text =
        "The datasources can't be changed now: the store can't be used now: the disk is full; those that run go on";
    let refused = [
        all.change("made", &Change::enabled(false), None).await.map(drop).unwrap_err(),
        all.remove("made", None).await.unwrap_err(),
        all.follow_file(&two()).await.map(drop).unwrap_err(),
    ];
    for refusal in refused {
        assert_eq!((refusal.code(), refusal.kind(), refusal.to_string().as_str()), (503, "StoreUnavailable", text));
    }
    assert!(bus.has_service("made") && !bus.has_service("one"));
    assert_eq!(all.get("made").unwrap().record.revision, 1);
    store.full.store(false, Ordering::SeqCst);
    all.follow_file(&two()).await.unwrap();
    assert!(bus.has_service("one") && bus.has_service("two"));
    all.remove("made", Some(1)).await.unwrap();
    assert!(!bus.has_service("made"));
    all.stop(Duration::from_secs(10)).await;
}

/// Fault 8 of the predecessor: one that is broken ended the whole synchronisation.
#[tokio::test]
async fn fault08_a_record_that_cannot_be_read_is_shown_and_holds_up_no_other() {
    let (store, folder, other) =
        (Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (keyring, lost) = (Keyring::open(folder.path()).unwrap(), Keyring::open(other.path()).unwrap());
    let keep = |name: &str, keyring: &Keyring| {
        let spec = Datasource::new("files").option("path", "/srv");
        record::write(&record::Record::new(name, spec, ManagedBy::Api, BTreeSet::new()), keyring).unwrap()
    };
    let sealed = keep("b-sealed", &lost);
    let garbled = Document { body: "{".to_owned(), ..keep("a-garbled", &keyring) };
    let newer = Document { body: json!({"form": 99}).to_string(), ..keep("c-newer", &keyring) };
    for document in [garbled, sealed.clone(), newer, keep("d-good", &keyring)] {
        store.create(document).await.unwrap();
    }
    let (bus, all) = start(store, &folder).await;
    let phases: Vec<(String, Phase)> =
        all.list().into_iter().map(|view| (view.record.name.clone(), view.status.phase)).collect();
    let expected = [
        ("a-garbled", Phase::Failed),
        ("b-sealed", Phase::Failed),
        ("c-newer", Phase::Failed),
        ("d-good", Phase::Waiting),
    ];
    assert_eq!(phases, expected.map(|(name, phase)| (name.to_owned(), phase)));
    assert!(bus.has_service("d-good") && !bus.has_service("b-sealed"));
    let error = |name: &str| all.get(name).unwrap().status.error;
    assert_eq!(
        error("c-newer"),
        "the record can't be read: it has form 99, and this host reads up to 1: a newer one wrote it"
    );
    assert!(error("b-sealed").starts_with("the record's options can't be read: this secret is sealed with the key "));
    assert!(!error("b-sealed").contains("/srv"));
    // What is not changed would be lost.
    let refused = all.change("b-sealed", &Change::enabled(false), None).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), (409, "DatasourceUnreadable"));
    let id = all.get("b-sealed").unwrap().record.id;
    assert_eq!(all.inner.store.get(id).await.unwrap(), Some(sealed));
    // It can be removed, and made anew.
    all.remove("b-sealed", None).await.unwrap();
    assert!(all.get("b-sealed").is_none());
    all.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_name_that_a_service_has_is_refused_and_a_record_of_it_waits_for_it() {
    let (store, folder) = (Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap());
    let keyring = Keyring::open(folder.path()).unwrap();
    let kept = record::Record::new("web", Datasource::new("files"), ManagedBy::Api, BTreeSet::new());
    let bus = Bus::new("alpha");
    let service = bus.register("web").unwrap();
    store.create(record::write(&kept, &keyring).unwrap()).await.unwrap();
    let catalog = Arc::new(Catalog::new("info"));
    let all = Datasources::start(&bus, &catalog, store, keyring, folder.path().join("tables"), None).await.unwrap();
    let status = all.get("web").unwrap().status;
    assert_eq!((status.phase, &*status.error), (Phase::Failed, "a service named \"web\" already exists"));
    drop(service);
    all.synchronize().await.unwrap();
    assert_eq!(all.get("web").unwrap().status.phase, Phase::Waiting);
    let draft = Draft::read(&json!({"name": "web", "driver": "files"})).unwrap();
    assert_eq!(all.create(draft).await.unwrap_err().kind(), "InvalidDriver");
    all.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_file_has_its_own_back_when_a_record_cannot_be_read() {
    let (store, folder) = (Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap());
    let newer = |managed_by: &str| json!({"form": 99, "managed_by": managed_by}).to_string();
    for (name, body) in [("filed", newer("file")), ("garbled", "{".to_owned()), ("made", newer("api"))] {
        let document = Document { id: Uuid::new_v4(), name: name.to_owned(), revision: 1, body };
        store.create(document).await.unwrap();
    }
    let (_bus, all) = start(store, &folder).await;
    let known = |all: &Datasources| -> Vec<(&'static str, bool)> {
        all.list().iter().map(|view| (view.record.managed_by.as_str(), view.record.fault.is_some())).collect()
    };
    assert_eq!(known(&all), [("file", true), ("unknown", true), ("api", true)]);
    assert_eq!(all.follow_file(&BTreeMap::new()).await.unwrap(), [Difference::Removed { name: "filed".to_owned() }]);
    let file = ["garbled", "made"].map(|name| (name.to_owned(), Datasource::new("files")));
    let changed = Difference::Changed { name: "garbled".to_owned(), keys: vec!["driver".to_owned()] };
    let expected = [changed, Difference::Clash { name: "made".to_owned() }];
    assert_eq!(all.follow_file(&file.into()).await.unwrap(), expected);
    assert_eq!(known(&all), [("file", false), ("api", true)]);
    assert!(all.get("garbled").unwrap().record.created > jiff::Timestamp::UNIX_EPOCH);
    all.stop(Duration::from_secs(10)).await;
}

/// A store whose reading may wait for a sign, and whose records' bodies may be broken unnoticed.
#[derive(Debug, Default)]
struct PeculiarStore {
    store: MemoryStore,
    sign: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    seen: AtomicBool,
    broken: AtomicBool,
}

impl Store for PeculiarStore {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        async {
            if let Some(sign) = self.sign.lock().unwrap().take() {
                self.seen.store(sign.recv_timeout(Duration::from_secs(5)).is_ok(), Ordering::SeqCst);
            }
            let mut documents = self.store.all().await?;
            if self.broken.load(Ordering::SeqCst) {
                documents.iter_mut().for_each(|document| document.body = "{".to_owned());
            }
            Ok(documents)
        }
        .boxed()
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        self.store.get(id)
    }

    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.create(document)
    }

    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.replace(document)
    }

    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.remove(id, revision)
    }
}

#[tokio::test]
async fn looking_at_all_records_keeps_no_other_task_waiting_and_reads_what_changed_alone() {
    let (store, folder) = (Arc::new(PeculiarStore::default()), tempfile::tempdir().unwrap());
    let (_bus, all) = start(Arc::clone(&store) as _, &folder).await;
    all.follow_file(&two()).await.unwrap();
    let (give, sign) = std::sync::mpsc::channel();
    *store.sign.lock().unwrap() = Some(sign);
    let other = tokio::spawn(async move { give.send(()) });
    store.broken.store(true, Ordering::SeqCst);
    all.synchronize().await.unwrap();
    other.await.unwrap().unwrap();
    assert!(store.seen.load(Ordering::SeqCst), "another task ran while the records were read");
    assert!(all.list().iter().all(|view| view.record.fault.is_none()), "they were not read again");
    let one = all.get("one").unwrap().record;
    let next = Document { id: one.id, name: one.name.clone(), revision: one.revision + 1, body: String::new() };
    store.replace(next).await.unwrap();
    all.synchronize().await.unwrap();
    let faults: Vec<bool> = all.list().iter().map(|view| view.record.fault.is_some()).collect();
    assert_eq!(faults, [true, false]);
    all.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn what_is_not_to_be_kept_leaves_the_disk_though_nothing_runs() {
    let (store, folder) = (Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap());
    let keyring = Keyring::open(folder.path()).unwrap();
    let of = |id: Uuid| folder.path().join("tables").join(id.to_string());
    let mut ids = Vec::new();
    for (name, persist_data) in [("kept", true), ("not", false), ("garbled", true)] {
        let spec = Datasource { persist_data, enabled: false, ..Datasource::new("files") };
        let record = record::Record::new(name, spec, ManagedBy::Api, BTreeSet::new());
        let mut document = record::write(&record, &keyring).unwrap();
        if name == "garbled" {
            document.body = "{".to_owned();
        }
        store.create(document).await.unwrap();
        std::fs::create_dir_all(of(record.id)).unwrap();
        ids.push(record.id);
    }
    let there = || ids.iter().map(|id| of(*id).exists()).collect::<Vec<_>>();
    let (_bus, all) = start(store, &folder).await;
    assert_eq!(there(), [true, false, true]);
    let off = Change::read(&json!({"persist_data": false})).unwrap();
    all.change("kept", &off, None).await.unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while there()[0] {
        assert!(std::time::Instant::now() < end, "its tables are still there");
        tokio::task::yield_now().await;
    }
    assert_eq!(there(), [false, false, true]);
    all.stop(Duration::from_secs(10)).await;
}
