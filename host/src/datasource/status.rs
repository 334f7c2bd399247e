//! What operators see of a datasource.

use jiff::Timestamp;

/// Where a datasource is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// The configuration says that it shall not run.
    Disabled,
    /// No driver of its id serves.
    #[default]
    Waiting,
    /// Its driver was asked for a source.
    Opening,
    /// It is polled, and its last poll was good.
    Running,
    /// It is polled, and its last poll failed as a whole or for some tables; the tables stay as they were.
    Degraded,
    /// It could not be opened; tried again after a while.
    Failed,
    /// A call of it does not come back; nothing more is asked of it before its driver is replaced.
    Hung,
    /// The host is stopping.
    Stopped,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Waiting => "waiting for driver",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Hung => "hung",
            Self::Stopped => "stopped",
        }
    }
}

/// A datasource at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it is in its life.
    pub phase: Phase,
    /// What went wrong last; empty when nothing is wrong.
    pub error: String,
    /// The generation that its source is of.
    pub generation: Option<u64>,
    /// How many polls were good.
    pub polls: u64,
    /// How many failed.
    pub failures: u64,
    /// When the last good one ended.
    pub last_poll: Option<Timestamp>,
    /// What the source says it is doing.
    pub text: String,
}
