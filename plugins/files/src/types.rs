//! The type of a CSV column: the first that fits every cell.
//!
//! Each type is tried by reading the cells as it, so what is chosen is sure to fit; most tries end at the first cell.

use arrow_cast::parse::{Parser as _, string_to_datetime};
use busway_plugin_api::arrow_array::timezone::Tz;
use busway_plugin_api::arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use busway_plugin_api::arrow_array::{Array, ArrayRef, BooleanArray, PrimitiveArray, StringArray};
use std::sync::Arc;

/// The column in its own type.
pub(crate) fn typed(cells: StringArray) -> ArrayRef {
    if cells.null_count() == cells.len() {
        return Arc::new(cells);
    }
    let found = primitive::<Int64Type>(&cells, integer)
        .or_else(|| primitive::<Float64Type>(&cells, float))
        .or_else(|| booleans(&cells))
        .or_else(|| primitive::<Date32Type>(&cells, date))
        .or_else(|| timestamps(&cells));
    found.unwrap_or_else(|| Arc::new(cells))
}

fn column<T: ArrowPrimitiveType>(
    cells: &StringArray,
    read: impl Fn(&str) -> Option<T::Native>,
) -> Option<PrimitiveArray<T>> {
    cells.iter().map(|cell| cell.map_or(Some(None), |cell| read(cell).map(Some))).collect()
}

fn primitive<T: ArrowPrimitiveType>(cells: &StringArray, read: impl Fn(&str) -> Option<T::Native>) -> Option<ArrayRef> {
    column::<T>(cells, read).map(|array| Arc::new(array) as ArrayRef)
}

/// A number's digits without its sign, if it begins as numbers do: `007` and `+49` are codes, and would lose what they
/// begin with.
fn digits(cell: &str) -> Option<&str> {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let padded = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    (!padded && !digits.starts_with('+')).then_some(digits)
}

fn integer(cell: &str) -> Option<i64> {
    digits(cell)?.bytes().all(|b| b.is_ascii_digit()).then(|| cell.parse().ok())?
}

fn float(cell: &str) -> Option<f64> {
    let digits = digits(cell)?;
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        // A whole number that is none of `Int64` would lose digits.
        return integer(cell).map(|whole| whole as f64);
    }
    // Not "inf" and "nan", which the standard library reads too.
    let numeral = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = numeral.then(|| cell.parse().ok())??;
    value.is_finite().then_some(value)
}

fn booleans(cells: &StringArray) -> Option<ArrayRef> {
    let read = |cell: &str| match cell {
        _ if cell.eq_ignore_ascii_case("true") => Some(true),
        _ if cell.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    };
    let array: Option<BooleanArray> =
        cells.iter().map(|cell| cell.map_or(Some(None), |cell| read(cell).map(Some))).collect();
    array.map(|array| Arc::new(array) as ArrayRef)
}

/// `2026-01-31`, and nothing shorter.
pub(crate) fn date(cell: &str) -> Option<i32> {
    // The parser takes shorter forms, too; those may be anything.
    (cell.len() == 10 && cell.as_bytes()[4] == b'-').then(|| Date32Type::parse(cell))?
}

/// Either all cells have an offset or none: those without one have no order among the others.
fn timestamps(cells: &StringArray) -> Option<ArrayRef> {
    let utc: Tz = "+00:00".parse().ok()?;
    let instant = |cell: &str, zoned: bool| (has_offset(cell) == zoned).then(|| string_to_datetime(&utc, cell).ok())?;
    for zoned in [false, true] {
        let zone = zoned.then_some("UTC");
        let micros = |cell: &str| {
            let instant = instant(cell, zoned)?;
            (instant.timestamp_subsec_nanos() % 1000 == 0).then(|| instant.timestamp_micros())
        };
        if let Some(array) = column::<TimestampMicrosecondType>(cells, micros) {
            return Some(Arc::new(array.with_timezone_opt(zone)));
        }
        let nanos = |cell: &str| instant(cell, zoned)?.timestamp_nanos_opt();
        if let Some(array) = column::<TimestampNanosecondType>(cells, nanos) {
            return Some(Arc::new(array.with_timezone_opt(zone)));
        }
    }
    None
}

/// Whether anything but digits, colons and a point follows the date.
pub(crate) fn has_offset(cell: &str) -> bool {
    cell.bytes().skip(11).any(|b| !(b.is_ascii_digit() || matches!(b, b':' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[&str]) -> String {
        let cells: StringArray = cells.iter().map(|cell| (!cell.is_empty()).then_some(*cell)).collect();
        typed(cells).data_type().to_string()
    }

    #[test]
    fn the_first_type_that_fits_all_cells() {
        for (cells, expected) in [
            (&["1", "", "-20", "0"][..], "Int64"),
            (&["9223372036854775807", "-9223372036854775808"], "Int64"),
            (&["1", "2.5", "-1e3", ".5", "5.", "0.5"], "Float64"),
            (&["TRUE", "false", ""], "Boolean"),
            (&["2026-01-31", ""], "Date32"),
            (&["2026-01-31T10:00:00", "2026-01-31 10:00:00.5", "2026-01-31"], "Timestamp(µs)"),
            (&["2026-01-31T10:00:00.123456789"], "Timestamp(ns)"),
            (&["2026-01-31T10:00:00Z", "2026-01-31 10:00:00.25+02:00"], "Timestamp(µs, \"UTC\")"),
            (&["9999-12-31T23:59:59"], "Timestamp(µs)"),
            (&["", ""], "Utf8"),
            (&["1", "x"], "Utf8"),
            (&["1", "true"], "Utf8"),
            // What would lose something stays text.
            (&["007"], "Utf8"),
            (&["-01.5"], "Utf8"),
            (&["+1"], "Utf8"),
            (&["+1.5"], "Utf8"),
            (&["--1"], "Utf8"),
            (&["9223372036854775808"], "Utf8"),
            (&["9223372036854775808", "1.5"], "Utf8"),
            (&["1e999"], "Utf8"),
            (&["NaN"], "Utf8"),
            (&["inf"], "Utf8"),
            (&["-"], "Utf8"),
            (&["e"], "Utf8"),
            (&[" 1"], "Utf8"),
            (&["2026-02-30"], "Utf8"),
            (&["2026-1-3"], "Utf8"),
            (&["2026-01-31T25:00:00"], "Utf8"),
            (&["2026-01-31T10:00:00é"], "Utf8"),
            (&["2026-01-31T10:00:00Z", "2026-01-31T10:00:00"], "Utf8"),
            // Too late for nanoseconds in 64 bits.
            (&["9999-12-31T23:59:59.123456789"], "Utf8"),
        ] {
            assert_eq!(kind(cells), expected, "{cells:?}");
        }
    }

    #[test]
    fn offsets_count() {
        let cells: StringArray = [Some("1970-01-01T02:00:01+02:00")].into_iter().collect();
        let expected = PrimitiveArray::<TimestampMicrosecondType>::from(vec![1_000_000]).with_timezone("UTC");
        assert_eq!(typed(cells).as_ref(), &expected as &dyn Array);
    }
}
