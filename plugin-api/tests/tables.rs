//! Tables on their way across: equal, not copied, and let go of once.

use busway_plugin_api::abi::TableUpdate;
use busway_plugin_api::arrow_array::types::Int32Type;
use busway_plugin_api::arrow_array::*;
use busway_plugin_api::arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use busway_plugin_api::arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use busway_plugin_api::prelude::*;
use busway_plugin_api::table::schema;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Mode {
    Fast,
    Slow,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    name: String,
    size: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    signed: (i8, i16, i32, i64),
    unsigned: (u8, u16, u32, u64),
    single: f32,
    double: f64,
    letter: char,
    text: String,
    maybe: Option<i64>,
    maybe_text: Option<String>,
    list: Vec<i32>,
    maybe_list: Option<Vec<Option<String>>>,
    inner: Inner,
    maybe_inner: Option<Inner>,
    inners: Vec<Inner>,
    mode: Mode,
}

fn full() -> Everything {
    let inner = Inner { name: "i".into(), size: Some(u32::MAX) };
    Everything {
        flag: true,
        signed: (i8::MIN, i16::MIN, i32::MIN, i64::MIN),
        unsigned: (u8::MAX, u16::MAX, u32::MAX, u64::MAX),
        single: f32::MIN_POSITIVE,
        double: -0.1,
        letter: 'ß',
        text: "grüße\0\n\u{1f600}".into(),
        maybe: Some(-1),
        maybe_text: Some(String::new()),
        list: vec![1, -2, 3],
        maybe_list: Some(vec![None, Some("x".into())]),
        inner: inner.clone(),
        maybe_inner: Some(inner.clone()),
        inners: vec![inner.clone(), Inner { size: None, ..inner }],
        mode: Mode::Slow,
    }
}

fn blank() -> Everything {
    Everything {
        maybe: None,
        maybe_text: None,
        list: vec![],
        maybe_list: None,
        maybe_inner: None,
        inners: vec![],
        mode: Mode::Fast,
        flag: false,
        ..full()
    }
}

/// There and, by the other side's reading, back.
pub(crate) fn across(update: Update) -> Update {
    let update = Update::import(update.export().unwrap()).unwrap();
    if let Change::Snapshot(rows) = &update.change {
        rows.validate().unwrap();
    }
    update
}

pub(crate) fn rows_across(rows: Batches) -> Batches {
    match across(Update::bare("t", Change::Snapshot(rows))).change {
        Change::Snapshot(rows) => rows,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_of_every_type_come_back_equal() {
    let spec = TableSpec::of::<Everything>("all");
    let rows = vec![full(), blank(), full()];
    let back = rows_across(spec.rows(&rows).unwrap());
    assert_eq!(back.to_vec::<Everything>().unwrap(), rows);
    assert_eq!(back.schema, spec.schema);
}

#[test]
fn a_table_keeps_what_was_said_of_it() {
    let spec = TableSpec::of::<Inner>("files")
        .key(["name"])
        .topic("size")
        .describe("Files")
        .column("size", "In bytes")
        .column("nope", "Not there");
    let update = across(spec.snapshot(spec.rows::<Inner>(&[]).unwrap()));
    let Change::Snapshot(rows) = &update.change else { panic!() };
    assert_eq!((rows.num_rows(), rows.batches.len()), (0, 0));
    assert_eq!(rows.schema, spec.schema, "names, types, nullability and descriptions");
    assert_eq!(rows.schema.field(1).metadata()["description"], "In bytes");
    assert_eq!((update.table.as_str(), update.description.as_str()), ("files", "Files"));
    assert_eq!((update.key, update.topic.as_deref()), (vec!["name".to_owned()], Some("size")));
    let full = across(spec.snapshot(spec.rows(&[Inner { name: "a".into(), size: None }]).unwrap()));
    let Change::Snapshot(rows) = &full.change else { panic!() };
    assert_eq!(rows.batches[0].schema(), spec.schema);
}

#[test]
fn what_is_said_of_columns() {
    let info = TableSpec::of::<Everything>("all").column("text", "Any").info();
    let told: Vec<String> = info.columns.iter().map(|c| format!("{} {} {}", c.name, c.kind, c.nullable)).collect();
    let expected = [
        "flag b false",
        "signed +s false",
        "unsigned +s false",
        "single f false",
        "double g false",
        "letter I false",
        "text u false",
        "maybe l true",
        "maybe_text u true",
        "list +l false",
        "maybe_list +l true",
        "inner +s false",
        "maybe_inner +s true",
        "inners +l false",
        "mode u false",
    ];
    assert_eq!(told, expected);
    assert_eq!(info.columns[6].description, "Any");
    let inner = &info.columns[13].children[0];
    let told: Vec<_> = inner.children.iter().map(|c| (c.name.as_str(), c.kind.as_str(), c.nullable)).collect();
    assert_eq!((inner.kind.as_str(), told), ("+s", vec![("name", "u", false), ("size", "I", true)]));
    let named = schema([
        ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        ("price", DataType::Decimal128(10, 2), true),
    ]);
    let kinds: Vec<String> = busway_plugin_api::table::columns(&named).into_iter().map(|c| c.kind).collect();
    assert_eq!(kinds, ["tsu:UTC", "d:10,2"]);
}

/// A batch with a column of each way to lay out memory.
pub(crate) fn every_layout() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1)]),
        None,
        Some(vec![]),
        None,
        Some(vec![Some(2), None]),
    ]);
    let fixed = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..5).map(|i| (i != 2).then(|| vec![Some(i), None])),
        2,
    );
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "c", "dd", "e"]));
    let nested = StructArray::try_new(
        vec![Field::new("i", DataType::Int32, true), Field::new("t", DataType::Utf8, false)].into(),
        vec![Arc::clone(&ints), Arc::clone(&texts)],
        Some(NullBuffer::from(vec![true, true, false, true, true])),
    );
    let keys = StringArray::from(vec!["k1", "k2", "k3"]);
    let entries = StructArray::from(vec![
        (Arc::new(Field::new("keys", DataType::Utf8, false)), Arc::new(keys) as ArrayRef),
        (Arc::new(Field::new("values", DataType::Int32, true)), ints.slice(0, 3)),
    ]);
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(entry, OffsetBuffer::from_lengths([1, 0, 2, 0, 0]), entries, None, false);
    let long = "longer than what a view holds within";
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bools", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]))),
        ("ints", ints),
        ("texts", texts),
        ("large", Arc::new(LargeStringArray::from(vec![Some("ä"), None, Some(""), None, Some("z")]))),
        ("bytes", Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"", b"\0\0", b"x", b"y"]))),
        ("fixed", Arc::new(FixedSizeBinaryArray::new(2, Buffer::from(b"abcdefghij"), None))),
        ("views", Arc::new(StringViewArray::from(vec![Some(long), None, Some("s"), Some(long), Some("")]))),
        ("lists", Arc::new(list)),
        ("pairs", Arc::new(fixed)),
        ("nested", Arc::new(nested.unwrap())),
        ("map", Arc::new(map)),
        (
            "words",
            Arc::new(
                [Some("b"), None, Some("a"), Some("b"), Some("a")].into_iter().collect::<DictionaryArray<Int32Type>>(),
            ),
        ),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(i64::MAX), None, Some(0), Some(-1), Some(7)])
                    .with_timezone("Europe/Berlin"),
            ),
        ),
        ("day", Arc::new(Date32Array::from(vec![0, -1, 2, 3, i32::MAX]))),
        ("price", Arc::new(Decimal128Array::from(vec![1, -2, 3, 4, 5]).with_precision_and_scale(10, 2).unwrap())),
        ("nothing", Arc::new(NullArray::new(5))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

#[test]
fn every_layout_crosses_whole_and_sliced() {
    let batch = every_layout();
    for (offset, length) in [(0, 5), (1, 3), (2, 3), (4, 1), (5, 0), (0, 0), (3, 1)] {
        let slice = batch.slice(offset, length);
        let back = rows_across(Batches::from(slice.clone()));
        let expected = if length == 0 { vec![] } else { vec![slice] };
        assert_eq!(back.batches, expected, "{length} rows from {offset}");
    }
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let none = SchemaRef::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&none), vec![], &options).unwrap();
    let back = rows_across(Batches { schema: none, batches: vec![batch] });
    assert_eq!(back.num_rows(), 3);
}

/// Memory that counts how often it is freed.
struct Counted(#[allow(dead_code, reason = "held")] Vec<u64>, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

fn counted(freed: &Arc<AtomicUsize>) -> (Buffer, *const u8) {
    let memory = Counted((0..8).collect(), Arc::clone(freed));
    let start = NonNull::from(&memory.0[0]).cast::<u8>();
    // SAFETY: 64 bytes that live as long as the owner.
    (unsafe { Buffer::from_custom_allocation(start, 64, Arc::new(memory)) }, start.as_ptr())
}

#[test]
fn memory_is_not_copied_and_freed_once_with_the_last_import() {
    let freed = Arc::new(AtomicUsize::new(0));
    let count = || freed.load(Ordering::SeqCst);
    let (ints, at) = counted(&freed);
    let (bytes, bytes_at) = counted(&freed);
    let ints = UInt64Array::new(ScalarBuffer::new(ints, 2, 6), None);
    let texts = StringArray::new(OffsetBuffer::from_lengths([8, 8, 8, 8, 8, 0]), bytes, None);
    let columns: [(&str, ArrayRef); 2] = [("ints", Arc::new(ints)), ("texts", Arc::new(texts))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let batches = Batches { schema: batch.schema(), batches: vec![batch.slice(0, 2), batch.slice(1, 4)] };
    drop(batch);
    let exported: TableUpdate = Update::bare("t", Change::Snapshot(batches)).export().unwrap();
    let Change::Snapshot(rows) = Update::import(exported).unwrap().change else { panic!() };
    let ints: Vec<&UInt64Array> = rows.batches.iter().map(|b| b.column(0).as_any().downcast_ref().unwrap()).collect();
    assert_eq!(ints[0].values().as_ptr().cast(), at.wrapping_add(16));
    assert_eq!(ints[1].values().as_ptr().cast(), at.wrapping_add(24));
    assert_eq!((&ints[0].values()[..], &ints[1].values()[..]), (&[2, 3][..], &[3, 4, 5, 6][..]));
    let texts: &StringArray = rows.batches[1].column(1).as_any().downcast_ref().unwrap();
    assert_eq!(texts.value(0).as_ptr(), bytes_at.wrapping_add(8));
    let (kept, last) = (rows.clone(), rows.batches[1].column(1).slice(1, 1));
    assert_eq!(count(), 0);
    drop(rows);
    assert_eq!(count(), 0);
    drop(kept);
    assert_eq!(count(), 0, "a slice of one column holds its batch");
    std::thread::spawn(move || drop(last)).join().unwrap();
    assert_eq!(count(), 2);
}

#[test]
fn memory_is_freed_when_nobody_imports_it() {
    let freed = Arc::new(AtomicUsize::new(0));
    let (buffer, _) = counted(&freed);
    let column: ArrayRef = Arc::new(UInt64Array::new(ScalarBuffer::new(buffer, 0, 8), None));
    let batch = RecordBatch::try_from_iter([("ints", column)]).unwrap();
    let exported = Update::bare("t", Change::Snapshot(batch.into())).export().unwrap();
    assert_eq!(freed.load(Ordering::SeqCst), 0);
    drop(exported);
    assert_eq!(freed.load(Ordering::SeqCst), 1);
}
