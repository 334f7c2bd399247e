//! One loaded copy of a plugin's bytes, and where it is in its life.

use super::driver::Driver;
use super::pool::Pool;
use crate::hiding::Finders;
use busway_plugin_api::info::DriverInfo;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where a generation is in its life. It stays mapped for the whole of the process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GenerationState {
    /// It was loaded and described; no source of it is in charge yet.
    #[default]
    Loaded,
    /// Its sources are in charge, and those of the one before are kept ready to take over again.
    Probation,
    /// Its sources are in charge.
    Serving,
    /// Another is on probation in its place; if that fails, it serves on.
    Paused,
    /// Another serves in its place, for good.
    Retired,
    /// It failed: nothing of it is in charge, nor will be.
    Withdrawn,
}

/// What happens to a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// The sources were switched to it, and the former ones wait.
    Tried,
    /// It is in charge for good.
    Proven,
    /// Another is tried in its place.
    Superseded,
    /// What was tried in its place failed.
    Resumed,
    /// It is not needed any more.
    Retired,
    /// It failed.
    Failed,
}

impl GenerationState {
    /// Where it is after that. What can't happen where it is changes nothing.
    #[must_use]
    pub(super) const fn after(self, happening: Happening) -> Self {
        match (self, happening) {
            (Self::Loaded, Happening::Tried) => Self::Probation,
            (Self::Loaded | Self::Probation, Happening::Proven) => Self::Serving,
            (Self::Serving, Happening::Superseded) => Self::Paused,
            (Self::Paused, Happening::Resumed) => Self::Serving,
            (Self::Serving | Self::Paused, Happening::Retired) => Self::Retired,
            (Self::Loaded | Self::Probation, Happening::Failed) => Self::Withdrawn,
            (now, _) => now,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Probation => "on probation",
            Self::Serving => "serving",
            Self::Paused => "paused",
            Self::Retired => "retired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// How a mapped copy is: all its generations share its memory.
#[derive(Debug, Default)]
pub struct Health(AtomicBool);

impl Health {
    /// A call of it panicked, did not come back, or broke the contract.
    pub(crate) fn blame(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ill(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One loaded copy of a plugin's bytes.
pub struct Generation {
    /// Counts all loads of this process.
    pub number: u64,
    /// What the driver says of itself.
    pub info: DriverInfo,
    /// The way into it.
    pub driver: Arc<dyn Driver>,
    /// The threads its calls run on.
    pub pool: Pool,
    /// The threads on which it is told that calls are to end: the others may be what hangs.
    pub(crate) cancels: Pool,
    /// Its bytes.
    pub sha256: String,
    /// The file they came from.
    pub path: PathBuf,
    /// Since when.
    pub loaded: Timestamp,
    /// How many sources of it are open.
    pub sources: AtomicUsize,
    /// How large its file is; what it holds of memory beside that is its own affair.
    pub size: u64,
    /// Who knows the secrets that its sources were told, and those of the same copy's earlier generations: they are taken
    /// out of what it says outside any source.
    pub(crate) secrets: Arc<Finders>,
    /// How its copy is.
    pub(crate) health: Arc<Health>,
    pub(crate) state: Mutex<GenerationState>,
    /// Tables of which something was said that is said once.
    pub(crate) told: Mutex<BTreeSet<String>>,
}

impl Generation {
    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> GenerationState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it failed: what is open of it is to move.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.state() == GenerationState::Withdrawn
    }

    /// Whether its code has failed since it was mapped, or hangs: a fresh copy of the same bytes may do better.
    pub(super) fn is_ailing(&self) -> bool {
        self.health.is_ill() || self.pool.hung() > 0 || self.is_withdrawn()
    }

    /// Whether nothing was said yet of that table which is said once.
    pub(crate) fn is_news(&self, table: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Names are the driver's to make up: what is kept of them has an end.
        told.len() < 1000 && told.insert(table.to_owned())
    }

    pub(super) fn on(&self, happening: Happening) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.after(happening);
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("driver", &self.info.id)
            .field("number", &self.number)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, one line a state, one column a happening.
    #[test]
    fn the_table_of_all_ways() {
        use GenerationState::{Loaded, Paused, Probation, Retired, Serving, Withdrawn};
        let states = [Loaded, Probation, Serving, Paused, Retired, Withdrawn];
        let happenings = [
            Happening::Tried,
            Happening::Proven,
            Happening::Superseded,
            Happening::Resumed,
            Happening::Retired,
            Happening::Failed,
        ];
        let letter = |state: GenerationState| match state {
            Probation => 'o',
            other => other.as_str().chars().next().unwrap(),
        };
        let line = |state: GenerationState| happenings.iter().map(|h| letter(state.after(*h))).collect::<String>();
        // Tried, Proven, Superseded, Resumed, Retired, Failed.
        assert_eq!(
            states.map(line),
            [
                "oslllw", // loaded
                "osooow", // on probation
                "sspsrs", // serving
                "pppsrp", // paused
                "rrrrrr", // retired
                "wwwwww", // withdrawn
            ]
        );
    }
}
