//! The predecessor's v1 API, its reading part: OpenStack Congress's paths, bodies and errors.
//!
//! Where it was wrong we are not: a datasource that is not there is a 404 at once, and nothing of one datasource breaks a
//! list of all. Options that a driver declares secret are shown as `<hidden>`.

use super::State;
use super::error::{Body, Error};
use crate::bus::{Address, TableView, View};
use crate::config::Datasource;
use crate::plugin::Generation;
use crate::table::rows_json;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use axum::Json;
use axum::extract::{Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use busway_plugin_api::info::TableInfo;
use busway_plugin_api::message::ExecuteRequest;
use busway_plugin_api::table::columns;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

const UPDATED: &str = "2013-08-12T17:42:13Z";

pub(super) async fn versions() -> Json<Value> {
    let links = json!([{"rel": "self", "href": "/v1/"}]);
    Json(json!({"versions": [{"id": "v1", "status": "CURRENT", "updated": UPDATED, "links": links}]}))
}

pub(super) async fn version() -> Json<Value> {
    let links = json!([{"rel": "self", "href": "/v1/"}]);
    Json(json!({"version": {"id": "v1", "status": "CURRENT", "updated": UPDATED, "links": links}}))
}

pub(super) async fn drivers(Extract(state): Extract<State>) -> Json<Value> {
    let one = |g: std::sync::Arc<Generation>| json!({"id": g.info.id, "description": g.info.description});
    Json(json!({"results": state.catalog.drivers().into_iter().map(one).collect::<Vec<_>>()}))
}

pub(super) async fn driver(Extract(state): Extract<State>, Path(driver): Path<String>) -> Result<Json<Value>, Error> {
    let generation =
        state.catalog.serving(&driver).ok_or_else(|| Error::not_found(format!("Driver not found {driver}")))?;
    let info = &generation.info;
    let required = |required| if required { "required" } else { "(optional)" };
    let config: Map<String, Value> =
        info.options.iter().map(|o| (o.name.clone(), required(o.required).into())).collect();
    let secret: Vec<&str> = info.options.iter().filter(|o| o.secret).map(|o| o.name.as_str()).collect();
    Ok(Json(json!({
        "id": info.id,
        "description": info.description,
        "module": generation.path.display().to_string(),
        "config": config,
        "secret": secret,
        "tables": info.tables.iter().map(table_info).collect::<Vec<_>>(),
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

fn record(state: &State, name: &str, id: Uuid, record: &Datasource) -> Value {
    let secret = |option: &str| match state.catalog.serving(&record.driver) {
        // An option that the driver does not know may be a secret one misspelled.
        Some(generation) => generation.info.options.iter().find(|o| o.name == option).is_none_or(|o| o.secret),
        // Nobody can say which are: none is shown.
        None => true,
    };
    let shown = |(name, value): (&String, &Value)| {
        (name.clone(), if secret(name) { Value::from("<hidden>") } else { value.clone() })
    };
    json!({
        "id": id,
        "name": name,
        "driver": record.driver,
        "description": record.description,
        "type": null,
        "enabled": record.enabled,
        "config": record.options.iter().map(shown).collect::<Map<_, _>>(),
    })
}

pub(super) async fn datasources(Extract(state): Extract<State>) -> Json<Value> {
    let all = state.datasources.list();
    let all: Vec<Value> = all.iter().map(|(name, id, of, _)| record(&state, name, *id, of)).collect();
    Json(json!({"results": all}))
}

pub(super) async fn datasource(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let (name, id, of, _) = find(&state, &ds)?;
    Ok(Json(record(&state, &name, id, &of)))
}

type Found = (String, Uuid, Datasource, crate::datasource::Status);

fn find(state: &State, ds: &str) -> Result<Found, Error> {
    state.datasources.get(ds).ok_or_else(|| Error::not_found(format!("Datasource not found {ds}")))
}

fn view(state: &State, ds: &str, table: &str) -> Result<Arc<TableView>, Error> {
    let (name, ..) = find(state, ds)?;
    let address = Address::new(&name, table).map_err(|e| Error::bad_request(e.to_string()))?;
    let seen = state.bus.look(&address, None, &View::default()).map_err(|e| Error::bad_request(e.to_string()))?;
    seen.ok_or_else(|| Error::not_found(format!("Not Found::tablename '{table}' does not exist")))
}

pub(super) async fn status(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let (name, _, _, status) = find(&state, &ds)?;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "None".to_owned());
    let slots = state.bus.slots_of(&name);
    let subscribed = slots.iter().filter(|s| s.subscribers() > 0);
    let error = Some(status.error).filter(|e| !e.is_empty());
    Ok(Json(json!({
        "last_updated": or_none(status.last_poll.map(|t| t.to_string())),
        "last_error": or_none(error),
        "number_of_updates": status.polls.to_string(),
        "initialized": if status.polls > 0 { "True" } else { "False" },
        "subscriptions": [],
        "subscribers": subscribed.map(|s| s.address().table().to_owned()).collect::<Vec<_>>(),
    })))
}

pub(super) async fn actions(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let (_, _, record, _) = find(&state, &ds)?;
    let mut actions = state.catalog.serving(&record.driver).map(|g| g.info.actions.clone()).unwrap_or_default();
    actions.sort_by(|a, b| a.name.cmp(&b.name));
    let one = |action: &busway_plugin_api::ActionInfo| {
        let args: Vec<Value> =
            action.args.iter().map(|a| json!({"name": a.name, "description": described(&a.description)})).collect();
        json!({"name": action.name, "args": args, "description": described(&action.description)})
    };
    Ok(Json(json!({"results": actions.iter().map(one).collect::<Vec<_>>()})))
}

fn spec_of(view: &TableView) -> Value {
    table_info(&TableInfo {
        name: view.address.table().to_owned(),
        description: String::new(),
        key: Vec::new(),
        topic: None,
        columns: columns(&view.shape.schema),
    })
}

pub(super) async fn schema(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let (name, ..) = find(&state, &ds)?;
    let slots = state.bus.slots_of(&name);
    let tables: Vec<Value> = slots.iter().filter_map(|slot| slot.view()).map(|v| spec_of(&v)).collect();
    Ok(Json(json!({"tables": tables})))
}

pub(super) async fn tables(Extract(state): Extract<State>, Path(ds): Path<String>) -> Result<Json<Value>, Error> {
    let (name, ..) = find(&state, &ds)?;
    let slots = state.bus.slots_of(&name);
    let mine = slots.iter().filter(|slot| slot.is_there());
    Ok(Json(json!({"results": mine.map(|slot| json!({"id": slot.address().table()})).collect::<Vec<_>>()})))
}

pub(super) async fn table(
    Extract(state): Extract<State>,
    Path((ds, table)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    view(&state, &ds, &table).map(|v| Json(json!({"id": v.address.table()})))
}

pub(super) async fn spec(
    Extract(state): Extract<State>,
    Path((ds, table)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    view(&state, &ds, &table).map(|v| Json(spec_of(&v)))
}

/// Rows as lists of values; nulls and booleans as the predecessor's texts, other types than numbers as text.
pub(super) async fn rows(
    Extract(state): Extract<State>,
    Path((ds, table)): Path<(String, String)>,
) -> Result<Response, Error> {
    let view = view(&state, &ds, &table)?;
    let listed = tokio::task::spawn_blocking(move || lists(&view)).await.map_err(|e| Error::internal(&e))??;
    Ok(Json(json!({"results": listed})).into_response())
}

fn lists(view: &TableView) -> Result<Vec<Value>, Error> {
    let schema = view.shape.schema.fields();
    let rows = view.rows.to_batch().map_err(|e| Error::internal(&e))?;
    let objects: Vec<Map<String, Value>> =
        serde_json::from_str(rows_json([&rows]).map_err(|e| Error::internal(&e))?.get())
            .map_err(|e| Error::internal(&e))?;
    let options = FormatOptions::default();
    let formats = rows.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options));
    let formats: Vec<ArrayFormatter<'_>> = formats.collect::<Result<_, _>>().map_err(|e| Error::internal(&e))?;
    let value = |row: usize, column: usize, object: &Map<String, Value>| {
        let field = &schema[column];
        match object.get(field.name()) {
            None | Some(Value::Null) => Value::from("None"),
            Some(Value::Bool(true)) => Value::from("True"),
            Some(Value::Bool(false)) => Value::from("False"),
            Some(number @ Value::Number(_)) => number.clone(),
            Some(Value::String(text)) if matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8) => {
                Value::from(text.as_str())
            }
            Some(_) => Value::from(formats[column].value(row).to_string()),
        }
    };
    let row = |(row, object): (usize, &Map<String, Value>)| json!({"data": (0..schema.len()).map(|column| value(row, column, object)).collect::<Vec<_>>()});
    Ok(objects.iter().enumerate().map(row).collect())
}

#[derive(Deserialize)]
struct Execute {
    name: String,
    #[serde(default)]
    args: Args,
}

#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    positional: Vec<Value>,
    #[serde(default)]
    named: Map<String, Value>,
}

/// `?action=request-refresh` and `?action=execute`. Unlike the predecessor's, the answer to `execute` is its result.
pub(super) async fn act(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    Body(body): Body,
) -> Result<Json<Value>, Error> {
    match query.get("action").map(String::as_str) {
        Some("request-refresh") => {
            state.datasources.refresh(&ds)?;
            Ok(Json(Value::Null))
        }
        Some("execute") => {
            let request: Execute = serde_json::from_value(body).map_err(|e| {
                let form = "{'positional': [<args>], 'named': {<key>:<value>,}}";
                Error::bad_request(format!("Incorrect argument syntax. Requires: {form}: {e}"))
            })?;
            let Args { positional, named } = request.args;
            let request = ExecuteRequest { action: request.name, positional, named, request_id: None };
            let result = state.datasources.execute(&ds, request).await?;
            Ok(Json(json!({"result": result})))
        }
        Some(other) => Err(Error::new(StatusCode::NOT_IMPLEMENTED, format!("Method not supported: action {other:?}"))),
        None => Err(Error::bad_request("Missing required action parameter.")),
    }
}
