//! Columns whose types an operator declares: nothing is guessed, and what does not fit is an error.

use crate::types::date;
use arrow_cast::parse::string_to_datetime;
use busway_plugin_api::arrow_array::ArrayRef;
use busway_plugin_api::arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder,
    UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder, make_builder,
};
use busway_plugin_api::arrow_array::timezone::Tz;
use busway_plugin_api::arrow_schema::{DataType, TimeUnit};
use busway_plugin_api::serde_json::Value;
use busway_plugin_api::table::name_of_kind;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The declared columns of one table, in the order of their names.
pub(crate) type Types = BTreeMap<String, DataType>;

/// How many characters of a value an error tells.
const SHOWN: usize = 60;

/// A column as it grows.
pub(crate) struct Column {
    name: String,
    kind: DataType,
    builder: Box<dyn ArrayBuilder>,
}

/// A value as a file has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    /// None.
    Null,
    /// A cell of CSV.
    Text(&'a str),
    /// What a JSON key has.
    Json(&'a Value),
}

impl Column {
    /// One without values.
    pub(crate) fn new(name: &str, kind: &DataType) -> Self {
        Self { name: name.to_owned(), kind: kind.clone(), builder: make_builder(kind, 0) }
    }

    /// One more value; the error is for operators, without the place.
    pub(crate) fn push(&mut self, cell: Cell<'_>) -> Result<(), String> {
        if append(self.builder.as_mut(), &self.kind, cell) {
            return Ok(());
        }
        let shown = match cell {
            Cell::Null => "null".to_owned(),
            Cell::Text(text) => shortened(&format!("{text:?}")),
            Cell::Json(value) => shortened(&value.to_string()),
        };
        Err(format!("column {:?}: {shown} is no {}", self.name, name_of_kind(&self.kind)))
    }

    /// All values.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        self.builder.finish()
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether the value fits; one that does not leaves the column as it was, or it is a list and the column of no use.
fn append(builder: &mut dyn ArrayBuilder, kind: &DataType, cell: Cell<'_>) -> bool {
    let null = matches!(cell, Cell::Null | Cell::Json(Value::Null));
    macro_rules! put {
        ($builder:ty, $value:expr) => {{
            let Some(builder) = builder.as_any_mut().downcast_mut::<$builder>() else { return false };
            match if null { None } else { $value } {
                Some(value) => builder.append_value(value),
                None if null => builder.append_null(),
                None => return false,
            }
            true
        }};
    }
    match kind {
        DataType::Boolean => put!(BooleanBuilder, boolean(cell)),
        DataType::Int8 => put!(Int8Builder, integer(cell)),
        DataType::Int16 => put!(Int16Builder, integer(cell)),
        DataType::Int32 => put!(Int32Builder, integer(cell)),
        DataType::Int64 => put!(Int64Builder, integer(cell)),
        DataType::UInt8 => put!(UInt8Builder, integer(cell)),
        DataType::UInt16 => put!(UInt16Builder, integer(cell)),
        DataType::UInt32 => put!(UInt32Builder, integer(cell)),
        DataType::UInt64 => put!(UInt64Builder, integer(cell)),
        DataType::Float32 => put!(Float32Builder, numeral(cell, str::parse::<f32>).filter(|value| value.is_finite())),
        DataType::Float64 => put!(Float64Builder, numeral(cell, str::parse::<f64>).filter(|value| value.is_finite())),
        DataType::Decimal128(precision, scale) => {
            put!(Decimal128Builder, numeral(cell, |text| decimal(text, *precision, *scale).ok_or(())))
        }
        DataType::Utf8 => put!(StringBuilder, text(cell)),
        DataType::Binary => put!(BinaryBuilder, text(cell).and_then(bytes)),
        DataType::Date32 => put!(Date32Builder, text(cell).and_then(date)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            put!(TimestampMicrosecondBuilder, text(cell).and_then(|text| instant(text, zone.is_some())))
        }
        DataType::List(of) => {
            let Some(list) = builder.as_any_mut().downcast_mut::<ListBuilder<Box<dyn ArrayBuilder>>>() else {
                return false;
            };
            match cell {
                Cell::Json(Value::Array(items)) => {
                    let mut items = items.iter().map(Cell::Json);
                    if !items.all(|item| append(list.values().as_mut(), of.data_type(), item)) {
                        return false;
                    }
                    list.append(true);
                }
                _ if null => list.append(false),
                _ => return false,
            }
            true
        }
        _ => false,
    }
}

fn text(cell: Cell<'_>) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        Cell::Json(value) => value.as_str(),
        Cell::Null => None,
    }
}

fn boolean(cell: Cell<'_>) -> Option<bool> {
    match cell {
        Cell::Text(text) if text == "1" || text.eq_ignore_ascii_case("true") => Some(true),
        Cell::Text(text) if text == "0" || text.eq_ignore_ascii_case("false") => Some(false),
        Cell::Json(value) => value.as_bool(),
        _ => None,
    }
}

/// A number, or the text of one.
fn numeral<T, E>(cell: Cell<'_>, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    let owned;
    let text = match cell {
        Cell::Json(Value::Number(number)) => {
            owned = number.to_string();
            &owned
        }
        cell => text(cell)?,
    };
    // Not "inf" and "nan", which the standard library reads too.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    plain.then(|| read(text).ok())?
}

fn integer<T: FromStr>(cell: Cell<'_>) -> Option<T> {
    numeral(cell, |text| if text.starts_with('+') { Err(()) } else { text.parse().map_err(|_| ()) })
}

/// Exactly, or not at all.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(rest) {
        return None;
    }
    let (whole, rest, scale) =
        (whole.trim_start_matches('0'), rest.trim_end_matches('0'), usize::try_from(scale).ok()?);
    if rest.len() > scale || whole.len() + scale > usize::from(precision) {
        return None;
    }
    let value: i128 = format!("0{whole}{rest:0<scale$}").parse().ok()?;
    Some(sign * value)
}

/// Two hexadecimal digits each, as the host writes them.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.map(|pair| Some((digit(*pair.first()?)? << 4) | digit(*pair.get(1)?)?)).collect()
}

/// Microseconds. Without an offset it is in UTC, or in no zone; with one, it is of a column in UTC.
fn instant(text: &str, zoned: bool) -> Option<i64> {
    let utc: Tz = "+00:00".parse().ok()?;
    if !zoned && crate::types::has_offset(text) {
        return None;
    }
    let instant = string_to_datetime(&utc, text).ok()?;
    (instant.timestamp_subsec_nanos() % 1000 == 0).then(|| instant.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::cell;
    use busway_plugin_api::serde_json::{self, json};
    use busway_plugin_api::table::kind_of_name;

    fn read(kind: &str, given: Cell<'_>) -> Result<String, String> {
        let mut column = Column::new("c", &kind_of_name(kind).unwrap());
        column.push(given)?;
        column.push(Cell::Null)?;
        let array = column.finish();
        let (of, rows, nulls) = (array.data_type(), array.len(), array.null_count());
        assert_eq!((of, rows, nulls), (&kind_of_name(kind).unwrap(), 2, 1));
        Ok(cell(&array, 0).unwrap())
    }

    #[test]
    fn what_fits_is_read_exactly() {
        for (kind, text, expected) in [
            ("bool", "TRUE", "true"),
            ("bool", "0", "false"),
            ("int8", "-128", "-128"),
            ("int64", "007", "7"),
            ("uint64", "18446744073709551615", "18446744073709551615"),
            ("float32", "1.5", "1.5"),
            ("float64", "-1e3", "-1000.0"),
            ("float64", "9223372036854775808", "9.223372036854776e18"),
            ("decimal(12,2)", "-1234567890.5", "-1234567890.50"),
            ("decimal(12,2)", "0.1000", "0.10"),
            ("decimal(2,2)", "0.99", "0.99"),
            ("decimal(38,0)", "99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
            ("text", "007", "007"),
            ("binary", "00fF", "00ff"),
            ("binary", "", ""),
            ("date", "2026-01-31", "2026-01-31"),
            ("timestamp", "2026-01-31T10:00:00.25+02:00", "2026-01-31T08:00:00.250Z"),
            ("timestamp", "2026-01-31 10:00:00", "2026-01-31T10:00:00Z"),
            ("local_timestamp", "2026-01-31T10:00:00", "2026-01-31T10:00:00"),
        ] {
            assert_eq!(read(kind, Cell::Text(text)).as_deref(), Ok(expected), "{kind} {text}");
            if kind != "bool" {
                let value = Value::String(text.to_owned());
                assert_eq!(read(kind, Cell::Json(&value)).as_deref(), Ok(expected), "{kind} {text}");
            }
        }
        for (kind, value, expected) in [
            ("bool", json!(true), "true"),
            ("int32", json!(-7), "-7"),
            ("float64", json!(1), "1.0"),
            ("decimal(4,2)", json!(1.25), "1.25"),
            ("list(int64)", json!([1, null, "3"]), "[1, , 3]"),
            ("list(list(text))", json!([["a"], null, []]), "[[a], , []]"),
        ] {
            assert_eq!(read(kind, Cell::Json(&value)).as_deref(), Ok(expected), "{kind} {value}");
        }
        assert_eq!(read("list(text)", Cell::Json(&json!([]))).as_deref(), Ok("[]"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (kind, value) in [
            ("bool", json!("yes")),
            ("bool", json!(1)),
            ("int8", json!(128)),
            ("int64", json!(1.0)),
            ("int64", json!("+1")),
            ("int64", json!(" 1")),
            ("int64", json!("")),
            ("uint8", json!(-1)),
            ("float32", json!("1e39")),
            ("float64", json!("nan")),
            ("float64", json!("inf")),
            ("decimal(12,2)", json!("1.234")),
            ("decimal(3,2)", json!("10.00")),
            ("decimal(3,2)", json!("1e1")),
            ("decimal(3,2)", json!(".5")),
            ("decimal(3,2)", json!("--1")),
            ("text", json!(7)),
            ("text", json!({"a": 1})),
            ("binary", json!("f")),
            ("binary", json!("0é")),
            ("date", json!("2026-02-30")),
            ("date", json!(7)),
            ("timestamp", json!("yesterday")),
            ("timestamp", json!("2026-01-31T10:00:00.0000001Z")),
            ("local_timestamp", json!("2026-01-31T10:00:00Z")),
            ("list(int64)", json!([1, "x"])),
            ("list(int64)", json!(1)),
        ] {
            let refused = format!("column \"c\": {value} is no {kind}");
            assert_eq!(read(kind, Cell::Json(&value)), Err(refused.clone()));
            if let Some(text) = value.as_str().filter(|_| kind != "bool") {
                assert_eq!(read(kind, Cell::Text(text)), Err(refused));
            }
        }
        assert_eq!(read("list(text)", Cell::Text("[]")), Err("column \"c\": \"[]\" is no list(text)".to_owned()));
        let long = serde_json::Value::String("é".repeat(1000));
        let expected = format!("column \"c\": \"{}… is no date", "é".repeat(SHOWN - 1));
        assert_eq!(read("date", Cell::Json(&long)), Err(expected));
    }
}
