//! A table's rows at one moment.

use super::bits::Bits;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use std::sync::Arc;

/// So many rows at most are in one batch.
pub(crate) const CHUNK: usize = 65_536;

/// A table's rows at one moment: shared batches, and which of their rows are present. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rows {
    schema: SchemaRef,
    chunks: Arc<Vec<Chunk>>,
    /// Those present.
    rows: usize,
    bytes: usize,
}

/// Some rows of a table that share their buffers, and which of them are gone.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    batch: Arc<RecordBatch>,
    /// Of all its rows.
    bytes: usize,
    absent: Option<Arc<Bits>>,
}

impl Chunk {
    /// All of these rows, [`CHUNK`] at most.
    pub(crate) fn new(batch: RecordBatch) -> Self {
        let bytes = bytes_of(&batch);
        Self { batch: Arc::new(batch), bytes, absent: None }
    }

    /// All its rows, those absent too.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many rows it holds, absent ones included.
    pub(crate) fn held(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn absent(&self) -> usize {
        self.absent.as_ref().map_or(0, |bits| bits.count())
    }

    pub(crate) fn present(&self) -> usize {
        self.held() - self.absent()
    }

    pub(crate) fn is_absent(&self, row: usize) -> bool {
        self.absent.as_ref().is_some_and(|bits| bits.has(row))
    }

    /// A row is no more. Whoever else holds the chunk keeps it.
    pub(crate) fn remove(&mut self, row: usize) {
        let held = self.held();
        Arc::make_mut(self.absent.get_or_insert_with(|| Arc::new(Bits::none(held)))).insert(row);
    }

    /// Both as one, absent rows included.
    pub(crate) fn followed_by(&self, next: &Self) -> Result<Self, ArrowError> {
        let mut both = Self::new(concat_batches(self.batch.schema_ref(), [&*self.batch, &*next.batch])?);
        for (chunk, from) in [(self, 0), (next, self.held())] {
            chunk.absent.iter().flat_map(|bits| bits.iter()).for_each(|row| both.remove(from + row as usize));
        }
        Ok(both)
    }

    /// Of all its rows.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Of the rows present: their share of all.
    fn bytes(&self) -> usize {
        match self.held() {
            0 => 0,
            all => (self.bytes as u128 * self.present() as u128 / all as u128) as usize,
        }
    }

    /// Which rows are present; `None`: all.
    pub(crate) fn present_rows(&self) -> Option<arrow_buffer::BooleanBuffer> {
        self.absent.as_ref().map(|absent| absent.inverted(self.held()))
    }

    /// The rows present.
    pub(crate) fn rows(&self) -> RecordBatch {
        match &self.absent {
            None => (*self.batch).clone(),
            Some(absent) => {
                let present = BooleanArray::from(absent.inverted(self.held()));
                filter_record_batch(&self.batch, &present)
                    .unwrap_or_else(|e| unreachable!("a mask as long as the batch, and fewer rows than fit: {e}"))
            }
        }
    }
}

impl Rows {
    pub(crate) fn new(schema: SchemaRef, chunks: Vec<Chunk>) -> Self {
        let rows = chunks.iter().map(Chunk::present).sum();
        let bytes = chunks.iter().map(Chunk::bytes).sum();
        Self { schema, chunks: Arc::new(chunks), rows, bytes }
    }

    /// What they are held in.
    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Their bytes as Arrow data. Of batches that hold absent rows a share by the number of rows: exact when all rows are
    /// equally long.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows in batches of at most 65,536, none of them empty. A batch with absent rows is copied when its turn comes,
    /// any other is shared.
    pub fn batches(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        self.chunks.iter().filter(|chunk| chunk.present() > 0).map(Chunk::rows)
    }

    /// All rows as one batch: shared if they are one already, otherwise copied.
    ///
    /// # Errors
    ///
    /// When a column of texts, binaries or lists has more than one batch can: their offsets have 32 bits.
    /// [`batches`](Self::batches) has no such limit.
    pub fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        let mut batches: Vec<RecordBatch> = self.batches().collect();
        match batches.len() {
            0 => Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
            1 => Ok(batches.remove(0)),
            _ => concat_batches(&self.schema, &batches),
        }
    }
}

/// In slices of at most 65,536 rows. Nothing is copied or looked into.
impl From<RecordBatch> for Rows {
    fn from(batch: RecordBatch) -> Self {
        let count = batch.num_rows();
        let slice = |at| Chunk::new(batch.slice(at, CHUNK.min(count - at)));
        Self::new(batch.schema(), (0..count).step_by(CHUNK).map(slice).collect())
    }
}

/// A batch's bytes as Arrow data; of slices only what is theirs.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let column =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    batch.columns().iter().map(column).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};

    fn numbers(numbers: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(numbers))]).unwrap()
    }

    #[test]
    fn only_rows_present_are_seen_in_batches_of_some_size() {
        let mut absent = Bits::none(4);
        assert!(absent.insert(0) && absent.insert(2) && !absent.insert(2));
        let mut some = Chunk::new(numbers(0..4));
        some.absent = Some(Arc::new(absent));
        let mut none = some.clone();
        none.absent = some.absent.clone().map(|mut bits| {
            assert!(Arc::make_mut(&mut bits).insert(1) && Arc::make_mut(&mut bits).insert(3));
            bits
        });
        let rows = Rows::new(numbers(0..0).schema(), vec![some, none, Chunk::new(numbers(4..5))]);
        assert_eq!((rows.num_rows(), rows.is_empty(), rows.bytes()), (3, false, 24));
        assert_eq!(rows.batches().map(|b| b.num_rows()).collect::<Vec<_>>(), [2, 1]);
        let expected = [numbers(1..2), numbers(3..5)];
        assert_eq!(rows.to_batch().unwrap(), concat_batches(rows.schema(), &expected).unwrap());
    }

    #[test]
    fn a_large_batch_is_cut_and_a_small_one_shared() {
        let large = Rows::from(numbers(0..150_000));
        assert_eq!(large.batches().map(|b| b.num_rows()).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
        assert_eq!(large.bytes(), 8 * 150_000);
        let batch = numbers(0..3);
        let shared = Rows::from(batch.clone()).to_batch().unwrap();
        let data = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
        assert_eq!(data(&shared), data(&batch));
        assert!(Rows::from(numbers(0..0)).is_empty());
        assert_eq!(Rows::from(numbers(0..0)).to_batch().unwrap(), numbers(0..0));
    }
}
