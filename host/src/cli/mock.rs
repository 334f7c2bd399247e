//! A host for tests: tables as they are put in, streams that say what they are told to.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use super::address::HostAddress;
use super::table_name::TableName;

type Said = (TableName, &'static str, Value);

/// What the mock serves.
pub(crate) struct Tables {
    tables: Mutex<BTreeMap<TableName, Value>>,
    said: Mutex<Option<broadcast::Sender<Said>>>,
}

/// A host that serves what it was given.
pub(crate) struct MockHost {
    folder: TempDir,
    tables: Arc<Tables>,
    tasks: Vec<JoinHandle<()>>,
}

impl MockHost {
    /// A host with a table `files/orders`, a few of `system`, and its own.
    pub(crate) async fn start() -> Self {
        let tables = Tables { tables: Mutex::default(), said: Mutex::default() };
        let folder = tempfile::tempdir().unwrap();
        let mut host = Self { folder, tables: Arc::new(tables), tasks: Vec::new() };
        for value in given() {
            host.put(value);
        }
        host.restart().await;
        host
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> HostAddress {
        HostAddress::Socket(self.path())
    }

    /// Another address of it.
    pub(crate) async fn tcp(&self) -> HostAddress {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        HostAddress::Tcp(address.to_string())
    }

    /// Adds a table, or replaces one. Streams hear nothing of it.
    pub(crate) fn put(&self, snapshot: Value) {
        let name = TableName::new(snapshot["service"].as_str().unwrap(), snapshot["table"].as_str().unwrap());
        self.tables.tables.lock().unwrap().insert(name, snapshot);
    }

    /// Says that on every stream of that table.
    pub(crate) fn send(&self, name: &TableName, event: &'static str, data: &Value) {
        let said = self.tables.said.lock().unwrap();
        said.as_ref().unwrap().send((name.clone(), event, data.clone())).unwrap();
    }

    /// Ends every connection and listens no more.
    pub(crate) async fn stop(&mut self) {
        *self.tables.said.lock().unwrap() = None;
        for task in self.tasks.drain(..) {
            task.abort();
            task.await.unwrap_err();
        }
        std::fs::remove_file(self.path()).unwrap();
    }

    /// Listens again.
    pub(crate) async fn restart(&mut self) {
        *self.tables.said.lock().unwrap() = Some(broadcast::channel(100).0);
        let listener = UnixListener::bind(self.path()).unwrap();
        let router = self.router();
        self.tasks.push(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("busway.sock")
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/v1/services/{service}/tables/{table}/rows", get(rows))
            .route("/v1/services/{service}/tables/{table}/stream", get(stream))
            .with_state(self.tables.clone())
    }
}

async fn rows(
    State(tables): State<Arc<Tables>>,
    Path((service, table)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let name = TableName::new(service, table);
    let Some(mut snapshot) = tables.tables.lock().unwrap().get(&name).cloned() else { return missing(&name) };
    let mut rows: Vec<Value> = snapshot["rows"].as_array().cloned().unwrap();
    snapshot["total_rows"] = rows.len().into();
    rows.truncate(query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap()));
    if let Some(chosen) = query.get("columns") {
        let all = snapshot["columns"].as_array().cloned().unwrap();
        let columns: Vec<Option<Value>> =
            chosen.split(',').map(|name| all.iter().find(|column| column["name"] == name).cloned()).collect();
        if let Some(at) = columns.iter().position(Option::is_none) {
            let names: Vec<&Value> = all.iter().map(|column| &column["name"]).collect();
            let data = json!({"kind": "NoColumn", "column": chosen.split(',').nth(at), "columns": names});
            let error = json!({"error": {"message": "no column", "error_code": 400, "error_data": data}});
            return (StatusCode::BAD_REQUEST, Json(error)).into_response();
        }
        snapshot["columns"] = columns.into_iter().flatten().collect();
        for row in &mut rows {
            *row = chosen.split(',').map(|name| (name.to_owned(), row[name].clone())).collect();
        }
    }
    snapshot["rows"] = rows.into();
    Json(snapshot).into_response()
}

async fn stream(
    State(tables): State<Arc<Tables>>,
    Path((service, table)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let name = TableName::new(service, table);
    let Some(snapshot) = tables.tables.lock().unwrap().get(&name).cloned() else { return missing(&name) };
    let Some(said) = tables.said.lock().unwrap().as_ref().map(broadcast::Sender::subscribe) else {
        return missing(&name);
    };
    let event = |event: &str, data: &Value| Event::default().event(event).data(data.to_string());
    let position = format!("{}:{}", snapshot["epoch"], snapshot["to"]);
    let first = match headers.get("last-event-id").map(|id| id.to_str().unwrap()) {
        None => vec![event("snapshot", &snapshot)],
        Some(id) if id == position => vec![event("resumed", &json!({}))],
        Some(_) => vec![event("reset", &json!({"reason": "it is elsewhere"})), event("snapshot", &snapshot)],
    };
    let first = tokio_stream::iter(first);
    let steps = tokio_stream::StreamExt::filter_map(
        futures_util::stream::unfold(said, |mut said| async move { said.recv().await.ok().map(|item| (item, said)) }),
        move |(to, kind, data): Said| (to == name).then(|| event(kind, &data)),
    );
    Sse::new(first.chain(steps).map(Ok::<_, Infallible>)).into_response()
}

fn missing(name: &TableName) -> Response {
    let error = json!({"error": {"message": format!("no table {name}"), "error_code": 404, "error_data": null}});
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

fn table(service: &str, table: &str, key: &[&str], rows: Vec<Value>) -> Value {
    let names: Vec<String> = rows.first().and_then(Value::as_object).map(|row| row.keys().cloned().collect()).unwrap();
    let columns: Vec<Value> =
        names.iter().map(|name| json!({"name":name,"type":"string","nullable":true,"description":null})).collect();
    json!({"service":service,"table":table,"epoch":1,"to":7,"as_of":"2026-11-22T01:00:00Z",
        "key":key,"columns":columns,"rows":rows})
}

fn given() -> Vec<Value> {
    let listed = |service: &str, table: &str, rows: u64, error: Value| {
        json!({"service":service,"table":table,"rows":rows,"epoch":1,"to":7,"key":["id"],"columns":3,
            "error":error,"as_of":"2026-11-22T01:00:00Z","description":"What is there"})
    };
    vec![
        table(
            "files",
            "orders",
            &["id"],
            vec![
                json!({"id":1,"customer":"Ada","total":12.5,"size_bytes":2048,"tags":["new"]}),
                json!({"id":2,"customer":"Grace\nHopper","total":7,"size_bytes":null,"tags":[]}),
                json!({"id":10,"customer":"Edsger","total":1200.25,"size_bytes":13_000_000,"tags":{"a":1}}),
            ],
        ),
        table("system", "load", &[], vec![json!({"load_1":0.5,"cpus":2})]),
        table(
            "_host",
            "tables",
            &["service", "table"],
            vec![
                listed("_host", "tables", 3, Value::Null),
                listed("files", "orders", 3, Value::Null),
                listed("system", "load", 1, json!("permission denied")),
            ],
        ),
        table(
            "_host",
            "plugins",
            &["file"],
            vec![
                json!({"file":"libfiles.so","driver":"files","version":"0.1.0","state":"serving","reason":null,
                    "generation":1,"sha256":"0123456789abcdef0123456789abcdef","size_bytes":3_500_000,
                    "changed":"2026-11-22T01:00:00Z"}),
                json!({"file":"notes.so","driver":null,"version":null,"state":"refused",
                    "reason":"it is no object file: it begins with \"Dear\"","generation":null,
                    "sha256":"fedcba9876543210fedcba9876543210","size_bytes":12,"changed":"2026-11-22T01:00:00Z"}),
            ],
        ),
    ]
}
