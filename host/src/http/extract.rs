//! What is read of a request before its handler: a part that can't be read is refused in the API's own form.

use super::error::Error;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path as AxumPath};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The named parts of a path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let read = AxumPath::<T>::from_request_parts(parts, state).await;
        read.map(|AxumPath(read)| Self(read)).map_err(refused)
    }
}

fn refused(rejection: PathRejection) -> Error {
    let bad = |why: String| Error::bad_request(format!("the path can't be read: {why}"));
    let error = match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.into_kind() {
            ErrorKind::InvalidUtf8InPathParam { key } => bad(format!("its part {key:?} is no UTF-8")),
            other => bad(other.to_string()),
        },
        // A route without the parts that its handler reads: the host's own fault.
        other => return Error::new(StatusCode::INTERNAL_SERVER_ERROR, other.body_text()),
    };
    error.with(json!({"kind": "BadPath"}))
}

/// The parameters of a query, each of which is known and stands once.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// Why a query was not read.
pub(super) fn bad_query(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("the query can't be read: {why}")).with(json!({"kind": "BadQuery"}))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        serde_urlencoded::from_str(parts.uri.query().unwrap_or_default()).map(Self).map_err(bad_query)
    }
}
