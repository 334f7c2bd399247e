//! What a source gives of its tables, counted where it comes across from it: before the tables, which count for themselves,
//! so that what is lost on the way from here to there is missed.

use busway_plugin_api::table::{Change, Update};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of one table.
#[derive(Debug, Default, Clone, Copy)]
struct Entries {
    /// Rows of polls, and publications, that came.
    came: u64,
    /// Those of them that made no state: the table refused them, or had these rows already; or they were passed over.
    none: u64,
}

/// A source's books, if they are open.
#[derive(Debug, Default)]
pub(super) struct Books(Mutex<Option<BTreeMap<String, Entries>>>);

impl Books {
    fn entries(&self) -> MutexGuard<'_, Option<BTreeMap<String, Entries>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They begin now, or anew.
    pub(super) fn open(&self) {
        *self.entries() = Some(BTreeMap::new());
    }

    /// They end; how many states of each table came since they were opened.
    pub(super) fn close(&self) -> BTreeMap<String, u64> {
        let entries = self.entries().take().unwrap_or_default();
        entries.into_iter().map(|(table, entries)| (table, entries.came.saturating_sub(entries.none))).collect()
    }

    /// Something came of that table.
    pub(super) fn came(&self, table: &str) {
        self.note(table, |entries| entries.came += 1);
    }

    /// Something that came of that table made no state of it, and is not to.
    pub(super) fn made_none(&self, table: &str) {
        self.note(table, |entries| entries.none += 1);
    }

    fn note(&self, table: &str, note: impl FnOnce(&mut Entries)) {
        if let Some(entries) = self.entries().as_mut() {
            note(entries.entry(table.to_owned()).or_default());
        }
    }
}

/// Whether it may make a state.
pub(super) const fn counts(update: &Update) -> bool {
    matches!(update.change, Change::Snapshot(_) | Change::Delta { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_made_no_state_is_none_and_only_while_they_are_open() {
        let books = Books::default();
        books.came("t");
        assert!(books.close().is_empty());
        books.open();
        for _ in 0..3 {
            books.came("t");
        }
        books.made_none("t");
        books.made_none("u");
        assert_eq!(books.close(), BTreeMap::from([("t".to_owned(), 2), ("u".to_owned(), 0)]));
        assert!(books.close().is_empty());
    }
}
