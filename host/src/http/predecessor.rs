//! The predecessor's v1 API, what is not about records and rows: OpenStack Congress's paths, bodies and errors.
//!
//! Where it was wrong we are not: a datasource that is not there is a 404 at once, and nothing of one datasource breaks a
//! list of all. Options that a driver declares secret are shown as `<hidden>`.

use super::State;
use super::calls::duration;
use super::error::{Body, Error};
use super::extract::{Path, Query, bad_query};
use crate::bus::{Address, TableView, View};
use crate::datasource::{self, PERSIST_DATA, POLL_TIME, Refusal};
use crate::plugin::Generation;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use busway_plugin_api::TableSpec;
use busway_plugin_api::info::TableInfo;
use busway_plugin_api::message::ExecuteRequest;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn drivers(Extract(state): Extract<State>) -> Json<Value> {
    let one = |g: std::sync::Arc<Generation>| json!({"id": g.info.id, "description": g.info.description});
    Json(json!({"results": state.catalog.drivers().into_iter().map(one).collect::<Vec<_>>()}))
}

pub(super) async fn driver(Extract(state): Extract<State>, Path(driver): Path<String>) -> Result<Json<Value>, Error> {
    let generation = state.catalog.serving(&driver).ok_or_else(|| {
        let why = state.catalog.why_not(&driver);
        Error::not_found(format!("Driver not found {driver}: {why}")).with(json!({"kind": "DriverNotFound"}))
    })?;
    let info = &generation.info;
    let required = |required| if required { "required" } else { "(optional)" };
    let mut config: Map<String, Value> =
        info.options.iter().map(|o| (o.name.clone(), required(o.required).into())).collect();
    // What the host does for every datasource is set among them, too.
    for own in [POLL_TIME, PERSIST_DATA] {
        config.entry(own).or_insert_with(|| required(false).into());
    }
    let secret: Vec<&str> = info.options.iter().filter(|o| o.secret).map(|o| o.name.as_str()).collect();
    Ok(Json(json!({
        "id": info.id,
        "description": info.description,
        "module": generation.path.display().to_string(),
        "config": config,
        "secret": secret,
        "tables": info.tables.iter().map(table_info).collect::<Vec<_>>(),
        // Ours: all that it says of itself, options with their types, actions with their arguments.
        "generation": generation.number,
        "info": info,
    })))
}

fn table_info(table: &TableInfo) -> Value {
    let column =
        |c: &busway_plugin_api::info::ColumnInfo| json!({"name": c.name, "description": described(&c.description)});
    json!({"table_id": table.name, "columns": table.columns.iter().map(column).collect::<Vec<_>>()})
}

/// The predecessor says "None" where nothing is said.
fn described(text: &str) -> &str {
    if text.is_empty() { "None" } else { text }
}

/// The datasource of that name or id.
pub(super) fn find(state: &State, ds: &str) -> Result<datasource::View, Error> {
    Ok(state.datasources.get(ds).ok_or_else(|| Refusal::DatasourceNotFound(ds.to_owned()))?)
}

/// A table as it is now.
pub(super) fn view(state: &State, ds: &str, table: &str) -> Result<Arc<TableView>, Error> {
    let name = &find(state, ds)?.record.name;
    let address = Address::new(name, table).map_err(|e| Error::bad_request(e.to_string()))?;
    let seen = state.bus.look(&address, None, &View::default()).map_err(|e| Error::bad_request(e.to_string()))?;
    let Some(seen) = seen else { return Err(unseen(state, name, &address)) };
    Ok(seen)
}

/// Why a table can't be seen: that there is no such table is said only when that is known.
fn unseen(state: &State, name: &str, address: &Address) -> Error {
    let table = address.table();
    if state.datasources.is_idle(name, table) {
        let text = format!("table {table} is a lazy table and is not subscribed.");
        return Error::bad_request(text).with(json!({"kind": "LazyTable"}));
    }
    let declared = match state.datasources.tables(name) {
        Ok(declared) => declared,
        Err(error) => return error.into(),
    };
    let slots = state.bus.slots_of(name);
    let failed = slots.iter().find(|slot| &**slot.address() == address).and_then(|slot| slot.error());
    let unread = |why: String| Error::new(StatusCode::SERVICE_UNAVAILABLE, format!("table {address} {why}"));
    match failed {
        Some(error) => unread(format!("could not be read yet: {error}")),
        None if declared.iter().any(|info| info.name == table) => unread("has not been read yet".to_owned()),
        None => Error::not_found(format!("Not Found::tablename '{table}' does not exist")),
    }
}

/// What is said of each table of a datasource: of those that are there, as they are; of others, as the source declares
/// them. They may be lazy, or could not be read yet.
fn specs(state: &State, ds: &str) -> Result<BTreeMap<String, Value>, Error> {
    let name = &find(state, ds)?.record.name;
    // Of one that has no source nothing is known but what is left of its tables.
    let declared = state.datasources.tables(name).unwrap_or_default();
    let mut specs: BTreeMap<String, Value> =
        declared.iter().map(|table| (table.name.clone(), table_info(table))).collect();
    for slot in state.bus.slots_of(name).iter().filter(|slot| slot.is_there()) {
        let table = slot.address().table().to_owned();
        let known = || json!({"table_id": table, "columns": []});
        let spec = slot.view().map(|view| spec_of(&view)).or_else(|| specs.remove(&table)).unwrap_or_else(known);
        specs.insert(table, spec);
    }
    Ok(specs)
}

/// The spec of one of them.
fn spec_of_table(state: &State, ds: &str, table: &str) -> Result<Value, Error> {
    if let Some(spec) = specs(state, ds)?.remove(table) {
        return Ok(spec);
    }
    view(state, ds, table).map(|view| spec_of(&view))
}

pub(super) async fn actions(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let record = find(&state, &ds)?.record;
    let mut actions = state.catalog.serving(&record.spec.driver).map(|g| g.info.actions.clone()).unwrap_or_default();
    actions.sort_by(|a, b| a.name.cmp(&b.name));
    let one = |action: &busway_plugin_api::ActionInfo| {
        let args: Vec<Value> =
            action.args.iter().map(|a| json!({"name": a.name, "description": described(&a.description)})).collect();
        json!({"name": action.name, "args": args, "description": described(&action.description)})
    };
    Ok(Json(json!({"results": actions.iter().map(one).collect::<Vec<_>>()})))
}

fn spec_of(view: &TableView) -> Value {
    table_info(&TableSpec::with_schema(view.address.table(), Arc::clone(&view.shape.schema)).info())
}

pub(super) async fn schema(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    Ok(Json(json!({"tables": specs(&state, &ds)?.into_values().collect::<Vec<_>>()})))
}

pub(super) async fn tables(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let one = |table: String| json!({"id": table});
    Ok(Json(json!({"results": specs(&state, &ds)?.into_keys().map(one).collect::<Vec<_>>()})))
}

pub(super) async fn table(
    Extract(state): Extract<State>,
    Path((ds, table)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    spec_of_table(&state, &ds, &table).map(|_| Json(json!({"id": table})))
}

pub(super) async fn spec(
    Extract(state): Extract<State>,
    Path((ds, table)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    spec_of_table(&state, &ds, &table).map(Json)
}

/// A poll's end is known so much later at most.
const LATER: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Execute {
    name: String,
    #[serde(default)]
    args: Value,
    request_id: Option<String>,
}

/// What [`Args`] look like to clients, in the predecessor's words.
const ARGUMENTS: &str = "{'positional': [<args>], 'named': {<key>:<value>,}}";
/// The predecessor's number for arguments of another form.
const WRONG_ARGUMENTS: u16 = 1018;

#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    positional: Vec<Value>,
    #[serde(default)]
    named: Map<String, Value>,
}

fn arguments(given: Value) -> Result<Args, Error> {
    if given.is_null() {
        return Ok(Args::default());
    }
    serde_json::from_value(given).map_err(|e| {
        let text = format!("Incorrect argument syntax. Requires: {ARGUMENTS}: {e}");
        Error::bad_request(text).code(WRONG_ARGUMENTS)
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    action: Option<String>,
    wait: Option<String>,
    deadline: Option<String>,
}

/// `?action=request-refresh` and `?action=execute`. As the predecessor's, both answer at once: that a poll was asked for, or
/// that the action can begin. With `wait=true` they answer when that has ended: an action's result, or how the table is.
pub(super) async fn act(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    Query(Asked { action, wait, deadline }): Query<Asked>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Error> {
    let wait = match wait.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(bad_query(format!("wait is true or false, not {other:?}"))),
    };
    match action.as_deref() {
        Some("request-refresh") if wait => refreshed(&state, &ds, deadline).await.map(IntoResponse::into_response),
        _ if deadline.is_some() => Err(bad_query("deadline goes with action=request-refresh&wait=true")),
        Some("request-refresh") => {
            state.datasources.refresh(&ds)?;
            Ok(Json(Value::Null).into_response())
        }
        Some("execute") => execute(state, ds, wait, &headers, body).await,
        Some(other) => Err(Error::new(StatusCode::NOT_IMPLEMENTED, format!("Method not supported: action {other:?}"))),
        None => Err(Error::bad_request("Missing required action parameter.")),
    }
}

/// Waits for a poll that begins after now. Without a deadline as long as one that runs, and then this one, may take.
async fn refreshed(state: &State, ds: &str, deadline: Option<String>) -> Result<Json<Value>, Error> {
    let record = find(state, ds)?.record;
    let deadline = match deadline {
        Some(text) => duration(&text)?,
        None => record.spec.deadline.saturating_mul(2).saturating_add(LATER),
    };
    let name = &record.name;
    tokio::time::timeout(deadline, state.datasources.refreshed(&record.id.to_string())).await.map_err(|_| {
        let deadline = humantime::format_duration(deadline);
        Error::new(StatusCode::GATEWAY_TIMEOUT, format!("no poll of {name} ended within {deadline}: it may yet"))
            .with(json!({"kind": "timed_out"}))
    })??;
    let datasource::View { status, .. } = find(state, ds)?;
    let slots = state.bus.slots_of(name);
    let rows: usize = slots.iter().filter_map(|slot| slot.view()).map(|view| view.rows.num_rows()).sum();
    Ok(Json(json!({"polls": status.polls, "failed_polls": status.failures, "rows": rows})))
}

/// `x-request-id` (or `request_id` in the body): runs once. Who sends it again is answered as at first, without anything
/// being run, and told so by the header `x-busway-repeated`; another request under the id is a 409.
async fn execute(state: State, ds: String, wait: bool, headers: &HeaderMap, body: Value) -> Result<Response, Error> {
    let request: Execute = serde_json::from_value(body)
        .map_err(|e| Error::bad_request(format!("the body is {{\"name\": ACTION, \"args\": {ARGUMENTS}}}: {e}")))?;
    let header = headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let Execute { name: action, args, request_id } = request;
    let Args { positional, named } = arguments(args)?;
    let request = ExecuteRequest { action: action.clone(), positional, named, request_id: request_id.or(header) };
    if wait && request.request_id.is_none() {
        // It is cancelled when its client goes.
        let result = state.datasources.execute(&ds, request).await?;
        return Ok(Json(json!({"result": result})).into_response());
    }
    let begun = state.datasources.submit(&ds, request, !wait)?;
    let repeated = begun.is_repeated();
    let answer = if wait {
        json!({"result": begun.end().await?})
    } else {
        tokio::spawn(async move {
            if let (Err(error), false) = (begun.end().await, repeated) {
                tracing::warn!(datasource = ds, action, %error, "an action that nobody waits for failed");
            }
        });
        json!({})
    };
    let repeated = repeated.then_some([("x-busway-repeated", "true")]);
    Ok(match repeated {
        Some(header) => (header, Json(answer)).into_response(),
        None => Json(answer).into_response(),
    })
}
