//! Rows over HTTP, through a host's own door: pages out of a million rows, and tables as a whole.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, TimeUnit};
use busway::config::Config;
use busway::node::Node;
use busway::table::Shape;
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::schema;
use measure::{median, rounds};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MILLION: usize = 1_000_000;
const STATUSES: [&str; 8] = ["new", "queued", "running", "paused", "done", "failed", "retried", "cancelled"];

/// A table of the same five columns as in the other benchmarks, keyed by `id`, ascending; the same each time.
fn table(name: &str, count: usize) -> (TableSpec, RecordBatch) {
    let columns = [
        ("id", DataType::Int64, false),
        ("name", DataType::Utf8, false),
        ("status", DataType::Utf8, false),
        ("value", DataType::Float64, false),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, None), false),
    ];
    let spec = TableSpec::with_schema(name, schema(columns)).key(["id"]);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let random: Vec<(u64, u64)> = (0..count).map(|_| (next(), next())).collect();
    let names = random.iter().map(|(a, b)| format!("{a:016x}{b:04x}")[..12 + (b % 9) as usize].to_owned());
    let ids = 0..count as i64;
    let batch = RecordBatch::try_new(
        Arc::clone(&spec.schema),
        vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(StringArray::from_iter_values(random.iter().map(|(_, b)| STATUSES[(b >> 32) as usize % 8]))),
            Arc::new(Float64Array::from_iter_values(random.iter().map(|(a, _)| (a >> 11) as f64 / 1e9))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(ids.map(|id| 1_750_000_000_000_000 + id * 1_000_003))),
        ],
    );
    (spec, batch.unwrap())
}

/// From the connection to the last byte: how long it took, and the answer.
fn get(door: SocketAddr, path: &str, accept: &str) -> (Duration, Vec<u8>) {
    let began = Instant::now();
    let mut connection = TcpStream::connect(door).unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let took = began.elapsed();
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer[..answer.len().min(500)]));
    (took, answer)
}

fn measured(door: SocketAddr, what: &str, path: &str, accept: &str, most: Option<f64>) {
    let times = (0..=rounds(15)).map(|_| get(door, path, accept).0.as_secs_f64() * 1e3);
    let times: Vec<f64> = times.skip(1).collect();
    let (best, bytes) = (times.iter().copied().fold(f64::MAX, f64::min), black_box(get(door, path, accept).1.len()));
    let median = median(times);
    let judged = most.map_or(String::new(), |most| {
        format!(" (at most {most} ms: {})", if median <= most { "met" } else { "MISSED" })
    });
    println!("  {what}: {median:.1} ms, best {best:.1} ms, {:.1} KiB{judged}", bytes as f64 / 1024.0);
}

fn main() {
    busway::child_main_if_asked();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { state_dir: Some(folder.path().join("state")), ..Config::default() };
    config.plugins.directories = vec![folder.path().join("plugins")];
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    config.listen.tcp = Some("127.0.0.1:0".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let node = runtime.block_on(Node::start(&config)).unwrap();
    let service = node.bus().register("bench").unwrap();
    for (name, count) in [("million", MILLION), ("some", 100_000)] {
        let (spec, rows) = table(name, count);
        let shape = Shape::new(Arc::clone(&spec.schema), vec!["id".to_owned()]).unwrap();
        service.snapshot(name, shape, &rows.into(), 0).unwrap();
    }
    let door = node.tcp().unwrap();
    let million = "/v1/services/bench/tables/million/rows";
    println!("a page of 100 rows out of 1,000,000");
    for (what, query) in [
        ("as they stand, the first", "limit=100".to_owned()),
        ("by key, the first", "limit=100&order=id".to_owned()),
        ("by key, the last first", "limit=100&order=-id".to_owned()),
        ("by time, the last first", "limit=100&order=-at".to_owned()),
        ("by a float", "limit=100&order=value".to_owned()),
        ("by a text of 12-20 bytes", "limit=100&order=name".to_owned()),
        ("by a text of 8 values, then by key", "limit=100&order=status".to_owned()),
        ("by a text of 8 values, then a float", "limit=100&order=-status,value".to_owned()),
        ("one of 8 values", "limit=100&status=failed".to_owned()),
        ("two of 8 values, by a float", "limit=100&status=failed&status=done&order=-value".to_owned()),
        ("one row by its key", "limit=100&id=777777".to_owned()),
        ("one row by its text", "limit=100&name=none".to_owned()),
    ] {
        measured(door, what, &format!("{million}?{query}"), "application/json", Some(20.0));
    }
    for (what, query) in [("the last page as they stand", ""), ("the last page by a float", "&order=value")] {
        // What a client that read all pages before would ask.
        let (_, first) = get(door, &format!("{million}?limit=100{query}"), "application/json");
        let text = String::from_utf8(first).unwrap();
        let next = text.split("\"next\":\"").nth(1).unwrap().split('"').next().unwrap();
        let last: Vec<&str> = next.split('-').collect();
        let cursor = format!("{}-{}-{:x}-{}", last[0], last[1], MILLION - 100, last[3]);
        measured(door, what, &format!("{million}?limit=100{query}&cursor={cursor}"), "application/json", None);
    }
    println!("100,000 rows of 5 columns as a whole");
    let some = "/v1/services/bench/tables/some/rows";
    for (what, accept) in
        [("JSON", "application/json"), ("CSV", "text/csv"), ("Arrow", "application/vnd.apache.arrow.stream")]
    {
        measured(door, what, some, accept, None);
    }
    measured(door, "JSON, by a text", &format!("{some}?order=name"), "application/json", None);
    println!("1,000,000 rows as a whole");
    measured(door, "JSON", million, "application/json", None);
    measured(door, "CSV", million, "text/csv", None);
    measured(door, "Arrow", million, "application/vnd.apache.arrow.stream", None);
    measured(door, "Arrow, by a text", &format!("{million}?order=name&format=arrow"), "*/*", None);
    drop(service);
    runtime.block_on(node.stop());
}
