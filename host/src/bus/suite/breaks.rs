//! What a hostile look at the bus found. Each of these says what should be.

use super::*;
use crate::bus::{Policy, SubscribeOptions, View};
use crate::table::Epoch;
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs work that may deadlock.
pub(super) fn within_seconds(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    match ended.recv_timeout(Duration::from_secs(10)) {
        Ok(()) => thread.join().unwrap(),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err());
        }
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it hangs: a deadlock"),
    }
}

async fn calm() -> World {
    let world = World::three(1).await;
    world.hub.calm();
    world
}

fn all() -> crate::bus::Pattern {
    "#".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_policy_holds_for_calls_of_get_snapshot() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    service.show("t", Policy::new()).unwrap();
    publish(&service, "t", &[(1, 42)]);
    for method in ["get_snapshot", "get_last_published_data_with_seqnum"] {
        let seen = bus.call("web", method, json!({"table": "t"})).await;
        assert!(seen.is_err(), "{method} shows nobody in particular {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_narrows_holds_at_once_for_other_nodes() {
    let world = calm().await;
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
    let mut reader = world.last().subscribe(address("web/t"));
    reader.wait_for(|view| view.rows.num_rows() == 2, Duration::from_secs(60)).await.unwrap();
    service.show("t", Policy::new().to(all(), View::default().topics(["b"]))).unwrap();
    // Published under the new policy: nobody may see it.
    put(&service, &[(3, Some("a"), 99), (2, Some("b"), 2)]);
    let secret = |message: &Message| match message {
        Message::Snapshot(view) => view.rows.batches().any(|batch| read(&batch).contains(&(3, 99))),
        Message::Step(step) => read(&step.added).contains(&(3, 99)),
        Message::Gone => false,
    };
    while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(5), reader.next()).await {
        assert!(!secret(&delivery.message), "it went to the other node: {:?}", delivery.message);
    }
}

#[tokio::test(start_paused = true)]
async fn who_resumes_after_the_policy_changed_begins_anew() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
    service.show("t", Policy::new().to(all(), View::default().topics(["a"]))).unwrap();
    let mut consumer = Consumer::to(&bus, "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    let held = consumer.of("web/t");
    drop(consumer);
    service.show("t", Policy::new().to(all(), View::default().topics(["b"]))).unwrap();
    let at = held.at.map(|(epoch, to)| (Epoch(epoch), to));
    let options = SubscribeOptions { resume: at, ..SubscribeOptions::default() };
    let again = bus.subscribe_with(address("web/t"), options).unwrap();
    let mut consumer = Consumer { subscription: again, held: [("web/t".to_owned(), held)].into() };
    assert_eq!(consumer.of("web/t").rows, [(2, 2)].into(), "resumed: {}", consumer.subscription.resumed());
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_table_that_changes_much_stays_small() {
    let world = calm().await;
    let service = world.service("web").await;
    publish(&service, "t", &[(1, -1)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, -1)]).await;
    for round in 0..60 {
        for n in 0..50 {
            publish(&service, "t", &[(1, round * 50 + n)]);
        }
        consumer.sees("web/t", &[(1, round * 50 + 49)]).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let slot = world.last().slots().into_iter().find(|slot| **slot.address() == address("web/t")).unwrap();
    assert!(!slot.needs_compaction(), "one row, and the memory of more than a thousand");
}

#[tokio::test(start_paused = true)]
async fn many_calls_one_after_the_other_are_answered() {
    let world = calm().await;
    let service = world.service("web").await;
    service.method("echo", "", |call| async move { Ok(call.args) });
    for n in 0..4200 {
        assert_eq!(world.last().call("web", "echo", json!(n)).await, Ok(json!(n)), "call {n}; none runs besides it");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_unheard_and_joins_again_gets_its_own_answers() {
    let world = calm().await;
    let _service = world.service("web").await;
    assert_eq!(world.last().call("web", "ping", json!("first")).await, Ok(json!("first")));
    world.part("n2");
    world.last().leave();
    world.mend("n2");
    world.join(world.last());
    until(|| world.last().has_service("web")).await;
    assert_eq!(world.last().call("web", "ping", json!("second")).await, Ok(json!("second")));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_and_joins_again_can_call() {
    let world = calm().await;
    let _service = world.service("web").await;
    assert_eq!(world.last().call("web", "ping", json!("first")).await, Ok(json!("first")));
    world.last().leave();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.join(world.last());
    until(|| world.last().has_service("web")).await;
    assert_eq!(world.last().call("web", "ping", json!("second")).await, Ok(json!("second")));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_unheard_and_joins_again_sees_the_table_it_asks_for() {
    let world = calm().await;
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    publish(&service, "u", &[(2, 2)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    world.part("n2");
    drop(consumer);
    world.last().leave();
    world.mend("n2");
    world.join(world.last());
    until(|| world.last().has_service("web")).await;
    let mut consumer = Consumer::to(world.last(), "web/u");
    until(|| consumer.of("web/u").at.is_some()).await;
    assert_eq!(consumer.of("web/u").rows, [(2, 2)].into());
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_node_that_restarted_fails_soon() {
    let mut world = calm().await;
    let service = world.service("web").await;
    service.method("forever", "", |_| async { std::future::pending().await });
    let waiting = tokio::spawn(world.last().call("web", "forever", Value::Null).into_future());
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.part("n0");
    drop(service);
    world.nodes[0].leave();
    world.nodes[0] = Bus::new("n0");
    world.mend("n0");
    world.join(&world.nodes[0]);
    let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    let answer = ended.expect("it waits for a process that the bus took for dead long ago").unwrap();
    assert!(matches!(answer, Err(crate::bus::CallError::Unreachable { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_name_over_at_once_keeps_its_tables() {
    let world = calm().await;
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    let mut changed = world.last().changed();
    drop(service);
    while world.last().has_service("web") {
        changed.changed().await.unwrap();
    }
    let successor = world.last().register("web").unwrap();
    publish(&successor, "t", &[(2, 2)]);
    assert!(successor.has("t"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(successor.has("t"), "nobody ended it");
    consumer.sees("web/t", &[(2, 2)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_address_that_is_also_a_name_mixes_no_tables() {
    // With delays: a loop of questions and answers would stop the test's clock.
    let world = World::three(1).await;
    let one = world.service("web").await;
    let two = world.service("zeb").await;
    two.listen("web").unwrap();
    publish(&one, "t", &[(1, 1)]);
    publish(&two, "t", &[(2, 2)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    consumer.sees("zeb/t", &[(2, 2)]).await;
    for n in 3..20 {
        publish(&one, "t", &[(1, n)]);
        publish(&two, "t", &[(2, n)]);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    consumer.sees("web/t", &[(1, 19)]).await;
    consumer.sees("zeb/t", &[(2, 19)]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = world.hub.counters().sent;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent = world.hub.counters().sent - before;
    assert!(sent < 150, "{sent} messages in 10 s in which nothing happened");
}

#[tokio::test(start_paused = true)]
async fn a_service_of_many_tables_hides_no_node() {
    let world = calm().await;
    let many = world.first().register("many").unwrap();
    for n in 0..1500 {
        many.offer(&format!("a table whose name says what is in it, as names should, {n}")).unwrap();
    }
    let _small = world.first().register("small").unwrap();
    until(|| world.last().has_service("small")).await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_could_not_be_sent_and_ended_is_gone() {
    let world = calm().await;
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    let long = "x".repeat(100_000);
    put(&service, &[(1, Some(&long), 1)]);
    until(|| world.last().slots().iter().any(|slot| slot.error().is_some())).await;
    service.end("t");
    consumer.loses("web/t").await;
}

#[tokio::test(start_paused = true)]
async fn the_poll_number_is_the_publishers_also_after_a_loss() {
    let world = calm().await;
    let service = world.service("web").await;
    service.snapshot("t", shape(true), &batches([(1, 1)]), 6).unwrap();
    let mut follower = world.last().subscribe(address("web/t"));
    follower.wait_for(|view| view.rows.num_rows() == 1, Duration::from_secs(60)).await.unwrap();
    world.hub.cut("n0", "n2");
    service.snapshot("t", shape(true), &batches([(1, 2)]), 7).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.hub.heal("n0", "n2");
    let next = tokio::time::timeout(Duration::from_secs(30), follower.next()).await.unwrap().message;
    let poll = match &next {
        Message::Step(step) => step.poll,
        Message::Snapshot(view) => view.poll,
        Message::Gone => 0,
    };
    assert_eq!(poll, 7, "{next:?}");
}

#[test]
fn a_lazy_table_may_be_published_when_it_is_wanted() {
    within_seconds(|| {
        let bus = Bus::new("n0");
        let service = Arc::new(bus.register("web").unwrap());
        let weak = Arc::downgrade(&service);
        service.on_interest(move |table, wanted| {
            if let Some(service) = weak.upgrade().filter(|_| wanted) {
                publish(&service, table, &[(1, 1)]);
            }
        });
        let mut consumer = Consumer::to(&bus, "web/t");
        assert_eq!(consumer.of("web/t").rows, [(1, 1)].into());
    });
}

#[test]
fn the_names_of_a_fallback_may_look_at_the_bus() {
    within_seconds(|| {
        let bus = Bus::new("n0");
        let service = bus.register("web").unwrap();
        let there = bus.clone();
        service.fallback(move || there.services(false), |call| async move { Ok(call.args) });
        assert_eq!(bus.news(bus.process(), true).len(), 1);
    });
}

#[test]
fn a_change_of_policy_is_told_in_order() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
    let others: Vec<Subscription> = (0..300).map(|_| bus.subscribe(address("web/t"))).collect();
    let mut consumer = Consumer::to(&bus, "web/t");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watcher = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            consumer.drain();
        }
        consumer.drain();
        consumer
    });
    for n in 0..60 {
        service.show("t", Policy::new().to(all(), View::default().topics([["a", "b"][n % 2]]))).unwrap();
        (0..200).for_each(|_| std::thread::yield_now());
    }
    stop.store(true, Ordering::Relaxed);
    let mut consumer = watcher.join().unwrap();
    let held = consumer.of("web/t");
    assert_eq!(held.rows, [(2, 2)].into(), "{held:?}");
    drop(others);
}

#[test]
fn tables_that_begin_at_once_are_all_there() {
    let bus = Bus::new("n0");
    let service = Arc::new(bus.register("web").unwrap());
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let service = Arc::clone(&service);
            std::thread::spawn(move || {
                for round in 0..3000 {
                    let table = format!("t{thread}");
                    publish(&service, &table, &[(1, 1)]);
                    assert!(service.has(&table), "published in round {round}, and not there");
                    service.end(&table);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_view_of_a_table_that_changes_much_stays_small() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    put(&service, &[(1, Some("a"), -1)]);
    let view = View::default().topics(["a"]);
    let options = SubscribeOptions { view: view.clone(), ..SubscribeOptions::default() };
    let mut consumer = Consumer::new(bus.subscribe_with(address("web/t"), options).unwrap());
    for n in 0..3000 {
        put(&service, &[(1, Some("a"), n)]);
        consumer.drain();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!bus.slot(&address("web/t"), &View::default()).needs_compaction());
    assert!(!bus.slot(&address("web/t"), &view).needs_compaction(), "one row, and the memory of 3000");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_message_does_not_end_the_link() {
    use crate::bus::{To, Transport};
    let world = calm().await;
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    let batch = batches([(1, 1), (2, 2)]).batches.remove(0);
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let good = writer.into_inner().unwrap();
    // In the publisher's name: of anybody else it would not be read at all.
    let (publisher, pipe) = (world.first().process(), world.hub.join("n0"));
    for at in 0..good.len().min(600) {
        let mut rows = good.clone();
        rows[at] = 0x7f;
        let word = json!({"word": "step", "feed": 2, "epoch": 1, "from": 1, "to": 2, "poll": 0, "updated": 0});
        let header = serde_json::to_vec(&json!({"from": publisher, "word": word})).unwrap();
        let mut message = vec![1];
        message.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        message.extend(header);
        message.extend(rows);
        pipe.send(To::Node("n2"), message.into());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    publish(&service, "t", &[(2, 2)]);
    consumer.sees("web/t", &[(2, 2)]).await;
}

#[tokio::test]
async fn who_was_unregistered_says_nothing_of_the_next_ones_tables() {
    let bus = Bus::new("n0");
    let old = bus.register("web").unwrap();
    publish(&old, "t", &[(1, 1)]);
    old.unregister();
    let new = bus.register("web").unwrap();
    publish(&new, "t", &[(2, 2)]);
    old.fail("t", "the old one was cancelled".to_owned());
    old.fail("u", "the old one was cancelled".to_owned());
    assert!(new.is_well("t"), "{:?}", bus.table(&Address::new("web", "t").unwrap()).unwrap().error);
    assert_eq!(new.tables(), ["t"]);
    new.fail("t", "truly".to_owned());
    old.confirm("t");
    old.outdate("t", "old", None);
    assert_eq!(bus.table(&Address::new("web", "t").unwrap()).unwrap().error.as_deref(), Some("truly"));
    old.end("t");
    assert!(new.has("t") && !old.has("t") && old.tables().is_empty());
}
