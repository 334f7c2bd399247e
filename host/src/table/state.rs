//! A table's present state, and how it moves on.

use super::diff::{Difference, Prints, diff};
use super::fingerprint;
use super::fingerprint::Map;
use super::intake::{Refused, Shape, take};
use super::step::{Epoch, Step};
use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use busway_plugin_api::table::Batches;
use std::sync::Arc;

/// The rows of a table, and where they stand.
#[derive(Debug, Clone)]
pub struct TableState {
    shape: Arc<Shape>,
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
    /// A table's first state.
    ///
    /// # Errors
    ///
    /// When the rows contradict themselves.
    pub fn begin(shape: Shape, rows: &Batches) -> Result<Self, Refused> {
        let shape = Arc::new(shape);
        let (rows, prints, duplicates) = distinct(&shape, rows)?;
        Ok(Self { shape, epoch: Epoch::next(), to: 1, rows, prints, duplicates })
    }

    /// Takes a snapshot: the step to it, or a new epoch when its columns or key are others.
    ///
    /// # Errors
    ///
    /// When the rows contradict themselves; the state stays as it was.
    pub fn snapshot(&mut self, shape: Shape, rows: &Batches) -> Result<Applied, Refused> {
        if !self.shape.continues(&shape) {
            *self = Self::begin(shape, rows)?;
            return Ok(Applied::Begun);
        }
        let (rows, prints, duplicates) = distinct(&self.shape, rows)?;
        self.duplicates += duplicates;
        // Descriptions may change without an epoch.
        self.shape = Arc::new(shape);
        let difference = diff(&self.prints, &prints);
        if difference == Difference::default() {
            return Ok(Applied::Unchanged);
        }
        let removed = pick(&self.rows, difference.removed)?;
        let added = pick(&rows, difference.added)?;
        (self.rows, self.prints) = (rows, prints);
        Ok(Applied::Stepped(self.step(removed, added, difference.updated)))
    }

    /// Takes a delta. Keyed tables: rows to insert or replace, and the keys to remove; others: rows added and removed.
    ///
    /// # Errors
    ///
    /// When its columns are others, or it contradicts the rows; the state stays as it was.
    pub fn delta(&mut self, added: &Batches, removed: &Batches) -> Result<Applied, Refused> {
        let mine = Batches::empty(Arc::clone(&self.shape.schema));
        let shape = |rows: &Batches| Shape { schema: Arc::clone(&rows.schema), ..(*self.shape).clone() };
        if !self.shape.continues(&shape(added)) {
            return Err(Refused::Columns(format!("{:?}, not {:?}", names(added), names(&mine))));
        }
        let added = take(&self.shape.schema, added)?;
        let added_prints = prints(&self.shape, &added)?;
        let key = self.shape.key_columns();
        let columns = if key.is_empty() { (0..self.rows.num_columns()).collect() } else { key };
        let expected = Arc::new(self.shape.schema.project(&columns)?);
        let keys = Shape { schema: Arc::clone(&expected), ..(*self.shape).clone() };
        if !keys.continues(&shape(removed)) {
            return Err(Refused::Columns(format!(
                "removed {:?}, not {:?}",
                names(removed),
                names(&Batches::empty(expected))
            )));
        }
        let removed = take(&expected, removed)?;
        let removed_prints = fingerprint::of(&removed, &(0..removed.num_columns()).collect::<Vec<_>>())?;
        let difference = self.weigh(&added_prints, &removed_prints)?;
        if difference == Difference::default() {
            return Ok(Applied::Unchanged);
        }
        let gone: std::collections::HashSet<u32> = difference.removed.iter().copied().collect();
        #[allow(clippy::cast_possible_truncation, reason = "intake refuses more rows than a u32 counts")]
        let kept: Vec<u32> = (0..self.rows.num_rows() as u32).filter(|row| !gone.contains(row)).collect();
        let removed = pick(&self.rows, difference.removed)?;
        let mut next = self.prints.pick(&kept);
        let new = added_prints.pick(&difference.added);
        let added = pick(&added, difference.added)?;
        let rows = concat_batches(&self.shape.schema, [&pick(&self.rows, kept)?, &added])?;
        next.rows.extend(new.rows);
        if let (Some(keys), Some(new)) = (&mut next.keys, new.keys) {
            keys.extend(new);
        }
        (self.rows, self.prints) = (rows, next);
        Ok(Applied::Stepped(self.step(removed, added, difference.updated)))
    }

    /// Which rows a delta removes and adds; contradictions are refused.
    fn weigh(&self, added: &Prints, removed: &[u128]) -> Result<Difference, Refused> {
        let refuse = |what: &str| Err(Refused::Inconsistent(what.to_owned()));
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

    fn step(&mut self, removed: RecordBatch, added: RecordBatch, updated: usize) -> Arc<Step> {
        let from = self.to;
        self.to += 1;
        Arc::new(Step { epoch: self.epoch, from, to: self.to, removed, added, updated })
    }

    /// Its columns and key.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The present rows, in the order of the last snapshot. Cheap to clone.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
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
}

fn prints(shape: &Shape, rows: &RecordBatch) -> Result<Prints, Refused> {
    let all: Vec<usize> = (0..rows.num_columns()).collect();
    let key = shape.key_columns();
    let keys = if key.is_empty() { None } else { Some(fingerprint::of(rows, &key)?) };
    Ok(Prints { rows: fingerprint::of(rows, &all)?, keys })
}

fn distinct(shape: &Shape, rows: &Batches) -> Result<(RecordBatch, Prints, u64), Refused> {
    let rows = take(&shape.schema, rows)?;
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

fn names(rows: &Batches) -> Vec<String> {
    rows.schema.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect()
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
        TableState::begin(Shape::new(spec.schema.clone(), spec.key.clone()).unwrap(), &spec.rows(rows).unwrap())
            .unwrap()
    }

    fn snapshot(state: &mut TableState, rows: &[Row]) -> Applied {
        let shape = state.shape().clone();
        let rows = shape.spec("t").rows(rows).unwrap();
        state.snapshot(shape, &rows).unwrap()
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        Batches::from(batch.clone()).to_vec().unwrap()
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
        assert_eq!(rows(state.rows()), [row(1, 2.0)]);
        assert!(matches!(snapshot(&mut state, &[row(1, 9.0), row(1, 2.0), row(1, 2.0)]), Applied::Unchanged));
        assert_eq!(state.duplicates(), 3);
    }

    #[test]
    fn deltas_of_a_set_and_of_a_keyed_table() {
        let mut state = begin(&[], &[row(1, 1.0), row(2, 2.0)]);
        let all = spec(&[]);
        let Applied::Stepped(step) =
            state.delta(&all.rows(&[row(3, 3.0)]).unwrap(), &all.rows(&[row(1, 1.0)]).unwrap()).unwrap()
        else {
            panic!()
        };
        assert_eq!((step.from, step.to, step.updated), (1, 2, 0));
        assert_eq!(rows(state.rows()), [row(2, 2.0), row(3, 3.0)]);

        #[derive(Serialize, Deserialize)]
        struct Key {
            id: i64,
        }
        let mut state = begin(&["id"], &[row(1, 1.0), row(2, 2.0)]);
        let keys = TableSpec::of::<Key>("t").rows(&[Key { id: 2 }]).unwrap();
        let Applied::Stepped(step) = state.delta(&all.rows(&[row(1, 1.5), row(4, 4.0)]).unwrap(), &keys).unwrap()
        else {
            panic!()
        };
        assert_eq!(step.updated, 1);
        assert_eq!(rows(&step.removed), [row(1, 1.0), row(2, 2.0)]);
        assert_eq!(rows(state.rows()), [row(1, 1.5), row(4, 4.0)]);
        assert!(matches!(snapshot(&mut state, &[row(4, 4.0), row(1, 1.5)]), Applied::Unchanged));
    }

    #[test]
    fn a_delta_that_contradicts_the_table_changes_nothing() {
        let all = spec(&[]);
        let given = |rows: &[Row]| all.rows(rows).unwrap();
        let mut state = begin(&[], &[row(1, 1.0)]);
        let before = state.clone();
        for (added, removed, why) in [
            (vec![row(1, 1.0)], vec![], "it adds a row that is there"),
            (vec![], vec![row(7, 7.0)], "it removes a row that is not there"),
            (vec![row(2, 2.0), row(2, 2.0)], vec![], "it names a row twice"),
            (vec![row(1, 1.0)], vec![row(1, 1.0)], "it names a row twice"),
        ] {
            let refused = state.delta(&given(&added), &given(&removed)).unwrap_err();
            assert_eq!(refused, Refused::Inconsistent(why.to_owned()));
            assert_eq!(state.to(), before.to());
            assert_eq!(state.rows(), before.rows());
        }
    }

    #[test]
    fn other_columns_begin_a_new_epoch() {
        let mut state = begin(&[], &[row(1, 1.0)]);
        let epoch = state.epoch();
        let keyed = spec(&["id"]);
        let shape = Shape::new(keyed.schema.clone(), keyed.key.clone()).unwrap();
        assert!(matches!(state.snapshot(shape, &keyed.rows(&[row(1, 1.0)]).unwrap()).unwrap(), Applied::Begun));
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
}
