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
const KEYS: [&str; 7] = [
    "{\"id\":\"",
    "\",\"version\":\"",
    "\",\"contract\":\"",
    "\",\"sdk\":\"",
    "\",\"abi_stable\":\"",
    "\",\"target\":\"",
    "\",\"panic\":\"",
];
const END: &str = "\"}";

/// How many bytes the note of these values takes: id, version, contract, sdk, abi_stable, target, panic.
pub const fn note_len(values: [&str; 7]) -> usize {
    let mut len = HEAD + END.len();
    let mut i = 0;
    while i < KEYS.len() {
        len += KEYS[i].len() + values[i].len();
        i += 1;
    }
    len
}

/// The note of these values, to be put into section [`NOTE_SECTION`].
///
/// # Panics
///
/// At compile time, when `N` is not [`note_len`] of the values or a value holds a character that JSON would escape.
pub const fn note_bytes<const N: usize>(values: [&str; 7]) -> [u8; N] {
    assert!(N == note_len(values), "the note's length is not that of its values");
    let mut out = [0; N];
    let mut at = 0;
    while at < NOTE_MAGIC.len() {
        out[at] = NOTE_MAGIC[at];
        at += 1;
    }
    let json = (N - HEAD) as u32;
    out[at] = json as u8;
    out[at + 1] = (json >> 8) as u8;
    out[at + 2] = (json >> 16) as u8;
    out[at + 3] = (json >> 24) as u8;
    at = HEAD;
    let mut i = 0;
    while i < KEYS.len() {
        let pieces = [KEYS[i].as_bytes(), values[i].as_bytes()];
        let mut which = 0;
        while which < pieces.len() {
            let mut j = 0;
            while j < pieces[which].len() {
                let byte = pieces[which][j];
                let plain = byte >= 0x20 && byte < 0x7f && byte != b'\\' && (which == 0 || byte != b'"');
                assert!(plain, "a driver's id and version are plain ASCII without quotes or backslashes");
                out[at] = byte;
                at += 1;
                j += 1;
            }
            which += 1;
        }
        i += 1;
    }
    let mut j = 0;
    while j < END.len() {
        out[at] = END.as_bytes()[j];
        at += 1;
        j += 1;
    }
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

    const VALUES: [&str; 7] = ["files", "1.2.0", "1.0.0", "0.1.0", "0.11.3", "x86_64-unknown-linux-gnu", "unwind"];
    static NOTE: [u8; note_len(VALUES)] = note_bytes(VALUES);

    #[test]
    fn a_note_reads_back() {
        let json = read_note(&NOTE).unwrap_or_else(|e| panic!("{e}"));
        assert!(json.starts_with(r#"{"id":"files","version":"1.2.0""#), "{json}");
        assert!(json.ends_with(r#","panic":"unwind"}"#), "{json}");
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
