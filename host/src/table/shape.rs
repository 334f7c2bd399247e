//! A table's columns and key, and why rows are refused.

use super::canonical;
use arrow_schema::{ArrowError, Field, SchemaRef};
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::{Batches, Update};
use std::sync::Arc;

/// A table's columns and what identifies its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The columns, in canonical types: texts are `Utf8`, binaries `Binary`, and encodings are undone. [`new`](Self::new)
    /// makes it so.
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
    /// Rows of other columns than the table's.
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
    /// A table of these columns in canonical types, after the check that it can be held.
    ///
    /// # Errors
    ///
    /// When a column can't be compared, or the key identifies nothing.
    pub fn new(schema: SchemaRef, key: Vec<String>) -> Result<Self, Refused> {
        let schema = canonical::schema(&schema)?;
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
