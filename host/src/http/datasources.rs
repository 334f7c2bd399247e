//! Datasources as operators make them: the predecessor's paths and bodies, and what it lacked beside them.

use super::State;
use super::error::{Body, Error};
use super::etag;
use super::extract::{Path, Query};
use super::predecessor::find;
use crate::datasource::{Change, Draft, Refusal, View, shown};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use busway_plugin_api::options::nearest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How a datasource is shown: the predecessor's seven keys, then ours. Secrets are hidden.
fn show(state: &State, view: &View) -> Map<String, Value> {
    let View { record, status } = view;
    let spec = &record.spec;
    let serving = state.catalog.serving(&spec.driver);
    let body = json!({
        "id": record.id,
        "name": record.name,
        "driver": spec.driver,
        "description": spec.description,
        "type": null,
        "enabled": spec.enabled,
        "config": shown(record, serving.as_ref().map(|generation| &generation.info.options[..])),
        "addresses": spec.addresses,
        "poll": humantime::format_duration(spec.poll).to_string(),
        "deadline": humantime::format_duration(spec.deadline).to_string(),
        "max_rows": spec.max_rows,
        "max_bytes": spec.max_bytes,
        "persist_data": spec.persist_data,
        "managed_by": record.managed_by.as_str(),
        "created": record.created.to_string(),
        "changed": record.changed.to_string(),
        "revision": record.revision,
        "etag": record.tag(),
        "fault": record.fault,
        "state": status.phase.as_str(),
        "error": Some(&status.error).filter(|error| !error.is_empty()),
    });
    match body {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Only these keys, joined by commas.
    fields: Option<String>,
}

impl Selection {
    fn of(&self, mut shown: Map<String, Value>) -> Result<Value, Error> {
        let Some(fields) = &self.fields else { return Ok(Value::Object(shown)) };
        let mut chosen = Map::new();
        for field in fields.split(',').map(str::trim) {
            let Some(value) = shown.get_mut(field).map(Value::take) else {
                let known = shown.keys().map(String::as_str);
                let near = nearest(field, known).map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
                return Err(Error::bad_request(format!("fields: a datasource has no {field:?}{near}")));
            };
            chosen.insert(field.to_owned(), value);
        }
        Ok(Value::Object(chosen))
    }
}

fn answer(status: StatusCode, view: &View, body: Value) -> Response {
    let location = format!("/v1/data-sources/{}", view.record.id);
    let tag = format!("\"{}\"", view.record.tag());
    let created = (status == StatusCode::CREATED).then_some([(LOCATION, location)]);
    match created {
        Some(location) => (status, [(ETAG, tag)], location, Json(body)).into_response(),
        None => (status, [(ETAG, tag)], Json(body)).into_response(),
    }
}

/// The datasource that is meant, and the revision that a change is for, if one is said. From then on it is known by its id:
/// another one of its name is not meant.
fn meant(state: &State, ds: &str, headers: &HeaderMap) -> Result<(String, Option<u64>), Error> {
    let Some(tags) = etag::expected(headers)? else { return Ok((ds.to_owned(), None)) };
    let record = find(state, ds)?.record;
    let mut revisions: Vec<u64> =
        tags.iter().filter(|tag| tag.id == record.short_id()).map(|tag| tag.revision).collect();
    // Of several the one that it is at, else the last.
    revisions.sort_by_key(|revision| (*revision == record.revision, *revision));
    let Some(revision) = revisions.pop() else { return Err(Refusal::DatasourceReplaced(record.name.clone()).into()) };
    Ok((record.id.to_string(), Some(revision)))
}

pub(super) async fn list(
    Extract(state): Extract<State>,
    Query(selection): Query<Selection>,
) -> Result<Json<Value>, Error> {
    let all = state.datasources.list();
    let all: Vec<Value> = all.iter().map(|view| selection.of(show(&state, view))).collect::<Result<_, _>>()?;
    Ok(Json(json!({"results": all})))
}

pub(super) async fn get(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    Query(selection): Query<Selection>,
) -> Result<Response, Error> {
    let view = find(&state, &ds)?;
    Ok(answer(StatusCode::OK, &view, selection.of(show(&state, &view))?))
}

pub(super) async fn create(Extract(state): Extract<State>, Body(body): Body) -> Result<Response, Error> {
    let view = state.datasources.create(Draft::read(&body)?).await?;
    Ok(answer(StatusCode::CREATED, &view, Value::Object(show(&state, &view))))
}

pub(super) async fn change(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Error> {
    let change = Change::read(&body)?;
    let (ds, expected) = meant(&state, &ds, &headers)?;
    let view = state.datasources.change(&ds, &change, expected).await?;
    Ok(answer(StatusCode::OK, &view, Value::Object(show(&state, &view))))
}

pub(super) async fn remove(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Error> {
    let (ds, expected) = meant(&state, &ds, &headers)?;
    state.datasources.remove(&ds, expected).await?;
    Ok(Json(Value::Null))
}

/// Those whose driver is gone: what `POST …/prune` would remove.
pub(super) async fn orphans(Extract(state): Extract<State>) -> Result<Json<Value>, Error> {
    let orphans = state.datasources.orphans()?;
    Ok(Json(json!({"results": orphans.iter().map(|view| show(&state, view)).collect::<Vec<_>>()})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    names: Vec<String>,
}

/// Removes the named ones whose driver is gone.
pub(super) async fn prune(Extract(state): Extract<State>, Body(body): Body) -> Result<Json<Value>, Error> {
    let Names { names } = serde_json::from_value(body).map_err(|e| {
        Error::bad_request(format!("the body is {{\"names\": [NAME, …]}}, as GET there lists them: {e}"))
    })?;
    let unknown = names.iter().find(|name| state.datasources.get(name).is_none());
    if let Some(name) = unknown {
        return Err(Refusal::DatasourceNotFound(name.clone()).into());
    }
    Ok(Json(json!({"removed": state.datasources.prune(&names).await?})))
}
