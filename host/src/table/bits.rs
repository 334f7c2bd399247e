//! A set of row numbers, one bit each.

/// Which rows of some number are in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    count: usize,
}

#[allow(dead_code, reason = "deltas will set them")]
impl Bits {
    /// None of so many.
    pub(crate) fn none(of: usize) -> Self {
        Self { words: vec![0; of.div_ceil(64)], count: 0 }
    }

    /// How many are in it.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn has(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Whether it was not in it.
    pub(crate) fn insert(&mut self, row: usize) -> bool {
        let (word, bit) = (&mut self.words[row / 64], 1 << (row % 64));
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }
}
