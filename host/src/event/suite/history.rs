//! What happened lately.

use super::*;
use proptest::prelude::*;

fn publish(events: &Events, of: &str, origin: &str) -> u64 {
    let how = How { origin: Some(origin), ..How::default() };
    events.publisher("p").with_limit(None).create_and_publish(of, Map::new(), how).unwrap().position
}

fn at(page: &PastPage) -> Vec<u64> {
    page.events.iter().map(|told| told.position).collect()
}

fn positions(page: &Page) -> Vec<u64> {
    page.events.iter().map(|told| told.position).collect()
}

#[test]
fn the_last_of_each_type_are_kept() {
    let events = Events::new(Settings { kept: Kept { events: 3, bytes: 1 << 20 }, rate: None, ..Settings::default() });
    publish(&events, "ErrorLoggingEvent", "rare");
    for _ in 0..10 {
        publish(&events, "ScheduleEvent", "often");
    }
    assert_eq!(positions(&events.history(&Query::default())), [1, 9, 10, 11]);
    let off = Events::new(Settings { kept: Kept { events: 0, bytes: 0 }, ..Settings::default() });
    publish(&off, "ScheduleEvent", "o");
    assert_eq!(off.history(&Query::default()), Page::default());
}

#[test]
fn types_that_somebody_makes_up_do_not_fill_the_memory() {
    let events =
        Events::new(Settings { kept: Kept { events: 1000, bytes: 100_000 }, rate: None, ..Settings::default() });
    for n in 0..5000 {
        let event =
            json!({"specversion": "1.0", "id": "1", "source": "s", "type": format!("made.up{n}"), "subject": "o"});
        events.publish_json(event, How::default()).unwrap();
    }
    let kept = events.history(&Query { limit: Some(MAX_PAGE), ..Query::default() }).events;
    assert!(kept.len() < 700, "{}", kept.len());
    assert_eq!(kept.last().unwrap().position, 5000);
    assert!(kept.windows(2).all(|two| two[0].position + 1 == two[1].position), "the oldest went");
}

#[test]
fn by_type_by_origin_by_time_and_in_pages() {
    let events = quiet();
    for n in 0..30 {
        publish(&events, ["ScheduleEvent", "AppLoaderEvent", "ErrorLoggingEvent"][n % 3], ["a", "b"][n % 2]);
    }
    let page = |pattern: &str, query: Query| {
        let topics = Some(Topics::matching(events.catalogue(), pattern).unwrap());
        positions(&events.history(&Query { topics, ..query }))
    };
    assert_eq!(page("ScheduleEvent.#", Query::default()), [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]);
    assert_eq!(page("*.b", Query { limit: Some(3), ..Query::default() }), [2, 4, 6]);
    assert_eq!(page("*.b", Query { limit: Some(3), latest: true, ..Query::default() }), [26, 28, 30]);
    assert_eq!(page("InfrastructureEvent.a", Query::default()), [5, 11, 17, 23, 29]);
    let first = events.history(&Query { limit: Some(20), ..Query::default() });
    assert_eq!((positions(&first), first.next), ((1..=20).collect(), Some(20)));
    let rest = events.history(&Query { limit: Some(20), after: first.next, ..Query::default() });
    assert_eq!((positions(&rest), rest.next), ((21..=30).collect(), None));
    let middle = first.events[14].event.time;
    let since = events.history(&Query { since: Some(middle), ..Query::default() });
    assert_eq!(positions(&since).first(), Some(&15));
}

#[test]
fn who_reads_and_then_listens_misses_nothing() {
    let events = quiet();
    let before: Vec<u64> = (0..5).map(|_| publish(&events, "ScheduleEvent", "o")).collect();
    let topics = Some(Topics::matching(events.catalogue(), "ScheduleEvent.#").unwrap());
    let resumed = events.resume(&Listening { topics, ..Listening::default() }, before[1]);
    let Resumed { subscription, mut past } = resumed;
    publish(&events, "AppLoaderEvent", "o");
    let after = publish(&events, "ScheduleEvent", "o");
    let page = past.next().unwrap();
    assert!(page.whole && past.is_over() && past.next().is_none());
    assert_eq!((page.after, at(&page)), (before[1], before[2..].to_vec()));
    let Some(Delivery::Event(next)) = subscription.try_next() else { panic!() };
    assert_eq!(next.told().position, after);
    assert!(subscription.try_next().is_none());
}

#[test]
fn what_is_gone_is_known_by_who_asks_for_it() {
    let events = Events::new(Settings { kept: Kept { events: 2, bytes: 1 << 20 }, rate: None, ..Settings::default() });
    publish(&events, "AppLoaderEvent", "o");
    for _ in 0..4 {
        publish(&events, "ScheduleEvent", "o");
    }
    let whole = |pattern: &str, after: u64| {
        let topics = Some(Topics::matching(events.catalogue(), pattern).unwrap());
        let listening = Listening { topics: topics.clone(), ..Listening::default() };
        let resumed = events.resume(&listening, after).past.next().unwrap().whole;
        let read = events.read(&Query { topics, after: Some(after), ..Query::default() });
        assert_eq!((read.whole, read.position), (resumed, 5));
        resumed
    };
    // 2 and 3 are gone.
    for (pattern, after, expected) in [
        ("ScheduleEvent.#", 2, false),
        ("ScheduleEvent.#", 3, true),
        ("TriggerEvent.other", 2, false),
        ("AppLoaderEvent.#", 0, true),
        ("#", 0, false),
        ("*.#", 3, true),
    ] {
        assert_eq!(whole(pattern, after), expected, "{pattern} {after}");
    }
    // Those whose whole shelf went are remembered as well; and of other types nothing is gone by that.
    let events = Events::new(Settings { kept: Kept { events: 9, bytes: 1_400 }, rate: None, ..Settings::default() });
    (0..2).for_each(|_| assert_ne!(publish(&events, "AppLoaderEvent", "o"), 0));
    publish(&events, "ScheduleEvent", "o");
    publish(&events, "ScheduleEvent", "o");
    let resume = |after| events.resume(&Listening::default(), after).past.next();
    let page = resume(0).unwrap();
    assert_eq!((at(&page), page.whole), (vec![3, 4], false));
    assert!(!resume(1).unwrap().whole && resume(2).unwrap().whole && resume(4).is_none());
    let topics = Some(Topics::matching(events.catalogue(), "ScheduleEvent.#").unwrap());
    assert!(events.read(&Query { topics, after: Some(0), ..Query::default() }).whole);
    let off = Events::new(Settings { kept: Kept { events: 0, bytes: 0 }, ..Settings::default() });
    publish(&off, "ScheduleEvent", "o");
    let resume = |after| off.resume(&Listening::default(), after).past.next();
    assert_eq!((resume(0).map(|page| page.whole), resume(1)), (Some(false), None));
}

#[test]
fn filters_choose_among_what_is_kept() {
    let events = quiet();
    let publisher = events.publisher("p").with_origin("o");
    let publish = |of: &str, data: Value| publisher.create_and_publish(of, fields(data), How::default()).unwrap();
    publish("ContainerStartupEvent", json!({"startup_names": ["web", "mail"]}));
    publish("DatasetSupplementAddedEvent", json!({"number_of_timesteps": 5}));
    publish("InstrumentSampleDataEvent", json!({"salinity": 35.0}));
    for (filter, expected) in [
        ("startup_names=mail", vec![1]),
        ("startup_names^=we", vec![1]),
        ("startup_names=mai", vec![]),
        ("number_of_timesteps=5", vec![2]),
        ("number_of_timesteps=5.0", vec![2]),
        ("salinity=35", vec![3]),
        ("salinity=34|35", vec![3]),
    ] {
        let query = Query { filters: vec![filter.parse().unwrap()], ..Query::default() };
        assert_eq!(positions(&events.history(&query)), expected, "{filter}");
        assert_eq!(positions(&events.history(&Query { latest: true, ..query })), expected, "{filter}");
    }
}

#[test]
fn what_is_kept_is_kept_under_the_words_under_which_it_was_told() {
    let events = quiet();
    let schedule = events.catalogue().get("ScheduleEvent").unwrap();
    let door = |base: &str| EventType {
        name: "acme.door".into(),
        id: None,
        base: Some(base.into()),
        owner: Owner::Operator,
        ..(*schedule).clone()
    };
    let (triggers, resources) = (of(&events, "TriggerEvent.#"), of(&events, "ResourceModifiedEvent.#"));
    for base in ["TriggerEvent", "ResourceModifiedEvent", "TriggerEvent"] {
        events.catalogue().add(door(base)).unwrap();
        (0..2).for_each(|_| assert_ne!(publish(&events, "acme.door", "o"), 0));
    }
    events.catalogue().remove_of(&Owner::Operator);
    let all = events.history(&Query::default());
    assert_eq!(positions(&all), [1, 2, 3, 4, 5, 6]);
    for (live, pattern) in [(triggers, "TriggerEvent.#"), (resources, "ResourceModifiedEvent.#")] {
        let topics = Some(Topics::matching(events.catalogue(), pattern).unwrap());
        let told: Vec<String> =
            events.history(&Query { topics, ..Query::default() }).events.iter().map(|t| t.event.id.clone()).collect();
        assert_eq!(told, ids(&live), "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Beside a plain list of all that was published.
    #[test]
    fn pages_together_are_all_there_is(
        published in prop::collection::vec((0..3_usize, 0..3_usize), 0..120), limit in 1..20_usize, kept in 1..30_usize,
    ) {
        let kept = Kept { events: kept, bytes: 1 << 20 };
        let events = Events::new(Settings { kept, rate: None, ..Settings::default() });
        let types = ["ScheduleEvent", "AppLoaderEvent", "ErrorLoggingEvent"];
        let all: Vec<(usize, u64)> =
            published.iter().map(|(of, origin)| (*of, publish(&events, types[*of], ["a", "b", "c"][*origin]))).collect();
        let mut expected: Vec<u64> = (0..3).flat_map(|of| {
            let of_type: Vec<u64> = all.iter().filter(|(one, _)| *one == of).map(|(_, position)| *position).collect();
            of_type[of_type.len().saturating_sub(kept.events)..].to_vec()
        }).collect();
        expected.sort_unstable();
        let (mut found, mut after) = (Vec::new(), Some(0));
        while let Some(next) = after {
            let page = events.history(&Query { after: Some(next), limit: Some(limit), ..Query::default() });
            prop_assert!(page.events.len() <= limit);
            found.extend(positions(&page));
            after = page.next;
        }
        prop_assert_eq!(&found, &expected);
        let latest = events.history(&Query { latest: true, limit: Some(limit), ..Query::default() });
        prop_assert_eq!(positions(&latest), &expected[expected.len().saturating_sub(limit)..]);
    }
}
