//! All records of datasources as one file.

use super::State;
use super::error::Error;
use crate::datasource::store::BackupError;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Asked as a read, guarded as a write.
pub(super) const PATH: &str = "/v1/backup";

/// A backup as it is now: what `busway restore` reads. Options are sealed in it, and the key is not.
pub(super) async fn get(Extract(state): Extract<State>) -> Result<Response, Error> {
    // Only its owner sees into it.
    let folder = tempfile::tempdir().map_err(|e| unavailable(&e))?;
    let file = folder.path().join("backup");
    state.datasources.backup(&file).await?;
    let read = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(&file);
        drop(folder);
        bytes
    });
    let bytes = read.await.map_err(|e| Error::internal(&e))?.map_err(|e| unavailable(&e))?;
    Ok(([(CONTENT_TYPE, "application/vnd.sqlite3")], bytes).into_response())
}

fn unavailable(error: &dyn std::fmt::Display) -> Error {
    Error::new(StatusCode::SERVICE_UNAVAILABLE, format!("no backup was made: {error}"))
        .with(json!({"kind": "BackupFailed"}))
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => unavailable(&error),
            other => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, other.to_string()).with(json!({"kind": "BackupFailed"}))
            }
        }
    }
}
