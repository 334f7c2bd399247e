//! Going on where one was: what the history has from in between, then what happens.

use super::Events;
use super::queue::{Queue, Told};
use super::reading::{MAX_PAGE, Query, Reading, Walk};
use super::subscription::{Listening, Subscription};
use std::sync::Arc;

/// A page of the past has so many bytes at most, about: who does not read holds no more.
const PAGE_BYTES: usize = 1 << 20;

/// A subscription that goes on where another ended. It gets what happens from now on; first comes what the history has of
/// what happened before:
///
/// ```
/// # use busway::event::{Events, Listening, Resumed};
/// # let events = Events::default();
/// let Resumed { subscription, past } = events.resume(&Listening::default(), 0);
/// for page in past {
///     assert!(page.whole, "all that happened is still kept");
///     for told in page.events {
///         println!("{}", told.event.id);
///     }
/// }
/// assert!(subscription.try_next().is_none());
/// ```
#[derive(Debug)]
pub struct Resumed {
    /// What happens from now on.
    pub subscription: Subscription,
    /// What happened before that.
    pub past: Past,
}

/// What the history has of what happened between a place and a subscription: nothing is missed between the two, and nothing
/// is told twice.
///
/// A page is read when it is asked for, so that who takes his time holds little; what the history has to let go meanwhile is
/// missing, and a page says so. What no longer fits into the subscription's queue meanwhile is read here as well, as long as
/// nothing was taken from it and the history has it.
///
/// Each page looks at a bounded number of events, and blocks for some milliseconds at most: async code reads it in
/// `spawn_blocking`.
#[derive(Debug)]
pub struct Past {
    events: Events,
    query: Query,
    /// Up to where it goes: what is later is in the queue.
    until: u64,
    /// Up to which position it was said that some are gone.
    gone: u64,
    queue: Arc<Queue>,
    over: bool,
}

/// A page of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct PastPage {
    /// What happened, in the order in which it was published; perhaps nothing, though more pages follow.
    pub events: Vec<Told>,
    /// The position behind which it begins.
    pub after: u64,
    /// Whether nothing that was to come with it or after it is gone, beside what an earlier page told so.
    pub whole: bool,
}

impl Past {
    /// Whether there is nothing that was not read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn page(&mut self) -> PastPage {
        let after = self.query.after.unwrap_or_default();
        let mut walk = Walk::new(&self.query, self.gone);
        let mut state = self.events.state();
        while !walk.step(&state.history, self.until) {
            // Those who publish come first.
            drop(state);
            std::thread::yield_now();
            state = self.events.state();
        }
        self.gone = walk.known_gone();
        let (Reading { page, whole, .. }, position) = (walk.reading(), state.position);
        // Nobody publishes meanwhile: all that is later is in the queue, or is taken out of it here.
        let topics = self.query.topics.as_ref();
        let has_later = || state.history.is_on() && state.history.gone(topics, u64::MAX) <= self.until;
        if page.next.is_some() {
            self.query.after = page.next;
        } else if has_later() && self.queue.begin_anew() {
            (self.query.after, self.query.before) = (Some(self.until), Some(position + 1));
            self.until = position;
        } else {
            self.over = true;
        }
        PastPage { events: page.events, after, whole }
    }
}

impl Iterator for Past {
    type Item = PastPage;

    fn next(&mut self) -> Option<PastPage> {
        (!self.over).then(|| self.page())
    }
}

impl Events {
    /// Gets events from now on, and what the history has of them after that position.
    #[must_use]
    pub fn resume(&self, listening: &Listening, after: u64) -> Resumed {
        let mut state = self.state();
        let subscription = self.add(&mut state, listening);
        let until = state.position;
        drop(state);
        let query = Query {
            topics: listening.topics.clone(),
            filters: listening.filters.clone(),
            after: Some(after),
            before: Some(until + 1),
            limit: Some(MAX_PAGE),
            bytes: Some(PAGE_BYTES),
            ..Query::default()
        };
        let (events, queue) = (self.clone(), subscription.waiting());
        let past = Past { events, query, until, gone: 0, queue, over: after >= until };
        Resumed { subscription, past }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Delivery, How, Kept, Settings};
    use super::*;
    use proptest::prelude::*;
    use serde_json::Map;

    fn events(kept: usize) -> Events {
        let kept = Kept { events: kept, bytes: 64 << 20 };
        Events::new(Settings { kept, rate: None, ..Settings::default() })
    }

    fn publish(events: &Events, times: usize) {
        let how = How { origin: Some("o"), ..How::default() };
        let publisher = events.publisher("p");
        (0..times).for_each(|_| drop(publisher.create_and_publish("ScheduleEvent", Map::new(), how).unwrap()));
    }

    /// In pages of two.
    fn resume(events: &Events, bounds: Bounds, after: u64) -> Resumed {
        let mut resumed = events.resume(&Listening { bounds, ..Listening::default() }, after);
        resumed.past.query.limit = Some(2);
        resumed
    }

    fn positions(page: &PastPage) -> Vec<u64> {
        page.events.iter().map(|told| told.position).collect()
    }

    /// All that waits: positions, and how many are told to be lost.
    fn drain(subscription: &Subscription) -> (Vec<u64>, u64) {
        let (mut found, mut lost) = (Vec::new(), 0);
        while let Some(delivery) = subscription.try_next() {
            match delivery {
                Delivery::Gap(more) => lost += more,
                Delivery::Event(taken) => found.push(taken.told().position),
            }
        }
        (found, lost)
    }

    #[test]
    fn what_goes_while_somebody_reads_is_told_once() {
        let events = events(10);
        let how = How { origin: Some("o"), ..How::default() };
        for _ in 0..6 {
            events.publisher("p").create_and_publish("AppLoaderEvent", Map::new(), how).unwrap();
        }
        publish(&events, 10);
        let Resumed { subscription, mut past } = resume(&events, Bounds::default(), 0);
        let first = past.next().unwrap();
        assert_eq!((positions(&first), first.after, first.whole), (vec![1, 2], 0, true));
        publish(&events, 5);
        // 7 to 11 are gone; what comes before them is still there.
        let second = past.next().unwrap();
        assert_eq!((positions(&second), second.after, second.whole), (vec![3, 4], 2, false));
        let rest: Vec<PastPage> = past.collect();
        assert!(rest.iter().all(|page| page.whole));
        assert_eq!(rest.iter().flat_map(positions).collect::<Vec<_>>(), [5, 6, 12, 13, 14, 15, 16]);
        assert_eq!(drain(&subscription), ((17..=21).collect(), 0));
    }

    #[test]
    fn what_the_queue_has_no_room_for_is_read_as_well() {
        let events = events(1000);
        publish(&events, 3);
        let little = Bounds { events: 2, bytes: 1 << 20 };
        let Resumed { subscription, mut past } = resume(&events, little, 0);
        assert_eq!(past.next().map(|page| positions(&page)), Some(vec![1, 2]));
        publish(&events, 7);
        assert_eq!(subscription.counters().dropped, 5);
        let rest: Vec<PastPage> = past.collect();
        assert!(rest.iter().all(|page| page.whole));
        assert_eq!(rest.iter().flat_map(positions).collect::<Vec<_>>(), (3..=10).collect::<Vec<_>>());
        assert_eq!((subscription.counters().dropped, subscription.counters().waiting), (0, 0));
        publish(&events, 1);
        assert_eq!(drain(&subscription), (vec![11], 0));
    }

    #[test]
    fn a_page_holds_so_many_bytes() {
        let events = events(1000);
        let publisher = events.publisher("p").with_origin("o");
        for _ in 0..30 {
            let fields = Map::from_iter([("task_id".to_owned(), "x".repeat(200_000).into())]);
            publisher.create_and_publish("ScheduleEvent", fields, How::default()).unwrap();
        }
        let pages: Vec<PastPage> = events.resume(&Listening::default(), 0).past.collect();
        let bytes = |page: &PastPage| page.events.iter().map(|told| told.bytes).sum::<usize>();
        assert!(pages.iter().all(|page| bytes(page) <= 1 << 20));
        assert_eq!(pages.iter().flat_map(positions).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever is published between the pages: in order, nothing twice, and nothing is missed in silence. A gap is told
        /// only where something is missing.
        #[test]
        fn nothing_is_missed_in_silence_and_nothing_comes_twice(
            kept in 1..12_usize, waits in 1..6_usize, before in 0..20_usize, after in 0..20_u64,
            meanwhile in prop::collection::vec(0..8_usize, 0..8), later in 0..4_usize,
        ) {
            let events = events(kept);
            publish(&events, before);
            let after = after.min(events.position());
            let Resumed { subscription, past } =
                resume(&events, Bounds { events: waits, bytes: 1 << 20 }, after);
            let (mut found, mut gap, mut meanwhile) = (Vec::new(), false, meanwhile.into_iter());
            for page in past {
                found.extend(positions(&page));
                gap |= !page.whole;
                publish(&events, meanwhile.next().unwrap_or_default());
            }
            publish(&events, later);
            let last_of_past = found.last().copied().unwrap_or(after);
            let (live, lost) = drain(&subscription);
            found.extend(&live);
            prop_assert!(found.windows(2).all(|two| two[0] < two[1]), "{found:?}");
            prop_assert!(found.iter().all(|position| *position > after));
            let missing = (after + 1..=events.position()).filter(|position| !found.contains(position)).count();
            prop_assert_eq!(missing > 0, gap || lost > 0, "{:?} of {} after {}", found, events.position(), after);
            // What is missing of what happens is counted.
            let first = live.first().copied().unwrap_or(events.position() + 1);
            if !gap {
                prop_assert_eq!(first - last_of_past - 1, lost);
            }
        }
    }
}
