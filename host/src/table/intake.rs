//! The border: rows of any batches become one batch in the host's own memory, of the table's columns, in canonical form.

use super::fingerprint;
use super::limits::Limits;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, cast::AsArray, new_empty_array};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};
use arrow_select::concat::concat;
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::{Batches, Update};
use std::sync::Arc;

/// A table's columns and what identifies its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The columns.
    pub schema: SchemaRef,
    /// The columns that make a row's identity; none: a set of rows.
    pub key: Vec<String>,
    /// The column by which subscribers may choose rows.
    pub topic: Option<String>,
    /// One line for consumers.
    pub description: String,
}

/// Why a table's rows were not taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A type whose values can't be compared.
    #[error("column {column:?} has type {kind}, which can't be compared: give it as text, say")]
    Type {
        /// The column's name.
        column: String,
        /// Its type.
        kind: String,
    },
    /// A key that identifies nothing.
    #[error("key column {column:?} {why}")]
    Key {
        /// The column's name.
        column: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A delta of other columns than the table's.
    #[error("the delta has other columns than the table: {0}")]
    Columns(String),
    /// A delta that contradicts the table's rows.
    #[error("the delta contradicts the table: {0}")]
    Inconsistent(String),
    /// More than the table may hold.
    #[error("it would have {would} {what}, more than the limit of {limit} {what} a table: the last good rows stay")]
    TooLarge {
        /// Which limit: `rows` or `bytes`.
        what: &'static str,
        /// So many it would have.
        would: usize,
        /// So many it may have.
        limit: usize,
    },
    /// Buffers that contradict each other.
    #[error("the rows contradict themselves: {0}")]
    Arrow(String),
}

impl From<ArrowError> for Refused {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error.to_string())
    }
}

impl Shape {
    /// A table of these columns, after the check that it can be held.
    ///
    /// # Errors
    ///
    /// When a column can't be compared, or the key identifies nothing.
    pub fn new(schema: SchemaRef, key: Vec<String>) -> Result<Self, Refused> {
        fingerprint::check(&schema)?;
        for column in &key {
            let refuse = |why| Err(Refused::Key { column: column.clone(), why });
            match schema.field_with_name(column) {
                Err(_) => return refuse("is not one of the table's columns"),
                Ok(field) if field.is_nullable() => return refuse("may be null, so it identifies nothing"),
                Ok(field) if field.data_type().is_floating() => return refuse("is a float, so it identifies nothing"),
                Ok(_) => {}
            }
        }
        Ok(Self { schema, key, topic: None, description: String::new() })
    }

    /// Of an update that brings rows.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(update: &Update, rows: &Batches) -> Result<Self, Refused> {
        let shape = Self::new(Arc::clone(&rows.schema), update.key.clone())?;
        Ok(Self { topic: update.topic.clone(), description: update.description.clone(), ..shape })
    }

    /// As the driver's side declares it.
    #[must_use]
    pub fn spec(&self, name: &str) -> TableSpec {
        let spec = TableSpec::with_schema(name, Arc::clone(&self.schema)).key(&self.key).describe(&self.description);
        TableSpec { topic: self.topic.clone(), ..spec }
    }

    /// Whether states of one can follow states of the other: same columns (descriptions aside), same key.
    #[must_use]
    pub fn continues(&self, other: &Self) -> bool {
        let same = |a: &Field, b: &Field| {
            a.name() == b.name() && a.data_type() == b.data_type() && a.is_nullable() == b.is_nullable()
        };
        let (ours, theirs) = (self.schema.fields(), other.schema.fields());
        self.key == other.key && ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
    }

    /// The places of the key's columns.
    pub(crate) fn key_columns(&self) -> Vec<usize> {
        self.key.iter().filter_map(|name| self.schema.index_of(name).ok()).collect()
    }
}

/// One batch of these columns in the host's own memory. The buffers are looked into first: the rows may come from
/// anywhere.
pub(crate) fn take(schema: &SchemaRef, rows: &Batches, limits: Limits) -> Result<RecordBatch, Refused> {
    let count = rows.num_rows();
    limits.check(count, 0)?;
    rows.validate()?;
    let columns = (0..schema.fields().len())
        .map(|i| {
            // `concat` of one array shares it; the empty one makes it copy into the host's memory, so that nothing the
            // host keeps holds on to a driver's.
            let empty = new_empty_array(schema.field(i).data_type());
            let mut parts: Vec<&dyn Array> = rows.batches.iter().map(|batch| batch.column(i).as_ref()).collect();
            parts.push(empty.as_ref());
            Ok(canonical(concat(&parts)?))
        })
        .collect::<Result<Vec<ArrayRef>, Refused>>()?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// NaN is NaN and -0 is 0, whatever their bits: two polls of one value are no news.
fn canonical(column: ArrayRef) -> ArrayRef {
    fn floats<T: arrow_array::types::ArrowPrimitiveType>(
        column: &PrimitiveArray<T>,
        canonical: impl Fn(T::Native) -> T::Native,
    ) -> ArrayRef {
        Arc::new(column.unary::<_, T>(canonical))
    }
    match column.data_type() {
        DataType::Float64 => {
            floats(column.as_primitive::<Float64Type>(), |v| if v.is_nan() { f64::NAN } else { v + 0.0 })
        }
        DataType::Float32 => {
            floats(column.as_primitive::<Float32Type>(), |v| if v.is_nan() { f32::NAN } else { v + 0.0 })
        }
        DataType::Float16 => floats(column.as_primitive::<Float16Type>(), |v| {
            if v.is_nan() { <Float16Type as arrow_array::ArrowPrimitiveType>::Native::NAN } else { v }
        }),
        _ => column,
    }
}
