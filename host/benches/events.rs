//! Telling that something happened, beside a bare channel: to nobody, to one, to a thousand, among ten thousand patterns; and
//! a page of a long history.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use busway::event::{Bounds, Draft, Events, How, Kept, Listening, Query, Settings, Subscription, Topics};
use measure::{median, rounds, time};
use serde_json::{Map, json};
use std::hint::black_box;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events a round: a queue holds them all.
const EVENTS: usize = 1_000;
const HISTORY: usize = 1_000_000;

fn settings(kept: Kept) -> Settings {
    Settings { kept, rate: None, ..Settings::default() }
}

fn none() -> Events {
    Events::new(settings(Kept { events: 0, bytes: 0 }))
}

fn draft(events: &Events, origin: &str) -> Draft {
    let fields: Map<_, _> = json!({"task_id": "t", "payload": "p"}).as_object().unwrap().clone();
    Draft::create(events.catalogue(), "ScheduleEvent", fields).unwrap().origin(origin)
}

fn subscribe(events: &Events, pattern: &str) -> Subscription {
    let topics = Some(Topics::matching(events.catalogue(), pattern).unwrap());
    let bounds = Bounds { events: EVENTS, bytes: usize::MAX };
    events.subscribe(&Listening { topics, bounds, ..Listening::default() })
}

/// Nanoseconds that one publication takes; what waits is taken out between the rounds.
fn publish(events: &Events, listeners: &[Subscription]) -> f64 {
    let publisher = events.publisher("bench");
    let all: Vec<f64> = (0..rounds(9))
        .map(|_| {
            let drafts: Vec<Draft> = (0..EVENTS).map(|_| draft(events, "rack.7")).collect();
            let (took, ()) = time(|| {
                for draft in drafts {
                    black_box(publisher.publish(draft, How::default()).unwrap());
                }
            });
            for listener in listeners {
                let mut got = 0;
                while listener.try_next().is_some() {
                    got += 1;
                }
                assert_eq!(got, EVENTS);
            }
            took.as_nanos() as f64 / EVENTS as f64
        })
        .collect();
    median(all)
}

/// The same number of shared values through so many channels of the runtime's own.
fn channels(count: usize) -> f64 {
    let mut ends: Vec<_> = (0..count).map(|_| mpsc::channel::<Arc<Draft>>(EVENTS)).collect();
    let made = draft(&none(), "rack.7");
    let all: Vec<f64> = (0..rounds(9))
        .map(|_| {
            let values: Vec<Draft> = (0..EVENTS).map(|_| made.clone()).collect();
            let (took, ()) = time(|| {
                for value in values {
                    let value = Arc::new(value);
                    for (sender, _) in &ends {
                        sender.try_send(Arc::clone(&value)).unwrap();
                    }
                }
            });
            for (_, receiver) in &mut ends {
                while receiver.try_recv().is_ok() {}
            }
            took.as_nanos() as f64 / EVENTS as f64
        })
        .collect();
    median(all)
}

fn main() {
    println!("one publication of an event that is made, beside tokio's bounded channels of as many receivers");
    for count in [0_usize, 1, 1_000] {
        let events = none();
        let listeners: Vec<_> = (0..count).map(|_| subscribe(&events, "ScheduleEvent.#")).collect();
        let (ours, bare) = (publish(&events, &listeners), channels(count));
        let judged = match count {
            0 if ours <= 1_000.0 => "at most 1,000 ns: met",
            0 => "at most 1,000 ns: MISSED",
            _ => "",
        };
        println!("  {count:>5} subscribers: {ours:>8.0} ns, channels {bare:>8.0} ns, {:.2}x {judged}", ours / bare);
    }
    let events = Events::new(settings(Kept::default()));
    println!("  nobody, kept in the history: {:.0} ns", publish(&events, &[]));

    let events = none();
    let others: Vec<_> = (0..10_000).map(|n| subscribe(&events, &pattern(n))).collect();
    let one = [subscribe(&events, "*.rack.7")];
    println!(
        "  1 subscriber that means it beside {} patterns that don't: {:.0} ns",
        others.len(),
        publish(&events, &one)
    );

    let events = Events::new(settings(Kept { events: HISTORY, bytes: usize::MAX }));
    let publisher = events.publisher("bench");
    for n in 0..HISTORY {
        let of = ["ScheduleEvent", "ErrorLoggingEvent", "AppLoaderEvent", "DatasourceUpdateEvent"][n % 4];
        let draft = Draft::create(events.catalogue(), of, Map::new()).unwrap().origin(&format!("rack.{}", n % 1000));
        publisher.publish(draft, How::default()).unwrap();
    }
    println!("a page of 100 of a history of {HISTORY} events");
    let middle = u64::try_from(HISTORY / 2).unwrap();
    let since = events.history(&Query { after: Some(middle), limit: Some(1), ..Query::default() }).events[0].event.time;
    let topics = |pattern: &str| Some(Topics::matching(events.catalogue(), pattern).unwrap());
    for (what, query) in [
        ("the first", Query::default()),
        ("the latest", Query { latest: true, ..Query::default() }),
        ("from the middle on", Query { after: Some(middle), ..Query::default() }),
        ("since a time in the middle", Query { since: Some(since), ..Query::default() }),
        ("the latest of a type", Query { topics: topics("ErrorLoggingEvent.#"), latest: true, ..Query::default() }),
        ("the latest of an origin", Query { topics: topics("*.rack.7"), latest: true, ..Query::default() }),
        ("of an origin that there is not", Query { topics: topics("*.nowhere"), ..Query::default() }),
    ] {
        let took =
            median((0..rounds(9)).map(|_| time(|| black_box(events.history(&query))).0.as_secs_f64() * 1e3).collect());
        let judged = if took <= 10.0 { "met" } else { "MISSED" };
        println!("  {what}: {took:.2} ms, at most 10 ms: {judged}");
    }
    many_types();
}

/// With as many types as there may be, each of which a page looks at.
fn many_types() {
    let events = Events::new(settings(Kept::default()));
    for n in 0..20_000 {
        let event =
            json!({"specversion": "1.0", "id": "1", "source": "s", "type": format!("made.up{n}"), "subject": "o"});
        events.publish_json(event, How::default()).unwrap();
    }
    println!("a page of 100 of a history of as many made-up types as are kept");
    let position = events.position();
    let topics = |pattern: &str| Some(Topics::matching(events.catalogue(), pattern).unwrap());
    for (what, query) in [
        ("the first", Query::default()),
        ("the latest", Query { latest: true, ..Query::default() }),
        ("the last hundred", Query { after: Some(position - 100), ..Query::default() }),
        ("of one type", Query { topics: topics("made/up19999.#"), ..Query::default() }),
        ("of a pattern over whole topics", Query { topics: topics("#.o"), ..Query::default() }),
    ] {
        let took =
            median((0..rounds(9)).map(|_| time(|| black_box(events.history(&query))).0.as_secs_f64() * 1e3).collect());
        let judged = if took <= 10.0 { "met" } else { "MISSED" };
        println!("  {what}: {took:.2} ms, at most 10 ms: {judged}");
    }
}

/// What others listen to.
fn pattern(n: usize) -> String {
    match n % 4 {
        0 => format!("ScheduleEvent.rack.{}", n + 100),
        1 => format!("*.host-{n}.#"),
        2 => format!("3002.module-{n}"),
        _ => format!("ErrorLoggingEvent.#.worker-{n}"),
    }
}
