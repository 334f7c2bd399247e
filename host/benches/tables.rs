//! Tables over the contract beside the same rows as JSON.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_empty_array,
};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat;
use busway::table::{Limits, Shape, TableState};
use busway_plugin_api::TableSpec;
use busway_plugin_api::abi::TableUpdate;
use busway_plugin_api::arrow_buffer::OffsetBuffer;
use busway_plugin_api::table::{Batches, Change, Update, schema};
use measure::{judged, median, medians, rounds, time};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const MILLION: usize = 1_000_000;

#[derive(Serialize, Deserialize)]
struct Row {
    id: i64,
    name: String,
    status: String,
    value: f64,
    /// Microseconds since 1970.
    at: i64,
}

fn spec() -> TableSpec {
    let columns = [
        ("id", DataType::Int64, false),
        ("name", DataType::Utf8, false),
        ("status", DataType::Utf8, false),
        ("value", DataType::Float64, false),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, None), false),
    ];
    TableSpec::with_schema("rows", schema(columns))
}

/// Names of 12 to 20 bytes, 8 statuses, floats with all their digits; the same each time.
fn rows(count: usize) -> Vec<Row> {
    const STATUSES: [&str; 8] = ["new", "queued", "running", "paused", "done", "failed", "retried", "cancelled"];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let row = |id: i64| {
        let (a, b) = (next(), next());
        let name = format!("{a:016x}{b:04x}");
        Row {
            id,
            name: name[..12 + (b % 9) as usize].to_owned(),
            status: STATUSES[(b >> 32) as usize % 8].to_owned(),
            value: (a >> 11) as f64 / 1e9,
            at: 1_750_000_000_000_000 + id * 1_000_003,
        }
    };
    (0..count as i64).map(row).collect()
}

fn main() {
    let all = rows(MILLION);
    assert!(all.iter().all(|row| (12..=20).contains(&row.name.len())));
    import(&all);
    whole(&all);
}

/// The host's part alone: the import of what came across, beside the decoding of the same rows' JSON.
fn import(all: &[Row]) {
    println!("Update::import of a snapshot, beside serde_json::from_str to a Vec of structs");
    for count in [1_000, 10_000, 100_000, MILLION] {
        let rows = &all[..count];
        let batches = spec().rows(rows).unwrap();
        let text = serde_json::to_string(rows).unwrap();
        let (mut exports, mut imports, mut decodes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds(if count == MILLION { 11 } else { 51 }) {
            let update = spec().snapshot(batches.clone());
            // The allocator tidies up at the first large piece after a million small ones were freed: not here.
            drop(Update::import(update.clone().export().unwrap()).unwrap());
            let (took, update) = time(|| update.export().unwrap());
            exports.push(took.as_secs_f64());
            let (took, update) = time(|| Update::import(black_box(update)).unwrap());
            imports.push(took.as_secs_f64());
            assert!(matches!(update.change, Change::Snapshot(rows) if rows.num_rows() == count));
            let (took, decoded) = time(|| serde_json::from_str::<Vec<Row>>(black_box(&text)).unwrap());
            decodes.push(took.as_secs_f64());
            assert_eq!(decoded.len(), count);
        }
        let [export, import, decode] = [exports, imports, decodes].map(median);
        let ratio = decode / import;
        let judged = match count {
            MILLION => judged(ratio, ratio >= 1000.0, "at least 1000x"),
            _ => format!("{ratio:.0}x"),
        };
        println!(
            "  {count:>7} rows: export {:.1} us, import {:.1} us, JSON {:.0} us: {judged}",
            export * 1e6,
            import * 1e6,
            decode * 1e6
        );
    }
}

/// The whole path: a driver's structs become a table in the host.
fn whole(all: &[Row]) {
    let spec = spec();
    let shape = || Shape::new(Arc::clone(&spec.schema), Vec::new()).unwrap();
    let arrow = || cross(spec.snapshot(spec.rows(black_box(all)).unwrap()));
    let json = || {
        let text = serde_json::to_string(black_box(all)).unwrap();
        serde_json::from_str::<Vec<Row>>(black_box(&text)).unwrap()
    };
    let held = |rows: &Batches| TableState::begin(shape(), rows, Limits::default()).unwrap();
    let [structs, builders, held_arrow, json_vec, json_copied, held_json] = medians(
        7,
        [
            &mut || took(|| copied(&arrow())),
            &mut || took(|| copied(&cross(spec.snapshot(built(&spec, black_box(all)))))),
            &mut || took(|| held(&arrow())),
            &mut || took(json),
            &mut || took(|| copied(&spec.rows(&json()).unwrap())),
            &mut || took(|| held(&spec.rows(&json()).unwrap())),
        ],
    )
    .map(|seconds| seconds * 1e3);
    let ratio = |json: f64, arrow: f64| judged(json / arrow, json / arrow >= 10.0, "at least 10x");
    println!("the whole path of {} rows, from structs in the driver", all.len());
    println!(
        "  JSON: to a Vec of structs {json_vec:.1} ms, to a checked batch {json_copied:.1} ms, to a table {held_json:.1} ms"
    );
    println!("  contract, to a checked batch of the host's own: {structs:.1} ms");
    println!("    beside JSON to a Vec: {}", ratio(json_vec, structs));
    println!("    beside JSON to the same: {}", ratio(json_copied, structs));
    println!("  contract, to the same, by a driver that fills Arrow's builders: {builders:.1} ms");
    println!("    beside JSON to a Vec: {}", ratio(json_vec, builders));
    println!("    beside JSON to the same: {}", ratio(json_copied, builders));
    println!("  contract, to a table with its rows' fingerprints: {held_arrow:.1} ms");
    println!("    beside JSON to a Vec: {}", ratio(json_vec, held_arrow));
    println!("    beside JSON to the same: {}", ratio(held_json, held_arrow));

    let given = arrow();
    let text = serde_json::to_string(all).unwrap();
    let [rows, build, validate, copy, table, encode, decode] = medians(
        7,
        [
            &mut || took(|| spec.rows(black_box(all)).unwrap()),
            &mut || took(|| built(&spec, black_box(all))),
            &mut || took(|| given.validate().unwrap()),
            &mut || took(|| copy(&given)),
            &mut || took(|| held(&given)),
            &mut || took(|| serde_json::to_string(black_box(all)).unwrap()),
            &mut || took(|| serde_json::from_str::<Vec<Row>>(black_box(&text)).unwrap()),
        ],
    )
    .map(|seconds| seconds * 1e3);
    println!(
        "parts, ms: TableSpec::rows {rows:.1}, Arrow's builders {build:.1}; validate {validate:.1}, copy {copy:.1};"
    );
    println!(
        "  TableState::begin {table:.1} (these two, and fingerprints); JSON encode {encode:.1}, decode {decode:.1}"
    );
}

/// How long it took; what was made is dropped afterwards.
fn took<T>(work: impl FnOnce() -> T) -> Duration {
    time(|| black_box(work())).0
}

/// Over the contract, with nothing but the call left out.
fn cross(update: Update) -> Batches {
    let update: TableUpdate = update.export().unwrap();
    match Update::import(black_box(update)).unwrap().change {
        Change::Snapshot(rows) => rows,
        other => panic!("{other:?}"),
    }
}

/// What the host does before it looks at rows: every buffer is checked, and copied into its own memory.
fn copied(rows: &Batches) -> RecordBatch {
    rows.validate().unwrap();
    copy(rows)
}

fn copy(rows: &Batches) -> RecordBatch {
    let columns = rows.schema.fields().iter().enumerate().map(|(i, field)| {
        let empty = new_empty_array(field.data_type());
        let mut parts: Vec<&dyn Array> = rows.batches.iter().map(|batch| batch.column(i).as_ref()).collect();
        parts.push(empty.as_ref());
        concat(&parts).unwrap()
    });
    RecordBatch::try_new(Arc::clone(&rows.schema), columns.collect()).unwrap()
}

/// As a driver for large tables would: column by column.
fn built(spec: &TableSpec, rows: &[Row]) -> Batches {
    fn texts<'a>(texts: impl Iterator<Item = &'a String> + Clone) -> ArrayRef {
        let offsets = OffsetBuffer::<i32>::from_lengths(texts.clone().map(String::len));
        let mut bytes = Vec::with_capacity(texts.clone().map(String::len).sum());
        texts.for_each(|text| bytes.extend_from_slice(text.as_bytes()));
        Arc::new(StringArray::new(offsets, bytes.into(), None))
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        texts(rows.iter().map(|row| &row.name)),
        texts(rows.iter().map(|row| &row.status)),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.at))),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap().into()
}
