//! Trying again.

use crate::support::{LONG, Recorder, SOON, open};
use busway_plugin_api::abi::Status;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::json;
use busway_plugin_api::testing::TestHost;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(1);

fn tried(retry: Retry, work: impl Fn(usize) -> Result<usize, Error> + Send + Sync + 'static) -> (usize, Error) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let source = open(&TestHost::new(), move |context| {
        PollSource::new(context)
            .action("kill", move |context, _| retry.run(context, || work(counted.fetch_add(1, Ordering::Relaxed) + 1)))
    });
    let done = source.execute("kill", json!({"pid": 1}));
    let error = done.map_or_else(|error| error, |value| Error::new(format!("worked at {value}")));
    (count.load(Ordering::Relaxed), error)
}

#[test]
fn transient_errors_alone_are_tried_again() {
    let retry = Retry::new().attempts(4).pauses(SHORT, SHORT);
    let (count, error) = tried(retry, |n| Err(Error::transient(format!("busy {n}"))));
    assert_eq!((count, error.message()), (4, "busy 4"));
    assert!(error.is_transient());
    let (count, error) = tried(retry, |n| Err(Error::new(format!("broken {n}"))));
    assert_eq!((count, error.message()), (1, "broken 1"));
    let again = |n| if n < 3 { Err(Error::transient("busy")) } else { Ok(n) };
    let (count, done) = tried(retry, again);
    assert_eq!((count, done.message()), (3, "worked at 3"));
}

#[test]
fn there_is_always_one_attempt() {
    for attempts in [0, 1] {
        let retry = Retry::new().attempts(attempts).pauses(LONG * 100, LONG * 100);
        let (count, _) = tried(retry, |_| Err(Error::transient("busy")));
        assert_eq!(count, 1);
    }
    let (count, _) = tried(Retry::new().pauses(SHORT, SHORT), |_| Err(Error::transient("busy")));
    assert_eq!(count, 3, "three unless said otherwise");
}

#[test]
fn no_pause_is_longer_than_the_longest() {
    let (began, retry) = (Instant::now(), Retry::new().attempts(6).pauses(LONG * 100, SHORT));
    let (count, _) = tried(retry, |_| Err(Error::transient("busy")));
    assert_eq!(count, 6);
    assert!(began.elapsed() < SOON);
}

#[test]
fn cancelling_ends_the_pause() {
    let host = Recorder::default();
    let (tries, tried) = mpsc::channel();
    let script = |context| {
        Ok(PollSource::new(context).action("kill", move |context, _| {
            Retry::new().attempts(9).pauses(LONG * 100, LONG * 100).run(context, || -> Result<(), Error> {
                tries.send(()).unwrap();
                Err(Error::transient("busy"))
            })
        }))
    };
    let source = host.open(script).unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| source.execute(r#"{"call": 5, "action": "kill", "positional": [1]}"#.into()));
        tried.recv_timeout(LONG).unwrap();
        host.tell(|heard| heard.cancelled.push(5));
        let cancelled = Instant::now();
        assert!(source.cancel(r#"{"call": 6, "calls": [5]}"#.into()).is_ok());
        let (status, error) = crate::support::error(&call.join().unwrap());
        assert!(cancelled.elapsed() < SOON);
        assert_eq!((status, error.message.as_str()), (Status::FAILED, "busy"));
    });
    assert!(tried.try_recv().is_err(), "tried again after the end");
}
