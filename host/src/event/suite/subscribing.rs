//! Who gets what: own queues, shared ones, filters, handlers.

use super::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

fn publish(events: &Events, fields_of: Value) -> String {
    let publisher = events.publisher("p").with_origin("o");
    publisher.create_and_publish("ScheduleEvent", fields(fields_of), How::default()).unwrap().id
}

#[test]
fn the_oldest_go_first_and_the_gap_is_told() {
    let events = quiet();
    let listening = Listening { bounds: Bounds { events: 3, bytes: 1 << 20 }, ..Listening::default() };
    let (slow, other) = (events.subscribe(&listening), events.subscribe(&Listening::default()));
    let sent: Vec<String> = (0..5).map(|n| publish(&events, json!({"task_id": n.to_string()}))).collect();
    assert!(matches!(slow.try_next(), Some(Delivery::Gap(2))));
    assert_eq!(ids(&slow), sent[2..]);
    assert_eq!(ids(&other), sent, "its neighbour lost nothing");
    assert_eq!(slow.counters().dropped, 2);
    let heavy = Listening { bounds: Bounds { events: 1000, bytes: 2000 }, ..Listening::default() };
    let heavy = events.subscribe(&heavy);
    let last: Vec<String> = (0..5).map(|_| publish(&events, json!({"task_id": "x".repeat(700)}))).collect();
    assert!(matches!(heavy.try_next(), Some(Delivery::Gap(3))));
    assert_eq!(ids(&heavy), last[3..]);
    // One that is larger than all that may wait waits alone.
    let large = publish(&events, json!({"task_id": "x".repeat(5000)}));
    assert_eq!(ids(&heavy), [large]);
}

#[test]
fn who_means_it_twice_gets_it_once() {
    let events = quiet();
    let topics = |pattern: &str| Some(Topics::matching(events.catalogue(), pattern).unwrap());
    let share = |pattern| events.share("q", &Listening { topics: topics(pattern), ..Listening::default() }).unwrap();
    let (one, _two) = (share("2001.#"), share("*.o"));
    let id = publish(&events, json!({}));
    assert_eq!(ids(&one), [id]);
}

#[test]
fn filters_choose_by_fields() {
    let events = quiet();
    let with = |filters: &[&str]| {
        let filters = filters.iter().map(|text| text.parse().unwrap()).collect();
        events.subscribe(&Listening { filters, ..Listening::default() })
    };
    let cases = [
        (with(&["task_id=t1"]), vec![0]),
        (with(&["data.task_id=t1|t2"]), vec![0, 1]),
        (with(&["task_id^=t"]), vec![0, 1, 2]),
        (with(&["task_id^=t", "description=x"]), vec![1]),
        (with(&["origin=o"]), vec![0, 1, 2]),
        (with(&["type=busway.ScheduleEvent", "task_id=t3"]), vec![2]),
        (with(&["payload=p"]), vec![]),
    ];
    let sent = [json!({"task_id": "t1"}), json!({"task_id": "t2", "description": "x"}), json!({"task_id": "t3"})];
    let sent = sent.map(|fields| publish(&events, fields));
    for (subscription, expected) in cases {
        let expected: Vec<&String> = expected.iter().map(|n| &sent[*n]).collect();
        assert_eq!(ids(&subscription).iter().collect::<Vec<_>>(), expected);
    }
    for bad in ["task_id", "=x", "a b=c"] {
        let text = bad.parse::<Filter>().unwrap_err().to_string();
        assert_eq!(
            text,
            format!("{bad:?} is no filter: write FIELD=VALUE, FIELD^=START, or FIELD=A|B for one of several")
        );
    }
}

#[test]
fn shared_queues_belong_to_their_system() {
    let events = Events::new(Settings { bus_id: "ion".to_owned(), ..Settings::default() });
    let named = |name: &str| events.share(name, &Listening::default()).unwrap().queue().unwrap().to_owned();
    assert_eq!(named("updates"), "ion.updates");
    assert_eq!(named("ion.updates"), "ion.updates");
    // The predecessor took this one for its own.
    assert_eq!(named("ionosphere"), "ion.ionosphere");
}

#[test]
fn what_fails_is_given_again_and_given_up_in_the_end() {
    let events = quiet();
    let shared = || events.share("q", &Listening::default()).unwrap();
    let (one, two) = (shared(), shared());
    let id = publish(&events, json!({}));
    for attempt in 1..=ATTEMPTS {
        let taker = if attempt % 2 == 0 { &one } else { &two };
        let Some(Delivery::Event(taken)) = taker.try_next() else { panic!("attempt {attempt}") };
        assert_eq!((taken.attempt(), &taken.event().id), (attempt, &id));
        // Dropped, as by one that died.
    }
    assert!(one.try_next().is_none() && two.try_next().is_none());
    let counters = one.counters();
    assert_eq!((counters.redelivered, counters.given_up), (u64::from(ATTEMPTS) - 1, 1));
}

#[test]
fn a_shared_queue_outlives_its_last_consumer_for_a_while() {
    let events = quiet();
    let shared = || events.share("q", &Listening::default()).unwrap();
    drop(shared());
    let id = publish(&events, json!({}));
    assert_eq!(ids(&shared()), [id]);
    assert_eq!(events.subscriptions().len(), 1, "what the one before bound is not counted twice");
}

#[test]
fn a_subscription_that_ends_leaves_nothing_behind() {
    let events = quiet();
    drop(of(&events, "2001.#"));
    assert!(events.subscriptions().is_empty());
    let state = events.state();
    assert!(format!("{:?}", state.listeners).contains("queues: {}"), "{:?}", state.listeners);
}

/// Each event is handled once, though consumers die at random with what they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_among_consumers_that_die_at_random() {
    const EVENTS: usize = 400;
    let events = quiet();
    let keeper = events.share("q", &Listening::default()).unwrap();
    let handled: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let deaths = Arc::new(AtomicUsize::new(0));
    let consumers: Vec<_> = (0..4_u64)
        .map(|seed| {
            let (events, handled, deaths) = (events.clone(), Arc::clone(&handled), Arc::clone(&deaths));
            tokio::spawn(async move {
                let mut random = seed + 1;
                loop {
                    let consumer = events.share("q", &Listening::default()).unwrap();
                    while let Some(Delivery::Event(taken)) = consumer.next().await {
                        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        // Another consumer gets what it had; the last attempt is not failed, so that none is given up.
                        if random >> 62 == 0 && taken.attempt() < ATTEMPTS {
                            deaths.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        *handled.lock().unwrap().entry(taken.event().id.clone()).or_default() += 1;
                        taken.done();
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let sent: Vec<String> = (0..EVENTS).map(|_| publish(&events, json!({}))).collect();
    until("all to be handled", || handled.lock().unwrap().len() == EVENTS).await;
    consumers.iter().for_each(tokio::task::JoinHandle::abort);
    for consumer in consumers {
        let _ = consumer.await;
    }
    let handled = handled.lock().unwrap();
    assert!(sent.iter().all(|id| handled[id] == 1), "{handled:?}");
    assert!(deaths.load(Ordering::Relaxed) > EVENTS / 8);
    assert_eq!((keeper.counters().waiting, keeper.counters().given_up), (0, 0));
}

#[tokio::test]
async fn a_subscriber_s_life() {
    let events = quiet();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let take = |got: &Arc<Mutex<Vec<String>>>, mark: &'static str| {
        let got = Arc::clone(got);
        move |told: &Told| {
            got.lock().unwrap().push(format!("{mark}{}", told.event.data_text("task_id")));
            Ok(())
        }
    };
    let mut subscriber = Subscriber::new(&events, Listening::default());
    assert_eq!(subscriber.state(), SubscriberState::Initialized);
    let none = "the subscriber to \"#\" has no handler: set one before it is activated";
    assert_eq!(subscriber.activate().unwrap_err().to_string(), none);
    subscriber.on_event(take(&got, "a"));
    publish(&events, json!({"task_id": "0"}));
    subscriber.activate().unwrap();
    publish(&events, json!({"task_id": "1"}));
    until("the first", || got.lock().unwrap().len() == 1).await;
    subscriber.on_event(take(&got, "b"));
    publish(&events, json!({"task_id": "2"}));
    until("the second", || got.lock().unwrap().len() == 2).await;
    assert_eq!(*got.lock().unwrap(), ["a1", "b2"], "nothing from before it was active");
    subscriber.terminate();
    assert!(
        events.subscriptions().is_empty() || {
            until("its end", || events.subscriptions().is_empty()).await;
            true
        }
    );
    assert_eq!(
        subscriber.activate().unwrap_err().to_string(),
        "the subscriber to \"#\" was terminated: make another one"
    );
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_is_counted_and_the_next_event_comes() {
    let events = quiet();
    let seen = Arc::new(AtomicUsize::new(0));
    let factory = SubscriberFactory::new(&events).with_queue("q").with_handler({
        let seen = Arc::clone(&seen);
        move |told: &Told| {
            seen.fetch_add(1, Ordering::Relaxed);
            match told.event.data_text("task_id").as_str() {
                "panic" => panic!("on request"),
                "error" => Err("on request".to_owned()),
                _ => Ok(()),
            }
        }
    });
    let mut subscriber = factory.build(None);
    subscriber.activate().unwrap();
    for task in ["error", "panic", "fine"] {
        publish(&events, json!({"task_id": task}));
    }
    let times = 2 * usize::try_from(ATTEMPTS).unwrap() + 1;
    until("all attempts", || seen.load(Ordering::Relaxed) == times).await;
    until("the counting", || subscriber.counters().unwrap().given_up == 2).await;
    assert_eq!(subscriber.failures(), 2 * u64::from(ATTEMPTS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_well_while_its_subscriber_was_terminated_is_not_given_again() {
    let events = quiet();
    let factory = SubscriberFactory::new(&events).with_queue("q");
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let mut one = factory
        .clone()
        .with_handler(move |_| {
            begun.send(()).unwrap();
            goes.lock().unwrap().recv().map_err(|error| error.to_string())
        })
        .build(None);
    one.activate().unwrap();
    let other = events.share("q", &Listening::default()).unwrap();
    publish(&events, json!({}));
    // The other one gets nothing by itself: it is not asked yet.
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    drop(one);
    // The task is gone: its subscription is.
    until("its end", || events.subscriptions().len() == 1).await;
    go.send(()).unwrap();
    // It has ended when it has let go of its end of this.
    until("the handler's end", || go.send(()).is_err() || other.counters().redelivered > 0).await;
    assert_eq!(ids(&other), Vec::<String>::new());
    assert_eq!(other.counters().redelivered, 0);
}
