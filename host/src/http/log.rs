//! What is logged, while the host runs: its own records, and what crosses from drivers.

use super::State;
use super::error::Error;
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
pub(super) async fn put(
    Extract(state): Extract<State>,
    Json(Filter { filter }): Json<Filter>,
) -> Result<Json<Value>, Error> {
    let targets = logging::parse_filter(&filter).map_err(Error::bad_request)?;
    logging::change(targets).map_err(Error::bad_request)?;
    state.catalog.set_log_filter(&filter).await.map_err(Error::bad_request)?;
    Ok(Json(json!({"filter": filter})))
}
