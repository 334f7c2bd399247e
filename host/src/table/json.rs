//! Rows as JSON: one object a row, in the columns' order, nulls included.
//!
//! Whole numbers are JSON numbers, NaN and infinities null, timestamps RFC 3339 text, binary hexadecimal text, decimals
//! text or numbers as Arrow's JSON writer has them.

use arrow_array::RecordBatch;
use arrow_json::writer::{JsonArray, WriterBuilder};
use arrow_schema::ArrowError;
use serde_json::value::RawValue;
use std::borrow::Borrow;

/// The rows of these batches as one JSON list.
///
/// # Errors
///
/// When a column's type has no JSON form.
pub fn rows_json(batches: impl IntoIterator<Item: Borrow<RecordBatch>>) -> Result<Box<RawValue>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in batches {
        writer.write(batch.borrow())?;
    }
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).map_err(|e| ArrowError::JsonError(e.to_string()))?;
    let text = if text.is_empty() { "[]".to_owned() } else { text };
    RawValue::from_string(text).map_err(|e| ArrowError::JsonError(e.to_string()))
}
