//! What operators see of a datasource.

use super::phase::{Event, Phase};
use jiff::Timestamp;

/// A datasource at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last; empty when nothing is wrong.
    pub error: String,
    /// The generation that its source is of.
    pub generation: Option<u64>,
    /// How many polls were good: of those that have tables, one at least could be read.
    pub polls: u64,
    /// How many failed.
    pub failures: u64,
    /// When the last good one ended.
    pub last_poll: Option<Timestamp>,
    /// How often clients wrote its tables, or told it of news that it took.
    pub writes: u64,
    /// When they did last.
    pub last_write: Option<Timestamp>,
    /// What the source says it is doing.
    pub text: String,
    /// Whether nothing of it could be read when all of it was to be.
    pub(crate) unread: bool,
    /// Which polls of all tables there were.
    pub(crate) rounds: Rounds,
}

/// Polls of all tables, which come one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rounds {
    /// How many began.
    pub(crate) begun: u64,
    /// How many ended.
    pub(crate) ended: u64,
    /// Why the last of these was of no use; empty: it was.
    pub(crate) error: String,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            phase: Phase::default(),
            since: Timestamp::now(),
            error: String::new(),
            generation: None,
            polls: 0,
            failures: 0,
            last_poll: None,
            writes: 0,
            last_write: None,
            text: String::new(),
            unread: false,
            rounds: Rounds::default(),
        }
    }
}

impl Status {
    /// A poll answered; of all tables, or of some.
    pub(crate) fn polled(&mut self, good: bool, all: bool) {
        // One table that can't be read says nothing of the others.
        self.unread = !good && (all || self.unread);
        if good {
            self.polls += 1;
            self.last_poll = Some(Timestamp::now());
        } else {
            self.failures += 1;
        }
    }

    /// A poll of all tables has ended.
    pub(crate) fn round(&mut self, error: impl Into<String>) {
        self.rounds.ended = self.rounds.begun;
        self.rounds.error = error.into();
    }

    /// A client wrote something.
    pub(crate) fn written(&mut self) {
        self.writes += 1;
        self.last_write = Some(Timestamp::now());
    }

    /// Something happened, with what is wrong now, if anything is.
    pub(crate) fn on(&mut self, event: Event, error: impl Into<String>) {
        let phase = self.phase.after(event);
        if phase != self.phase {
            (self.phase, self.since) = (phase, Timestamp::now());
        }
        self.error = error.into();
    }
}
