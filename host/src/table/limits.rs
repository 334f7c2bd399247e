//! How large a table may be.

use super::shape::Refused;

/// Limits of one table. What goes beyond is refused, before anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many rows, duplicates of a snapshot included. Never more than a `u32` counts.
    pub rows: usize,
    /// So many bytes of Arrow data, as [`Rows::bytes`](super::Rows::bytes) counts them.
    pub bytes: usize,
}

impl Default for Limits {
    /// 20 million rows, 4 GiB.
    fn default() -> Self {
        Self { rows: 20_000_000, bytes: 4 << 30 }
    }
}

impl Limits {
    /// None but what rows are numbered by: of copies and views, whose table has limits of its own.
    pub(crate) const NONE: Self = Self { rows: usize::MAX, bytes: usize::MAX };

    /// Refuses what is too large.
    pub(crate) fn check(&self, rows: usize, bytes: usize) -> Result<(), Refused> {
        // Rows are numbered by 32 bits.
        let most = self.rows.min(u32::MAX as usize);
        if rows > most {
            return Err(Refused::TooLarge { what: "rows", would: rows, limit: most });
        }
        if bytes > self.bytes {
            return Err(Refused::TooLarge { what: "bytes", would: bytes, limit: self.bytes });
        }
        Ok(())
    }
}
