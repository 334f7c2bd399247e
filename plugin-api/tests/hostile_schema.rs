//! Columns and headers that make no sense: each is an error of its table, never a crash.

use busway_plugin_api::abi::abi_stable::std_types::RVec;
use busway_plugin_api::abi::{ArrowSchema, RawSchema, TableData, TableUpdate};
use busway_plugin_api::arrow_schema::{DataType, Field, Fields, UnionFields, UnionMode};
use busway_plugin_api::message::ErrorBody;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Value, json};
use busway_plugin_api::table::schema;
use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};
use std::sync::Arc;

const STRUCT: &CStr = c"+s";
const LONG: &CStr = c"l";

/// A schema by hand; it and its parts are leaked, nothing of it is ever freed.
fn raw(format: &CStr, name: &CStr, children: Vec<RawSchema>) -> RawSchema {
    unsafe extern "C" fn release(schema: *mut RawSchema) {
        // SAFETY: called with the base structure's address.
        unsafe { (*schema).release = None };
    }
    let children: Vec<*mut RawSchema> = children.into_iter().map(|c| Box::into_raw(Box::new(c))).collect();
    RawSchema {
        format: leak(format),
        name: leak(name),
        metadata: null(),
        flags: 2,
        n_children: children.len() as i64,
        children: if children.is_empty() { null_mut() } else { children.leak().as_mut_ptr() },
        dictionary: null_mut(),
        release: Some(release),
        private_data: null_mut(),
    }
}

fn leak(text: &CStr) -> *const c_char {
    Box::leak(text.to_owned().into_boxed_c_str()).as_ptr()
}

fn update(header: &str, schemas: Vec<RawSchema>) -> Result<Update, String> {
    // SAFETY: leaked memory may be looked at for ever; the promises that are broken are those that importing looks at.
    let part = |schema| TableData { schema: unsafe { ArrowSchema::from_raw(schema) }, batches: RVec::new() };
    let parts = schemas.into_iter().map(part).collect();
    let told = |error: ErrorBody| Error::from_parts(busway_plugin_api::abi::Status::FAILED, error).to_string();
    Update::import(TableUpdate { header: header.into(), parts }).map_err(told)
}

fn refused(column: RawSchema) -> String {
    let told = update(r#"{"table": "t", "kind": "snapshot"}"#, vec![raw(STRUCT, c"", vec![column])]).unwrap_err();
    told.trim_start_matches("table \"t\": Schema error: ").to_owned()
}

#[test]
fn types_and_names() {
    let long = || raw(LONG, c"x", vec![]);
    assert!(update(r#"{"table": "t", "kind": "snapshot"}"#, vec![raw(STRUCT, c"", vec![long()])]).is_ok());
    let text = "the columns have a type that is missing or not UTF-8";
    assert_eq!(refused(RawSchema { format: null(), ..long() }), text);
    assert_eq!(refused(raw(c"\xff", c"x", vec![])), text);
    assert_eq!(refused(raw(LONG, c"\xff", vec![])), "the columns have a name that is not UTF-8");
    assert_eq!(refused(RawSchema { release: None, ..long() }), "the columns have already been released");
    for unnamed in [RawSchema { name: null(), ..long() }, raw(LONG, c"", vec![])] {
        assert_eq!(refused(unnamed), "a column without a name, or two of one name");
    }
    let twice = raw(STRUCT, c"", vec![long(), raw(c"u", c"x", vec![])]);
    let told = update(r#"{"table": "t", "kind": "snapshot"}"#, vec![twice]).unwrap_err();
    assert_eq!(told, "table \"t\": Schema error: a column without a name, or two of one name");
    for format in [c"", c"?", c"w:", c"w:x", c"tsx:", c"d:", c"d:1", c"d:300,1", c"+", c"+z", c"u8", c"+w:x"] {
        assert!(!refused(raw(format, c"x", vec![])).is_empty(), "{format:?}");
    }
    let told = update(r#"{"table": "t", "kind": "snapshot"}"#, vec![long()]).unwrap_err();
    assert!(told.starts_with("table \"t\": "), "a table is a struct: {told}");
}

#[test]
fn children() {
    let long = || raw(LONG, c"x", vec![]);
    let count = |n, schema| RawSchema { n_children: n, ..schema };
    let told = |n: i64, format: &str| format!("the columns have {n} children in a type {format:?}");
    for n in [-1, i64::MIN, 1, i64::MAX] {
        assert_eq!(refused(count(n, long())), told(n, "l"));
    }
    for n in [-1, 1, i64::MAX] {
        assert_eq!(refused(count(n, raw(STRUCT, c"x", vec![]))), told(n, "+s"), "no array of children");
    }
    for (format, n) in [(c"+l", 0), (c"+L", 2), (c"+m", 0), (c"+w:2", 0), (c"+vl", 0), (c"+r", 1)] {
        let children = (0..n).map(|_| long()).collect();
        assert_eq!(refused(raw(format, c"x", children)), told(n, format.to_str().unwrap()));
    }
    let lost = raw(c"+l", c"x", vec![long()]);
    // SAFETY: the array of one child, made above.
    unsafe { *lost.children = null_mut() };
    assert_eq!(refused(lost), "the columns have a child that is not there");
    let inner = raw(c"+l", c"x", vec![RawSchema { format: null(), ..long() }]);
    assert_eq!(refused(inner), "the columns have a type that is missing or not UTF-8");
    let words = |values: RawSchema| RawSchema { dictionary: Box::into_raw(Box::new(values)), ..long() };
    assert_eq!(refused(words(count(1, long()))), told(1, "l"));
    let mut deep = long();
    for _ in 0..100_000 {
        deep = raw(c"+l", c"x", vec![deep]);
    }
    assert_eq!(refused(deep), "the columns have types nested too deeply");
}

#[test]
fn types_that_do_not_cross_or_make_no_sense() {
    let column = |kind: DataType| {
        let columns = Batches::empty(schema([("c", kind, true)]));
        let exported = Update::bare("t", Change::Snapshot(columns)).export().unwrap();
        Update::import(exported).unwrap_err().message
    };
    let long = || Arc::new(Field::new("x", DataType::Int64, true));
    let ends = || Arc::new(Field::new("run_ends", DataType::Int32, false));
    let union = UnionFields::try_new([0], [Field::new("x", DataType::Int64, true)]).unwrap();
    for kind in [
        DataType::Union(union, UnionMode::Sparse),
        DataType::RunEndEncoded(ends(), Arc::new(Field::new("values", DataType::Utf8, true))),
        DataType::ListView(long()),
        DataType::LargeListView(long()),
    ] {
        let told = format!("table \"t\": Not yet implemented: columns of type {kind} do not cross");
        assert_eq!(column(kind.clone()), told);
        assert_eq!(column(DataType::new_list(kind, true)), told, "within a list");
    }
    let pair = Fields::from(vec![Field::new("k", DataType::Utf8, false)]);
    for kind in [
        DataType::FixedSizeBinary(-1),
        DataType::FixedSizeList(long(), -2),
        DataType::Decimal128(39, 0),
        DataType::Decimal128(0, 0),
        DataType::Decimal256(10, 11),
        DataType::Map(long(), false),
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false),
        DataType::Dictionary(Box::new(DataType::Utf8), Box::new(DataType::Utf8)),
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::FixedSizeBinary(-1))),
    ] {
        let told = column(kind.clone());
        assert!(told.starts_with("table \"t\": Schema error: no column can be of type "), "{kind}: {told}");
    }
}

#[test]
fn headers() {
    let long = || raw(STRUCT, c"", vec![raw(LONG, c"x", vec![])]);
    for header in ["", "{", "[]", "nonsense", r#"{"kind": "snapshot"}"#, r#"{"table": 5, "kind": "gone"}"#, "\0"] {
        let told = update(header, vec![long()]).unwrap_err();
        assert!(told.starts_with("not the JSON that was expected: "), "{header}: {told}");
    }
    for kind in ["", "Snapshot", "news"] {
        let header = json!({"table": "t", "kind": kind}).to_string();
        let told = format!("table \"t\": unknown kind of update {kind:?}");
        assert_eq!(update(&header, vec![]).unwrap_err(), told);
    }
    for (kind, parts, given) in [
        ("snapshot", 1, 0),
        ("snapshot", 1, 2),
        ("delta", 2, 1),
        ("delta", 2, 3),
        ("unchanged", 0, 1),
        ("gone", 0, 1),
        ("error", 0, 1),
        ("published", 0, 1),
    ] {
        let header = json!({"table": "t", "kind": kind}).to_string();
        let told = format!("table \"t\": a {kind} has {parts} parts, not {given}");
        assert_eq!(update(&header, (0..given).map(|_| long()).collect()).unwrap_err(), told);
    }
    let Change::Failed(error) = update(r#"{"table": "t", "kind": "error"}"#, vec![]).unwrap().change else { panic!() };
    assert_eq!(error.message, "no reason given");
    // Keys of a newer contract are ignored.
    assert!(update(r#"{"table": "t", "kind": "gone", "mood": {}}"#, vec![]).is_ok());
}

#[test]
fn headers_against_columns() {
    let columns = || {
        vec![raw(LONG, c"x", vec![]), raw(c"g", c"float", vec![]), RawSchema { flags: 0, ..raw(LONG, c"id", vec![]) }]
    };
    let told = |header: Value, removed: Option<Vec<RawSchema>>| {
        let mut parts = vec![raw(STRUCT, c"", columns())];
        parts.extend(removed.map(|columns| raw(STRUCT, c"", columns)));
        update(&header.to_string(), parts).err()
    };
    let wrong = |what: &str| Some(format!("table \"t\": its header contradicts its columns: {what}"));
    let snapshot =
        |key: Value, topic: Value| told(json!({"table": "t", "kind": "snapshot", "key": key, "topic": topic}), None);
    assert_eq!(snapshot(json!(["id"]), json!("x")), None);
    assert_eq!(
        snapshot(json!(["nope", "x", "float"]), json!("none")),
        wrong(
            "key column \"nope\" of table \"t\" is not one of its columns; key column \"x\" of table \"t\" is nullable; \
             key column \"float\" of table \"t\" is nullable; topic column \"none\" of table \"t\" is not one of its \
             columns"
        )
    );
    let delta = |key: Value, removed| told(json!({"table": "t", "kind": "delta", "key": key}), Some(removed));
    let keyed = wrong("the removed rows' columns are not id, in this order");
    assert_eq!(delta(json!(["id"]), vec![raw(LONG, c"id", vec![])]), None);
    assert_eq!(delta(json!(["id"]), columns()), keyed);
    assert_eq!(delta(json!(["id"]), vec![raw(c"u", c"id", vec![])]), keyed, "of another type");
    assert_eq!(delta(json!(["id"]), vec![]), keyed);
    assert_eq!(delta(json!([]), columns()), None);
    let set = wrong("the removed rows' columns are not x, float, id, in this order");
    assert_eq!(delta(json!([]), vec![raw(LONG, c"id", vec![])]), set);
}
