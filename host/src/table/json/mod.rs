//! Rows as JSON: one object a row, in the columns' order, nulls included.
//!
//! | type of a column (Arrow) | name in a declaration | in JSON |
//! |---|---|---|
//! | `Null`, and null of any type | | `null` |
//! | `Boolean` | `bool` | `true`, `false` |
//! | `Int8` … `Int64`, `UInt8` … `UInt64` | `int8` … `int64`, `uint8` … `uint64` | a number, all digits of it: `9223372036854775807`, `18446744073709551615`. Beyond 2^53 read it with a reader that keeps them (Python does, JavaScript does not) |
//! | `Float16`, `Float32`, `Float64` | `float32`, `float64` | a number, as short as it can be read back: `0.1`, `1.0`, `1.0e300`; else the text `"NaN"`, `"Infinity"` or `"-Infinity"` |
//! | `Decimal32` … `Decimal256` | `decimal(P,S)` of `P` digits, `S` of them behind the point; `P` is 38 at most | text, exact: `"123.45"` |
//! | `Utf8`, `LargeUtf8`, `Utf8View` | `text` | text |
//! | `Binary`, `LargeBinary`, `BinaryView`, `FixedSizeBinary` | `binary` | text of hexadecimal digits: `"00ff41"` |
//! | `Date32`, `Date64` | `date` | `"2022-01-08"`; a `Date64` with its time of day |
//! | `Time32`, `Time64` | | `"01:00:00.000001"` |
//! | `Timestamp` with a zone | `timestamp`: of microseconds, in UTC | RFC 3339 with the zone's offset: `"2023-11-14T22:13:20.123456Z"`, `"2023-11-14T23:13:20.123456+01:00"` |
//! | `Timestamp` without | `local_timestamp`: of microseconds | the same without an offset: `"2023-11-14T22:13:20.123456"` |
//! | `Duration` | | ISO 8601, in seconds: `"PT90.000001S"`, `"-PT0.000005S"` |
//! | `Interval` | | words: `"1 mons 2 days 0.000000003 secs"` |
//! | `List`, `LargeList`, `FixedSizeList`, and their views | `list(T)` | a list |
//! | `Struct`, `Map` | | an object |
//! | `Dictionary`, `RunEndEncoded` | | as its values |
//!
//! What is written can be read: a value of a type that has a name in a declaration is taken in the form in which it is
//! written. Whole numbers are taken from text of digits, too, floats and decimals from any number, and a timestamp
//! without offset is in UTC.

mod cells;
mod read;
#[cfg(test)]
mod tests;

pub use busway_plugin_api::table::{BadKind, kind_of_name, kinds};
pub(crate) use cells::Cells;
pub use read::{BadRow, rows_of_json};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::writer::{
    Encoder, EncoderFactory, EncoderOptions, JsonArray, NullableEncoder, WriterBuilder, make_encoder,
};
use arrow_schema::{ArrowError, DataType, FieldRef};
use serde_json::value::RawValue;
use std::borrow::Borrow;
use std::sync::{Arc, LazyLock};

/// The rows of these batches as one JSON list.
///
/// # Errors
///
/// When a column's type has no JSON form.
pub fn rows_json(batches: impl IntoIterator<Item: Borrow<RecordBatch>>) -> Result<Box<RawValue>, ArrowError> {
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(Exact));
    let mut writer = builder.build::<_, JsonArray>(Vec::new());
    for batch in batches {
        writer.write(batch.borrow())?;
    }
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).map_err(|e| ArrowError::JsonError(e.to_string()))?;
    let text = if text.is_empty() { "[]".to_owned() } else { text };
    RawValue::from_string(text).map_err(|e| ArrowError::JsonError(e.to_string()))
}

/// What Arrow's own writer makes null of, or leaves to the reader to round.
#[derive(Debug)]
struct Exact;

impl EncoderFactory for Exact {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let odd: Box<dyn Fn(usize) -> Option<&'static str> + 'a> = match array.data_type() {
            DataType::Float64 => floats(array.as_primitive::<Float64Type>(), |v| v),
            DataType::Float32 => floats(array.as_primitive::<Float32Type>(), f64::from),
            DataType::Float16 => floats(array.as_primitive::<Float16Type>(), f64::from),
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                let encoder = Box::new(Quoted(ArrayFormatter::try_new(array, &FORM)?));
                return Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())));
            }
            _ => return Ok(None),
        };
        if (0..array.len()).all(|i| odd(i).is_none()) {
            return Ok(None);
        }
        let encoder = Box::new(Floats { numbers: make_encoder(field, array, &PLAIN)?, odd });
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
static FORM: FormatOptions<'static> = FormatOptions::new();

/// The word for what is no number, at each place.
fn floats<'a, T: ArrowPrimitiveType>(
    array: &'a PrimitiveArray<T>,
    wide: impl Fn(T::Native) -> f64 + 'a,
) -> Box<dyn Fn(usize) -> Option<&'static str> + 'a> {
    Box::new(move |i| match wide(array.value(i)) {
        v if v.is_finite() => None,
        v if v.is_nan() => Some("\"NaN\""),
        v if v > 0.0 => Some("\"Infinity\""),
        _ => Some("\"-Infinity\""),
    })
}

struct Floats<'a> {
    numbers: NullableEncoder<'a>,
    odd: Box<dyn Fn(usize) -> Option<&'static str> + 'a>,
}

impl Encoder for Floats<'_> {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        match (self.odd)(at) {
            Some(word) => out.extend_from_slice(word.as_bytes()),
            None => self.numbers.encode(at, out),
        }
    }
}

/// Digits, as text: nothing in them needs an escape.
struct Quoted<'a>(ArrayFormatter<'a>);

impl Encoder for Quoted<'_> {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\"{}\"", self.0.value(at)).as_bytes());
    }
}
