//! Sources that publish: when they may, and what crosses.

use crate::support::{LONG, Mock, Recorder, SOON, error, open, try_open};
use busway_plugin_api::abi::Status;
use busway_plugin_api::arrow_schema::DataType;
use busway_plugin_api::message::UpdateHeader;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{self, json};
use busway_plugin_api::table::schema;
use busway_plugin_api::testing::TestHost;
use busway_plugin_api::{PublishError, Publisher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    value: f64,
    part: String,
    id: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Key {
    id: i64,
    part: String,
}

fn row(id: i64) -> Row {
    Row { value: 0.5, part: "p".into(), id }
}

fn spec() -> TableSpec {
    TableSpec::of::<Row>("rows").describe("All rows").topic("part")
}

/// Publishes what the test says, on the test's own thread.
fn publishers() -> (TestHost, busway_plugin_api::testing::TestSource, Publisher, Publisher) {
    let (host, (context, contexts)) = (TestHost::new(), mpsc::channel());
    let source = open(&host, move |own| {
        context.send(own.clone()).unwrap();
        PollSource::new(own)
    });
    let context: Context = contexts.recv().unwrap();
    (host, source, context.publisher(spec().key(["id", "part"])), context.publisher(spec()))
}

#[test]
fn nothing_is_published_in_standby_or_paused_or_closed() {
    let (host, source, rows, _) = publishers();
    assert_eq!(rows.replace(&[row(1)]), Err(PublishError::Standby));
    source.activate().unwrap();
    assert_eq!(rows.replace(&[row(1)]), Ok(()));
    source.pause().unwrap();
    assert_eq!(rows.add(&[row(2)]), Err(PublishError::Standby));
    source.resume().unwrap();
    assert_eq!(rows.add(&[row(2)]), Ok(()));
    drop(source);
    assert_eq!(rows.add(&[row(3)]), Err(PublishError::Closed));
    assert_eq!(host.published().len(), 2);
}

#[test]
fn a_keyed_table() {
    let (host, source, rows, _) = publishers();
    source.activate().unwrap();
    rows.replace(&[row(1), row(2)]).unwrap();
    rows.add(&[row(3)]).unwrap();
    rows.remove(&[Key { id: 1, part: "p".into() }]).unwrap();
    rows.change(&[row(4)], &[Key { id: 2, part: "q".into() }]).unwrap();
    let published = host.published();
    for update in &published {
        assert_eq!((update.table.as_str(), update.topic.as_deref()), ("rows", Some("part")));
        assert_eq!((&*update.key, update.description.as_str()), (&["id".to_owned(), "part".into()][..], "All rows"));
    }
    let Change::Snapshot(all) = &published[0].change else { panic!("{published:?}") };
    assert_eq!(all.to_vec::<Row>().unwrap(), [row(1), row(2)]);
    let delta = |i: usize| match &published[i].change {
        Change::Delta { added, removed } => (added.to_vec::<Row>().unwrap(), removed.to_vec::<Key>().unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(delta(1), (vec![row(3)], vec![]));
    assert_eq!(delta(2), (vec![], vec![Key { id: 1, part: "p".into() }]));
    assert_eq!(delta(3), (vec![row(4)], vec![Key { id: 2, part: "q".into() }]));
    for update in &published[1..] {
        let Change::Delta { added, removed } = &update.change else { panic!() };
        assert_eq!(added.schema, spec().schema, "all columns, rows or not");
        let names: Vec<&str> = removed.schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["id", "part"], "the key columns alone, in the key's order");
    }
}

#[test]
fn a_set_of_rows() {
    let (host, source, _, rows) = publishers();
    source.activate().unwrap();
    rows.replace::<Row>(&[]).unwrap();
    rows.change(&[row(1), row(2)], &[row(3)]).unwrap();
    rows.remove(&[row(1)]).unwrap();
    let published = host.published();
    let Change::Snapshot(all) = &published[0].change else { panic!("{published:?}") };
    assert_eq!((all.num_rows(), &all.schema), (0, &spec().schema));
    let Change::Delta { added, removed } = &published[1].change else { panic!("{published:?}") };
    assert_eq!(added.to_vec::<Row>().unwrap(), [row(1), row(2)]);
    assert_eq!(removed.to_vec::<Row>().unwrap(), [row(3)]);
    assert_eq!((&added.schema, &removed.schema), (&spec().schema, &spec().schema));
    assert!(published.iter().all(|update| update.key.is_empty()));
}

#[test]
fn rows_that_do_not_fit_say_so() {
    let (host, source, rows, _) = publishers();
    source.activate().unwrap();
    let told = rows.remove(&[json!({"id": 1})]).unwrap_err().to_string();
    assert!(
        told.starts_with("the rows do not fit the table: rows of table \"rows\" do not fit its columns: "),
        "{told}"
    );
    let nullable = schema([("id", DataType::Int64, true)]);
    let context = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&context);
    let other = open(&host, move |own| {
        *keep.lock().unwrap() = Some(own.clone());
        PollSource::new(own)
    });
    other.activate().unwrap();
    let context = context.lock().unwrap().take().unwrap();
    let bad = context.publisher(TableSpec::with_schema("bad", nullable).key(["id"]));
    assert_eq!(
        bad.replace(&[json!({"id": 1})]).unwrap_err().to_string(),
        "the rows do not fit the table: table \"bad\": its header contradicts its columns: key column \"id\" of table \
         \"bad\" is nullable"
    );
    let missing = context.publisher(TableSpec::of::<Row>("rows").key(["nope"]));
    let told = missing.remove(&[json!({"nope": 1})]).unwrap_err().to_string();
    assert!(told.contains("Unable to get field named \"nope\""), "{told}");
    assert!(host.published().is_empty());
}

#[test]
fn each_refusal_has_its_own_error() {
    let host = Recorder::default();
    let (context, contexts) = mpsc::channel();
    let source = host.open(move |own| {
        context.send(own.clone()).unwrap();
        Ok(PollSource::new(own))
    });
    let rows = contexts.recv().unwrap().publisher(spec()).wait(Duration::from_millis(3));
    let told = |status| {
        host.tell(|heard| heard.answer = Some(status));
        rows.replace(&[row(1)]).map_err(|e| e.to_string())
    };
    assert_eq!(told(Status::OK), Ok(()));
    for (status, text) in [
        (Status::FULL, "the host's queue for this source is full"),
        (Status::STANDBY, "this source is not active now"),
        (Status::SUPERSEDED, "a newer generation writes these tables"),
        (Status::CLOSED, "this source is closed"),
        (Status::NEEDS_SNAPSHOT, "the table waits for a snapshot"),
        (Status::INVALID, "the rows do not fit the table: "),
        (Status::INCONSISTENT, "the rows contradict the table: "),
        (Status(-1), "the host could not take the rows: "),
    ] {
        assert_eq!(told(status), Err(text.to_owned()));
    }
    let header: UpdateHeader = serde_json::from_str(&host.heard().published[0].header).unwrap();
    let expected = UpdateHeader {
        table: "rows".into(),
        kind: "snapshot".into(),
        topic: Some("part".into()),
        description: "All rows".into(),
        ..UpdateHeader::default()
    };
    assert_eq!(header, expected);
    drop(source);
}

/// Counts how many of its threads run, and publishes once in each.
fn threaded(running: &Arc<AtomicUsize>) -> impl FnOnce(Context) -> PollSource + Send + 'static {
    let running = Arc::clone(running);
    move |context| {
        PollSource::new(context).thread("push", move |context| {
            running.fetch_add(1, Ordering::SeqCst);
            while context.active() {
                let _ = context.publisher(spec()).replace(&[row(1)]);
                if !context.sleep(LONG * 1000) {
                    break;
                }
            }
            running.fetch_sub(1, Ordering::SeqCst);
        })
    }
}

#[test]
fn a_thread_runs_while_its_source_is_active() {
    let (host, running) = (TestHost::new(), Arc::new(AtomicUsize::new(0)));
    let now = || running.load(Ordering::SeqCst);
    let source = open(&host, threaded(&running));
    assert_eq!((now(), host.published().len()), (0, 0), "not in standby");
    let began = Instant::now();
    source.activate().unwrap();
    assert!(host.wait(LONG, |host| host.published().len() == 1));
    source.resume().unwrap();
    assert_eq!(now(), 1, "an active source takes resume as granted");
    source.pause().unwrap();
    assert_eq!(now(), 0, "pause waits for it");
    source.resume().unwrap();
    assert!(host.wait(LONG, |host| host.published().len() == 2));
    assert_eq!(now(), 1);
    drop(source);
    assert_eq!(now(), 0, "close waits for it");
    assert!(began.elapsed() < SOON);
}

#[test]
fn a_thread_that_looks_away_while_it_is_paused_does_not_sleep_on() {
    let (host, began) = (TestHost::new(), Instant::now());
    let (looked, looks) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let source = open(&host, |context| {
        PollSource::new(context).thread("push", move |context| {
            if context.active() {
                looked.send(()).unwrap();
                gone.lock().unwrap().recv_timeout(LONG).unwrap();
                // Paused by now.
                assert!(!context.active());
                assert!(!context.sleep(LONG * 1000));
            }
        })
    });
    source.activate().unwrap();
    looks.recv_timeout(LONG).unwrap();
    std::thread::scope(|scope| {
        let pause = scope.spawn(|| source.pause());
        let context = host.clone();
        assert!(!context.wait(Duration::from_millis(30), |_| pause.is_finished()));
        go.send(()).unwrap();
        pause.join().unwrap().unwrap();
    });
    assert!(began.elapsed() < SOON);
    assert!(host.statuses().is_empty(), "{:?}", host.statuses());
}

#[test]
fn activating_disturbs_no_sleep() {
    let (host, (slept, sleeps)) = (TestHost::new(), mpsc::channel());
    let source = open(&host, |context| {
        PollSource::new(context).action("kill", move |context, _| {
            slept.send(()).unwrap();
            Ok(context.sleep(Duration::from_millis(150)))
        })
    });
    std::thread::scope(|scope| {
        let call = scope.spawn(|| source.execute("kill", json!({"pid": 1})));
        sleeps.recv_timeout(LONG).unwrap();
        source.activate().unwrap();
        assert_eq!(call.join().unwrap().unwrap(), json!(true));
    });
}

#[test]
fn a_failed_activation_leaves_standby() {
    let (host, context) = (TestHost::new(), Arc::new(Mutex::new(None)));
    let keep = Arc::clone(&context);
    let source = open(&host, move |own| {
        *keep.lock().unwrap() = Some(own);
        Mock { activate: Some(Box::new(|| Err(Error::new("the port is taken")))), ..Mock::default() }
    });
    let context: Context = context.lock().unwrap().clone().unwrap();
    assert_eq!(source.activate().unwrap_err().message(), "the port is taken");
    assert!(!context.active());
    assert_eq!(context.publisher(spec()).replace(&[row(1)]), Err(PublishError::Standby));
    assert_eq!(source.activate().unwrap_err().message(), "the port is taken", "asked again");
}

#[test]
fn resume_after_a_failed_pause_starts_again_what_the_pause_ended() {
    let (resumed, resumes) = mpsc::channel();
    let host = Recorder::default();
    let source = host
        .open(move |_| {
            Ok(Mock {
                activate: Some(Box::new(move || Ok(resumed.send(())?))),
                pause: Some(Box::new(|| Err(Error::new("busy")))),
                ..Mock::default()
            })
        })
        .unwrap();
    assert!(source.activate("{}".into()).is_ok());
    assert_eq!(error(&source.pause("{}".into())).1.message, "busy");
    assert!(source.resume("{}".into()).is_ok());
    assert_eq!(resumes.try_iter().count(), 2);
}

#[test]
fn a_source_that_can_not_be_opened_leaves_no_thread() {
    let (ended, ends) = mpsc::channel();
    let failed = try_open(&TestHost::new(), move |context| -> Result<Mock, Error> {
        context.spawn("early", move |context| ended.send(context.sleep(LONG * 1000)).unwrap())?;
        Err(Error::transient("no such host"))
    });
    let error = failed.unwrap_err();
    assert!(error.is_transient() && error.message() == "no such host");
    assert_eq!(ends.try_recv(), Ok(false));
}
