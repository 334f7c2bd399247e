//! Calls of services and nodes.

use super::State;
use super::error::{Body, Error};
use super::extract::{Path, Query};
use crate::bus::{CallError, Target};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Nobody waits for an answer any longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// How a call is to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    deadline: Option<String>,
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        let (status, data) = match &error {
            CallError::NotFound { there, .. } => (StatusCode::NOT_FOUND, json!({"kind": "not_found", "there": there})),
            CallError::UnknownMethod { methods, .. } => {
                (StatusCode::NOT_FOUND, json!({"kind": "unknown_method", "methods": methods}))
            }
            CallError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, json!({"kind": "timed_out"})),
            CallError::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, json!({"kind": "busy"})),
            CallError::Stopped { .. } => (StatusCode::SERVICE_UNAVAILABLE, json!({"kind": "stopped"})),
            CallError::Unreachable { .. } => (StatusCode::SERVICE_UNAVAILABLE, json!({"kind": "unreachable"})),
            CallError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, json!({"kind": "too_large"})),
            CallError::Failed(fault) => {
                let status = match fault.kind.as_str() {
                    "unreachable" => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::UNPROCESSABLE_ENTITY,
                };
                (status, json!({"kind": fault.kind, "data": fault.data}))
            }
        };
        Self::new(status, error.to_string()).with(data)
    }
}

/// What a call answered.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    result: Value,
}

/// The service of that name.
pub(super) async fn service(
    Extract(state): Extract<State>,
    Path((service, method)): Path<(String, String)>,
    Query(how): Query<How>,
    Body(args): Body,
) -> Result<Json<Answer>, Error> {
    call(&state, Target::Service(service), &method, how, args).await
}

/// Any one service that listens on the address.
pub(super) async fn any(
    Extract(state): Extract<State>,
    Path((address, method)): Path<(String, String)>,
    Query(how): Query<How>,
    Body(args): Body,
) -> Result<Json<Answer>, Error> {
    call(&state, Target::Any(address), &method, how, args).await
}

/// A node itself.
pub(super) async fn node(
    Extract(state): Extract<State>,
    Path((node, method)): Path<(String, String)>,
    Query(how): Query<How>,
    Body(args): Body,
) -> Result<Json<Answer>, Error> {
    call(&state, Target::Node(node), &method, how, args).await
}

/// The client waits as long as the callee may work; when it goes, so does the call.
async fn call(
    state: &State,
    target: Target,
    method: &str,
    How { deadline }: How,
    args: Value,
) -> Result<Json<Answer>, Error> {
    // Arguments are named ones: none is an object without any.
    let args = if args.is_null() { json!({}) } else { args };
    let request = state.bus.call(target, method, args);
    let request = match deadline {
        None => request,
        Some(text) => request.deadline(duration(&text)?),
    };
    Ok(Json(Answer { result: request.await? }))
}

/// `5s`, `1m 30s`, or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, Error> {
    let seconds = || text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let read = seconds().or_else(|| humantime::parse_duration(text).ok());
    read.filter(|deadline| !deadline.is_zero() && *deadline <= LONGEST).ok_or_else(|| {
        Error::bad_request(format!("{text:?} is no deadline: write 5s, 500ms or 1m 30s, an hour at most"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Fault;
    use axum::response::IntoResponse;

    #[test]
    fn every_way_to_fail_has_its_status() {
        let (what, method) = ("service \"a\"".to_owned(), "b".to_owned());
        let node = "n".to_owned();
        for (error, status) in [
            (CallError::NotFound { what: what.clone(), there: Vec::new() }, 404),
            (CallError::UnknownMethod { what: what.clone(), method: method.clone(), methods: Vec::new() }, 404),
            (CallError::TimedOut { what: what.clone(), method: method.clone(), deadline: "5s".to_owned() }, 504),
            (CallError::Busy { what: what.clone(), calls: 3 }, 429),
            (CallError::Stopped { service: "a".to_owned() }, 503),
            (CallError::Unreachable { what, method, node }, 503),
            (CallError::TooLarge { bytes: 3, most: 2 }, 413),
            (CallError::Failed(Fault::new("unreachable", "gone")), 503),
            (CallError::Failed(Fault::new("full", "no")), 422),
        ] {
            assert_eq!(Error::from(error.clone()).into_response().status().as_u16(), status, "{error:?}");
        }
    }
}
