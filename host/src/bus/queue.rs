//! A subscriber's queue: bounded, and never in the publisher's way.

use super::table::{Slot, TableView};
use crate::table::Step;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// So many steps wait for a subscriber; with one more it is served a snapshot instead.
const CAPACITY: usize = 256;
/// So many rows may wait in steps, or as many as the table has: beyond, a snapshot is cheaper.
const ROWS: usize = 65_536;

/// What a subscriber hears.
#[derive(Debug, Clone)]
pub enum Message {
    /// The table's whole state: the first message, after a table's return, a change of its columns, or when the
    /// subscriber fell behind. It replaces what was held.
    Snapshot(Arc<TableView>),
    /// A step from the state that the last message led to.
    Step(Arc<Step>),
    /// The table is no more. It may come back, as a snapshot.
    Gone,
}

impl Message {
    fn rows(&self) -> usize {
        match self {
            Self::Step(step) => step.added.num_rows() + step.removed.num_rows(),
            Self::Snapshot(_) | Self::Gone => 0,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// Of the steps that wait.
    rows: usize,
    /// Fell behind: what waits next is the table's present state.
    behind: bool,
    resynced: u64,
}

impl Waiting {
    fn clear(&mut self) {
        self.messages.clear();
        self.rows = 0;
    }
}

impl Queue {
    /// Never blocks: a full queue is emptied, and the subscriber marked as behind.
    /// `table` is how many rows the table has.
    pub(crate) fn push(&self, message: Message, table: usize) {
        let mut waiting = self.waiting();
        if !matches!(message, Message::Step(_)) {
            // A whole state, or none, makes all before it moot.
            waiting.clear();
            waiting.behind = false;
        }
        if waiting.behind {
            return;
        }
        waiting.rows += message.rows();
        if waiting.messages.len() >= CAPACITY || waiting.rows > ROWS.max(table) {
            waiting.clear();
            waiting.behind = true;
            waiting.resynced += 1;
        } else {
            waiting.messages.push_back(message);
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// How many messages wait, and how often the subscriber fell behind.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let waiting = self.waiting();
        (waiting.messages.len(), waiting.resynced)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription to one table. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    slot: Arc<Slot>,
    queue: Arc<Queue>,
}

impl Subscription {
    pub(crate) fn new(slot: Arc<Slot>, queue: Arc<Queue>) -> Self {
        Self { slot, queue }
    }

    /// The next message; waits for it.
    pub async fn next(&self) -> Message {
        loop {
            let bell = self.queue.bell.notified();
            if let Some(message) = self.try_next() {
                return message;
            }
            bell.await;
        }
    }

    /// The next message, if one waits.
    #[must_use]
    pub fn try_next(&self) -> Option<Message> {
        let mut waiting = self.queue.waiting();
        if !waiting.behind {
            let message = waiting.messages.pop_front()?;
            waiting.rows -= message.rows();
            return Some(message);
        }
        drop(waiting);
        Some(self.slot.catch_up(&self.queue, |queue| {
            let mut waiting = queue.waiting();
            waiting.behind = false;
            // Whatever came since is in the state that is about to be taken.
            waiting.clear();
        }))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.slot.unsubscribe(&self.queue);
    }
}
