//! What two states differ in, by the fingerprints of their rows.

use super::bits::Bits;
use super::fingerprint::{Print, Prints};
use super::radix::{Residue, matched};

/// Row numbers. The first `updated` of both are pairs, in the order of the new rows; the others are in order too.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) removed: Vec<u32>,
    pub(crate) added: Vec<u32>,
    pub(crate) updated: usize,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// Of pairs and other rows, each in order.
    pub(crate) fn of(updated: Vec<(u32, u32)>, removed: Vec<u32>, added: Vec<u32>) -> Self {
        Self {
            updated: updated.len(),
            removed: updated.iter().map(|(was, _)| *was).chain(removed).collect(),
            added: updated.iter().map(|(_, is)| *is).chain(added).collect(),
        }
    }
}

/// So far the walk looks ahead for the next row that both have.
const AHEAD: usize = 8;
/// After so many rows in turn that are nowhere near, the rest is taken to be in another order.
const PATIENCE: usize = 64;

/// The new rows with a later one of the same identity, in order: the last one counts.
pub(crate) fn duplicates(new: &Prints, threads: usize) -> Vec<u32> {
    let none = Prints::default();
    let (old, all) = (Residue { prints: &none, rows: &[], tail: 0 }, Residue { prints: new, rows: &[], tail: 0 });
    in_order(matched(&old, &all, threads).folded, new.len())
}

/// What leads from the old rows, each there once, to the new; and which new ones are folded into later ones. Costs a walk
/// over what is in the same order, and a few passes over the rest.
pub(crate) fn diff(old: &Prints, new: &Prints, threads: usize) -> (Difference, Vec<u32>) {
    let walk = walk(old, new);
    let (old_rest, new_rest) = (
        Residue { prints: old, rows: &walk.old, tail: walk.old_tail },
        Residue { prints: new, rows: &walk.new, tail: walk.new_tail },
    );
    let mut found = matched(&old_rest, &new_rest, threads);
    if walk.aligned > 0 && repeats(new, &found.added) {
        return unfolded(old, new, threads);
    }
    found.updated.extend(walk.updated);
    found.updated.sort_unstable_by_key(|(_, is)| *is);
    let removed = in_order(found.removed, old.len());
    let added = in_order(found.added, new.len());
    (Difference::of(found.updated, removed, added), in_order(found.folded, new.len()))
}

/// The same, for a snapshot that repeats rows which the walk has passed already.
fn unfolded(old: &Prints, new: &Prints, threads: usize) -> (Difference, Vec<u32>) {
    let folded = duplicates(new, threads);
    let kept = others(&folded, new.len());
    let (mut difference, _) = diff(old, &new.pick(&kept), threads);
    difference.added.iter_mut().for_each(|row| *row = kept[*row as usize]);
    (difference, folded)
}

/// What is in the same order on both sides, and what is not: some rows, and all from the tails on.
#[derive(Debug, Default)]
struct Walk {
    aligned: usize,
    updated: Vec<(u32, u32)>,
    old: Vec<u32>,
    old_tail: usize,
    new: Vec<u32>,
    new_tail: usize,
}

#[allow(clippy::cast_possible_truncation, reason = "rows are numbered by 32 bits")]
fn walk(old: &Prints, new: &Prints) -> Walk {
    let (a, b) = (old.ids.as_slice(), new.ids.as_slice());
    let (mut i, mut j, mut lost) = (0, 0, 0);
    let mut walk = Walk::default();
    while i < a.len() && j < b.len() && lost < PATIENCE {
        if a[i] == b[j] {
            if old.rest(i) != new.rest(j) {
                walk.updated.push((i as u32, j as u32));
            }
            walk.aligned += 1;
            (i, j, lost) = (i + 1, j + 1, 0);
            continue;
        }
        let near = (1..=AHEAD).find_map(|n| {
            let (later_a, later_b) = (a.get(i + n), b.get(j + n));
            match () {
                () if later_a.is_some() && later_a == later_b => Some((n, n)),
                () if later_a == Some(&b[j]) => Some((n, 0)),
                () if later_b == Some(&a[i]) => Some((0, n)),
                () => None,
            }
        });
        if near.is_none() {
            lost += 1;
        }
        let (of_old, of_new) = near.unwrap_or((1, 1));
        walk.old.extend(i as u32..(i + of_old) as u32);
        walk.new.extend(j as u32..(j + of_new) as u32);
        (i, j) = (i + of_old, j + of_new);
    }
    (walk.old_tail, walk.new_tail) = (i, j);
    walk
}

/// Whether one of some new rows is there a second time.
fn repeats(new: &Prints, rows: &[u32]) -> bool {
    if rows.is_empty() {
        return false;
    }
    // A filter of 16 bits a row lets one of 16 others through, to a table of which half is free.
    let size = (2 * rows.len()).next_power_of_two().max(64);
    let mut filter = Bits::none(8 * size);
    let place = |id: &Print| (id.0[1] as usize & (8 * size - 1), id.0[2] as usize & (size - 1));
    let mut slots = vec![u32::MAX; size];
    let next = |slot: usize| (slot + 1) & (size - 1);
    for row in rows {
        let (bit, mut slot) = place(&new.id(*row as usize));
        filter.insert(bit);
        while slots[slot] != u32::MAX {
            slot = next(slot);
        }
        slots[slot] = *row;
    }
    (0_u32..).zip(&new.ids).any(|(row, id)| {
        let (bit, mut slot) = place(id);
        if !filter.has(bit) {
            return false;
        }
        while slots[slot] != u32::MAX {
            if slots[slot] != row && new.id(slots[slot] as usize) == *id {
                return true;
            }
            slot = next(slot);
        }
        false
    })
}

/// Rows of so many, in order.
fn in_order(mut rows: Vec<u32>, of: usize) -> Vec<u32> {
    if rows.len() < of / 256 {
        rows.sort_unstable();
        return rows;
    }
    let mut set = Bits::none(of);
    rows.iter().for_each(|row| {
        set.insert(*row as usize);
    });
    rows.clear();
    rows.extend(set.iter());
    rows
}

/// All of so many but these, which are in order.
fn others(rows: &[u32], of: usize) -> Vec<u32> {
    let mut gone = rows.iter().peekable();
    #[allow(clippy::cast_possible_truncation, reason = "rows are numbered by 32 bits")]
    let all = 0..of as u32;
    all.filter(|row| gone.next_if_eq(&row).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Prints of (key, value) pairs; of sets the value belongs to the key.
    fn prints(rows: &[(u16, u8)], keyed: bool) -> Prints {
        let id = |(key, value): &(u16, u8)| {
            let whole = u64::from(*key) << 8 | if keyed { 0 } else { u64::from(*value) };
            let mixed = (whole + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            // The second word is poor on purpose: slots collide.
            Print([(mixed >> 32) as u32, mixed as u32 & 7, whole as u32])
        };
        let rest = |row: &(u16, u8)| u64::from(row.1);
        let ids = rows.iter().map(id).collect();
        Prints { ids, rest: if keyed { rows.iter().map(rest).collect() } else { Vec::new() } }
    }

    /// What the difference should be, by maps; and that the folded rows are all but the last of each.
    fn agrees(old: &[(u16, u8)], new: &[(u16, u8)], keyed: bool, threads: usize) {
        let identity = |row: &(u16, u8)| if keyed { (row.0, 0) } else { *row };
        let last: BTreeMap<_, u32> = (0..).zip(new).map(|(i, row)| (identity(row), i)).collect();
        let before: BTreeMap<_, u32> = (0..).zip(old).map(|(i, row)| (identity(row), i)).collect();
        assert_eq!(before.len(), old.len());
        let (difference, folded) = diff(&prints(old, keyed), &prints(new, keyed), threads);
        let mut pairs = Vec::new();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (identity, i) in &last {
            match before.get(identity) {
                Some(was) if old[*was as usize] != new[*i as usize] => pairs.push((*i, *was)),
                Some(_) => {}
                None => added.push(new[*i as usize]),
            }
        }
        removed.extend(before.iter().filter(|(identity, _)| !last.contains_key(*identity)).map(|(_, was)| *was));
        pairs.sort_unstable();
        removed.sort_unstable();
        assert_eq!(difference.updated, pairs.len());
        assert_eq!(difference.removed[..pairs.len()], pairs.iter().map(|(_, was)| *was).collect::<Vec<_>>());
        assert_eq!(difference.added[..pairs.len()], pairs.iter().map(|(is, _)| *is).collect::<Vec<_>>());
        assert_eq!(difference.removed[pairs.len()..], removed);
        // Of a set's equal rows any may be kept; the folded ones are the others.
        let mut found: Vec<_> = difference.added[pairs.len()..].iter().map(|i| new[*i as usize]).collect();
        assert!(difference.added[pairs.len()..].is_sorted() && folded.is_sorted());
        found.sort_unstable();
        added.sort_unstable();
        assert_eq!(found, added);
        let kept = others(&folded, new.len());
        let kept: BTreeMap<_, _> = kept.iter().map(|i| (identity(&new[*i as usize]), new[*i as usize])).collect();
        assert_eq!(folded.len() + kept.len(), new.len());
        assert_eq!(kept, last.iter().map(|(identity, i)| (*identity, new[*i as usize])).collect());
        assert!(difference.added.iter().all(|i| folded.binary_search(i).is_err()));
    }

    fn distinct(mut rows: Vec<(u16, u8)>, keyed: bool) -> Vec<(u16, u8)> {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(if keyed { (row.0, 0) } else { *row }));
        rows
    }

    proptest! {
        #[test]
        fn agrees_with_maps(
            old in prop::collection::vec((0u16..40, 0u8..3), 0..60),
            new in prop::collection::vec((0u16..40, 0u8..3), 0..60),
            keyed: bool,
        ) {
            agrees(&distinct(old, keyed), &new, keyed, 1);
        }

        #[test]
        fn agrees_with_maps_when_little_changes(
            rows in prop::collection::vec((0u16..500, 0u8..3), 0..200),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, 0u16..500, 0u8..3), 0..8),
            keyed: bool,
        ) {
            let old = distinct(rows, keyed);
            let mut new = old.clone();
            for (place, edit, key, value) in edits {
                let at = place.index(new.len() + 1);
                match edit {
                    0 if at < new.len() => { new.remove(at); }
                    1 if at < new.len() => new[at].1 = value,
                    2 if at < new.len() => { let row = new.remove(at); new.push(row); }
                    _ => new.insert(at, (key, value)),
                }
            }
            agrees(&old, &new, keyed, 1);
        }
    }

    #[test]
    fn large_tables_are_matched_in_parts_by_two_threads() {
        let old: Vec<(u16, u8)> = (0..20_000).map(|i| (i, 0)).collect();
        // In another order, with some changed, some gone, some new and some twice.
        let mut new: Vec<(u16, u8)> =
            (0..20_000u32).map(|i| (i * 7_919 % 20_000) as u16).map(|i| (i, u8::from(i % 100 == 0))).collect();
        new.drain(500..600);
        new.extend((20_000..20_200).map(|i| (i, 0)));
        new.extend_from_within(1_000..1_010);
        for keyed in [true, false] {
            for threads in [1, 2] {
                agrees(&old, &new, keyed, threads);
            }
        }
    }

    #[test]
    fn a_repetition_of_a_row_that_stayed_is_folded() {
        let old = [(1, 0), (2, 0), (3, 0)];
        for keyed in [true, false] {
            agrees(&old, &[(1, 0), (2, 0), (3, 0), (2, 0)], keyed, 1);
            agrees(&old, &[(1, 0), (1, 0), (2, 0), (3, 0)], keyed, 1);
            agrees(&old, &[(1, 0), (2, 0), (3, 0), (2, 1)], keyed, 1);
        }
    }

    #[test]
    fn rows_in_order_leave_nothing_to_match() {
        let old: Vec<(u16, u8)> = (0..1_000).map(|i| (i, 0)).collect();
        let mut new = old.clone();
        new[10].1 = 1;
        new.remove(500);
        new.insert(700, (2_000, 0));
        let walk = walk(&prints(&old, false), &prints(&new, false));
        assert_eq!((walk.aligned, walk.old, walk.new), (998, vec![10, 500], vec![10, 700]));
        assert_eq!((walk.old_tail, walk.new_tail), (1_000, 1_000));
    }
}
