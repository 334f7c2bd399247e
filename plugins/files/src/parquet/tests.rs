use crate::tests::{Fixture, row};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use busway_plugin_api::arrow_array::builder::StringDictionaryBuilder;
use busway_plugin_api::arrow_array::types::Int32Type;
use busway_plugin_api::arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray, UInt8Array,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A file of these columns, in row groups of so many rows.
fn file(columns: Vec<(&str, ArrayRef)>, compression: Compression, group: usize) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, a_nullable(n)))).unwrap();
    let properties =
        WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(group)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// All but `id`.
fn a_nullable(name: &str) -> bool {
    name != "id"
}

fn ids(ids: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(ids))
}

fn small() -> Vec<u8> {
    let texts = StringArray::from(vec![Some("a"), None, Some("c")]);
    file(vec![("id", ids([1, 2, 3])), ("text", Arc::new(texts))], Compression::SNAPPY, 2)
}

fn empty(options: Value) -> Fixture {
    Fixture::new(&[("other.csv", "a\n1\n")], options)
}

#[test]
fn every_type_and_encoding_that_writers_use() {
    let t = empty(json!({}));
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let gzip = Compression::GZIP(GzipLevel::default());
    for compression in
        [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, Compression::LZ4, zstd, gzip]
    {
        let columns = || -> Vec<(&'static str, ArrayRef)> {
            let mut words = StringDictionaryBuilder::<Int32Type>::new();
            words.extend([Some("x"), None, Some("x")]);
            vec![
                ("id", ids([1, 2, 3])),
                ("small", Arc::new(UInt8Array::from(vec![Some(255), None, Some(0)]))),
                ("ratio", Arc::new(Float64Array::from(vec![0.5, -1e300, 0.0]))),
                ("ok", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
                ("day", Arc::new(Date32Array::from(vec![20_000, 0, -1]))),
                ("price", Arc::new(Decimal128Array::from(vec![1050, 1, -7]).with_precision_and_scale(12, 2).unwrap())),
                ("at", Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("Europe/Berlin"))),
                ("then", Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]))),
                ("word", Arc::new(words.finish())),
                ("view", Arc::new(StringViewArray::from(vec!["short", "", "longer than twelve bytes"]))),
            ]
        };
        t.write("facts.parquet", file(columns(), compression, 2));
        let polled = t.source.poll().unwrap();
        let batches = polled.batches("facts").unwrap();
        let kinds: Vec<String> =
            batches.schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        assert_eq!(
            kinds,
            [
                "id Int64",
                "small UInt8",
                "ratio Float64",
                "ok Boolean",
                "day Date32",
                "price Decimal128(12, 2)",
                "at Timestamp(µs, \"UTC\")",
                "then Timestamp(ms)",
                "word Utf8",
                "view Utf8",
            ],
            "as Parquet has them, not as the writer's memory had"
        );
        let nullable: Vec<bool> = batches.schema.fields().iter().map(|field| field.is_nullable()).collect();
        assert!(!nullable[0] && nullable[1..].iter().all(|nullable| *nullable));
        assert_eq!(batches.batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [2, 1], "by row groups");
        let first = row(&polled, "facts");
        assert_eq!((&first["small"], &first["price"], &first["word"]), (&json!(255), &json!("10.50"), &json!("x")));
        let rows: Vec<Value> = polled.rows("facts").unwrap();
        assert_eq!((&rows[1]["small"], &rows[2]["view"]), (&Value::Null, &json!("longer than twelve bytes")));
    }
    let update = t.source.poll().unwrap().updates.remove(0);
    assert_eq!((update.table.as_str(), update.description.as_str()), ("facts", "Rows of facts.parquet"));
}

#[test]
fn a_file_without_rows_is_a_table_without_rows() {
    let t = empty(json!({"key": {"none": ["id"]}}));
    t.write("none.parquet", file(vec![("id", ids([]))], Compression::SNAPPY, 2));
    assert_eq!(t.poll()[0], "none: 0 rows");
    assert_eq!(t.source.tables().unwrap()[0].columns.len(), 1);
}

#[test]
fn keys_are_told_with_their_row() {
    let t = empty(json!({"key": {"a": ["id"], "b": ["text"]}}));
    t.write("a.parquet", file(vec![("id", ids([1, 2, 3, 2]))], Compression::SNAPPY, 3));
    t.write("b.parquet", small());
    let said = t.poll();
    assert_eq!(said[0], "a: a.parquet row 4: the key id=2 is in row 2 already");
    assert_eq!(said[1], "b: b.parquet row 2: key column \"text\" is null here");
    t.write("a.parquet", file(vec![("id", ids([1, 2, 3]))], Compression::SNAPPY, 2));
    assert_eq!(t.source.poll().unwrap().updates[0].key, ["id"]);
}

#[test]
fn declared_types_are_compared() {
    let t = empty(json!({"types": {"a": {"id": "int64", "text": "text"}}}));
    t.write("a.parquet", small());
    assert_eq!(t.poll()[0], "a: 3 rows");
    let refused = |types: Value| {
        let t = empty(json!({"types": {"a": types}}));
        t.write("a.parquet", small());
        t.poll().remove(0)
    };
    let text = "column \"text\" is text in the file, and int8 in option \"types\"";
    assert_eq!(refused(json!({"text": "int8"})), format!("a: a.parquet: {text}"));
    let none = "there is no column \"x\", which option \"types\" names; the columns are id, text";
    assert_eq!(refused(json!({"x": "int8"})), format!("a: a.parquet: {none}"));
}

#[test]
fn a_bad_file_fails_its_table_alone_and_the_last_good_rows_stay() {
    let t = empty(json!({}));
    t.write("a.parquet", small());
    assert_eq!(t.poll(), ["a: 3 rows", "other: 1 rows"]);
    let good = small();
    let cut = &good[..good.len() - 10];
    let mut encrypted = good.clone();
    encrypted[..4].copy_from_slice(b"PARE");
    let unreadable = "a: a.parquet: it can't be read as Parquet:";
    for (bytes, expected) in [
        (&b""[..], "a: a.parquet: it is empty: it is being written?".to_owned()),
        (b"PAR1", "a: a.parquet: it does not end as Parquet files do: it is being written?".to_owned()),
        (b"PA", format!("{unreadable} it does not begin as Parquet files do")),
        (b"id\n1\n", format!("{unreadable} it does not begin as Parquet files do")),
        (cut, "a: a.parquet: it does not end as Parquet files do: it is being written?".to_owned()),
        (&encrypted, format!("{unreadable} it is encrypted")),
    ] {
        t.write("a.parquet", bytes);
        assert_eq!(t.poll(), [expected.as_str(), "other: Unchanged"], "{bytes:?}");
    }
    t.write("a.parquet", b"PAR1\xff\xff\xff\xff\xff\xff\xff\x7fPAR1");
    assert!(t.poll()[0].starts_with(unreadable), "{:?}", t.poll());
    t.write("a.parquet", good);
    assert_eq!(t.poll(), ["a: Unchanged", "other: Unchanged"], "the rows that the host has are right again");
}

#[test]
fn few_bytes_that_stand_for_too_many_rows_are_refused() {
    let long = "x".repeat(1000);
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&long, 100_000)));
    let bytes = file(vec![("text", texts)], Compression::UNCOMPRESSED, 100_000);
    assert!(bytes.len() < 10_000, "once, in a dictionary: {}", bytes.len());
    let t = empty(json!({"max_file_bytes": 10_000}));
    t.write("a.parquet", bytes);
    let expected = "a: a.parquet: its rows take more than 40000 bytes, 4 times option \"max_file_bytes\"";
    assert_eq!(t.poll(), [expected, "other: 1 rows"]);
}

/// Whatever bytes are wrong: no panic leaves, nothing is allocated that the file can't hold, the other table goes on.
#[test]
fn damaged_files_are_errors() {
    let texts = StringArray::from_iter_values((0..200).map(|i| format!("text {}", i % 7)));
    let lists = busway_plugin_api::arrow_array::ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..200).map(|i| (i % 3 != 0).then(|| vec![Some(i), None])),
    );
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", ids(0..200)), ("text", Arc::new(texts)), ("list", Arc::new(lists))];
    let good = file(columns, Compression::SNAPPY, 50);
    let input = |cancelled| super::Input { file: "a.parquet", text: "", cancelled };
    let read = |bytes: Vec<u8>| super::read(&input(&|| false), &bytes.into(), &super::Types::new(), 1 << 20);
    assert_eq!(read(good.clone()).unwrap().places.len(), 200);
    let (mut state, mut refused) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..400 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            // Most of what can go wrong is behind the columns.
            let from = if random(4) == 0 { 4 } else { bytes.len() / 2 };
            let at = from + random(bytes.len() - from - 4);
            bytes[at] = u8::try_from(random(256)).unwrap();
        }
        match read(bytes) {
            Ok(rows) => rows.batches.iter().for_each(|batch| assert!(batch.num_rows() <= 200)),
            Err(error) => {
                assert_eq!(error.place(), Some("a.parquet"));
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "{refused} of 400");
    let cancelled = super::read(&input(&|| true), &good.into(), &super::Types::new(), 1 << 20).unwrap_err();
    assert_eq!(cancelled.status(), busway_plugin_api::abi::Status::CANCELLED);
}
