//! A table's present state, and how it moves on.

use super::diff::{Difference, diff, duplicates};
use super::fingerprint::{Printer, Prints};
use super::index::{Index, of_delta, of_step, refuse};
use super::intake::{Taken, take};
use super::limits::Limits;
use super::rows::{Rows, bytes_of};
use super::shape::{Refused, Shape};
use super::step::{Epoch, Step};
use super::store::{Store, pick};
use super::threads::threads;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use busway_plugin_api::table::Batches;
use std::sync::Arc;

/// The rows of a table, and where they stand. Belongs to whoever writes the table; readers hold its [`Rows`]. An error of
/// any method leaves all as it was.
///
/// A snapshot costs a pass over its rows. A delta or step costs its own rows, once the first of them has made an index.
#[derive(Debug)]
pub struct TableState {
    shape: Arc<Shape>,
    printer: Printer,
    limits: Limits,
    epoch: Epoch,
    to: u64,
    store: Store,
    /// By position.
    prints: Prints,
    /// From the first delta or step on, until a snapshot moves the rows.
    index: Option<Index>,
    duplicates: u64,
}

/// What taking rows led to.
#[derive(Debug, Clone)]
pub enum Applied {
    /// Nothing: the same rows.
    Unchanged,
    /// A step.
    Stepped(Arc<Step>),
    /// The table's first rows, or other columns: subscribers begin anew.
    Begun,
}

impl TableState {
    /// A table's first state: the first of a new epoch.
    ///
    /// # Errors
    ///
    /// When the rows contradict themselves or are too many.
    pub fn begin(shape: Shape, rows: &Batches, limits: Limits) -> Result<Self, Refused> {
        Self::begin_at(shape, rows, limits, Epoch::next(), 1)
    }

    /// As [`begin`](Self::begin), of rows that were taken before.
    ///
    /// # Errors
    ///
    /// When the rows are of another shape than this, or too many.
    pub fn begin_taken(shape: Shape, rows: Taken, limits: Limits) -> Result<Self, Refused> {
        rows.check(&shape, limits)?;
        Self::begin_with(shape, rows, limits, Epoch::next(), 1)
    }

    /// A copy of a table that stands elsewhere, at this position.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn begin_at(shape: Shape, rows: &Batches, limits: Limits, epoch: Epoch, to: u64) -> Result<Self, Refused> {
        let taken = Taken::of(&shape, rows, limits)?;
        Self::begin_with(shape, taken, limits, epoch, to)
    }

    /// Of rows that passed the border already.
    fn begin_with(shape: Shape, taken: Taken, limits: Limits, epoch: Epoch, to: u64) -> Result<Self, Refused> {
        let printer = Printer::new(&shape)?;
        let prints = printer.prints(taken.batches.iter(), threads(taken.rows))?;
        let folded = duplicates(&prints, threads(taken.rows));
        let mut store = Store::new(Arc::clone(&shape.schema), taken.batches);
        store.remove(&folded);
        let duplicates = folded.len() as u64;
        Ok(Self { shape: Arc::new(shape), printer, limits, epoch, to, store, prints, index: None, duplicates })
    }

    /// Takes a snapshot: the step to it, or a new epoch when its columns or key are others. `poll` goes into the step.
    ///
    /// # Errors
    ///
    /// When the rows contradict themselves or are too many.
    pub fn snapshot(&mut self, shape: Shape, rows: &Batches, poll: u64) -> Result<Applied, Refused> {
        let taken = Taken::of(&shape, rows, self.limits)?;
        self.snapshot_taken(shape, taken, poll)
    }

    /// As [`snapshot`](Self::snapshot), of rows that were taken before.
    ///
    /// # Errors
    ///
    /// When the rows are of another shape than this, or too many.
    pub fn snapshot_taken(&mut self, shape: Shape, rows: Taken, poll: u64) -> Result<Applied, Refused> {
        rows.check(&shape, self.limits)?;
        if !self.shape.continues(&shape) {
            self.begin_again(shape, rows, Epoch::next(), 1)?;
            return Ok(Applied::Begun);
        }
        let to = self.to + 1;
        Ok(self.replace(shape, rows, to, poll)?.map_or(Applied::Unchanged, Applied::Stepped))
    }

    /// Takes a delta. Keyed tables: rows to insert or replace, and the keys to remove; others: rows added and removed.
    /// `poll` goes into the step.
    ///
    /// # Errors
    ///
    /// When its columns are others, it contradicts the rows, or they would be too many.
    pub fn delta(&mut self, added: &Batches, removed: &Batches, poll: u64) -> Result<Applied, Refused> {
        let key = self.shape.key_columns();
        let keyed = !key.is_empty();
        let keys = if keyed { Arc::new(self.shape.schema.project(&key)?) } else { Arc::clone(&self.shape.schema) };
        let added = self.given(&self.shape.schema, added, "")?;
        let removed = self.given(&keys, removed, "removed ")?;
        let added_prints = self.printer.prints(std::iter::once(&added), 1)?;
        let removed_prints = self.printer.bare(&removed)?;
        self.make_room(added.num_rows());
        let index = self.index.get_or_insert_with(|| Index::of(&self.prints, self.store.positions().as_deref()));
        let difference = of_delta(&self.prints, index, &added_prints, &removed_prints, keyed)?;
        if difference.is_empty() {
            return Ok(Applied::Unchanged);
        }
        self.change(difference, &added, &added_prints, self.to + 1, poll).map(Applied::Stepped)
    }

    /// Takes a step from elsewhere: a copy of a table does, or a view of one. Answers the step from where the state stood;
    /// what would replace a row by its like is left out of it.
    ///
    /// # Errors
    ///
    /// When it does not begin at the state's position or before and lead beyond, when it removes rows that are not there
    /// or adds some that are, or when there would be too many.
    pub fn apply(&mut self, step: &Step) -> Result<Arc<Step>, Refused> {
        if step.epoch != self.epoch {
            return refuse("the step is of another epoch");
        }
        if step.from > self.to || step.to <= self.to {
            return refuse("the step leads from elsewhere");
        }
        let added = self.given(&self.shape.schema, &step.added.clone().into(), "")?;
        let removed = self.given(&self.shape.schema, &step.removed.clone().into(), "removed ")?;
        let added_prints = self.printer.prints(std::iter::once(&added), 1)?;
        let removed_prints = self.printer.prints(std::iter::once(&removed), 1)?;
        self.make_room(added.num_rows());
        let index = self.index.get_or_insert_with(|| Index::of(&self.prints, self.store.positions().as_deref()));
        let difference = of_step(&self.prints, index, &added_prints, &removed_prints)?;
        self.change(difference, &added, &added_prints, step.to, step.poll)
    }

    /// A copy learns a whole later state of the table: the step to it, or, when the position is the same or nothing is
    /// different, [`Applied::Unchanged`] with the position moved. In another epoch, with other columns, or with other rows
    /// at the very same position, it begins anew there.
    ///
    /// # Errors
    ///
    /// When it is an earlier state of the same epoch, or the rows contradict themselves or are too many.
    pub fn resync(
        &mut self,
        shape: Shape,
        rows: &Batches,
        epoch: Epoch,
        to: u64,
        poll: u64,
    ) -> Result<Applied, Refused> {
        let continues = epoch == self.epoch && self.shape.continues(&shape);
        if continues && to < self.to {
            return refuse("the state is an earlier one");
        }
        let taken = Taken::of(&shape, rows, self.limits)?;
        if !continues {
            self.begin_again(shape, taken, epoch, to)?;
            return Ok(Applied::Begun);
        }
        let same = to == self.to;
        let step = self.replace(shape, taken, to, poll)?;
        self.to = to;
        Ok(match step {
            None => Applied::Unchanged,
            // No step leads from a position to itself.
            Some(_) if same => Applied::Begun,
            Some(step) => Applied::Stepped(step),
        })
    }

    /// The same table's next life.
    fn begin_again(&mut self, shape: Shape, rows: Taken, epoch: Epoch, to: u64) -> Result<(), Refused> {
        let next = Self::begin_with(shape, rows, self.limits, epoch, to)?;
        *self = Self { duplicates: self.duplicates + next.duplicates, ..next };
        Ok(())
    }

    /// The rows become these, at that position, if they are different.
    fn replace(&mut self, shape: Shape, taken: Taken, to: u64, poll: u64) -> Result<Option<Arc<Step>>, Refused> {
        let prints = self.printer.prints(taken.batches.iter(), threads(taken.rows))?;
        let positions = self.store.positions();
        let present = positions.as_ref().map(|positions| self.prints.pick(positions));
        let (mut difference, folded) = diff(present.as_ref().unwrap_or(&self.prints), &prints, threads(taken.rows));
        let step = if difference.is_empty() {
            None
        } else {
            if let Some(positions) = positions {
                difference.removed.iter_mut().for_each(|row| *row = positions[*row as usize]);
            }
            let removed = self.store.gather(&difference.removed)?;
            let mut store = Store::new(Arc::clone(&shape.schema), taken.batches);
            let added = store.gather(&difference.added)?;
            store.remove(&folded);
            (self.store, self.prints, self.index) = (store, prints, None);
            Some(self.step(removed, added, difference.updated, to, poll))
        };
        self.duplicates += folded.len() as u64;
        // Descriptions may change without an epoch.
        self.shape = Arc::new(shape);
        Ok(step)
    }

    /// Rows of a delta or step, in the host's memory.
    fn given(&self, expected: &SchemaRef, rows: &Batches, which: &str) -> Result<RecordBatch, Refused> {
        let shape = |schema: &SchemaRef| Shape { schema: Arc::clone(schema), ..(*self.shape).clone() };
        let canonical = super::canonical::schema(&rows.schema)?;
        if !shape(expected).continues(&shape(&canonical)) {
            return Err(Refused::Columns(format!("{which}{:?}, not {:?}", names(&canonical), names(expected))));
        }
        take(expected, rows, self.limits)?.into_batch()
    }

    /// Of positions for some more rows.
    fn make_room(&mut self, more: usize) {
        if self.store.held() + more > u32::MAX as usize {
            self.compact();
        }
    }

    /// Some rows go, some of these come. Costs them, not the table.
    fn change(
        &mut self,
        difference: Difference,
        added: &RecordBatch,
        added_prints: &Prints,
        to: u64,
        poll: u64,
    ) -> Result<Arc<Step>, Refused> {
        let removed = self.store.gather(&difference.removed)?;
        let added = pick(added, &difference.added)?;
        let rows = self.store.rows();
        self.limits.check(
            rows.num_rows() + added.num_rows() - removed.num_rows(),
            (rows.bytes() + bytes_of(&added)).saturating_sub(bytes_of(&removed)),
        )?;
        drop(rows);
        if let Some(index) = &mut self.index {
            index.remove(&self.prints, &difference.removed);
        }
        let first = self.prints.len();
        self.store.remove(&difference.removed);
        self.store.append(&added);
        self.prints.extend(added_prints.pick(&difference.added));
        if let Some(index) = &mut self.index {
            index.extend(&self.prints, first);
        }
        Ok(self.step(removed, added, difference.updated, to, poll))
    }

    fn step(&mut self, removed: RecordBatch, added: RecordBatch, updated: usize, to: u64, poll: u64) -> Arc<Step> {
        let from = std::mem::replace(&mut self.to, to);
        Arc::new(Step { epoch: self.epoch, from, to, poll, removed, added, updated })
    }

    /// Its columns and key.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its columns and key, shared.
    pub(crate) fn shared_shape(&self) -> Arc<Shape> {
        Arc::clone(&self.shape)
    }

    /// The present rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.store.rows()
    }

    /// Its life's number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The state's number within the epoch.
    #[must_use]
    pub fn to(&self) -> u64 {
        self.to
    }

    /// How many rows of snapshots were folded because they were there twice.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// What it takes in memory: the rows, absent ones that were not compacted yet included, and what is kept to tell them
    /// apart.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.store.bytes() + self.prints.bytes() + self.index.as_ref().map_or(0, Index::bytes)
    }

    /// How large it may become.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets how large it may become. A table that is larger already stays, and grows no more.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether so many of the held rows are absent that [`compact`](Self::compact) is worth its while.
    #[must_use]
    pub fn needs_compaction(&self) -> bool {
        self.store.is_sparse()
    }

    /// Rewrites batches that hold many absent rows. The same rows, the same position; readers keep what they hold.
    /// Costs a pass over the table, and its memory meanwhile.
    pub fn compact(&mut self) {
        let kept = self.store.compact();
        self.prints = self.prints.pick(&kept);
        if self.index.take().is_some() {
            self.index = Some(Index::of(&self.prints, self.store.positions().as_deref()));
        }
    }
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use busway_plugin_api::TableSpec;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
    struct Row {
        id: i64,
        value: Option<f64>,
    }

    fn row(id: i64, value: impl Into<Option<f64>>) -> Row {
        Row { id, value: value.into() }
    }

    fn spec(key: &[&str]) -> TableSpec {
        TableSpec::of::<Row>("t").key(key.iter().copied())
    }

    fn begin(key: &[&str], rows: &[Row]) -> TableState {
        let spec = spec(key);
        TableState::begin(
            Shape::new(spec.schema.clone(), spec.key.clone()).unwrap(),
            &spec.rows(rows).unwrap(),
            Limits::default(),
        )
        .unwrap()
    }

    fn snapshot(state: &mut TableState, rows: &[Row]) -> Applied {
        let shape = state.shape().clone();
        let rows = shape.spec("t").rows(rows).unwrap();
        state.snapshot(shape, &rows, 7).unwrap()
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        Batches::from(batch.clone()).to_vec().unwrap()
    }

    fn held(state: &TableState) -> RecordBatch {
        state.rows().to_batch().unwrap()
    }

    #[test]
    fn the_same_rows_are_no_step_whatever_their_order_and_the_bits_of_their_floats() {
        let mut state = begin(&[], &[row(1, 0.0), row(2, f64::NAN), row(3, None)]);
        let other_nan = f64::from_bits(0x7ff8_0000_0000_0001);
        assert!(matches!(snapshot(&mut state, &[row(3, None), row(2, other_nan), row(1, -0.0)]), Applied::Unchanged));
        assert_eq!(state.to(), 1);
    }

    #[test]
    fn a_keyed_change_is_one_update() {
        let mut state = begin(&["id"], &[row(1, 1.0), row(2, 2.0), row(3, 3.0)]);
        let Applied::Stepped(step) = snapshot(&mut state, &[row(4, 4.0), row(3, 3.5), row(1, 1.0)]) else { panic!() };
        assert_eq!((step.from, step.to, step.updated), (1, 2, 1));
        assert_eq!(rows(&step.removed), [row(3, 3.0), row(2, 2.0)]);
        assert_eq!(rows(&step.added), [row(3, 3.5), row(4, 4.0)]);
    }

    #[test]
    fn duplicates_of_a_snapshot_are_folded_and_counted() {
        let mut state = begin(&["id"], &[row(1, 1.0), row(1, 2.0)]);
        assert_eq!(rows(&held(&state)), [row(1, 2.0)]);
        assert!(matches!(snapshot(&mut state, &[row(1, 9.0), row(1, 2.0), row(1, 2.0)]), Applied::Unchanged));
        assert_eq!(state.duplicates(), 3);
    }

    #[test]
    fn deltas_of_a_set_and_of_a_keyed_table() {
        let mut state = begin(&[], &[row(1, 1.0), row(2, 2.0)]);
        let all = spec(&[]);
        let Applied::Stepped(step) =
            state.delta(&all.rows(&[row(3, 3.0)]).unwrap(), &all.rows(&[row(1, 1.0)]).unwrap(), 7).unwrap()
        else {
            panic!()
        };
        assert_eq!((step.from, step.to, step.updated), (1, 2, 0));
        assert_eq!(rows(&held(&state)), [row(2, 2.0), row(3, 3.0)]);

        #[derive(Serialize, Deserialize)]
        struct Key {
            id: i64,
        }
        let mut state = begin(&["id"], &[row(1, 1.0), row(2, 2.0)]);
        let keys = TableSpec::of::<Key>("t").rows(&[Key { id: 2 }]).unwrap();
        let Applied::Stepped(step) = state.delta(&all.rows(&[row(1, 1.5), row(4, 4.0)]).unwrap(), &keys, 7).unwrap()
        else {
            panic!()
        };
        assert_eq!(step.updated, 1);
        assert_eq!(rows(&step.removed), [row(1, 1.0), row(2, 2.0)]);
        assert_eq!(rows(&held(&state)), [row(1, 1.5), row(4, 4.0)]);
        assert!(matches!(snapshot(&mut state, &[row(4, 4.0), row(1, 1.5)]), Applied::Unchanged));
    }

    #[test]
    fn a_delta_that_contradicts_the_table_changes_nothing() {
        let all = spec(&[]);
        let given = |rows: &[Row]| all.rows(rows).unwrap();
        let mut state = begin(&[], &[row(1, 1.0)]);
        let before = (state.to(), held(&state));
        for (added, removed, why) in [
            (vec![row(1, 1.0)], vec![], "it adds a row that is there"),
            (vec![], vec![row(7, 7.0)], "it removes a row that is not there"),
            (vec![row(2, 2.0), row(2, 2.0)], vec![], "it names a row twice"),
            (vec![row(1, 1.0)], vec![row(1, 1.0)], "it names a row twice"),
        ] {
            let refused = state.delta(&given(&added), &given(&removed), 7).unwrap_err();
            assert_eq!(refused, Refused::Inconsistent(why.to_owned()));
            assert_eq!((state.to(), held(&state)), before);
        }
    }

    #[test]
    fn other_columns_begin_a_new_epoch() {
        let mut state = begin(&[], &[row(1, 1.0)]);
        let epoch = state.epoch();
        let keyed = spec(&["id"]);
        let shape = Shape::new(keyed.schema.clone(), keyed.key.clone()).unwrap();
        assert!(matches!(state.snapshot(shape, &keyed.rows(&[row(1, 1.0)]).unwrap(), 7).unwrap(), Applied::Begun));
        assert!(state.epoch() > epoch);
        assert_eq!(state.to(), 1);
    }

    #[test]
    fn keys_that_identify_nothing_are_refused() {
        let schema = spec(&[]).schema;
        for (key, why) in [
            ("nope", "key column \"nope\" is not one of the table's columns"),
            ("value", "key column \"value\" may be null, so it identifies nothing"),
        ] {
            assert_eq!(Shape::new(schema.clone(), vec![key.to_owned()]).unwrap_err().to_string(), why);
        }
    }

    fn step(state: &mut TableState, rows: &[Row]) -> Arc<Step> {
        let Applied::Stepped(step) = snapshot(state, rows) else { panic!() };
        step
    }

    fn copy(state: &TableState) -> TableState {
        let limits = Limits::default();
        TableState::begin_at(state.shape().clone(), &held(state).into(), limits, state.epoch(), state.to()).unwrap()
    }

    #[test]
    fn a_copy_follows_by_steps_and_coalesced_ones() {
        for key in [&[][..], &["id"]] {
            let mut state = begin(key, &[row(1, 1.0), row(2, 2.0)]);
            let (mut copied, mut late) = (copy(&state), copy(&state));
            let steps = [
                step(&mut state, &[row(1, 1.5), row(2, 2.0), row(3, 3.0)]),
                step(&mut state, &[row(1, 1.0), row(4, 4.0)]),
                step(&mut state, &[row(4, 4.5), row(1, 1.0)]),
            ];
            for step in &steps {
                let applied = copied.apply(step).unwrap();
                assert_eq!((applied.from, applied.to, applied.poll), (step.from, step.to, 7));
            }
            let whole = Step::coalesce(state.shape(), &steps).unwrap();
            assert_eq!((whole.epoch, whole.from, whole.to, whole.poll, whole.updated), (state.epoch(), 1, 4, 7, 0));
            assert_eq!((rows(&whole.removed), rows(&whole.added)), (vec![row(2, 2.0)], vec![row(4, 4.5)]));
            late.apply(&whole).unwrap();
            for mut copy in [copied, late] {
                assert_eq!(copy.to(), 4);
                let mut there = rows(&held(&copy));
                there.sort_by_key(|row| row.id);
                assert_eq!(there, [row(1, 1.0), row(4, 4.5)]);
                let refused = copy.apply(&whole).unwrap_err().to_string();
                assert_eq!(refused, "the delta contradicts the table: the step leads from elsewhere");
            }
        }
    }

    #[test]
    fn a_copy_learns_a_later_state() {
        let mut state = begin(&["id"], &[row(1, 1.0)]);
        let mut copy = copy(&state);
        for values in [2.0, 3.0] {
            step(&mut state, &[row(1, values)]);
        }
        let shape = state.shape().clone();
        let rows_now: Batches = held(&state).into();
        let Applied::Stepped(step) = copy.resync(shape.clone(), &rows_now, state.epoch(), 3, 0).unwrap() else {
            panic!()
        };
        assert_eq!((step.from, step.to, step.updated, copy.to()), (1, 3, 1, 3));
        assert!(matches!(copy.resync(shape.clone(), &rows_now, state.epoch(), 9, 0).unwrap(), Applied::Unchanged));
        assert_eq!(copy.to(), 9);
        let refused = copy.resync(shape.clone(), &rows_now, state.epoch(), 8, 0).unwrap_err();
        assert_eq!(refused, Refused::Inconsistent("the state is an earlier one".to_owned()));
        let other = Epoch(state.epoch().0 - 1);
        assert!(matches!(copy.resync(shape, &rows_now, other, 2, 0).unwrap(), Applied::Begun));
        assert_eq!((copy.epoch(), copy.to()), (other, 2));
    }

    #[test]
    fn what_is_too_large_is_refused_and_changes_nothing() {
        let mut state = begin(&[], &[row(1, 1.0), row(2, 2.0)]);
        state.set_limits(Limits { rows: 2, bytes: 1000 });
        let all = spec(&[]);
        let given = |rows: &[Row]| all.rows(rows).unwrap();
        let text = "it would have 3 rows, more than the limit of 2 rows a table: the last good rows stay";
        let refused = state.delta(&given(&[row(3, 3.0)]), &given(&[]), 0).unwrap_err();
        assert_eq!(refused.to_string(), text);
        let shape = state.shape().clone();
        let refused = state.snapshot(shape, &given(&[row(1, 1.0), row(2, 2.0), row(3, 3.0)]), 0).unwrap_err();
        assert_eq!(refused.to_string(), text);
        let taken =
            Taken::of(&state.shape, &given(&[row(1, 1.0), row(2, 2.0), row(3, 3.0)]), Limits::default()).unwrap();
        assert_eq!(state.snapshot_taken(state.shape().clone(), taken, 0).unwrap_err().to_string(), text);
        state.set_limits(Limits { rows: 2, bytes: 30 });
        let refused = state.snapshot(state.shape().clone(), &given(&[row(1, 1.0), row(4, 2.0)]), 0).unwrap_err();
        assert!(matches!(refused, Refused::TooLarge { what: "bytes", would: 32..40, limit: 30 }), "{refused:?}");
        assert_eq!((state.to(), state.rows().num_rows()), (1, 2));
    }
}
