//! Services from outside: one lives as long as the connection over which it was registered.
//!
//! The answer to the registration is a stream of events: calls to answer, calls taken back, tables that are wanted.

use super::State;
use super::error::{Body, Error};
use super::extract::Path;
use super::outbox::{Outbox, Waiting};
use crate::bus::{Call, Fault, RegisterError, Service};
use crate::event::Publisher;
use crate::table::Shape;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use busway_plugin_api::message::encode;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A comment says so often that the host is still there.
const BEAT: Duration = Duration::from_secs(15);

/// The services that were registered from outside, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    all: Arc<Mutex<BTreeMap<String, Arc<Session>>>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) service: Service,
    /// Its voice: what it publishes is said in its name.
    pub(super) publisher: Publisher,
    outbox: Arc<Outbox>,
    /// The columns of the tables it publishes. Held while one is written: what is read in between fits.
    pub(super) shapes: Mutex<BTreeMap<String, Shape>>,
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session whose registration a request names, if it names one.
    pub(super) fn speaking(&self, headers: &HeaderMap) -> Result<Option<Arc<Session>>, Error> {
        let Some(instance) = headers.get("x-busway-instance") else { return Ok(None) };
        let instance = instance.to_str().ok().and_then(|text| text.parse().ok());
        let all = self.all();
        let mut sessions = all.values();
        match sessions.find(|session| Some(session.service.instance()) == instance) {
            Some(session) => Ok(Some(Arc::clone(session))),
            None => {
                let why = "the session that x-busway-instance names has ended, or never was";
                Err(Error::new(StatusCode::CONFLICT, why).with(json!({"kind": "SessionEnded"})))
            }
        }
    }

    /// The session of that name, if the request is of its own.
    pub(super) fn own(&self, state: &State, name: &str, headers: &HeaderMap) -> Result<Arc<Session>, Error> {
        let found = self.all().get(name).cloned();
        let Some(session) = found else {
            return Err(match state.bus.has_service(name) {
                true => {
                    let why = "it was not registered by POST /v1/services/NAME/session";
                    Error::new(StatusCode::FORBIDDEN, format!("service {name:?} can't be written from outside: {why}"))
                }
                false => Error::not_found(format!(
                    "no service {name:?}: register it by POST /v1/services/{name}/session, and keep that connection"
                )),
            });
        };
        let instance = headers.get("x-busway-instance").and_then(|v| v.to_str().ok());
        let Some(instance) = instance else {
            let why = "say which session this is of: the header x-busway-instance, as the event registered has it";
            return Err(Error::bad_request(why));
        };
        if instance.parse() != Ok(session.service.instance()) {
            let why = format!("service {name:?} is another session's by now: this one's has ended");
            return Err(Error::new(StatusCode::CONFLICT, why));
        }
        Ok(session)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    methods: Vec<MethodBody>,
    #[serde(default)]
    tables: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodBody {
    name: String,
    #[serde(default)]
    description: String,
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        let status = match &error {
            RegisterError::AlreadyExists { .. } => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

/// Registers a service for as long as the connection lasts.
pub(super) async fn open(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let body = if body.is_null() { json!({}) } else { body };
    let read: Result<Registration, _> = serde_json::from_value(body);
    let Registration { addresses, methods, tables } = read.map_err(|e| {
        let form = "{\"addresses\": [], \"methods\": [{\"name\", \"description\"}], \"tables\": []}";
        Error::bad_request(format!("the body is {form}: {e}"))
    })?;
    let service = state.bus.register(&name)?;
    let outbox = Arc::new(Outbox::default());
    addresses.iter().try_for_each(|address| service.listen(address))?;
    tables.iter().try_for_each(|table| service.offer(table)).map_err(|e| Error::bad_request(e.to_string()))?;
    for method in methods {
        let outbox = Arc::clone(&outbox);
        let handler = move |call| answer_of(Arc::clone(&outbox), call);
        service.method(&method.name, &method.description, handler);
    }
    let interest = Arc::clone(&outbox);
    service.on_interest(move |table, wanted| interest.wanted(table, wanted));
    let registered = json!({"service": name, "instance": service.instance()});
    let publisher = state.happenings.events.publisher(&name);
    let session = Arc::new(Session { service, publisher, outbox: Arc::clone(&outbox), shapes: Mutex::default() });
    state.sessions.all().insert(name, Arc::clone(&session));
    let first = Event::default().event("registered").data(encode(&registered));
    let open = Open { session, sessions: state.sessions.clone(), first: Some(first), stopping: state.stopping.clone() };
    let events = stream::unfold(open, |mut open| async move { Some((Ok(open.next().await?), open)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(BEAT).text("keep-alive")))
}

/// The connection of a session. Dropping it ends the session.
struct Open {
    session: Arc<Session>,
    sessions: Sessions,
    first: Option<Event>,
    stopping: watch::Receiver<bool>,
}

impl Open {
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        tokio::select! {
            (event, data) = self.session.outbox.next() => Some(Event::default().event(event).data(data)),
            _ = self.stopping.wait_for(|stop| *stop) => None,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The service goes with the last who holds the session: a request that writes a table now may be.
        let mut all = self.sessions.all();
        let name = self.session.service.name();
        // After a name was lost, another session may have it by now.
        if all.get(name).is_some_and(|session| Arc::ptr_eq(session, &self.session)) {
            all.remove(name);
        }
        drop(all);
        self.session.outbox.close();
    }
}

/// Hands a call to the client and waits for its answer. When the caller goes, the client is told.
async fn answer_of(outbox: Arc<Outbox>, call: Call) -> Result<Value, Fault> {
    let deadline = u64::try_from(call.deadline.as_millis()).unwrap_or(u64::MAX);
    let Call { method, args, caller, .. } = call;
    let text =
        |id: u64| encode(&json!({"id": id, "method": method, "args": args, "caller": caller, "deadline_ms": deadline}));
    let Waiting { answer, .. } = &mut outbox.call(text)?;
    let gone = || Fault::new("unreachable", format!("the service went away before it answered {method:?}"));
    answer.await.unwrap_or_else(|_| Err(gone()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    #[serde(default, deserialize_with = "some")]
    result: Option<Value>,
    error: Option<Fault>,
}

/// A result that is null is one.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The answer to a call: `{"result": …}` or `{"error": {"kind", "message", "data"}}`.
pub(super) async fn answer(
    Extract(state): Extract<State>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<Value>, Error> {
    let session = state.sessions.own(&state, &name, &headers)?;
    let form = "the body is {\"result\": …} or {\"error\": {\"kind\", \"message\", \"data\"}}";
    let read = serde_json::from_value(body).map_err(|e| Error::bad_request(format!("{form}: {e}")))?;
    let answer = match read {
        AnswerBody { result: Some(result), error: None } => Ok(result),
        AnswerBody { result: None, error: Some(fault) } => Err(fault),
        _ => return Err(Error::bad_request(format!("{form}: one of them"))),
    };
    let answered = id.parse().is_ok_and(|id| session.outbox.answer(id, answer));
    if !answered {
        let why = "it was answered, or its caller waits no longer";
        return Err(Error::not_found(format!("no call {id} of service {name:?} waits for an answer: {why}")));
    }
    Ok(Json(json!({})))
}
