//! Datasources as operators make them: the predecessor's paths and bodies, and what it lacked beside them.

use super::State;
use super::error::{Body, Error};
use super::predecessor::find;
use crate::datasource::{Change, Draft, Refusal, View, shown};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Extract};
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
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

/// The revision is the entity's tag.
fn answer(status: StatusCode, view: &View, body: Value) -> Response {
    let location = format!("/v1/data-sources/{}", view.record.id);
    let tag = format!("\"{}\"", view.record.revision);
    let created = (status == StatusCode::CREATED).then_some([(LOCATION, location)]);
    match created {
        Some(location) => (status, [(ETAG, tag)], location, Json(body)).into_response(),
        None => (status, [(ETAG, tag)], Json(body)).into_response(),
    }
}

/// The revision that a change is for, if it says one: `If-Match: "3"`.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let Some(tag) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = tag.to_str().unwrap_or_default();
    if text.trim() == "*" {
        return Ok(None);
    }
    let revision = text.trim().trim_matches('"').parse();
    revision.map(Some).map_err(|_| {
        Error::bad_request(format!(
            "If-Match: {text} is no revision of a datasource, which is as in \"ETag: \\\"3\\\"\""
        ))
    })
}

type Given = Result<Query<Selection>, QueryRejection>;

fn selection(given: Given) -> Result<Selection, Error> {
    let Query(selection) = given.map_err(|e| Error::bad_request(e.body_text()))?;
    Ok(selection)
}

pub(super) async fn list(Extract(state): Extract<State>, given: Given) -> Result<Json<Value>, Error> {
    let selection = selection(given)?;
    let all = state.datasources.list();
    let all: Vec<Value> = all.iter().map(|view| selection.of(show(&state, view))).collect::<Result<_, _>>()?;
    Ok(Json(json!({"results": all})))
}

pub(super) async fn get(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    given: Given,
) -> Result<Response, Error> {
    let selection = selection(given)?;
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
    let (expected, change) = (expected(&headers)?, Change::read(&body)?);
    let view = state.datasources.change(&ds, &change, expected).await?;
    Ok(answer(StatusCode::OK, &view, Value::Object(show(&state, &view))))
}

pub(super) async fn remove(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Error> {
    state.datasources.remove(&ds, expected(&headers)?).await?;
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
