//! Who works on a table's rows keeps nobody from the rest of the bus.

use super::breaks::within_seconds;
use super::*;
use crate::bus::slot::always;
use crate::bus::{Policy, SubscribeOptions, View};
use std::sync::mpsc;

/// Nothing here waits for the writer of `web/t`, which is at work until the answer comes.
fn the_rest_goes_on(bus: &Bus, other: &Service) {
    publish(other, "u", &[(1, 1)]);
    let mut whole = Consumer::to(bus, "web/t");
    assert_eq!(whole.of("web/t").rows.get(&1), Some(&1), "who only looks at what is there waits for nobody");
    let mut pattern = Consumer::to(bus, "#/u");
    assert_eq!(pattern.of("other/u").rows, [(1, 1)].into());
    let late = bus.register("late").unwrap();
    publish(&late, "t", &[(2, 2)]);
    late.listen("shared").unwrap();
    let seen = SubscribeOptions { view: View::default().columns(["id", "v"]), ..SubscribeOptions::default() };
    let mut view = Consumer::new(bus.subscribe_with(address("late/t"), seen).unwrap());
    assert_eq!(view.of("late/t").rows, [(2, 2)].into());
    drop((view, pattern, whole, late));
    assert_eq!(bus.services(false), ["other", "web"]);
}

/// Does `work` while a writer of `web/t` is at work, and waits for it when that is done.
fn while_a_writer_works(bus: &Bus, work: impl FnOnce() + Send + 'static) {
    let slot = bus.slots_of("web").remove(0);
    let other = bus.register("other").unwrap();
    let (begun, begins) = mpsc::channel();
    let held = slot.hold();
    let waiting = std::thread::spawn(move || {
        begun.send(()).unwrap();
        work();
    });
    begins.recv().unwrap();
    // It may be anywhere before the writer's door now, and soon at it.
    for _ in 0..50 {
        std::thread::yield_now();
        the_rest_goes_on(bus, &other);
    }
    drop(held);
    waiting.join().unwrap();
}

#[test]
fn a_view_of_a_busy_table_begins_when_it_can_and_the_rest_goes_on() {
    within_seconds(|| {
        let bus = Bus::new("n0");
        let service = bus.register("web").unwrap();
        put(&service, &[(1, Some("a"), 1)]);
        let (there, view) = (bus.clone(), View::default().topics(["a"]));
        while_a_writer_works(&bus, move || {
            let seen = SubscribeOptions { view, ..SubscribeOptions::default() };
            let mut one = Consumer::new(there.subscribe_with(address("web/t"), seen.clone()).unwrap());
            assert_eq!(one.of("web/t").rows, [(1, 1)].into(), "filled when the writer is done");
            // And a second view comes and goes.
            drop(one);
            drop(there.subscribe_with(address("web/t"), seen).unwrap());
        });
    });
}

#[test]
fn who_leaves_a_view_of_a_busy_table_holds_nobody_up() {
    within_seconds(|| {
        let bus = Bus::new("n0");
        let service = bus.register("web").unwrap();
        put(&service, &[(1, Some("a"), 1)]);
        let seen = SubscribeOptions { view: View::default().topics(["a"]), ..SubscribeOptions::default() };
        let leaving = bus.subscribe_with(address("web/t"), seen).unwrap();
        while_a_writer_works(&bus, move || drop(leaving));
    });
}

#[test]
fn a_change_of_policy_of_a_busy_table_holds_nobody_up() {
    within_seconds(|| {
        let bus = Bus::new("n0");
        let service = Arc::new(bus.register("web").unwrap());
        put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
        let all = || "#".parse().unwrap();
        service.show("t", Policy::new().to(all(), View::default())).unwrap();
        let (mine, there) = (Arc::clone(&service), bus.clone());
        let follower = std::cell::Cell::new(Some(bus.subscribe(address("web/t"))));
        while_a_writer_works(&bus, move || {
            // Shown to readers only while it is worked on: nobody looks at it as `reader` elsewhere in this test.
            let reader = Policy::new().to("reader".parse().unwrap(), View::default().topics(["b"]));
            mine.show("t", reader.to(all(), View::default())).unwrap();
            let seen = SubscribeOptions { owner: Some("reader".to_owned()), ..SubscribeOptions::default() };
            let mut reader = Consumer::new(there.subscribe_with(address("web/t"), seen).unwrap());
            assert_eq!(reader.of("web/t").rows, [(2, 2)].into());
        });
        drop(follower.take());
    });
}

#[test]
fn a_service_that_goes_while_its_table_is_worked_on_leaves_nothing_behind() {
    within_seconds(|| {
        let bus = Bus::new("n0");
        let service = bus.register("web").unwrap();
        put(&service, &[(1, Some("a"), 1), (2, Some("b"), 2)]);
        let seen = SubscribeOptions { view: View::default().topics(["a"]), ..SubscribeOptions::default() };
        let mut view = Consumer::new(bus.subscribe_with(address("web/t"), seen).unwrap());
        let mut whole = Consumer::to(&bus, "web/t");
        assert_eq!((view.of("web/t").rows, whole.of("web/t").rows.len()), ([(1, 1)].into(), 2));
        let slot = bus.slots_of("web").remove(0);
        let held = slot.hold();
        let there = bus.clone();
        let going = std::thread::spawn(move || drop(service));
        while there.has_service("web") {
            std::thread::yield_now();
        }
        // Gone at once, whoever is at work; and the next one of that name begins anew.
        let before = whole.of("web/t");
        assert_eq!((before.at, before.gone), (None, 1));
        assert_eq!(view.of("web/t").gone, 1);
        let next = there.register("web").unwrap();
        drop(held);
        put(&next, &[(3, Some("a"), 3)]);
        going.join().unwrap();
        assert!(next.has("t"), "the end of the one before is not this one's");
        assert_eq!(whole.of("web/t").rows, [(3, 3)].into());
        assert_eq!((whole.of("web/t").snapshots, whole.of("web/t").steps), (2, 0), "in an epoch of its own");
        assert_eq!(view.of("web/t").rows, [(3, 3)].into());
    });
}

#[test]
fn a_hook_that_panics_once_is_told_of_the_rest() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    service.on_interest(move |table, wanted| {
        assert!(table != "bad", "a fault of the hook's");
        heard.lock().unwrap().push((table.to_owned(), wanted));
    });
    let there = bus.clone();
    std::thread::spawn(move || std::mem::forget(there.subscribe(address("web/bad")))).join().unwrap_err();
    drop(bus.subscribe(address("web/good")));
    assert_eq!(*told.lock().unwrap(), [("good".to_owned(), true), ("good".to_owned(), false)]);
}

#[test]
fn what_is_said_of_a_place_that_was_given_up_is_refused_and_said_of_the_next() {
    let bus = Bus::new("n0");
    let service = bus.register("web").unwrap();
    let subscription = bus.subscribe(address("web/t"));
    let place = bus.slots_of("web").remove(0);
    drop(subscription);
    assert!(bus.slots_of("web").is_empty());
    assert!(!place.fail("lost", &always) && !place.confirm(&always), "who had it at hand would be heard by nobody");
    service.fail("t", "it is not there".to_owned());
    assert_eq!(bus.slots_of("web")[0].error().as_deref(), Some("it is not there"));
    // One that is worked on stays.
    let place = bus.slot(&address("web/u"), &View::default());
    let held = place.hold();
    drop(bus.subscribe(address("web/u")));
    assert!(place.fail("heard", &always));
    drop(held);
}
