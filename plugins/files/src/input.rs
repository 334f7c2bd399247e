//! What the readers of each format are given, and what they give.

use busway_plugin_api::arrow_array::RecordBatch;
use busway_plugin_api::arrow_schema::SchemaRef;
use busway_plugin_api::{Batches, Error};

/// A file's text.
pub(crate) struct Input<'a> {
    /// The file's name, for messages.
    pub(crate) file: &'a str,
    /// All of it, without a byte order mark.
    pub(crate) text: &'a str,
    /// Whether the poll was cancelled.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl Input<'_> {
    /// What is wrong in a line, the first being 1.
    pub(crate) fn bad(&self, line: u32, message: impl Into<String>) -> Error {
        Error::new(message).code("malformed").at(format!("{}:{line}", self.file))
    }

    /// Asks now and then whether to go on: reading a large file takes seconds.
    pub(crate) fn go_on(&self, row: usize) -> Result<(), Error> {
        if row.is_multiple_of(4096) && (self.cancelled)() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

/// A file's rows.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The columns.
    pub(crate) schema: SchemaRef,
    /// The rows, in the file's order.
    pub(crate) batches: Vec<RecordBatch>,
    /// The line that each row begins in.
    pub(crate) lines: Vec<u32>,
}

impl From<Rows> for Batches {
    fn from(rows: Rows) -> Self {
        Self { schema: rows.schema, batches: rows.batches }
    }
}
