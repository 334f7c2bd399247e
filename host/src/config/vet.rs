//! How plugins are tried in a child process before they are mapped.

use super::duration;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// What a plugin may use up while it is tried. One that needs more is refused with the name of the limit; the defaults are
/// far above what loading and describing a driver takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vet {
    /// How long it may take by the clock.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// How much processor time it may use; whole seconds, others are rounded up.
    #[serde(deserialize_with = "duration::deserialize")]
    pub cpu: Duration,
    /// How many bytes of memory it may write to.
    pub memory: u64,
    /// How many bytes a file may have that it writes.
    pub file_size: u64,
    /// How many files it may have open.
    pub files: u64,
    /// How many threads and processes it may start. Not enforced where the host runs as root: the system has no such limit
    /// for root.
    pub processes: u64,
    /// The program whose child process tries plugins; else this one. See [`child_main_if_asked`](crate::child_main_if_asked).
    pub program: Option<PathBuf>,
}

impl Default for Vet {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            cpu: Duration::from_secs(5),
            memory: 2 << 30,
            file_size: 64 << 20,
            files: 256,
            processes: 256,
            program: None,
        }
    }
}

impl Vet {
    /// What types can't check: the first value that can't be, and why.
    pub(super) fn problem(&self) -> Option<String> {
        let short = Duration::from_millis(100);
        if self.timeout < short || self.cpu < short {
            return Some("plugins.vet: no plugin is tried in less than 100 ms (timeout, cpu)".to_owned());
        }
        if self.memory < 64 << 20 || self.files < 32 || self.processes < 16 {
            return Some(
                "plugins.vet: a child process itself needs 64 MiB of memory, 32 files and 16 processes".to_owned(),
            );
        }
        None
    }
}
