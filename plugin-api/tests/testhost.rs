//! The host in memory keeps the contract's rules, and keeps sources apart.

use crate::support::{LONG, Mock, open, open_driver};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::EventBody;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::json;
use busway_plugin_api::testing::TestHost;
use std::sync::mpsc;
use std::time::Duration;

fn with_context(host: &TestHost) -> (busway_plugin_api::testing::TestSource, Context) {
    let (context, contexts) = mpsc::channel();
    let source = open(host, move |own| {
        context.send(own).unwrap();
        Mock::default()
    });
    (source, contexts.recv().unwrap())
}

#[test]
fn it_hears_what_a_source_tells() {
    let host = TestHost::new();
    let (source, context) = with_context(&host);
    let event = EventBody { topic: "t".into(), kind: "k".into(), origin: "o".into(), body: json!({"a": 1}) };
    assert_eq!(context.emit(&event).unwrap_err().status(), Status::STANDBY);
    source.activate().unwrap();
    context.emit(&event).unwrap();
    context.status("busy");
    context.status("");
    context.request_poll(None).unwrap();
    context.request_poll(Some(&["a"])).unwrap();
    assert_eq!(host.events(), [event]);
    assert_eq!((host.statuses(), host.polls_requested()), (vec!["busy".to_owned(), String::new()], 2));
    assert_eq!((context.datasource(), context.generation()), ("test", 1));
    assert!(!host.wait(Duration::from_millis(1), |host| host.polls_requested() == 3));
}

#[test]
fn it_plays_other_services() {
    let host = TestHost::new();
    let (_source, context) = with_context(&host);
    let call = |service: &str| context.call(service, "get", &json!({"n": 1}), LONG);
    let missing = call("web").unwrap_err();
    assert_eq!((missing.status(), missing.message()), (Status::NOT_FOUND, "no service \"web\""));
    let inner = context.clone();
    host.answer_calls(move |method, args| match method {
        "web/get" => Ok(args),
        "null/get" => Ok(json!(null)),
        "nested/get" => inner.call("web", "get", &json!([]), LONG),
        "slow/get" => Err(Error::with_status(Status::TIMED_OUT, "too late").code("late")),
        _ => panic!("no method {method}"),
    });
    assert_eq!(call("web").unwrap(), json!({"n": 1}));
    assert_eq!(call("null").unwrap(), json!(null));
    assert_eq!(call("nested").unwrap(), json!([]), "a service may call another");
    let late = call("slow").unwrap_err();
    assert_eq!((late.status(), late.body().code.as_deref()), (Status::TIMED_OUT, Some("late")));
    let broken = call("other").unwrap_err();
    assert_eq!((broken.status(), broken.message()), (Status::PANICKED, "panicked: no method other/get"));
}

#[test]
fn one_sources_life_is_not_anothers() {
    #[derive(Serialize, Deserialize)]
    struct Row {
        n: u8,
    }
    let host = TestHost::new();
    let (first, one) = with_context(&host);
    let (second, two) = with_context(&host);
    let publish = |context: &Context| context.publisher(TableSpec::of::<Row>("t")).replace(&[Row { n: 1 }]);
    first.activate().unwrap();
    assert!(publish(&one).is_ok() && one.active());
    assert!(publish(&two).is_err() && !two.active());
    second.activate().unwrap();
    drop(first);
    assert!(publish(&one).is_err() && one.cancelled());
    assert!(publish(&two).is_ok() && !two.cancelled());
}

#[test]
fn a_failed_pause_leaves_publishing_allowed() {
    let host = TestHost::new();
    let source = open(&host, |_| Mock { pause: Some(Box::new(|| Err(Error::new("busy")))), ..Mock::default() });
    source.activate().unwrap();
    assert_eq!(source.pause().unwrap_err().message(), "busy");
    source.resume().unwrap();
}

#[test]
fn a_poll_that_answers_a_table_twice_is_refused() {
    let poll = || Ok(vec![Update::bare("t", Change::Gone), Update::bare("t", Change::Unchanged)]);
    let source = open(&TestHost::new(), move |_| Mock { poll: Some(Box::new(poll)), ..Mock::default() });
    assert_eq!(source.poll().unwrap_err().message(), "the poll answered table \"t\" twice");
}

#[test]
fn a_driver_that_breaks_its_rules_is_told_so() {
    #[derive(Deserialize, JsonSchema)]
    struct None {}
    #[derive(Serialize, Deserialize)]
    struct Row {
        n: Option<f64>,
    }
    struct Wrong;
    impl Driver for Wrong {
        const ID: &'static str = "Wrong";
        type Options = None;
        type Source = PollSource;
        fn tables() -> Vec<TableSpec> {
            vec![TableSpec::of::<Row>("t").key(["n", "m"]), TableSpec::of::<Row>("t")]
        }
        fn open(_: None, context: Context) -> Result<PollSource, Error> {
            Ok(PollSource::new(context))
        }
    }
    assert_eq!(
        TestHost::describe::<Wrong>().unwrap_err().to_string(),
        "the driver breaks the rules of its description: id \"Wrong\" is not a lower-case letter followed by at most 63 of \
         a-z, 0-9, '-', '_'; table \"t\" is declared twice; key column \"n\" of table \"t\" is nullable; key column \"m\" \
         of table \"t\" is not one of its columns"
    );
    assert!(open_driver::<Wrong>(&TestHost::new(), json!({})).is_ok());
}

#[test]
fn it_tells_which_tables_have_subscribers() {
    #[derive(Deserialize, JsonSchema)]
    struct NoOptions {}
    struct Hears;
    impl Driver for Hears {
        const ID: &'static str = "hears";
        type Options = NoOptions;
        type Source = PollSource;

        fn open(_: Self::Options, context: Context) -> Result<PollSource, Error> {
            Ok(PollSource::new(context).on_subscribed(|context, request| {
                context.status(&request.tables.keys().cloned().collect::<Vec<_>>().join(" "));
            }))
        }
    }
    let host = TestHost::new();
    let source = host.open::<Hears>(json!({})).unwrap();
    source.activate().unwrap();
    source.subscribed(&["b", "a"]).unwrap();
    source.subscribed(&[]).unwrap();
    assert_eq!(host.statuses(), ["a b", ""]);
    // One that does not care is told in vain.
    let (deaf, _context) = with_context(&host);
    deaf.subscribed(&["a"]).unwrap();
}
