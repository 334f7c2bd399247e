//! What the readers of each format are given, and what they give.

use busway_plugin_api::arrow_array::RecordBatch;
use busway_plugin_api::arrow_schema::{Schema, SchemaRef};
use busway_plugin_api::{Batches, Error};

/// A file, and its text if it is one.
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

    /// That a column which an option names is not there.
    pub(crate) fn no_column(&self, name: &str, schema: &Schema) -> String {
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("there is no column {name:?}, which option \"types\" names; the columns are {}", known.join(", "))
    }

    /// What is wrong with a row.
    pub(crate) fn bad_row(&self, places: &Places, row: usize, message: impl Into<String>) -> Error {
        let error = Error::new(message).code("malformed");
        match places {
            Places::Lines(lines) => error.at(format!("{}:{}", self.file, lines.get(row).copied().unwrap_or_default())),
            Places::Numbers(_) => error.at(format!("{} row {}", self.file, row + 1)),
        }
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
    /// Where they are in the file.
    pub(crate) places: Places,
}

/// Where rows are in their file.
#[derive(Debug)]
pub(crate) enum Places {
    /// The line that each begins in.
    Lines(Vec<u32>),
    /// There are no lines, but so many rows.
    Numbers(usize),
}

impl Places {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Numbers(rows) => *rows,
        }
    }

    /// `line 7`, or `row 7`.
    pub(crate) fn said(&self, row: usize) -> String {
        match self {
            Self::Lines(lines) => format!("line {}", lines.get(row).copied().unwrap_or_default()),
            Self::Numbers(_) => format!("row {}", row + 1),
        }
    }
}

impl From<Rows> for Batches {
    fn from(rows: Rows) -> Self {
        Self { schema: rows.schema, batches: rows.batches }
    }
}
