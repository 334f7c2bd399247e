//! A source's private tokio runtime.

use crate::support::{FILTER, LONG, Mock, Recorder};
use busway_plugin_api::abi::Status;
use busway_plugin_api::prelude::*;
use busway_plugin_api::tracing::info;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

fn source(host: &Recorder) -> (busway_plugin_api::abi::SourceObject, Context) {
    let (context, contexts) = mpsc::channel();
    let source = host.open(move |own| {
        context.send(own).unwrap();
        Ok(Mock::default())
    });
    (source.unwrap(), contexts.recv().unwrap())
}

#[test]
fn tasks_log_as_their_source() {
    let hosts = [Recorder::default(), Recorder::default()];
    let sources = [source(&hosts[0]), source(&hosts[1])];
    // Another test's filter would hide what this one logs.
    let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    for (i, (_, context)) in sources.iter().enumerate() {
        let handle = context.runtime().unwrap();
        handle.spawn(async move {
            info!("task {i}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            info!("task {i}");
            tokio::task::spawn_blocking(move || info!("task {i}")).await.unwrap();
        });
    }
    for (i, host) in hosts.iter().enumerate() {
        let message = format!("task {i}");
        let told = |log: &[busway_plugin_api::message::LogRecord]| log.iter().filter(|r| r.message == message).count();
        assert!(host.wait(|heard| told(&heard.log) == 3));
        assert_eq!(host.heard().log.iter().filter(|r| r.message.starts_with("task")).count(), 3);
    }
    for (source, _) in &sources {
        assert!(source.close("{}".into()).is_ok());
    }
}

#[test]
fn it_is_one_until_the_source_is_closed() {
    let (source, context) = source(&Recorder::default());
    assert_eq!(context.runtime().unwrap().id(), context.runtime().unwrap().id());
    struct Ended(mpsc::Sender<()>);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (end, ends) = mpsc::channel();
    let (begin, begins) = mpsc::channel();
    let ended = Ended(end);
    context.runtime().unwrap().spawn(async move {
        begin.send(()).unwrap();
        tokio::time::sleep(LONG * 1000).await;
        drop(ended);
    });
    begins.recv_timeout(LONG).unwrap();
    let began = Instant::now();
    assert!(source.close("{}".into()).is_ok());
    assert!(began.elapsed() < Duration::from_secs(1), "a task that waits is dropped at once");
    assert!(ends.try_recv().is_ok());
    let refused = context.runtime().unwrap_err();
    assert_eq!((refused.status(), refused.message()), (Status::CLOSED, "the source is closed"));
}

#[test]
fn a_blocked_task_holds_up_close_for_two_seconds_at_most() {
    let (source, context) = source(&Recorder::default());
    let (release, released) = mpsc::channel::<()>();
    let (begin, begins) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    context.runtime().unwrap().spawn(async move {
        begin.send(()).unwrap();
        let _ = released.lock().unwrap().recv_timeout(LONG * 10);
    });
    begins.recv_timeout(LONG).unwrap();
    let began = Instant::now();
    assert!(source.close("{}".into()).is_ok());
    let took = began.elapsed();
    assert!((1900..3500).contains(&took.as_millis()), "{took:?}");
    drop(release);
}
