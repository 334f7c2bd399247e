//! A table's place on the bus: its state, its writer's door, its recent steps, its subscribers, its views.
//!
//! A view is a place of its own, fed by the table it looks at under that table's lock: snapshots, steps, resuming and
//! queues are the same for both. Locks are taken in this order: registry, a table's writer, its views' writers, a cell, a
//! queue.

use super::address::Address;
use super::queue::{CatchUp, Message, Position, Queue};
use super::view::{Bound, View};
use crate::table::{Applied, Epoch, Limits, Refused, Ring, Rows, Shape, Step, TableState};
use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use busway_plugin_api::table::Batches;
use jiff::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Who publishes a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publisher {
    /// The node it runs on.
    pub node: Arc<str>,
    /// The service's registration: another after each restart.
    pub instance: Uuid,
}

/// The place of a table, or of a view of one: there before the table comes and after it goes.
#[derive(Debug)]
pub struct Slot {
    address: Arc<Address>,
    view: View,
    /// Held by whoever changes the table, while the next state is worked out: readers need not wait for that.
    writer: Mutex<Writer>,
    cell: Mutex<Cell>,
}

#[derive(Debug, Default)]
struct Writer {
    state: Option<TableState>,
    views: Vec<Fed>,
    /// The place was given up: another one is the table's now.
    retired: bool,
}

/// A view that this table feeds.
#[derive(Debug)]
struct Fed {
    slot: Arc<Slot>,
    /// The view of the present columns; none while there is no table, or it can't be looked at in that way.
    bound: Option<Bound>,
}

#[derive(Debug, Default)]
struct Cell {
    table: Option<Arc<TableView>>,
    ring: Ring,
    /// Why the last attempt to read the table failed.
    error: Option<String>,
    /// When its rows were last known to be true.
    as_of: Option<Timestamp>,
    subscribers: Vec<(Arc<Queue>, u32)>,
    /// The writer's views once more: who only looks need not wait for the writer.
    views: Vec<Arc<Slot>>,
}

/// A table at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TableView {
    /// Its name.
    pub address: Arc<Address>,
    /// Who published it.
    pub publisher: Publisher,
    /// Its columns and key.
    pub shape: Arc<Shape>,
    /// Its rows.
    pub rows: Rows,
    /// Its life's number.
    pub epoch: Epoch,
    /// The state's number in it.
    pub to: u64,
    /// The publisher's poll that the state comes from; 0: none.
    pub poll: u64,
    /// Why the last attempt to read it failed; the rows are those of the last good one.
    pub error: Option<String>,
    /// When its rows were last known to be true.
    pub as_of: Option<Timestamp>,
}

impl TableView {
    /// The table as a view shows it.
    pub(super) fn through(self: &Arc<Self>, view: &View) -> Result<Arc<Self>, String> {
        if view.is_everything() {
            return Ok(Arc::clone(self));
        }
        let below = match &view.through {
            Some(imposed) => self.through(imposed)?,
            None => Arc::clone(self),
        };
        let mut bound = view.bind(&below.shape).map_err(|e| e.to_string())?;
        let batches = bound.begin(below.rows.batches()).map_err(|e| e.to_string())?;
        let shape = Arc::new(bound.shape().clone());
        let rows = concat_batches(&shape.schema, &batches).map_err(|e| e.to_string())?;
        Ok(Arc::new(Self { shape, rows: Rows::from(rows), ..(*below).clone() }))
    }
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was applied, or refused.
    Done(Result<Applied, Refused>),
    /// There is no state that it could be a change of.
    NoState,
    /// The table has another place now.
    Retired,
    /// Who publishes may not any more.
    Forbidden,
}

/// What a writer does to a table.
pub(crate) enum Change<'a> {
    /// All its rows.
    Snapshot { shape: Shape, rows: &'a Batches },
    /// Rows to add and remove.
    Delta { added: &'a Batches, removed: &'a Batches },
    /// The whole table as another node has it.
    Copy { shape: Shape, rows: &'a Batches, epoch: Epoch, to: u64 },
    /// A step of another node's table.
    Step(&'a Step),
}

impl Slot {
    pub(crate) fn new(address: Address, view: View) -> Self {
        Self { address: Arc::new(address), view, writer: Mutex::default(), cell: Mutex::default() }
    }

    /// The table's name.
    #[must_use]
    pub fn address(&self) -> &Arc<Address> {
        &self.address
    }

    /// What of the table is here.
    #[must_use]
    pub fn view_of(&self) -> &View {
        &self.view
    }

    /// The table now, if it is there.
    #[must_use]
    pub fn view(&self) -> Option<Arc<TableView>> {
        let cell = self.cell();
        let table = cell.table.as_ref()?;
        if table.error == cell.error && table.as_of == cell.as_of {
            return Some(Arc::clone(table));
        }
        Some(Arc::new(TableView { error: cell.error.clone(), as_of: cell.as_of, ..(**table).clone() }))
    }

    /// Where the table stands.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.cell().table.as_ref().map(|table| (table.epoch, table.to))
    }

    /// Whether the table is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.cell().table.is_some()
    }

    /// Why the last attempt to read the table failed, there or not.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.cell().error.clone()
    }

    /// How many subscriptions it serves, its views' included.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        let (own, views) = {
            let cell = self.cell();
            (cell.subscribers.len(), cell.views.clone())
        };
        own + views.iter().map(|view| view.subscribers()).sum::<usize>()
    }

    /// How many recent steps are kept, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        let cell = self.cell();
        (cell.ring.len(), cell.ring.bytes())
    }

    /// Changes the table.
    /// `may`: whether who publishes still may, asked when it is its turn.
    pub(crate) fn change(
        &self,
        change: &Change<'_>,
        poll: u64,
        limits: Limits,
        publisher: &Publisher,
        may: impl FnOnce() -> bool,
    ) -> Outcome {
        let mut writer = self.turn();
        if writer.retired {
            return Outcome::Retired;
        }
        if !may() {
            return Outcome::Forbidden;
        }
        let from_elsewhere = matches!(change, Change::Copy { .. } | Change::Step(_));
        let applied = match (&mut writer.state, change) {
            (Some(state), Change::Snapshot { shape, rows }) => state.snapshot(shape.clone(), rows, poll),
            (Some(state), Change::Delta { added, removed }) => state.delta(added, removed, poll),
            (Some(state), Change::Copy { shape, rows, epoch, to }) => {
                state.resync(shape.clone(), rows, *epoch, *to, poll)
            }
            (Some(state), Change::Step(step)) => state.apply(step).map(Applied::Stepped),
            (none, Change::Snapshot { shape, rows }) => {
                TableState::begin(shape.clone(), rows, limits).map(|state| Self::begun(none, state))
            }
            (none, Change::Copy { shape, rows, epoch, to }) => {
                let state = TableState::begin_at(shape.clone(), rows, limits, *epoch, *to);
                state.map(|state| Self::begun(none, state))
            }
            (None, Change::Delta { .. } | Change::Step(_)) => return Outcome::NoState,
        };
        if let Ok(applied) = &applied {
            self.announce(&mut writer, applied, poll, publisher);
            if from_elsewhere {
                self.compact_in(&mut writer);
            }
        }
        Outcome::Done(applied)
    }

    fn begun(place: &mut Option<TableState>, state: TableState) -> Applied {
        *place = Some(state);
        Applied::Begun
    }

    /// The next state and the word of it in one breath; then the views'.
    fn announce(&self, writer: &mut Writer, applied: &Applied, poll: u64, publisher: &Publisher) {
        let Some(state) = &writer.state else { return };
        let moved = match (applied, self.position()) {
            // The same rows at a later position: a step all the same, or the next would not continue.
            (Applied::Unchanged, Some((epoch, from))) if from < state.to() => {
                let none = RecordBatch::new_empty(Arc::clone(&state.shape().schema));
                let (removed, added) = (none.clone(), none);
                Some(Applied::Stepped(Arc::new(Step { epoch, from, to: state.to(), poll, removed, added, updated: 0 })))
            }
            _ => None,
        };
        let applied = moved.as_ref().unwrap_or(applied);
        let table = Arc::new(TableView {
            address: Arc::clone(&self.address),
            publisher: publisher.clone(),
            shape: state.shared_shape(),
            rows: state.rows(),
            epoch: state.epoch(),
            to: state.to(),
            poll,
            error: None,
            as_of: Some(Timestamp::now()),
        });
        self.tell(Arc::clone(&table), applied);
        for fed in &mut writer.views {
            fed.slot.look(&mut fed.bound, &table, applied);
        }
    }

    fn tell(&self, table: Arc<TableView>, applied: &Applied) {
        let mut cell = self.cell();
        cell.as_of = table.as_of;
        cell.error = None;
        cell.table = Some(Arc::clone(&table));
        let message = match applied {
            Applied::Stepped(step) => {
                cell.ring.push(Arc::clone(step));
                Message::Step(Arc::clone(step))
            }
            Applied::Begun => {
                cell.ring.begin(table.epoch, table.to);
                Message::Snapshot(table)
            }
            Applied::Unchanged => return,
        };
        let bytes = message.bytes();
        for (queue, number) in &cell.subscribers {
            queue.push(*number, message.clone(), bytes);
        }
    }

    /// What a view makes of its table's change. Its position follows only what it shows: what shows nothing makes the next
    /// step wider.
    fn look(&self, bound: &mut Option<Bound>, table: &TableView, applied: &Applied) {
        let mut writer = self.turn();
        let mut seen: Result<Applied, String> = Ok(Applied::Unchanged);
        match (applied, bound.as_mut(), writer.state.as_mut()) {
            (Applied::Unchanged, _, _) => {}
            (Applied::Stepped(step), Some(bound), Some(state)) => {
                let shown = bound.step(&step.removed, &step.added, step.updated);
                let applied = shown.and_then(|(removed, added, updated)| {
                    if removed.num_rows() + added.num_rows() == 0 {
                        return Ok(Applied::Unchanged);
                    }
                    let (epoch, from, to, poll) = (step.epoch, state.to(), step.to, step.poll);
                    state.apply(&Step { epoch, from, to, poll, removed, added, updated }).map(Applied::Stepped)
                });
                seen = applied.map_err(|e| e.to_string());
            }
            (Applied::Begun, ..) | (_, None, _) | (_, _, None) => *bound = None,
        }
        if bound.is_none() || seen.is_err() {
            seen = self.begin_view(bound, &mut writer, table);
        }
        match seen {
            Ok(applied) => {
                self.announce(&mut writer, &applied, table.poll, &table.publisher);
                self.compact_in(&mut writer);
                drop(writer);
                self.confirm();
            }
            Err(error) => {
                drop(writer);
                self.end();
                self.fail(error);
            }
        }
    }

    fn begin_view(&self, bound: &mut Option<Bound>, writer: &mut Writer, table: &TableView) -> Result<Applied, String> {
        let mut fresh = self.view.bind(&table.shape).map_err(|e| e.to_string())?;
        let shape = fresh.shape().clone();
        let batches = fresh.begin(table.rows.batches()).map_err(|e| e.to_string())?;
        let rows = Batches { schema: Arc::clone(&shape.schema), batches };
        let (epoch, to) = (table.epoch, table.to);
        let applied = match &mut writer.state {
            Some(state) => state.resync(shape, &rows, epoch, to, table.poll),
            none => TableState::begin_at(shape, &rows, Limits::NONE, epoch, to).map(|s| Self::begun(none, s)),
        };
        *bound = Some(fresh);
        applied.map_err(|e| e.to_string())
    }

    /// From now on feeds a view; what it shows now is there when this returns.
    pub(crate) fn adopt(&self, view: &Arc<Self>) {
        let mut writer = self.turn();
        if writer.views.iter().any(|fed| Arc::ptr_eq(&fed.slot, view)) {
            return;
        }
        let mut bound = None;
        if let Some(table) = self.view() {
            view.look(&mut bound, &table, &Applied::Begun);
        }
        writer.views.push(Fed { slot: Arc::clone(view), bound });
        self.cell().views.push(Arc::clone(view));
    }

    /// Feeds a view no longer.
    pub(crate) fn disown(&self, view: &Slot) {
        let mut writer = self.turn();
        writer.views.retain(|fed| !std::ptr::eq(Arc::as_ptr(&fed.slot), view));
        self.cell().views.retain(|slot| !std::ptr::eq(Arc::as_ptr(slot), view));
    }

    /// The rows were read and are what they were.
    pub(crate) fn confirm(&self) {
        let views = {
            let mut cell = self.cell();
            cell.as_of = Some(Timestamp::now());
            cell.error = None;
            cell.views.clone()
        };
        views.iter().for_each(|view| view.confirm());
    }

    /// An attempt to read the rows failed.
    pub(crate) fn fail(&self, error: String) {
        let views = self.cell().views.clone();
        views.iter().for_each(|view| view.fail(error.clone()));
        self.cell().error = Some(error);
    }

    /// The table is no more; its subscribers stay.
    pub(crate) fn end(&self) -> bool {
        let mut writer = self.turn();
        for fed in &mut writer.views {
            fed.bound = None;
            fed.slot.end();
        }
        writer.state = None;
        let mut cell = self.cell();
        cell.error = None;
        cell.as_of = None;
        cell.ring.clear();
        let was = cell.table.take().is_some();
        if was {
            cell.subscribers.iter().for_each(|(queue, number)| queue.push(*number, Message::Gone, 0));
        }
        was
    }

    /// Gives a subscription a place in line. `resume`: where the subscriber stands already; answers whether it can go on
    /// from there. Without, or when it can't, the first message is the present state.
    pub(crate) fn attach(self: &Arc<Self>, queue: &Arc<Queue>, resume: Option<Position>) -> bool {
        let mut cell = self.cell();
        // The state and the place in line are taken in one breath: no step is missed, none comes twice.
        let steps = resume.and_then(|(epoch, to)| cell.ring.since(epoch, to));
        let Some(number) = queue.join(self, resume.filter(|_| steps.is_some())) else { return false };
        match (&steps, &cell.table) {
            (Some(steps), _) => {
                steps.iter().for_each(|step| queue.push(number, Message::Step(Arc::clone(step)), step.bytes()));
            }
            (None, Some(table)) => queue.push(number, Message::Snapshot(Arc::clone(table)), 0),
            (None, None) => {}
        }
        cell.subscribers.push((Arc::clone(queue), number));
        steps.is_some()
    }

    pub(crate) fn detach(&self, queue: &Arc<Queue>) {
        let mut cell = self.cell();
        if let Some(at) = cell.subscribers.iter().position(|(of, _)| Arc::ptr_eq(of, queue)) {
            cell.subscribers.swap_remove(at);
        }
    }

    /// Whether it feeds views.
    pub(crate) fn has_views(&self) -> bool {
        !self.cell().views.is_empty()
    }

    /// Whether anybody has a place here.
    pub(crate) fn has_queues(&self) -> bool {
        !self.cell().subscribers.is_empty()
    }

    /// The queues that have a place here.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        self.cell().subscribers.iter().map(|(queue, _)| Arc::clone(queue)).collect()
    }

    /// What brings one who fell behind to the present, and puts it in line again.
    pub(crate) fn catch_up(&self, queue: &Queue, number: u32, whole: bool) -> CatchUp {
        let cell = self.cell();
        let now = cell.table.as_ref().map(|table| (table.epoch, table.to));
        let was = queue.on_time(number, now);
        match (&cell.table, was) {
            (None, None) => CatchUp::Nothing,
            (None, Some(_)) => CatchUp::Message(Message::Gone),
            (Some(_), _) if now == was => CatchUp::Nothing,
            (Some(table), was) => match was.filter(|_| !whole).and_then(|(epoch, to)| cell.ring.since(epoch, to)) {
                Some(steps) => CatchUp::Sum(steps),
                None => CatchUp::Message(Message::Snapshot(Arc::clone(table))),
            },
        }
    }

    /// The sum of steps of the present columns.
    pub(crate) fn sum(&self, steps: &[Arc<Step>]) -> Option<Step> {
        let shape = self.cell().table.as_ref().map(|table| Arc::clone(&table.shape))?;
        Step::coalesce(&shape, steps).ok()
    }

    /// Gives the place up if nothing is here and nobody waits for it; answers whether it is given up. Whoever is about to
    /// publish here is told, and looks for the table's new place.
    pub(crate) fn retire(&self) -> bool {
        if !self.is_idle() {
            return false;
        }
        let mut writer = self.turn();
        writer.retired = self.is_idle();
        writer.retired
    }

    fn is_idle(&self) -> bool {
        let cell = self.cell();
        cell.views.is_empty() && cell.table.is_none() && cell.error.is_none() && cell.subscribers.is_empty()
    }

    /// Gives back the memory of rows that are no more, if it is worth it.
    pub(crate) fn compact(&self) {
        self.compact_in(&mut self.turn());
    }

    fn compact_in(&self, writer: &mut Writer) {
        let Some(state) = writer.state.as_mut().filter(|state| state.needs_compaction()) else { return };
        state.compact();
        let rows = state.rows();
        let mut cell = self.cell();
        if let Some(table) = &cell.table {
            cell.table = Some(Arc::new(TableView { rows, ..(**table).clone() }));
        }
    }

    /// Whether much of its memory holds rows that are no more.
    pub(crate) fn needs_compaction(&self) -> bool {
        self.turn().state.as_ref().is_some_and(TableState::needs_compaction)
    }

    fn turn(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
