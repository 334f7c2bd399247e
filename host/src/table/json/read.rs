//! Rows of JSON objects as batches of declared columns. Arrow's reader makes the arrays; what it would bend to fit, or
//! pass over, is refused before.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use busway_plugin_api::table::name_of_kind;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Why rows were not taken: the first thing that is wrong. Rows are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRow {
    /// It is no object.
    #[error("row {row} is {found}: a row is an object, with a value for each column")]
    NoObject {
        /// Which row.
        row: usize,
        /// What it is.
        found: String,
    },
    /// It has a value for which there is no column.
    #[error("row {row} has {column:?}, which is no column: there are {}", columns.join(", "))]
    NoColumn {
        /// Which row.
        row: usize,
        /// What it has.
        column: String,
        /// What there is.
        columns: Vec<String>,
    },
    /// A value is missing, or null.
    #[error("row {row}, column {column:?}: a value is missing, and the column may not be null")]
    Missing {
        /// Which row.
        row: usize,
        /// Which column.
        column: String,
    },
    /// A value does not fit its column.
    #[error("row {row}, column {column:?}: {value} is no {kind}")]
    Value {
        /// Which row.
        row: usize,
        /// Which column.
        column: String,
        /// The value, shortened.
        value: String,
        /// The column's type.
        kind: String,
    },
    /// Each value fits, but not all together.
    #[error("the rows can't be read: {0}")]
    Together(String),
}

impl BadRow {
    /// Which row, from 1, if it is about one.
    #[must_use]
    pub fn row(&self) -> Option<usize> {
        match self {
            Self::NoObject { row, .. }
            | Self::NoColumn { row, .. }
            | Self::Missing { row, .. }
            | Self::Value { row, .. } => Some(*row),
            Self::Together(_) => None,
        }
    }

    /// Which column, if it is about one.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::NoObject { .. } | Self::Together(_) => None,
            Self::NoColumn { column, .. } | Self::Missing { column, .. } | Self::Value { column, .. } => Some(column),
        }
    }
}

/// These rows as a batch of these columns, whose types [`kind_of_name`](super::kind_of_name) knows.
///
/// # Errors
///
/// The first thing that is wrong, with its row and column.
pub fn rows_of_json(schema: &SchemaRef, rows: &[Value]) -> Result<RecordBatch, BadRow> {
    for (at, row) in rows.iter().enumerate() {
        check(schema, at + 1, row)?;
    }
    let error = match decode(schema, rows) {
        Ok(batch) => return Ok(batch),
        Err(error) => error,
    };
    // Arrow's reader does not say where: look at each value alone.
    for (at, row) in rows.iter().enumerate() {
        for field in schema.fields() {
            let alone: SchemaRef = Arc::new(Schema::new(vec![Arc::clone(field)]));
            let value = row.get(field.name()).unwrap_or(&Value::Null);
            let row = Value::Object(Map::from_iter([(field.name().clone(), value.clone())]));
            if decode(&alone, &[row]).is_err() {
                return Err(wrong(at + 1, field, value));
            }
        }
    }
    Err(BadRow::Together(error.to_string()))
}

fn decode(schema: &SchemaRef, rows: &[Value]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema)).build_decoder()?;
    decoder.serialize(rows)?;
    let none = || {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = schema.fields().iter().map(|field| arrow_array::new_empty_array(field.data_type())).collect();
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    };
    decoder.flush()?.map_or_else(none, Ok)
}

fn check(schema: &Schema, at: usize, row: &Value) -> Result<(), BadRow> {
    let Value::Object(row) = row else {
        return Err(BadRow::NoObject { row: at, found: shortened(row) });
    };
    if let Some(column) = row.keys().find(|name| schema.column_with_name(name).is_none()) {
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        return Err(BadRow::NoColumn { row: at, column: column.clone(), columns });
    }
    for field in schema.fields() {
        match row.get(field.name()).unwrap_or(&Value::Null) {
            Value::Null if field.is_nullable() => {}
            Value::Null => return Err(BadRow::Missing { row: at, column: field.name().clone() }),
            value if fits(field.data_type(), value) => {}
            value => return Err(wrong(at, field, value)),
        }
    }
    Ok(())
}

/// Whether a value is of the kind that a type takes; of numbers and texts, whether nothing would be cut off.
fn fits(kind: &DataType, value: &Value) -> bool {
    match (kind, value) {
        (DataType::Boolean, Value::Bool(_)) => true,
        (kind, Value::Number(number)) if kind.is_integer() => !number.is_f64(),
        (kind, Value::String(text)) if kind.is_integer() => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
        }
        (DataType::Float32 | DataType::Float64, Value::Number(_)) => true,
        (DataType::Float32 | DataType::Float64, Value::String(text)) => {
            matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity")
        }
        (DataType::Decimal128(_, scale), Value::Number(number)) => is_decimal(&number.to_string(), *scale),
        (DataType::Decimal128(_, scale), Value::String(text)) => is_decimal(text, *scale),
        (DataType::Binary, Value::String(text)) => text.len() % 2 == 0 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        (DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..), Value::String(_)) => true,
        (DataType::List(of), Value::Array(values)) => {
            values.iter().all(|value| value.is_null() || fits(of.data_type(), value))
        }
        _ => false,
    }
}

/// Digits, a point, and no more digits behind it than are kept.
fn is_decimal(text: &str, scale: i8) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let rest = rest.trim_end_matches('0');
    !whole.is_empty() && all(whole) && all(rest) && rest.len() <= usize::from(scale.unsigned_abs())
}

fn wrong(row: usize, field: &Field, value: &Value) -> BadRow {
    BadRow::Value { row, column: field.name().clone(), value: shortened(value), kind: name_of_kind(field.data_type()) }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
