//! Rows as an Arrow IPC stream.

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};

/// A stream whose bytes are taken as they come.
pub(super) struct Stream(StreamWriter<Vec<u8>>);

impl Stream {
    pub(super) fn of(schema: &Schema) -> Result<Self, ArrowError> {
        StreamWriter::try_new(Vec::new(), schema).map(Self)
    }

    /// The columns, which the writer wrote when it was made.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.flush()?;
        out.append(self.0.get_mut());
        Ok(())
    }

    pub(super) fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(rows)?;
        self.begin(out)
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.finish()?;
        self.begin(out)
    }
}
