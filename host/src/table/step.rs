//! Steps between a table's states.

use super::rows::bytes_of;
use arrow_array::RecordBatch;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// One life of a table: its states are numbered 1, 2, 3… within it. Later ones are larger, over restarts too, as long as
/// the clock does not go back. Below 2^53, so that JSON readers keep it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// One that was never given before in this process: microseconds since 1970, or one more than the last.
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0));
        let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        Self(now.max(last.unwrap_or(0) + 1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From one state to a later one. Apply the removals before the additions.
#[derive(Debug, Clone)]
pub struct Step {
    /// The life it belongs to.
    pub epoch: Epoch,
    /// The state it starts from.
    pub from: u64,
    /// The state it leads to.
    pub to: u64,
    /// The publisher's poll that it came from; 0: none. Steps of several tables with one number belong together.
    pub poll: u64,
    /// Rows that are no more, as they were.
    pub removed: RecordBatch,
    /// Rows that are new.
    pub added: RecordBatch,
    /// Of keyed tables: the first so many rows of `removed` and `added` are pairs, one row before and after.
    pub updated: usize,
}

impl Step {
    /// How many rows it carries, removed and added.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.removed.num_rows() + self.added.num_rows()
    }

    /// The bytes of its rows as Arrow data.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes_of(&self.removed) + bytes_of(&self.added)
    }

    /// Whether it changes no row, and only moves the position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }
}
