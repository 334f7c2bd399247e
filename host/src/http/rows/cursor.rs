//! Where the next page begins. Opaque to clients: nothing but this file reads one.

use super::fault::Fault;
use crate::bus::Position;
use crate::table::Epoch;
use std::fmt;
use std::str::FromStr;

/// A place in one state of a table, under one order and choice of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The state.
    pub(super) of: Position,
    /// So many rows were given already.
    pub(super) at: usize,
    /// What tells orders and choices apart.
    pub(super) mark: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Epoch(epoch), to) = self.of;
        write!(f, "{epoch:x}-{to:x}-{:x}-{:x}", self.at, self.mark)
    }
}

impl FromStr for Cursor {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut words = text.split('-');
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let read = |[epoch, to, at, mark]: [u64; 4]| {
            Some(Self { of: (Epoch(epoch), to), at: usize::try_from(at).ok()?, mark })
        };
        let numbers = (|| Some([number()?, number()?, number()?, number()?]))();
        let cursor = numbers.and_then(read).filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| Fault::Cursor(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let cursor = Cursor { of: (Epoch(1_795_314_296_012_345), 17), at: 300, mark: u64::MAX };
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor));
        for bad in ["", "x", "1-2-3", "1-2-3-4-5", "1-2-3-G", "01-2-3-4", "+1-2-3-4", "1-2--4", "A-1-1-1", &text[1..9]]
        {
            assert_eq!(bad.parse::<Cursor>(), Err(Fault::Cursor(bad.to_owned())), "{bad}");
        }
        assert_eq!(
            Fault::Cursor("x".to_owned()).to_string(),
            "\"x\" is no cursor: give the \"next\" of an answer as it is, or none to begin with the first rows"
        );
    }
}
