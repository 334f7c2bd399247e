//! Datasources on the bus: their actions are calls, their drivers call other services, and hear who watches their tables.

use busway::bus::{Address, Bus, CallError, Fault, Message, Selector};
use busway::config::{Config, Datasource};
use busway::node::Node;
use busway_tests::DEADLINE;
use busway_tests::fixture::Fixture;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

const OTHER: &str = "fixture-driver-bb";

/// Sources `one` and `two` of two drivers: a reload of one leaves the other.
struct Hosted {
    folder: TempDir,
    node: Node,
}

fn datasource(driver: &str, options: Value) -> Datasource {
    Datasource {
        deadline: Duration::from_secs(10),
        options: options.as_object().cloned().unwrap(),
        ..Datasource::new(driver).poll(Duration::from_millis(50))
    }
}

impl Hosted {
    async fn start(fixture: &Fixture, one: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        fixture.rename_into(&plugins.join("libfixture.so"));
        fixture.clone().id(OTHER).rename_into(&plugins.join("libother.so"));
        let mut config = Config { state_dir: Some(folder.path().join("state")), ..Config::default() };
        config.plugins.vet.program = Some(busway_tests::workspace::program());
        config.plugins.directories = vec![plugins];
        config.plugins.scan_interval = Duration::from_millis(500);
        config.listen.socket = Some(folder.path().join("bus.sock"));
        let add = |(name, datasource): (&str, Datasource)| (name.to_owned(), datasource);
        config.datasource.extend(
            [
                ("one", datasource("fixture-driver-aa", one)),
                ("two", datasource(OTHER, json!({}))),
                ("gone", datasource("no-such-driver", json!({}))),
                ("deaf", datasource(OTHER, json!({"fault": "subscribed_hang"}))),
                ("bad", datasource(OTHER, json!({"fault": "open_error"}))),
            ]
            .map(add),
        );
        Self { node: Node::start(&config).await.unwrap(), folder }
    }

    fn bus(&self) -> &Bus {
        self.node.bus()
    }

    /// Replaces the driver of `one`.
    fn reload(&self, revision: u32) {
        Fixture::new().revision(revision).rename_into(&self.folder.path().join("plugins/libfixture.so"));
    }

    async fn call(&self, service: &str, method: &str, args: Value) -> Result<Value, CallError> {
        self.bus().call(service, method, args).await
    }

    /// What `one` gets when it calls somebody.
    async fn called(&self, service: &str, method: &str, args: Value) -> Result<Value, CallError> {
        self.call("one", "relay", json!({"service": service, "method": method, "args": args})).await
    }

    /// Asks again and again until the answer is this.
    async fn until(&self, service: &str, method: &str, wanted: Value) {
        let mut last = None;
        let asked = tokio::time::timeout(DEADLINE, async {
            while last != Some(Ok(wanted.clone())) {
                last = Some(self.call(service, method, Value::Null).await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let in_time = asked.await.is_ok();
        assert!(in_time, "waited for {wanted} of {service}/{method}; instead: {last:?}");
    }
}

/// Runs a test on a host of its own.
fn hosted(test: impl AsyncFnOnce(&Hosted)) {
    hosted_with(json!({"pushes": true}), test);
}

/// The same, with other options for `one`.
fn hosted_with(one: Value, test: impl AsyncFnOnce(&Hosted)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Outside the time that the test has: it may have to be built.
    let fixture = Fixture::new();
    let whole = async {
        let hosted = Hosted::start(&fixture, one).await;
        hosted.until("one", "waiting", json!(0)).await;
        hosted.until("two", "waiting", json!(0)).await;
        test(&hosted).await;
        hosted.node.stop().await;
    };
    runtime.block_on(async { tokio::time::timeout(DEADLINE * 2, whole).await }).expect("all of it in time");
}

fn fault(result: Result<Value, CallError>) -> Fault {
    match result {
        Err(CallError::Failed(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

fn said(result: Result<Value, CallError>) -> (String, String) {
    let Fault { kind, message, .. } = fault(result);
    (kind, message)
}

fn pair(kind: &str, message: &str) -> (String, String) {
    (kind.to_owned(), message.to_owned())
}

#[test]
fn actions_are_methods_of_the_service() {
    hosted(async |host| {
        assert_eq!(host.call("one", "echo", json!({"text": "hi"})).await, Ok(json!("hi")));
        assert_eq!(host.call("one", "echo", json!(["in order"])).await, Ok(json!("in order")));
        let wrong = fault(host.call("one", "echo", json!({"txt": 1})).await);
        assert_eq!(
            (wrong.kind.as_str(), wrong.message.as_str()),
            (
                "invalid_arguments",
                "the arguments of \"echo\" are wrong: unknown argument \"txt\": it takes text; missing argument \"text\""
            )
        );
        assert_eq!(
            wrong.data["problems"],
            json!(["unknown argument \"txt\": it takes text", "missing argument \"text\""])
        );
        let text = "echo takes an object of named arguments, or a list of them in their order: 7 is neither";
        assert_eq!(said(host.call("one", "echo", json!(7)).await), pair("invalid_arguments", text));
        let unknown = host.call("one", "ecko", Value::Null).await.unwrap_err().to_string();
        assert_eq!(
            unknown,
            "service \"one\" has no method \"ecko\": it has echo, get_last_published_data_with_seqnum, \
             get_snapshot, hang, held, info, leak, methods, panic, ping, published, relay, status, subscribers, \
             subscriptions, tell, wait, waiting, watched"
        );
        // The service's own, though a driver may have an action of that name.
        assert_eq!(host.call("one", "ping", json!(7)).await, Ok(json!(7)));
        let (kind, text) = said(host.call("bad", "echo", json!({"text": "hi"})).await);
        assert_eq!(kind, "not_open");
        assert!(text.starts_with("datasource \"bad\" is failed: fixture fails on purpose (at "), "{text}");
        let (kind, text) = said(host.call("two", "panic", Value::Null).await);
        assert_eq!(kind, "panicked");
        assert!(text.starts_with("panicked: fixture panics in an action (at "), "{text}");
    });
}

#[test]
fn a_source_calls_an_action_of_another() {
    hosted(async |host| {
        assert_eq!(host.called("two", "echo", json!({"text": "hi"})).await, Ok(json!("hi")));
        assert_eq!(host.called("_host", "ping", json!([1])).await, Ok(json!([1])));
        // The other's error is what it gave.
        let direct = fault(host.call("two", "echo", json!({})).await);
        assert_eq!(fault(host.called("two", "echo", json!({})).await).data["problems"], direct.data["problems"]);
        assert_eq!(said(host.called("two", "echo", json!({})).await), (direct.kind, direct.message));
        // The other's panic is not this one's.
        assert_eq!(fault(host.called("two", "panic", Value::Null).await).kind, "failed");
        assert_eq!(host.call("one", "echo", json!(["well"])).await, Ok(json!("well")));
    });
}

#[test]
fn a_call_that_can_t_be_made_says_why() {
    hosted(async |host| {
        assert_eq!(
            said(host.called("nobody", "echo", Value::Null).await),
            pair("not_found", "service \"nobody\" is not there: there are bad, deaf, gone, one, two")
        );
        assert_eq!(
            said(host.called("one", "echo", json!(["me"])).await),
            pair("refused", "a source can't call its own service \"one\": it would wait for itself")
        );
        let (kind, text) = said(host.called("two", "ecko", Value::Null).await);
        assert_eq!(kind, "not_implemented");
        assert!(text.starts_with("service \"two\" has no method \"ecko\": it has echo, get_"), "{text}");
        let late = json!({"service": "two", "method": "wait", "deadline_ms": 50});
        assert_eq!(
            said(host.call("one", "relay", late).await),
            pair("timed_out", "service \"two\" did not answer \"wait\" within 50ms")
        );
        // It was told.
        host.until("two", "waiting", json!(0)).await;
    });
}

#[test]
fn a_caller_that_goes_takes_all_its_calls_with_it() {
    hosted(async |host| {
        let bus = host.bus().clone();
        let args = json!({"service": "two", "method": "wait", "deadline_ms": 600_000});
        let call = tokio::spawn(async move { bus.call("one", "relay", args).await });
        host.until("two", "waiting", json!(1)).await;
        call.abort();
        host.until("two", "waiting", json!(0)).await;
    });
}

#[test]
fn a_reload_ends_what_the_old_source_waits_for_and_nobody_else_s_call() {
    hosted_with(json!({"lingers": true}), async |host| {
        let bus = host.bus().clone();
        let args = json!({"service": "two", "method": "wait", "deadline_ms": 600_000});
        let call = tokio::spawn(async move { bus.call("one", "relay", args).await });
        host.until("two", "waiting", json!(1)).await;
        host.reload(2);
        assert_eq!(said(call.await.unwrap()), pair("cancelled", "cancelled: the source was paused"));
        host.until("two", "waiting", json!(0)).await;
        // What comes while one generation follows another waits for the next.
        for revision in 3..5 {
            let mut numbers = host.bus().subscribe("one/numbers".parse::<Address>().unwrap());
            assert!(matches!(numbers.next().await.message, Message::Snapshot(_)));
            host.reload(revision);
            let next = numbers.next();
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut next => break,
                    answer = host.call("one", "echo", json!(["on"])) => assert_eq!(answer, Ok(json!("on"))),
                }
            }
        }
    });
}

#[test]
fn a_source_hears_who_watches_its_tables() {
    hosted(async |host| {
        host.until("one", "watched", json!([])).await;
        let numbers: Address = "one/numbers".parse().unwrap();
        let first = host.bus().subscribe(&numbers);
        host.until("one", "watched", json!(["numbers"])).await;
        let second = host.bus().subscribe("one/*".parse::<Selector>().unwrap());
        host.until("one", "watched", json!(["numbers", "pushed", "ticks"])).await;
        drop(first);
        // The next generation is told anew.
        let (epoch, to) = host.bus().table(&numbers).map(|view| (view.epoch, view.to)).unwrap();
        host.reload(2);
        let mut steps = host.bus().subscribe(&numbers);
        while host.bus().table(&numbers).is_none_or(|view| (view.epoch, view.to) == (epoch, to)) {
            steps.next().await;
        }
        drop(steps);
        host.until("one", "watched", json!(["numbers", "pushed", "ticks"])).await;
        drop(second);
        host.until("one", "watched", json!([])).await;
    });
}

#[test]
fn a_table_that_is_published_while_it_is_wanted_is_met_by_patterns() {
    hosted(async |host| {
        assert_eq!(host.bus().table(&"one/pushed".parse().unwrap()).map(|view| view.to), None);
        let mut pushed = host.bus().subscribe("*/pushed".parse::<Selector>().unwrap());
        let delivery = pushed.next().await;
        let Message::Snapshot(view) = delivery.message else { panic!("a snapshot comes first") };
        assert_eq!((view.address.to_string(), view.rows.num_rows()), ("one/pushed".to_owned(), 1));
    });
}

#[test]
fn a_source_that_hangs_when_it_is_told_keeps_no_subscriber_waiting() {
    hosted(async |host| {
        let numbers: Address = "deaf/numbers".parse().unwrap();
        let mut subscription = host.bus().subscribe(&numbers);
        assert!(matches!(subscription.next().await.message, Message::Snapshot(_)));
        drop(subscription);
        assert_eq!(host.call("deaf", "echo", json!(["still here"])).await, Ok(json!("still here")));
        assert_eq!(host.call("deaf", "watched", Value::Null).await, Ok(Value::Null));
    });
}
