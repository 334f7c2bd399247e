//! Sessions that collect events for those who ask from time to time.

use super::State;
use super::error::{Body, Error};
use super::events::Fault;
use super::extract::{Path, Query};
use super::json::written;
use crate::event::{Events, Monitor, MonitorError, Topics};
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

impl From<MonitorError> for Error {
    fn from(error: MonitorError) -> Self {
        let (status, kind) = match &error {
            MonitorError::BadName(_) => (StatusCode::BAD_REQUEST, "BadSession"),
            MonitorError::Sessions(_) | MonitorError::Subscriptions { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManySessions")
            }
            MonitorError::NoSession(_) => (StatusCode::NOT_FOUND, "SessionNotFound"),
            MonitorError::NoSubscription { .. } => (StatusCode::NOT_FOUND, "SubscriptionNotFound"),
        };
        Self::new(status, error.to_string()).with(json!({"kind": kind}))
    }
}

/// What a session is to collect: all of it may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    #[serde(rename = "type")]
    of: Option<String>,
    origin: Option<String>,
    pattern: Option<String>,
}

/// Collects from now on.
pub(super) async fn subscribe(
    Extract(state): Extract<State>,
    Path(session): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, Error> {
    let form =
        "the body is {\"type\": TYPE, \"origin\": ORIGIN}, either of which may be missing, or {\"pattern\": PATTERN}";
    let wish: Option<Wish> =
        serde_json::from_value(body).map_err(|error| Error::bad_request(format!("{form}: {error}")))?;
    let wish = wish.unwrap_or_default();
    let catalogue = state.happenings.events.catalogue();
    let topics = match (&wish.pattern, &wish.of, &wish.origin) {
        (Some(pattern), None, None) => Topics::matching(catalogue, pattern),
        (None, of, origin) => Topics::new(catalogue, of.as_deref(), origin.as_deref()),
        _ => return Err(Error::bad_request(form)),
    };
    let topics = topics.map_err(Fault::from)?;
    let id = state.happenings.monitor.subscribe(&session, topics.clone())?;
    Ok(Json(json!({"session": session, "subscription": id, "topics": topics.as_str()})))
}

/// Since when, and of which subscription.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Since {
    since: Option<Timestamp>,
    subscription: Option<String>,
}

/// What it collected since it was asked last, or since a time.
pub(super) async fn get(
    Extract(state): Extract<State>,
    Path(session): Path<String>,
    Query(since): Query<Since>,
) -> Result<Response, Error> {
    collected(state.happenings.events, state.happenings.monitor, session, since).await
}

async fn collected(events: Events, monitor: Monitor, session: String, since: Since) -> Result<Response, Error> {
    written(move || {
        let Since { since, subscription } = since;
        let only: Vec<String> = subscription.into_iter().collect();
        let collected = monitor.get(&session, since, &only).into_iter().map(|one| {
            let told: Vec<Value> = one.events.iter().map(|told| events.to_json(told)).collect();
            json!({"subscription": one.id, "topics": one.topics, "lost": one.lost, "events": told})
        });
        Ok(json!({"session": session, "results": collected.collect::<Vec<_>>()}))
    })
    .await
}

/// Ends a session.
pub(super) async fn end(Extract(state): Extract<State>, Path(session): Path<String>) -> Result<StatusCode, Error> {
    state.happenings.monitor.unsubscribe(&session, None)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one of its subscriptions.
pub(super) async fn unsubscribe(
    Extract(state): Extract<State>,
    Path((session, subscription)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    state.happenings.monitor.unsubscribe(&session, Some(&subscription))?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{How, SessionLimits};
    use std::future::Future as _;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    /// The one thread for such work is taken: an answer that came all the same would hold up who serves.
    #[test]
    fn what_was_collected_is_written_where_nobody_waits() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let events = Events::default();
            let monitor = Monitor::new(&events, SessionLimits::default());
            monitor.subscribe("me", Topics::all()).unwrap();
            let how = How { origin: Some("o"), ..How::default() };
            events.publisher("p").create_and_publish("ScheduleEvent", serde_json::Map::new(), how).unwrap();
            let (open, gate) = mpsc::channel::<()>();
            let taken = tokio::task::spawn_blocking(move || gate.recv());
            let mut answer = Box::pin(collected(events, monitor, "me".to_owned(), Since::default()));
            assert!(matches!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
            drop(open);
            assert!(taken.await.unwrap().is_err());
            let body = axum::body::to_bytes(answer.await.unwrap().into_body(), usize::MAX).await.unwrap();
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read["results"][0]["events"][0]["type"], "busway.ScheduleEvent");
        });
    }
}
