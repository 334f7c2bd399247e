//! The way of tables across the contract, without a copy.
//!
//! Every `unsafe` of this crate is here and in `check`.
#![allow(unsafe_code, reason = "tables cross the contract here")]

use super::check::{check, check_schema, crosses, invalid};
use crate::abi::{ArrowArray, ArrowSchema, RawArray, TableData};
use crate::table::Batches;
use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::{Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow_schema::{ArrowError, DataType, Schema};
use std::collections::HashMap;
use std::sync::Arc;

/// The largest batch that crosses, in bytes of its buffers that are in use.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

// The contract's structs and arrow's are the same C structs; so much can be checked when this is compiled.
const _: () = {
    assert!(size_of::<ArrowArray>() == size_of::<FFI_ArrowArray>());
    assert!(align_of::<ArrowArray>() == align_of::<FFI_ArrowArray>());
    assert!(size_of::<ArrowSchema>() == size_of::<FFI_ArrowSchema>());
    assert!(align_of::<ArrowSchema>() == align_of::<FFI_ArrowSchema>());
};

/// Rows on their way out, split into batches that may cross.
pub(crate) fn export(rows: Batches) -> Result<TableData, ArrowError> {
    let schema = FFI_ArrowSchema::try_from(rows.schema.as_ref())?;
    // SAFETY: both are the C data interface's `struct ArrowSchema`, `#[repr(C)]` with the same fields in the same order
    // (sizes compared above; `ArrowSchema` is transparent over its raw form); arrow's structures may be released on any
    // thread; ownership moves with the value, and both call `release` on drop.
    let schema = unsafe { std::mem::transmute::<FFI_ArrowSchema, ArrowSchema>(schema) };
    let mut pieces = Vec::new();
    for batch in rows.batches {
        // The other side reads the buffers as the schema says: another type would have it read beyond them.
        same_columns(&rows.schema, &batch)?;
        // No rows, no batch: an empty slice's offsets need not begin at 0, and would not stand a check over there.
        if batch.num_rows() > 0 {
            split(batch, &mut pieces)?;
        }
    }
    let batches = pieces
        .into_iter()
        .map(|batch| {
            let array = FFI_ArrowArray::new(&StructArray::from(batch).into_data());
            // SAFETY: as above, for `struct ArrowArray`.
            unsafe { std::mem::transmute::<FFI_ArrowArray, ArrowArray>(array) }
        })
        .collect();
    Ok(TableData { schema, batches })
}

fn same_columns(schema: &Schema, batch: &RecordBatch) -> Result<(), ArrowError> {
    if schema.fields().len() != batch.num_columns() {
        let (found, wanted) = (batch.num_columns(), schema.fields().len());
        return Err(ArrowError::SchemaError(format!("a batch has {found} columns, its schema {wanted}")));
    }
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let (name, wanted, found) = (field.name(), field.data_type(), column.data_type());
        if wanted != found {
            return Err(ArrowError::SchemaError(format!("column {name:?} of a batch is {found}, not {wanted}")));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(ArrowError::SchemaError(format!("column {name:?} of a batch has nulls, its schema none")));
        }
    }
    Ok(())
}

fn split(batch: RecordBatch, pieces: &mut Vec<RecordBatch>) -> Result<(), ArrowError> {
    let bytes: usize = batch.columns().iter().map(|column| used(column)).sum();
    let rows = batch.num_rows();
    if bytes <= MAX_BATCH_BYTES {
        pieces.push(batch);
        return Ok(());
    }
    if rows < 2 {
        let limit = MAX_BATCH_BYTES >> 20;
        return Err(ArrowError::InvalidArgumentError(format!(
            "a row of {bytes} bytes: no more than {limit} MiB cross"
        )));
    }
    split(batch.slice(0, rows / 2), pieces)?;
    split(batch.slice(rows / 2, rows - rows / 2), pieces)
}

/// How many bytes of its buffers an array uses. Arrow's own count takes a list's items whole, however few of them a
/// slice of the list has left.
fn used(array: &dyn Array) -> usize {
    let nulls = if array.nulls().is_some() { array.len().div_ceil(8) } else { 0 };
    let list = |first: usize, last: usize, width: usize, items: &dyn Array| {
        (array.len() + 1) * width + used(&items.slice(first, last - first))
    };
    let range = |offsets: &[i32]| (offsets[0] as usize, offsets[array.len()] as usize);
    nulls
        + match array.data_type() {
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let (first, last) = range(lists.value_offsets());
                list(first, last, 4, lists.values())
            }
            DataType::Map(..) => {
                let maps = array.as_map();
                let (first, last) = range(maps.value_offsets());
                list(first, last, 4, maps.entries())
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                let offsets = lists.value_offsets();
                list(offsets[0] as usize, offsets[array.len()] as usize, 8, lists.values())
            }
            DataType::FixedSizeList(..) => used(array.as_fixed_size_list().values()),
            DataType::Struct(_) => array.as_struct().columns().iter().map(|column| used(column)).sum(),
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                used(dictionary.keys()) + used(dictionary.values())
            }
            DataType::Utf8View => 16 * array.len() + long_views(array.as_string_view().views()),
            DataType::BinaryView => 16 * array.len() + long_views(array.as_binary_view().views()),
            // Flat types; what else there is does not cross.
            _ => array.to_data().get_slice_memory_size().unwrap_or(0).saturating_sub(nulls),
        }
}

/// Views of at most 12 bytes hold them within.
fn long_views(views: &[u128]) -> usize {
    views.iter().map(|view| *view as u32 as usize).filter(|len| *len > 12).sum()
}

/// Rows on their way in, without a copy.
pub(crate) fn import(data: TableData) -> Result<Batches, ArrowError> {
    // SAFETY: the schema is live and its producer keeps the interface's promise that counted pointers are there.
    unsafe { check_schema(data.schema.as_raw(), 0)? };
    // SAFETY: as in `export`, the other way round.
    let schema = unsafe { std::mem::transmute::<ArrowSchema, FFI_ArrowSchema>(data.schema) };
    let schema = Schema::try_from(&schema)?;
    // Metadata of the whole schema is nobody's business here and would make equal tables differ.
    let schema = Arc::new(schema.with_metadata(HashMap::new()));
    schema.fields().iter().try_for_each(|field| crosses(field.data_type()))?;
    let mut names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    names.sort_unstable();
    if names.first() == Some(&"") || names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ArrowError::SchemaError("a column without a name, or two of one name".to_owned()));
    }
    let whole = DataType::Struct(schema.fields().clone());
    let batches = (data.batches.into_iter())
        .map(|array| {
            // SAFETY: `array` is live and its producer keeps the interface's promise that counted pointers are there.
            let rows = unsafe { check(array.as_raw(), &whole, Some(0..array.as_raw().length))? };
            // Counted anew: a wrong count would hide rows that are null as a whole.
            let raw = RawArray { null_count: -1, ..array.into_raw() };
            // SAFETY: as in `export`, the other way round, and `RawArray` is what `ArrowArray` is made of; `into_raw` gave
            // up ownership.
            let array = unsafe { std::mem::transmute::<RawArray, FFI_ArrowArray>(raw) };
            // SAFETY: counts agree with the type (`check`); that buffers are as long as they say is the producer's
            // promise, which the SDK keeps and which the interface gives no means to verify.
            let array = unsafe { from_ffi_and_data_type(array, whole.clone())? };
            if array.nulls().is_some_and(|nulls| nulls.null_count() > 0) {
                return Err(invalid("a row that is null as a whole"));
            }
            let columns = StructArray::from(array).columns().to_vec();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
        })
        .collect::<Result<_, _>>()?;
    Ok(Batches { schema, batches })
}
