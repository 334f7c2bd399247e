//! The rows that a table holds, by position. A position is a row's for as long as no compaction moves it.

use super::rows::{CHUNK, Chunk, Rows};
use super::shape::Refused;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use std::sync::Arc;

/// Fewer absent rows than this are not worth a compaction.
const FEW: usize = 1024;

/// A table's rows, and where each of them is.
#[derive(Debug)]
pub(crate) struct Store {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
    /// The position of each chunk's first row.
    starts: Vec<usize>,
    held: usize,
}

impl Store {
    pub(crate) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        let mut store = Self { schema, chunks: Vec::new(), starts: Vec::new(), held: 0 };
        batches.into_iter().map(Chunk::new).for_each(|chunk| store.push(chunk));
        store
    }

    fn push(&mut self, chunk: Chunk) {
        self.starts.push(self.held);
        self.held += chunk.held();
        self.chunks.push(chunk);
    }

    /// How many positions there are, absent rows' included.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn present(&self) -> usize {
        self.chunks.iter().map(Chunk::present).sum()
    }

    /// What readers get.
    pub(crate) fn rows(&self) -> Rows {
        Rows::new(Arc::clone(&self.schema), self.chunks.clone())
    }

    /// In memory: absent rows included.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.held_bytes() + if chunk.absent() > 0 { chunk.held() / 8 } else { 0 }).sum()
    }

    /// The positions of the rows present, if some held ones are not.
    pub(crate) fn positions(&self) -> Option<Vec<u32>> {
        if self.chunks.iter().all(|chunk| chunk.absent() == 0) {
            return None;
        }
        let of = |(start, chunk): (&usize, &Chunk)| {
            let (start, chunk) = (*start, chunk.clone());
            (0..chunk.held()).filter(move |row| !chunk.is_absent(*row)).map(move |row| position(start + row))
        };
        Some(self.starts.iter().zip(&self.chunks).flat_map(of).collect())
    }

    fn place(&self, position: u32) -> (usize, usize) {
        let chunk = self.starts.partition_point(|start| *start <= position as usize) - 1;
        (chunk, position as usize - self.starts[chunk])
    }

    /// The rows at these positions.
    pub(crate) fn gather(&self, positions: &[u32]) -> Result<RecordBatch, Refused> {
        let places: Vec<(usize, usize)> = positions.iter().map(|position| self.place(*position)).collect();
        let batches: Vec<&RecordBatch> = self.chunks.iter().map(Chunk::batch).collect();
        gather(&self.schema, &batches, &places)
    }

    /// The rows at these positions are no more.
    pub(crate) fn remove(&mut self, positions: &[u32]) {
        for position in positions {
            let (chunk, row) = self.place(*position);
            self.chunks[chunk].remove(row);
        }
    }

    /// More rows come. Costs the rows, and now and then a join of the last batches: a table that grows in small steps is
    /// not cut into crumbs.
    pub(crate) fn append(&mut self, batch: &RecordBatch) {
        for from in (0..batch.num_rows()).step_by(CHUNK) {
            // The step shares the batch; no chunk may keep more than its own rows alive.
            self.push(Chunk::new(batch.slice(from, CHUNK.min(batch.num_rows() - from))));
        }
        while let [.., before, last] = self.chunks.as_slice()
            && before.held() <= 2 * last.held()
            && before.held() + last.held() <= CHUNK
        {
            // Texts too long for one batch stay two.
            let Ok(joined) = before.followed_by(last) else { break };
            self.chunks.truncate(self.chunks.len() - 2);
            self.starts.truncate(self.chunks.len() + 1);
            self.chunks.push(joined);
        }
    }

    /// Whether a compaction gives enough back.
    pub(crate) fn is_sparse(&self) -> bool {
        let (absent, present) = (self.held - self.present(), self.present());
        absent > FEW + present / 5
    }

    /// Rewrites the batches that hold many absent rows, and joins small ones. Answers which positions are left, in order;
    /// they are 0, 1, 2… now.
    pub(crate) fn compact(&mut self) -> Vec<u32> {
        let mut kept = Vec::with_capacity(self.held);
        let mut next = Self::new(Arc::clone(&self.schema), Vec::new());
        let mut small: Vec<RecordBatch> = Vec::new();
        let count = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        for (start, chunk) in self.starts.iter().zip(&self.chunks) {
            let good = chunk.held() >= CHUNK / 2 && chunk.absent() <= chunk.held() / 8;
            let rows = (0..chunk.held()).filter(|row| good || !chunk.is_absent(*row));
            kept.extend(rows.map(|row| position(start + row)));
            if good || count(&small) + chunk.present() > CHUNK {
                next.join(std::mem::take(&mut small));
            }
            match good {
                true => next.push(chunk.clone()),
                false => small.push(chunk.rows()),
            }
        }
        next.join(small);
        *self = next;
        kept
    }

    /// These as one chunk, or if texts are too long for it as they are.
    fn join(&mut self, batches: Vec<RecordBatch>) {
        let count = |batch: &RecordBatch| batch.num_rows() > 0;
        let batches: Vec<RecordBatch> = batches.into_iter().filter(count).collect();
        // Joined even if it is one: slices hold on to what they were cut from.
        match batches.is_empty() {
            true => {}
            false => match concat_batches(&self.schema, &batches) {
                Ok(joined) => self.push(Chunk::new(joined)),
                Err(_) => batches.into_iter().map(Chunk::new).for_each(|chunk| self.push(chunk)),
            },
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "limits let no table have more rows than 32 bits count")]
fn position(row: usize) -> u32 {
    row as u32
}

/// Rows from several batches: which batch, which row.
pub(crate) fn gather(
    schema: &SchemaRef,
    batches: &[&RecordBatch],
    places: &[(usize, usize)],
) -> Result<RecordBatch, Refused> {
    if places.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let column = |i: usize| {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(i).as_ref()).collect();
        interleave(&arrays, places)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Some rows of a batch; the batch itself if they are all of its rows.
pub(crate) fn pick(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, Refused> {
    if rows.len() == batch.num_rows() && rows.iter().zip(0..).all(|(row, i)| *row == i) {
        return Ok(batch.clone());
    }
    let (which, options) =
        (UInt32Array::from(rows.to_vec()), RecordBatchOptions::new().with_row_count(Some(rows.len())));
    let columns =
        batch.columns().iter().map(|column| take(column, &which, None)).collect::<Result<Vec<ArrayRef>, _>>()?;
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Applied, Limits, Shape, TableState};
    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_schema::{DataType, Field, Schema};
    use busway_plugin_api::table::Batches;

    fn numbers(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(numbers))]).unwrap()
    }

    fn held(rows: &Rows) -> Vec<i64> {
        rows.batches().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn small_steps_leave_few_batches_and_every_row_where_it_was() {
        let mut store = Store::new(numbers([]).schema(), vec![numbers(0..40_000)]);
        for from in (40_000..43_000).step_by(3) {
            store.append(&numbers(from..from + 3));
            store.remove(&[u32::try_from(from).unwrap() + 1]);
        }
        assert!(store.chunks.len() < 14, "{}", store.chunks.len());
        let positions = [0, 39_999, 40_000, 42_998, 42_999, 41_000];
        assert_eq!(store.gather(&positions).unwrap(), numbers(positions.map(i64::from)));
        let there = |n: &i64| *n < 40_000 || (*n - 40_000) % 3 != 1;
        assert_eq!(held(&store.rows()), (0..43_000).filter(there).collect::<Vec<_>>());
        assert_eq!(store.positions().unwrap(), (0..43_000).filter(|n| there(&i64::from(*n))).collect::<Vec<_>>());
    }

    #[test]
    fn a_large_table_is_compacted_where_it_pays() {
        let given = |rows: RecordBatch| Batches::from(rows);
        let shape = Shape::new(numbers([]).schema(), Vec::new()).unwrap();
        let mut state = TableState::begin(shape.clone(), &given(numbers(0..100_000)), Limits::default()).unwrap();
        let none = || given(numbers([]));
        state.delta(&given(numbers(100_000..100_005)), &given(numbers(0..10)), 0).unwrap();
        let before = state.rows();
        assert!(!state.needs_compaction());
        state.compact();
        // The first batch stays, with its absent rows; the index knows that they are.
        assert_eq!(held(&state.rows()), held(&before));
        assert!(state.delta(&none(), &given(numbers([5])), 0).is_err());
        state.delta(&given(numbers([5])), &none(), 0).unwrap();

        state.delta(&none(), &given(numbers(30_000..60_000)), 0).unwrap();
        let (bytes, reader) = (state.bytes(), state.rows());
        assert!(state.needs_compaction());
        state.compact();
        assert!(!state.needs_compaction() && state.bytes() < bytes * 3 / 4);
        let expected: Vec<i64> = (10..30_000).chain(60_000..100_005).chain([5]).collect();
        assert_eq!((held(&state.rows()), held(&reader)), (expected.clone(), expected.clone()));
        let mixed = given(numbers(expected.iter().rev().copied()));
        assert!(matches!(state.snapshot(shape, &mixed, 0).unwrap(), Applied::Unchanged));
        assert_eq!(state.to(), 4);
    }
}
