//! What happens to datasources, for whoever follows it; and who takes what their sources tell of.

use super::record::Record;
use super::runner::Phase;
use crate::happenings::{Happenings, Receiver};
use crate::plugin::{CallError, Generation};
use busway_plugin_api::message::EventBody;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// So much may happen at once before the oldest is lost: a configuration file brings thousands of datasources.
const MOST: usize = 16_384;

/// Something that happened to a datasource.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// There is a new one.
    Created(Arc<Record>),
    /// Its record is another.
    Changed(Arc<Record>),
    /// It is no more.
    Removed(Arc<Record>),
    /// It is elsewhere in its life.
    Moved {
        /// Its name.
        name: Arc<str>,
        /// Where it is now.
        phase: Phase,
        /// Whether nothing of it could be read the last time that all of it was to be.
        unread: bool,
        /// What is wrong, if anything is; without secrets.
        error: String,
    },
}

/// Takes what sources tell of.
pub trait Emit: Send + Sync + std::fmt::Debug {
    /// The way for one source: the datasource's name, and the generation that the source is of.
    fn emitter(&self, datasource: &str, generation: &Arc<Generation>) -> Box<dyn Emitter>;
}

/// Takes what one source tells of.
pub trait Emitter: Send + Sync {
    /// Tells of it. Never waits for who listens.
    ///
    /// # Errors
    ///
    /// The status says which kind; nobody was told.
    fn emit(&self, event: EventBody) -> Result<(), CallError>;
}

/// The tables that changed and that nobody has been told of: of each datasource, their names.
pub(crate) type Updated = BTreeMap<String, BTreeSet<String>>;

/// What happens to the datasources of a node.
#[derive(Debug)]
pub(super) struct News {
    changed: watch::Sender<u64>,
    happenings: Happenings<Happening>,
    updated: Arc<Updates>,
    pub(super) emit: Option<Arc<dyn Emit>>,
}

/// Tables that changed, as a set: that one changes often costs no more.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    followed: AtomicBool,
    tables: Mutex<Updated>,
    bell: Notify,
}

impl Default for News {
    fn default() -> Self {
        Self::new(None)
    }
}

impl News {
    /// Sources tell `emit` of what happens; none: nobody.
    pub(super) fn new(emit: Option<Arc<dyn Emit>>) -> Self {
        Self { changed: watch::Sender::new(0), happenings: Happenings::new(MOST), updated: Arc::default(), emit }
    }

    /// To be rung whenever a record or a status changed.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A record or a status changed.
    pub(super) fn ring(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn follow(&self) -> Receiver<Happening> {
        self.happenings.follow()
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> Happening) {
        self.happenings.tell(what);
    }

    /// A datasource's table changed.
    pub(super) fn updated(&self, datasource: &str, table: &str) {
        self.updated.note(datasource, table);
    }

    pub(super) fn updates(&self) -> Arc<Updates> {
        self.updated.followed.store(true, Ordering::Release);
        Arc::clone(&self.updated)
    }
}

impl Updates {
    fn note(&self, datasource: &str, table: &str) {
        if !self.followed.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.tables();
        match all.get_mut(datasource) {
            // Somebody is about to take it.
            Some(tables) if tables.contains(table) => return,
            Some(tables) => _ = tables.insert(table.to_owned()),
            None => _ = all.insert(datasource.to_owned(), BTreeSet::from([table.to_owned()])),
        }
        drop(all);
        self.bell.notify_one();
    }

    /// What changed since it was taken last; waits until something has. May be given up at any time: nothing is lost. One
    /// may take.
    pub(crate) async fn take(&self) -> Updated {
        loop {
            let taken = std::mem::take(&mut *self.tables());
            if !taken.is_empty() {
                return taken;
            }
            self.bell.notified().await;
        }
    }

    fn tables(&self) -> MutexGuard<'_, Updated> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tables_that_change_often_are_told_of_once() {
        let news = News::default();
        news.updated("web", "pages");
        let updates = news.updates();
        for _ in 0..1000 {
            news.updated("web", "pages");
            news.updated("web", "links");
            news.updated("shop", "orders");
        }
        let set = |tables: &[&str]| tables.iter().map(|table| (*table).to_owned()).collect::<BTreeSet<_>>();
        let expected = [("shop".to_owned(), set(&["orders"])), ("web".to_owned(), set(&["links", "pages"]))];
        assert_eq!(updates.take().await, Updated::from(expected));
        news.updated("web", "pages");
        assert_eq!(updates.take().await, Updated::from([("web".to_owned(), set(&["pages"]))]));
    }
}
