//! The producers over real rooms.

use super::super::suite::until;
use super::super::{Data, Delivery, Event, Listening, Owner, Settings, Subscription, Topics};
use super::*;
use crate::bus::{Address, SubscribeOptions};
use crate::config::Datasource;
use crate::datasource::secret::Keyring;
use crate::datasource::store::{MemoryStore, Store};
use crate::plugin::{self, By, CallError, Driver, Generation, HostCalls, Journal, Source};
use busway_plugin_api::TableSpec;
use busway_plugin_api::abi::Status;
use busway_plugin_api::event::EventTypeInfo;
use busway_plugin_api::info::DriverInfo;
use busway_plugin_api::message::{AttachRequest, EventBody, OpenRequest, SelfTestRequest};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

struct Bed {
    events: Events,
    bus: Bus,
    catalog: Arc<Catalog>,
    producers: Producers,
}

fn bed() -> Bed {
    let settings = Settings { node: "alpha".to_owned(), updates: std::time::Duration::ZERO, ..Settings::default() };
    let (events, bus, catalog) = (Events::new(settings), Bus::new("alpha"), Arc::new(Catalog::new("info")));
    let producers = Producers::start(&events, &bus, &catalog);
    Bed { events, bus, catalog, producers }
}

impl Bed {
    fn of(&self, of: &str) -> Subscription {
        let topics = Topics::new(self.events.catalogue(), Some(of), None).unwrap();
        self.events.subscribe(&Listening { topics: Some(topics), ..Listening::default() })
    }
}

async fn next(subscription: &Subscription) -> Arc<Event> {
    let limit = std::time::Duration::from_secs(20);
    match tokio::time::timeout(limit, subscription.next()).await.unwrap() {
        Some(Delivery::Event(taken)) => Arc::clone(taken.event()),
        other => panic!("{other:?}"),
    }
}

fn data(event: &Event) -> Value {
    match &event.data {
        Data::Json(data) => data.clone(),
        _ => Value::Null,
    }
}

fn text(event: &Event, field: &str) -> String {
    event.field(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[test]
fn any_name_makes_an_origin() {
    for (name, made) in
        [("web", "web"), ("my file*.so", "my-file-.so"), ("..a..b.", "a.b"), ("", "unnamed"), (".", "unnamed")]
    {
        assert_eq!(origin(name), made);
        check_origin(&origin(name)).unwrap();
    }
    assert_eq!(origin(&"é".repeat(300)).len(), 254);
}

#[tokio::test]
async fn what_is_written_into_the_journal_of_plugins_is_told() {
    let (bed, folder) = (bed(), tempfile::tempdir().unwrap());
    let heard = bed.of("PluginLifecycleEvent");
    let journal = Journal::open(&folder.path().join("history.jsonl")).telling(bed.catalog.telling());
    journal.write(plugin::Event::Started { version: "1".to_owned() });
    let path = folder.path().join("my file.so");
    journal.write(plugin::Event::Refused { path, sha256: None, driver: None, reason: "it is no library".to_owned() });
    let (sha256, driver) = ("ab".to_owned(), "files".to_owned());
    let quarantined = plugin::Event::Quarantined { sha256, driver, reason: "it panicked".to_owned(), by: By::Fault };
    journal.write(quarantined);
    let event = next(&heard).await;
    assert_eq!((&*event.origin, text(&event, "reason").as_str()), ("my-file.so", "it is no library"));
    assert_eq!(data(&event)["state"], "REFUSED");
    let event = next(&heard).await;
    assert_eq!((&*event.origin, &data(&event)["state"]), ("files", &json!("QUARANTINED")));
}

#[tokio::test]
async fn datasources_come_change_and_go() {
    let (mut bed, folder) = (bed(), tempfile::tempdir().unwrap());
    let (store, keyring) = (Arc::new(MemoryStore::new()) as Arc<dyn Store>, Keyring::open(folder.path()).unwrap());
    let (keep, emit) = (folder.path().join("tables"), Some(bed.producers.sources()));
    let all = Datasources::start(&bed.bus, &bed.catalog, store, keyring, keep, emit).await.unwrap();
    bed.producers.follow(&all);
    let (life, changes) = (bed.of("DatasourceLifecycleEvent"), bed.of("DatasourceChangeEvent"));
    let mut file: BTreeMap<String, Datasource> =
        (0..2000).map(|n| (format!("one.{n:04}"), Datasource::new("none"))).collect();
    all.follow_file(&file).await.unwrap();
    for n in 0..2000 {
        let event = next(&life).await;
        assert_eq!(&data(&event)["state"], "NEW", "{n}");
    }
    if let Some(one) = file.get_mut("one.0007") {
        one.description = "another".to_owned();
    }
    all.follow_file(&file).await.unwrap();
    let event = next(&changes).await;
    assert_eq!((&*event.origin, data(&event)), ("one.0007", json!({"datasource_id": "one.0007"})));
    file.retain(|name, _| name == "one.0007");
    all.follow_file(&file).await.unwrap();
    for _ in 0..1999 {
        let event = next(&life).await;
        assert_eq!(&data(&event)["state"], "TERMINATED");
    }
    assert!(changes.try_next().is_none() && life.try_next().is_none());
}

#[tokio::test]
async fn ten_thousand_who_follow_at_once_are_told_of_together() {
    let bed = bed();
    let (new, gone) = (bed.of("NewSubscriptionEvent"), bed.of("DelSubscriptionEvent"));
    let all: Vec<_> = (0..10_000)
        .map(|n| {
            let owner = (n == 0).then(|| "shop".to_owned());
            let options = SubscribeOptions { owner, ..SubscribeOptions::default() };
            bed.bus.subscribe_with("web/pages".parse::<Address>().unwrap(), options).unwrap()
        })
        .collect();
    let (mut told, mut counted) = (0, 0);
    while counted < 10_000 {
        let event = next(&new).await;
        told += 1;
        let said = text(&event, "description");
        counted += said.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(1);
        if said.is_empty() {
            assert_eq!(data(&event), json!({"dispatcher_workflow": "web/pages"}));
        }
    }
    assert!(counted == 10_000 && told < 500, "{counted} in {told}");
    assert!(gone.try_next().is_none());
    drop(all);
    let _ = next(&gone).await;
}

#[derive(Serialize)]
struct Narrow {
    id: u32,
}

#[derive(Serialize)]
struct Wide {
    id: u32,
    name: String,
}

#[tokio::test]
async fn a_table_with_other_columns_or_another_key_is_told() {
    #[derive(Serialize, serde::Deserialize)]
    struct Row {
        id: u32,
    }
    #[derive(Serialize, serde::Deserialize)]
    struct Wider {
        id: u32,
        name: String,
    }
    let bed = bed();
    let (heard, web) = (bed.of("SchemaChangedEvent"), bed.bus.register("web").unwrap());
    let (narrow, wide) = (TableSpec::of::<Row>("pages"), TableSpec::of::<Wider>("pages"));
    for id in 0..3 {
        web.publish(&narrow, &[Narrow { id }]).unwrap();
    }
    web.publish(&wide, &[Wide { id: 1, name: "a".to_owned() }]).unwrap();
    web.publish(&wide.clone().key(["id"]), &[Wide { id: 1, name: "a".to_owned() }]).unwrap();
    for key in ["", "key: id"] {
        let event = next(&heard).await;
        assert_eq!((&*event.origin, text(&event, "description").as_str()), ("web.pages", key));
        assert_eq!(data(&event)["columns"], json!(["id", "name"]));
    }
    assert!(heard.try_next().is_none());
}

/// All of a process hear one log: one test's storm would drown what another listens for.
static LOG: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Loggers, a subscriber that logs an error for each, and an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_errors_in_the_log_ends_and_holds_up_nobody() {
    const EACH: u64 = 25_000;
    let _alone = LOG.lock().await;
    let _ = tracing_subscriber::registry().with(crate::logging::layer()).try_init();
    let bed = bed();
    let (told, said) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counts, sums) = (Arc::clone(&told), Arc::clone(&said));
    let topics = Topics::new(bed.events.catalogue(), Some("LoggingEvent"), None).unwrap();
    let mut subscriber = super::super::SubscriberFactory::new(&bed.events)
        .with_handler(move |told| {
            let text = text(&told.event, "description");
            assert!(!text.starts_with("goes round"), "it feeds itself");
            tracing::error!(target: "elsewhere", "goes round: {text}");
            if text.starts_with("storm") {
                counts.fetch_add(1, Ordering::Relaxed);
            } else if let Some(count) = text.strip_suffix(" more errors were logged: see the log") {
                sums.fetch_add(count.parse().unwrap(), Ordering::Relaxed);
            }
            Err("it always fails".to_owned())
        })
        .build(Some(topics));
    subscriber.activate().unwrap();
    let storm = |thread| {
        move || {
            (0..EACH).for_each(|n| tracing::error!(target: "elsewhere", thread, critical = n % 100 == 0, "storm {n}"))
        }
    };
    let threads: Vec<_> = (0..4).map(|thread| std::thread::spawn(storm(thread))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let all = || told.load(Ordering::Relaxed) + said.load(Ordering::Relaxed);
    until("all of it to be told or counted", || all() >= 4 * EACH).await;
    let one_by_one = told.load(Ordering::Relaxed);
    assert!((1..=400).contains(&one_by_one), "{one_by_one} one by one");
    assert_eq!(subscriber.counters().unwrap().dropped, 0);
}

/// It waits in between, and may go on on another thread: what it logs of an error is no other error that it gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_waits_and_logs_does_not_feed_itself() {
    let _alone = LOG.lock().await;
    let _ = tracing_subscriber::registry().with(crate::logging::layer()).try_init();
    let bed = bed();
    let topics = Topics::new(bed.events.catalogue(), Some("LoggingEvent"), Some("elsewhere.round")).unwrap();
    let subscription = bed.events.subscribe(&Listening { topics: Some(topics), ..Listening::default() });
    let (sends, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listening = tokio::spawn(async move {
        while let Some(Delivery::Event(taken)) = subscription.next().await {
            let said = text(taken.event(), "description");
            taken.done();
            for _ in 0..5 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                tracing::error!(target: "elsewhere::round", "can't make anything of: {said}");
            }
            sends.send(said).unwrap();
        }
    });
    for said in ["first", "second"] {
        tracing::error!(target: "elsewhere::round", "{said}");
        // The one, and nothing of what was logged of it before the other.
        assert_eq!(heard.recv().await.as_deref(), Some(said));
    }
    listening.abort();
}

struct Nobody;

fn unasked<T>() -> Result<T, CallError> {
    Err(CallError::new(Status::NOT_IMPLEMENTED, "not implemented"))
}

impl Driver for Nobody {
    fn describe(&self) -> Result<DriverInfo, CallError> {
        unasked()
    }
    fn attach(&self, _: Arc<dyn HostCalls>, _: &AttachRequest) -> Result<(), CallError> {
        unasked()
    }
    fn open(&self, _: &OpenRequest, _: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        unasked()
    }
    fn set_log_filter(&self, _: &str) -> Result<(), CallError> {
        Ok(())
    }
    fn self_test(&self, _: &SelfTestRequest) -> Result<(), CallError> {
        unasked()
    }
}

fn generation(id: &str, number: u64, types: &[&str]) -> Arc<Generation> {
    let events: Vec<EventTypeInfo> = types.iter().map(|name| EventTypeInfo::new(*name, "")).collect();
    let info = json!({"id": id, "version": "1.0.0", "contract": "1.0.0", "events": events});
    Arc::new(Generation {
        number,
        info: serde_json::from_value(info).unwrap(),
        driver: Arc::new(Nobody),
        pool: plugin::Pool::new("x"),
        cancels: plugin::Pool::new("cancel"),
        sha256: number.to_string(),
        path: "x.so".into(),
        loaded: jiff::Timestamp::now(),
        sources: AtomicUsize::new(0),
        size: 0,
        secrets: Arc::default(),
        health: Arc::default(),
        told: Mutex::default(),
        state: Mutex::default(),
    })
}

#[tokio::test]
async fn a_driver_s_types_are_there_while_it_serves_and_a_name_belongs_to_who_had_it_first() {
    let bed = bed();
    let owner = |name: &str| bed.events.catalogue().get(name).map(|one| one.owner.clone());
    let (doors, windows) = (Some(Owner::Driver("doors".to_owned())), Some(Owner::Driver("windows".to_owned())));
    bed.catalog.serve(generation("doors", 1, &["acme.opened", "acme.closed"]));
    until("the first driver's", || owner("acme.opened") == doors).await;
    bed.catalog.serve(generation("windows", 2, &["acme.opened", "acme.tilted"]));
    until("the second driver's", || owner("acme.tilted") == windows).await;
    assert_eq!(owner("acme.opened"), doors);

    // A source of the next generation may be in charge before that is said to serve.
    let next = generation("doors", 3, &["acme.closed", "acme.locked"]);
    let source = bed.producers.sources().emitter("front", &next);
    source.emit(EventBody::new("acme.locked")).unwrap();
    assert_eq!((owner("acme.locked"), owner("acme.opened")), (doors.clone(), None));
    bed.catalog.serve(next);
    until("it to stay so", || owner("acme.locked") == doors).await;

    bed.catalog.unserve("doors");
    until("none of the first driver's", || owner("acme.locked").is_none() && owner("acme.closed").is_none()).await;
    assert_eq!(owner("acme.tilted"), windows);
    until("what it had first to be the second driver's", || owner("acme.opened") == windows).await;
}

#[tokio::test]
async fn who_emits_too_much_is_told_to_wait() {
    let bed = bed();
    let source = bed.producers.sources().emitter("front", &generation("doors", 1, &["acme.opened"]));
    let refused: Vec<CallError> = (0..1010).filter_map(|_| source.emit(EventBody::new("acme.opened")).err()).collect();
    let last = refused.last().expect("more than a thousand in a second are too many");
    assert_eq!((last.status, last.body.transient), (Status::FULL, true));
    let other = bed.producers.sources().emitter("back", &generation("doors", 1, &["acme.opened"]));
    assert_eq!(other.emit(EventBody::new("acme.opened")), Ok(()), "others are not held up");
}
