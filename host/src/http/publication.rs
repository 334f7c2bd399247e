//! Tables of services from outside: whole, in changes, and their end.

use super::State;
use super::error::{Error, parsed, unread};
use super::extract::Path;
use super::json::unique;
use super::session::Session;
use crate::bus::{PublishError, is_table_name};
use crate::table::{Applied, Shape, kind_of_name, rows_of_json};
use arrow_schema::{Field, Schema, SchemaRef};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::Batches;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

/// So large a body may be: what is more goes in several changes.
pub(super) const MOST_BYTES: usize = 32 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Else only columns that are no key's may be.
    nullable: Option<bool>,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    columns: Vec<Column>,
    #[serde(default)]
    key: Vec<String>,
    topic: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    poll: u64,
    #[serde(deserialize_with = "unique")]
    rows: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default, deserialize_with = "unique")]
    added: Vec<Value>,
    #[serde(default, deserialize_with = "unique")]
    removed: Vec<Value>,
    #[serde(default)]
    poll: u64,
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        let status = match &error {
            PublishError::NeedsSnapshot | PublishError::NameLost { .. } => StatusCode::CONFLICT,
            PublishError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

pub(super) type Given = Result<Bytes, BytesRejection>;

/// Publishes a table, or all its rows anew.
pub(super) async fn put(
    Extract(state): Extract<State>,
    Path((service, table)): Path<(String, String)>,
    headers: HeaderMap,
    body: Given,
) -> Result<Json<Value>, Error> {
    let session = own(&state, &service, &table, &headers)?;
    let body = bytes(body)?;
    work(move || {
        let form = "the body is {\"columns\": [{\"name\", \"type\"}], \"key\": [], \"rows\": []}";
        let whole: Whole = parsed(&body, form)?;
        let shape = shape(&whole)?;
        let batches = batches(&shape.schema, &whole.rows, "")?;
        let mut shapes = session.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = session.service.snapshot(&table, shape.clone(), &batches, whole.poll)?;
        shapes.insert(table.clone(), shape);
        Ok(answer(&session, &table, &applied))
    })
    .await
}

/// Adds and removes rows. Of a table with a key, rows that are there are replaced, and keys are enough to remove them.
pub(super) async fn patch(
    Extract(state): Extract<State>,
    Path((service, table)): Path<(String, String)>,
    headers: HeaderMap,
    body: Given,
) -> Result<Json<Value>, Error> {
    let session = own(&state, &service, &table, &headers)?;
    let body = bytes(body)?;
    work(move || {
        let changes: Changes = parsed(&body, "the body is {\"added\": [rows], \"removed\": [rows or keys]}")?;
        let shapes = session.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shape) = shapes.get(&table) else { return Err(no_table(&session, &table)) };
        let added = batches(&shape.schema, &changes.added, " of added")?;
        let (keys, removed) = keys(shape, changes.removed);
        let removed = batches(&keys, &removed, " of removed")?;
        let applied = session.service.delta(&table, &added, &removed, changes.poll)?;
        Ok(answer(&session, &table, &applied))
    })
    .await
}

/// Ends a table.
pub(super) async fn delete(
    Extract(state): Extract<State>,
    Path((service, table)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Error> {
    let session = own(&state, &service, &table, &headers)?;
    work(move || {
        let mut shapes = session.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        if shapes.remove(&table).is_none() {
            return Err(no_table(&session, &table));
        }
        session.service.end(&table);
        Ok(json!({}))
    })
    .await
}

/// No work for a thread that others wait for.
pub(super) async fn work(work: impl FnOnce() -> Result<Value, Error> + Send + 'static) -> Result<Json<Value>, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::internal(&e))).map(Json)
}

fn own(state: &State, service: &str, table: &str, headers: &HeaderMap) -> Result<Arc<Session>, Error> {
    if !is_table_name(table) {
        let form = "a name is not empty, has no slash or control character, and at most 255 bytes";
        return Err(Error::bad_request(format!("{table:?} can't name a table: {form}")));
    }
    state.sessions.own(state, service, headers)
}

/// A body of rows that came whole.
pub(super) fn bytes(body: Given) -> Result<Bytes, Error> {
    body.map_err(|e| unread(&e, MOST_BYTES, ": publish fewer rows, then add the others by PATCH"))
}

fn shape(whole: &Whole) -> Result<Shape, Error> {
    let bad = |why: String| Error::bad_request(why);
    let mut names = BTreeSet::new();
    let mut fields = Vec::new();
    for Column { name, kind, nullable, .. } in &whole.columns {
        if !names.insert(name) {
            return Err(bad(format!("there are two columns {name:?}")));
        }
        let kind = kind_of_name(kind).map_err(|e| bad(format!("column {name:?}: {e}")))?;
        fields.push(Field::new(name, kind, nullable.unwrap_or(!whole.key.contains(name))));
    }
    if fields.is_empty() {
        return Err(bad("a table has one column at least".to_owned()));
    }
    let mut spec = TableSpec::with_schema("", Arc::new(Schema::new(fields)));
    for column in whole.columns.iter().filter(|column| !column.description.is_empty()) {
        spec = spec.column(&column.name, &column.description);
    }
    if let Some(topic) = whole.topic.as_ref().filter(|topic| !names.contains(topic)) {
        return Err(bad(format!("topic column {topic:?} is not one of the table's columns")));
    }
    let shape = Shape::new(spec.schema, whole.key.clone()).map_err(|e| bad(e.to_string()))?;
    Ok(Shape { topic: whole.topic.clone(), description: whole.description.clone(), ..shape })
}

/// `of`: where in the body.
pub(super) fn batches(schema: &SchemaRef, rows: &[Value], of: &str) -> Result<Batches, Error> {
    let batch = rows_of_json(schema, rows).map_err(|e| {
        let text = match e.row().map(|row| format!("row {row}")) {
            Some(row) => e.to_string().replacen(&row, &format!("{row}{of}"), 1),
            None => e.to_string(),
        };
        Error::bad_request(text).with(json!({"row": e.row(), "column": e.column()}))
    })?;
    Ok(batch.into())
}

/// The columns that tell which rows are meant, and those of the rows; all, of a table without a key.
pub(super) fn keys(shape: &Shape, mut rows: Vec<Value>) -> (SchemaRef, Vec<Value>) {
    if shape.key.is_empty() {
        return (Arc::clone(&shape.schema), rows);
    }
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        // A whole row may be given: what is no column at all is still found.
        row.retain(|name, _| shape.key.contains(name) || shape.schema.column_with_name(name).is_none());
    }
    let fields: Vec<_> = shape.key.iter().filter_map(|name| shape.schema.field_with_name(name).ok().cloned()).collect();
    (Arc::new(Schema::new(fields)), rows)
}

fn no_table(session: &Session, table: &str) -> Error {
    let name = session.service.name();
    Error::not_found(format!("service {name:?} publishes no table {table:?}: publish it whole first, by PUT"))
}

fn answer(session: &Session, table: &str, applied: &Applied) -> Value {
    let address = crate::bus::Address::new(session.service.name(), table).ok();
    let view = address.and_then(|address| session.service.bus().table(&address));
    let changed = !matches!(applied, Applied::Unchanged);
    match view {
        Some(view) => {
            json!({"epoch": view.epoch.0, "to": view.to, "rows": view.rows.num_rows(), "changed": changed})
        }
        None => json!({"changed": changed}),
    }
}
