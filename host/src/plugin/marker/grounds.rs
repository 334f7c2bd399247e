//! Where the code of each mapped copy lies, in memory that a signal's handler may look at: no allocation, no lock. So a death on
//! a thread that a driver started, on which no call is open, has somebody's name too.

use super::slots::{TEXT, file};
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// So many copies are known, of all nodes of this process; those beyond are only named by their calls.
const COPIES: usize = 4096;
/// No copy lies there.
const FREE: usize = 0;
/// Somebody is writing it.
const TAKEN: usize = 1;

/// A mapped copy's code.
#[derive(Debug)]
pub(super) struct Ground {
    begin: AtomicUsize,
    end: AtomicUsize,
    node: AtomicUsize,
    length: AtomicUsize,
    text: [AtomicU8; TEXT],
}

static GROUNDS: [Ground; COPIES] = [const {
    Ground {
        begin: AtomicUsize::new(FREE),
        end: AtomicUsize::new(FREE),
        node: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        text: [const { AtomicU8::new(0) }; TEXT],
    }
}; COPIES];
/// No more of them were ever in use: what a handler looks at.
static USED: AtomicUsize = AtomicUsize::new(0);

/// That copy's code lies there, as long as the process runs or its node has its place. Whether there was room to note it.
pub(super) fn claim(node: usize, code: &Range<usize>, text: &str) -> bool {
    let take =
        |ground: &&Ground| ground.begin.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok();
    let Some((at, ground)) = GROUNDS.iter().enumerate().find(|(_, ground)| take(ground)) else { return false };
    ground.node.store(node, Ordering::Relaxed);
    ground.end.store(code.end, Ordering::Relaxed);
    for (to, byte) in ground.text.iter().zip(text.bytes()) {
        to.store(byte, Ordering::Relaxed);
    }
    ground.length.store(text.len().min(TEXT), Ordering::Relaxed);
    USED.fetch_max(at + 1, Ordering::AcqRel);
    ground.begin.store(code.start, Ordering::Release);
    true
}

/// A node is gone: its copies are nobody's any more.
pub(super) fn leave(node: usize) {
    for ground in &GROUNDS[..USED.load(Ordering::Acquire)] {
        if ground.begin.load(Ordering::Acquire) > TAKEN && ground.node.load(Ordering::Relaxed) == node {
            ground.begin.store(FREE, Ordering::Release);
        }
    }
}

fn at(address: usize) -> Option<&'static Ground> {
    GROUNDS[..USED.load(Ordering::Acquire)].iter().find(|ground| {
        let begin = ground.begin.load(Ordering::Acquire);
        begin > TAKEN && (begin..ground.end.load(Ordering::Relaxed)).contains(&address)
    })
}

/// Whether an address lies in a driver's code. Allowed in a signal's handler.
pub(in crate::plugin) fn is_drivers(address: usize) -> bool {
    at(address).is_some()
}

/// Tells in which file a death in the code at an address is noted, and what. Allowed in a signal's handler, as long as `tell` is.
pub(in crate::plugin) fn whose(address: usize, tell: impl FnOnce(RawFd, &[u8])) {
    let Some(ground) = at(address) else { return };
    let Some(file) = file(ground.node.load(Ordering::Relaxed)) else { return };
    let mut text = [0; TEXT];
    for (to, byte) in text.iter_mut().zip(&ground.text) {
        *to = byte.load(Ordering::Relaxed);
    }
    tell(file, &text[..ground.length.load(Ordering::Relaxed).min(TEXT)]);
}

/// What stands before an address tells whether a call returns to it: so many bytes.
pub(in crate::plugin) const BEFORE: usize = 8;

/// Whether a call returns to behind these bytes. What is no return address may stand on a stack for many reasons: pointers to
/// functions are handed on, for one.
pub(in crate::plugin) fn is_call(before: [u8; BEFORE]) -> bool {
    if cfg!(target_arch = "aarch64") {
        let [.., a, b, c, d] = before;
        let word = u32::from_le_bytes([a, b, c, d]);
        // BL; BLR, with pointer authentication or without.
        return word & 0xfc00_0000 == 0x9400_0000 || word & 0xfeff_f000 == 0xd63f_0000;
    }
    // CALL rel32; CALL r/m64 of each length.
    before[BEFORE - 5] == 0xe8
        || [2, 3, 4, 6, 7].iter().any(|back| {
            let [operation, operand] = [before[BEFORE - back], before[BEFORE - back + 1]];
            operation == 0xff && (operand >> 3) & 7 == 2
        })
}

#[cfg(test)]
mod tests {
    use super::super::slots::Node;
    use super::*;

    fn told(address: usize) -> Option<(RawFd, String)> {
        let mut told = None;
        whose(address, |file, text| told = Some((file, String::from_utf8_lossy(text).into_owned())));
        told
    }

    #[test]
    fn code_is_its_nodes_as_long_as_that_is_there() {
        // Nothing is mapped there.
        let (one, two) = (Node::new(2001).unwrap(), Node::new(2002).unwrap());
        assert!(one.claim(&(0x100..0x200), "a") && two.claim(&(0x200..0x300), "b"));
        assert_eq!((told(0x0ff), told(0x100)), (None, Some((2001, "a".to_owned()))));
        assert_eq!((told(0x1ff), told(0x200)), (Some((2001, "a".to_owned())), Some((2002, "b".to_owned()))));
        assert!(is_drivers(0x2ff) && !is_drivers(0x300) && !is_drivers(0) && !is_drivers(1));
        drop(one);
        assert_eq!((told(0x150), told(0x250)), (None, Some((2002, "b".to_owned()))));
        drop(two);
        assert!(!is_drivers(0x250));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_of_each_kind_are_told_from_what_is_none() {
        let ends = |code: &[u8]| {
            let mut before = [0x90; BEFORE];
            before[BEFORE - code.len()..].copy_from_slice(code);
            is_call(before)
        };
        let calls: [&[u8]; 7] = [
            &[0xe8, 1, 2, 3, 4],
            &[0xff, 0xd0],
            &[0x41, 0xff, 0xd7],
            &[0xff, 0x50, 8],
            &[0xff, 0x54, 0x24, 8],
            &[0xff, 0x15, 1, 2, 3, 4],
            &[0xff, 0x94, 0x24, 1, 2, 3, 4],
        ];
        assert!(calls.into_iter().all(ends));
        // Padding before a function, a return, a jump.
        let others: [&[u8]; 4] = [&[0xcc; 8], &[0xc3], &[0xff, 0x25, 1, 2, 3, 4], &[0xe9, 1, 2, 3, 4]];
        assert!(!others.into_iter().any(ends));
    }
}
