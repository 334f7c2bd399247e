//! What can be wrong with a request for rows.

use super::asked::{LONGEST, MOST_ROWS, PARAMETERS};
use super::format::Format;
use crate::bus::Address;
use crate::http::error::Error;
use axum::http::StatusCode;
use busway_plugin_api::options::nearest;
use serde_json::{Value, json};

/// Why rows were not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the query can't be read: {0}")]
    Query(String),
    #[error("{0} is given twice: give it once")]
    Twice(&'static str),
    #[error("limit is a whole number from 1 to {MOST_ROWS}, not {0:?}: for all rows leave it out")]
    Limit(String),
    #[error("{0:?} is no cursor: give the \"next\" of an answer as it is, or none to begin with the first rows")]
    Cursor(String),
    #[error("that cursor is of another query: repeat the order and the filters that it came with, or begin without it")]
    CursorElsewhere,
    #[error("a cursor is of one state: leave after and wait out")]
    CursorAndAfter,
    #[error(
        "the cursor is of state {was} of {address}, which is at {now} by now: begin again without it, or ask for all rows \
         at once, which are of one state, by leaving limit out"
    )]
    CursorExpired { address: Address, was: String, now: String },
    #[error("{0} names no column: write {0}=COLUMN,COLUMN")]
    NoColumns(&'static str),
    #[error("{parameter} names the column {column:?} twice: name it once")]
    ColumnTwice { parameter: &'static str, column: String },
    #[error("{parameter} names the column {column:?}, which is not there: {}", meant(column, columns))]
    NoColumn { parameter: &'static str, column: String, columns: Vec<String> },
    #[error("there is no parameter and no column {name:?}: {}", meant_either(name, columns))]
    NoFilter { name: String, columns: Vec<String> },
    #[error("the column {column:?} holds {kind}, and {value:?} is no such value: {example}")]
    Value { column: String, kind: String, value: String, example: &'static str },
    #[error("null.{column} is true, for rows without a value, or false, for rows that have one; not {value:?}")]
    Null { column: String, value: String },
    #[error("null.{0} is given twice: give it once")]
    NullTwice(String),
    #[error("{0:?} is no format: there are {names}", names = Format::names())]
    NoFormat(String),
    #[error("rows can be had as {types}: name one in Accept, or by format={names}", types = Format::types(), names = Format::names())]
    NotAcceptable,
    #[error("wait is a number of seconds from 0 to {most}, not {0:?}", most = LONGEST.as_secs())]
    Wait(String),
    #[error("wait needs to know what is no news: give the state that you have as after=EPOCH:SEQ")]
    WaitForWhat,
    #[error("{0:?} is no state: give the seq of an answer, or both of its numbers as EPOCH:SEQ")]
    After(String),
}

fn meant(name: &str, columns: &[String]) -> String {
    match nearest(name, columns.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the table has {}", columns.join(", ")),
    }
}

fn meant_either(name: &str, columns: &[String]) -> String {
    match nearest(name, columns.iter().map(String::as_str).chain(PARAMETERS)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the table has {}, the parameters are {}", columns.join(", "), PARAMETERS.join(", ")),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let (status, kind) = match &fault {
            Fault::CursorExpired { .. } => (StatusCode::GONE, "CursorExpired"),
            Fault::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "NotAcceptable"),
            Fault::NoColumn { .. } | Fault::NoFilter { .. } => (StatusCode::BAD_REQUEST, "NoColumn"),
            _ => (StatusCode::BAD_REQUEST, "BadParameter"),
        };
        let mut data = json!({"kind": kind});
        if let Fault::NoColumn { column, columns, .. } | Fault::NoFilter { name: column, columns } = &fault {
            data["column"] = Value::from(column.as_str());
            data["columns"] = Value::from(columns.as_slice());
        }
        Self::new(status, fault.to_string()).with(data)
    }
}
