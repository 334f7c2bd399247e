//! What a child wrote to its standard output and error: the end of it, in little room.

use std::collections::VecDeque;

/// So many bytes are kept.
const KEPT: usize = 2048;
/// So many characters are shown.
const SHOWN: usize = 400;

/// The last bytes of what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LastWords {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl LastWords {
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let over = (self.bytes.len() + bytes.len()).saturating_sub(KEPT);
        self.cut |= over > 0;
        self.bytes.drain(..over);
        self.bytes.extend(bytes);
    }

    /// All that was kept, for looking for something in it.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.iter().copied().collect::<Vec<_>>()).into_owned()
    }

    /// The end of it, in quotes and on one line; none when there is nothing to read.
    pub(super) fn quoted(&self) -> Option<String> {
        let text = self.text();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let text = lines.join(" / ");
        let skipped = text.chars().count().saturating_sub(SHOWN);
        let mark = if self.cut || skipped > 0 { "…" } else { "" };
        let shown: String = text.chars().skip(skipped).collect();
        (!shown.is_empty()).then(|| format!("{:?}", format!("{mark}{shown}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&[u8]]) -> Option<String> {
        let mut words = LastWords::default();
        pieces.iter().for_each(|piece| words.hear(piece));
        words.quoted()
    }

    #[test]
    fn the_end_is_kept_on_one_line() {
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[b" \n\n"]), None);
        assert_eq!(said(&[b"one\n", b"\n  two \"x\"\x1b[0m\n"]).unwrap(), r#""one / two \"x\"\u{1b}[0m""#);
        assert_eq!(said(&[b"caf\xe9"]).unwrap(), "\"caf\u{fffd}\"");
        let flood = said(&[&[b'a'; 5000], &[b'b'; 300], &[b'c'; 200]]).unwrap();
        assert_eq!(flood, format!("\"…{}{}\"", "b".repeat(200), "c".repeat(200)));
    }

    #[test]
    fn a_flood_takes_no_room() {
        let mut words = LastWords::default();
        for _ in 0..1000 {
            words.hear(&[b'x'; 1000]);
            assert!(words.bytes.len() <= KEPT && words.bytes.capacity() <= 2 * KEPT);
        }
    }
}
