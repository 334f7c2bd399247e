//! Who gets what: several subscriptions of one service, patterns, shared addresses, views, resuming.

use super::*;
use crate::bus::{Mode, Resync, Selector, SubscribeOptions};
use futures_util::StreamExt;

in_both_worlds! {
    congress_19_two_subscriptions_of_one_service_live_and_die_independently
    a_pattern_reaches_all_and_who_comes_later_and_tells_who_leaves
    a_shared_address_reaches_all_who_listen_on_it
    addresses_change_while_services_run
    states_are_whole_and_skip_what_lies_between
    a_pull_subscription_is_served_when_it_asks
    waiting_for_a_condition
    an_operator_resyncs
    a_consumer_that_could_not_apply_begins_anew_at_most_once_in_ten_seconds
    hidden_services_are_met_only_when_asked_for
}

async fn congress_19_two_subscriptions_of_one_service_live_and_die_independently(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let options = || SubscribeOptions { owner: Some("reader".to_owned()), ..SubscribeOptions::default() };
    let one = world.last().subscribe_with(address("web/t"), options()).unwrap();
    let two = world.last().subscribe_with(address("web/t"), options()).unwrap();
    assert_ne!(one.id(), two.id());
    let (mut one, mut two) = (Consumer::new(one), Consumer::new(two));
    one.sees("web/t", &[(1, 1)]).await;
    drop(one);
    publish(&service, "t", &[(2, 2)]);
    two.sees("web/t", &[(2, 2)]).await;
}

async fn a_pattern_reaches_all_and_who_comes_later_and_tells_who_leaves(world: World) {
    let north = world.service("web.north").await;
    publish(&north, "t", &[(1, 1)]);
    let mut all = Consumer::to(world.last(), "web.*/t");
    all.sees("web.north/t", &[(1, 1)]).await;
    let south = world.service("web.south").await;
    let deep = world.service("web.south.deep").await;
    publish(&south, "t", &[(2, 2)]);
    publish(&south, "other", &[(3, 3)]);
    publish(&deep, "t", &[(4, 4)]);
    all.sees("web.south/t", &[(2, 2)]).await;
    drop(north);
    all.loses("web.north/t").await;
    assert_eq!(all.of("web.south/t").rows, [(2, 2)].into(), "each publisher's state is its own");
    assert_eq!(all.held.keys().collect::<Vec<_>>(), ["web.north/t", "web.south/t"]);
    let again = world.first().register("web.north").unwrap();
    publish(&again, "t", &[(9, 9)]);
    all.sees("web.north/t", &[(9, 9)]).await;
}

async fn a_shared_address_reaches_all_who_listen_on_it(world: World) {
    let (a, b) = (world.service("a").await, world.service("b").await);
    a.listen("frontends").unwrap();
    b.listen("frontends").unwrap();
    publish(&a, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(world.last(), "frontends/t");
    consumer.sees("a/t", &[(1, 1)]).await;
    publish(&b, "t", &[(2, 2)]);
    consumer.sees("b/t", &[(2, 2)]).await;
    drop(a);
    consumer.loses("a/t").await;
    assert_eq!(consumer.of("b/t").rows, [(2, 2)].into());
}

async fn addresses_change_while_services_run(world: World) {
    let service = world.service("a").await;
    publish(&service, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(world.last(), "red.#/t");
    service.listen("red.one").unwrap();
    consumer.sees("a/t", &[(1, 1)]).await;
    service.unlisten("red.one");
    consumer.loses("a/t").await;
    service.listen("red").unwrap();
    publish(&service, "t", &[(2, 2)]);
    consumer.sees("a/t", &[(2, 2)]).await;
    assert!(service.listen("red..two").is_err());
}

async fn states_are_whole_and_skip_what_lies_between(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(0, 0)]);
    let options = SubscribeOptions { mode: Mode::States, ..SubscribeOptions::default() };
    let mut consumer = Consumer::new(world.last().subscribe_with(address("web/t"), options).unwrap());
    consumer.sees("web/t", &[(0, 0)]).await;
    for n in 1..50 {
        publish(&service, "t", &[(n, n)]);
    }
    consumer.sees("web/t", &[(49, 49)]).await;
    assert_eq!(consumer.of("web/t").steps, 0);
    let mut states = Box::pin(world.last().subscribe(address("web/t")).as_states());
    let (_, state) = states.next().await.unwrap();
    assert_eq!(rows(&state.unwrap()), [(49, 49)].into());
    drop(service);
    loop {
        let (_, state) = states.next().await.unwrap();
        if state.is_none() {
            return;
        }
    }
}

async fn a_pull_subscription_is_served_when_it_asks(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(0, 0)]);
    let options = SubscribeOptions { mode: Mode::Pull, ..SubscribeOptions::default() };
    let mut consumer = Consumer::new(world.last().subscribe_with(address("web/t"), options).unwrap());
    consumer.sees("web/t", &[(0, 0)]).await;
    for n in 1..=20 {
        publish(&service, "t", &[(n, n)]);
    }
    until(|| world.last().table(&address("web/t")).is_some_and(|view| rows(&view) == [(20, 20)].into())).await;
    assert_eq!(consumer.subscription.counters().held, 0, "nothing was kept for it");
    let before = consumer.held["web/t"].clone();
    let after = consumer.of("web/t");
    assert_eq!((after.rows, after.steps + after.snapshots), ([(20, 20)].into(), before.steps + before.snapshots + 1));
}

async fn waiting_for_a_condition(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let mut waiting = world.last().subscribe(address("web/t"));
    let far = Duration::from_secs(60);
    let seen = waiting.wait_for(|view| rows(view).contains_key(&1), far).await.unwrap();
    assert_eq!(seen.address.to_string(), "web/t");
    let (found, _) = tokio::join!(waiting.wait_for(|view| rows(view).contains_key(&7), far), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        publish(&service, "t", &[(7, 7)]);
    });
    assert_eq!(rows(&found.unwrap()), [(7, 7)].into());
    let never = waiting.wait_for(|view| view.rows.is_empty(), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(never.to_string(), "what was waited for did not come within 1s");
}

async fn an_operator_resyncs(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let options = SubscribeOptions { owner: Some("reader".to_owned()), ..SubscribeOptions::default() };
    let mut mine = Consumer::new(world.last().subscribe_with(address("web/t"), options).unwrap());
    let mut other = Consumer::to(world.last(), "web/t");
    mine.sees("web/t", &[(1, 1)]).await;
    other.sees("web/t", &[(1, 1)]).await;
    let (was, others) = (mine.of("web/t").snapshots, other.of("web/t").snapshots);
    assert_eq!(world.last().resync(&Resync::Service("reader".to_owned())), 1);
    until(|| mine.of("web/t").snapshots == was + 1).await;
    assert_eq!(world.last().resync(&Resync::Subscription(mine.subscription.id())), 1);
    until(|| mine.of("web/t").snapshots == was + 2).await;
    assert_eq!(other.of("web/t").snapshots, others);
    assert!(world.last().resync(&Resync::All) >= 2);
    until(|| other.of("web/t").snapshots == others + 1).await;
    assert_eq!(world.last().resync(&Resync::Service("nobody".to_owned())), 0);
}

async fn a_consumer_that_could_not_apply_begins_anew_at_most_once_in_ten_seconds(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(world.last(), "web/t");
    consumer.sees("web/t", &[(1, 1)]).await;
    let was = consumer.of("web/t").snapshots;
    let begun = tokio::time::Instant::now();
    for _ in 0..5 {
        assert!(consumer.subscription.resync(&address("web/t")));
    }
    until(|| consumer.of("web/t").snapshots == was + 1).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    until(|| consumer.of("web/t").snapshots == was + 2).await;
    assert!(begun.elapsed() >= Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(consumer.of("web/t").snapshots, was + 2);
    assert!(!consumer.subscription.resync(&address("web/nothing")));
}

async fn hidden_services_are_met_only_when_asked_for(world: World) {
    let hidden = world.service("_inner").await;
    publish(&hidden, "t", &[(1, 1)]);
    let mut all = Consumer::to(world.last(), "#/#");
    let mut asked = Consumer::to(world.last(), "_inner/#");
    asked.sees("_inner/t", &[(1, 1)]).await;
    all.drain();
    assert!(all.held.is_empty());
    assert!(!world.last().services(false).contains(&"_inner".to_owned()));
    assert!(world.last().services(true).contains(&"_inner".to_owned()));
    assert!("_*/t".parse::<Selector>().is_err());
}

/// More tables than are looked through one by one.
#[test]
fn each_of_many_tables_is_kept_apart_while_they_come_and_go() {
    let bus = Bus::new("n0");
    let mut all = Consumer::to(&bus, "#/#");
    let begin = |n: i64| {
        let service = bus.register(&format!("s{n}")).unwrap();
        publish(&service, "t", &[(n, n)]);
        publish(&service, "u", &[(n, -n)]);
        service
    };
    let mut services: BTreeMap<i64, Service> = (0..40).map(|n| (n, begin(n))).collect();
    let check = |all: &mut Consumer, services: &BTreeMap<i64, Service>| {
        all.drain();
        let there: BTreeMap<_, _> = all
            .held
            .iter()
            .filter(|(_, held)| held.at.is_some())
            .map(|(name, held)| (name.clone(), held.rows.clone()))
            .collect();
        let expected = services
            .keys()
            .flat_map(|n| [("t", *n), ("u", -*n)].map(|(table, v)| (format!("s{n}/{table}"), [(*n, v)].into())));
        assert_eq!(there, expected.collect());
        assert_eq!(all.subscription.places().len(), 2 * services.len());
    };
    check(&mut all, &services);
    for round in 1..4 {
        // Some go, and some of those come back before anybody looked.
        services.retain(|n, _| n % 7 != round && n % 3 != 0);
        (0..20)
            .filter(|n| n % 7 == round || n % 3 == round % 3)
            .for_each(|n| _ = services.entry(n).or_insert_with(|| begin(n)));
        check(&mut all, &services);
    }
    services.retain(|n, _| *n == 5);
    check(&mut all, &services);
    services.clear();
    check(&mut all, &services);
}

#[test]
fn what_did_not_change_is_not_touched() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    let _all: Vec<Subscription> =
        ["#/#", "web/*", "web/t"].into_iter().map(|to| bus.subscribe(to.parse::<Selector>().unwrap())).collect();
    publish(&service, "t", &[(1, 1)]);
    service.offer("u").unwrap();
    for only in [None, Some("t"), Some("u")] {
        let mut touched = crate::bus::Touched::default();
        bus.registry().reconcile("web", only, &mut touched);
        assert!(touched.tables.is_empty() && touched.unfit.is_empty(), "{touched:?}");
    }
}

#[test]
fn who_asks_for_a_snapshot_too_soon_gets_it_later_where_nothing_can_ring_too() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    publish(&service, "t", &[(1, 1)]);
    let mut consumer = Consumer::to(&bus, "web/t");
    consumer.drain();
    let ask = |consumer: &Consumer| assert!(consumer.subscription.resync(&address("web/t")));
    ask(&consumer);
    assert_eq!(consumer.of("web/t").snapshots, 2);
    ask(&consumer);
    assert_eq!(consumer.of("web/t").snapshots, 2, "not so soon");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // Only the clock is the runtime's.
    runtime.block_on(tokio::time::advance(Duration::from_secs(11)));
    let _entered = runtime.enter();
    assert_eq!(consumer.of("web/t").snapshots, 3);
}
