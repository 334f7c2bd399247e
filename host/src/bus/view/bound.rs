//! A view at work.

use super::cells::{Counts, Print, encode, hashed, prints};
use crate::table::{Refused, Shape};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::take::{take, take_record_batch};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A [`View`](super::View) of one table: made by [`View::bind`](super::View::bind) for its columns, and good for them
/// alone. Whoever follows the table begins it with a state of the table, and passes every later step through.
///
/// Costs what it is given. It keeps something of the rows only where it must: when a table without key is shown without
/// some of its columns, different rows may look the same, and 40 bytes or so count each that is shown.
#[derive(Debug, Clone)]
pub struct Bound {
    pub(super) shape: Shape,
    /// The columns of what comes.
    pub(super) of: SchemaRef,
    pub(super) topics: Option<Topics>,
    pub(super) checks: Vec<Check>,
    /// The columns to show; `None`: as they are.
    pub(super) shown: Option<Vec<Shown>>,
    /// How many rows look the same, if some may.
    pub(super) counts: Option<Counts>,
}

#[derive(Debug, Clone)]
pub(super) struct Topics {
    pub(super) column: usize,
    pub(super) chosen: HashSet<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) column: usize,
    pub(super) asked: Asked,
}

/// Values are bytes that compare as they do.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Null(bool),
    Compared(fn(Ordering) -> bool, Box<[u8]>),
    In(HashSet<Box<[u8]>>),
}

#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) column: usize,
    pub(super) instead: Option<Instead>,
}

#[derive(Debug, Clone)]
pub(super) enum Instead {
    Null,
    /// The only one of the array.
    Constant(ArrayRef),
    Hash,
}

/// Of rows that look the same: how many a step takes and brings, one of either, and how many are there after it.
#[derive(Default)]
struct Touched {
    gone: u64,
    new: u64,
    last_gone: u32,
    last_new: u32,
    after: u64,
}

impl Bound {
    /// The columns and key of what is shown. The topic column is one only if it is shown as it is.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What is shown of some rows, by themselves: those that look the same are shown once.
    ///
    /// # Errors
    ///
    /// When they are of other columns, or contradict themselves.
    pub fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch, Refused> {
        self.distinct(rows, &mut self.counts.is_some().then(Counts::default))
    }

    /// Begins with a state of the table, in any number of batches: what is shown of each. Rows that look the same are
    /// shown once in all.
    ///
    /// # Errors
    ///
    /// When they are of other columns, or contradict themselves. It stands where it stood then.
    pub fn begin(&mut self, batches: impl Iterator<Item = RecordBatch>) -> Result<Vec<RecordBatch>, Refused> {
        let mut counts = self.counts.is_some().then(Counts::default);
        let shown = batches.map(|batch| self.distinct(&batch, &mut counts)).collect::<Result<_, _>>()?;
        self.counts = counts;
        Ok(shown)
    }

    /// What is shown of a step: its removed rows, its added rows, and how many of both at their beginning are pairs. It may
    /// be empty.
    ///
    /// # Errors
    ///
    /// When its rows are of other columns or contradict themselves, or it removes what is not there as far as that is
    /// known. It stands where it stood then.
    pub fn step(
        &mut self,
        removed: &RecordBatch,
        added: &RecordBatch,
        updated: usize,
    ) -> Result<(RecordBatch, RecordBatch, usize), Refused> {
        if updated > removed.num_rows() || updated > added.num_rows() {
            return Err(Refused::Inconsistent("it has fewer rows than pairs".to_owned()));
        }
        let (gone, new) = (self.visible(removed)?, self.visible(added)?);
        if self.counts.is_some() {
            let removed = self.show(&pick(removed, &numbers(&gone, 0))?)?;
            let added = self.show(&pick(added, &numbers(&new, 0))?)?;
            let (removed, added) = self.count(&removed, &added)?;
            return Ok((removed, added, 0));
        }
        let (mut pairs, mut only_gone, mut only_new) = (Vec::new(), Vec::new(), Vec::new());
        for ((pair, gone), new) in (0..).zip(&gone).zip(&new).take(updated) {
            match (gone, new) {
                (true, true) => pairs.push(pair),
                (true, false) => only_gone.push(pair),
                (false, true) => only_new.push(pair),
                (false, false) => {}
            }
        }
        if self.shown.is_some() {
            let (before, after) = (self.show(&pick(removed, &pairs)?)?, self.show(&pick(added, &pairs)?)?);
            let mut changed = prints_of(&before)?.into_iter().zip(prints_of(&after)?).map(|(a, b)| a != b);
            pairs.retain(|_| changed.next().unwrap_or(true));
        }
        only_gone.extend(numbers(&gone, updated));
        only_new.extend(numbers(&new, updated));
        let removed = self.show(&pick(removed, &[pairs.as_slice(), &only_gone].concat())?)?;
        let added = self.show(&pick(added, &[pairs.as_slice(), &only_new].concat())?)?;
        Ok((removed, added, pairs.len()))
    }

    /// Counts rows that are shown: which were the last that look so, and which are the first.
    fn count(&mut self, removed: &RecordBatch, added: &RecordBatch) -> Result<(RecordBatch, RecordBatch), Refused> {
        let (gone, new) = (prints_of(removed)?, prints_of(added)?);
        let counts = self.counts.get_or_insert_default();
        let mut touched: HashMap<Print, Touched> = HashMap::with_capacity(gone.len() + new.len());
        for (row, print) in (0..).zip(&gone) {
            let touched = touched.entry(*print).or_default();
            touched.gone += 1;
            touched.last_gone = row;
        }
        for (row, print) in (0..).zip(&new) {
            let touched = touched.entry(*print).or_default();
            touched.new += 1;
            touched.last_new = row;
        }
        let (mut last, mut first) = (Vec::new(), Vec::new());
        for (print, touched) in &mut touched {
            let before = counts.get(print).copied().unwrap_or(0);
            let Some(left) = before.checked_sub(touched.gone) else {
                return Err(Refused::Inconsistent("it removes a row that is not there".to_owned()));
            };
            touched.after = left + touched.new;
            match (before, touched.after) {
                (1.., 0) => last.push(touched.last_gone),
                (0, 1..) => first.push(touched.last_new),
                _ => {}
            }
        }
        // In the order that they came in.
        last.sort_unstable();
        first.sort_unstable();
        let shown = (pick(removed, &last)?, pick(added, &first)?);
        for (print, touched) in touched {
            match touched.after {
                0 => _ = counts.remove(&print),
                after => _ = counts.insert(print, after),
            }
        }
        if counts.len() < counts.capacity() / 4 {
            counts.shrink_to(counts.len() * 2);
        }
        Ok(shown)
    }

    /// What is shown of rows; with counts only those of which none was counted before.
    fn distinct(&self, rows: &RecordBatch, counts: &mut Option<Counts>) -> Result<RecordBatch, Refused> {
        let shown = self.show(&pick(rows, &numbers(&self.visible(rows)?, 0))?)?;
        let Some(counts) = counts else { return Ok(shown) };
        let mut first = Vec::new();
        for (row, print) in (0..).zip(prints_of(&shown)?) {
            let count = counts.entry(print).or_default();
            *count += 1;
            if *count == 1 {
                first.push(row);
            }
        }
        pick(&shown, &first)
    }

    /// Which rows are shown.
    fn visible(&self, rows: &RecordBatch) -> Result<Vec<bool>, Refused> {
        let (theirs, ours) = (rows.schema_ref().fields(), self.of.fields());
        let same = theirs.iter().zip(ours).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if theirs.len() != ours.len() || !same {
            let names = |fields: &arrow_schema::Fields| {
                fields.iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect::<Vec<_>>()
            };
            return Err(Refused::Columns(format!("{:?}, not {:?}", names(theirs), names(ours))));
        }
        let mut visible = vec![true; rows.num_rows()];
        if let Some(Topics { column, chosen }) = &self.topics {
            let column = rows.column(*column);
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            let texts = cast_with_options(column, &DataType::Utf8, &strict)?;
            for (visible, text) in visible.iter_mut().zip(texts.as_string::<i32>()) {
                *visible = text.is_none_or(|text| chosen.contains(text));
            }
        }
        for check in &self.checks {
            check.apply(rows.column(check.column), &mut visible)?;
        }
        Ok(visible)
    }

    /// Rows as they are shown.
    fn show(&self, rows: &RecordBatch) -> Result<RecordBatch, Refused> {
        let Some(shown) = &self.shown else { return Ok(rows.clone()) };
        let count = rows.num_rows();
        let column = |shown: &Shown| {
            let column = rows.column(shown.column);
            Ok(match &shown.instead {
                None => Arc::clone(column),
                Some(Instead::Null) => new_null_array(column.data_type(), count),
                Some(Instead::Constant(one)) => take(one, &UInt32Array::from(vec![0; count]), None)?,
                Some(Instead::Hash) => hashed(column)?,
            })
        };
        let columns = shown.iter().map(column).collect::<Result<Vec<_>, Refused>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.shape.schema), columns, &options)?)
    }
}

impl Check {
    /// Hides the rows that it is not true of.
    fn apply(&self, column: &ArrayRef, visible: &mut [bool]) -> Result<(), Refused> {
        let nulls = column.logical_nulls();
        let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let fits: &dyn Fn(&[u8]) -> bool = match &self.asked {
            Asked::Null(asked) => {
                visible.iter_mut().enumerate().for_each(|(row, visible)| *visible &= null(row) == *asked);
                return Ok(());
            }
            Asked::Compared(fits, constant) => &move |value| fits(value.cmp(constant)),
            Asked::In(constants) => &|value| constants.contains(value),
        };
        let mut row = 0;
        encode(std::slice::from_ref(column), column.len(), |value| {
            visible[row] &= !null(row) && fits(value);
            row += 1;
        })?;
        Ok(())
    }
}

/// The numbers of the rows that are marked, from `from` on.
fn numbers(marked: &[bool], from: usize) -> Vec<u32> {
    (0..).zip(marked).skip(from).filter(|(_, marked)| **marked).map(|(row, _)| row).collect()
}

fn pick(rows: &RecordBatch, which: &[u32]) -> Result<RecordBatch, Refused> {
    // Ascending and without duplicates: so many are all.
    if which.len() == rows.num_rows() && which.is_sorted() {
        return Ok(rows.clone());
    }
    Ok(take_record_batch(rows, &UInt32Array::from(which.to_vec()))?)
}

fn prints_of(rows: &RecordBatch) -> Result<Vec<Print>, Refused> {
    Ok(prints(rows.columns(), rows.num_rows())?)
}
