//! What came of trying a plugin.

use super::patience::TRIES;
use busway_plugin_api::info::DriverInfo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether a plugin may be mapped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It may.
    Good(Box<Good>),
    /// It may not.
    Bad(Bad),
}

/// What is known of a plugin that may be mapped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Good {
    /// What it says of itself.
    pub info: DriverInfo,
    /// What operators should know though it may be mapped; each a sentence.
    pub warnings: Vec<String>,
}

/// Why a plugin may not be mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Bad {
    /// Which kind of reason.
    pub kind: Kind,
    /// What, why and what now, in one sentence.
    pub reason: String,
    /// The same in at most five lines, where that says more: of a contract that does not fit.
    #[serde(default)]
    pub explanation: String,
    /// The rest, for those who want all of it; mostly empty, thousands of lines at most.
    #[serde(default)]
    pub detail: String,
    /// How often it has been tried.
    pub tries: u32,
    /// When it is worth another try though its bytes stay as they are; none: never.
    pub again: Option<Timestamp>,
}

impl Bad {
    /// A verdict of the first try, final until somebody says otherwise.
    pub(super) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), explanation: String::new(), detail: String::new(), tries: 1, again: None }
    }

    /// Whether it may be good though its bytes stay as they are.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.again.is_some()
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match (self.kind.weight(), self.again) {
            (Weight::Chance, Some(_)) => write!(f, "; tried {} of {TRIES} times", self.tries),
            (Weight::Chance, None) => write!(f, "; tried {} times, not again until its bytes change", self.tries),
            _ => Ok(()),
        }
    }
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// No child process could be had, or it is of another build: the host's trouble.
    Host,
    /// The system's loader refused it.
    Loader,
    /// It does not fit the contract.
    Contract,
    /// It could not, or would not, describe itself.
    Description,
    /// Its description breaks the rules, or contradicts its note.
    Rules,
    /// A panic of its code does not become an error.
    Guard,
    /// It starts processes.
    Processes,
    /// It changes the process that it is loaded into.
    Process,
    /// It was killed by a signal.
    Signal,
    /// It ended the process.
    Exit,
    /// It used up what it may.
    Limit,
    /// It was not done in time.
    Overdue,
}

/// What a verdict depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The bytes: it stays until they change.
    Bytes,
    /// Chance too, such as a machine that was busy: it is tried some more times.
    Chance,
    /// The system: what it lacks may be had tomorrow. Never remembered.
    System,
}

impl Kind {
    pub(super) fn weight(self) -> Weight {
        match self {
            Self::Host | Self::Loader => Weight::System,
            Self::Signal | Self::Exit | Self::Limit | Self::Overdue => Weight::Chance,
            Self::Contract | Self::Description | Self::Rules | Self::Guard | Self::Processes | Self::Process => {
                Weight::Bytes
            }
        }
    }
}
