//! Where events wait for who subscribes: bounded, the oldest go first.

use super::envelope::Event;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// So often an event of a shared queue is given to a consumer before it is given up.
pub const ATTEMPTS: u32 = 3;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub events: usize,
    /// Bytes of their JSON.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 1000, bytes: 8 << 20 }
    }
}

/// An event with its place among all that were published here.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// 1 for the first since the start, then one more each time.
    pub position: u64,
    /// When it was published here: never before the one before it.
    pub at: Timestamp,
    /// What happened.
    pub event: Arc<Event>,
    /// About how large it is, in bytes of JSON.
    pub bytes: usize,
}

/// What became of the events of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// They wait now.
    pub waiting: usize,
    /// Their bytes.
    pub bytes: usize,
    /// They were given to somebody.
    pub delivered: u64,
    /// They had to go for later ones.
    pub dropped: u64,
    /// They were given once more, since it did not go well.
    pub redelivered: u64,
    /// It went well with none of the attempts.
    pub given_up: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Told, u32)>,
    counters: Counters,
    /// Dropped since the last notice.
    gap: u64,
    closed: bool,
}

/// Where events wait.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    /// Who takes from it keeps events for others: nobody listens by that.
    aside: bool,
    state: Mutex<State>,
    rung: Notify,
}

/// What is next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// So many are lost: they had to go for later ones.
    Gap(u64),
    /// An event, and for which time it is given.
    Event(Told, u32),
    /// Nothing now.
    Empty,
    /// Nothing any more.
    Closed,
}

impl Queue {
    pub(super) fn new(bounds: Bounds, aside: bool) -> Self {
        // One that is larger than all that may wait does wait, alone.
        let bounds = Bounds { events: bounds.events.max(1), ..bounds };
        Self { bounds, aside, state: Mutex::default(), rung: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether who takes from it listens.
    pub(super) fn listens(&self) -> bool {
        !self.aside
    }

    pub(super) fn push(&self, told: Told) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.counters.bytes += told.bytes;
        state.waiting.push_back((told, 1));
        self.shrink(&mut state);
        drop(state);
        self.rung.notify_one();
    }

    fn shrink(&self, state: &mut State) {
        let over = |state: &State| state.waiting.len() > self.bounds.events || state.counters.bytes > self.bounds.bytes;
        while over(state) && state.waiting.len() > 1 {
            if let Some((gone, _)) = state.waiting.pop_front() {
                state.counters.bytes -= gone.bytes;
                state.counters.dropped += 1;
                state.gap += 1;
            }
        }
        state.counters.waiting = state.waiting.len();
    }

    /// It did not go well: it is given to somebody once more, unless that was its last attempt.
    pub(super) fn put_back(&self, told: Told, attempt: u32) {
        let mut state = self.state();
        if attempt >= ATTEMPTS {
            state.counters.given_up += 1;
            return;
        }
        state.counters.redelivered += 1;
        state.counters.bytes += told.bytes;
        state.waiting.push_front((told, attempt + 1));
        self.shrink(&mut state);
        drop(state);
        self.rung.notify_one();
    }

    pub(super) fn next(&self) -> Next {
        let mut state = self.state();
        if state.gap > 0 {
            return Next::Gap(std::mem::take(&mut state.gap));
        }
        match state.waiting.pop_front() {
            Some((told, attempt)) => {
                state.counters.bytes -= told.bytes;
                state.counters.delivered += 1;
                state.counters.waiting = state.waiting.len();
                let more = !state.waiting.is_empty();
                drop(state);
                if more {
                    // Another consumer may take it.
                    self.rung.notify_one();
                }
                Next::Event(told, attempt)
            }
            None if state.closed => Next::Closed,
            None => Next::Empty,
        }
    }

    /// Waits until there is something, or nothing any more.
    pub(super) async fn wait(&self) -> Next {
        loop {
            let rung = self.rung.notified();
            match self.next() {
                Next::Empty => rung.await,
                next => {
                    if next == Next::Closed {
                        // All others wait for that as well.
                        self.rung.notify_one();
                    }
                    return next;
                }
            }
        }
    }

    /// What waits is taken from elsewhere, with what had to go for it, if some had to and nothing was given to anybody yet.
    pub(super) fn begin_anew(&self) -> bool {
        let mut state = self.state();
        if state.gap == 0 || state.counters.delivered > 0 {
            return false;
        }
        state.counters.dropped -= std::mem::take(&mut state.gap);
        (state.counters.waiting, state.counters.bytes) = (0, 0);
        state.waiting.clear();
        true
    }

    /// How many bytes may wait.
    pub(super) fn most_bytes(&self) -> usize {
        self.bounds.bytes
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.rung.notify_one();
    }

    pub(super) fn counters(&self) -> Counters {
        self.state().counters
    }
}
