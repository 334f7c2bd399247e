//! Picking, against a model: rows of values, sorted and cut.

use super::{Only, Order, Walk, Wanted};
use crate::table::rows::{Chunk, Rows};
use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::*;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::sync::Arc;

/// A number, a text, a float, a list of one number; and which row it is.
type Row = (Option<i32>, Option<&'static str>, Option<f64>, Option<i32>, i32);

fn batch(rows: &[Row]) -> RecordBatch {
    let mut lists = ListBuilder::new(Int32Builder::new());
    rows.iter().for_each(|row| lists.append_option(row.3.map(|v| [Some(v)])));
    let columns: [(&str, ArrayRef); 5] = [
        ("number", Arc::new(rows.iter().map(|row| row.0).collect::<Int32Array>())),
        ("text", Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>())),
        ("float", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
        ("list", Arc::new(lists.finish())),
        ("id", Arc::new(rows.iter().map(|row| Some(row.4)).collect::<Int32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// In chunks of some rows, some of them absent; the rows that are there.
fn held(rows: &[Row], chunk: usize, absent: &[bool]) -> (Rows, Vec<Row>) {
    let mut there = Vec::new();
    let chunks = rows.chunks(chunk).map(|rows| {
        let mut chunk = Chunk::new(batch(rows));
        for (at, row) in rows.iter().enumerate() {
            match absent[row.4 as usize % absent.len()] {
                true => chunk.remove(at),
                false => there.push(*row),
            }
        }
        chunk
    });
    let chunks: Vec<Chunk> = chunks.collect();
    (Rows::new(batch(&[]).schema(), chunks), there)
}

fn ids(batch: &RecordBatch) -> Vec<i32> {
    batch.column_by_name("id").unwrap().as_primitive::<Int32Type>().values().to_vec()
}

fn nulls_last<T>(a: Option<T>, b: Option<T>, descending: bool, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if descending => compare(&b, &a),
        (Some(a), Some(b)) => compare(&a, &b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

fn compared(a: &Row, b: &Row, by: Order) -> Ordering {
    let Order { column, descending } = by;
    match column {
        0 => nulls_last(a.0, b.0, descending, Ord::cmp),
        1 => nulls_last(a.1, b.1, descending, Ord::cmp),
        2 => nulls_last(a.2, b.2, descending, f64::total_cmp),
        3 => nulls_last(a.3, b.3, descending, Ord::cmp),
        _ => nulls_last(Some(a.4), Some(b.4), descending, Ord::cmp),
    }
}

fn row() -> impl Strategy<Value = Row> {
    let text = prop::option::weighted(
        0.8,
        prop::sample::select(vec!["", "a", "a\0", "b", "ab", "ä", "a long one", "a long two"]),
    );
    let float = prop::option::weighted(0.8, prop::sample::select(vec![f64::NAN, 0.0, -1.5, f64::INFINITY]));
    let number = || prop::option::weighted(0.8, -3..3);
    (number(), text, float, number(), Just(0))
}

proptest! {
    #[test]
    fn the_rows_at_any_ranks_are_those_of_all_rows_sorted(
        mut rows in prop::collection::vec(row(), 0..60),
        absent in prop::collection::vec(prop::bool::weighted(0.2), 1..9),
        chunk in 1_usize..20,
        order in prop::collection::vec((0_usize..5, any::<bool>()), 0..4),
        start in 0_usize..50,
        count in 0_usize..70,
        number in prop::option::of(-3..3),
        null in any::<bool>(),
        valued in prop::option::of(0_usize..4),
    ) {
        rows.iter_mut().zip(0..).for_each(|(row, id)| row.4 = id);
        let (held, mut there) = held(&rows, chunk, &absent);
        let order: Vec<Order> = order.into_iter().map(|(column, descending)| Order { column, descending }).collect();
        let mut only = Vec::new();
        if let Some(number) = number {
            let values: Vec<ArrayRef> = [number, number + 1].map(|v| Arc::new(Int32Array::from(vec![v])) as _).into();
            only.push(Only { column: 0, wanted: Wanted::AnyOf { values, null } });
            there.retain(|row| row.0.map_or(null, |v| v == number || v == number + 1));
        }
        if let Some(column) = valued {
            only.push(Only { column, wanted: Wanted::Value });
            there.retain(|row| [row.0.is_some(), row.1.is_some(), row.2.is_some(), row.3.is_some()][column]);
        }
        // Stable, as it is to be.
        there.sort_by(|a, b| order.iter().fold(Ordering::Equal, |so_far, by| so_far.then_with(|| compared(a, b, *by))));
        let wanted: Vec<i32> = there.iter().skip(start).take(count).map(|row| row.4).collect();

        let places = held.places(&only).unwrap();
        prop_assert_eq!(places.len(), there.len());
        let picked = held.ranked(places, &order, start..start + count).unwrap();
        let batch = held.gather(&picked, &[2, 4]).unwrap();
        prop_assert_eq!(ids(&batch), wanted);
        let floats = batch.column(0).as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits));
        let expected = there.iter().skip(start).take(count).map(|row| row.2.map(f64::to_bits));
        prop_assert!(floats.eq(expected));
    }

    #[test]
    fn a_walk_gives_every_row_once_in_parts_of_any_size(
        count in 0..60,
        absent in prop::collection::vec(any::<bool>(), 1..9),
        chunk in 1_usize..20,
        from in 0_usize..70,
        most in 0_usize..70,
        part in 1_usize..9,
    ) {
        let rows: Vec<Row> = (0..count).map(|id| (None, None, None, None, id)).collect();
        let (held, there) = held(&rows, chunk, &absent);
        let wanted: Vec<i32> = there.iter().skip(from).take(most).map(|row| row.4).collect();
        let mut walk = Walk::new(held, vec![4], from, most);
        let mut seen = Vec::new();
        prop_assert_eq!(walk.left(), wanted.len());
        while let Some(rows) = walk.take(part).unwrap() {
            prop_assert!((1..=part).contains(&rows.num_rows()));
            seen.extend(ids(&rows));
            prop_assert_eq!(walk.left(), wanted.len() - seen.len());
        }
        prop_assert_eq!(seen, wanted);
    }
}

#[test]
fn absent_rows_are_not_there_whatever_their_values() {
    let rows: [Row; 2] = [(Some(1), None, None, None, 0), (Some(1), None, None, None, 1)];
    let mut chunk = Chunk::new(batch(&rows));
    chunk.remove(0);
    let held = Rows::new(batch(&[]).schema(), vec![chunk]);
    let values: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1]))];
    let one = Only { column: 0, wanted: Wanted::AnyOf { values, null: false } };
    assert_eq!(ids(&held.gather(&held.places(&[one]).unwrap(), &[4]).unwrap()), [1]);
    let none = held.gather(&[], &[4, 0]).unwrap();
    assert_eq!((none.num_rows(), none.schema().field(0).name().as_str()), (0, "id"));
}
