//! What is logged, while the host runs: its own records, and what crosses from drivers.

use super::State;
use super::error::{Body, Error};
use crate::logging;
use axum::Json;
use axum::extract::State as Extract;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    filter: String,
}

pub(super) async fn get(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({"filter": state.catalog.log_filter()}))
}

/// `{"filter": "info,my_driver=debug"}`.
pub(super) async fn put(Extract(state): Extract<State>, Body(body): Body) -> Result<Json<Value>, Error> {
    let read = serde_json::from_value(body);
    let Filter { filter } = read.map_err(|e| Error::bad_request(format!("the body is {{\"filter\": …}}: {e}")))?;
    let targets = logging::parse_filter(&filter).map_err(Error::bad_request)?;
    logging::change(targets).map_err(Error::bad_request)?;
    state.catalog.set_log_filter(&filter).await.map_err(Error::bad_request)?;
    Ok(Json(json!({"filter": filter})))
}
