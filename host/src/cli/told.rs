//! A host for tests that answers what it was told to, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::address::HostAddress;
use super::client::Client;

/// What it answers to `METHOD PATH`, and what it was asked: method and path, the revision, the body.
#[derive(Default)]
struct Talk {
    answers: BTreeMap<String, (u16, Value)>,
    asked: Mutex<Vec<(String, Option<String>, Value)>>,
}

/// A host that answers what it was told to.
pub(crate) struct ToldHost {
    folder: TempDir,
    talk: Arc<Talk>,
}

impl ToldHost {
    /// Answers each `METHOD PATH` with that.
    pub(crate) fn start(answers: Vec<(&str, Value)>) -> Self {
        Self::refusing(answers, Vec::new())
    }

    /// Answers some as errors: status, message, data.
    pub(crate) fn refusing(good: Vec<(&str, Value)>, bad: Vec<(&str, u16, &str, Value)>) -> Self {
        let mut talk = Talk::default();
        talk.answers.extend(good.into_iter().map(|(request, answer)| (request.to_owned(), (200, answer))));
        for (request, status, message, data) in bad {
            let error = json!({"error": {"message": message, "error_code": status, "error_data": data}});
            talk.answers.insert(request.to_owned(), (status, error));
        }
        let host = Self { folder: tempfile::tempdir().unwrap(), talk: Arc::new(talk) };
        let listener = UnixListener::bind(host.folder.path().join("socket")).unwrap();
        let router = Router::new().fallback(answer).with_state(host.talk.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        host
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(HostAddress::Socket(self.folder.path().join("socket")))
    }

    /// What it was asked to do: reads left out.
    pub(crate) fn told(&self) -> Vec<(String, Value)> {
        let asked = self.talk.asked.lock().unwrap();
        let writes = asked.iter().filter(|(request, ..)| !request.starts_with("GET "));
        writes.map(|(request, _, body)| (request.clone(), body.clone())).collect()
    }

    /// The revision of the last request.
    pub(crate) fn revision(&self) -> Option<String> {
        self.talk.asked.lock().unwrap().last().and_then(|(_, revision, _)| revision.clone())
    }
}

async fn answer(State(talk): State<Arc<Talk>>, request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    let name = format!("{} {path}", request.method());
    let revision = request.headers().get("if-match").map(|revision| revision.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_else(|_| Bytes::new());
    let body = serde_json::from_slice(&body).unwrap_or_default();
    talk.asked.lock().unwrap().push((name.clone(), revision, body));
    let nothing = (404, json!({"error": {"message": format!("nothing at {name}"), "error_code": 404}}));
    let (status, body) = talk.answers.get(&name).cloned().unwrap_or(nothing);
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}
