//! Why a view does not fit a table.

use super::constant::Constant;
use arrow_schema::DataType;

/// What is wrong with a view of a table, everything at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the view does not fit the table: {}", joined(.faults))]
pub struct ViewError {
    /// One or more.
    pub faults: Vec<ViewFault>,
}

/// One thing wrong with a view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewFault {
    /// A column that the table does not have.
    #[error("{part} names the column {column:?}, which is not there: {}", meant(.nearest.as_deref(), .columns))]
    Unknown {
        /// Which part of the view: `only`, `columns` or `mask`.
        part: &'static str,
        /// The column.
        column: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// Those that are there.
        columns: Vec<String>,
    },
    /// Topics of a table that has none.
    #[error("topics are asked for, and the table has no topic column: ask by a condition on one of its columns")]
    NoTopic,
    /// A topic column without a text.
    #[error("topics are asked for, and the topic column {column:?} holds {kind}, which has no text to compare")]
    TopicType {
        /// The column.
        column: String,
        /// Its type.
        kind: DataType,
    },
    /// A comparison that makes no sense for the column's type.
    #[error("only asks {operator} of column {column:?}, which holds {kind}: {} can be asked of it", offered(.kind))]
    Operator {
        /// The column.
        column: String,
        /// Its type.
        kind: DataType,
        /// The comparison's name.
        operator: &'static str,
    },
    /// A value that the column can't have.
    #[error("{part} gives {value} for column {column:?}, which holds {kind}: {}", example(.kind))]
    Value {
        /// Which part of the view: `only` or `mask`.
        part: &'static str,
        /// The column.
        column: String,
        /// Its type.
        kind: DataType,
        /// The value.
        value: Constant,
    },
    /// A projection without columns.
    #[error("columns is empty: name some, or leave it out for all")]
    NoColumns,
    /// A column that is shown twice.
    #[error("columns names {column:?} twice: name it once")]
    Twice {
        /// The column.
        column: String,
    },
    /// A projection without a key column.
    #[error("columns leaves out {column:?}, which is in the table's key: without it different rows would be one")]
    KeyDropped {
        /// The column.
        column: String,
    },
    /// A mask over a key column.
    #[error("mask covers {column:?}, which is in the table's key: with it different rows would be one")]
    KeyMasked {
        /// The column.
        column: String,
    },
}

fn joined(faults: &[ViewFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn meant(nearest: Option<&str>, columns: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => format!("the table has {}", columns.join(", ")),
    }
}

fn offered(kind: &DataType) -> &'static str {
    if super::constant::compares(kind).0 { "eq, ne, in, is_null and not_null" } else { "is_null and not_null" }
}

/// What a value of a type looks like.
pub(super) fn example(kind: &DataType) -> &'static str {
    match super::constant::logical(kind) {
        DataType::Boolean => "give true or false",
        kind if kind.is_integer() => "give a whole number within its bounds",
        kind if kind.is_floating() => "give a number",
        kind if kind.is_string() => "give a text",
        DataType::Timestamp(..) => "give a text such as \"2024-05-06T07:08:09Z\", no finer than the column",
        DataType::Date32 => "give a text such as \"2024-05-06\"",
        DataType::Date64 => "give a text such as \"2024-05-06T00:00:00\"",
        DataType::Time32(_) | DataType::Time64(_) => "give a text such as \"07:08:09\", no finer than the column",
        kind if kind.is_decimal() => "give a number that it holds without rounding",
        _ => "no value can be given for it",
    }
}
