//! Which versions of the API there are: the one of the predecessor.

use super::error::Error;
use axum::Json;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The predecessor's own date: its clients show it.
const UPDATED: &str = "2013-08-12T17:42:13Z";

/// The one version, with where it is as the client that asks names this host.
fn v1(headers: &HeaderMap, uri: &Uri) -> Value {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(|authority| authority.as_str()).or(named);
    let href = authority.map_or_else(|| "/v1/".to_owned(), |authority| format!("http://{authority}/v1/"));
    json!({"id": "v1", "status": "CURRENT", "updated": UPDATED, "links": [{"rel": "self", "href": href}]})
}

pub(super) async fn all(headers: HeaderMap, uri: Uri) -> Json<Value> {
    Json(json!({"versions": [v1(&headers, &uri)]}))
}

pub(super) async fn current(headers: HeaderMap, uri: Uri) -> Json<Value> {
    Json(json!({"version": v1(&headers, &uri)}))
}

/// There is nothing at a path. Who asks for another version is told which there are.
pub(super) async fn no_path(headers: HeaderMap, uri: Uri) -> Response {
    let first = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let number = first.strip_prefix('v').filter(|number| number.starts_with(|c: char| c.is_ascii_digit()));
    if number.is_some() && first != "v1" {
        return (StatusCode::MULTIPLE_CHOICES, Json(json!({"choices": [v1(&headers, &uri)]}))).into_response();
    }
    Error::not_found(format!("The resource could not be found: there is nothing at {}", uri.path())).into_response()
}
