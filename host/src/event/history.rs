//! What happened lately: the last events of each type, bounded by number and by bytes.

use super::filter::Filter;
use super::queue::Told;
use super::topic::{Topics, Words};
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A page looks at no more events than this: of a pattern that few match it is short, and says where to go on.
const MOST_LOOKED_AT: usize = 20_000;

/// The most that a page has.
pub const MAX_PAGE: usize = 1000;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Events of each type.
    pub events: usize,
    /// Bytes of JSON of all together.
    pub bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { events: 1000, bytes: 64 << 20 }
    }
}

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Of these topics; none: of all.
    pub topics: Option<Topics>,
    /// What events must be besides.
    pub filters: Vec<Filter>,
    /// That happened then or later.
    pub since: Option<Timestamp>,
    /// With positions after this one: a page goes on where the one before ended.
    pub after: Option<u64>,
    /// So many at most; no more than [`MAX_PAGE`].
    pub limit: Option<usize>,
    /// The latest, instead of the first that there are.
    pub latest: bool,
}

/// Some of the events that were asked for, in the order in which they were published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// They.
    pub events: Vec<Told>,
    /// Where to go on, if there may be more.
    pub next: Option<u64>,
}

/// A page, and what is known beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What was asked for.
    pub page: Page,
    /// Where the last event of all stands.
    pub position: u64,
    /// Whether no event of these topics that came after the position that was asked for is gone.
    pub whole: bool,
}

/// The events of a type.
#[derive(Debug)]
struct Shelf {
    /// The position of the last one that had to go.
    gone: u64,
    words: Arc<Words>,
    kept: VecDeque<Told>,
}

impl Shelf {
    /// Its bytes are given back.
    fn drop_oldest(&mut self) -> usize {
        let Some(gone) = self.kept.pop_front() else { return 0 };
        self.gone = gone.position;
        gone.bytes
    }
}

/// What happened lately.
#[derive(Debug, Default)]
pub(super) struct History {
    kept: Kept,
    shelves: HashMap<Arc<str>, Shelf>,
    /// The position of the last one that had to go with its whole shelf.
    gone: u64,
    bytes: usize,
}

impl History {
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Whether anything is kept at all.
    pub(super) fn is_on(&self) -> bool {
        self.kept.events > 0 && self.kept.bytes > 0
    }

    pub(super) fn put(&mut self, told: Told, words: &Arc<Words>) {
        if !self.is_on() {
            return;
        }
        self.bytes += told.bytes;
        let kind = Arc::clone(&told.event.kind);
        let shelf = self.shelves.entry(kind).or_insert_with(|| Shelf {
            words: Arc::clone(words),
            kept: VecDeque::new(),
            gone: 0,
        });
        shelf.kept.push_back(told);
        if shelf.kept.len() > self.kept.events {
            self.bytes -= shelf.drop_oldest();
        }
        while self.bytes > self.kept.bytes && self.drop_oldest() {}
    }

    /// What is oldest of all goes: types of which anybody may make up a new one can't fill the memory.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.shelves.iter_mut().min_by_key(|(_, shelf)| shelf.kept.front().map(|told| told.position));
        let Some((kind, shelf)) = oldest else { return false };
        self.bytes -= shelf.drop_oldest();
        if shelf.kept.is_empty() {
            self.gone = self.gone.max(shelf.gone);
            let kind = Arc::clone(kind);
            self.shelves.remove(&kind);
        }
        true
    }

    /// Whether all events of these topics after that position are there. `last`: where the last of all stands.
    pub(super) fn is_whole(&self, topics: Option<&Topics>, after: u64, last: u64) -> bool {
        let meant = |shelf: &&Shelf| topics.is_none_or(|topics| topics.may_mean(&shelf.words));
        let gone = self.shelves.values().filter(meant).map(|shelf| shelf.gone).max().unwrap_or_default();
        (self.is_on() || after >= last) && gone.max(self.gone) <= after
    }

    pub(super) fn page(&self, query: &Query) -> Page {
        let limit = query.limit.unwrap_or(100).min(MAX_PAGE);
        let meant = |shelf: &&Shelf, told: &Told| {
            query.topics.as_ref().is_none_or(|topics| topics.mean(&shelf.words, &told.event.origin))
                && query.since.is_none_or(|since| told.event.time >= since)
                && query.filters.iter().all(|filter| filter.wants(&told.event))
        };
        let after = query.after.unwrap_or_default();
        // All shelves are in order: of those that begin earliest the next is taken, or from the other end.
        let mut shelves: Vec<(&Shelf, usize, usize)> = self
            .shelves
            .values()
            .filter(|shelf| query.topics.as_ref().is_none_or(|topics| topics.may_mean(&shelf.words)))
            .map(|shelf| {
                let first = shelf.kept.partition_point(|told| told.position <= after);
                (shelf, first, shelf.kept.len())
            })
            .collect();
        shelves.retain(|(_, first, end)| first < end);
        let mut page = Page::default();
        for looked in 0.. {
            let at = |(shelf, first, end): &(&Shelf, usize, usize)| match query.latest {
                false => shelf.kept[*first].position,
                true => u64::MAX - shelf.kept[*end - 1].position,
            };
            let Some(place) = (0..shelves.len()).min_by_key(|place| at(&shelves[*place])) else { break };
            let (shelf, first, end) = &mut shelves[place];
            let told = &shelf.kept[if query.latest { *end - 1 } else { *first }];
            if page.events.len() == limit || looked >= MOST_LOOKED_AT {
                // Of the latest there is nothing behind.
                page.next = (!query.latest).then(|| told.position - 1);
                break;
            }
            if meant(shelf, told) {
                page.events.push(told.clone());
            }
            if query.latest {
                *end -= 1
            } else {
                *first += 1
            }
            if first == end {
                shelves.swap_remove(place);
            }
        }
        if query.latest {
            page.events.reverse();
        }
        page
    }
}
