//! Little-endian numbers and strings within bytes. Whatever is asked for beyond their end is none.

fn array<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    part(bytes, at, N as u64)?.try_into().ok()
}

/// The number at a place.
pub(super) fn half(bytes: &[u8], at: u64) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// The number at a place.
pub(super) fn word(bytes: &[u8], at: u64) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// The number at a place.
pub(super) fn long(bytes: &[u8], at: u64) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// So many bytes from a place on.
pub(super) fn part(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let begin = usize::try_from(at).ok()?;
    let end = usize::try_from(at.checked_add(length)?).ok()?;
    bytes.get(begin..end)
}

/// The text that begins at a place and ends before the next NUL.
pub(super) fn text(strings: &[u8], at: u64) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    rest.split(|byte| *byte == 0).next().filter(|text| text.len() < rest.len())
}

/// Bytes as a text for people: a name that fills a file is cut.
pub(super) fn readable(text: &[u8]) -> String {
    const MOST: usize = 255;
    let mut readable = String::from_utf8_lossy(&text[..text.len().min(MOST)]).into_owned();
    if text.len() > MOST {
        readable.push('…');
    }
    readable
}

/// Whether there is nothing but zeros; not of nothing.
pub(super) fn zeros(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_is_none() {
        let bytes = [1, 2, 0, 4];
        assert_eq!((half(&bytes, 0), half(&bytes, 3), word(&bytes, 0)), (Some(0x201), None, Some(0x0400_0201)));
        assert_eq!((half(&bytes, u64::MAX), part(&bytes, u64::MAX, u64::MAX)), (None, None));
        assert_eq!((text(&bytes, 0), text(&bytes, 2), text(&bytes, 3)), (Some(&[1, 2][..]), Some(&[][..]), None));
        assert_eq!((readable(b"a.so"), readable(&[b'a'; 999]).chars().count()), ("a.so".to_owned(), 256));
        assert!(zeros(&[0, 0]) && !zeros(&[]) && !zeros(&[0, 1]));
    }
}
