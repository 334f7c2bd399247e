//! Tables and steps as JSON bodies. A large table is written in parts.

use super::error::Error;
use crate::bus::{Address, TableView};
use crate::table::{Rows, Step, rows_json};
use arrow_array::RecordBatch;
use busway_plugin_api::message::encode;
use busway_plugin_api::table::columns;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many rows at most are in one part of a snapshot.
pub(super) const PART_ROWS: usize = 5_000;
/// A part of a snapshot is about so many bytes of text at most.
pub(super) const PART_BYTES: usize = 1 << 20;
/// So many rows are in the first part: how long they are is not known yet.
pub(super) const FIRST_ROWS: usize = 500;

#[derive(Serialize)]
pub(super) struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    nullable: bool,
    description: String,
}

/// What is said of a table before its rows.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    service: &'a str,
    table: &'a str,
    epoch: u64,
    to: u64,
    poll: u64,
    as_of: Option<String>,
    error: Option<&'a str>,
    description: &'a str,
    key: &'a [String],
    topic: Option<&'a str>,
    columns: Vec<Column>,
}

#[derive(Serialize)]
struct First<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    total_rows: usize,
    rows: Box<RawValue>,
    more: bool,
}

#[derive(Serialize)]
struct Further<'a> {
    service: &'a str,
    table: &'a str,
    epoch: u64,
    to: u64,
    rows: Box<RawValue>,
    more: bool,
}

#[derive(Serialize)]
struct StepBody<'a> {
    service: &'a str,
    table: &'a str,
    epoch: u64,
    from: u64,
    to: u64,
    poll: u64,
    added: Box<RawValue>,
    removed: Box<RawValue>,
    updated: Vec<Update>,
}

/// A keyed row before and after.
#[derive(Serialize)]
struct Update {
    old: Box<RawValue>,
    new: Box<RawValue>,
}

/// `shown`: the numbers of the columns that are.
pub(super) fn head<'a>(view: &'a TableView, shown: &[usize]) -> Head<'a> {
    let (schema, infos) = (&view.shape.schema, columns(&view.shape.schema));
    let column = |at: &usize| {
        let info = infos.get(*at)?.clone();
        let kind = schema.field(*at).data_type().to_string();
        Some(Column { name: info.name, kind, nullable: info.nullable, description: info.description })
    };
    Head {
        service: view.address.service(),
        table: view.address.table(),
        epoch: view.epoch.0,
        to: view.to,
        poll: view.poll,
        as_of: view.as_of.map(|t| t.to_string()),
        error: view.error.as_deref(),
        description: &view.shape.description,
        key: &view.shape.key,
        topic: view.shape.topic.as_deref(),
        columns: shown.iter().filter_map(column).collect(),
    }
}

fn json(rows: RecordBatch) -> Result<Box<RawValue>, Error> {
    rows_json([rows]).map_err(|e| Error::internal(&e))
}

fn each(rows: RecordBatch) -> Result<Vec<Box<RawValue>>, Error> {
    serde_json::from_str(json(rows)?.get()).map_err(|e| Error::internal(&e))
}

/// A snapshot on its way to a client, part by part.
#[derive(Debug)]
pub(super) struct Parts {
    view: Arc<TableView>,
    /// What was not written yet; `None`: nothing was.
    left: Option<VecDeque<RecordBatch>>,
    /// So many rows come next.
    rows: usize,
}

/// Some rows of a snapshot.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) text: String,
    /// Whether this is not the last.
    pub(super) more: bool,
}

impl Parts {
    pub(super) fn of(view: Arc<TableView>) -> Self {
        Self { view, left: None, rows: FIRST_ROWS }
    }

    /// The table that they are of.
    pub(super) fn view(&self) -> &TableView {
        &self.view
    }

    /// The next part: the first has the columns and the key, too. No work for a thread that others wait for.
    pub(super) fn next(&mut self) -> Result<Part, Error> {
        let first = self.left.is_none();
        let left = self.left.get_or_insert_with(|| batches(&self.view.rows));
        let rows = take(left, self.rows);
        let more = !left.is_empty();
        let count = rows.as_ref().map_or(0, RecordBatch::num_rows);
        let rows = match rows {
            Some(rows) => json(rows)?,
            None => rows_json(None::<RecordBatch>).map_err(|e| Error::internal(&e))?,
        };
        if count > 0 {
            let width = rows.get().len().div_ceil(count);
            self.rows = (PART_BYTES / width.max(1)).clamp(1, PART_ROWS);
        }
        let (view, total_rows) = (&*self.view, self.view.rows.num_rows());
        let text = match first {
            true => {
                let all: Vec<usize> = (0..view.shape.schema.fields().len()).collect();
                encode(&First { head: head(view, &all), total_rows, rows, more })
            }
            false => {
                let (service, table) = (view.address.service(), view.address.table());
                encode(&Further { service, table, epoch: view.epoch.0, to: view.to, rows, more })
            }
        };
        Ok(Part { text, more })
    }
}

fn batches(rows: &Rows) -> VecDeque<RecordBatch> {
    rows.batches().collect()
}

/// So many rows from the first batch.
fn take(left: &mut VecDeque<RecordBatch>, rows: usize) -> Option<RecordBatch> {
    let first = left.pop_front()?;
    if first.num_rows() <= rows {
        return Some(first);
    }
    left.push_front(first.slice(rows, first.num_rows() - rows));
    Some(first.slice(0, rows))
}

/// A step. Takes as long as it is large: no work for a thread that others wait for.
pub(super) fn step(address: &Address, step: &Step) -> Result<String, Error> {
    let updated = step.updated;
    let pairs = each(step.removed.slice(0, updated))?.into_iter().zip(each(step.added.slice(0, updated))?);
    let rest = |rows: &RecordBatch| json(rows.slice(updated, rows.num_rows() - updated));
    Ok(encode(&StepBody {
        service: address.service(),
        table: address.table(),
        epoch: step.epoch.0,
        from: step.from,
        to: step.to,
        poll: step.poll,
        added: rest(&step.added)?,
        removed: rest(&step.removed)?,
        updated: pairs.map(|(old, new)| Update { old, new }).collect(),
    }))
}
