//! Rows of two states matched by their fingerprints, in any order: cut into parts by the first bits, each so small that
//! its table stays in the processor's cache.

use super::fingerprint::{Print, Prints};
use super::threads::both;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many rows, about, make a part.
const PART: usize = 1024;
/// With more parts, cutting costs more than their being small saves.
const MOST_PARTS: usize = 1 << 13;

/// Some rows of a state: these, and all from some number on.
#[derive(Debug, Clone)]
pub(super) struct Residue<'a> {
    pub(super) prints: &'a Prints,
    pub(super) rows: &'a [u32],
    pub(super) tail: usize,
}

/// What matching found, in no order.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// Old rows without a new one.
    pub(super) removed: Vec<u32>,
    /// New rows without an old one.
    pub(super) added: Vec<u32>,
    /// Old and new rows of one identity whose rest differs.
    pub(super) updated: Vec<(u32, u32)>,
    /// New rows with a later one of the same identity, which counts in their place.
    pub(super) folded: Vec<u32>,
}

/// A print and its row's number. Plain numbers: memory of zeros is cheap to get.
type Entry = [u32; 4];

fn print(entry: &Entry) -> Print {
    Print([entry[0], entry[1], entry[2]])
}

/// Entries by the first bits of their prints; within a part the rows keep their order.
struct Parts {
    entries: Vec<Entry>,
    ends: Vec<usize>,
}

impl Residue<'_> {
    fn count(&self) -> usize {
        self.rows.len() + self.prints.len() - self.tail
    }

    #[allow(clippy::cast_possible_truncation, reason = "rows are numbered by 32 bits")]
    fn cut(&self, bits: u32, mut entries: Vec<Entry>) -> Parts {
        let ids = self.prints.ids.as_slice();
        let rows = || self.rows.iter().copied().chain(self.tail as u32..ids.len() as u32);
        let part = |row: u32| (u64::from(ids[row as usize].0[0]) << bits >> 32) as usize;
        let mut ends = vec![0_usize; 1 << bits];
        if bits > 0 {
            rows().for_each(|row| ends[part(row)] += 1);
        }
        // Each part's beginning, which becomes its end as it fills.
        let mut at = 0;
        for end in &mut ends {
            at += std::mem::replace(end, at);
        }
        rows().for_each(|row| {
            let Print([a, b, c]) = ids[row as usize];
            let end = &mut ends[part(row)];
            entries[*end] = [a, b, c, row];
            *end += 1;
        });
        Parts { entries, ends }
    }
}

impl Parts {
    fn part(&self, number: usize) -> &[Entry] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start..self.ends[number]]
    }
}

/// Matches rows by identity. The old ones are there once each.
pub(super) fn matched(old: &Residue<'_>, new: &Residue<'_>, threads: usize) -> Matched {
    let parts = (old.count().max(new.count()) / PART).clamp(1, MOST_PARTS).next_power_of_two();
    let bits = parts.trailing_zeros();
    let (old_room, new_room) = (room(old.count()), room(new.count()));
    let (old_parts, new_parts) = both(threads, || old.cut(bits, old_room), || new.cut(bits, new_room));
    let some = |numbers: Range<usize>| {
        let mut found = Matched::default();
        let mut table = Table::default();
        for number in numbers {
            let entries = new_parts.part(number);
            table.fill(entries, &mut found);
            table.find(entries, old, new, old_parts.part(number), &mut found);
            table.others(entries, &mut found);
        }
        found
    };
    let half = if threads < 2 { parts } else { parts / 2 };
    let (mut found, more) = both(threads, || some(0..half), || some(half..parts));
    found.removed.extend(more.removed);
    found.added.extend(more.added);
    found.updated.extend(more.updated);
    found.folded.extend(more.folded);
    keep(old_parts.entries);
    keep(new_parts.entries);
    found
}

/// Memory that the next match may use: to get it from the system anew, page by page, costs a quarter of a match. Of all
/// tables together, two pieces of at most [`SPARE`] entries.
static SPARES: Mutex<Vec<Vec<Entry>>> = Mutex::new(Vec::new());
/// 16 MiB.
const SPARE: usize = 1 << 20;

fn spares() -> MutexGuard<'static, Vec<Vec<Entry>>> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many entries, whatever is in them.
fn room(count: usize) -> Vec<Entry> {
    // Small ones are at hand anyway.
    let spare = if count < SPARE / 1024 { None } else { spares().pop() };
    let mut room = spare.unwrap_or_default();
    if room.capacity() < count {
        // Zeros come from the system as they are.
        return vec![Entry::default(); count];
    }
    room.resize(count, Entry::default());
    room
}

fn keep(entries: Vec<Entry>) {
    let mut spares = spares();
    if spares.len() < 2 && (SPARE / 1024..=SPARE).contains(&entries.capacity()) {
        spares.push(entries);
    }
}

/// The new rows of one part, by hash.
#[derive(Default)]
struct Table {
    /// One more than the entry's number; 0: free. As many as a power of two, most of them free: steps to the next one are
    /// what the processor guesses wrong.
    slots: Vec<u32>,
    /// Of each entry: whether it is spoken for.
    done: Vec<bool>,
}

#[allow(clippy::cast_possible_truncation, reason = "rows are numbered by 32 bits")]
impl Table {
    /// The slot of this print: where it is, or would be.
    #[inline]
    fn slot(&self, entries: &[Entry], wanted: &Entry) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = wanted[1] as usize & mask;
        while self.slots[slot] != 0 && print(&entries[self.slots[slot] as usize - 1]) != print(wanted) {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Takes the new rows of a part in; of several with one print the last.
    fn fill(&mut self, new: &[Entry], found: &mut Matched) {
        self.slots.clear();
        self.slots.resize((4 * new.len()).next_power_of_two(), 0);
        self.done.clear();
        self.done.resize(new.len(), false);
        for (i, entry) in new.iter().enumerate() {
            let slot = self.slot(new, entry);
            if let Some(earlier) = (self.slots[slot] as usize).checked_sub(1) {
                found.folded.push(new[earlier][3]);
                self.done[earlier] = true;
            }
            self.slots[slot] = i as u32 + 1;
        }
    }

    /// Looks the old rows up.
    fn find(&mut self, entries: &[Entry], old: &Residue<'_>, new: &Residue<'_>, part: &[Entry], found: &mut Matched) {
        for entry in part {
            let slot = self.slot(entries, entry);
            let Some(i) = (self.slots[slot] as usize).checked_sub(1) else {
                found.removed.push(entry[3]);
                continue;
            };
            self.done[i] = true;
            let row = entries[i][3];
            if old.prints.rest(entry[3] as usize) != new.prints.rest(row as usize) {
                found.updated.push((entry[3], row));
            }
        }
    }

    /// The new rows that nobody asked for.
    fn others(&self, new: &[Entry], found: &mut Matched) {
        found.added.extend(new.iter().zip(&self.done).filter(|(_, done)| !**done).map(|(entry, _)| entry[3]));
    }
}
