//! The caller's side.

use super::{CallError, Caller, LIVENESS_DEADLINE, WORK_DEADLINE};
use crate::bus::Bus;
use serde_json::Value;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The service of that name.
    Service(String),
    /// The node of that name, itself: it answers `ping`, `status`, `services` and `nodes`.
    Node(String),
    /// Any one service that listens on the address; one of this node if there is one.
    Any(String),
}

impl From<&str> for Target {
    fn from(service: &str) -> Self {
        Self::Service(service.to_owned())
    }
}

/// What one of several who were called answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The service.
    pub service: String,
    /// The node it runs on.
    pub node: String,
    /// Its answer.
    pub result: Result<Value, CallError>,
}

/// A call that is about to be made: `.await` makes it.
#[derive(Debug)]
#[must_use = "a call is made when it is awaited"]
pub struct CallRequest {
    bus: Bus,
    target: Target,
    method: String,
    args: Value,
    options: CallOptions,
}

#[derive(Debug, Clone)]
pub(crate) struct CallOptions {
    pub(crate) deadline: Duration,
    pub(crate) retries: u32,
    pub(crate) local: bool,
    pub(crate) caller: Caller,
}

impl CallOptions {
    pub(crate) fn of(method: &str, node: &str) -> Self {
        let short = matches!(method, "ping" | "status" | "info" | "methods");
        let deadline = if short { LIVENESS_DEADLINE } else { WORK_DEADLINE };
        Self { deadline, retries: 5, local: false, caller: Caller { node: node.to_owned(), service: None } }
    }
}

impl CallRequest {
    pub(crate) fn new(bus: Bus, target: Target, method: &str, args: Value) -> Self {
        let options = CallOptions::of(method, bus.node());
        Self { bus, target, method: method.to_owned(), args, options }
    }

    /// How long to wait for the answer; else [`LIVENESS_DEADLINE`] for `ping`, `status`, `info` and `methods`, and
    /// [`WORK_DEADLINE`] for the rest.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// How often delivery to another node is tried again until that node says that it has it; else 5 times. The work is
    /// done at most once in any case.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Only on this node.
    pub fn local(mut self) -> Self {
        self.options.local = true;
        self
    }

    /// In the name of a service.
    pub fn by(mut self, service: &str) -> Self {
        self.options.caller.service = Some(service.to_owned());
        self
    }
}

impl IntoFuture for CallRequest {
    type Output = Result<Value, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let place = self.bus.place(&self.target, self.options.local)?;
            self.bus.deliver(place, &self.method, self.args, self.options).await
        })
    }
}
