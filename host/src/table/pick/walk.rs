//! Rows in the table's order, some at a time.

use crate::table::rows::Rows;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

/// A way through some of a table's rows.
#[derive(Debug)]
pub(crate) struct Walk {
    rows: Rows,
    columns: Vec<usize>,
    /// The chunk that comes next.
    chunk: usize,
    /// So many of its rows are passed over.
    skip: usize,
    /// What is left of the chunk before.
    current: Option<RecordBatch>,
    /// So many rows are to come.
    left: usize,
}

impl Walk {
    /// So many rows at most from a row on, these columns of them.
    pub(crate) fn new(rows: Rows, columns: Vec<usize>, from: usize, count: usize) -> Self {
        let left = count.min(rows.num_rows().saturating_sub(from));
        let (mut chunk, mut skip) = (0, from);
        while let Some(passed) = rows.chunks().get(chunk).map(|c| c.present()).filter(|present| *present <= skip) {
            (chunk, skip) = (chunk + 1, skip - passed);
        }
        Self { rows, columns, chunk, skip, current: None, left }
    }

    /// How many rows are to come.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// The next rows, so many at most; `None`: that was all.
    ///
    /// # Errors
    ///
    /// When there is no such column.
    pub(crate) fn take(&mut self, most: usize) -> Result<Option<RecordBatch>, ArrowError> {
        if self.left == 0 {
            return Ok(None);
        }
        let batch = match self.current.take() {
            Some(batch) => batch,
            None => loop {
                let Some(chunk) = self.rows.chunks().get(self.chunk) else { return Ok(None) };
                self.chunk += 1;
                if chunk.present() > 0 {
                    let (rows, skip) = (chunk.rows().project(&self.columns)?, std::mem::take(&mut self.skip));
                    break rows.slice(skip, rows.num_rows() - skip);
                }
            },
        };
        let count = most.min(self.left).min(batch.num_rows());
        self.left -= count;
        if count < batch.num_rows() {
            self.current = Some(batch.slice(count, batch.num_rows() - count));
        }
        Ok(Some(batch.slice(0, count)))
    }
}
