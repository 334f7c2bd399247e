//! What two states differ in, by the fingerprints of their rows.

use super::fingerprint::Map;

/// A state's rows as fingerprints, in order: of the whole row, and of the key if the table has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prints {
    pub(crate) rows: Vec<u128>,
    pub(crate) keys: Option<Vec<u128>>,
}

/// Row numbers. The first `updated` of both are pairs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) removed: Vec<u32>,
    pub(crate) added: Vec<u32>,
    pub(crate) updated: usize,
}

impl Prints {
    fn identities(&self) -> &[u128] {
        self.keys.as_ref().unwrap_or(&self.rows)
    }

    /// What tells a row from all others: its key, if the table has one.
    pub(crate) fn identity(&self, row: usize) -> u128 {
        self.identities()[row]
    }

    /// Of the whole row.
    pub(crate) fn row(&self, row: usize) -> u128 {
        self.rows[row]
    }

    /// The rows to keep when some are there twice: of one identity the last. `None`: all.
    pub(crate) fn distinct(&self) -> Option<Vec<u32>> {
        let identities = self.identities();
        let mut last = Map::with_capacity_and_hasher(identities.len(), Default::default());
        for (i, identity) in numbered(identities) {
            last.insert(*identity, i);
        }
        if last.len() == identities.len() {
            return None;
        }
        let mut kept: Vec<u32> = last.into_values().collect();
        kept.sort_unstable();
        Some(kept)
    }

    /// Those of some rows.
    pub(crate) fn pick(&self, rows: &[u32]) -> Self {
        let pick = |all: &Vec<u128>| rows.iter().map(|i| all[*i as usize]).collect();
        Self { rows: pick(&self.rows), keys: self.keys.as_ref().map(pick) }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "intake refuses tables of more rows than a u32 counts")]
fn numbered(prints: &[u128]) -> impl Iterator<Item = (u32, &u128)> {
    prints.iter().enumerate().map(|(i, print)| (i as u32, print))
}

/// What leads from the old rows to the new; both without duplicates. Costs a pass over what is the same at the beginning
/// and a map of the rest.
pub(crate) fn diff(old: &Prints, new: &Prints) -> Difference {
    let same = old.rows.iter().zip(&new.rows).take_while(|(a, b)| a == b).count();
    let mut difference = Difference::default();
    if same == old.rows.len() && same == new.rows.len() {
        return difference;
    }
    let (old_ids, new_ids) = (old.identities(), new.identities());
    let mut left: Map<u32> = Map::with_capacity_and_hasher(old_ids.len() - same, Default::default());
    left.extend(numbered(old_ids).skip(same).map(|(i, identity)| (*identity, i)));
    let mut pairs = Vec::new();
    for (i, identity) in numbered(new_ids).skip(same) {
        match left.remove(identity) {
            None => difference.added.push(i),
            Some(was) if old.rows[was as usize] != new.rows[i as usize] => pairs.push((was, i)),
            Some(_) => {}
        }
    }
    let mut gone: Vec<u32> = left.into_values().collect();
    gone.sort_unstable();
    difference.updated = pairs.len();
    difference.removed = pairs.iter().map(|(was, _)| *was).chain(gone).collect();
    difference.added.splice(0..0, pairs.into_iter().map(|(_, is)| is));
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn set(rows: &BTreeSet<u8>, order: &[u8]) -> Prints {
        // In an order of its own: a table's rows have none.
        let mut rows: Vec<u128> = rows.iter().map(|r| u128::from(*r)).collect();
        rows.sort_by_key(|r| order[*r as usize % order.len()]);
        Prints { rows, keys: None }
    }

    proptest! {
        #[test]
        fn of_sets_is_set_difference(
            old in prop::collection::btree_set(0u8..40, 0..30),
            new in prop::collection::btree_set(0u8..40, 0..30),
            order in prop::collection::vec(any::<u8>(), 1..8),
        ) {
            let (a, b) = (set(&old, &order), set(&new, &order[..1]));
            let found = diff(&a, &b);
            let named = |of: &Prints, rows: &[u32]| rows.iter().map(|i| of.rows[*i as usize] as u8).collect::<BTreeSet<_>>();
            prop_assert_eq!(found.updated, 0);
            prop_assert_eq!(named(&a, &found.removed), old.difference(&new).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(named(&b, &found.added), new.difference(&old).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(found.added.len(), new.difference(&old).count());
        }

        #[test]
        fn of_keyed_tables_pairs_what_changed(
            old in prop::collection::btree_map(0u8..20, 0u8..3, 0..20),
            new in prop::collection::btree_map(0u8..20, 0u8..3, 0..20),
        ) {
            let prints = |of: &BTreeMap<u8, u8>| Prints {
                rows: of.iter().map(|(k, v)| u128::from(*k) << 8 | u128::from(*v)).collect(),
                keys: Some(of.keys().map(|k| u128::from(*k)).collect()),
            };
            let (a, b) = (prints(&old), prints(&new));
            let found = diff(&a, &b);
            let mut model = old.clone();
            let row = |of: &Prints, i: u32| ((of.rows[i as usize] >> 8) as u8, of.rows[i as usize] as u8);
            for pair in 0..found.updated {
                let (before, after) = (row(&a, found.removed[pair]), row(&b, found.added[pair]));
                prop_assert_eq!(before.0, after.0);
                prop_assert_ne!(before.1, after.1);
            }
            for i in &found.removed {
                let (key, value) = row(&a, *i);
                prop_assert_eq!(model.remove(&key), Some(value));
            }
            for i in &found.added {
                let (key, value) = row(&b, *i);
                prop_assert_eq!(model.insert(key, value), None);
            }
            prop_assert_eq!(model, new);
        }
    }

    #[test]
    fn the_last_of_several_counts() {
        let prints = Prints { rows: vec![1, 2, 1, 3], keys: None };
        assert_eq!(prints.distinct(), Some(vec![1, 2, 3]));
        assert_eq!(Prints { rows: vec![1, 2], keys: None }.distinct(), None);
    }
}
