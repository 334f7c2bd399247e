//! Who took an event of the log, and has not come for the next one yet.

use super::catalogue::PREFIX;
use super::envelope::Event;
use super::topic;
use crate::logging::Handling;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Under which word all events of the log are told.
static OF_THE_LOG: LazyLock<String> = LazyLock::new(|| topic::family_word(&format!("{PREFIX}LoggingEvent")));

/// So many are known of a subscription; the first of more are forgotten.
const MOST: usize = 64;

/// Those who are at work on events of the log: what they log meanwhile is told nobody.
#[derive(Debug, Default)]
pub(super) struct Heeding(Mutex<Vec<Handling>>);

impl Heeding {
    /// Who runs this takes an event.
    pub(super) fn take(&self, event: &Event) {
        if !event.words.contains(&OF_THE_LOG) {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(Handling::begin());
    }

    /// Who runs this is done with what it took.
    pub(super) fn end(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !one.is_own());
    }
}
