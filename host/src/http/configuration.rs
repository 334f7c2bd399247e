//! The configuration file's datasources: what the file says otherwise than the records, and to follow it.

use super::State;
use super::error::Error;
use crate::config::{Config, ConfigError};
use crate::datasource::Difference;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// What is different, as JSON.
fn show(differences: &[Difference]) -> Value {
    let one = |difference: &Difference| {
        let mut shown = json!({"name": difference.name(), "change": difference.as_str()});
        if let Difference::Changed { keys, .. } = difference {
            shown["keys"] = json!(keys);
        }
        shown
    };
    json!({"results": differences.iter().map(one).collect::<Vec<_>>()})
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::bad_request(error.to_string()).with(json!({"kind": "BadConfig"}))
    }
}

/// The file as it is now.
async fn read(file: Option<&Arc<PathBuf>>) -> Result<Config, Error> {
    let Some(file) = file.cloned() else {
        let text = "this host was started without a configuration file: there is none to read again";
        return Err(Error::new(StatusCode::CONFLICT, text).with(json!({"kind": "NoConfigurationFile"})));
    };
    let read = tokio::task::spawn_blocking(move || {
        let config = Config::read(&file)?;
        config.check()?;
        Ok::<_, ConfigError>(config)
    });
    Ok(read.await.map_err(|e| Error::internal(&e))??)
}

pub(super) async fn diff(Extract(state): Extract<State>) -> Result<Json<Value>, Error> {
    let config = read(state.file.as_ref()).await?;
    Ok(Json(show(&state.datasources.compare(&config.datasource))))
}

/// Follows the file; what it says of anything but datasources and types of events holds from the next start on.
pub(super) async fn reload(Extract(state): Extract<State>) -> Result<Json<Value>, Error> {
    let config = read(state.file.as_ref()).await?;
    config.events.bring(&state.happenings.events)?;
    Ok(Json(show(&state.datasources.follow_file(&config.datasource).await?)))
}
