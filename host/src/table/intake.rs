//! The border: rows of any batches come into the host's own memory, in canonical form.

use super::canonical;
use super::limits::Limits;
use super::rows::{CHUNK, bytes_of};
use super::shape::{Refused, Shape};
use super::threads::{each, threads};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::{concat, concat_batches};
use busway_plugin_api::table::Batches;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows that passed the border: looked into, copied into the host's memory, in canonical form. Taking them needs no table,
/// so a writer may do it before its turn.
#[derive(Debug, Clone)]
pub struct Taken {
    schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rows: usize,
}

impl Taken {
    /// Takes rows of a table of this shape. Costs a pass over the data for the look into the buffers and one for the copy.
    ///
    /// # Errors
    ///
    /// When the columns are others, the buffers contradict each other, or it is too much; nothing was copied if the number
    /// of rows, or of bytes in canonical form, could be known before.
    pub fn of(shape: &Shape, rows: &Batches, limits: Limits) -> Result<Self, Refused> {
        take(&shape.schema, rows, limits)
    }

    /// Refuses rows that were taken for another shape or by other limits.
    pub(crate) fn check(&self, shape: &Shape, limits: Limits) -> Result<(), Refused> {
        fits(&shape.schema, &self.schema)?;
        limits.check(self.rows, self.batches.iter().map(bytes_of).sum())
    }

    /// As one batch: small ones, of deltas and steps.
    pub(crate) fn into_batch(mut self) -> Result<RecordBatch, Refused> {
        Ok(match self.batches.len() {
            0 => RecordBatch::new_empty(self.schema),
            1 => self.batches.remove(0),
            _ => concat_batches(&self.schema, &self.batches)?,
        })
    }
}

/// As [`Taken::of`], of any columns in canonical types.
pub(crate) fn take(schema: &SchemaRef, rows: &Batches, limits: Limits) -> Result<Taken, Refused> {
    let count = rows.num_rows();
    limits.check(count, 0)?;
    for given in std::iter::once(rows.schema.as_ref()).chain(rows.batches.iter().map(|b| b.schema_ref().as_ref())) {
        fits(schema, given)?;
    }
    rows.validate()?;
    if rows.batches.iter().all(|batch| types(&batch.schema()).eq(types(schema))) {
        limits.check(count, rows.batches.iter().map(bytes_of).sum())?;
    }
    let mut batches: Vec<Option<RecordBatch>> = vec![None; count.div_ceil(CHUNK)];
    let (parts, bytes) = (parts(&rows.batches), AtomicUsize::new(0));
    each(batches.iter_mut().zip(parts).collect(), threads(count), |(place, parts)| {
        let batch = own(schema, &parts)?;
        let before = bytes.fetch_add(bytes_of(&batch), Ordering::Relaxed);
        limits.check(count, before + bytes_of(&batch))?;
        *place = Some(batch);
        Ok(())
    })?;
    Ok(Taken { schema: Arc::clone(schema), batches: batches.into_iter().flatten().collect(), rows: count })
}

fn types(schema: &Schema) -> impl Iterator<Item = &arrow_schema::DataType> {
    schema.fields().iter().map(|field| field.data_type())
}

/// Whether these columns are the held ones in some encoding.
fn fits(held: &Schema, given: &Schema) -> Result<(), Refused> {
    if types(given).map(canonical::kind).eq(types(held).cloned().map(Some)) {
        return Ok(());
    }
    let list = |schema: &Schema| types(schema).map(ToString::to_string).collect::<Vec<_>>();
    Err(Refused::Arrow(format!("columns of types {:?}, not {:?}", list(given), list(held))))
}

/// The batches cut and joined to pieces of [`CHUNK`] rows.
fn parts(batches: &[RecordBatch]) -> Vec<Vec<RecordBatch>> {
    let (mut parts, mut room) = (Vec::new(), 0);
    for batch in batches {
        let mut at = 0;
        while at < batch.num_rows() {
            if room == 0 {
                parts.push(Vec::new());
                room = CHUNK;
            }
            let length = room.min(batch.num_rows() - at);
            if let Some(part) = parts.last_mut() {
                part.push(batch.slice(at, length));
            }
            (at, room) = (at + length, room - length);
        }
    }
    parts
}

/// One batch of these in the host's own memory.
fn own(schema: &SchemaRef, parts: &[RecordBatch]) -> Result<RecordBatch, Refused> {
    let column = |i: usize| {
        let kind = schema.field(i).data_type();
        let cast = |part: &RecordBatch| canonical::cast(Arc::clone(part.column(i)), kind);
        let mut columns: Vec<ArrayRef> = parts.iter().map(cast).collect::<Result<_, _>>()?;
        // `concat` of one array shares it; the empty one makes it copy into the host's memory, so that nothing the host
        // keeps holds on to a driver's.
        columns.push(new_empty_array(kind));
        let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        canonical::floats(concat(&columns)?)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<ArrayRef>, _>>()?;
    let count = parts.iter().map(RecordBatch::num_rows).sum();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
