//! What host and child say to each other: lines of JSON.

use super::super::conformance::{Assignment, Finding};
use super::super::load::LoadError;
use super::traces::Left;
use busway_plugin_api::abi::Incompatible;
use busway_plugin_api::info::DriverInfo;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Grows when the lines change their form: the program that tries plugins may be another than the host's.
pub(super) const PROTOCOL: u32 = 2;

/// An answer is no longer: descriptions and checkers' reports are kilobytes.
pub(super) const MOST: usize = 16 << 20;

/// What the child is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) staged: PathBuf,
    pub(super) confines: Confines,
    /// One check of the conformance suite, instead of what every plugin is put through before it is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) check: Option<Assignment>,
}

/// What the child may use up, as the system counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confines {
    /// Seconds of processor time.
    pub(super) cpu: u64,
    pub(super) memory: u64,
    pub(super) file_size: u64,
    pub(super) files: u64,
    pub(super) processes: u64,
}

/// What the child says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// It is there, and speaks this protocol.
    Hello(u32),
    /// What it does next.
    Stage(Stage),
    /// Of a check: when it is that something happens, as the end of a sentence.
    Step(String),
    /// What came of it: the last line.
    Answer(Answer),
}

/// What a plugin is put through, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Map,
    Describe,
    SelfTest,
    /// The thread that called it ends: what it keeps for each thread is torn down.
    Leave,
    /// One check of the conformance suite: the steps say more.
    Check,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The system's loader refused it.
    Loader(String),
    /// It does not fit the contract.
    Contract {
        reason: String,
        #[serde(default)]
        explanation: String,
        detail: String,
    },
    /// It answered `describe` with an error.
    Description(String),
    /// It was put through all of it.
    Tried(Box<Tried>),
    /// It was put through one check.
    Checked(Finding),
}

/// How a plugin that could describe itself behaved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) info: DriverInfo,
    /// What came back when it was asked to panic, if not what must.
    pub(super) guard: Option<String>,
    /// Whether it started processes.
    pub(super) processes: bool,
    pub(super) left: Left,
}

impl From<LoadError> for Answer {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Map(text) => Self::Loader(text),
            LoadError::Incompatible(incompatible) => {
                let explanation = incompatible.explanation();
                let Incompatible { reason, mut detail, .. } = incompatible;
                let end = (0..=detail.len().min(MOST / 64)).rev().find(|at| detail.is_char_boundary(*at));
                detail.truncate(end.unwrap_or_default());
                Self::Contract { reason, explanation, detail }
            }
            other => Self::Contract { reason: other.to_string(), explanation: String::new(), detail: String::new() },
        }
    }
}
