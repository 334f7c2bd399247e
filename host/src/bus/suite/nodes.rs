//! What only several nodes have: presence, names that two claim, restarts, partitions.

use super::*;
use crate::bus::{CallError, PublishError, ServiceState};
use serde_json::{Value, json};
use std::future::IntoFuture;

/// Runs it by several seeds.
async fn by_seeds<F: Future<Output = ()>>(test: impl Fn(u64) -> F) {
    for seed in 0..4 {
        test(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn congress_04_a_dead_node_is_gone_in_ten_seconds_and_calls_to_it_fail_at_once() {
    by_seeds(|seed| async move {
        let world = World::three(seed).await;
        let service = world.service("web").await;
        service.method("forever", "", |_| async { std::future::pending().await });
        publish(&service, "t", &[(1, 1)]);
        let mut consumer = Consumer::to(world.last(), "web/t");
        consumer.sees("web/t", &[(1, 1)]).await;
        let waiting = tokio::spawn(world.last().call("web", "forever", Value::Null).into_future());
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.part("n0");
        let begun = tokio::time::Instant::now();
        until(|| world.last().nodes().iter().any(|node| node.state == "suspect")).await;
        consumer.loses("web/t").await;
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        assert!(!world.last().has_service("web"));
        let gone = waiting.await.unwrap().unwrap_err();
        assert!(matches!(gone, CallError::Unreachable { .. }), "{gone}");
        let now = tokio::time::Instant::now();
        assert!(world.last().call("web", "ping", Value::Null).await.is_err());
        assert_eq!(now.elapsed(), Duration::ZERO);
        world.mend("n0");
        consumer.sees("web/t", &[(1, 1)]).await;
        publish(&service, "t", &[(2, 2)]);
        consumer.sees("web/t", &[(2, 2)]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn congress_05_lost_updates_are_made_good_on_every_node() {
    by_seeds(|seed| async move {
        let world = World::three(seed).await;
        let service = world.service("web").await;
        publish(&service, "t", &[(0, 0)]);
        let mut all: Vec<Consumer> = world.nodes.iter().map(|node| Consumer::to(node, "web/t")).collect();
        for consumer in &mut all {
            consumer.sees("web/t", &[(0, 0)]).await;
        }
        world.hub.cut("n0", "n1");
        world.hub.cut("n0", "n2");
        publish(&service, "t", &[(1, 1)]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.hub.heal("n0", "n1");
        world.hub.heal("n0", "n2");
        for consumer in &mut all {
            consumer.sees("web/t", &[(1, 1)]).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn congress_20_two_processes_of_one_node_name_are_shown_and_both_work() {
    let world = World::three(1).await;
    let twin = Bus::new("n0");
    world.join(&twin);
    let service = twin.register("twin").unwrap();
    publish(&service, "t", &[(1, 1)]);
    let _first = world.service("first").await;
    let mut consumer = Consumer::to(world.last(), "twin/t");
    consumer.sees("twin/t", &[(1, 1)]).await;
    until(|| world.last().nodes().iter().filter(|node| node.clash && node.node == "n0").count() == 2).await;
    until(|| world.first().nodes()[0].clash && twin.nodes()[0].clash).await;
    assert_eq!(world.last().call("twin", "ping", json!(1)).await, Ok(json!(1)));
    until(|| world.last().has_service("first")).await;
    assert_eq!(world.last().call("first", "ping", json!(2)).await, Ok(json!(2)));
}

#[tokio::test(start_paused = true)]
async fn of_two_who_claim_a_name_apart_the_earlier_has_it_and_the_later_is_told() {
    by_seeds(|seed| async move {
        let world = World::three(seed).await;
        world.part("n2");
        until(|| world.last().nodes().len() == 1).await;
        let earlier = world.nodes[0].register("web").unwrap();
        let later = world.last().register("web").unwrap();
        publish(&earlier, "t", &[(1, 1)]);
        publish(&later, "t", &[(2, 2)]);
        let mut consumer = Consumer::to(world.last(), "web/t");
        consumer.sees("web/t", &[(2, 2)]).await;
        let mut states = later.states();
        world.mend("n2");
        let lost = states.wait_for(|state| matches!(state, ServiceState::NameLost(_))).await.unwrap().clone();
        assert_eq!(lost, ServiceState::NameLost("n0".to_owned()));
        consumer.sees("web/t", &[(1, 1)]).await;
        let refused = later.snapshot("t", shape(true), &batches([(3, 3)]), 0).unwrap_err();
        assert_eq!(refused, PublishError::NameLost { name: "web".to_owned(), to: "n0".to_owned() });
        assert_eq!(
            refused.to_string(),
            "service \"web\" lost its name to node n0, which had it earlier: register under another name"
        );
        drop(later);
        publish(&earlier, "t", &[(4, 4)]);
        consumer.sees("web/t", &[(4, 4)]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_restarts_leaves_nothing_stale() {
    by_seeds(|seed| async move {
        let mut world = World::three(seed).await;
        let service = world.service("web").await;
        publish(&service, "t", &[(1, 1), (2, 2)]);
        let mut consumer = Consumer::to(world.last(), "web/t");
        consumer.sees("web/t", &[(1, 1), (2, 2)]).await;
        // It dies without a word.
        world.part("n0");
        drop(service);
        world.nodes[0].leave();
        world.nodes[0] = Bus::new("n0");
        world.mend("n0");
        world.join(&world.nodes[0]);
        let again = world.nodes[0].register("web").unwrap();
        publish(&again, "t", &[(2, 2), (3, 3)]);
        consumer.sees("web/t", &[(2, 2), (3, 3)]).await;
        until(|| world.last().nodes().iter().all(|node| !node.clash)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_says_so_and_may_come_back() {
    by_seeds(|seed| async move {
        let world = World::three(seed).await;
        let service = world.service("web").await;
        publish(&service, "t", &[(1, 1)]);
        let mut consumer = Consumer::to(world.last(), "web/t");
        consumer.sees("web/t", &[(1, 1)]).await;
        world.last().leave();
        consumer.loses("web/t").await;
        assert!(!world.last().has_service("web"));
        assert_eq!(world.last().nodes().len(), 1);
        world.join(world.last());
        assert!(world.last().join(Arc::new(world.hub.join("n2")), Timing::default()).is_err());
        consumer.sees("web/t", &[(1, 1)]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn congress_21_what_nobody_follows_is_not_sent_and_beats_are_small() {
    let world = World::three(0).await;
    world.hub.calm();
    let services: Vec<Service> = (0..100).map(|n| world.first().register(&format!("s{n}")).unwrap()).collect();
    for service in &services {
        publish(service, "t", &[(1, 1)]);
    }
    until(|| world.last().services(false).len() == 100).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = world.hub.counters().sent;
    for n in 2..102 {
        services.iter().for_each(|service| drop(publish(service, "t", &[(1, n)])));
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Three nodes beat each second, each to two others.
    let sent = world.hub.counters().sent - before;
    assert!(sent <= 3 * 2 * 11, "{sent} messages for 10,000 changes that nobody follows");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hears_but_is_not_heard_heals() {
    by_seeds(|seed| async move {
        let world = World::three(seed).await;
        let service = world.service("web").await;
        publish(&service, "t", &[(1, 1)]);
        let mut consumer = Consumer::to(world.last(), "web/t");
        consumer.sees("web/t", &[(1, 1)]).await;
        // What it says is lost: the publisher's node takes it for dead and serves it no more.
        world.hub.cut("n2", "n0");
        tokio::time::sleep(Duration::from_secs(15)).await;
        publish(&service, "t", &[(2, 2)]);
        world.hub.heal("n2", "n0");
        consumer.sees("web/t", &[(2, 2)]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn many_services_that_come_at_once_are_told_of_together_and_later_ones_alone() {
    let world = World::three(1).await;
    world.hub.calm();
    let begin = |n: i32| {
        let service = world.first().register(&format!("s{n}")).unwrap();
        service.offer("t").unwrap();
        service.offer("u").unwrap();
        service
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = world.hub.counters().sent;
    let mut services: Vec<Service> = (0..200).map(begin).collect();
    until(|| world.last().services(false).len() == 200).await;
    let sent = world.hub.counters().sent - before;
    assert!(sent < 60, "{sent} messages of 200 services of two tables each");
    services.truncate(150);
    let one = begin(1000);
    until(|| world.last().services(false).len() == 151 && world.last().has_service("s1000")).await;
    drop(one);
    until(|| !world.last().has_service("s1000")).await;
    services.push(begin(1000));
    let methods = |bus: &Bus| bus.registry().remote.get("s1000").map(|remote| remote.methods.clone());
    until(|| methods(world.last()).is_some()).await;
    services[150].method("new", "", |call| async move { Ok(call.args) });
    until(|| methods(world.last()).is_some_and(|methods| methods.contains("new"))).await;
    // Who missed some of it is told all.
    world.part("n2");
    services.truncate(100);
    services.push(begin(2000));
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.mend("n2");
    until(|| world.last().services(false).len() == 101 && world.last().has_service("s2000")).await;
}
