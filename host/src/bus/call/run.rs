//! A call is run here: at most so many at once, within its deadline, and no longer than its caller waits.

use super::builtin;
use super::{Answer, Call, CallError, Fault, Handler, Method};
use crate::bus::Bus;
use crate::bus::service::{Core, ServiceState};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// So many calls run in one service; more are refused.
const MAX: usize = 1024;

type Names = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What a service answers.
#[derive(Default)]
pub(crate) struct Methods {
    named: RwLock<BTreeMap<String, Method>>,
    fallback: RwLock<Option<(Names, Handler)>>,
}

impl Methods {
    pub(crate) fn insert(&self, name: &str, method: Method) {
        self.named.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), method);
    }

    pub(crate) fn fall_back(&self, names: Names, handler: Handler) {
        *self.fallback.write().unwrap_or_else(PoisonError::into_inner) = Some((names, handler));
    }

    fn find(&self, name: &str) -> Option<Handler> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        named.get(name).map(|method| Arc::clone(&method.handler))
    }

    fn fallback(&self, name: &str) -> Option<Handler> {
        let (names, handler) = self.fallback.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        names().iter().any(|one| one == name).then_some(handler)
    }

    /// All names and what they are for, in order.
    pub(crate) fn list(&self) -> Vec<(String, String)> {
        let fallback = self.fallback.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: BTreeMap<String, String> =
            fallback.iter().flat_map(|(names, _)| names()).map(|name| (name, String::new())).collect();
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        all.extend(builtin::LIST.iter().map(|(name, about)| ((*name).to_owned(), (*about).to_owned())));
        all.extend(named.iter().map(|(name, method)| (name.clone(), method.description.clone())));
        all.into_iter().collect()
    }
}

/// Ends a task when nobody waits for it.
struct Running(JoinHandle<Result<Value, Fault>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One of the calls that run in a service.
struct Place(watch::Sender<usize>);

impl Place {
    fn take(calls: &watch::Sender<usize>) -> Option<Self> {
        let taken = calls.send_if_modified(|calls| {
            let free = *calls < MAX;
            *calls += usize::from(free);
            free
        });
        taken.then(|| Self(calls.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

/// Runs a call in a service of this node. Dropping the future ends the handler.
pub(crate) async fn answer(bus: &Bus, core: &Arc<Core>, call: Call) -> Result<Value, CallError> {
    let what = || format!("service {:?}", core.name);
    match core.state() {
        ServiceState::Running => {}
        ServiceState::Stopped => return Err(CallError::Stopped { service: core.name.clone() }),
        ServiceState::NameLost(_) => return Err(CallError::NotFound { what: what(), there: bus.services(false) }),
    }
    let Some(place) = Place::take(&core.outstanding) else {
        return Err(CallError::Busy { what: what(), calls: MAX });
    };
    let handler = match core.methods.find(&call.method) {
        Some(handler) => handler,
        None => match builtin::answer(bus, core, &call) {
            Some(result) => return result.map_err(CallError::Failed),
            None => core.methods.fallback(&call.method).ok_or_else(|| CallError::UnknownMethod {
                what: what(),
                method: call.method.clone(),
                methods: core.methods.list().into_iter().map(|(name, _)| name).collect(),
            })?,
        },
    };
    run(handler, call, &what(), Some(place)).await
}

/// A call of the node itself that is none of those every node answers.
pub(crate) async fn answer_of_node(bus: &Bus, methods: &Methods, call: Call) -> Result<Value, CallError> {
    let what = format!("node {:?}", bus.node());
    match methods.find(&call.method) {
        Some(handler) => run(handler, call, &what, None).await,
        None => {
            let named = methods.named.read().unwrap_or_else(PoisonError::into_inner);
            let mut all: Vec<String> =
                builtin::OF_A_NODE.iter().map(ToString::to_string).chain(named.keys().cloned()).collect();
            all.sort();
            Err(CallError::UnknownMethod { what, method: call.method, methods: all })
        }
    }
}

async fn run(handler: Handler, call: Call, what: &str, place: Option<Place>) -> Result<Value, CallError> {
    let (method, deadline) = (call.method.clone(), call.deadline);
    let work = async move {
        // Given back when the handler ends, however it does.
        let _place = place;
        let answer: Answer = handler(call);
        answer.await
    };
    let mut running = Running(tokio::spawn(work));
    match tokio::time::timeout(deadline, &mut running.0).await {
        Err(_) => {
            let deadline = humantime::format_duration(deadline).to_string();
            Err(CallError::TimedOut { what: what.to_owned(), method, deadline })
        }
        Ok(Ok(result)) => result.map_err(CallError::Failed),
        Ok(Err(error)) => {
            let kind = if error.is_panic() { "panicked" } else { "cancelled" };
            Err(CallError::Failed(Fault::new(kind, format!("{what} {kind} while it answered {method:?}"))))
        }
    }
}
