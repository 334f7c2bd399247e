//! No panic crosses: it comes back as an answer, and poisons its source alone.

use crate::support::{Mock, OnDrop, Recorder, SOON, error, module, open, open_driver, try_open};
use busway_plugin_api::abi::{Reply, SourceObject, Status};
use busway_plugin_api::message::ErrorBody;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::json;
use busway_plugin_api::testing::TestHost;
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

fn panicked(reply: &Reply, message: &str, line: u32) {
    let (status, error) = error(reply);
    assert_eq!(status, Status::PANICKED);
    let place = error.place.clone().unwrap_or_default();
    assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place} is not line {line}");
    assert_eq!(ErrorBody { place: None, ..error }, ErrorBody::new(message));
}

fn poisoned(source: &SourceObject) {
    let replies = [
        source.poll("{}".into()).reply,
        source.tables("{}".into()),
        source.execute(r#"{"action": "kill"}"#.into()),
        source.activate("{}".into()),
        source.pause("{}".into()),
        source.resume("{}".into()),
        source.subscribed("{}".into()),
        source.export_state("{}".into()),
        source.import_state(r#"{"version": 1}"#.into()),
    ];
    for reply in replies {
        let (status, error) = error(&reply);
        assert_eq!((status, error.message.as_str()), (Status::POISONED, "an earlier panic poisoned this source"));
    }
    assert!(source.cancel("{}".into()).is_ok());
}

fn mock(mock: impl FnOnce() -> Mock + Send + 'static) -> SourceObject {
    Recorder::default().open(|_| Ok(mock())).unwrap()
}

#[test]
fn in_poll_execute_activate_pause_and_close() {
    let line = line!() + 2;
    let source = mock(|| Mock {
        poll: Some(Box::new(|| panic!("{} of {}", 1, 2))),
        close: Some(Box::new(|| Ok(()))),
        ..Mock::default()
    });
    let polled = source.poll(r#"{"call": 1}"#.into());
    assert!(polled.updates.is_empty());
    panicked(&polled.reply, "panicked: 1 of 2", line);
    poisoned(&source);
    assert!(source.close("{}".into()).is_ok(), "what was taken is given back");

    let line = line!() + 1;
    let source = mock(|| Mock { execute: Some(Box::new(|_, _| panic!("in execute"))), ..Mock::default() });
    let request = r#"{"action": "kill", "positional": [1]}"#;
    panicked(&source.execute(request.into()), "panicked: in execute", line);
    poisoned(&source);

    let line = line!() + 1;
    let source = mock(|| Mock { activate: Some(Box::new(|| panic!("in activate"))), ..Mock::default() });
    panicked(&source.activate("{}".into()), "panicked: in activate", line);
    poisoned(&source);

    let line = line!() + 1;
    let source = mock(|| Mock { pause: Some(Box::new(|| panic!("in pause"))), ..Mock::default() });
    assert!(source.activate("{}".into()).is_ok());
    panicked(&source.pause("{}".into()), "panicked: in pause", line);
    poisoned(&source);

    let line = line!() + 1;
    let source = mock(|| Mock { close: Some(Box::new(|| panic!("in close"))), ..Mock::default() });
    panicked(&source.close("{}".into()), "panicked: in close", line);

    let line = line!() + 1;
    let source = mock(|| Mock { cancel: Some(Box::new(|| panic!("in cancel"))), ..Mock::default() });
    panicked(&source.cancel("{}".into()), "panicked: in cancel", line);
    let (status, _) = error(&source.poll("{}".into()).reply);
    assert_eq!(status, Status::POISONED);
}

#[test]
fn in_open_and_what_it_began_is_ended() {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let line = line!() + 6;
    let began = Instant::now();
    let opened = Recorder::default().open(move |context| -> Result<Mock, Error> {
        context.spawn("worker", move |context| {
            flag.store(!context.sleep(SOON * 100), Ordering::SeqCst);
        })?;
        panic!("in open");
    });
    let Err((status, error)) = opened else { panic!("it opened") };
    assert_eq!((status, error.message.as_str()), (Status::PANICKED, "panicked: in open"));
    assert!(error.place.unwrap().starts_with(&format!("{}:{line}:", file!())));
    assert!(ended.load(Ordering::SeqCst), "the thread was told to end, and waited for");
    assert!(began.elapsed() < SOON);
}

#[test]
fn in_the_drop_of_a_source() {
    let source = mock(|| Mock { _drop: Some(OnDrop(Box::new(|| panic!("in drop")))), ..Mock::default() });
    assert!(source.close("{}".into()).is_ok());
    drop(source);
}

#[test]
fn in_describe() {
    #[derive(Deserialize, JsonSchema)]
    struct None {}
    struct Broken;
    impl Driver for Broken {
        const ID: &'static str = "broken";
        type Options = None;
        type Source = PollSource;
        fn tables() -> Vec<TableSpec> {
            panic!("in tables")
        }
        fn open(_: None, _: Context) -> Result<PollSource, Error> {
            Err(Error::new("never"))
        }
    }
    let line = line!() - 6;
    let error = TestHost::describe::<Broken>().unwrap_err();
    assert_eq!((error.status(), error.message()), (Status::PANICKED, "panicked: in tables"));
    assert!(error.place().unwrap().starts_with(&format!("{}:{line}:", file!())));
    let refused = open_driver::<Broken>(&TestHost::new(), json!({})).unwrap_err();
    assert_eq!((refused.status(), refused.message()), (Status::FAILED, "never"), "the driver goes on");
}

#[test]
fn with_a_payload_that_is_no_text_or_panics_itself() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload's drop");
        }
    }
    let payloads: [Box<dyn Fn() -> Result<Vec<Update>, Error> + Send + Sync>; 2] =
        [Box::new(|| panic_any(42)), Box::new(|| panic_any(Bomb))];
    for poll in payloads {
        let source = mock(|| Mock { poll: Some(poll), ..Mock::default() });
        let (status, error) = error(&source.poll("{}".into()).reply);
        assert_eq!((status, error.message.as_str()), (Status::PANICKED, "panicked: with no message"));
        assert!(error.place.unwrap().starts_with(file!()));
    }
    let source = mock(|| Mock { poll: Some(Box::new(|| panic!("{}", String::from("owned")))), ..Mock::default() });
    assert_eq!(error(&source.poll("{}".into()).reply).1.message, "panicked: owned");
}

#[test]
fn an_earlier_panic_lends_no_place_to_a_later_one() {
    let source = mock(|| Mock {
        execute: Some(Box::new(|_, _| {
            assert!(catch_unwind(|| panic!("caught by the driver itself")).is_err());
            Ok(json!("fine"))
        })),
        poll: Some(Box::new(|| resume_unwind(Box::new("carried over")))),
        ..Mock::default()
    });
    assert!(source.execute(r#"{"action": "kill", "positional": [1]}"#.into()).is_ok());
    let (status, error) = error(&source.poll("{}".into()).reply);
    assert_eq!((status, error), (Status::PANICKED, ErrorBody::new("panicked: carried over")));
}

#[test]
fn the_drivers_other_sources_go_on() {
    let (bad, good) = (TestHost::new(), TestHost::new());
    let broken = open(&bad, |_| Mock { poll: Some(Box::new(|| panic!("mine"))), ..Mock::default() });
    let sound = open(&good, |_| Mock::default());
    assert_eq!(broken.poll().unwrap_err().status(), Status::PANICKED);
    assert_eq!(broken.poll().unwrap_err().status(), Status::POISONED);
    assert!(sound.poll().is_ok());
    let another = try_open(&bad, |_| Ok(Mock::default())).unwrap();
    assert!(another.poll().is_ok());
    assert!(bad.log().iter().any(|r| r.target == "panic" && r.level == "error" && r.message == "panicked: mine"));
    // Threads of other tests that panic are nobody's in particular.
    assert!(good.log().iter().all(|r| r.message != "panicked: mine"));
}

#[test]
fn in_a_thread_of_a_source() {
    let host = Recorder::default();
    let line = line!() + 2;
    let script = |context: Context| {
        context.spawn("worker", |_| panic!("in the thread"))?;
        Ok(Mock::default())
    };
    let source = host.open(script).unwrap();
    assert!(host.wait(|heard| heard.statuses.iter().any(|s| s == "thread web:worker panicked")));
    let heard = host.heard();
    let record = heard.log.iter().find(|r| r.target == "panic").unwrap();
    assert_eq!((record.level.as_str(), record.message.as_str()), ("error", "panicked: in the thread"));
    assert!(record.fields["place"].as_str().unwrap().starts_with(&format!("{}:{line}:", file!())));
    assert_eq!(record.fields["thread"], "web:worker");
    drop(heard);
    assert!(source.poll("{}".into()).reply.is_ok(), "a thread's panic does not poison");
    assert!(source.close("{}".into()).is_ok());
}

#[test]
fn on_request() {
    let (status, error) = error(&module().self_test()(r#"{"panic": true}"#.into()));
    assert_eq!((status, error.message.as_str()), (Status::PANICKED, "panicked: self-test"));
    assert!(error.place.unwrap().starts_with("plugin-api/src/export.rs:"));
    assert!(module().self_test()(r#"{"panic": false}"#.into()).is_ok());
    assert_eq!(crate::support::error(&module().self_test()("".into())).0, Status::INVALID);
}
