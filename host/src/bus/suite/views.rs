//! Views and topics: what a subscriber sees of a table is the view of each of its states.

use super::*;
use crate::bus::{Mask, Policy, Selector, SubscribeOptions, View};

in_both_worlds! {
    a_row_that_changes_topic_goes_for_one_and_comes_for_the_other
    topics_are_met_exactly_and_no_topic_is_everyones
    a_view_of_steps_is_the_step_of_views
    a_view_that_cannot_be_is_refused_with_why
    a_view_is_resumed_and_widens_over_what_it_does_not_show
    views_outlive_their_table
    a_publisher_shows_each_kind_of_receiver_its_own
    what_is_shown_may_change
}

fn seeing(view: View) -> SubscribeOptions {
    SubscribeOptions { view, ..SubscribeOptions::default() }
}

async fn a_row_that_changes_topic_goes_for_one_and_comes_for_the_other(world: World) {
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2), (3, Some("c"), 3)]);
    let to =
        |topic: &str| world.last().subscribe_with(address("web/t"), seeing(View::default().topics([topic]))).unwrap();
    let (mut a, mut b) = (Consumer::new(to("a")), Consumer::new(to("b")));
    a.sees("web/t", &[(1, 1)]).await;
    b.sees("web/t", &[(2, 2)]).await;
    put(&service, &[(1, Some("b"), 1), (2, Some("b"), 2), (3, Some("c"), 3)]);
    a.sees("web/t", &[]).await;
    b.sees("web/t", &[(1, 1), (2, 2)]).await;
    put(&service, &[(1, Some("b"), 1), (2, Some("b"), 2), (3, Some("c"), 4)]);
    put(&service, &[(1, Some("b"), 5), (2, Some("a"), 2), (3, Some("c"), 4)]);
    a.sees("web/t", &[(2, 2)]).await;
    b.sees("web/t", &[(1, 5)]).await;
}

async fn topics_are_met_exactly_and_no_topic_is_everyones(world: World) {
    let service = world.service("web").await;
    put(&service, &[(1, Some("D"), 1), (2, Some("Dev-tenant"), 2), (3, None, 3)]);
    let view = View::default().topics(["D"]);
    let mut consumer = Consumer::new(world.last().subscribe_with(address("web/t"), seeing(view)).unwrap());
    consumer.sees("web/t", &[(1, 1), (3, 3)]).await;
}

async fn a_view_of_steps_is_the_step_of_views(world: World) {
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
    let view = View::default().columns(["id", "v"]).mask("v", Mask::Null);
    let mut masked = world.last().subscribe_with(address("web/t"), seeing(view)).unwrap();
    let seen = masked.wait_for(|view| view.rows.num_rows() == 2, Duration::from_secs(60)).await.unwrap();
    assert_eq!(seen.shape.schema.fields().len(), 2);
    let before = (seen.epoch, seen.to);
    // What is masked is no change.
    put(&service, &[(1, Some("a"), 7), (2, Some("z"), 8)]);
    put(&service, &[(1, Some("a"), 9)]);
    let after = masked.wait_for(|view| view.rows.num_rows() == 1, Duration::from_secs(60)).await.unwrap();
    assert_eq!(after.epoch, before.0);
    assert!(after.to > before.1);
}

async fn a_view_that_cannot_be_is_refused_with_why(world: World) {
    let service = world.service("web").await;
    publish(&service, "t", &[(1, 1)]);
    let mut whole = Consumer::to(world.last(), "web/t");
    whole.sees("web/t", &[(1, 1)]).await;
    let refused = world.last().subscribe_with(address("web/t"), seeing(View::default().topics(["a"]))).unwrap_err();
    assert!(refused.to_string().starts_with("web/t can't be looked at in that way: "), "{refused}");
    // One that can't be seen so is not heard of; the others are.
    let view = View::default().columns(["id", "v"]);
    let mut all =
        Consumer::new(world.last().subscribe_with("web/#".parse::<Selector>().unwrap(), seeing(view)).unwrap());
    all.sees("web/t", &[(1, 1)]).await;
}

async fn a_view_is_resumed_and_widens_over_what_it_does_not_show(world: World) {
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1)]);
    let view = View::default().topics(["a"]);
    let keep = world.last().subscribe_with(address("web/t"), seeing(view.clone())).unwrap();
    let mut consumer = Consumer::new(world.last().subscribe_with(address("web/t"), seeing(view.clone())).unwrap());
    consumer.sees("web/t", &[(1, 1)]).await;
    let held = consumer.of("web/t");
    drop(consumer);
    for n in 0..10 {
        put(&service, &[(1, Some("a"), 1), (2, Some("b"), n)]);
    }
    put(&service, &[(1, Some("a"), 2), (2, Some("b"), 0)]);
    let at = held.at.map(|(epoch, to)| (crate::table::Epoch(epoch), to));
    until(|| keep.tables().iter().any(|view| rows(view) == [(1, 2)].into())).await;
    let again = world
        .last()
        .subscribe_with(address("web/t"), SubscribeOptions { resume: at, resume_mark: view.mark(), ..seeing(view) })
        .unwrap();
    assert!(again.resumed());
    let mut consumer = Consumer { subscription: again, held: [("web/t".to_owned(), held)].into() };
    let after = consumer.of("web/t");
    assert_eq!((after.rows, after.snapshots), ([(1, 2)].into(), 1), "by steps alone");
    drop(keep);
}

async fn views_outlive_their_table(world: World) {
    let view = View::default().topics(["a"]);
    let mut consumer = Consumer::new(world.last().subscribe_with(address("web/t"), seeing(view)).unwrap());
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
    consumer.sees("web/t", &[(1, 1)]).await;
    drop(service);
    consumer.loses("web/t").await;
    let service = world.first().register("web").unwrap();
    put(&service, &[(5, Some("a"), 5)]);
    consumer.sees("web/t", &[(5, 5)]).await;
    // Columns that the view does not fit: the table is gone for it, and comes back with them.
    publish(&service, "t", &[(1, 1)]);
    consumer.loses("web/t").await;
    put(&service, &[(6, Some("a"), 6)]);
    consumer.sees("web/t", &[(6, 6)]).await;
}

fn by(owner: &str, view: View) -> SubscribeOptions {
    SubscribeOptions { owner: Some(owner.to_owned()), view, ..SubscribeOptions::default() }
}

async fn a_publisher_shows_each_kind_of_receiver_its_own(world: World) {
    let service = world.service("web").await;
    let only_a = View::default().topics(["a"]);
    let policy =
        Policy::new().to("admin.#".parse().unwrap(), View::default()).to("reader".parse().unwrap(), only_a.clone());
    service.show("t", policy).unwrap();
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2), (3, Some("a"), 3)]);
    let to = |owner: &str, view: View| {
        Consumer::new(world.last().subscribe_with(address("web/t"), by(owner, view)).unwrap())
    };
    let mut admin = to("admin.x", View::default());
    admin.sees("web/t", &[(1, 1), (2, 2), (3, 3)]).await;
    let mut reader = to("reader", View::default());
    // What a receiver asks for it gets of what it is shown; no view of its own leads around that.
    let sly = View { through: Some(Box::new(View::default())), ..View::default().topics(["a", "b"]) };
    let mut narrow = to("reader", sly);
    let mut nobody = Consumer::to(world.last(), "#/t");
    reader.sees("web/t", &[(1, 1), (3, 3)]).await;
    narrow.sees("web/t", &[(1, 1), (3, 3)]).await;
    put(&service, &[(1, Some("b"), 1), (2, Some("a"), 2), (3, Some("a"), 4)]);
    reader.sees("web/t", &[(2, 2), (3, 4)]).await;
    narrow.sees("web/t", &[(2, 2), (3, 4)]).await;
    admin.sees("web/t", &[(1, 1), (2, 2), (3, 4)]).await;
    nobody.drain();
    assert!(nobody.held.is_empty(), "{:?}", nobody.held);
    let seen = |who: Option<&str>| world.first().look(&address("web/t"), who, &View::default()).unwrap();
    assert_eq!(rows(&seen(Some("reader")).unwrap()), [(2, 2), (3, 4)].into());
    assert!(seen(None).is_none() && seen(Some("admin")).is_some());
}

async fn what_is_shown_may_change(world: World) {
    let service = world.service("web").await;
    put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
    let mut reader =
        Consumer::new(world.last().subscribe_with(address("web/t"), by("reader", View::default())).unwrap());
    reader.sees("web/t", &[(1, 1), (2, 2)]).await;
    let all = || "#".parse().unwrap();
    service.show("t", Policy::new().to(all(), View::default().topics(["b"]))).unwrap();
    reader.sees("web/t", &[(2, 2)]).await;
    service.show("t", Policy::new()).unwrap();
    reader.loses("web/t").await;
    service.show("t", Policy::new().to(all(), View::default())).unwrap();
    reader.sees("web/t", &[(1, 1), (2, 2)]).await;
    let refused = service.show("t", Policy::new().to(all(), View::default().columns(["nope"]))).unwrap_err();
    assert!(refused.to_string().starts_with("web/t can't be looked at in that way: "), "{refused}");
    put(&service, &[(2, Some("b"), 2)]);
    reader.sees("web/t", &[(2, 2)]).await;
}

/// A client whose connection broke.
#[tokio::test(start_paused = true)]
async fn who_alone_looks_at_a_view_and_comes_back_soon_goes_on() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    put(&service, &[(1, Some("a"), 1)]);
    let view = View::default().topics(["a"]);
    let mut consumer = Consumer::new(bus.subscribe_with(address("web/t"), seeing(view.clone())).unwrap());
    for (after, resumed) in [(5, true), (55, true), (61, false)] {
        let held = consumer.of("web/t");
        drop(consumer);
        put(&service, &[(1, Some("a"), after), (2, Some("b"), after)]);
        tokio::time::sleep(Duration::from_secs(after.unsigned_abs())).await;
        let resume = held.at.map(|(epoch, to)| (crate::table::Epoch(epoch), to));
        let options = SubscribeOptions { resume, resume_mark: view.mark(), ..seeing(view.clone()) };
        let again = bus.subscribe_with(address("web/t"), options).unwrap();
        assert_eq!(again.resumed(), resumed, "after {after} s");
        let held = [("web/t".to_owned(), held)].into();
        consumer = Consumer { subscription: again, held };
        assert_eq!(consumer.of("web/t").rows, [(1, after)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn views_that_nobody_looks_at_are_few_and_go_in_the_end() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    put(&service, &[(1, Some("a"), 1)]);
    let views = || bus.registry().places_of("web").iter().filter(|slot| !slot.view_of().is_everything()).count();
    for n in 0..200 {
        drop(bus.subscribe_with(address("web/t"), seeing(View::default().topics([format!("t{n}")]))).unwrap());
        assert!(views() <= crate::bus::resting::MOST, "{}", views());
    }
    assert_eq!(views(), crate::bus::resting::MOST);
    let keep = bus.subscribe_with(address("web/t"), seeing(View::default().topics(["t199"]))).unwrap();
    tokio::time::sleep(crate::bus::resting::REST * 2).await;
    assert_eq!(views(), 1, "the one that is looked at again");
    drop(keep);
    assert_eq!(views(), 1);
    service.end("t");
    assert_eq!(views(), 0, "none of a table that is no more");
}
