//! What others may see of a runner, and how they reach its source.

use super::status::Status;
use crate::datasource::ingest::Ingest;
use crate::datasource::news::{Happening, News};
use crate::datasource::open::Open;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, watch};

/// Where a datasource's source is.
#[derive(Debug, Clone)]
pub(in crate::datasource) enum Standing {
    /// There is none.
    Absent,
    /// About to become active, or paused: it is polled at most, and an end of this is in sight.
    Standby(Arc<Open>),
    /// It has effects, and runs actions.
    Active(Arc<Open>),
}

impl Standing {
    fn open(&self) -> Option<&Arc<Open>> {
        match self {
            Self::Absent => None,
            Self::Standby(open) | Self::Active(open) => Some(open),
        }
    }
}

/// What others may see of a runner. It outlives the runner: a datasource that is disabled has its status, too.
#[derive(Debug)]
pub(in crate::datasource) struct Shared {
    status: Mutex<Status>,
    standing: watch::Sender<Standing>,
    coming: Mutex<Coming>,
    /// Rung when something wants a poll out of turn.
    pub(in crate::datasource) bell: Arc<Notify>,
    /// Rung when the datasource ends.
    end: Notify,
    news: Arc<News>,
    /// The datasource's.
    name: Arc<str>,
    /// The tables that are from the disk.
    pub(in crate::datasource) restored: Arc<Restored>,
}

/// The source that was asked for last, be it open by now, and whether another may be.
#[derive(Debug, Default)]
struct Coming {
    ended: bool,
    ingest: Weak<Ingest>,
}

/// The tables of a datasource whose rows are from the disk: its source has not said anything of them yet.
#[derive(Debug, Default)]
pub(in crate::datasource) struct Restored(Mutex<BTreeSet<String>>);

impl Restored {
    pub(super) fn insert(&self, table: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned());
    }

    pub(in crate::datasource) fn contains(&self, table: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(table)
    }

    /// Its rows are the source's now.
    pub(in crate::datasource) fn remove(&self, table: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(table)
    }
}

impl Shared {
    /// Of the datasource of that name.
    pub(in crate::datasource) fn new(news: Arc<News>, name: &str) -> Self {
        let standing = watch::Sender::new(Standing::Absent);
        let (status, coming, bell, end, restored) = Default::default();
        Self { status, standing, coming, bell, end, news, name: name.into(), restored }
    }

    /// Where it is told what happens.
    pub(in crate::datasource) fn news(&self) -> &Arc<News> {
        &self.news
    }

    fn coming(&self) -> MutexGuard<'_, Coming> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source is about to be opened; `false`: the datasource ends, and it is not to be.
    pub(in crate::datasource) fn expect(&self, ingest: &Arc<Ingest>) -> bool {
        let mut coming = self.coming();
        if !coming.ended {
            coming.ingest = Arc::downgrade(ingest);
        }
        !coming.ended
    }

    /// The datasource ends: calls of its source are cancelled, and of one that is opened or polled beside it.
    pub(in crate::datasource) fn end(&self) {
        let coming = {
            let mut coming = self.coming();
            coming.ended = true;
            std::mem::take(&mut coming.ingest)
        };
        self.end.notify_waiters();
        let open = self.open().map(|open| Arc::clone(&open.ingest));
        open.into_iter().chain(coming.upgrade()).for_each(|ingest| ingest.cancel_all());
    }

    /// Whether the datasource ends.
    pub(super) fn is_ended(&self) -> bool {
        self.coming().ended
    }

    /// Comes when the datasource ends.
    pub(super) async fn ended(&self) {
        let end = self.end.notified();
        if !self.is_ended() {
            end.await;
        }
    }

    pub(in crate::datasource) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::datasource) fn open(&self) -> Option<Arc<Open>> {
        self.standing.borrow().open().cloned()
    }

    /// To be told where the source is.
    pub(in crate::datasource) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Whether there is a source that has effects.
    pub(super) fn is_active(&self) -> bool {
        matches!(&*self.standing.borrow(), Standing::Active(_))
    }

    /// The active source; waits while there is one that will be. None: there is no source.
    pub(in crate::datasource) async fn settled(&self) -> Option<Arc<Open>> {
        let mut standing = self.standing();
        let settled = standing.wait_for(|standing| !matches!(standing, Standing::Standby(_))).await;
        // The sender lives as long as this.
        settled.ok()?.open().cloned()
    }

    /// Whether a source is the active one, as whoever asks later finds it.
    pub(in crate::datasource) fn still(&self, open: &Arc<Open>) -> impl FnOnce() -> bool + Send + 'static {
        let (standing, open) = (self.standing(), Arc::downgrade(open));
        move || matches!(&*standing.borrow(), Standing::Active(active) if std::ptr::eq(Arc::as_ptr(active), open.as_ptr()))
    }

    /// Answers the source that was there before.
    pub(super) fn set(&self, standing: Standing) -> Option<Arc<Open>> {
        self.standing.send_replace(standing).open().cloned()
    }

    pub(in crate::datasource) fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.status();
        let before = (status.phase, status.unread);
        change(&mut status);
        if (status.phase, status.unread) != before {
            // In the order in which it moved.
            self.news.tell(|| {
                let (name, error) = (Arc::clone(&self.name), status.error.clone());
                Happening::Moved { name, phase: status.phase, unread: status.unread, error }
            });
        }
        drop(status);
        self.news.ring();
    }
}
