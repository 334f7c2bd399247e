//! A table's place on the bus: its state, its writer's door, its subscribers.

use super::address::Address;
use super::queue::{Message, Queue, Subscription};
use crate::table::{Applied, Epoch, Limits, Refused, Rows, Shape, TableState};
use busway_plugin_api::table::Batches;
use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The place of a table: there before the table comes and after it goes.
#[derive(Debug)]
pub struct Slot {
    address: Address,
    /// Held by whoever changes the table, while the next state is worked out: readers need not wait for that.
    writer: Mutex<Option<TableState>>,
    cell: Mutex<Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    state: Option<Held>,
    /// Why the last attempt to read the table failed.
    error: Option<String>,
    /// When its rows were last known to be true.
    as_of: Option<Timestamp>,
    subscribers: Vec<Subscriber>,
}

/// What readers see of a state.
#[derive(Debug)]
struct Held {
    shape: Shape,
    rows: Rows,
    epoch: Epoch,
    to: u64,
}

#[derive(Debug)]
struct Subscriber {
    number: u64,
    queue: Arc<Queue>,
    since: Timestamp,
}

/// A table at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TableView {
    /// Its name.
    pub address: Address,
    /// Its columns and key.
    pub shape: Shape,
    /// Its rows.
    pub rows: Rows,
    /// Its life's number.
    pub epoch: Epoch,
    /// The state's number in it.
    pub to: u64,
    /// Why the last attempt to read it failed; the rows are those of the last good one.
    pub error: Option<String>,
    /// When its rows were last known to be true.
    pub as_of: Option<Timestamp>,
}

/// A subscription, for those who look after the bus.
#[derive(Debug, Clone)]
pub struct SubscriberView {
    /// Tells it from all others of this process.
    pub number: u64,
    /// When it began.
    pub since: Timestamp,
    /// How many messages wait.
    pub queued: usize,
    /// How often it fell behind.
    pub resynced: u64,
}

impl Slot {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, writer: Mutex::default(), cell: Mutex::default() }
    }

    /// The table's name.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The table now, if it is there.
    #[must_use]
    pub fn view(&self) -> Option<TableView> {
        let cell = self.cell();
        cell.state.as_ref().map(|state| self.view_of(&cell, state))
    }

    /// Whether the table is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.cell().state.is_some()
    }

    /// Why the last attempt to read the table failed, there or not.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.cell().error.clone()
    }

    /// Its subscribers.
    #[must_use]
    pub fn subscribers(&self) -> Vec<SubscriberView> {
        let view = |s: &Subscriber| {
            let (queued, resynced) = s.queue.counts();
            SubscriberView { number: s.number, since: s.since, queued, resynced }
        };
        self.cell().subscribers.iter().map(view).collect()
    }

    /// Takes a snapshot; answers whether the table's columns began anew.
    pub(crate) fn snapshot(&self, shape: Shape, rows: &Batches) -> Result<Applied, Refused> {
        let mut writer = self.turn();
        let applied = match &mut *writer {
            Some(state) => state.snapshot(shape, rows, 0)?,
            none => {
                *none = Some(TableState::begin(shape, rows, Limits::default())?);
                Applied::Begun
            }
        };
        self.swap(&writer, &applied);
        Ok(applied)
    }

    /// Takes a delta; `None` when there is no state it could change.
    pub(crate) fn delta(&self, added: &Batches, removed: &Batches) -> Option<Result<Applied, Refused>> {
        let mut writer = self.turn();
        let applied = writer.as_mut()?.delta(added, removed, 0);
        if let Ok(applied) = &applied {
            self.swap(&writer, applied);
        }
        Some(applied)
    }

    fn turn(&self) -> MutexGuard<'_, Option<TableState>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next state and the word of it in one breath.
    fn swap(&self, state: &Option<TableState>, applied: &Applied) {
        let mut cell = self.cell();
        cell.state = state.as_ref().map(|state| Held {
            shape: state.shape().clone(),
            rows: state.rows(),
            epoch: state.epoch(),
            to: state.to(),
        });
        self.tell(&mut cell, applied);
    }

    /// The rows were read and are what they were.
    pub(crate) fn confirm(&self) {
        let mut cell = self.cell();
        cell.as_of = Some(Timestamp::now());
        cell.error = None;
    }

    /// An attempt to read the rows failed.
    pub(crate) fn fail(&self, error: String) {
        self.cell().error = Some(error);
    }

    /// The table is no more; its subscribers stay.
    pub(crate) fn end(&self) -> bool {
        let mut writer = self.turn();
        *writer = None;
        let mut cell = self.cell();
        cell.error = None;
        cell.as_of = None;
        let was = cell.state.take().is_some();
        if was {
            cell.subscribers.iter().for_each(|s| s.queue.push(Message::Gone, 0));
        }
        was
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let queue = Arc::new(Queue::default());
        let mut cell = self.cell();
        // The state and the queue's place in line are taken in one breath: no step is missed, none comes twice.
        if let Some(state) = &cell.state {
            queue.push(Message::Snapshot(Arc::new(self.view_of(&cell, state))), 0);
        }
        cell.subscribers.push(Subscriber {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            queue: Arc::clone(&queue),
            since: Timestamp::now(),
        });
        drop(cell);
        Subscription::new(Arc::clone(self), queue)
    }

    pub(crate) fn unsubscribe(&self, queue: &Arc<Queue>) {
        self.cell().subscribers.retain(|s| !Arc::ptr_eq(&s.queue, queue));
    }

    /// The present state for one who fell behind; `ready` runs while no step can come.
    pub(crate) fn catch_up(&self, queue: &Queue, ready: impl FnOnce(&Queue)) -> Message {
        let cell = self.cell();
        ready(queue);
        match &cell.state {
            Some(state) => Message::Snapshot(Arc::new(self.view_of(&cell, state))),
            None => Message::Gone,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        let cell = self.cell();
        cell.state.is_none() && cell.error.is_none() && cell.subscribers.is_empty()
    }

    fn tell(&self, cell: &mut Cell, applied: &Applied) {
        cell.as_of = Some(Timestamp::now());
        cell.error = None;
        let message = match (applied, &cell.state) {
            (Applied::Stepped(step), _) => Message::Step(Arc::clone(step)),
            (Applied::Begun, Some(state)) => Message::Snapshot(Arc::new(self.view_of(cell, state))),
            _ => return,
        };
        let rows = cell.state.as_ref().map_or(0, |state| state.rows.num_rows());
        cell.subscribers.iter().for_each(|s| s.queue.push(message.clone(), rows));
    }

    fn view_of(&self, cell: &Cell, state: &Held) -> TableView {
        TableView {
            address: self.address.clone(),
            shape: state.shape.clone(),
            rows: state.rows.clone(),
            epoch: state.epoch,
            to: state.to,
            error: cell.error.clone(),
            as_of: cell.as_of,
        }
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
