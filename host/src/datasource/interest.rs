//! Which tables have subscribers, as the running source is told.
//!
//! Who subscribes only leaves a note here. A task of its own carries it to the source, so that neither a subscriber waits
//! for a driver nor the news for a poll; changes that come while the source is being told are one.

use super::open::Open;
use super::runner::{Shared, Standing};
use crate::bus::Service;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::message::{PollRequest, SubscribedRequest};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Which tables have subscribers now.
#[derive(Debug, Default)]
pub(super) struct Noted {
    tables: Mutex<BTreeSet<String>>,
    /// Rung when they are others.
    bell: Notify,
}

impl Noted {
    fn tables(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to listen; what is there already is noted at once.
pub(super) fn listen(service: &Service) -> Arc<Noted> {
    let noted = Arc::new(Noted::default());
    let notes = Arc::clone(&noted);
    service.on_interest(move |table, wanted| {
        if wanted {
            notes.tables().insert(table.to_owned());
        } else {
            notes.tables().remove(table);
        }
        notes.bell.notify_one();
    });
    noted
}

/// Tells each source that becomes active which tables have subscribers, and again when that changes.
pub(super) async fn tell(shared: &Shared, noted: &Noted) -> Infallible {
    let mut standing = shared.standing();
    let mut told: Option<(Weak<Open>, BTreeSet<String>)> = None;
    loop {
        let wanted = noted.tables().clone();
        let active = match &*standing.borrow_and_update() {
            Standing::Active(open) => Some(Arc::clone(open)),
            Standing::Absent | Standing::Standby(_) => None,
        };
        if let Some(open) = active {
            let same = |of: &Weak<Open>| std::ptr::eq(of.as_ptr(), Arc::as_ptr(&open));
            if told.as_ref().is_none_or(|(of, told)| !same(of) || *told != wanted) {
                let before = told.replace((Arc::downgrade(&open), wanted.clone()));
                let before = before.filter(|(of, _)| same(of)).map(|(_, tables)| tables).unwrap_or_default();
                let new: Vec<String> = wanted.difference(&before).cloned().collect();
                Box::pin(say(&open, wanted)).await;
                read(&open, &new);
                continue;
            }
        }
        tokio::select! {
            () = noted.bell.notified() => {}
            // The sender lives in what is shared.
            _ = standing.changed() => {}
        }
    }
}

/// Has tables polled that were not, as nobody wanted them.
fn read(open: &Open, new: &[String]) {
    let lazy = open.tables().into_iter().filter(|table| table.lazy && new.contains(&table.name));
    let tables: Vec<String> = lazy.map(|table| table.name).filter(|table| !open.ingest.has(table)).collect();
    if !tables.is_empty() {
        open.ingest.want(&PollRequest { tables: Some(tables), snapshot: true });
    }
}

async fn say(open: &Open, wanted: BTreeSet<String>) {
    // A subscription's topics are the bus's to choose rows by: all are wanted.
    let request = SubscribedRequest { tables: wanted.into_iter().map(|table| (table, None)).collect() };
    match open.subscribed(request).await {
        Ok(()) => {}
        // It is a hint.
        Err(error) if error.status() == Some(Code::NOT_IMPLEMENTED) => {}
        Err(error) => {
            tracing::warn!(datasource = open.record.name, %error, "the source was not told well which tables have subscribers");
            if error.is_code_fault() {
                // The next poll finds it poisoned and opens another.
                open.ingest.want(&PollRequest::default());
            }
        }
    }
}
