//! What can be wrong with a request about events.

use super::consumer::MOST_UNCONFIRMED;
use crate::event::{BadFilter, BadPlace, BadTopics, EventError, MAX_PAGE, Place, PublishError, SharedError};
use crate::http::error::Error;
use axum::http::StatusCode;
use busway_plugin_api::options::nearest;
use serde_json::json;

/// Why events were not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum Fault {
    #[error("there is no parameter {name:?}: {}", meant(name, known))]
    Unknown { name: String, known: &'static [&'static str] },
    #[error("{0} is given twice: give it once")]
    Twice(&'static str),
    #[error("a pattern says itself which types and origins: leave type, family and origin out, or pattern")]
    PatternAndMore,
    #[error("a family is a type and all that are of it: give family or type")]
    TypeAndFamily,
    #[error(transparent)]
    Topics(#[from] BadTopics),
    #[error(transparent)]
    Filter(#[from] BadFilter),
    #[error("{0:?} is no time: write 2026-01-31T12:00:00Z, or how long ago, such as 10m")]
    Since(String),
    #[error(transparent)]
    Place(#[from] BadPlace),
    #[error("there is nothing at {place} yet: the last event is at {last}")]
    Ahead { place: Place, last: Place },
    #[error(
        "{0} is a place of a run of the host that is over, and positions began anew: begin again without it, with since for \
         what is later than a time"
    )]
    OtherRun(Place),
    #[error("limit is a whole number from 1 to {MAX_PAGE}, not {0:?}")]
    Limit(String),
    #[error("{name} is true or false, not {value:?}")]
    Flag { name: &'static str, value: String },
    #[error("{0:?} is no place in the archive: give the \"next\" of an answer, as it is")]
    Archived(String),
    #[error("events are not kept over restarts here: set events.durable in the configuration")]
    NoArchive,
    #[error("the archive is read forwards only: leave before out, or archived")]
    BeforeAndArchived,
    #[error("confirm is for those who share a queue: name one with queue, or leave it out")]
    ConfirmAndNoQueue,
    #[error(
        "confirm is how many events may be on their way unconfirmed, a whole number from 1 to {MOST_UNCONFIRMED}, not {0:?}"
    )]
    Confirm(String),
    #[error(
        "there is no such consumer: its stream has ended, and others get what it has not confirmed; the id is in the event \
         consumer with which a stream begins that is asked for with confirm"
    )]
    NoConsumer,
    #[error("{0} streams of events are open here, and there may be no more: end one, or try again later")]
    Streams(usize),
    #[error("{0:?} can't be the name of a queue: it has 1 to 100 letters, digits, or characters of - _ . and /")]
    Queue(String),
    #[error("those who share a queue share its place, too: leave after and Last-Event-ID out, or queue")]
    QueueAndAfter,
}

fn meant(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("there are {}", known.join(", ")),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let (status, kind) = match &fault {
            Fault::Topics(BadTopics::NoType { .. }) => (StatusCode::NOT_FOUND, "EventTypeNotFound"),
            Fault::Topics(_) => (StatusCode::BAD_REQUEST, "BadTopics"),
            Fault::Filter(_) => (StatusCode::BAD_REQUEST, "BadFilter"),
            Fault::NoArchive => (StatusCode::NOT_FOUND, "NoArchive"),
            Fault::NoConsumer => (StatusCode::NOT_FOUND, "ConsumerNotFound"),
            Fault::Streams(_) => (StatusCode::SERVICE_UNAVAILABLE, "TooManyStreams"),
            Fault::OtherRun(_) => (StatusCode::GONE, "PlaceExpired"),
            _ => (StatusCode::BAD_REQUEST, "BadParameter"),
        };
        Self::new(status, fault.to_string()).with(json!({"kind": kind}))
    }
}

impl From<SharedError> for Error {
    fn from(error: SharedError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).with(json!({"kind": "TooManyQueues"}))
    }
}

impl From<EventError> for Error {
    fn from(error: EventError) -> Self {
        let (status, kind) = match &error {
            EventError::NoType { .. } => (StatusCode::NOT_FOUND, "EventTypeNotFound"),
            EventError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge"),
            EventError::Ambiguous { .. } => (StatusCode::BAD_REQUEST, "AmbiguousType"),
            EventError::NotPublished { .. } => (StatusCode::BAD_REQUEST, "NotPublished"),
            EventError::Field { .. } | EventError::Both(_) => (StatusCode::BAD_REQUEST, "BadField"),
            EventError::NotTheHost { .. } => (StatusCode::FORBIDDEN, "NotTheHost"),
            EventError::OtherBus { .. } => (StatusCode::FORBIDDEN, "OtherBus"),
            EventError::Origin(_) => (StatusCode::BAD_REQUEST, "BadOrigin"),
            _ => (StatusCode::BAD_REQUEST, "BadEvent"),
        };
        Self::new(status, error.to_string()).with(json!({"kind": kind}))
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match &error {
            PublishError::Event(event) => event.clone().into(),
            PublishError::NobodyListens { .. } => {
                Self::new(StatusCode::CONFLICT, error.to_string()).with(json!({"kind": "NobodyListens"}))
            }
            PublishError::RateLimited { wait, .. } => {
                let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
                let data = json!({"kind": "RateLimited", "retry_after_ms": milliseconds});
                let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).with(data);
                refused.retry_after(milliseconds.div_ceil(1000))
            }
        }
    }
}
