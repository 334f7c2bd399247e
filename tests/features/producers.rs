//! What happens in a host, told as events.

use busway::config::{Config, Datasource, TypeOfEvents};
use busway::event::{Data, Delivery, Event, Listening, Owner, Subscription, Topics};
use busway::node::Node;
use busway_tests::DEADLINE;
use busway_tests::fixture::Fixture;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

struct Bed {
    folder: TempDir,
    node: Node,
}

fn library(folder: &Path) -> PathBuf {
    folder.join("plugins/libfixture.so")
}

fn config(folder: &Path) -> Config {
    let mut config = Config { node: Some("alpha".to_owned()), ..Config::default() };
    config.state_dir = Some(folder.join("state"));
    config.plugins.vet.program = Some(busway_tests::workspace::program());
    config.plugins.directories = vec![folder.join("plugins")];
    config.plugins.scan_interval = Duration::from_millis(200);
    config.listen.socket = Some(folder.join("bus.sock"));
    config.events.rate = 0;
    config.events.update_interval = Duration::ZERO;
    config
}

fn fixture() -> Datasource {
    Datasource::new("fixture-driver-aa").poll(Duration::from_millis(50)).option("rows", 2)
}

impl Bed {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        Fixture::new().rename_into(&library(folder.path()));
        let mut config = config(folder.path());
        change(&mut config);
        let node = Node::start(&config).await.unwrap();
        Self { folder, node }
    }

    /// From the first event on.
    fn of(&self, of: Option<&str>, origin: Option<&str>) -> Heard {
        let topics = Topics::new(self.node.events().catalogue(), of, origin).unwrap();
        let listening = Listening { topics: Some(topics), ..Listening::default() };
        let resumed = self.node.events().resume(&listening, 0);
        let before: Vec<_> = resumed.past.flat_map(|page| page.events).map(|told| told.event).collect();
        let before = before.into_iter();
        Heard { before, subscription: resumed.subscription }
    }

    async fn tell(&self, event: Value) -> Value {
        self.node.bus().call("one", "tell", json!({"event": event})).await.unwrap()
    }
}

struct Heard {
    before: std::vec::IntoIter<Arc<Event>>,
    subscription: Subscription,
}

impl Heard {
    async fn next(&mut self) -> Arc<Event> {
        if let Some(event) = self.before.next() {
            return event;
        }
        let next = tokio::time::timeout(DEADLINE, self.subscription.next()).await.expect("an event in time");
        match next {
            Some(Delivery::Event(taken)) => Arc::clone(taken.event()),
            other => panic!("{other:?}"),
        }
    }

    /// The next ones' states.
    async fn states(&mut self, count: usize) -> Vec<String> {
        let mut states = Vec::new();
        for _ in 0..count {
            let event = self.next().await;
            states.push(data(&event)["state"].as_str().unwrap_or("none").to_owned());
        }
        states
    }
}

fn data(event: &Event) -> Value {
    match &event.data {
        Data::Json(data) => data.clone(),
        _ => Value::Null,
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * DEADLINE, test).await }).expect("all of it in time");
}

#[test]
fn a_host_tells_of_itself_its_plugins_and_its_datasources() {
    run(async {
        let bed = Bed::start(|config| drop(config.datasource.insert("one".to_owned(), fixture()))).await;
        let mut host = bed.of(Some("ContainerLifecycleEvent"), Some("alpha"));
        assert_eq!(host.states(3).await, ["NEW", "READY", "ACTIVE"]);
        let started = bed.of(Some("1076"), None).next().await;
        assert_eq!(data(&started), json!({"startup_names": ["fixture-driver-aa", "one"]}));

        let mut plugins = bed.of(Some("PluginLifecycleEvent"), Some("fixture-driver-aa"));
        assert_eq!(plugins.states(3).await, ["STAGED", "VETTED", "LOADED"]);
        let mut life = bed.of(Some("DatasourceLifecycleEvent"), Some("one"));
        assert_eq!(life.states(1).await, ["NEW"]);
        let updated = bed.of(Some("DatasourceUpdateEvent"), Some("one")).next().await;
        assert_eq!(updated.field("sender"), Some(json!("alpha")));

        // Scans of the directory in between tell nothing twice.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Fixture::new().revision(2).rename_into(&library(bed.folder.path()));
        assert_eq!(plugins.states(5).await, ["STAGED", "VETTED", "LOADED", "SWITCHED", "RETIRED"]);
        Fixture::new().fault("open", "error").revision(3).rename_into(&library(bed.folder.path()));
        let held = plugins.states(4).await;
        assert_eq!(held, ["STAGED", "VETTED", "LOADED", "HELD_BACK"]);
        Fixture::new().fault("describe", "rules").rename_into(&library(bed.folder.path()));
        let refused = plugins.states(3).await;
        assert_eq!(refused, ["STAGED", "REFUSED", "HELD_BACK"], "the vetter says no");

        bed.node.stop().await;
        assert_eq!(host.states(1).await, ["TERMINATED"]);
    });
}

#[test]
fn what_a_source_emits_is_told_and_what_is_wrong_is_refused() {
    run(async {
        let kind = "acme.door".to_owned();
        let door = TypeOfEvents {
            schema: Some(json!({"type": "object", "properties": {"badge": {"type": "string"}}, "required": ["badge"]})),
            ..TypeOfEvents::default()
        };
        let bed = Bed::start(|config| {
            drop(config.datasource.insert("one".to_owned(), fixture().option("password", "correct-horse")));
            drop(config.events.types.insert(kind, door));
        })
        .await;
        let mut heard = bed.of(Some("acme.door"), None);
        let ok = json!({"status": 0});
        assert_eq!(bed.tell(json!({"type": "acme.door", "body": {"badge": "ada"}})).await, ok);
        let event = heard.next().await;
        assert_eq!((&*event.origin, event.field("sender")), ("one", Some(json!("one"))));
        assert_eq!(data(&event), json!({"badge": "ada"}));
        let body = json!({"badge": "bob", "description": "at night"});
        let topic = "acme/door.door.7";
        assert_eq!(bed.tell(json!({"type": "acme.door", "origin": "door.7", "topic": topic, "body": body})).await, ok);
        let event = heard.next().await;
        assert_eq!((&*event.origin, event.field("description")), ("door.7", Some(json!("at night"))));

        let cases = [
            (
                json!({"type": "acme.dor"}),
                "there is no event type \"acme.dor\", did you mean \"acme.door\"?: busway event types lists them",
            ),
            (json!({"type": "acme.door"}), "event type \"acme.door\": \"badge\" is missing: it is a text"),
            (
                json!({"type": "acme.door", "body": {"badge": 7}}),
                "event type \"acme.door\": \"badge\" is 7, and must be a text",
            ),
            (json!({"type": "acme.door", "body": [1]}), "the body of an event must be an object: its type's fields"),
            (
                json!({"type": "acme.door", "origin": "a b", "body": {"badge": "x"}}),
                "\"a b\" can't be an origin: it has white space or control characters",
            ),
            (
                json!({"type": "acme.door", "topic": "acme.door.two", "body": {"badge": "x"}}),
                "topic \"acme.door.two\" is not where an event of this type and origin is told, which is \"acme/door.one\": \
                 leave it empty",
            ),
            (
                json!({"type": "1116"}),
                "event type \"busway.DatasetStreamingEvent\" can't be published: what comes of it is in no envelope; it can be \
                 subscribed to",
            ),
        ];
        for (event, message) in cases {
            let said = bed.tell(event.clone()).await;
            assert_eq!(said, json!({"status": 3, "message": message}), "{event}");
        }
        assert!(heard.subscription.try_next().is_none(), "nobody was told");
        let leak =
            json!({"type": "acme.door", "body": {"badge": "it is correct-horse", "description": "correct-horse"}});
        assert_eq!(bed.tell(leak).await, ok);
        let event = heard.next().await;
        assert_eq!(
            (data(&event), event.field("description")),
            (json!({"badge": "it is <hidden>"}), Some(json!("<hidden>")))
        );
        bed.node.stop().await;
    });
}

#[test]
fn over_a_reload_no_event_is_lost_or_doubled_and_the_driver_s_types_follow() {
    run(async {
        let bed =
            Bed::start(|config| drop(config.datasource.insert("one".to_owned(), fixture().option("beats", true))))
                .await;
        let kind = "fixture.fixture-driver-aa.beat";
        let about =
            |bed: &Bed| bed.node.events().catalogue().get(kind).map(|one| (one.about.clone(), one.owner.clone()));
        let owner = Owner::Driver("fixture-driver-aa".to_owned());
        let mut beats = bed.of(Some("Event"), Some("one"));
        let (mut seen, mut last): (Vec<(u64, u64)>, u64) = (Vec::new(), 0);
        while last < 3 {
            let event = beats.next().await;
            if &*event.kind != kind {
                continue;
            }
            let beat = data(&event);
            let number = |name: &str| beat[name].as_u64().unwrap();
            seen.push((number("generation"), number("beats")));
            if number("generation") == 2 && number("beats") == 0 {
                assert!(number("refused") > 0, "it was in standby, and beat all the same");
            }
            let settled = |revision: u32| Some((format!("A beat of revision {revision}"), owner.clone()));
            match (last, seen.len()) {
                (0, 20) => {
                    assert_eq!(about(&bed), settled(1));
                    Fixture::new().revision(2).rename_into(&library(bed.folder.path()));
                    last = 1;
                }
                (1, _) if number("generation") == 2 && number("beats") == 20 => {
                    assert_eq!(about(&bed), settled(2));
                    last = 3;
                }
                _ => {}
            }
        }
        let generations: Vec<u64> = seen.iter().map(|(generation, _)| *generation).collect();
        assert!(generations.is_sorted(), "who is paused for good says nothing any more");
        for generation in [1, 2] {
            let own: Vec<u64> = seen.iter().filter(|(of, _)| *of == generation).map(|(_, beat)| *beat).collect();
            assert_eq!(own, (0..own.len() as u64).collect::<Vec<_>>(), "generation {generation}");
        }
        bed.node.stop().await;
    });
}

#[test]
fn a_configuration_s_types_follow_it() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("busway.toml");
        let write = |types: &str| {
            let base = "node = 'alpha'\nstate_dir = 'state'\n[listen]\nsocket = 'bus.sock'\n";
            std::fs::write(&file, format!("{base}{types}")).unwrap();
        };
        std::fs::write(folder.path().join("door.json"), r#"{"type": "object", "properties": {"badge": {}}}"#).unwrap();
        write("[events.types.'acme.door']\nschema_file = 'door.json'\nbase = 'acme.any'\n[events.types.'acme.any']\n");
        let mut config = Config::read(&file).unwrap();
        config.plugins.vet.program = Some(busway_tests::workspace::program());
        let node = Node::start(&config).await.unwrap();
        let named = |name: &str| node.events().catalogue().get(name);
        assert_eq!(named("acme.door").unwrap().base.as_deref(), Some("acme.any"));
        assert_eq!(named("acme.door").unwrap().fields[0].name, "badge");
        write("[events.types.'acme.window']\nid = 70001\n");
        node.reload_configuration().await.unwrap();
        assert!(named("acme.door").is_none() && named("acme.any").is_none());
        assert_eq!(node.events().catalogue().find("70001"), [named("acme.window").unwrap()]);
        write("[events.types.'busway.Event']\n");
        let error = node.reload_configuration().await.unwrap_err().to_string();
        assert_eq!(
            error,
            "the configuration: events.types: event type \"busway.Event\" is the host's: choose another name, such as one \
             that begins with your own domain"
        );
        assert!(named("acme.window").is_some(), "nothing was changed");
        node.stop().await;
    });
}
