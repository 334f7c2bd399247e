//! The places of one table: its own, and those of the views of it.

use super::slot::Slot;
use super::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most tables have no view: their own place is not kept in a map, which would be many times as large.
#[derive(Debug, Default)]
pub(crate) struct Places {
    whole: Option<Arc<Slot>>,
    views: BTreeMap<View, Arc<Slot>>,
}

impl Places {
    /// The table's own.
    pub(crate) fn whole(&self) -> Option<&Arc<Slot>> {
        self.whole.as_ref()
    }

    pub(crate) fn get(&self, view: &View) -> Option<&Arc<Slot>> {
        if view.is_everything() { self.whole.as_ref() } else { self.views.get(view) }
    }

    /// All of them, the table's own first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.whole.iter().chain(self.views.values())
    }

    pub(crate) fn insert(&mut self, view: View, slot: Arc<Slot>) {
        if view.is_everything() {
            self.whole = Some(slot);
        } else {
            self.views.insert(view, slot);
        }
    }

    pub(crate) fn remove(&mut self, view: &View) {
        if view.is_everything() {
            self.whole = None;
        } else {
            self.views.remove(view);
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.whole.is_some()) + self.views.len()
    }
}
