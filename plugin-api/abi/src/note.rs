//! The note: what a plugin file says of itself without a byte of it being run.
//!
//! Section `.busway` holds `BUSWAY\0\x01`, the JSON's length as four little-endian bytes, and the JSON:
//!
//! ```json
//! {"id":"files","version":"1.2.0","contract":"1.0.0","sdk":"0.1.0","abi_stable":"0.11.3",
//!  "target":"x86_64-unknown-linux-gnu","panic":"unwind"}
//! ```

use core::fmt;

/// The section's name: eight characters at most, for Windows' sake.
pub const NOTE_SECTION: &str = ".busway";

/// How a note begins; the last byte is the form's version.
pub const NOTE_MAGIC: [u8; 8] = *b"BUSWAY\0\x01";

const HEAD: usize = NOTE_MAGIC.len() + 4;

/// How many bytes the note of these keys and values takes.
pub const fn note_len(pairs: &[(&str, &str)]) -> usize {
    // {"k":"v","k":"v"}: six characters of punctuation a pair, one less for the missing comma, two braces.
    let mut len = HEAD + 1;
    let mut i = 0;
    while i < pairs.len() {
        len += pairs[i].0.len() + pairs[i].1.len() + 6;
        i += 1;
    }
    len
}

/// The note of these keys and values, to be put into section [`NOTE_SECTION`].
///
/// # Panics
///
/// At compile time, when `N` is not [`note_len`] of the pairs, there is no pair, or a text holds a character that JSON
/// would escape.
pub const fn note_bytes<const N: usize>(pairs: &[(&str, &str)]) -> [u8; N] {
    assert!(N == note_len(pairs) && !pairs.is_empty(), "the note's length is not that of its values");
    let json = (N - HEAD) as u32;
    let mut out = [0; N];
    let mut at = 0;
    while at < HEAD {
        out[at] = if at < NOTE_MAGIC.len() { NOTE_MAGIC[at] } else { (json >> (8 * (at - NOTE_MAGIC.len()))) as u8 };
        at += 1;
    }
    let mut i = 0;
    while i < pairs.len() {
        let pieces: [&[u8]; 5] =
            [if i == 0 { b"{\"" } else { b",\"" }, pairs[i].0.as_bytes(), b"\":\"", pairs[i].1.as_bytes(), b"\""];
        let mut which = 0;
        while which < pieces.len() {
            let mut j = 0;
            while j < pieces[which].len() {
                let byte = pieces[which][j];
                let plain = byte >= 0x20 && byte < 0x7f && byte != b'\\' && byte != b'"';
                assert!(plain || which % 2 == 0, "a note's texts are plain ASCII without quotes or backslashes");
                out[at] = byte;
                at += 1;
                j += 1;
            }
            which += 1;
        }
        i += 1;
    }
    out[at] = b'}';
    out
}

/// What is wrong with a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteError {
    /// It does not begin with [`NOTE_MAGIC`].
    Magic,
    /// It is shorter than it says.
    Length,
    /// Its text is not UTF-8.
    Utf8,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "the note does not begin as a Busway note of a known form does",
            Self::Length => "the note is shorter than it says",
            Self::Utf8 => "the note is not UTF-8",
        })
    }
}

impl std::error::Error for NoteError {}

/// The JSON within a section's bytes; what follows it is ignored.
///
/// # Errors
///
/// When the bytes are no note.
pub fn read_note(section: &[u8]) -> Result<&str, NoteError> {
    let rest = section.strip_prefix(&NOTE_MAGIC).ok_or(NoteError::Magic)?;
    if rest.len() < 4 {
        return Err(NoteError::Length);
    }
    let (len, rest) = rest.split_at(4);
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
    let json = rest.get(..len).ok_or(NoteError::Length)?;
    std::str::from_utf8(json).map_err(|_| NoteError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: &[(&str, &str)] = &[("id", "files"), ("version", "1.2.0"), ("panic", "unwind")];
    static NOTE: [u8; note_len(PAIRS)] = note_bytes(PAIRS);

    #[test]
    fn a_note_reads_back() {
        let json = read_note(&NOTE).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(json, r#"{"id":"files","version":"1.2.0","panic":"unwind"}"#);
    }

    #[test]
    fn padding_behind_a_note_is_ignored() {
        let mut padded = NOTE.to_vec();
        padded.extend([0; 9]);
        assert_eq!(read_note(&padded), read_note(&NOTE));
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..NOTE.len() {
            assert!(read_note(&NOTE[..len]).is_err(), "{len} bytes");
        }
        let mut other = NOTE;
        other[7] = 9;
        assert_eq!(read_note(&other), Err(NoteError::Magic));
    }
}
