//! Where drivers come from, and how they are taken up.

use super::{Vet, duration};
use crate::plugin::Settings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where drivers come from, and how they are taken up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// Directories of driver libraries.
    pub directories: Vec<PathBuf>,
    /// The directories are looked at so often even when no event comes.
    #[serde(deserialize_with = "duration::deserialize")]
    pub scan_interval: Duration,
    /// What two files of one driver id mean at a start.
    pub on_conflict: OnConflict,
    /// What becomes of a driver whose file is gone.
    pub on_remove: OnRemove,
    /// The file that is to serve a driver id, whatever other files claim it too.
    pub files: BTreeMap<String, PathBuf>,
    /// How long what was replaced is kept ready to take over again.
    #[serde(deserialize_with = "duration::deserialize")]
    pub probation: Duration,
    /// How long calls that run in what was replaced have to end.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain: Duration,
    /// What a source hands over to its successor may be this large, in bytes.
    pub most_state: usize,
    /// Whether a source begins without its predecessor's state when it can't be read; else the new build is held back.
    pub cold_start: bool,
    /// Retired generations whose files are larger than this together, in bytes, are warned of.
    pub retired_budget: u64,
    /// Which bytes may be loaded.
    pub trust: TrustPolicy,
    /// How they are tried in a child process before they are mapped.
    pub vet: Vet,
}

impl Default for Plugins {
    fn default() -> Self {
        let Settings { probation, drain, most_state, cold_start, budget, .. } = Settings::default();
        Self {
            directories: Vec::new(),
            scan_interval: Duration::from_secs(5),
            on_conflict: OnConflict::default(),
            on_remove: OnRemove::default(),
            files: BTreeMap::new(),
            probation,
            drain,
            most_state,
            cold_start,
            retired_budget: budget,
            trust: TrustPolicy::default(),
            vet: Vet::default(),
        }
    }
}

impl Plugins {
    /// The same, for the plugin room.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            directories: self.directories.clone(),
            named: self.files.clone(),
            stop_missing: self.on_remove == OnRemove::Stop,
            probation: self.probation,
            drain: self.drain,
            most_state: self.most_state,
            cold_start: self.cold_start,
            budget: self.retired_budget,
        }
    }
}

/// What two files of one driver id mean at a start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The one that served goes on, else neither is loaded; both are shown.
    #[default]
    Keep,
    /// The host does not start, as the predecessor's did not.
    Fail,
}

/// What becomes of a driver whose file is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRemove {
    /// It serves on until the host ends.
    #[default]
    Keep,
    /// Its datasources wait until a file of it is there again.
    Stop,
}

/// Which plugins' bytes may be loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustPolicy {
    /// Whatever lies in the directories, which only root and the host's user can write to.
    #[default]
    Any,
    /// What is on the list that `busway plugin trust` keeps, `plugins.lock` in the state directory.
    Listed,
}
