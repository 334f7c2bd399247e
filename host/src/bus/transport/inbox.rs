//! What waits at one end: messages that came, and messages on their way with the moment at which they come.
//!
//! A delay is kept at the receiving end, not in tasks of its own: nothing runs between two messages, and a test under
//! paused time sees the same order each time.

use super::Received;
use crate::bus::queue::Bounds;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A message on its way.
#[derive(Debug)]
struct Underway {
    due: Instant,
    /// Of two that are due at once, the one sent earlier comes first.
    number: u64,
    received: Received,
}

impl PartialEq for Underway {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Underway {}

impl PartialOrd for Underway {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Underway {
    /// The earliest is the greatest: a heap gives that first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

#[derive(Debug, Default)]
struct Held {
    here: VecDeque<Received>,
    underway: BinaryHeap<Underway>,
    bytes: usize,
    sent: u64,
    lost: u64,
    closed: bool,
}

/// What a receiver finds.
enum Look {
    Message(Received),
    Until(Instant),
    Empty,
    Closed,
}

#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) name: String,
    bounds: Bounds,
    held: Mutex<Held>,
    bell: Notify,
}

impl Inbox {
    pub(super) fn new(name: &str, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), bounds, held: Mutex::default(), bell: Notify::new() })
    }

    /// Puts a message in; `due`: it is on its way until then. Whether there was room: what has none is lost.
    pub(super) fn put(&self, from: &str, message: &Arc<[u8]>, due: Option<Instant>) -> bool {
        let mut held = self.held();
        let room = held.here.len() + held.underway.len() < self.bounds.messages
            && held.bytes.saturating_add(message.len()) <= self.bounds.bytes;
        if !room || held.closed {
            held.lost += 1;
            return false;
        }
        held.bytes += message.len();
        held.sent += 1;
        let received = Received { from: from.to_owned(), message: Arc::clone(message) };
        match due {
            None => held.here.push_back(received),
            Some(due) => {
                let number = held.sent;
                held.underway.push(Underway { due, number, received });
            }
        }
        drop(held);
        self.bell.notify_one();
        true
    }

    /// The next message; `None` when closed. Takes it in the same breath in which it answers, and so is cancel safe.
    pub(super) async fn take(&self) -> Option<Received> {
        loop {
            // Listens before it looks: nothing falls between.
            let rung = self.bell.notified();
            match self.look() {
                Look::Message(received) => return Some(received),
                Look::Closed => return None,
                Look::Empty => rung.await,
                Look::Until(due) => tokio::select! {
                    () = rung => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }

    fn look(&self) -> Look {
        let mut held = self.held();
        if held.closed {
            return Look::Closed;
        }
        let now = Instant::now();
        while held.underway.peek().is_some_and(|first| first.due <= now)
            && let Some(first) = held.underway.pop()
        {
            held.here.push_back(first.received);
        }
        if let Some(received) = held.here.pop_front() {
            held.bytes -= received.message.len();
            return Look::Message(received);
        }
        held.underway.peek().map_or(Look::Empty, |first| Look::Until(first.due))
    }

    /// Nothing comes any more; what waits is lost.
    pub(super) fn close(&self) {
        let mut held = self.held();
        let waited = held.here.len() + held.underway.len();
        held.lost += u64::try_from(waited).unwrap_or(u64::MAX);
        held.here.clear();
        held.underway.clear();
        held.bytes = 0;
        held.closed = true;
        drop(held);
        self.bell.notify_waiters();
    }

    /// A message that never came here.
    pub(super) fn lose(&self) {
        self.held().lost += 1;
    }

    pub(super) fn lost(&self) -> u64 {
        self.held().lost
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
