//! A table's present state, and how it moves on.

use super::diff::{Difference, Prints, diff};
use super::fingerprint;
use super::fingerprint::Map;
use super::intake::{Refused, Shape, take};
use super::limits::Limits;
use super::rows::{Rows, bytes_of};
use super::step::{Epoch, Step};
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use busway_plugin_api::table::Batches;
use std::sync::Arc;

/// The rows of a table, and where they stand. Belongs to whoever writes the table; readers hold its [`Rows`]. An error of
/// any method leaves all as it was.
#[derive(Debug)]
pub struct TableState {
    shape: Arc<Shape>,
    limits: Limits,
    epoch: Epoch,
    to: u64,
    rows: RecordBatch,
    prints: Prints,
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

    /// A copy of a table that stands elsewhere, at this position.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn begin_at(shape: Shape, rows: &Batches, limits: Limits, epoch: Epoch, to: u64) -> Result<Self, Refused> {
        let shape = Arc::new(shape);
        let (rows, prints, duplicates) = distinct(&shape, rows, limits)?;
        Ok(Self { shape, limits, epoch, to, rows, prints, duplicates })
    }

    /// Takes a snapshot: the step to it, or a new epoch when its columns or key are others. `poll` goes into the step.
    ///
    /// # Errors
    ///
    /// When the rows contradict themselves or are too many.
    pub fn snapshot(&mut self, shape: Shape, rows: &Batches, poll: u64) -> Result<Applied, Refused> {
        if !self.shape.continues(&shape) {
            let duplicates = self.duplicates;
            *self = Self::begin(shape, rows, self.limits)?;
            self.duplicates += duplicates;
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
        let columns = if key.is_empty() { (0..self.rows.num_columns()).collect() } else { key };
        let keys = Arc::new(self.shape.schema.project(&columns)?);
        let added = self.given(&self.shape.schema, added, "")?;
        let removed = self.given(&keys, removed, "removed ")?;
        let added_prints = prints(&self.shape, &added)?;
        let removed_prints = fingerprint::of(&removed, &(0..removed.num_columns()).collect::<Vec<_>>())?;
        let difference = self.weigh(&added_prints, &removed_prints)?;
        if difference == Difference::default() {
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
        let added_prints = prints(&self.shape, &added)?;
        let difference = self.weigh_step(&added_prints, &prints(&self.shape, &removed)?)?;
        self.change(difference, &added, &added_prints, step.to, step.poll)
    }

    /// A copy learns a whole later state of the table: the step to it, or, when the position is the same or nothing is
    /// different, [`Applied::Unchanged`] with the position moved. In another epoch, with other columns, or with other rows
    /// at the very same position, it begins anew there.
    ///
    /// # Errors
    ///
    /// When it is an earlier state of the same epoch, or the rows contradict themselves or are too many.
    pub fn resync(&mut self, shape: Shape, rows: &Batches, epoch: Epoch, to: u64) -> Result<Applied, Refused> {
        let continues = epoch == self.epoch && self.shape.continues(&shape);
        if continues && to < self.to {
            return refuse("the state is an earlier one");
        }
        if !continues {
            let duplicates = self.duplicates;
            *self = Self::begin_at(shape, rows, self.limits, epoch, to)?;
            self.duplicates += duplicates;
            return Ok(Applied::Begun);
        }
        let same = to == self.to;
        let step = self.replace(shape, rows, to, 0)?;
        self.to = to;
        Ok(match step {
            None => Applied::Unchanged,
            // No step leads from a position to itself.
            Some(_) if same => Applied::Begun,
            Some(step) => Applied::Stepped(step),
        })
    }

    /// The rows become these, at that position, if they are different.
    fn replace(&mut self, shape: Shape, rows: &Batches, to: u64, poll: u64) -> Result<Option<Arc<Step>>, Refused> {
        let (rows, prints, duplicates) = distinct(&self.shape, rows, self.limits)?;
        let difference = diff(&self.prints, &prints);
        let step = if difference == Difference::default() {
            None
        } else {
            let removed = pick(&self.rows, difference.removed)?;
            let added = pick(&rows, difference.added)?;
            (self.rows, self.prints) = (rows, prints);
            Some(self.step(removed, added, difference.updated, to, poll))
        };
        self.duplicates += duplicates;
        // Descriptions may change without an epoch.
        self.shape = Arc::new(shape);
        Ok(step)
    }

    /// Rows of a delta or step, in the host's memory.
    fn given(&self, expected: &SchemaRef, rows: &Batches, which: &str) -> Result<RecordBatch, Refused> {
        let shape = |schema: &SchemaRef| Shape { schema: Arc::clone(schema), ..(*self.shape).clone() };
        if !shape(expected).continues(&shape(&rows.schema)) {
            return Err(Refused::Columns(format!("{which}{:?}, not {:?}", names(&rows.schema), names(expected))));
        }
        take(expected, rows, self.limits)
    }

    /// Some rows go, some of these come.
    fn change(
        &mut self,
        difference: Difference,
        added: &RecordBatch,
        added_prints: &Prints,
        to: u64,
        poll: u64,
    ) -> Result<Arc<Step>, Refused> {
        let gone: std::collections::HashSet<u32> = difference.removed.iter().copied().collect();
        #[allow(clippy::cast_possible_truncation, reason = "intake refuses more rows than a u32 counts")]
        let kept: Vec<u32> = (0..self.rows.num_rows() as u32).filter(|row| !gone.contains(row)).collect();
        let removed = pick(&self.rows, difference.removed)?;
        let mut next = self.prints.pick(&kept);
        let new = added_prints.pick(&difference.added);
        let added = pick(added, difference.added)?;
        let rows = concat_batches(&self.shape.schema, [&pick(&self.rows, kept)?, &added])?;
        self.limits.check(rows.num_rows(), bytes_of(&rows))?;
        next.rows.extend(new.rows);
        if let (Some(keys), Some(new)) = (&mut next.keys, new.keys) {
            keys.extend(new);
        }
        (self.rows, self.prints) = (rows, next);
        Ok(self.step(removed, added, difference.updated, to, poll))
    }

    /// Which rows a delta removes and adds; contradictions are refused.
    fn weigh(&self, added: &Prints, removed: &[u128]) -> Result<Difference, Refused> {
        let keyed = self.prints.keys.is_some();
        let held: Map<u32> =
            (0..).zip(self.prints.keys.as_ref().unwrap_or(&self.prints.rows)).map(|(i, p)| (*p, i)).collect();
        let mut named: Map<()> = Map::default();
        let mut difference = Difference::default();
        let mut gone = Vec::new();
        for print in removed {
            if named.insert(*print, ()).is_some() {
                return refuse(if keyed { "a key is removed twice" } else { "a row is removed twice" });
            }
            match held.get(print) {
                Some(row) => gone.push(*row),
                None => {
                    return refuse(if keyed {
                        "it removes a key that is not there"
                    } else {
                        "it removes a row that is not there"
                    });
                }
            }
        }
        let mut new = Vec::new();
        for (i, print) in (0u32..).zip(added.keys.as_ref().unwrap_or(&added.rows)) {
            if named.insert(*print, ()).is_some() {
                return refuse(if keyed { "it names a key twice" } else { "it names a row twice" });
            }
            match held.get(print) {
                None => new.push(i),
                Some(_) if !keyed => return refuse("it adds a row that is there"),
                Some(row) if self.prints.rows[*row as usize] != added.rows[i as usize] => {
                    difference.removed.push(*row);
                    difference.added.push(i);
                }
                Some(_) => {}
            }
        }
        difference.updated = difference.added.len();
        difference.removed.extend(gone);
        difference.added.extend(new);
        Ok(difference)
    }

    /// As [`weigh`](Self::weigh), of a step: the removed rows are whole ones.
    fn weigh_step(&self, added: &Prints, removed: &Prints) -> Result<Difference, Refused> {
        let held: Map<u32> =
            (0..).zip(self.prints.keys.as_ref().unwrap_or(&self.prints.rows)).map(|(i, p)| (*p, i)).collect();
        let mut gone: Map<u32> = Map::default();
        for i in 0..removed.rows.len() {
            let identity = removed.identity(i);
            match held.get(&identity) {
                Some(row) if self.prints.row(*row as usize) == removed.row(i) => {
                    if gone.insert(identity, *row).is_some() {
                        return refuse("it removes a row twice");
                    }
                }
                _ => return refuse("it removes a row that is not there"),
            }
        }
        let mut difference = Difference::default();
        let mut named: Map<()> = Map::default();
        let mut new = Vec::new();
        for (i, row) in (0u32..).zip(0..added.rows.len()) {
            let identity = added.identity(row);
            if named.insert(identity, ()).is_some() {
                return refuse("it adds a row twice");
            }
            match (gone.remove(&identity), held.contains_key(&identity)) {
                (Some(was), _) if self.prints.row(was as usize) != added.row(row) => {
                    difference.removed.push(was);
                    difference.added.push(i);
                }
                (Some(_), _) => {}
                (None, true) => return refuse("it adds a row that is there"),
                (None, false) => new.push(i),
            }
        }
        difference.updated = difference.added.len();
        let mut gone: Vec<u32> = gone.into_values().collect();
        gone.sort_unstable();
        difference.removed.extend(gone);
        difference.added.extend(new);
        Ok(difference)
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
        Rows::from(self.rows.clone())
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
        bytes_of(&self.rows) + 16 * self.rows.num_rows()
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
        false
    }

    /// Rewrites batches that hold many absent rows. The same rows, the same position; readers keep what they hold.
    pub fn compact(&mut self) {}
}

/// An update that contradicts the table.
pub(crate) fn refuse<T>(what: &str) -> Result<T, Refused> {
    Err(Refused::Inconsistent(what.to_owned()))
}

pub(crate) fn prints(shape: &Shape, rows: &RecordBatch) -> Result<Prints, Refused> {
    let all: Vec<usize> = (0..rows.num_columns()).collect();
    let key = shape.key_columns();
    let keys = if key.is_empty() { None } else { Some(fingerprint::of(rows, &key)?) };
    Ok(Prints { rows: fingerprint::of(rows, &all)?, keys })
}

fn distinct(shape: &Shape, rows: &Batches, limits: Limits) -> Result<(RecordBatch, Prints, u64), Refused> {
    let rows = take(&shape.schema, rows, limits)?;
    let prints = prints(shape, &rows)?;
    match prints.distinct() {
        None => Ok((rows, prints, 0)),
        Some(kept) => {
            let folded = (rows.num_rows() - kept.len()) as u64;
            Ok((pick(&rows, kept.clone())?, prints.pick(&kept), folded))
        }
    }
}

fn pick(rows: &RecordBatch, which: Vec<u32>) -> Result<RecordBatch, Refused> {
    Ok(take_record_batch(rows, &UInt32Array::from(which))?)
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
        let Applied::Stepped(step) = copy.resync(shape.clone(), &rows_now, state.epoch(), 3).unwrap() else { panic!() };
        assert_eq!((step.from, step.to, step.updated, copy.to()), (1, 3, 1, 3));
        assert!(matches!(copy.resync(shape.clone(), &rows_now, state.epoch(), 9).unwrap(), Applied::Unchanged));
        assert_eq!(copy.to(), 9);
        let refused = copy.resync(shape.clone(), &rows_now, state.epoch(), 8).unwrap_err();
        assert_eq!(refused, Refused::Inconsistent("the state is an earlier one".to_owned()));
        let other = Epoch(state.epoch().0 - 1);
        assert!(matches!(copy.resync(shape, &rows_now, other, 2).unwrap(), Applied::Begun));
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
        assert_eq!((state.to(), state.rows().num_rows()), (1, 2));
    }
}
