//! The calls of a source that run now, and what ends them early.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

thread_local! {
    /// Whose call this thread is in, and its number.
    static INSIDE: Cell<Option<(*const Calls, u64)>> = const { Cell::new(None) };
}

/// Why something that a source waits for is waited for no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The call that it is a part of was cancelled.
    Cancelled,
    /// The source was paused meanwhile, or is being paused.
    Paused,
    /// The source is closed, or is being closed.
    Closed,
}

/// A source's calls.
#[derive(Debug)]
pub(super) struct Calls {
    /// Those that run, or wait for a thread, and whether they were cancelled.
    running: Mutex<BTreeMap<u64, bool>>,
    closing: AtomicBool,
    /// Odd while the source is being paused; one more for each begin and end.
    pauses: AtomicU64,
    /// Rung whenever something may have ended.
    bell: Notify,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            running: Mutex::default(),
            closing: AtomicBool::new(false),
            pauses: AtomicU64::new(0),
            bell: Notify::new(),
        }
    }

    /// A call begins; it has ended when the ticket is dropped.
    pub(super) fn begin(self: &Arc<Self>, number: u64) -> Ticket {
        self.running().insert(number, false);
        Ticket { calls: Arc::clone(self), number }
    }

    /// Whether the call was there to be cancelled.
    pub(super) fn cancel(&self, number: u64) -> bool {
        let there = self.running().get_mut(&number).map(|cancelled| *cancelled = true).is_some();
        self.bell.notify_waiters();
        there
    }

    /// Waits until no call runs, at most so long; answers how many still do.
    pub(super) async fn drain(&self, limit: Duration) -> usize {
        let over = async {
            loop {
                // Before it looks: it hears of all that comes after.
                let rung = self.bell.notified();
                if self.running().is_empty() {
                    return;
                }
                rung.await;
            }
        };
        // What still runs is counted below.
        let _ = tokio::time::timeout(limit, over).await;
        self.running().len()
    }

    /// From now on every call of the source is cancelled. Answers whether that is news.
    pub(super) fn close(&self) -> bool {
        let news = !self.closing.swap(true, Ordering::AcqRel);
        self.bell.notify_waiters();
        news
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether a call was cancelled, or the source is being closed; number 0 asks for the latter alone.
    pub(super) fn is_cancelled(&self, number: u64) -> bool {
        self.is_closing() || (number != 0 && self.running().get(&number).copied().unwrap_or_default())
    }

    /// The source is being paused until the guard is dropped: what it waits for now, or begins to wait for, ends.
    pub(super) fn pause(&self) -> Pausing<'_> {
        self.turn();
        Pausing(self)
    }

    /// The number of the call that this thread is in; 0: none of this source.
    pub(super) fn current(&self) -> u64 {
        INSIDE.get().filter(|(calls, _)| std::ptr::eq(*calls, self)).map_or(0, |(_, number)| number)
    }

    /// Waits for what ends a wait that begins now, as a part of call `number` (0: of none).
    pub(super) fn end(&self, number: u64) -> impl Future<Output = Ended> + '_ {
        let begun = self.pauses.load(Ordering::Acquire);
        async move {
            loop {
                // Before it looks: it hears of all that comes after.
                let rung = self.bell.notified();
                let now = self.pauses.load(Ordering::Acquire);
                if self.is_closing() {
                    return Ended::Closed;
                }
                if self.is_cancelled(number) {
                    return Ended::Cancelled;
                }
                if now != begun || now % 2 == 1 {
                    return Ended::Paused;
                }
                rung.await;
            }
        }
    }

    /// A pause begins or ends.
    fn turn(&self) {
        self.pauses.fetch_add(1, Ordering::AcqRel);
        self.bell.notify_waiters();
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, bool>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs, or waits for a thread.
#[derive(Debug)]
pub(super) struct Ticket {
    calls: Arc<Calls>,
    number: u64,
}

impl Ticket {
    /// Whether it was cancelled itself; the call that closes the source runs while the source is being closed.
    pub(super) fn is_cancelled(&self) -> bool {
        self.calls.running().get(&self.number).copied().unwrap_or_default()
    }

    /// Works on this thread as a part of the call.
    pub(super) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Left(Option<(*const Calls, u64)>);
        impl Drop for Left {
            fn drop(&mut self) {
                INSIDE.set(self.0);
            }
        }
        let _left = Left(INSIDE.replace(Some((Arc::as_ptr(&self.calls), self.number))));
        work()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.calls.running().remove(&self.number);
        self.calls.bell.notify_waiters();
    }
}

/// A source that is being paused.
#[derive(Debug)]
pub(super) struct Pausing<'a>(&'a Calls);

impl Drop for Pausing<'_> {
    fn drop(&mut self) {
        self.0.turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_cancelled_call_is_that_until_it_is_back() {
        let calls = Arc::new(Calls::new());
        let (one, two) = (calls.begin(1), calls.begin(2));
        assert!(calls.cancel(1));
        assert!(calls.is_cancelled(1) && one.is_cancelled());
        assert!(!calls.is_cancelled(2) && !calls.is_cancelled(0));
        drop(one);
        assert!(!calls.is_cancelled(1), "nothing is kept of it");
        assert!(!calls.cancel(1));
        calls.close();
        assert!(calls.is_cancelled(2) && calls.is_cancelled(0) && !two.is_cancelled());
    }

    #[test]
    fn a_thread_knows_which_call_it_is_in() {
        let (calls, others) = (Arc::new(Calls::new()), Calls::new());
        assert_eq!(calls.current(), 0);
        let seen = calls.begin(7).inside(|| (calls.current(), others.current()));
        assert_eq!(seen, (7, 0));
        assert_eq!(calls.current(), 0);
    }

    #[test]
    fn a_wait_ends_with_its_call_with_a_pause_and_with_the_source() {
        let calls = Arc::new(Calls::new());
        let (_one, _two) = (calls.begin(1), calls.begin(2));
        let (mut one, mut two) = (Box::pin(calls.end(1)), Box::pin(calls.end(2)));
        assert_eq!(one.as_mut().now_or_never(), None);
        calls.cancel(1);
        assert_eq!(one.now_or_never(), Some(Ended::Cancelled));
        assert_eq!(two.as_mut().now_or_never(), None);
        let pausing = calls.pause();
        assert_eq!(calls.end(2).now_or_never(), Some(Ended::Paused), "one that begins meanwhile");
        drop(pausing);
        assert_eq!(two.now_or_never(), Some(Ended::Paused), "also when the pause was over before it looked");
        let mut after = Box::pin(calls.end(2));
        assert_eq!(after.as_mut().now_or_never(), None);
        calls.close();
        assert_eq!(after.now_or_never(), Some(Ended::Closed));
    }
}
