//! How plugins are loaded and reloaded.

use super::tenants::{Lenience, Terms};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How plugins are loaded and reloaded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where they lie.
    pub directories: Vec<PathBuf>,
    /// The files that the configuration names, by driver id.
    pub named: BTreeMap<String, PathBuf>,
    /// Whether a driver whose file is gone ends.
    pub stop_missing: bool,
    /// How long what was replaced is kept ready to take over again.
    pub probation: Duration,
    /// How long calls that run in what is replaced have to end.
    pub drain: Duration,
    /// What sources hand over may be this large, in bytes.
    pub most_state: usize,
    /// Whether a source whose state the new code can't read begins without.
    pub cold_start: bool,
    /// What generations that serve no more may hold, in bytes of their files, before that is said.
    pub budget: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            named: BTreeMap::new(),
            stop_missing: false,
            probation: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            most_state: 16 << 20,
            cold_start: false,
            budget: 1 << 30,
        }
    }
}

impl Settings {
    /// On what terms sources move unless somebody wants it otherwise.
    pub(super) fn terms(&self) -> Terms {
        Terms { accept_errors: Lenience::default(), most_state: self.most_state, cold_start: self.cold_start }
    }
}
