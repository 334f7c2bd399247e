//! Any service's tables: rows, and streams of what changes.

use super::State;
use super::error::{Body, Error};
use crate::bus::{Address, Message, TableView};
use crate::table::{Step, rows_json};
use arrow_array::RecordBatch;
use axum::Json;
use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use busway_plugin_api::message::{ExecuteRequest, encode};
use busway_plugin_api::table::columns;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;

#[derive(Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    nullable: bool,
    description: String,
}

/// A table and its rows.
#[derive(Serialize)]
struct Rows<'a> {
    service: &'a str,
    table: &'a str,
    epoch: u64,
    to: u64,
    as_of: Option<String>,
    error: Option<&'a str>,
    key: &'a [String],
    columns: Vec<Column>,
    rows: Box<RawValue>,
}

#[derive(Serialize)]
struct StepBody {
    epoch: u64,
    from: u64,
    to: u64,
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

fn table_body(view: &TableView) -> Result<String, Error> {
    let column = |(field, info): (&std::sync::Arc<arrow_schema::Field>, busway_plugin_api::info::ColumnInfo)| Column {
        name: info.name,
        kind: field.data_type().to_string(),
        nullable: info.nullable,
        description: info.description,
    };
    let schema = &view.shape.schema;
    Ok(encode(&Rows {
        service: view.address.service(),
        table: view.address.table(),
        epoch: view.epoch.0,
        to: view.to,
        as_of: view.as_of.map(|t| t.to_string()),
        error: view.error.as_deref(),
        key: &view.shape.key,
        columns: schema.fields().iter().zip(columns(schema)).map(column).collect(),
        rows: rows_json(view.rows.batches()).map_err(|e| Error::internal(&e))?,
    }))
}

fn step_body(step: &Step) -> Result<String, Error> {
    let json = |rows: &RecordBatch, from: usize, length: usize| {
        rows_json([rows.slice(from, length)]).map_err(|e| Error::internal(&e))
    };
    let each = |rows: &RecordBatch| -> Result<Vec<Box<RawValue>>, Error> {
        let text = json(rows, 0, step.updated)?;
        serde_json::from_str(text.get()).map_err(|e| Error::internal(&e))
    };
    let pairs = each(&step.removed)?.into_iter().zip(each(&step.added)?);
    let rest = |rows: &RecordBatch| json(rows, step.updated, rows.num_rows() - step.updated);
    Ok(encode(&StepBody {
        epoch: step.epoch.0,
        from: step.from,
        to: step.to,
        added: rest(&step.added)?,
        removed: rest(&step.removed)?,
        updated: pairs.map(|(old, new)| Update { old, new }).collect(),
    }))
}

fn address(service: &str, table: &str) -> Result<Address, Error> {
    Address::new(service, table).map_err(|e| Error::bad_request(e.to_string()))
}

fn no_table(state: &State, service: &str, table: &str) -> Error {
    let there: Vec<String> = (state.bus.tables().iter())
        .filter(|view| view.address.service() == service)
        .map(|view| view.address.table().to_owned())
        .collect();
    Error::not_found(match (state.bus.has_service(service), there.is_empty()) {
        (false, _) => format!("no service {service:?}: there are {}", state.bus.services(false).join(", ")),
        (true, true) => format!("no table {table:?}: service {service:?} has none now"),
        (true, false) => format!("no table {table:?}: service {service:?} has {}", there.join(", ")),
    })
}

pub(super) async fn list(Extract(state): Extract<State>) -> Json<Value> {
    let views = state.bus.tables();
    let one = |name: String| {
        let tables: Vec<&str> =
            views.iter().filter(|v| v.address.service() == name).map(|v| v.address.table()).collect();
        json!({"id": name, "tables": tables})
    };
    Json(json!({"results": state.bus.services(true).into_iter().map(one).collect::<Vec<_>>()}))
}

pub(super) async fn tables(Extract(state): Extract<State>, Path(service): Path<String>) -> Result<Json<Value>, Error> {
    if !state.bus.has_service(&service) {
        return Err(no_table(&state, &service, ""));
    }
    let views = state.bus.tables();
    let mine = views.iter().filter(|v| v.address.service() == service);
    let one =
        |v: &TableView| json!({"id": v.address.table(), "rows": v.rows.num_rows(), "epoch": v.epoch.0, "to": v.to});
    Ok(Json(json!({"results": mine.map(|v| one(v)).collect::<Vec<_>>()})))
}

pub(super) async fn rows(
    Extract(state): Extract<State>,
    Path((service, table)): Path<(String, String)>,
) -> Result<Response, Error> {
    let address = address(&service, &table)?;
    let Some(view) = state.bus.table(&address) else {
        let slots = state.bus.slots_of(&service);
        let failed = slots.iter().find(|slot| **slot.address() == address).and_then(|slot| slot.error());
        return Err(match failed {
            Some(error) => {
                Error::new(StatusCode::SERVICE_UNAVAILABLE, format!("table {address} could not be read yet: {error}"))
            }
            None => no_table(&state, &service, &table),
        });
    };
    let body = tokio::task::spawn_blocking(move || table_body(&view)).await.map_err(|e| Error::internal(&e))??;
    Ok(([("content-type", "application/json")], body).into_response())
}

/// Snapshot, then steps. A service that is there may get the table later; the stream waits for it.
pub(super) async fn stream(
    Extract(state): Extract<State>,
    Path((service, table)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let address = address(&service, &table)?;
    if !state.bus.has_service(&service) {
        return Err(no_table(&state, &service, &table));
    }
    let subscription = state.bus.subscribe(&address);
    let stopping = state.stopping.clone();
    let events = stream::unfold((subscription, stopping), |(mut subscription, mut stopping)| async move {
        let message = tokio::select! {
            delivery = subscription.next() => delivery.message,
            _ = stopping.wait_for(|stop| *stop) => return None,
        };
        // A large table's text is no work for a thread that others wait for.
        let written = tokio::task::spawn_blocking(move || event(&message)).await;
        let event = written
            .unwrap_or_else(|e| Err(Error::internal(&e)))
            .unwrap_or_else(|error| Event::default().event("error").data(encode(&json!({"message": error.message()}))));
        Some((Ok(event), (subscription, stopping)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)).text("keep-alive")))
}

fn event(message: &Message) -> Result<Event, Error> {
    Ok(match message {
        Message::Snapshot(view) => {
            Event::default().event("snapshot").id(format!("{}:{}", view.epoch, view.to)).data(table_body(view)?)
        }
        Message::Step(step) => {
            Event::default().event("step").id(format!("{}:{}", step.epoch, step.to)).data(step_body(step)?)
        }
        Message::Gone => Event::default().event("gone").data("{}"),
    })
}

/// Runs an action of a datasource with named arguments, and answers its result.
pub(super) async fn execute(
    Extract(state): Extract<State>,
    Path((service, action)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Json<Value>, Error> {
    let named = match body {
        Value::Null => serde_json::Map::new(),
        Value::Object(named) => named,
        _ => return Err(Error::bad_request("the body is a JSON object of named arguments")),
    };
    let request = ExecuteRequest { action, named, ..ExecuteRequest::default() };
    let result = state.datasources.execute(&service, request).await?;
    Ok(Json(json!({"result": result})))
}
