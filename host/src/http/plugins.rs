//! Plugins: to reload them, to go back, and to ask what happened and why.

use super::State;
use super::error::{Body, Error};
use super::extract::{Path, Query};
use crate::plugin::{Answer, FileView, OrderError};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

impl From<OrderError> for Error {
    fn from(error: OrderError) -> Self {
        let (status, kind) = match &error {
            OrderError::NoDriver(_) => (StatusCode::NOT_FOUND, "DriverNotFound"),
            OrderError::NotQuarantined(_) => (StatusCode::NOT_FOUND, "NotQuarantined"),
            OrderError::NoCopy { .. } => (StatusCode::CONFLICT, "NoCopy"),
            OrderError::Ambiguous(_) => (StatusCode::CONFLICT, "Ambiguous"),
            OrderError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        Self::new(status, error.to_string()).with(json!({"kind": kind}))
    }
}

fn shown(file: &FileView) -> Value {
    json!({
        "file": file.path, "driver": file.driver, "version": file.version, "state": file.state.as_str(),
        "reason": file.reason, "sha256": file.sha256,
    })
}

fn show(answer: &Answer) -> Value {
    let troubles: Vec<Value> = answer.troubles.iter().map(shown).collect();
    let serving: Vec<Value> = answer.serving.iter().map(shown).collect();
    json!({"good": answer.is_good(), "reports": answer.reports, "troubles": troubles, "serving": serving})
}

/// What a reload may be told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    driver: Option<String>,
    accept_errors: bool,
}

/// Answers when it is over.
pub(super) async fn reload(Extract(state): Extract<State>, Body(body): Body) -> Result<Json<Value>, Error> {
    let wish: Option<Wish> = serde_json::from_value(body).map_err(|e| Error::bad_request(format!("the body: {e}")))?;
    let wish = wish.unwrap_or_default();
    Ok(Json(show(&state.plugins.reload(wish.driver.as_deref(), wish.accept_errors).await?)))
}

/// Answers when it is over.
pub(super) async fn rollback(Extract(state): Extract<State>, Path(driver): Path<String>) -> Result<Json<Value>, Error> {
    Ok(Json(show(&state.plugins.rollback(&driver).await?)))
}

pub(super) async fn explain(Extract(state): Extract<State>, Path(driver): Path<String>) -> Result<Json<Value>, Error> {
    let said = state.plugins.explain(&driver).await?;
    Ok(Json(json!({"driver": driver, "explanation": said})))
}

/// Which part of the history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    driver: Option<String>,
    limit: Option<usize>,
}

/// The latest last.
pub(super) async fn history(Extract(state): Extract<State>, Query(part): Query<Part>) -> Result<Json<Value>, Error> {
    let plugins = state.plugins.clone();
    let read = tokio::task::spawn_blocking(move || plugins.history(part.driver.as_deref()));
    let mut entries = read.await.map_err(|e| Error::internal(&e))?;
    let surplus = entries.len().saturating_sub(part.limit.unwrap_or(usize::MAX));
    entries.drain(..surplus);
    Ok(Json(json!({"results": entries})))
}

pub(super) async fn quarantine(Extract(state): Extract<State>) -> Result<Json<Value>, Error> {
    let all = state.plugins.quarantine().await?;
    let one = |(sha256, why)| {
        let mut shown = serde_json::to_value(&why).unwrap_or_default();
        shown["sha256"] = json!(sha256);
        shown
    };
    Ok(Json(json!({"results": all.into_iter().map(one).collect::<Vec<_>>()})))
}

pub(super) async fn release(Extract(state): Extract<State>, Path(sha256): Path<String>) -> Result<Json<Value>, Error> {
    let released = state.plugins.release(&sha256).await?;
    Ok(Json(serde_json::to_value(released).unwrap_or_default()))
}
