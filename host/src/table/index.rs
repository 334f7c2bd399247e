//! Where each row is, by its identity; and what a delta or step does to the rows.

use super::diff::Difference;
use super::fingerprint::{Print, Prints};
use super::shape::Refused;
use hashbrown::{HashMap, HashTable};
use std::hash::{BuildHasherDefault, Hasher};

/// An update that contradicts the table.
pub(crate) fn refuse<T>(what: &str) -> Result<T, Refused> {
    Err(Refused::Inconsistent(what.to_owned()))
}

/// The positions of the rows present, by identity. The prints themselves are the table's.
#[derive(Debug)]
pub(crate) struct Index(HashTable<u32>);

impl Index {
    /// Of the rows at these positions; `None`: of all.
    pub(crate) fn of(prints: &Prints, positions: Option<&[u32]>) -> Self {
        let mut index = Self(HashTable::with_capacity(positions.map_or(prints.len(), <[u32]>::len)));
        match positions {
            Some(positions) => positions.iter().for_each(|position| index.insert(prints, *position)),
            None => index.extend(prints, 0),
        }
        index
    }

    pub(crate) fn find(&self, prints: &Prints, id: Print) -> Option<u32> {
        self.0.find(id.hash(), |position| prints.id(*position as usize) == id).copied()
    }

    /// A row that is not there yet.
    fn insert(&mut self, prints: &Prints, position: u32) {
        let hash = |position: &u32| prints.id(*position as usize).hash();
        self.0.insert_unique(hash(&position), position, hash);
    }

    /// The rows from that position on, all new.
    #[allow(clippy::cast_possible_truncation, reason = "positions have 32 bits")]
    pub(crate) fn extend(&mut self, prints: &Prints, first: usize) {
        (first..prints.len()).for_each(|position| self.insert(prints, position as u32));
    }

    pub(crate) fn remove(&mut self, prints: &Prints, positions: &[u32]) {
        for position in positions {
            let hash = prints.id(*position as usize).hash();
            if let Ok(entry) = self.0.find_entry(hash, |there| there == position) {
                entry.remove();
            }
        }
    }

    /// In memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.allocation_size()
    }
}

/// What a delta removes and adds: keys or whole rows go, rows come. A row that comes under a key that is there replaces it;
/// one that is like it changes nothing.
pub(crate) fn of_delta(
    held: &Prints,
    index: &Index,
    added: &Prints,
    removed: &[Print],
    keyed: bool,
) -> Result<Difference, Refused> {
    let mut named = Named::default();
    let mut gone = Vec::with_capacity(removed.len());
    for id in removed {
        if named.insert(*id, 0).is_some() {
            return refuse(if keyed { "a key is removed twice" } else { "a row is removed twice" });
        }
        match index.find(held, *id) {
            Some(position) => gone.push(position),
            None if keyed => return refuse("it removes a key that is not there"),
            None => return refuse("it removes a row that is not there"),
        }
    }
    let (mut updated, mut new) = (Vec::new(), Vec::new());
    for (i, id) in (0..).zip(&added.ids) {
        if named.insert(*id, 0).is_some() {
            return refuse(if keyed { "it names a key twice" } else { "it names a row twice" });
        }
        match index.find(held, *id) {
            None => new.push(i),
            Some(_) if !keyed => return refuse("it adds a row that is there"),
            Some(position) if held.rest(position as usize) != added.rest(i as usize) => updated.push((position, i)),
            Some(_) => {}
        }
    }
    Ok(Difference::of(updated, gone, new))
}

/// What a step removes and adds: whole rows that are there go before others come. A row that goes and comes again is left
/// out; of keyed tables, rows that go and come under one key are pairs.
pub(crate) fn of_step(held: &Prints, index: &Index, added: &Prints, removed: &Prints) -> Result<Difference, Refused> {
    let mut gone = Named::default();
    for (row, id) in removed.ids.iter().enumerate() {
        match index.find(held, *id) {
            Some(position) if held.rest(position as usize) == removed.rest(row) => {
                if gone.insert(*id, position).is_some() {
                    return refuse("it removes a row twice");
                }
            }
            _ => return refuse("it removes a row that is not there"),
        }
    }
    let (mut named, mut updated, mut new) = (Named::default(), Vec::new(), Vec::new());
    for (i, id) in (0..).zip(&added.ids) {
        if named.insert(*id, i).is_some() {
            return refuse("it adds a row twice");
        }
        match gone.remove(id) {
            Some(position) if held.rest(position as usize) != added.rest(i as usize) => updated.push((position, i)),
            Some(_) => {}
            None if index.find(held, *id).is_some() => return refuse("it adds a row that is there"),
            None => new.push(i),
        }
    }
    // In the order in which the step names them.
    let gone = removed.ids.iter().filter_map(|id| gone.get(id).copied()).collect();
    Ok(Difference::of(updated, gone, new))
}

/// By identity. Prints are random already.
pub(crate) type ByPrint<V> = HashMap<Print, V, BuildHasherDefault<AsIs>>;
type Named = ByPrint<u32>;

/// The hash of what is random.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
