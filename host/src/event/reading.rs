//! Reading what happened lately: a page at a time, and no page holds up those who publish.

use super::filter::Filter;
use super::history::{History, Shelf};
use super::queue::Told;
use super::topic::{Origins, Topics};
use jiff::Timestamp;
use std::collections::BinaryHeap;

/// A page looks at no more events than this: of a pattern that few match it is short, and says where to go on.
const MOST_LOOKED_AT: usize = 50_000;

/// So many are looked at while nobody can publish.
const AT_ONCE: usize = 5_000;

/// The most that a page has.
pub const MAX_PAGE: usize = 1000;

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Of these topics; none: of all.
    pub topics: Option<Topics>,
    /// What events must be besides.
    pub filters: Vec<Filter>,
    /// That happened, and were published, then or later.
    pub since: Option<Timestamp>,
    /// With positions after this one: a page goes on where the one before ended.
    pub after: Option<u64>,
    /// With positions before this one: a page of the latest goes on backwards from another.
    pub before: Option<u64>,
    /// So many at most; no more than [`MAX_PAGE`].
    pub limit: Option<usize>,
    /// Of so many bytes at most, about; one event there may be in any case.
    pub bytes: Option<usize>,
    /// The latest, instead of the first that there are.
    pub latest: bool,
}

/// Some of the events that were asked for, in the order in which they were published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// They.
    pub events: Vec<Told>,
    /// Where to go on, `after` this one, if there may be more. Of the latest there are none behind.
    pub next: Option<u64>,
    /// Of the latest: where to go on backwards, `before` this one, if there may be more.
    pub previous: Option<u64>,
    /// It is shorter than it might be: too many others had to be looked at, or it would have too many bytes.
    pub cut: bool,
}

/// A page, and what is known beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What was asked for.
    pub page: Page,
    /// Where the last event of all stands; of the latest, where it stood when they were begun with: what came since is not
    /// among them.
    pub position: u64,
    /// Whether no event of these topics that came after the position that was asked for is gone.
    pub whole: bool,
}

/// A page on its way: read in stretches, between which others publish.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    query: &'a Query,
    /// What is not looked at yet is after and before these.
    after: u64,
    before: u64,
    looked: usize,
    bytes: usize,
    page: Page,
    /// Up to which position it is known that some are gone.
    gone: u64,
    whole: bool,
    /// What is later may not have been looked at.
    position: Option<u64>,
}

impl<'a> Walk<'a> {
    /// `gone`: who asks knows that some are gone up to there.
    pub(super) fn new(query: &'a Query, gone: u64) -> Self {
        let (after, before) = (query.after.unwrap_or_default(), query.before.unwrap_or(u64::MAX));
        Self { query, after, before, looked: 0, bytes: 0, page: Page::default(), gone, whole: true, position: None }
    }

    /// Goes on; answers whether that was the last stretch. `last`: where the last event of all stands.
    pub(super) fn step(&mut self, history: &History, last: u64) -> bool {
        let query = self.query;
        // Going back, what comes between two stretches is behind it.
        self.position = self.position.filter(|_| query.latest).or(Some(last));
        let gone = history.gone(query.topics.as_ref(), self.before);
        self.whole &= gone <= self.after.max(self.gone) && (history.is_on() || self.after >= last);
        self.gone = self.gone.max(gone);
        let mut parts = self.parts(history);
        // All are in order: the next is the one that is first of those at their front, or from the other end.
        let mut next: BinaryHeap<(u64, usize)> =
            parts.iter().zip(0..).map(|(part, place)| (part.rank(query.latest), place)).collect();
        let end = (self.looked + AT_ONCE).min(MOST_LOOKED_AT);
        let limit = query.limit.unwrap_or(100).min(MAX_PAGE);
        while let Some((_, place)) = next.pop() {
            let part = &mut parts[place];
            let told = part.peek(query.latest);
            if self.page.events.len() == limit || self.looked == MOST_LOOKED_AT {
                self.ends_before(told.position);
                break;
            }
            if self.looked == end {
                match query.latest {
                    true => self.before = told.position + 1,
                    false => self.after = told.position - 1,
                }
                return false;
            }
            self.looked += 1;
            // One may have been published late.
            let happened = query.since.is_none_or(|since| told.event.time >= since);
            let wanted = || query.filters.iter().all(|filter| filter.wants(&told.event));
            if happened && part.origins.mean(&part.shelf.words, &told.event.origin) && wanted() {
                self.bytes = self.bytes.saturating_add(told.bytes);
                if query.bytes.is_some_and(|most| self.bytes > most) && !self.page.events.is_empty() {
                    self.ends_before(told.position);
                    break;
                }
                self.page.events.push(told.clone());
            }
            if part.step(query.latest) {
                next.push((part.rank(query.latest), place));
            }
        }
        self.page.cut &= self.page.events.len() < limit;
        if query.latest {
            self.page.events.reverse();
        }
        true
    }

    /// There is one that it has no room for.
    fn ends_before(&mut self, position: u64) {
        match self.query.latest {
            true => self.page.previous = Some(position + 1),
            false => self.page.next = Some(position - 1),
        }
        self.page.cut = true;
    }

    fn parts<'h>(&self, history: &'h History) -> Vec<Part<'h>> {
        let query = self.query;
        let (after, since) = (self.after, query.since);
        let is_early = |told: &Told| told.position <= after || since.is_some_and(|since| told.at < since);
        let meant = history.shelves().filter_map(|shelf| {
            let kept = &shelf.kept;
            // Most of many shelves have nothing there: that is seen before anything else is asked.
            if kept.back().is_none_or(is_early) {
                return None;
            }
            let origins = match &query.topics {
                Some(topics) => topics.narrow(&shelf.words)?,
                None => Origins::All,
            };
            let end = match kept.back().is_some_and(|told| told.position < self.before) {
                true => kept.len(),
                false => kept.partition_point(|told| told.position < self.before),
            };
            let first = kept.partition_point(is_early);
            (first < end).then_some(Part { shelf, origins, first, end })
        });
        meant.collect()
    }

    /// Up to which position it is known that some are gone.
    pub(super) fn known_gone(&self) -> u64 {
        self.gone
    }

    /// What was read.
    pub(super) fn reading(self) -> Reading {
        Reading { page: self.page, position: self.position.unwrap_or_default(), whole: self.whole }
    }
}

/// What of a shelf is not looked at yet.
struct Part<'a> {
    shelf: &'a Shelf,
    origins: Origins,
    first: usize,
    end: usize,
}

impl<'a> Part<'a> {
    fn peek(&self, latest: bool) -> &'a Told {
        &self.shelf.kept[if latest { self.end - 1 } else { self.first }]
    }

    /// The greatest is next.
    fn rank(&self, latest: bool) -> u64 {
        let position = self.peek(latest).position;
        if latest { position } else { u64::MAX - position }
    }

    /// Whether there is another.
    fn step(&mut self, latest: bool) -> bool {
        if latest {
            self.end -= 1
        } else {
            self.first += 1
        }
        self.first < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Events, How, Kept, Settings};
    use super::*;
    use serde_json::json;

    /// So many events, of two types; of each seventh it is said.
    fn many(count: u64) -> Events {
        let kept = Kept { events: usize::MAX, bytes: usize::MAX };
        let events = Events::new(Settings { kept, rate: None, ..Settings::default() });
        let publisher = events.publisher("p").with_origin("o");
        for task in ["seventh", "other", "other"] {
            let fields = json!({"task_id": task}).as_object().unwrap().clone();
            let of = ["ScheduleEvent", "DatasourceUpdateEvent"][usize::from(events.position() == 2)];
            publisher.create_and_publish(of, fields, How::default()).unwrap();
        }
        let some = events.history(&Query::default()).events;
        let mut state = events.state();
        state.history = History::new(kept);
        for position in 1..=count {
            let told = &some[if position % 7 == 0 { 0 } else { 1 + usize::from(position % 2 == 0) }];
            state.history.put(Told { position, ..told.clone() });
        }
        state.position = count;
        drop(state);
        events
    }

    fn filtered(filter: &str) -> Query {
        Query { filters: vec![filter.parse().unwrap()], limit: Some(MAX_PAGE), ..Query::default() }
    }

    #[test]
    fn those_who_publish_get_their_turn_and_nothing_is_lost_by_it() {
        let count = 2 * AT_ONCE + 100;
        let events = many(u64::try_from(count).unwrap());
        for latest in [false, true] {
            let query = Query { latest, ..filtered("task_id=nobody") };
            let mut walk = Walk::new(&query, 0);
            let stretch = |walk: &mut Walk<'_>| {
                let state = events.state();
                walk.step(&state.history, state.position)
            };
            assert_eq!([stretch(&mut walk), stretch(&mut walk), stretch(&mut walk)], [false, false, true], "{latest}");
            assert_eq!((walk.looked, walk.page), (count, Page::default()));
        }
        let sevenths: Vec<u64> = (1..=events.position()).filter(|n| n % 7 == 0).collect();
        let (mut found, mut after) = (Vec::new(), Some(0));
        while let Some(next) = after {
            let page = events.history(&Query { after: Some(next), ..filtered("task_id=seventh") });
            found.extend(page.events.iter().map(|told| told.position));
            after = page.next;
        }
        assert_eq!(found, sevenths);
        let (mut found, mut before) = (Vec::new(), Some(u64::MAX));
        while let Some(next) = before {
            let page = events.history(&Query { before: Some(next), latest: true, ..filtered("task_id=seventh") });
            found.extend(page.events.iter().rev().map(|told| told.position));
            before = page.previous;
        }
        assert_eq!(found, sevenths.into_iter().rev().collect::<Vec<_>>());
    }

    /// Who goes on behind the position that is said gets what was published while the page was read.
    #[test]
    fn what_comes_while_a_page_is_read_is_on_it_or_behind_its_position() {
        let count = u64::try_from(AT_ONCE + 100).unwrap();
        for latest in [true, false] {
            let events = many(count);
            let query = Query { latest, ..filtered("task_id=new") };
            let mut walk = Walk::new(&query, 0);
            let stretch = |walk: &mut Walk<'_>| {
                let state = events.state();
                walk.step(&state.history, state.position)
            };
            assert!(!stretch(&mut walk));
            let fields = json!({"task_id": "new"}).as_object().unwrap().clone();
            let publisher = events.publisher("p").with_origin("o");
            publisher.create_and_publish("ScheduleEvent", fields, How::default()).unwrap();
            assert!(stretch(&mut walk));
            let Reading { page, position, .. } = walk.reading();
            let found: Vec<u64> = page.events.iter().map(|told| told.position).collect();
            let expected = if latest { (vec![], count) } else { (vec![count + 1], count + 1) };
            assert_eq!((found, position), expected, "{latest}");
        }
    }

    #[test]
    fn a_page_looks_at_so_many_and_says_where_to_go_on() {
        let most = u64::try_from(MOST_LOOKED_AT).unwrap();
        let events = many(most + 10);
        let page = events.history(&filtered("task_id=nobody"));
        assert_eq!((page.next, page.previous, page.cut), (Some(most), None, true));
        let page = events.history(&Query { after: page.next, ..filtered("task_id=nobody") });
        assert_eq!((page.next, page.previous, page.cut), (None, None, false));
        let page = events.history(&Query { latest: true, ..filtered("task_id=nobody") });
        assert_eq!((page.next, page.previous, page.cut), (None, Some(11), true));
    }

    #[test]
    fn a_page_of_too_many_bytes_is_cut_and_says_so() {
        let events = many(10);
        let one = events.history(&Query { limit: Some(2), ..Query::default() }).events[1].bytes;
        let read = |query: Query| {
            let page = events.history(&query);
            let positions: Vec<u64> = page.events.iter().map(|told| told.position).collect();
            (positions, page.next, page.previous, page.cut)
        };
        let some = Query { bytes: Some(one * 7 / 2), ..Query::default() };
        assert_eq!(read(some.clone()), (vec![1, 2, 3], Some(3), None, true));
        let latest = Query { latest: true, ..some };
        assert_eq!(read(latest.clone()), (vec![8, 9, 10], None, Some(8), true));
        assert_eq!(read(Query { before: Some(3), ..latest.clone() }), (vec![1, 2], None, None, false));
        assert_eq!(read(Query { after: Some(8), before: Some(8), ..latest }), (vec![], None, None, false));
        // One there is in any case, and a page that has as many as were asked for is whole.
        let one = Query { bytes: Some(1), ..Query::default() };
        assert_eq!(read(one.clone()), (vec![1], Some(1), None, true));
        assert_eq!(read(Query { limit: Some(1), ..one }), (vec![1], Some(1), None, false));
    }
}
