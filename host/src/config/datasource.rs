//! A datasource as an operator writes it down, in the configuration or over the API.

use super::duration;
use crate::bus::is_service_name;
use crate::table::Limits;
use busway_plugin_api::info::is_driver_id;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// No time of a datasource's is longer.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A datasource: a named instance of a driver.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datasource {
    /// The driver's id.
    pub driver: String,
    /// One line for operators.
    #[serde(default)]
    pub description: String,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Further addresses that its service listens on, which others may share.
    #[serde(default)]
    pub addresses: BTreeSet<String>,
    /// How often it is polled; zero: only on request.
    #[serde(default = "ten_seconds", deserialize_with = "duration::deserialize")]
    pub poll: Duration,
    /// How long a poll may take.
    #[serde(default = "thirty_seconds", deserialize_with = "duration::deserialize")]
    pub deadline: Duration,
    /// How many rows each of its tables may have; else 20 million.
    #[serde(default)]
    pub max_rows: Option<usize>,
    /// How many bytes of data each of its tables may have; else 4 GiB.
    #[serde(default)]
    pub max_bytes: Option<usize>,
    /// Whether its last tables are kept on disk, and served from there after a start until the first poll.
    #[serde(default)]
    pub persist_data: bool,
    /// What the driver is told. `${env:NAME}` and `${file:PATH}` in it are read when a source is opened.
    #[serde(default)]
    pub options: Map<String, Value>,
}

impl Datasource {
    /// How large each of its tables may be.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let most = Limits::default();
        Limits { rows: self.max_rows.unwrap_or(most.rows), bytes: self.max_bytes.unwrap_or(most.bytes) }
    }

    /// What can't be, of what every datasource has; nothing of its options.
    pub(crate) fn problem(&self) -> Option<String> {
        if !is_driver_id(&self.driver) {
            return Some(format!("{:?} is no driver id", self.driver));
        }
        if self.deadline < Duration::from_millis(1) {
            return Some("a deadline of zero leaves no time for a poll".to_owned());
        }
        if self.max_rows == Some(0) || self.max_bytes == Some(0) {
            return Some("a limit of zero leaves no room for a table's rows".to_owned());
        }
        if !self.poll.is_zero() && self.poll < Duration::from_millis(10) {
            return Some("polls less than 10 ms apart (0 polls on request only)".to_owned());
        }
        // As they are kept: other ones would come back changed.
        let kept = |time: Duration| time.subsec_nanos().is_multiple_of(1_000_000) && time <= LONGEST;
        if !kept(self.poll) || !kept(self.deadline) {
            return Some("poll and deadline are whole milliseconds, and a year at most".to_owned());
        }
        let bad = self.addresses.iter().find(|address| !is_service_name(address));
        bad.map(|address| format!("address {address:?}: an address is words of A-Z a-z 0-9 _ - joined by dots"))
    }

    /// One of that driver, with nothing set that need not be.
    #[must_use]
    pub fn new(driver: &str) -> Self {
        Self {
            driver: driver.to_owned(),
            description: String::new(),
            enabled: yes(),
            addresses: BTreeSet::new(),
            poll: ten_seconds(),
            deadline: thirty_seconds(),
            max_rows: None,
            max_bytes: None,
            persist_data: false,
            options: Map::new(),
        }
    }

    /// Polled so often; zero: only on request.
    #[must_use]
    pub fn poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// With an option of its driver.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }
}

impl std::fmt::Debug for Datasource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Only the driver knows which of its options are secret.
        f.debug_struct("Datasource")
            .field("driver", &self.driver)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

/// A name that no datasource can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "datasource {0:?}: a name is words of A-Z a-z 0-9 _ - joined by dots, begins with no underscore, has 255 characters at \
     most and is no uuid"
)]
pub struct NameError(String);

/// The one rule for names of datasources: a service's name that is not hidden and can't be taken for an id.
///
/// # Errors
///
/// When `name` is none.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let legal = is_service_name(name) && !name.starts_with('_') && Uuid::try_parse(name).is_err();
    if legal { Ok(()) } else { Err(NameError(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_they_can_be_kept() {
        let problem = |poll: Duration| Datasource::new("files").poll(poll).problem();
        assert_eq!(problem(Duration::from_millis(10)), None);
        let text = Some("poll and deadline are whole milliseconds, and a year at most".to_owned());
        assert_eq!(problem(Duration::from_micros(10_500)), text);
        assert_eq!(problem(Duration::from_secs(u64::MAX)), text);
    }

    #[test]
    fn one_rule_for_names() {
        for good in ["web", "a.b", "A-1_x", &"x".repeat(255)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        for bad in ["", "_web", "a b", "a..b", ".a", "a/b", "é", "a:r(1), b", uuid, &"x".repeat(256)] {
            assert_eq!(check_name(bad), Err(NameError(bad.to_owned())), "{bad}");
        }
    }
}
