//! A set of row numbers, one bit each.

/// Which rows of some number are in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    count: usize,
}

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

    /// Those in it, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).step_by(64).zip(&self.words).flat_map(|(first, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(first + bit)
            })
        })
    }

    /// Those that are not, of so many.
    pub(crate) fn inverted(&self, of: usize) -> arrow_buffer::BooleanBuffer {
        arrow_buffer::BooleanBuffer::collect_bool(of, |row| !self.has(row))
    }
}
