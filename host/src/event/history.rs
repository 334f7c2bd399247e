//! What happened lately: the last events of each type, bounded by number and by bytes.

use super::filter::Filter;
use super::queue::Told;
use super::topic::{Origins, Topics, Words};
use jiff::Timestamp;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

/// A page looks at no more events than this: of a pattern that few match it is short, and says where to go on.
const MOST_LOOKED_AT: usize = 50_000;

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
    /// That happened, and were published, then or later.
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
    /// It is shorter than it might be, since too many others had to be looked at.
    pub cut: bool,
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
    /// Each shelf by the position of its first event: with many types that somebody made up, the oldest is found at once.
    fronts: BTreeMap<u64, Arc<str>>,
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
        if self.shelves.get(&kind).is_some_and(|shelf| *shelf.words != **words) {
            self.set_aside(&kind, told.position);
        }
        let shelf = self.shelves.entry(Arc::clone(&kind)).or_insert_with(|| Shelf {
            words: Arc::clone(words),
            kept: VecDeque::new(),
            gone: 0,
        });
        if shelf.kept.is_empty() {
            self.fronts.insert(told.position, Arc::clone(&kind));
        }
        shelf.kept.push_back(told);
        if shelf.kept.len() > self.kept.events {
            self.drop_oldest_of(&kind);
        }
        while self.bytes > self.kept.bytes && self.drop_oldest() {}
    }

    /// What is oldest of all goes: types of which anybody may make up a new one can't fill the memory.
    fn drop_oldest(&mut self) -> bool {
        let Some(kind) = self.fronts.first_key_value().map(|(_, kind)| Arc::clone(kind)) else { return false };
        self.drop_oldest_of(&kind);
        true
    }

    fn drop_oldest_of(&mut self, kind: &Arc<str>) {
        let Some(shelf) = self.shelves.get_mut(kind) else { return };
        self.bytes -= shelf.drop_oldest();
        self.fronts.remove(&shelf.gone);
        match shelf.kept.front() {
            Some(front) => drop(self.fronts.insert(front.position, Arc::clone(kind))),
            None => {
                self.gone = self.gone.max(shelf.gone);
                self.shelves.remove(kind);
            }
        }
    }

    /// The type is of another base from this event on: what was told before stays under the words under which it was.
    fn set_aside(&mut self, kind: &Arc<str>, position: u64) {
        let Some(shelf) = self.shelves.remove(kind) else { return };
        // No type's name has such a character.
        let aside: Arc<str> = format!("{kind}\n{position}").into();
        if let Some(front) = shelf.kept.front() {
            self.fronts.insert(front.position, Arc::clone(&aside));
        }
        self.shelves.insert(aside, shelf);
    }

    /// Whether all events of these topics after that position are there. `last`: where the last of all stands.
    pub(super) fn is_whole(&self, topics: Option<&Topics>, after: u64, last: u64) -> bool {
        let meant = |shelf: &&Shelf| topics.is_none_or(|topics| topics.narrow(&shelf.words).is_some());
        let gone = self.shelves.values().filter(meant).map(|shelf| shelf.gone).max().unwrap_or_default();
        (self.is_on() || after >= last) && gone.max(self.gone) <= after
    }

    pub(super) fn page(&self, query: &Query) -> Page {
        let limit = query.limit.unwrap_or(100).min(MAX_PAGE);
        let after = query.after.unwrap_or_default();
        let is_before = |told: &Told| told.position <= after || query.since.is_some_and(|since| told.at < since);
        let meant = self.shelves.values().filter_map(|shelf| {
            let origins = match &query.topics {
                Some(topics) => topics.narrow(&shelf.words)?,
                None => Origins::All,
            };
            let first = shelf.kept.partition_point(is_before);
            (first < shelf.kept.len()).then_some(Part { shelf, origins, first, end: shelf.kept.len() })
        });
        let mut parts: Vec<Part<'_>> = meant.collect();
        // All are in order: the next is the one that is first of those at their front, or from the other end.
        let mut next: BinaryHeap<(u64, usize)> =
            parts.iter().zip(0..).map(|(part, place)| (part.rank(query.latest), place)).collect();
        let mut page = Page::default();
        let mut looked = 0;
        while let Some((_, place)) = next.pop() {
            let part = &mut parts[place];
            let told = part.peek(query.latest);
            if page.events.len() == limit || looked == MOST_LOOKED_AT {
                // Of the latest there is nothing behind.
                page.next = (!query.latest).then(|| told.position - 1);
                page.cut = page.events.len() < limit;
                break;
            }
            looked += 1;
            // One may have been published late.
            let happened = query.since.is_none_or(|since| told.event.time >= since);
            let wanted = || query.filters.iter().all(|filter| filter.wants(&told.event));
            if happened && part.origins.mean(&part.shelf.words, &told.event.origin) && wanted() {
                page.events.push(told.clone());
            }
            if part.step(query.latest) {
                next.push((part.rank(query.latest), place));
            }
        }
        if query.latest {
            page.events.reverse();
        }
        page
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
