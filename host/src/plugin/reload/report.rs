//! What a load or a reload came to.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing served the id; now it does.
    Loaded,
    /// The sources were moved to it, and it proved itself.
    Committed,
    /// The sources were moved to it, it failed on probation, and they were moved back.
    RolledBack,
    /// It did not come to serve, by a fault of its code: its bytes are not tried again.
    Refused,
    /// It did not come to serve, for a reason that may pass: it is tried again.
    Inconclusive,
}

impl Outcome {
    /// The words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
            Self::Refused => "refused",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Whether it serves now.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Loaded | Self::Committed)
    }
}

/// Changes of the tables that were moved, from when their sources were asked to move until it was over: counted where they
/// were made, where they were kept, and where an independent subscriber got them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Tables that were there all the time.
    pub tables: u64,
    /// States that the former sources and the new ones made.
    pub produced: u64,
    /// States by which the tables went on.
    pub accepted: u64,
    /// States that a subscriber was given.
    pub delivered: u64,
    /// States that somebody made and nobody was given.
    pub gap: u64,
    /// States that somebody was given twice, or that nobody made.
    pub dup: u64,
}

impl Ledger {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tables: self.tables + other.tables,
            produced: self.produced + other.produced,
            accepted: self.accepted + other.accepted,
            delivered: self.delivered + other.delivered,
            gap: self.gap + other.gap,
            dup: self.dup + other.dup,
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, produced, accepted, delivered, gap, dup } = self;
        write!(f, "gap={gap} dup={dup} produced={produced} accepted={accepted} delivered={delivered} tables={tables}")
    }
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// Staging, vetting, mapping and describing.
    pub load_us: u64,
    /// Opening beside, handing over and the first poll.
    pub prepare_us: u64,
    /// While no source of the datasource that took longest was in charge.
    pub pause_us: u64,
    /// Until the former one was let go.
    pub probation_us: u64,
}

/// What a load or a reload came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The driver's id.
    pub driver: String,
    /// Its version.
    pub version: String,
    /// The file.
    pub path: PathBuf,
    /// The bytes: the file's, or a kept copy's.
    pub sha256: String,
    /// The generation that served before.
    pub from: Option<u64>,
    /// The generation that this made.
    pub to: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the bytes are a kept copy's, not the file's.
    #[serde(default)]
    pub restored: bool,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many sources it was about.
    #[serde(default)]
    pub sources: usize,
    /// Whether a source can't be open twice, so that the pause may be as long as opening takes.
    #[serde(default)]
    pub exclusive: bool,
    /// How long it took.
    #[serde(default)]
    pub phases: Phases,
    /// What became of the tables' states; none were moved: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// What else operators want to know, a sentence each: which datasource begins without the state of what it replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, version, outcome, .. } = self;
        write!(f, "{driver} {version} {}", outcome.as_str())?;
        if let Some(to) = self.to {
            write!(f, ", generation {to}")?;
        }
        if let Some(from) = self.from {
            write!(f, " after {from}")?;
        }
        if self.restored {
            f.write_str(", from the kept copy")?;
        }
        if let Some(ledger) = &self.ledger {
            write!(f, ", gap={} dup={}", ledger.gap, ledger.dup)?;
        }
        if self.exclusive {
            write!(f, ", paused for {:?} as it can't be open twice", Duration::from_micros(self.phases.pause_us))?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_and_the_same_when_read_again() {
        let report = Report {
            driver: "x".to_owned(),
            version: "1.2.0".to_owned(),
            path: "a.so".into(),
            sha256: "ab".to_owned(),
            from: Some(1),
            to: Some(2),
            outcome: Outcome::RolledBack,
            restored: false,
            reason: Some("datasource \"one\" could not be polled with it: panicked".to_owned()),
            sources: 1,
            exclusive: true,
            phases: Phases { pause_us: 2500, ..Phases::default() },
            ledger: Some(Ledger { produced: 3, accepted: 3, delivered: 2, gap: 1, ..Ledger::default() }),
            notes: Vec::new(),
        };
        assert_eq!(
            report.to_string(),
            "x 1.2.0 rolled back, generation 2 after 1, gap=1 dup=0, paused for 2.5ms as it can't be open twice: datasource \
             \"one\" could not be polled with it: panicked"
        );
        let read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(read, report);
    }
}
