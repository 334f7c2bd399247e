//! Why a call has no result.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a handler answers when it can't do what it is asked. It reaches the caller as it is, from node to node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Stable, for programs: `not_found`, say.
    pub kind: String,
    /// For people: what, where, why, what now.
    pub message: String,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl Fault {
    /// A fault of a kind.
    pub fn new(kind: &str, message: impl ToString) -> Self {
        Self { kind: kind.to_owned(), message: message.to_string(), data: Value::Null }
    }

    /// The call's arguments are not what the method takes.
    pub fn arguments(message: impl ToString) -> Self {
        Self::new("invalid_arguments", message)
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallError {
    /// Nobody is there.
    #[error("{what} is not there{}", if there.is_empty() { String::new() } else { format!(": there are {}", there.join(", ")) })]
    NotFound {
        /// Who was called.
        what: String,
        /// Who could be.
        there: Vec<String>,
    },
    /// There, but it takes no calls now.
    #[error("service {service:?} is stopped: it takes no calls until it is started")]
    Stopped {
        /// The service.
        service: String,
    },
    /// No answer within the deadline.
    #[error("{what} did not answer {method:?} within {deadline}")]
    TimedOut {
        /// Who was called.
        what: String,
        /// The method.
        method: String,
        /// The deadline, as people write it.
        deadline: String,
    },
    /// It runs on a node that went away before it answered. Whether it did its work is not known.
    #[error("node {node} went away before {what} answered {method:?}: whether it was done is not known")]
    Unreachable {
        /// Who was called.
        what: String,
        /// The method.
        method: String,
        /// The node.
        node: String,
    },
    /// It can't do that.
    #[error("{what} has no method {method:?}: it has {}", methods.join(", "))]
    UnknownMethod {
        /// Who was called.
        what: String,
        /// The method.
        method: String,
        /// What it can do.
        methods: Vec<String>,
    },
    /// Too many calls run in it.
    #[error("{what} runs {calls} calls, as many as it may: try again later")]
    Busy {
        /// Who was called.
        what: String,
        /// How many.
        calls: usize,
    },
    /// The call or its answer is larger than what goes from node to node at once.
    #[error(
        "{bytes} bytes are more than a call between nodes carries ({most}): publish a table instead, or ask for less"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// What is carried.
        most: usize,
    },
    /// The handler said why.
    #[error(transparent)]
    Failed(Fault),
}
