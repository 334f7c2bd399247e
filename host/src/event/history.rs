//! What happened lately: the last events of each type, bounded by number and by bytes.

use super::queue::Told;
use super::topic::{Topics, Words};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// So many types have a shelf. Anybody may make up types, and a page looks at each of them while nobody can publish.
const MOST_TYPES: usize = 10_000;

/// So many types of which nothing is kept any more are remembered, with where the last one stood.
const MOST_EMPTY: usize = 1000;

/// What a shelf takes beside its words and its events: itself, room for its first events, and its places in the maps, which
/// grow in steps.
const SHELF: usize = 2 * size_of::<Shelf>() + 4 * size_of::<Told>() + 256;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Events of each type.
    pub events: usize,
    /// Bytes of all together: of their JSON, and what each type takes that has any.
    pub bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { events: 1000, bytes: 64 << 20 }
    }
}

/// The events of a type.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) words: Arc<Words>,
    pub(super) kept: VecDeque<Told>,
    /// The position of the first one ever, and of the last one that had to go.
    begins: u64,
    gone: u64,
    /// What it takes itself, in bytes, while it has any.
    itself: usize,
}

impl Shelf {
    fn new(kind: &str, words: &Arc<Words>, begins: u64) -> Self {
        let itself = SHELF + kind.len() + words.joined().len();
        Self { words: Arc::clone(words), kept: VecDeque::new(), begins, gone: 0, itself }
    }

    /// Its bytes are given back.
    fn drop_oldest(&mut self) -> usize {
        let Some(gone) = self.kept.pop_front() else { return 0 };
        self.gone = gone.position;
        // Room for many is not kept for few.
        if self.kept.capacity() > 16 && self.kept.len() < self.kept.capacity() / 4 {
            self.kept.shrink_to(self.kept.len() * 2);
        }
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
    /// Each shelf on which nothing is left, by the position of the last one that was there.
    empty: BTreeMap<u64, Arc<str>>,
    /// The position of the last one of those that are not remembered.
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

    pub(super) fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.shelves.values()
    }

    pub(super) fn put(&mut self, told: Told) {
        if !self.is_on() {
            return;
        }
        self.bytes += told.bytes;
        let (kind, position) = (Arc::clone(&told.event.kind), told.position);
        let words = Arc::clone(&told.event.words);
        if self.shelves.get(&kind).is_some_and(|shelf| *shelf.words != *words) {
            self.set_aside(&kind, position);
        }
        let shelf = self.shelves.entry(Arc::clone(&kind)).or_insert_with(|| Shelf::new(&kind, &words, position));
        if shelf.kept.is_empty() {
            self.empty.remove(&shelf.gone);
            self.bytes += shelf.itself;
            self.fronts.insert(position, Arc::clone(&kind));
        }
        shelf.kept.push_back(told);
        if shelf.kept.len() > self.kept.events {
            self.drop_oldest_of(&kind);
        }
        while (self.bytes > self.kept.bytes || self.fronts.len() > MOST_TYPES) && self.drop_oldest() {}
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
                shelf.kept = VecDeque::new();
                self.bytes -= shelf.itself;
                self.empty.insert(shelf.gone, Arc::clone(kind));
                self.forget_empty();
            }
        }
    }

    /// Of the types of which nothing was told for longest it is no longer known apart where their last event stood.
    fn forget_empty(&mut self) {
        while self.empty.len() > MOST_EMPTY {
            let Some((gone, kind)) = self.empty.pop_first() else { return };
            self.gone = self.gone.max(gone);
            self.shelves.remove(&kind);
        }
    }

    /// The type is of another base from this event on: what was told before stays under the words under which it was.
    fn set_aside(&mut self, kind: &Arc<str>, position: u64) {
        let Some(shelf) = self.shelves.remove(kind) else { return };
        // No type's name has such a character.
        let aside: Arc<str> = format!("{kind}\n{position}").into();
        match shelf.kept.front() {
            Some(front) => self.fronts.insert(front.position, Arc::clone(&aside)),
            None => self.empty.insert(shelf.gone, Arc::clone(&aside)),
        };
        self.shelves.insert(aside, shelf);
    }

    /// Where the last event of these topics stood that is gone; 0: none is. Types whose first one is not before that position
    /// are left out.
    pub(super) fn gone(&self, topics: Option<&Topics>, before: u64) -> u64 {
        let some = self.shelves.values().filter(|shelf| shelf.gone > self.gone && shelf.begins < before);
        let meant = some.filter(|shelf| topics.is_none_or(|topics| topics.narrow(&shelf.words).is_some()));
        meant.map(|shelf| shelf.gone).max().unwrap_or_default().max(self.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, Events};
    use super::*;
    use serde_json::json;

    fn told(event: &super::super::Event, kind: &str, position: u64, bytes: usize) -> Told {
        let words = Arc::new(Words::untyped(kind));
        let event = Arc::new(super::super::Event { kind: kind.into(), words, ..event.clone() });
        Told { position, at: event.time, event, bytes }
    }

    #[test]
    fn types_take_room_themselves() {
        let events = Events::default();
        let event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "made.up", "subject": "o"});
        let event = Draft::of_json(events.catalogue(), event, false).unwrap();
        let words = Arc::new(Words::untyped("made.up"));
        let event = event.finish(jiff::Timestamp::now(), words, None, None, None, || unreachable!()).unwrap();
        // With room for all types that may be, and with little.
        for (most, shelves, types) in [(64 << 20, MOST_TYPES, 30_000), (1 << 20, 1600, 200_000)] {
            let mut history = History::new(Kept { events: 1000, bytes: most });
            for position in 1..=types {
                let kind = format!("made.up{position}");
                history.put(told(&event, &kind, position, 100));
            }
            let of_words: usize = history.shelves().map(|shelf| shelf.words.joined().len()).sum();
            let of_events = 100 * history.fronts.len();
            let of_shelves = size_of::<Shelf>() * history.fronts.len();
            assert!(of_words + of_events + of_shelves < most, "{}", history.fronts.len());
            assert!(history.fronts.len() <= shelves, "{}", history.fronts.len());
            assert_eq!(history.empty.len(), MOST_EMPTY);
            assert_eq!(history.shelves.len(), history.fronts.len() + MOST_EMPTY);
            let counted: usize = history.shelves().flat_map(|shelf| &shelf.kept).map(|told| told.bytes).sum();
            let itself = history.shelves().filter(|shelf| !shelf.kept.is_empty()).map(|shelf| shelf.itself);
            assert_eq!(history.bytes, counted + itself.sum::<usize>());
        }
    }

    #[test]
    fn room_for_many_is_not_kept_for_few() {
        let event = Events::default().publisher("p").create("ScheduleEvent", serde_json::Map::new()).unwrap();
        let source = || (String::new(), "s".into());
        let words = Arc::new(Words::untyped("any"));
        let event = event.finish(jiff::Timestamp::now(), words, Some("o"), None, None, source).unwrap();
        let mut history = History::new(Kept { events: 1000, bytes: 1_000_000 });
        for position in 1..=900 {
            history.put(told(&event, "many", position, 100));
        }
        history.put(told(&event, "large", 901, 950_000));
        let many = history.shelves.get("many").unwrap();
        assert!((1..500).contains(&many.kept.len()), "{}", many.kept.len());
        assert!(many.kept.capacity() <= 4 * many.kept.len().max(4), "{} {}", many.kept.capacity(), many.kept.len());
    }

    #[test]
    fn what_is_gone_of_one_type_is_not_gone_of_others() {
        let event = Events::default().publisher("p").create("ScheduleEvent", serde_json::Map::new()).unwrap();
        let source = || (String::new(), "s".into());
        let words = Arc::new(Words::untyped("any"));
        let event = event.finish(jiff::Timestamp::now(), words, Some("o"), None, None, source).unwrap();
        let catalogue = super::super::Catalogue::default();
        let topics = |kind: &str| Topics::new(&catalogue, Some(kind), None).unwrap();
        let gone = |history: &History, kind: &str| history.gone(Some(&topics(kind)), u64::MAX);
        let put = |history: &mut History, kind: &str, position, bytes| {
            history.put(told(&event, kind, position, bytes));
        };
        let mut history = History::new(Kept { events: 1000, bytes: 10_000 });
        put(&mut history, "a.one", 1, 100);
        put(&mut history, "a.two", 2, 6_000);
        put(&mut history, "a.two", 3, 6_000);
        assert_eq!(history.shelves.get("a.one").unwrap().kept.len(), 0, "its shelf is emptied");
        assert_eq!((gone(&history, "a.one"), gone(&history, "a.two"), gone(&history, "a.six")), (1, 2, 0));
        assert_eq!(history.gone(None, u64::MAX), 2);
        // It comes back to the shelf that it had, and what is gone is still known.
        put(&mut history, "a.one", 4, 100);
        assert_eq!((gone(&history, "a.one"), history.empty.len()), (1, 0));
        assert_eq!(history.bytes, 6_100 + history.shelves().map(|shelf| shelf.itself).sum::<usize>());
        // Of too many it is known of all together.
        for position in 5..=(5 + u64::try_from(MOST_EMPTY).unwrap() + 5) {
            put(&mut history, &format!("made.up{position}"), position, 9_000);
        }
        assert_eq!(history.empty.len(), MOST_EMPTY);
        assert!((5..12).contains(&gone(&history, "a.six")), "{}", gone(&history, "a.six"));
        // Types that begin later are not asked.
        assert_eq!(history.gone(None, 7), gone(&history, "a.six"));
    }
}
