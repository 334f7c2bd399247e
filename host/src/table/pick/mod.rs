//! Some of a table's rows: those with certain values, those at certain ranks of an order, and their columns.
//!
//! Nothing is copied but what is picked. Rows are in the table's own order unless another is asked for; that order is the
//! same for as long as the table is at the same state.

mod rank;
#[cfg(test)]
mod tests;
mod values;
mod walk;

pub(crate) use rank::Order;
pub(crate) use walk::Walk;

use super::rows::Rows;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_ord::cmp;
use arrow_schema::ArrowError;
use arrow_select::filter::prep_null_mask_filter;
use arrow_select::interleave::interleave_record_batch;

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    chunk: u32,
    row: u32,
}

/// What a column must have.
#[derive(Debug, Clone)]
pub(crate) struct Only {
    /// Which column.
    pub(crate) column: usize,
    /// What.
    pub(crate) wanted: Wanted,
}

/// What a column must have.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// One of some values.
    AnyOf {
        /// One each, of the column's type.
        values: Vec<ArrayRef>,
        /// Whether none is one of them.
        null: bool,
    },
    /// Any value.
    Value,
}

impl Only {
    fn of(&self, column: &ArrayRef) -> Result<BooleanBuffer, ArrowError> {
        let nulls = column.logical_nulls();
        let there =
            || nulls.as_ref().map_or_else(|| BooleanBuffer::new_set(column.len()), |nulls| nulls.inner().clone());
        let Wanted::AnyOf { values, null } = &self.wanted else { return Ok(there()) };
        let mut any = if *null { !&there() } else { BooleanBuffer::new_unset(column.len()) };
        for value in values {
            let same = cmp::eq(column, &Scalar::new(value))?;
            // Null is not the value that is asked for.
            let same: BooleanArray = if same.null_count() > 0 { prep_null_mask_filter(&same) } else { same };
            any = &any | same.values();
        }
        Ok(any)
    }
}

impl Rows {
    /// The rows that have all of this, in the table's order.
    ///
    /// # Errors
    ///
    /// When a value is not of its column's type.
    pub(crate) fn places(&self, only: &[Only]) -> Result<Vec<Place>, ArrowError> {
        let mut places = Vec::with_capacity(if only.is_empty() { self.num_rows() } else { 0 });
        for (chunk, rows) in (0..).zip(self.chunks()) {
            let mut mask = rows.present_rows();
            for only in only {
                let fits = only.of(rows.batch().column(only.column))?;
                mask = Some(mask.map_or_else(|| fits.clone(), |mask| &mask & &fits));
            }
            match mask {
                None => places.extend((0..).take(rows.held()).map(|row| Place { chunk, row })),
                Some(mask) => places.extend(mask.set_indices_u32().map(|row| Place { chunk, row })),
            }
        }
        Ok(places)
    }

    /// These rows, these columns of them.
    ///
    /// # Errors
    ///
    /// When a column of texts or lists would be larger than one can be.
    pub(crate) fn gather(&self, places: &[Place], columns: &[usize]) -> Result<RecordBatch, ArrowError> {
        // Only the chunks that are needed, by their new numbers.
        let mut numbers = vec![None; self.chunks().len()];
        let mut batches = Vec::new();
        let mut indices = Vec::with_capacity(places.len());
        for place in places {
            let number = &mut numbers[place.chunk as usize];
            let number = match *number {
                Some(number) => number,
                None => {
                    batches.push(self.chunks()[place.chunk as usize].batch().project(columns)?);
                    *number.insert(batches.len() - 1)
                }
            };
            indices.push((number, place.row as usize));
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        match batches.is_empty() {
            true => RecordBatch::new_empty(self.schema().clone()).project(columns),
            false => interleave_record_batch(&batches, &indices),
        }
    }
}
