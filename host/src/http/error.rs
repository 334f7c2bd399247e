//! Errors as the predecessor's clients know them: `{"error": {"message", "error_code", "error_data"}}`.

use super::json::Unique;
use crate::datasource::{ActionError, Refusal};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::RETRY_AFTER;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    status: StatusCode,
    message: String,
    data: Value,
    /// The predecessor's number for it, where that is not the status.
    code: Option<u16>,
    /// So many seconds later it may be tried again.
    retry_after: Option<u64>,
}

impl Error {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), data: json!({"kind": kind_of(status)}), code: None, retry_after: None }
    }

    /// With something for programs: a kind of its own, or more about it.
    pub(super) fn with(mut self, data: Value) -> Self {
        match (&mut self.data, data) {
            (Value::Object(known), Value::Object(more)) => known.extend(more),
            (known, data) => *known = data,
        }
        self
    }

    /// With a number of the predecessor's.
    pub(super) fn code(self, code: u16) -> Self {
        Self { code: Some(code), ..self }
    }

    /// With a time after which it may be tried again.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same, of a part of what was sent.
    pub(super) fn of(self, part: &str) -> Self {
        Self { message: format!("{part}: {}", self.message), ..self }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

/// The kind of an error that has none of its own.
fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "TooLarge",
        StatusCode::NOT_IMPLEMENTED => "NotImplemented",
        StatusCode::SERVICE_UNAVAILABLE => "Unavailable",
        _ => "Failed",
    }
}

impl From<ActionError> for Error {
    fn from(error: ActionError) -> Self {
        let (status, kind) = match &error {
            ActionError::NotFound(_) => (StatusCode::NOT_FOUND, "DatasourceNotFound"),
            ActionError::NotOpen { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_open"),
            ActionError::Standby(_) => (StatusCode::SERVICE_UNAVAILABLE, "standby"),
            ActionError::RequestId(_) => (StatusCode::CONFLICT, "request_id_used"),
            ActionError::Lost => (StatusCode::INTERNAL_SERVER_ERROR, "lost"),
            // It is about to be over; or the disk is full, which an operator ends.
            ActionError::Failed(fault)
                if ["standby", "busy", "cancelled", "not_kept"].contains(&fault.kind.as_str()) =>
            {
                (StatusCode::SERVICE_UNAVAILABLE, fault.kind.as_str())
            }
            ActionError::Failed(fault) if fault.kind == "poll_failed" => (StatusCode::BAD_GATEWAY, "poll_failed"),
            ActionError::Failed(fault) if fault.kind == "timed_out" => (StatusCode::GATEWAY_TIMEOUT, "timed_out"),
            ActionError::Failed(fault) => (StatusCode::BAD_REQUEST, fault.kind.as_str()),
        };
        let data = json!({"kind": kind});
        Self::new(status, error.to_string()).with(data)
    }
}

impl From<Refusal> for Error {
    fn from(error: Refusal) -> Self {
        let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.to_string()).with(error.data())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let code = self.code.unwrap_or(self.status.as_u16());
        let body = json!({"error": {"message": self.message, "error_code": code, "error_data": self.data}});
        let mut answer = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        answer
    }
}

/// A JSON body, whatever its content type is said to be; none is null. The predecessor refused all but
/// `application/json`, which keeps nobody out who may write here: web pages, which alone can't say that type, are kept out
/// by their origin, and where writes need no token by their type as well.
#[derive(Debug)]
pub(super) struct Body(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|e| unread(&e, MOST_BYTES, ", which is the most that is read here"))?;
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        let Unique(body) = parsed(&bytes, "Failed to parse body as application/json")?;
        Ok(Self(body))
    }
}

/// So large a body may be, where nothing else is said.
pub(super) const MOST_BYTES: usize = 2 << 20;

/// A body as JSON, in none of whose objects a key stands twice. `form`: what it should have been.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8], form: &str) -> Result<T, Error> {
    let read = serde_json::from_slice(body);
    read.map_err(|e| Error::bad_request(format!("{form}: {e}")).with(json!({"kind": "BadBody"})))
}

/// Why a body did not come. `most`: so large it may be; `remedy`: what is said of a larger one.
pub(super) fn unread(rejection: &BytesRejection, most: usize, remedy: &str) -> Error {
    match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            Error::new(status, format!("the body is larger than {} MiB{remedy}", most >> 20))
        }
        status => Error::new(status, format!("the body can't be read: {}", rejection.body_text()))
            .with(json!({"kind": "BadBody"})),
    }
}

/// The methods that some path has.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// A path that has other methods, which the answer lists. The predecessor says 501 to all of these, which is for methods
/// that no path has; its clients never see either.
pub(super) async fn no_method(method: Method, uri: Uri) -> Error {
    let status = match METHODS.contains(&method) {
        true => StatusCode::METHOD_NOT_ALLOWED,
        false => StatusCode::NOT_IMPLEMENTED,
    };
    Error::new(status, format!("Method not supported: {method} at {}", uri.path()))
}
