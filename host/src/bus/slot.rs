//! A table's place on the bus: its state, its writer's door, its recent steps, its subscribers, its views.
//!
//! A view is a place of its own, fed by the table it looks at under that table's lock: snapshots, steps, resuming and
//! queues are the same for both. Locks are taken in this order: a table's writer, its views' writers, a cell, a queue. The
//! registry's comes before a cell and never together with a writer's: a writer's is held while rows are worked on, and
//! what the registry has to say to a place (which views it feeds, that another life of its table begins) it leaves in the
//! cell, where the next writer finds it, or who left it when the registry is free.

use super::address::Address;
use super::queue::{CatchUp, Message, Position, Queue};
use super::table_view::{Publisher, TableView};
use super::view::{Bound, View};
use crate::table::{Applied, Epoch, Limits, Refused, Ring, Shape, Step, TableState};
use arrow_array::RecordBatch;
use busway_plugin_api::table::Batches;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Of which life the state is.
    life: u64,
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
    /// The views that it is to feed. The writer's follow them.
    views: Vec<Arc<Slot>>,
    /// They are others than the writer's.
    unfit: bool,
    /// Another whenever the table's service moved: what was there before is no more. The same in all places of a table.
    life: u64,
    /// Changes that are being worked out.
    busy: usize,
    /// The place was given up: another one is the table's now.
    retired: bool,
}

/// A change that is being worked out: the place stays meanwhile.
struct Busy<'a>(&'a Slot);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.cell().busy -= 1;
    }
}

impl Cell {
    /// The table is no more; answers whether it was there.
    fn clear(&mut self) -> bool {
        self.error = None;
        self.as_of = None;
        self.ring.clear();
        let was = self.table.take().is_some();
        if was {
            self.subscribers.iter().for_each(|(queue, number)| queue.push(*number, Message::Gone, 0));
        }
        was
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

/// Whoever says something of a table may, in this process.
pub(crate) fn always() -> bool {
    true
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
    /// `life`: that of the table's other places.
    pub(crate) fn new(address: Address, view: View, life: u64) -> Self {
        let cell = Mutex::new(Cell { life, ..Cell::default() });
        Self { address: Arc::new(address), view, writer: Mutex::default(), cell }
    }

    /// The number of the table's present life.
    pub(crate) fn life(&self) -> u64 {
        self.cell().life
    }

    /// Another life of the table begins: what was here is no more, and whoever works out a change of it won't be heard.
    pub(crate) fn begin_life(&self, life: u64) {
        let mut cell = self.cell();
        cell.life = life;
        cell.clear();
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
        let Some(_busy) = self.begin() else { return Outcome::Retired };
        // First of which life it is: who may write after that is of this life.
        self.fit(&mut writer);
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
            if !self.announce(&mut writer, applied, poll, publisher) {
                return Outcome::Forbidden;
            }
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

    /// The next state and the word of it in one breath; then the views'. `false`: it is of a life that is over.
    fn announce(&self, writer: &mut Writer, applied: &Applied, poll: u64, publisher: &Publisher) -> bool {
        let Some(state) = &writer.state else { return false };
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
        if !self.tell(Arc::clone(&table), applied, writer.life) {
            return false;
        }
        for fed in &mut writer.views {
            fed.slot.look(&mut fed.bound, &table, applied, writer.life);
        }
        true
    }

    fn tell(&self, table: Arc<TableView>, applied: &Applied, life: u64) -> bool {
        let mut cell = self.cell();
        if cell.life != life {
            return false;
        }
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
            Applied::Unchanged => return true,
        };
        let bytes = message.bytes();
        for (queue, number) in &cell.subscribers {
            queue.push(*number, message.clone(), bytes);
        }
        true
    }

    /// What a view makes of its table's change. Its position follows only what it shows: what shows nothing makes the next
    /// step wider. `life`: of which the table is.
    fn look(&self, bound: &mut Option<Bound>, table: &TableView, applied: &Applied, life: u64) {
        let mut writer = self.turn();
        if self.fit(&mut writer) != life {
            return;
        }
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
                self.confirm(&always);
            }
            Err(error) => {
                drop(writer);
                self.end(&always);
                self.fail(&error, &always);
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

    /// Is to feed a view. [`align`](Self::align) it when nothing is locked: then what the view shows is there.
    pub(crate) fn feed(&self, view: &Arc<Self>) {
        let mut cell = self.cell();
        if !cell.views.iter().any(|slot| Arc::ptr_eq(slot, view)) {
            cell.views.push(Arc::clone(view));
            cell.unfit = true;
        }
    }

    /// Is to feed a view no longer.
    pub(crate) fn unfeed(&self, view: &Slot) {
        let mut cell = self.cell();
        cell.views.retain(|slot| !std::ptr::eq(Arc::as_ptr(slot), view));
        cell.unfit = true;
    }

    /// Does what the registry left to do here. Waits for who writes.
    pub(crate) fn align(&self) {
        self.fit(&mut self.turn());
    }

    /// The writer's side follows the cell: of the same life, with the same views, and those that are new are filled.
    /// Answers the life.
    fn fit(&self, writer: &mut Writer) -> u64 {
        let (life, views) = {
            let mut cell = self.cell();
            let unfit = std::mem::take(&mut cell.unfit);
            (cell.life, unfit.then(|| cell.views.clone()))
        };
        if writer.life != life {
            writer.life = life;
            writer.state = None;
            writer.views.iter_mut().for_each(|fed| fed.bound = None);
        }
        let Some(views) = views else { return life };
        let wanted: HashSet<*const Self> = views.iter().map(Arc::as_ptr).collect();
        writer.views.retain(|fed| wanted.contains(&Arc::as_ptr(&fed.slot)));
        let known: HashSet<*const Self> = writer.views.iter().map(|fed| Arc::as_ptr(&fed.slot)).collect();
        let table = writer.state.as_ref().and_then(|_| self.view());
        for slot in views.into_iter().filter(|slot| !known.contains(&Arc::as_ptr(slot))) {
            let mut bound = None;
            if let Some(table) = &table {
                slot.look(&mut bound, table, &Applied::Begun, life);
                slot.inherit(table);
            }
            writer.views.push(Fed { slot, bound });
        }
        life
    }

    /// How true the rows of a view that was just filled are.
    fn inherit(&self, table: &TableView) {
        let mut cell = self.cell();
        if cell.table.is_some() {
            cell.error.clone_from(&table.error);
            cell.as_of = table.as_of;
        }
    }

    /// The rows were read and are what they were, if who says so still `may` when it is its turn. `false`: the table has
    /// another place now.
    pub(crate) fn confirm(&self, may: &dyn Fn() -> bool) -> bool {
        self.say(may, &|cell| (cell.as_of, cell.error) = (Some(Timestamp::now()), None))
    }

    /// An attempt to read the rows failed. `may`, and the answer: as above.
    pub(crate) fn fail(&self, error: &str, may: &dyn Fn() -> bool) -> bool {
        self.say(may, &|cell| cell.error = Some(error.to_owned()))
    }

    /// The rows are from elsewhere than a reading, of that time. `may`, and the answer: as above.
    pub(crate) fn outdate(&self, error: &str, as_of: Option<Timestamp>, may: &dyn Fn() -> bool) -> bool {
        self.say(may, &|cell| (cell.error, cell.as_of) = (Some(error.to_owned()), as_of))
    }

    /// Says how true the rows are, here and in views.
    fn say(&self, may: &dyn Fn() -> bool, how: &dyn Fn(&mut Cell)) -> bool {
        let views = {
            let mut cell = self.cell();
            if cell.retired {
                return false;
            }
            if !may() {
                return true;
            }
            how(&mut cell);
            cell.views.clone()
        };
        views.iter().for_each(|view| _ = view.say(may, how));
        true
    }

    /// The table is no more; its subscribers stay.
    pub(crate) fn end(&self, may: &dyn Fn() -> bool) -> bool {
        let mut writer = self.turn();
        if !may() {
            return false;
        }
        for fed in &mut writer.views {
            fed.bound = None;
            fed.slot.end(may);
        }
        writer.state = None;
        self.cell().clear()
    }

    /// Gives a subscription a place in line. `resume`: where the subscriber stands already; answers whether it can go on
    /// from there. Without, or when it can't, the first message is the present state. `None`: it has a place already.
    pub(crate) fn attach(self: &Arc<Self>, queue: &Arc<Queue>, resume: Option<Position>) -> Option<bool> {
        let mut cell = self.cell();
        // The state and the place in line are taken in one breath: no step is missed, none comes twice.
        let steps = resume.and_then(|(epoch, to)| cell.ring.since(epoch, to));
        let number = queue.join(self, resume.filter(|_| steps.is_some()))?;
        match (&steps, &cell.table) {
            (Some(steps), _) => {
                steps.iter().for_each(|step| queue.push(number, Message::Step(Arc::clone(step)), step.bytes()));
            }
            (None, Some(table)) => queue.push(number, Message::Snapshot(Arc::clone(table)), 0),
            (None, None) => {}
        }
        cell.subscribers.push((Arc::clone(queue), number));
        Some(steps.is_some())
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
        let mut cell = self.cell();
        let idle = cell.views.is_empty() && cell.table.is_none() && cell.error.is_none() && cell.subscribers.is_empty();
        cell.retired |= idle && cell.busy == 0;
        cell.retired
    }

    /// A change begins, if the place is the table's.
    fn begin(&self) -> Option<Busy<'_>> {
        let mut cell = self.cell();
        if cell.retired {
            return None;
        }
        cell.busy += 1;
        Some(Busy(self))
    }

    /// Holds the writer up, as one who works on many rows does.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        let busy = self.begin();
        let turn = self.turn();
        Held { _turn: turn, _busy: busy }
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

#[cfg(test)]
struct Held<'a> {
    _turn: MutexGuard<'a, Writer>,
    _busy: Option<Busy<'a>>,
}

#[cfg(test)]
impl Drop for Held<'_> {
    fn drop(&mut self) {}
}
