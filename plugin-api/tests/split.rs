//! Batches too large to cross are split, by what of them is in use.

use crate::tables::rows_across;
use busway_plugin_api::arrow_array::types::Int32Type;
use busway_plugin_api::arrow_array::*;
use busway_plugin_api::arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use busway_plugin_api::arrow_schema::{DataType, Field};
use busway_plugin_api::prelude::*;
use busway_plugin_api::table::MAX_BATCH_BYTES;
use std::sync::Arc;

const MIB: usize = 1 << 20;

fn batch(column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("c", column)]).unwrap()
}

fn bytes(rows: usize, each: usize) -> BinaryArray {
    BinaryArray::new(OffsetBuffer::from_lengths(vec![each; rows]), Buffer::from(vec![7_u8; rows * each]), None)
}

fn sizes(batch: &RecordBatch) -> Vec<usize> {
    let back = rows_across(batch.clone().into());
    let mut at = 0;
    for piece in &back.batches {
        assert_eq!(piece, &batch.slice(at, piece.num_rows()), "from row {at}");
        at += piece.num_rows();
    }
    assert_eq!(at, batch.num_rows());
    back.batches.iter().map(RecordBatch::num_rows).collect()
}

#[test]
fn wide_columns_are_split_without_a_copy() {
    let wide = bytes(100, MIB);
    let start = wide.value_data().as_ptr();
    let all = batch(Arc::new(wide));
    assert_eq!(sizes(&all), [50, 50]);
    let back = rows_across(all.clone().into());
    let second: &BinaryArray = back.batches[1].column(0).as_any().downcast_ref().unwrap();
    assert_eq!(second.value(0).as_ptr(), start.wrapping_add(50 * MIB));
    // What crosses is what is in use.
    assert_eq!(sizes(&all.slice(60, 40)), [40]);
    assert_eq!(sizes(&all.slice(1, 65)), [32, 33]);
}

#[test]
fn the_limit_itself_crosses_in_one() {
    let rows = MAX_BATCH_BYTES / 8;
    let longs = Int64Array::new(ScalarBuffer::from(vec![1; rows + 1]), None);
    let all = batch(Arc::new(longs));
    assert_eq!(sizes(&all.slice(0, rows)), [rows]);
    assert_eq!(sizes(&all), [rows / 2, rows / 2 + 1]);
}

#[test]
fn lists_are_split_by_the_items_in_use() {
    let items = Arc::new(bytes(100, MIB));
    let field = Arc::new(Field::new("item", DataType::Binary, false));
    let lists = ListArray::new(field, OffsetBuffer::from_lengths(vec![5; 20]), items, None);
    assert_eq!(sizes(&batch(Arc::new(lists))), [10, 10]);
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Binary, false)),
        Arc::new(bytes(100, MIB)) as ArrayRef,
    )]);
    assert_eq!(sizes(&batch(Arc::new(nested))), [50, 50]);
}

#[test]
fn views_are_split_by_the_texts_in_use() {
    let views = BinaryViewArray::from_iter_values((0..100).map(|_| vec![7_u8; MIB]));
    assert_eq!(sizes(&batch(Arc::new(views))), [50, 50]);
}

#[test]
fn a_row_that_is_too_large_is_refused() {
    let told = |rows: RecordBatch| {
        let refused = Update::bare("t", Change::Snapshot(rows.into())).export();
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        told(batch(Arc::new(bytes(1, 65 * MIB)))),
        "Invalid argument error: a row of 68157448 bytes: no more than 64 MiB cross"
    );
    let keys = Int32Array::from(vec![0; 1000]);
    let words = DictionaryArray::<Int32Type>::new(keys, Arc::new(bytes(65, MIB)));
    assert!(told(batch(Arc::new(words))).ends_with(" bytes: no more than 64 MiB cross"));
}
