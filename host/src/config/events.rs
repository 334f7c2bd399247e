//! `[events]`: how events are kept and told.

use crate::event::{Kept, Settings};
use serde::Deserialize;
use std::time::Duration;

/// How events are kept and told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// So many of each type are kept in memory; 0: none.
    pub history: usize,
    /// What is kept of all types together has no more bytes.
    pub history_bytes: usize,
    /// So many a second each publisher may publish; 0: as many as it has.
    pub rate: usize,
    /// Whether events of types that nobody described are refused.
    pub strict: bool,
    /// Whether what happened is kept over restarts, in a file of its own in the state directory.
    pub durable: bool,
    /// So many events are kept there.
    pub durable_events: u64,
}

impl Default for Events {
    fn default() -> Self {
        let Settings { kept, rate, strict, .. } = Settings::default();
        Self {
            history: kept.events,
            history_bytes: kept.bytes,
            rate: rate.map_or(0, |(most, _)| most),
            strict,
            durable: false,
            durable_events: 1_000_000,
        }
    }
}

impl Events {
    /// The same, for the events' room.
    #[must_use]
    pub fn settings(&self, bus_id: &str, node: &str) -> Settings {
        Settings {
            bus_id: bus_id.to_owned(),
            node: node.to_owned(),
            kept: Kept { events: self.history, bytes: self.history_bytes },
            rate: (self.rate > 0).then_some((self.rate, Duration::from_secs(1))),
            strict: self.strict,
        }
    }
}
