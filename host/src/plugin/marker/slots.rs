//! Open calls, in memory that a signal's handler may look at: no allocation, no lock. Noting a call waits for no disk.

use super::grounds;
use std::cell::Cell;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// So many calls are noted at once, of all nodes of this process; one beyond is made all the same.
const CALLS: usize = 2048;
/// So many nodes note calls in one process.
const NODES: usize = 64;
/// What is noted of a call has at most so many bytes.
pub(in crate::plugin) const TEXT: usize = 480;

/// Nobody has that slot.
const FREE: u32 = 0;
/// Somebody is writing it.
const TAKEN: u32 = u32::MAX;
/// No file: there is no such node.
const NONE: RawFd = -1;

/// A call.
#[derive(Debug)]
pub(super) struct Slot {
    /// On which thread.
    thread: AtomicU32,
    node: AtomicUsize,
    length: AtomicUsize,
    text: [AtomicU8; TEXT],
}

static SLOTS: [Slot; CALLS] = [const {
    Slot {
        thread: AtomicU32::new(FREE),
        node: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        text: [const { AtomicU8::new(0) }; TEXT],
    }
}; CALLS];
/// Where each node's deaths are noted.
static FILES: [AtomicI32; NODES] = [const { AtomicI32::new(NONE) }; NODES];

thread_local! {
    /// A call began on this thread, at some time, or rows of a driver were let go of: it is the host's own. A handler may look:
    /// there is nothing to be made or dropped.
    static CALLER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has made calls of drivers, or run their code otherwise. Allowed in a signal's handler.
pub(in crate::plugin) fn makes_calls() -> bool {
    CALLER.get()
}

/// This thread is the host's, and runs a driver's code though no call is open.
pub(in crate::plugin) fn runs_drivers_code() {
    CALLER.set(true);
}

/// The file of a node, as long as it is there.
pub(super) fn file(node: usize) -> Option<RawFd> {
    FILES.get(node).map(|file| file.load(Ordering::Acquire)).filter(|file| *file != NONE)
}

/// A place among the nodes, until this is dropped.
#[derive(Debug)]
pub(super) struct Node(usize);

impl Node {
    /// Deaths in its calls are noted in that file, which stays open as long as this. `None`: there are too many nodes.
    pub(super) fn new(file: RawFd) -> Option<Self> {
        let take = |place: &AtomicI32| place.compare_exchange(NONE, file, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        FILES.iter().position(take).map(Self)
    }

    /// Code of one of its drivers lies there; what is noted of who dies in it. Whether there was room to note it.
    pub(super) fn claim(&self, code: &Range<usize>, text: &str) -> bool {
        grounds::claim(self.0, code, text)
    }

    /// A call begins on that thread, which is this one.
    pub(super) fn open(&self, thread: u32, text: &str) -> Option<&'static Slot> {
        thread_local! {
            /// A thread finds the slot free that it had last.
            static LAST: Cell<usize> = const { Cell::new(0) };
        }
        CALLER.set(true);
        let last = LAST.get();
        let take =
            |at: &usize| SLOTS[*at].thread.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let at = (last..CALLS).chain(0..last).find(take)?;
        LAST.set(at);
        let slot = &SLOTS[at];
        slot.node.store(self.0, Ordering::Relaxed);
        for (to, byte) in slot.text.iter().zip(text.bytes()) {
            to.store(byte, Ordering::Relaxed);
        }
        slot.length.store(text.len().min(TEXT), Ordering::Relaxed);
        slot.thread.store(thread, Ordering::Release);
        Some(slot)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        grounds::leave(self.0);
        FILES[self.0].store(NONE, Ordering::Release);
    }
}

impl Slot {
    /// The call has ended.
    pub(super) fn close(&self) {
        self.thread.store(FREE, Ordering::Release);
    }
}

/// Tells of each call that is open on a thread: in which file its death is noted, and what. Allowed in a signal's handler, as
/// long as `tell` is.
pub(in crate::plugin) fn each(thread: u32, mut tell: impl FnMut(RawFd, &[u8])) {
    for slot in SLOTS.iter().filter(|slot| slot.thread.load(Ordering::Acquire) == thread) {
        let Some(file) = file(slot.node.load(Ordering::Relaxed)) else { continue };
        let mut text = [0; TEXT];
        for (to, byte) in text.iter_mut().zip(&slot.text) {
            *to = byte.load(Ordering::Relaxed);
        }
        let length = slot.length.load(Ordering::Relaxed).min(TEXT);
        tell(file, &text[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(thread: u32) -> Vec<(RawFd, String)> {
        let mut told = Vec::new();
        each(thread, |file, text| told.push((file, String::from_utf8_lossy(text).into_owned())));
        told.sort();
        told
    }

    #[test]
    fn each_thread_has_its_calls_and_each_call_its_nodes_file() {
        // No thread has such numbers.
        let (mine, other) = (TAKEN - 1, TAKEN - 2);
        let (one, two) = (Node::new(1001).unwrap(), Node::new(1002).unwrap());
        let calls = [one.open(mine, "a"), two.open(mine, "b"), two.open(other, "c")];
        assert_eq!(told(mine), [(1001, "a".to_owned()), (1002, "b".to_owned())]);
        assert_eq!(told(other), [(1002, "c".to_owned())]);
        calls[1].unwrap().close();
        assert_eq!(told(mine), [(1001, "a".to_owned())]);
        let long = "x".repeat(2 * TEXT);
        let cut = one.open(other, &long).unwrap();
        assert_eq!(told(other), [(1001, long[..TEXT].to_owned()), (1002, "c".to_owned())]);
        // A node that is gone is told nothing.
        drop(two);
        assert_eq!(told(other).len(), 1);
        calls.into_iter().flatten().chain([cut]).for_each(Slot::close);
        assert_eq!((told(mine), told(other)), (vec![], vec![]));
    }
}
