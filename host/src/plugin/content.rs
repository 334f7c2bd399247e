//! What files hold, in memory that goes from one to the next while many are read, and back to the system then.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The usual allocator keeps much of what it gave to threads that come and go, but maps what is larger than 32 MiB by itself,
/// and gives it back at once. What of it is not written to takes no memory.
const OF_ITS_OWN: usize = 33 << 20;

/// What a file holds.
#[derive(Clone)]
pub struct Content(Vec<u8>);

impl Content {
    /// Memory for so many bytes: what another file's were read into, if that is kept.
    pub(super) fn room(size: usize) -> Vec<u8> {
        let mut room = spare().memory.pop().unwrap_or_default();
        room.reserve_exact(size.max(OF_ITS_OWN));
        room
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        spare().put(std::mem::take(&mut self.0));
    }
}

/// While this lives, files are read into memory that others were read into before: fresh one takes longer than the reading.
pub(super) struct Reuse(usize);

impl Reuse {
    /// For so many files at a time.
    pub(super) fn begin(files: usize) -> Self {
        spare().kept += files;
        Self(files)
    }
}

impl Drop for Reuse {
    fn drop(&mut self) {
        drop(spare().end(self.0));
    }
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { kept: 0, memory: Vec::new() });

fn spare() -> MutexGuard<'static, Spare> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that may be read into once more.
#[derive(Debug)]
struct Spare {
    /// So many pieces at most.
    kept: usize,
    memory: Vec<Vec<u8>>,
}

impl Spare {
    fn put(&mut self, mut memory: Vec<u8>) {
        if self.memory.len() < self.kept && memory.capacity() >= OF_ITS_OWN {
            memory.clear();
            self.memory.push(memory);
        }
    }

    /// So many pieces fewer are kept; answers what is to be given back.
    fn end(&mut self, pieces: usize) -> Vec<Vec<u8>> {
        self.kept -= pieces;
        self.memory.split_off(self.kept.min(self.memory.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_from_one_to_the_next_as_long_as_many_are_read() {
        let mut spare = Spare { kept: 0, memory: Vec::new() };
        let large = || {
            let mut large = Vec::with_capacity(OF_ITS_OWN);
            large.push(7);
            large
        };
        spare.put(large());
        assert!(spare.memory.is_empty(), "nobody reads many");
        spare.kept += 2;
        // Small pieces are not worth it.
        spare.put(vec![7; 100]);
        (0..3).for_each(|_| spare.put(large()));
        assert_eq!(spare.memory.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0]);
        assert!(spare.memory.iter().all(|memory| memory.capacity() >= OF_ITS_OWN));
        assert_eq!((spare.end(1).len(), spare.end(1).len(), spare.memory.len()), (1, 1, 0));
    }

    #[test]
    fn room_is_empty_and_large_enough() {
        let _reuse = Reuse::begin(1);
        let mut room = Content::room(10);
        room.extend(b"what another file held");
        drop(Content::from(room));
        for size in [10, 2 * OF_ITS_OWN] {
            let room = Content::room(size);
            assert!(room.is_empty() && room.capacity() >= size);
        }
    }
}
