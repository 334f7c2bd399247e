//! What a table's next snapshot costs, and a small delta. The rivals do the same in `rivals.py`, with the same rows.
//! One thread: `taskset -c 0 cargo bench -p busway --bench diff`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use busway::table::{Applied, Limits, Shape, TableState, Taken};
use busway_plugin_api::table::Batches;
use measure::{judged, median, rounds, time};
use std::sync::Arc;

const MILLION: usize = 1_000_000;
const STATUSES: [&str; 8] = ["new", "queued", "running", "paused", "done", "failed", "retried", "cancelled"];

#[derive(Clone)]
struct Row {
    id: i64,
    name: String,
    status: &'static str,
    value: f64,
    at: i64,
}

/// The same each time, and the same as in `rivals.py`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn row(&mut self, id: i64) -> Row {
        let (a, b) = (self.next(), self.next());
        let name = format!("{a:016x}{b:04x}");
        Row {
            id,
            name: name[..12 + (b % 9) as usize].to_owned(),
            status: STATUSES[(b >> 32) as usize % 8],
            value: (a >> 11) as f64 / 1e9,
            at: 1_750_000_000_000_000 + id * 1_000_003,
        }
    }
}

/// A table, and its next state: of each 200 rows two are changed, one is gone and one is new.
fn rows(count: usize) -> (Vec<Row>, Vec<Row>) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let old: Vec<Row> = (0..count as i64).map(|id| random.row(id)).collect();
    let mut new = Vec::with_capacity(count);
    for (i, row) in old.iter().enumerate() {
        match i % 200 {
            17 | 117 => new.push(Row { value: row.value + 1.0, ..row.clone() }),
            67 => {}
            167 => new.extend([row.clone(), random.row((count + i) as i64)]),
            _ => new.push(row.clone()),
        }
    }
    (old, new)
}

fn shuffled(rows: &[Row]) -> Vec<Row> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut rows = rows.to_vec();
    for i in (1..rows.len()).rev() {
        rows.swap(i, (random.next() % (i as u64 + 1)) as usize);
    }
    rows
}

fn schema() -> SchemaRef {
    let columns = [
        ("id", DataType::Int64),
        ("name", DataType::Utf8),
        ("status", DataType::Utf8),
        ("value", DataType::Float64),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ];
    Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind, false)).to_vec()))
}

fn batches(rows: &[Row]) -> Batches {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.name))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.status))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.at))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap().into()
}

fn shape(key: bool) -> Shape {
    Shape::new(schema(), if key { vec!["id".to_owned()] } else { Vec::new() }).unwrap()
}

fn main() {
    let processors = std::thread::available_parallelism().unwrap();
    println!("processors that may be used: {processors}");
    // Some sizes alone: `-- 10000`.
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let wanted = |count: &usize| asked.is_empty() || asked.contains(count);
    [10_000, 20_000, 40_000, 80_000, MILLION].into_iter().filter(wanted).for_each(snapshots);
    [10_000, 100_000, MILLION].into_iter().filter(wanted).for_each(deltas);
}

/// Back and forth between two states: each way is a snapshot of the other.
fn snapshots(count: usize) {
    let asked = if count == MILLION { 9 } else { 31 };
    let (old, new) = rows(count);
    let changed = [new.len() / 100, count / 200 * 3];
    println!("{count} rows, 1 % changed, 0.5 % gone, 0.5 % new; ms");
    let (one, other, mixed, same) = (batches(&old), batches(&new), batches(&shuffled(&new)), batches(&shuffled(&old)));
    let intake = {
        let times = (0..=rounds(asked)).map(|_| time(|| Taken::of(&shape(false), &one, Limits::default()).unwrap()).0);
        median(times.map(|t| t.as_secs_f64() * 1e3).collect())
    };
    let validate = {
        let times = (0..=rounds(asked)).map(|_| time(|| one.validate().unwrap()).0);
        median(times.map(|t| t.as_secs_f64() * 1e3).collect())
    };
    println!("  intake: {intake:.2}, of which the look into the buffers {validate:.2}");
    for key in [false, true] {
        let kind = if key { "keyed" } else { "a set" };
        let target = |ms: f64, most: f64| match (count, key) {
            (MILLION, false) => format!("{ms:.1} ({})", judged(ms / most, ms <= most, &format!("of {most} at most"))),
            _ => format!("{ms:.2}"),
        };
        let threads = processors_used();
        let (all, fresh) = back_and_forth(&one, &mixed, key, asked, changed);
        let shuffled_most = if threads == 1 { 60.0 } else { 40.0 };
        println!("  {kind}, shuffled: {}; nothing kept, both sides hashed: {fresh:.2}", target(all, shuffled_most));
        let (all, fresh) = back_and_forth(&one, &other, key, asked, changed);
        println!("  {kind}, in order: {}; nothing kept: {fresh:.2}", target(all, 30.0));
        let (all, _) = back_and_forth(&one, &one, key, asked, [0, 0]);
        println!("  {kind}, unchanged: {all:.2}");
        let (all, _) = back_and_forth(&one, &same, key, asked, [0, 0]);
        println!("  {kind}, unchanged, but shuffled: {all:.2}");
    }
}

fn processors_used() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(2)
}

/// The medians: of a snapshot on a table that is held, and of one on a table whose rows were only just read.
fn back_and_forth(one: &Batches, other: &Batches, key: bool, asked: usize, changed: [usize; 2]) -> (f64, f64) {
    let take = |rows: &Batches| Taken::of(&shape(key), rows, Limits::default()).unwrap();
    let mut state = TableState::begin(shape(key), one, Limits::default()).unwrap();
    let (mut times, mut fresh) = (Vec::new(), Vec::new());
    for round in 0..=rounds(asked) {
        for next in [other, one] {
            let (shape, taken) = (shape(key), take(next));
            let (took, applied) = time(|| state.snapshot_taken(shape, taken, 0).unwrap());
            match &applied {
                Applied::Stepped(step) if changed[0] > 0 => {
                    assert_eq!(step.updated, if key { changed[0] } else { 0 });
                    assert_eq!(step.removed.num_rows(), changed[1]);
                    assert_eq!(step.added.num_rows(), changed[1]);
                }
                Applied::Unchanged if changed[0] == 0 => {}
                other => panic!("{other:?}"),
            }
            if round > 0 {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
        let (old, new) = (take(one), take(other));
        let (took, made) = time(|| {
            let mut state = TableState::begin_taken(shape(key), old, Limits::default()).unwrap();
            let applied = state.snapshot_taken(shape(key), new, 0).unwrap();
            (state, applied)
        });
        drop(made);
        fresh.push(took.as_secs_f64() * 1e3);
    }
    (median(times), median(fresh))
}

/// 50 rows go, 50 come.
fn deltas(count: usize) {
    println!("{count} rows, a delta of 100 rows; us");
    let (old, _) = rows(count);
    for key in [false, true] {
        let mut state = TableState::begin(shape(key), &batches(&old), Limits::default()).unwrap();
        let bytes = |state: &TableState| (state.bytes() - state.rows().bytes()) as f64 / count as f64;
        let (kept, each) = (bytes(&state), state.rows().bytes() as f64 / count as f64);
        let mut random = Random(7);
        let mut gone: Vec<Row> = Vec::new();
        let (mut times, mut compactions, mut first) = (Vec::new(), 0, 0.0);
        let mut there = old.clone();
        for round in 0..=rounds(1000) {
            let out: Vec<Row> =
                (0..50).map(|_| there.swap_remove((random.next() % there.len() as u64) as usize)).collect();
            let back = std::mem::replace(&mut gone, out);
            let added = batches(&back);
            let removed = batches(&gone);
            let removed = match key {
                false => removed,
                true => removed.batches[0].project(&[0]).unwrap().into(),
            };
            there.extend(back);
            let (took, applied) = time(|| state.delta(&added, &removed, 0).unwrap());
            assert!(matches!(applied, Applied::Stepped(_)));
            let (view, _) = time(|| state.rows());
            match round {
                0 => first = took.as_secs_f64() * 1e6,
                _ => times.push((took + view).as_secs_f64() * 1e6),
            }
            if state.needs_compaction() {
                state.compact();
                compactions += 1;
            }
        }
        let times = {
            let mut times = times;
            times.sort_by(f64::total_cmp);
            times
        };
        let worst = times[times.len() * 99 / 100];
        println!(
            "  {}: {:.1} (99 of 100: {worst:.1}), the first, which makes the index, {first:.0}; {compactions} compactions; \
             kept beside {each:.1} B of Arrow: {kept:.1} B/row, with the index {:.1}",
            if key { "keyed" } else { "a set" },
            times[times.len() / 2],
            bytes(&state)
        );
    }
}
