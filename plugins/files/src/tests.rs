//! The driver as its host sees it.

use crate::Files;
use busway_plugin_api::testing::{Polled, TestHost, TestSource};
use busway_plugin_api::{Change, Error, Update};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A directory, and a source that is open on it.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    host: TestHost,
    pub(crate) source: TestSource,
}

impl Fixture {
    pub(crate) fn new(files: &[(&str, &str)], mut options: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        options["path"] = json!(dir.path());
        let host = TestHost::new();
        let source = host.open::<Files>(options).unwrap();
        Self { dir, host, source }
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    /// What a poll answers: a line for each table.
    pub(crate) fn poll(&self) -> Vec<String> {
        said(&self.source.poll().unwrap().updates)
    }

    /// How often a file was looked into so far, and how often read for its rows.
    fn reads(&self) -> (usize, usize) {
        let log = self.host.log();
        let count = |message: &str| log.iter().filter(|record| record.message == message).count();
        (count("looked into"), count("read"))
    }
}

pub(crate) fn said(updates: &[Update]) -> Vec<String> {
    let change = |update: &Update| match &update.change {
        Change::Snapshot(rows) => format!("{} rows", rows.num_rows()),
        Change::Failed(error) => format!("{}: {}", error.place.as_deref().unwrap_or_default(), error.message),
        other => format!("{other:?}"),
    };
    updates.iter().map(|update| format!("{}: {}", update.table, change(update))).collect()
}

pub(crate) fn row(polled: &Polled, table: &str) -> Value {
    polled.rows::<Value>(table).unwrap().remove(0)
}

/// Sets a file's time so far back that a later write shows.
pub(crate) fn age(path: &Path) {
    set_modified(path, SystemTime::now() - Duration::from_secs(3600));
}

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn files_appear_change_and_vanish() {
    let t = Fixture::new(&[("a.csv", "id,name\n1,x\n"), ("b.jsonl", "{\"n\": 1}\n{\"n\": 2}")], json!({}));
    assert_eq!(t.poll(), ["a: 1 rows", "b: 2 rows"]);
    t.write("c.tsv", "x\ty\n1\ttrue\n");
    t.write("a.csv", "id,name\n1,x\n2,y\n3,z\n");
    t.remove("b.jsonl");
    assert_eq!(t.poll(), ["a: 3 rows", "b: Gone", "c: 1 rows"]);
    assert_eq!(t.poll(), ["a: Unchanged", "c: Unchanged"]);
    // The same table from another file.
    fs::rename(t.dir.path().join("a.csv"), t.dir.path().join("a.tsv")).unwrap();
    assert_eq!(t.poll(), ["a: 3 rows", "c: Unchanged"]);
}

#[test]
fn rows_and_types_cross() {
    let csv = "\u{feff}i,f,b,d,t,s,none\n1,1.5,true,2026-01-31,2026-01-31T10:00:00Z,x,\n,,,,,,\n";
    let ndjson = "\u{feff}{\"o\": {\"k\": [1, 2], \"e\": {}}, \"l\": [{\"a\": null}]}\n{}\n";
    let t = Fixture::new(&[("c.csv", csv), ("n.ndjson", ndjson)], json!({}));
    let polled = t.source.poll().unwrap();
    let kinds = |table: &str| -> String {
        let fields = polled.batches(table).unwrap().schema.fields().clone();
        fields.iter().map(|f| format!("{} {}, ", f.name(), f.data_type())).collect()
    };
    assert_eq!(kinds("c"), "i Int64, f Float64, b Boolean, d Date32, t Timestamp(µs, \"UTC\"), s Utf8, none Utf8, ");
    assert_eq!(kinds("n"), "o Struct(\"k\": List(Int64), \"e\": Struct()), l List(Struct(\"a\": Utf8)), ");
    let first = row(&polled, "c");
    assert_eq!(
        (&first["i"], &first["f"], &first["b"], &first["s"]),
        (&json!(1), &json!(1.5), &json!(true), &json!("x"))
    );
    assert_eq!(polled.batches("c").unwrap().batches[0].column(0).null_count(), 1);
    assert_eq!(row(&polled, "n")["o"]["k"], json!([1, 2]));
}

#[test]
fn a_malformed_file_is_its_own_tables_error() {
    let t =
        Fixture::new(&[("good.csv", "a\n1\n"), ("sales.csv", "a,b\n1,2\n"), ("log.ndjson", "{\"a\":1}\n")], json!({}));
    assert_eq!(t.poll().len(), 3);
    t.write("sales.csv", "a,b\n\"1\n\",2\n3\n");
    t.write("log.ndjson", "{\"a\":1}\n{\"a\":}\n{\"a\":2}\n");
    t.write("good.csv", "a\n1\n2\n");
    let bad = [
        "log: log.ndjson:2: not JSON: expected value (column 6)",
        "sales: sales.csv:4: a row of 1 cells, where there are 2 columns",
    ];
    assert_eq!(t.poll(), ["good: 2 rows", bad[0], bad[1]]);
    // An error stays one, without another look.
    assert_eq!(t.poll(), ["good: Unchanged", bad[0], bad[1]]);
    // What the host kept is right again.
    t.write("sales.csv", "a,b\n1,2\n");
    t.write("log.ndjson", "{\"a\":2}\n{\"a\":3}\n{\"a\":");
    let partial = "not JSON: EOF while parsing a value (column 5): it is being written?";
    let partial = format!("log: log.ndjson:3: its last line has no end and is {partial}");
    assert_eq!(t.poll(), ["good: Unchanged", &partial, "sales: Unchanged"]);
    t.write("log.ndjson", "{\"a\":2}\n{\"a\":3}\n{\"a\":4}");
    assert_eq!(t.poll(), ["good: Unchanged", "log: 3 rows", "sales: Unchanged"]);
    t.write("log.ndjson", "");
    t.write("good.csv", b"a\nx\n\xff\n");
    let empty = "log: log.ndjson:1: it is empty: an NDJSON file without a row has no columns";
    let latin = "good: good.csv:3: it is not UTF-8: save it in that encoding";
    assert_eq!(t.poll(), [latin, empty, "sales: Unchanged"]);
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let t = Fixture::new(&[("a.csv", "a\n1\n")], json!({}));
    // So near its time only its content tells.
    set_modified(&t.dir.path().join("a.csv"), SystemTime::now() + Duration::from_millis(1500));
    assert_eq!((t.poll(), t.poll()), (vec!["a: 1 rows".to_owned()], vec!["a: Unchanged".to_owned()]));
    assert_eq!(t.reads(), (2, 1));
    t.write("a.csv", "a\n2\n");
    assert_eq!(row(&t.source.poll().unwrap(), "a")["a"], 2);
    age(&t.dir.path().join("a.csv"));
    assert_eq!((t.poll(), t.reads()), (vec!["a: Unchanged".to_owned()], (4, 2)));
    assert_eq!((t.poll(), t.reads()), (vec!["a: Unchanged".to_owned()], (4, 2)));
    // Written as it was: another time, the same rows.
    t.write("a.csv", "a\n2\n");
    assert_eq!((t.poll(), t.reads()), (vec!["a: Unchanged".to_owned()], (5, 2)));
}

#[test]
fn rows_read_for_the_list_are_given_by_the_next_poll() {
    let t = Fixture::new(&[("a.csv", "id,v\n1,2.5\n"), ("bad.csv", "a,a\n")], json!({"key": {"a": ["id"]}}));
    age(&t.dir.path().join("a.csv"));
    age(&t.dir.path().join("bad.csv"));
    let listed = t.source.tables().unwrap();
    let columns: Vec<String> =
        listed[0].columns.iter().map(|c| format!("{} {} {}", c.name, c.kind, c.nullable)).collect();
    assert_eq!(
        (columns, &listed[0].key),
        (vec!["id l false".to_owned(), "v g true".to_owned()], &vec!["id".to_owned()])
    );
    assert_eq!((listed[1].name.as_str(), listed[1].columns.len()), ("bad", 0));
    assert!(listed.iter().all(|table| table.problems().is_empty()), "{listed:?}");
    assert_eq!(t.poll()[0], "a: 1 rows");
    assert_eq!((t.poll()[0].as_str(), t.reads()), ("a: Unchanged", (2, 1)));
    // What was read and not given is no longer true.
    t.write("a.csv", "id,v\n2,1\n");
    assert!(t.source.tables().is_ok());
    t.write("a.csv", "id\n1,2\n");
    assert_eq!(t.poll()[0], "a: a.csv:2: a row of 2 cells, where there are 1 columns");
    assert_eq!(t.source.tables().unwrap()[0].columns.len(), 2);
}

#[test]
fn two_files_of_one_name_are_both_left_alone() {
    let t = Fixture::new(&[("a b.csv", "x\n1\n"), ("c.csv", "x\n1\n")], json!({}));
    age(&t.dir.path().join("a b.csv"));
    let columns = || t.source.tables().unwrap()[0].columns.len();
    assert_eq!(columns(), 1);
    t.write("a_b.ndjson", "{\"x\":1}");
    assert_eq!(columns(), 0);
    t.remove("a_b.ndjson");
    assert_eq!(t.poll(), ["a_b: 1 rows", "c: 1 rows"]);
    t.write("a_b.ndjson", "{\"x\":1}");
    let place = "a b.csv, a_b.ndjson";
    let clash = format!("a_b: {place}: a b.csv and a_b.ndjson are all table \"a_b\": rename all but one");
    assert_eq!(t.poll(), [clash.as_str(), "c: Unchanged"]);
    assert_eq!(t.reads().1, 3);
    t.remove("a_b.ndjson");
    assert_eq!(t.poll(), ["a_b: Unchanged", "c: Unchanged"]);
}

#[test]
fn a_large_file_is_refused() {
    let t = Fixture::new(&[("a.csv", "a\n1\n")], json!({"max_file_bytes": 5}));
    assert_eq!(t.poll(), ["a: 1 rows"]);
    t.write("a.csv", "a\n10\n2");
    assert_eq!(t.poll(), ["a: a.csv: it has 6 bytes, more than the 5 of option \"max_file_bytes\""]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_other_things_told() {
    use std::os::unix::fs::symlink;
    let t =
        Fixture::new(&[("data.txt", "a\n1\n"), (".hidden.csv", "a"), ("a.csv~", "a"), ("a.csv.swp", "a")], json!({}));
    let at = |name: &str| t.dir.path().join(name);
    fs::create_dir(at("sub.csv")).unwrap();
    symlink(at("sub.csv"), at("linked_sub.csv")).unwrap();
    symlink("data.txt", at("link.csv")).unwrap();
    symlink("nowhere", at("loose.csv")).unwrap();
    symlink("/dev/zero", at("zero.csv")).unwrap();
    let loose =
        "loose: loose.csv: it is a link to nowhere, which can't be read: No such file or directory (os error 2)";
    assert_eq!(t.poll(), ["link: 1 rows", loose, "zero: zero.csv: it is no regular file"]);
    // Seen through the link.
    t.write("data.txt", "a\n1\n2\n");
    t.write("nowhere", "a\n");
    t.remove("zero.csv");
    assert_eq!(t.poll(), ["link: 2 rows", "loose: 0 rows", "zero: Gone"]);
}

#[test]
fn the_directory_goes_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let options = || json!({"path": path});
    let host = TestHost::new();
    let refused = |what: Result<Polled, Error>| what.map(|_| panic!("it was there")).unwrap_err().to_string();
    let missing = host.open::<Files>(options()).unwrap_err().to_string();
    assert!(missing.contains("data can't be read: No such file") && missing.contains("make it, or set"), "{missing}");
    fs::write(&path, "").unwrap();
    let file = host.open::<Files>(options()).unwrap_err().to_string();
    assert!(file.contains("it is a file"), "{file}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.csv"), "a\n1\n").unwrap();
    let source = host.open::<Files>(options()).unwrap();
    assert_eq!(said(&source.poll().unwrap().updates), ["a: 1 rows"]);
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    let gone = refused(source.poll());
    assert!(gone.contains("data can't be read") && gone.contains("until it is back"), "{gone}");
    assert!(source.tables().is_err());
    fs::rename(dir.path().join("elsewhere"), &path).unwrap();
    assert_eq!(said(&source.poll().unwrap().updates), ["a: Unchanged"]);
}

#[test]
fn delimiter_and_header_as_set() {
    let options = json!({"delimiter": ";", "header": false});
    let t = Fixture::new(&[("a.csv", "1;2\n"), ("b.tsv", "x;y\tz\n")], options);
    let polled = t.source.poll().unwrap();
    assert_eq!(row(&polled, "a"), json!({"column_1": 1, "column_2": 2}));
    assert_eq!(row(&polled, "b"), json!({"column_1": "x;y", "column_2": "z"}));
}

#[test]
fn declared_types_hold_and_the_others_are_found_out() {
    let options = json!({
        "types": {
            "c": {"id": "text", "total": "decimal(12,2)", "at": "timestamp", "ok": "bool"},
            "n": {"id": "int64", "total": "decimal(12,2)", "tags": "list(int64)", "late": "date"},
        },
        "key": {"c": ["id"], "n": ["id"]},
    });
    let csv = "id,n,total,at,ok\n007,1,10.5,2026-01-31T10:00:00,1\n7,2,,,\n";
    let ndjson = "{\"n\":1,\"total\":\"10.5\",\"id\":\"8\"}\n{\"id\":9,\"total\":0.25,\"tags\":[1,null],\"x\":[]}\n";
    let t = Fixture::new(&[("c.csv", csv), ("n.ndjson", ndjson)], options);
    let polled = t.source.poll().unwrap();
    let kinds = |table: &str| -> String {
        let fields = polled.batches(table).unwrap().schema.fields().clone();
        fields.iter().map(|f| format!("{} {}, ", f.name(), f.data_type())).collect()
    };
    let decimal = "total Decimal128(12, 2), ";
    assert_eq!(kinds("c"), format!("id Utf8, n Int64, {decimal}at Timestamp(µs, \"UTC\"), ok Boolean, "));
    assert_eq!(kinds("n"), format!("n Int64, {decimal}id Int64, tags List(Int64), x List(Utf8), late Date32, "));
    let rows: Vec<Value> = polled.rows("n").unwrap();
    assert_eq!(rows[1], json!({"n": null, "total": "0.25", "id": 9, "tags": [1, null], "x": [], "late": null}));
    let first = row(&polled, "c");
    assert_eq!((&first["id"], &first["total"], &first["ok"]), (&json!("007"), &json!("10.50"), &json!(true)));

    // Every value now is of another type that would be found out; the columns stay.
    t.write("c.csv", "id,n,total,at,ok\n1,1,1,2026-01-31,true\n");
    t.write("n.ndjson", "{\"id\":1,\"late\":\"2026-01-31\",\"tags\":null}\n{\"total\":7,\"id\":2}\n");
    assert_eq!(t.poll(), ["c: 1 rows", "n: 2 rows"]);
    let listed = t.source.tables().unwrap();
    let columns: Vec<String> = listed[1].columns.iter().map(|c| format!("{} {}", c.name, c.kind)).collect();
    assert_eq!(columns, ["id l", "late tdD", "tags +l", "total d:12,2"], "nothing had to be found out");
}

#[test]
fn a_value_that_is_not_of_its_declared_type_is_named_with_its_place() {
    let types = json!({"types": {"c": {"n": "int8", "d": "decimal(4,2)"}, "n": {"n": "int8", "d": "date"}}});
    let t = Fixture::new(&[("good.csv", "n\nx\n")], types);
    let named = "which option \"types\" names; the columns are";
    for (file, text, expected) in [
        ("c.csv", "n,d\n1,1.25\n\n128,1\n", "c: c.csv:4: column \"n\": \"128\" is no int8".to_owned()),
        ("c.csv", "n,d\n1,\"1\n2\"\n", "c: c.csv:2: column \"d\": \"1\\n2\" is no decimal(4,2)".to_owned()),
        ("c.csv", "n,e\n", format!("c: c.csv:1: there is no column \"d\", {named} n, e")),
        ("n.ndjson", "{\"n\":1}\n{\"n\":1.5}\n", "n: n.ndjson:2: column \"n\": 1.5 is no int8".to_owned()),
        ("n.ndjson", "{\"n\":1,\"d\":{}}\n", "n: n.ndjson:1: column \"d\": {} is no date".to_owned()),
    ] {
        t.write(file, text);
        assert!(t.poll().contains(&expected), "{expected}: {:?}", t.poll());
    }
    assert_eq!(t.poll()[1], "good: Unchanged");
    t.write("c.csv", "n,d\n1,1.25\n");
    assert_eq!(t.poll()[0], "c: 1 rows");
}

#[test]
fn many_declared_rows_make_the_batches_of_the_others() {
    let text = |learnt: &str| -> String { (0..70_000).map(|i| format!("{{\"id\":{i}{learnt}}}\n")).collect() };
    let options = json!({"types": {"a": {"id": "uint32"}, "b": {"id": "uint32"}}});
    let t = Fixture::new(&[("a.ndjson", &text("")), ("b.ndjson", &text(",\"x\":true"))], options);
    let polled = t.source.poll().unwrap();
    for table in ["a", "b"] {
        let batches = polled.batches(table).unwrap();
        let sizes: Vec<usize> = batches.batches.iter().map(|batch| batch.num_rows()).collect();
        assert_eq!(sizes, [65_536, 4464], "{table}");
        let ids: Vec<Value> = batches.to_vec().unwrap();
        assert!(ids.iter().zip(0..).all(|(row, i): (&Value, u32)| row["id"] == i), "{table}");
    }
}
