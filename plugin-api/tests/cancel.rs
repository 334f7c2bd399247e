//! Cancelling and closing: who is told, and how soon.

use crate::support::{LONG, Recorder, SOON, open};
use busway_plugin_api::abi::Status;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::json;
use busway_plugin_api::testing::TestHost;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// A source whose action sleeps for very long and answers whether it slept to the end.
fn sleeper(slept: mpsc::Sender<()>) -> impl FnOnce(Context) -> PollSource {
    |context| {
        PollSource::new(context).action("kill", move |context, _| {
            slept.send(()).unwrap();
            if context.sleep(LONG * 1000) { Ok("slept") } else { Err(Error::cancelled()) }
        })
    }
}

#[test]
fn a_cancelled_call_wakes_at_once_and_later_ones_run() {
    let host = TestHost::new();
    let (slept, sleeps) = mpsc::channel();
    let source = open(&host, sleeper(slept));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let call = scope.spawn(|| source.execute("kill", json!({"pid": 1})));
            // The second one gets as far as its sleep: the first one's end was not its own.
            sleeps.recv_timeout(LONG).unwrap();
            let began = Instant::now();
            assert!(!call.is_finished());
            source.cancel();
            assert_eq!(call.join().unwrap().unwrap_err().status(), Status::CANCELLED);
            assert!(began.elapsed() < SOON);
        }
    });
    source.cancel();
    source.cancel();
}

#[test]
fn each_call_asks_by_its_own_number() {
    let host = Recorder::default();
    let (own, owns) = mpsc::channel();
    let asked = {
        let host = host.clone();
        move || host.tell(|heard| std::mem::take(&mut heard.asked))
    };
    let seen = asked.clone();
    let source = host
        .open(move |context| {
            assert!(!context.cancelled());
            assert_eq!(seen(), [17], "open has a number too");
            context.spawn("own", move |context| own.send(context.cancelled()).unwrap())?;
            Ok(PollSource::new(context).action("kill", |context, _| {
                let inner = context.clone();
                let entered = std::thread::spawn(move || {
                    let _entered = inner.enter();
                    inner.cancelled()
                });
                let entered = entered.join().unwrap();
                Ok(json!([context.cancelled(), entered]))
            }))
        })
        .unwrap();
    assert!(!owns.recv_timeout(LONG).unwrap());
    assert_eq!(asked(), [0], "a source's own thread is in no call");
    host.tell(|heard| heard.cancelled.push(9));
    let run = |call: u64| {
        let request = json!({"call": call, "deadline_ms": 100, "action": "kill", "positional": [1]});
        source.execute(request.to_string().as_str().into()).body.to_string()
    };
    assert_eq!(run(8), "[false,false]");
    assert_eq!(asked(), [0, 8]);
    assert_eq!(run(9), "[true,false]");
    assert_eq!(asked(), [0, 9]);
    assert!(source.close(r#"{"call": 10}"#.into()).is_ok());
}

#[test]
fn a_cancelled_poll_reads_no_further_table() {
    let host = Recorder::default();
    let read = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (Arc::clone(&read), Arc::clone(&read));
    let cancels = host.clone();
    let table = |name| TableSpec::of::<u8_row::Row>(name);
    let source = host
        .open(move |context| {
            Ok(PollSource::new(context)
                .table(table("a"), move |_| {
                    first.lock().unwrap().push("a");
                    cancels.tell(|heard| heard.cancelled.push(3));
                    Ok(vec![u8_row::Row { n: 1 }])
                })
                .table(table("b"), move |_| {
                    second.lock().unwrap().push("b");
                    Ok(vec![u8_row::Row { n: 1 }])
                }))
        })
        .unwrap();
    let polled = source.poll(r#"{"call": 3}"#.into());
    assert_eq!(polled.reply.status, Status::CANCELLED);
    assert_eq!(*read.lock().unwrap(), ["a"]);
    assert!(source.poll(r#"{"call": 4}"#.into()).reply.is_ok());
}

mod u8_row {
    use busway_plugin_api::prelude::*;
    #[derive(Serialize, Deserialize)]
    pub(super) struct Row {
        pub(super) n: u8,
    }
}

#[test]
fn close_wakes_sleepers_and_joins_threads() {
    let host = Recorder::default();
    let (ended, ends) = mpsc::channel();
    let (began, begins) = mpsc::channel();
    let source = host
        .open(move |context| {
            context.spawn("own", move |context| {
                began.send(()).unwrap();
                ended.send(context.sleep(LONG * 1000)).unwrap();
                assert!(!context.sleep(LONG * 1000), "closed for good");
                assert_eq!(context.spawn("late", |_| ()).unwrap_err().status(), Status::CLOSED);
                ended.send(false).unwrap();
            })?;
            Ok(PollSource::new(context))
        })
        .unwrap();
    begins.recv_timeout(LONG).unwrap();
    let closing = Instant::now();
    assert!(source.close("{}".into()).is_ok());
    assert!(closing.elapsed() < SOON);
    assert_eq!(ends.try_iter().collect::<Vec<_>>(), [false, false], "the thread had ended when close returned");
    assert!(host.heard().statuses.is_empty(), "{:?}", host.heard().statuses);
}

#[test]
fn a_sleep_may_be_as_long_as_one_likes_and_ends_in_time() {
    let host = TestHost::new();
    let source = open(&host, |context| {
        PollSource::new(context).action("kill", |context, args| {
            let began = Instant::now();
            let time = if args.require::<u64>("pid")? == 0 { Duration::MAX } else { Duration::from_millis(5) };
            Ok(context.sleep(time) && began.elapsed() >= time)
        })
    });
    assert_eq!(source.execute("kill", json!({"pid": 1})).unwrap(), json!(true));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| source.execute("kill", json!({"pid": 0})));
        // Whether it sleeps yet or not: it does not come back true, and does not panic.
        assert!(crate::support::eventually(|| {
            source.cancel();
            call.is_finished()
        }));
        assert_eq!(call.join().unwrap().unwrap(), json!(false));
    });
}
