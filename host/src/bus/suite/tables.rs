//! What a subscriber sees of tables.

use super::*;

in_both_worlds! {
    a_snapshot_then_steps_then_gone
    congress_01_a_publisher_that_restarts_leaves_no_stale_row
    congress_02_a_snapshot_before_the_first_subscriber_and_then_deltas
    congress_06_the_last_change_of_a_burst_arrives
    congress_07_a_long_backlog_is_caught_up
    congress_24_a_large_table_arrives_whole
    congress_28_a_subscription_before_its_service_gets_the_table_when_it_comes
    other_columns_begin_a_new_epoch
    the_poll_number_goes_along
    limits_keep_the_last_good_state
}

async fn a_snapshot_then_steps_then_gone(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1), (2, 2)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1), (2, 2)]).await;
    publish(&service, "t", &[(2, 3), (4, 4)]);
    consumer.sees("web/t", &[(2, 3), (4, 4)]).await;
    service.delta("t", &batches([(5, 5)]), &keys([2]), 0).unwrap();
    consumer.sees("web/t", &[(4, 4), (5, 5)]).await;
    assert_eq!(consumer.of("web/t").snapshots, 1, "all but the first were steps");
    service.end("t");
    consumer.loses("web/t").await;
}

async fn congress_01_a_publisher_that_restarts_leaves_no_stale_row(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1), (2, 2)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1), (2, 2)]).await;
    drop(service);
    let again = world.first().register("web").unwrap();
    publish(&again, "t", &[(2, 2), (3, 3)]);
    consumer.sees("web/t", &[(2, 2), (3, 3)]).await;
}

async fn congress_02_a_snapshot_before_the_first_subscriber_and_then_deltas(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1), (2, 2)]);
    publish(&service, "t", &[(2, 2), (3, 3)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    service.delta("t", &batches([(4, 4)]), &keys([3]), 0).unwrap();
    publish(&service, "t", &[(4, 4)]);
    consumer.sees("web/t", &[(4, 4)]).await;
}

async fn congress_06_the_last_change_of_a_burst_arrives(world: World) {
    let service = world.service("web").await;
    let mut consumer = Consumer::to(world.last(), "web/t");
    for round in 0..20 {
        publish(&service, "t", &[(1, round), (2, -round)]);
        // Nothing follows: if it is lost, only liveness can tell.
        consumer.sees("web/t", &[(1, round), (2, -round)]).await;
    }
}

async fn congress_07_a_long_backlog_is_caught_up(world: World) {
    let service = world.service("web").await;
    let mut consumer = Consumer::to(world.last(), "web/t");
    publish(&service, "t", &[(0, 0)]);
    consumer.sees("web/t", &[(0, 0)]).await;
    for n in 1..2000 {
        service.delta("t", &batches([(n, n)]), &keys([n - 1]), 0).unwrap();
    }
    consumer.sees("web/t", &[(1999, 1999)]).await;
}

async fn congress_24_a_large_table_arrives_whole(world: World) {
    let service = world.service("web").await;
    let mut consumer = Consumer::to(world.last(), "web/t");
    let all: Vec<(i64, i64)> = (0..30_000).map(|n| (n, n * 7)).collect();
    publish(&service, "t", &all);
    consumer.sees("web/t", &all).await;
    let most: Vec<(i64, i64)> = (0..30_000).map(|n| (n, n * 7 + 1)).collect();
    publish(&service, "t", &most);
    consumer.sees("web/t", &most).await;
}

async fn congress_28_a_subscription_before_its_service_gets_the_table_when_it_comes(world: World) {
    let mut consumer = Consumer::to(world.last(), "web/t");
    let mut wild = Consumer::to(world.last(), "#/t");
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    consumer.sees("web/t", &[(1, 1)]).await;
    wild.sees("web/t", &[(1, 1)]).await;
}

async fn other_columns_begin_a_new_epoch(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    let before = consumer.of("web/t").at.unwrap();
    // No key any more: another kind of table.
    service.snapshot("t", shape(false), &batches([(1, 1), (2, 2)]), 0).unwrap();
    consumer.sees("web/t", &[(1, 1), (2, 2)]).await;
    let after = consumer.of("web/t");
    assert!(after.at.unwrap().0 > before.0 && after.snapshots == 2);
}

async fn the_poll_number_goes_along(world: World) {
    let service = world.service("web").await;
    let mut both = world.last().subscribe("web/*".parse::<crate::bus::Selector>().unwrap());
    for poll in 1..4 {
        for table in ["a", "b"] {
            let rows = batches([(1, i64::try_from(poll).unwrap())]);
            service.snapshot(table, shape(true), &rows, poll).unwrap();
        }
    }
    let mut polls = BTreeMap::new();
    while polls.values().filter(|poll| **poll == 3).count() < 2 {
        let Delivery { address, message } = both.next().await;
        match message {
            Message::Snapshot(view) => polls.insert(address.to_string(), view.poll),
            Message::Step(step) => polls.insert(address.to_string(), step.poll),
            Message::Gone => panic!("nothing went"),
        };
    }
}

async fn limits_keep_the_last_good_state(world: World) {
    let service = world.service("web").await;
    service.limit("t", crate::table::Limits { rows: 2, ..Default::default() });
    publish(&service, "t", &[(1, 1), (2, 2)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1), (2, 2)]).await;
    let refused = service.snapshot("t", shape(true), &batches([(1, 1), (2, 2), (3, 3)]), 0).unwrap_err();
    assert!(matches!(refused, crate::bus::PublishError::Refused(crate::table::Refused::TooLarge { .. })), "{refused}");
    publish(&service, "t", &[(3, 3)]);
    consumer.sees("web/t", &[(3, 3)]).await;
}
