//! Parquet to columns.

use crate::declared::Types;
use crate::input::{Input, Places, Rows};
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::errors::ParquetError;
use busway_plugin_api::Error;
use busway_plugin_api::arrow_array::{RecordBatch, RecordBatchOptions};
use busway_plugin_api::arrow_schema::{Field, Schema};
use busway_plugin_api::table::name_of_kind;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Rows in a batch: few, since a text that is in the file once may be in all of them.
const BATCH: usize = 1 << 13;
/// What a file's rows may take in memory, in sizes of the largest file that is read: few bytes can stand for many rows.
pub(crate) const EXPANSION: u64 = 4;

/// Reads a whole file whose rows take at most `most` bytes.
pub(crate) fn read(input: &Input<'_>, bytes: &Bytes, types: &Types, most: u64) -> Result<Rows, Error> {
    whole(input, bytes)?;
    // Its reader is large, and files come from anywhere: a panic must not end the datasource's other tables.
    let rows = catch_unwind(AssertUnwindSafe(|| decode(input, bytes, most)));
    let rows = rows.unwrap_or_else(|_| Err(unreadable(input, "its reader panicked, see the log")))?;
    compare(input, &rows.schema, types)?;
    Ok(rows)
}

fn unreadable(input: &Input<'_>, why: impl std::fmt::Display) -> Error {
    Error::new(format!("it can't be read as Parquet: {why}")).code("malformed").at(input.file)
}

/// Whether it ends as such files do: that is written last.
fn whole(input: &Input<'_>, bytes: &Bytes) -> Result<(), Error> {
    let transient = |why: &str, code: &str| Err(Error::transient(why).code(code).at(input.file));
    match (bytes.get(..4), bytes.len().checked_sub(4).and_then(|end| bytes.get(end..))) {
        _ if bytes.is_empty() => transient("it is empty: it is being written?", "empty"),
        (Some(b"PAR1"), Some(b"PAR1")) if bytes.len() >= 12 => Ok(()),
        (Some(b"PAR1"), _) => transient("it does not end as Parquet files do: it is being written?", "incomplete"),
        (Some(b"PARE"), _) => Err(unreadable(input, "it is encrypted")),
        _ => Err(unreadable(input, "it does not begin as Parquet files do")),
    }
}

fn decode(input: &Input<'_>, bytes: &Bytes, most: u64) -> Result<Rows, Error> {
    let failed = |error: ParquetError| unreadable(input, error);
    // The columns as Parquet has them: what Arrow's writers note beside them may be types of their memory alone, as
    // dictionaries and views, which help no consumer.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(bytes, options).map_err(failed)?;
    let groups = metadata.metadata().row_groups();
    let sizes = groups.iter().map(|group| u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX));
    let too_large = || {
        let message = format!("its rows take more than {most} bytes, {EXPANSION} times option \"max_file_bytes\"");
        Error::new(message).code("too_large").at(input.file)
    };
    if sizes.fold(0, u64::saturating_add) > most {
        return Err(too_large());
    }
    let schema = plain(input, metadata.schema())?;
    let mut batches = Vec::new();
    let (mut rows, mut taken) = (0, 0_u64);
    for group in 0..groups.len() {
        // Each is read by itself: what was decoded of the last is given back.
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone());
        for batch in builder.with_row_groups(vec![group]).with_batch_size(BATCH).build().map_err(failed)? {
            input.go_on(0)?;
            let batch = batch.map_err(|error| unreadable(input, error))?;
            rows += batch.num_rows();
            taken = taken.saturating_add(u64::try_from(batch.get_array_memory_size())?);
            if taken > most {
                return Err(too_large());
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            batches.push(RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &options)?);
        }
    }
    Ok(Rows { schema, batches, places: Places::Numbers(rows) })
}

/// The columns without what other programs noted beside them.
fn plain(input: &Input<'_>, schema: &Schema) -> Result<Arc<Schema>, Error> {
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    if names.is_empty() {
        return Err(unreadable(input, "it has no columns"));
    }
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.contains('\0') {
            return Err(unreadable(
                input,
                format!("the name of column {}, {name:?}, is empty or holds a zero byte", i + 1),
            ));
        }
        if names[..i].contains(name) {
            return Err(unreadable(input, format!("two columns are named {name:?}")));
        }
    }
    let plain = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), field.is_nullable());
    Ok(Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>())))
}

/// A Parquet file's columns have types of their own; those that are declared must be these.
fn compare(input: &Input<'_>, schema: &Schema, types: &Types) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::new(message).code("type").at(input.file));
    for (name, declared) in types {
        let Ok(field) = schema.field_with_name(name) else { return refuse(input.no_column(name, schema)) };
        let (found, declared) = (name_of_kind(field.data_type()), name_of_kind(declared));
        if found != declared {
            return refuse(format!("column {name:?} is {found} in the file, and {declared} in option \"types\""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
