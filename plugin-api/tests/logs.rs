//! Log records: what of them crosses, and to whom.

use crate::support::{FILTER, Mock, Recorder, error, module, open};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::LogRecord;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Map, Value, json};
use busway_plugin_api::testing::TestHost;
use busway_plugin_api::tracing;
use std::sync::{Arc, Barrier, PoisonError, mpsc};
use tracing::{debug, error as log_error, info, info_span, trace, warn};

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// What a source that polls like this logs.
fn logged(poll: impl Fn() + Send + Sync + 'static) -> Vec<LogRecord> {
    let host = TestHost::new();
    let poll = move || {
        poll();
        Ok(Vec::new())
    };
    let source = open(&host, |_| Mock { poll: Some(Box::new(poll)), ..Mock::default() });
    // Another test's filter would hide what this one logs.
    let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    source.poll().unwrap();
    host.log().into_iter().filter(|record| record.target.starts_with("sdk")).collect()
}

#[test]
fn level_target_message_and_place() {
    let line = line!() + 2;
    let records = logged(|| {
        log_error!("one");
        warn!(target: "sdk::other", "two {}", 2);
        info!("three");
        debug!("four");
        trace!("five");
    });
    let told: Vec<_> = records.iter().map(|r| (r.level.as_str(), r.target.as_str(), r.message.as_str())).collect();
    let expected = [
        ("error", "sdk::logs", "one"),
        ("warn", "sdk::other", "two 2"),
        ("info", "sdk::logs", "three"),
        ("debug", "sdk::logs", "four"),
        ("trace", "sdk::logs", "five"),
    ];
    assert_eq!(told, expected);
    assert_eq!((records[0].file.as_deref(), records[0].line), (Some(file!()), Some(line)));
}

#[test]
fn fields_of_every_type() {
    let records = logged(|| {
        let failure = std::io::Error::other("no disk");
        let failure: &(dyn std::error::Error + 'static) = &failure;
        info!(
            int = -1_i64,
            uint = 2_u64,
            max = u64::MAX,
            min = i64::MIN,
            float = 0.5,
            nan = f64::NAN,
            flag = true,
            text = "a\"b",
            shown = %"x y",
            debugged = ?Some("z"),
            huge = u128::MAX,
            failure,
            empty = tracing::field::Empty,
            "all"
        );
        info!(message = 5);
        info!(only = 1);
    });
    let expected = json!({
        "int": -1, "uint": 2, "max": "18446744073709551615", "min": "-9223372036854775808", "float": 0.5, "nan": null,
        "flag": true, "text": "a\"b", "shown": "x y", "debugged": "Some(\"z\")",
        "huge": "340282366920938463463374607431768211455", "failure": "no disk",
    });
    assert_eq!(records[0].fields, fields(expected));
    assert_eq!((records[1].message.as_str(), records[1].fields.len()), ("5", 0));
    assert_eq!((records[2].message.as_str(), &records[2].fields), ("", &fields(json!({"only": 1}))));
}

#[test]
fn spans_lend_their_names_and_fields() {
    let records = logged(|| {
        let outer = info_span!("outer", table = "t", tries = 1, late = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("late", 7);
        let _inner = info_span!("inner", tries = 2).entered();
        info!(own = true, "within");
        drop(_inner);
        info!("after");
    });
    assert_eq!(records[0].spans, ["outer", "inner"]);
    assert_eq!(records[0].fields, fields(json!({"table": "t", "tries": 2, "late": 7, "own": true})));
    assert_eq!(records[1].spans, ["outer"]);
    assert_eq!(records[1].fields, fields(json!({"table": "t", "tries": 1, "late": 7})));
}

#[test]
fn two_sources_at_once_never_mix() {
    let together = Arc::new(Barrier::new(2));
    let sources = ["a", "b"].map(|name| {
        let (host, together) = (TestHost::new(), Arc::clone(&together));
        let poll = move || {
            for i in 0..50 {
                together.wait();
                info!(i, "{name}");
            }
            Ok(Vec::new())
        };
        let source = open(&host, |_| Mock { poll: Some(Box::new(poll)), ..Mock::default() });
        (name, host, source)
    });
    let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for (_, _, source) in &sources {
            scope.spawn(|| source.poll().unwrap());
        }
    });
    for (name, host, _) in &sources {
        // Those of no source, which another test made, may be among them.
        let records: Vec<_> = host.log().into_iter().filter(|r| r.message != "nobody's").collect();
        assert_eq!(records.len(), 50, "{name}");
        assert!(records.iter().all(|record| record.message == *name));
    }
}

#[test]
fn own_threads_log_as_their_source_once_they_say_so() {
    let (host, other) = (Recorder::default(), Recorder::default());
    let (context, contexts) = mpsc::channel();
    let mut starts = Vec::new();
    let sources = [&host, &other].map(|host| {
        let context = context.clone();
        let (start, go) = mpsc::channel();
        starts.push(start);
        host.open(move |own| {
            context.send(own.clone()).unwrap();
            own.spawn("worker", move |_| {
                go.recv().unwrap();
                info!("spawned");
            })?;
            Ok(Mock::default())
        })
    });
    let (own, others): (Context, Context) = (contexts.recv().unwrap(), contexts.recv().unwrap());
    let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    starts.iter().for_each(|start| start.send(()).unwrap());
    for host in [&host, &other] {
        assert!(host.wait(|heard| heard.log.iter().any(|r| r.message == "spawned")));
    }
    std::thread::spawn(move || {
        info!("nobody's");
        let outer = own.enter();
        info!("outer");
        let inner = others.enter();
        info!("inner");
        // Dropped in the wrong order: what is left counts.
        drop(outer);
        info!("inner");
        drop(inner);
        info!("nobody's");
    })
    .join()
    .unwrap();
    let heard = |host: &Recorder| {
        let messages: Vec<String> = host.heard().log.iter().map(|r| r.message.clone()).collect();
        messages.into_iter().filter(|m| m != "spawned").collect::<Vec<_>>()
    };
    assert_eq!((heard(&host), heard(&other)), (vec!["outer".to_owned()], vec!["inner".to_owned(); 2]));
    drop(sources);
}

#[test]
fn the_filter_changes_while_sources_run() {
    let host = Recorder::default();
    let source = host
        .open(|_| {
            let poll = || {
                info!("info");
                debug!("debug");
                warn!(target: "elsewhere", "warn");
                Ok(Vec::new())
            };
            Ok(Mock { poll: Some(Box::new(poll)), ..Mock::default() })
        })
        .unwrap();
    let _alone = FILTER.write().unwrap_or_else(PoisonError::into_inner);
    let attach = |request: &str| module().attach()(host.object(), request.into());
    assert!(attach(r#"{"generation": 1, "log_filter": "info"}"#).is_ok());
    let heard = || {
        assert!(source.poll("{}".into()).reply.is_ok());
        host.tell(|heard| std::mem::take(&mut heard.log)).into_iter().map(|r| r.message).collect::<Vec<_>>()
    };
    let set = |filter: &str| {
        let reply = module().set_log_filter()(json!({"filter": filter}).to_string().as_str().into());
        if reply.is_ok() { None } else { Some(error(&reply)) }
    };
    assert_eq!(heard(), ["info", "warn"]);
    for (filter, expected) in [
        ("info,sdk=debug", &["info", "debug", "warn"][..]),
        ("warn", &["warn"]),
        ("off", &[]),
        ("off,sdk::logs=info", &["info"]),
        ("error,elsewhere=warn", &["warn"]),
        ("", &[]),
        ("trace", &["info", "debug", "warn"]),
    ] {
        assert_eq!(set(filter), None, "{filter}");
        assert_eq!(heard(), expected, "{filter}");
    }
    let (status, told) = set("info,sdk=loud").unwrap();
    assert_eq!(status, Status::INVALID);
    assert!(told.message.starts_with("log filter \"info,sdk=loud\": "), "{told}");
    assert_eq!(heard(), ["info", "debug", "warn"], "nothing was changed");
    // Nor by an attach that is refused: the records of no source still go to the host before.
    let second = Recorder::default();
    let refused = module().attach()(second.object(), r#"{"generation": 2, "log_filter": "a=b=c"}"#.into());
    assert_eq!(error(&refused).0, Status::INVALID);
    info!("nobody's");
    assert_eq!(host.heard().log.pop().unwrap().message, "nobody's");
    assert!(second.heard().log.is_empty());
    assert_eq!(error(&module().set_log_filter()("[]".into())).0, Status::INVALID);
    assert_eq!(error(&attach("{}")).0, Status::INVALID);
}
