//! Calls: to a service, to a node, to one or all who listen on an address.
//!
//! A call to somebody who is not there fails at once. Every call has a deadline. Delivery over the wire may be tried again,
//! execution never: who runs a call remembers its number and its answer.

mod builtin;
mod error;
mod info;
mod request;
mod run;

pub(crate) use builtin::of_a_node;
pub use error::{CallError, Fault};
pub use info::{BadServiceInfo, ServiceInfo};
pub(crate) use request::CallOptions;
pub use request::{CallRequest, Reply, Target};
pub(crate) use run::{Methods, answer, answer_of_node};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Long enough to hear whether somebody lives.
pub const LIVENESS_DEADLINE: Duration = Duration::from_secs(5);
/// Long enough for work to be done: as the predecessor's long timeout.
pub const WORK_DEADLINE: Duration = Duration::from_secs(120);

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caller {
    /// The node.
    pub node: String,
    /// The service, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A call, as its handler gets it.
///
/// When the caller goes, the handler's future is dropped at its next `.await`.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: String,
    /// Its arguments: an object of named ones, by convention.
    pub args: Value,
    /// Who calls.
    pub caller: Caller,
    /// How long the caller waits, from when the call came.
    pub deadline: Duration,
}

/// What a handler answers, when it does.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// A method of a service.
#[derive(Clone)]
pub(crate) struct Method {
    pub(crate) description: String,
    pub(crate) handler: Handler,
}
