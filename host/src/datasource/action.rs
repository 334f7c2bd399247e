//! Actions of a source, asked for over HTTP or as methods of its service: one way for both.

use super::error::fault;
use super::runner::Shared;
use crate::bus::{Call, Fault, Service};
use crate::plugin::Catalog;
use busway_plugin_api::info::ActionInfo;
use busway_plugin_api::message::{ExecuteRequest, PollRequest};
use busway_plugin_api::options::nearest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an action may take.
pub(super) const ACTION: Duration = Duration::from_secs(120);

/// Why an action was not run, or failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// There is none of that name.
    #[error("Datasource not found {0}")]
    NotFound(String),
    /// It has no open source now.
    #[error("datasource {name:?} is {phase}{}{error}", if error.is_empty() { "" } else { ": " })]
    NotOpen {
        /// Its name.
        name: String,
        /// Where it is in its life.
        phase: &'static str,
        /// Why.
        error: String,
    },
    /// Its source is between two generations, or about to leave standby, for too long.
    #[error("datasource {0:?} did not become active in time: its source is in standby")]
    Standby(String),
    /// Another request came under the same id.
    #[error("request id {0:?} was used for another request: choose another id")]
    RequestId(String),
    /// The host lost it: its log says where.
    #[error("the host failed in this request: its log says where")]
    Lost,
    /// The source says no.
    #[error(transparent)]
    Failed(Fault),
}

impl ActionError {
    pub(super) fn not_open(name: &str, shared: &Shared) -> Self {
        let status = shared.status();
        Self::NotOpen { name: name.to_owned(), phase: status.phase.as_str(), error: status.error.clone() }
    }

    /// Whether the source was not asked: to ask again does nothing twice.
    pub(super) fn is_before(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::NotOpen { .. } | Self::Standby(_) => true,
            // No thread of its driver was free. Any other failure may have come after the action had effects.
            Self::Failed(fault) => fault.kind == "busy",
            Self::RequestId(_) | Self::Lost => false,
        }
    }
}

impl From<ActionError> for Fault {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Failed(fault) => fault,
            ActionError::NotFound(_) => Self::new("not_found", error),
            ActionError::NotOpen { .. } => Self::new("not_open", error),
            ActionError::Standby(_) => Self::new("standby", error),
            ActionError::RequestId(_) => Self::new("request_id_used", error),
            ActionError::Lost => Self::new("lost", error),
        }
    }
}

/// Whether the request is of an action that the driver declares, with arguments as declared.
///
/// # Errors
///
/// The nearest action, or everything that is wrong with the arguments.
pub(super) fn check(actions: &[ActionInfo], request: &ExecuteRequest) -> Result<(), ActionError> {
    let refuse = |kind: &str, text: String| Err(ActionError::Failed(Fault::new(kind, text)));
    let Some(info) = actions.iter().find(|info| info.name == request.action) else {
        let names = || actions.iter().map(|info| info.name.as_str());
        let near = nearest(&request.action, names());
        return refuse(
            "unknown_action",
            match near {
                Some(near) => format!("no action {:?}: did you mean {near:?}?", request.action),
                None if actions.is_empty() => format!("no action {:?}: its driver has none", request.action),
                None => {
                    format!("no action {:?}: its driver has {}", request.action, names().collect::<Vec<_>>().join(", "))
                }
            },
        );
    };
    let misfits = info.misfits(&request.positional, &request.named);
    if misfits.is_empty() {
        return Ok(());
    }
    // As a driver's own library says it.
    let message = format!("the arguments of {:?} are wrong", request.action);
    let data = json!({"message": message, "problems": misfits});
    let fault = Fault::new("invalid_arguments", format!("{message}: {}", misfits.join("; ")));
    Err(ActionError::Failed(Fault { data, ..fault }))
}

/// Runs an action of a datasource's source, which gets at most [`ACTION`] for it. One that is between two generations, or
/// about to leave standby, is waited for. When the future is dropped, the action is cancelled.
pub(super) async fn run(
    name: &str,
    shared: &Shared,
    request: ExecuteRequest,
    deadline: Duration,
) -> Result<Value, ActionError> {
    let until = Instant::now() + deadline.min(ACTION);
    loop {
        let open = match tokio::time::timeout_at(until, shared.settled()).await {
            Ok(Some(open)) => open,
            Ok(None) => return Err(ActionError::not_open(name, shared)),
            Err(_) => {
                return Err(ActionError::Standby(name.to_owned()));
            }
        };
        check(&open.generation.info.actions, &request)?;
        let left = until.saturating_duration_since(Instant::now());
        let done = open.execute(request.clone(), left, shared.still(&open)).await;
        if done.as_ref().is_err_and(super::open::SourceError::is_code_fault) {
            // The next poll finds it poisoned and opens another.
            open.ingest.want(&PollRequest::default());
        }
        match done {
            Ok(Some(value)) => return Ok(value),
            // It was paused before it began.
            Ok(None) => {}
            Err(error) => return Err(ActionError::Failed(fault(&error))),
        }
    }
}

/// Makes the actions that a datasource's driver declares methods of its service. Of a name that every service answers,
/// `ping` say, the service's own answer counts.
pub(super) fn expose(service: &Service, driver: &str, catalog: &Arc<Catalog>, shared: &Arc<Shared>) {
    let (driver, catalog, of) = (driver.to_owned(), Arc::clone(catalog), Arc::downgrade(shared));
    let names = move || {
        // The source that is open may be of an older generation than serves.
        let open = of.upgrade().and_then(|shared| shared.open()).map(|open| Arc::clone(&open.generation));
        let generation = open.or_else(|| catalog.serving(&driver));
        let actions = generation.iter().flat_map(|generation| &generation.info.actions);
        actions.map(|action| action.name.clone()).collect()
    };
    // Weak: the bus keeps the handler, and what a source has keeps the bus.
    let (name, shared) = (service.name().to_owned(), Arc::downgrade(shared));
    service.fallback(names, move |call| {
        let (name, shared) = (name.clone(), shared.upgrade());
        async move {
            let shared = shared.ok_or_else(|| Fault::new("not_open", format!("datasource {name:?} is gone")))?;
            let deadline = call.deadline;
            Ok(run(&name, &shared, request(call)?, deadline).await?)
        }
    });
}

/// A call's arguments as an action's: an object of named ones, or a list of them in the order in which the action declares
/// them.
fn request(call: Call) -> Result<ExecuteRequest, Fault> {
    let mut request = ExecuteRequest { action: call.method, ..ExecuteRequest::default() };
    match call.args {
        Value::Null => {}
        Value::Object(named) => request.named = named,
        Value::Array(positional) => request.positional = positional,
        other => {
            let text = format!(
                "{} takes an object of named arguments, or a list of them in their order: {other} is neither",
                request.action
            );
            return Err(Fault::arguments(text));
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Caller;

    #[test]
    fn arguments_are_named_or_in_order() {
        let read = |args: Value| {
            let call = Call { method: "move".to_owned(), args, caller: Caller::default(), deadline: ACTION };
            request(call).map(|r| (r.positional, Value::Object(r.named)))
        };
        assert_eq!(read(Value::Null), Ok((vec![], json!({}))));
        assert_eq!(read(json!({"to": 1})), Ok((vec![], json!({"to": 1}))));
        assert_eq!(read(json!([1, 2])), Ok((vec![json!(1), json!(2)], json!({}))));
        assert_eq!(
            read(json!("up")),
            Err(Fault::arguments(
                "move takes an object of named arguments, or a list of them in their order: \"up\" is neither"
            ))
        );
    }
}
