//! Who is slow costs itself.

use super::*;
use crate::bus::{Bounds, SubscribeOptions};

in_both_worlds! {
    inv10_a_slow_subscriber_is_served_one_sum_and_its_neighbour_all
    inv10_one_who_is_far_behind_is_served_a_snapshot
    inv10_bytes_are_bounded_too
}

fn narrow(messages: usize, bytes: usize) -> SubscribeOptions {
    SubscribeOptions { bounds: Bounds { messages, bytes }, ..SubscribeOptions::default() }
}

async fn inv10_a_slow_subscriber_is_served_one_sum_and_its_neighbour_all(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(0, 0)]);
    let mut slow = Consumer::new(world.last().subscribe_with(address("web/t"), narrow(4, 1 << 20)).unwrap());
    let mut quick = Consumer::to(world.last(), "web/t");
    slow.sees("web/t", &[(0, 0)]).await;
    quick.sees("web/t", &[(0, 0)]).await;
    let before = slow.of("web/t");
    for n in 1..=60 {
        publish(&service, "t", &[(0, n), (n, n)]);
        quick.sees("web/t", &[(0, n), (n, n)]).await;
    }
    let counters = slow.subscription.counters();
    assert!(counters.held == 0 && counters.late == 1 && counters.dropped > 50, "{counters:?}");
    slow.sees("web/t", &[(0, 60), (60, 60)]).await;
    let after = slow.of("web/t");
    assert_eq!((after.steps, after.snapshots), (before.steps + 1, before.snapshots));
    assert_eq!(slow.subscription.counters().coalesced, 1);
    let quick_one = quick.subscription.counters();
    assert_eq!((quick_one.dropped, quick_one.resynced), (0, 0));
}

async fn inv10_one_who_is_far_behind_is_served_a_snapshot(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(0, 0)]);
    let mut slow = Consumer::new(world.last().subscribe_with(address("web/t"), narrow(4, 1 << 20)).unwrap());
    slow.sees("web/t", &[(0, 0)]).await;
    let before = slow.of("web/t");
    for n in 1..=400 {
        publish(&service, "t", &[(0, n)]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until(|| world.last().table(&address("web/t")).is_some_and(|view| rows(&view) == [(0, 400)].into())).await;
    slow.sees("web/t", &[(0, 400)]).await;
    let after = slow.of("web/t");
    // Over a pipe that loses, the copy here may have gone by wider steps than the ring's number of them.
    assert_eq!(after.steps + after.snapshots, before.steps + before.snapshots + 1);
    if world.nodes.len() == 1 {
        assert_eq!((after.snapshots, slow.subscription.counters().resynced), (before.snapshots + 1, 1));
    }
}

async fn inv10_bytes_are_bounded_too(world: World) {
    let service = world.service("web").await;
    let wide = |v: i64| (0..1000).map(|n| (n, v)).collect::<Vec<_>>();
    publish(&service, "t", &wide(0));
    let mut slow = Consumer::new(world.last().subscribe_with(address("web/t"), narrow(1000, 100_000)).unwrap());
    slow.sees("web/t", &wide(0)).await;
    for n in 1..=10 {
        publish(&service, "t", &wide(n));
    }
    until(|| world.last().table(&address("web/t")).is_some_and(|view| rows(&view)[&0] == 10)).await;
    assert!(slow.subscription.counters().bytes <= 100_000);
    slow.sees("web/t", &wide(10)).await;
}
