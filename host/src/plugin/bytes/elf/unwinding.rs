//! The table by which a panic finds its way: the unwinder trusts it.

use super::super::error::BytesError;
use super::super::words::{part, word};
use super::image::Image;
use object::elf;

/// The only form that linkers write: offsets of four bytes, sorted.
const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// Checks the table, if there is one of the form that linkers write.
pub(super) fn check(image: &Image<'_>) -> Result<(), BytesError> {
    let Some(segment) = image.segment(elf::PT_GNU_EH_FRAME.0) else { return Ok(()) };
    let refuse = |text: &str| Err(BytesError::Malformed(format!("the table by which panics unwind {text}")));
    let Some(table) = image.at(segment.address, segment.in_file) else { return refuse("is not mapped") };
    if table.first() != Some(&1) {
        return refuse("is of no known form");
    }
    if part(table, 0, 4) != Some(&FORM) {
        return Ok(());
    }
    let offset = |at| word(table, at).map(|offset| i64::from(offset.cast_signed()));
    let place = |from: u64, offset: i64| from.checked_add_signed(offset);
    let frames = offset(4).and_then(|offset| place(segment.address + 4, offset));
    if frames.is_none_or(|frames| image.rest(frames).is_none()) {
        return refuse("leads to frames that are not mapped");
    }
    let count = word(table, 8).map(u64::from).unwrap_or_default();
    let Some(entries) = part(table, 12, count * 8) else { return refuse("ends before its last entry") };
    for entry in entries.chunks_exact(8) {
        let number = |at| word(entry, at).map(|offset| i64::from(offset.cast_signed()));
        let (code, frame) = (number(0), number(4));
        let code = code.and_then(|offset| place(segment.address, offset));
        let frame = frame.and_then(|offset| place(segment.address, offset));
        if !code.is_some_and(|code| image.is_code(code)) || frame.and_then(|frame| image.at(frame, 8)).is_none() {
            return refuse("leads to what is not mapped");
        }
    }
    Ok(())
}
