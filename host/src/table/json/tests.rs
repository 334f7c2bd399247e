//! Each row of the table in the module's documentation, and what is not taken.

use super::*;
use arrow_array::builder::{Int32Builder, Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Decimal256Type, Int32Type, IntervalMonthDayNano};
use arrow_array::*;
use arrow_schema::{Field, Schema, SchemaRef};
use serde_json::{Value, json};
use std::sync::Arc;

fn written(column: impl Array + 'static) -> String {
    let batch = RecordBatch::try_from_iter_with_nullable([("v", Arc::new(column) as ArrayRef, true)]).unwrap();
    let text = rows_json([batch]).unwrap();
    let rows: Vec<std::collections::BTreeMap<String, Box<RawValue>>> = serde_json::from_str(text.get()).unwrap();
    rows.iter().map(|row| row["v"].get()).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_type_is_written_as_the_table_says() {
    assert_eq!(written(NullArray::new(1)), "null");
    assert_eq!(written(BooleanArray::from(vec![Some(true), Some(false), None])), "true false null");
    assert_eq!(written(Int64Array::from(vec![i64::MAX, i64::MIN])), "9223372036854775807 -9223372036854775808");
    assert_eq!(written(UInt64Array::from(vec![u64::MAX])), "18446744073709551615");
    assert_eq!(written(Int8Array::from(vec![Some(-128), None])), "-128 null");
    let odd = [Some(0.1), Some(1.0), Some(1e300), Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None];
    let words = "0.1 1.0 1.0e300 \"NaN\" \"Infinity\" \"-Infinity\" null";
    assert_eq!(written(Float64Array::from(odd.to_vec())), words);
    assert_eq!(written(Float64Array::from(odd[..3].to_vec())), "0.1 1.0 1.0e300");
    assert_eq!(written(Float32Array::from(vec![0.1, f32::NAN])), "0.1 \"NaN\"");
    let decimal = Decimal128Array::from(vec![Some(12345), Some(-1), None]);
    assert_eq!(written(decimal.with_precision_and_scale(38, 2).unwrap()), "\"123.45\" \"-0.01\" null");
    let wide = Decimal256Array::from(vec![<Decimal256Type as ArrowPrimitiveType>::Native::from(12345)]);
    assert_eq!(written(wide.with_precision_and_scale(40, 2).unwrap()), "\"123.45\"");
    assert_eq!(written(StringArray::from(vec!["a\"ü\n"])), "\"a\\\"ü\\n\"");
    assert_eq!(written(BinaryArray::from_vec(vec![b"\x00\xffA"])), "\"00ff41\"");
    assert_eq!(written(FixedSizeBinaryArray::try_from_iter([[1u8, 2]].into_iter()).unwrap()), "\"0102\"");
    assert_eq!(written(Date32Array::from(vec![19_000])), "\"2022-01-08\"");
    assert_eq!(written(Date64Array::from(vec![19_000 * 86_400_000 + 1000])), "\"2022-01-08T00:00:01\"");
    assert_eq!(written(Time64MicrosecondArray::from(vec![3_600_000_001])), "\"01:00:00.000001\"");
    let time = || TimestampMicrosecondArray::from(vec![1_700_000_000_123_456]);
    assert_eq!(written(time().with_timezone("UTC")), "\"2023-11-14T22:13:20.123456Z\"");
    assert_eq!(written(time().with_timezone("Europe/Berlin")), "\"2023-11-14T23:13:20.123456+01:00\"");
    assert_eq!(written(time()), "\"2023-11-14T22:13:20.123456\"");
    assert_eq!(written(TimestampSecondArray::from(vec![0])), "\"1970-01-01T00:00:00\"");
    assert_eq!(written(DurationMicrosecondArray::from(vec![90_000_001, -5])), "\"PT90.000001S\" \"-PT0.000005S\"");
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3)]);
    assert_eq!(written(interval), "\"1 mons 2 days 0.000000003 secs\"");
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    assert_eq!(written(list.finish()), "[1,null]");
    let floats = Float64Array::from(vec![f64::NAN]);
    let inner = Arc::new(Field::new("a", arrow_schema::DataType::Float64, true));
    assert_eq!(written(StructArray::from(vec![(inner, Arc::new(floats) as ArrayRef)])), "{\"a\":\"NaN\"}");
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    assert_eq!(written(map.finish()), "{\"k\":1}");
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
    assert_eq!(written(dictionary), "\"a\" null");
}

fn columns(columns: &[(&str, &str)]) -> SchemaRef {
    let field = |(name, kind): &(&str, &str)| Field::new(*name, kind_of_name(kind).unwrap(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

#[test]
fn what_is_written_is_read() {
    for (kind, values) in [
        ("bool", "true false null"),
        ("int8", "-128 127 null"),
        ("int64", "9223372036854775807 -9223372036854775808"),
        ("uint64", "18446744073709551615 0"),
        ("float64", "0.1 1.0 1.0e300 \"NaN\" \"Infinity\" \"-Infinity\" null"),
        ("float32", "0.1 \"NaN\""),
        ("decimal(38,2)", "\"123.45\" \"-0.01\" null"),
        ("text", "\"a\\\"ü\\n\" \"\""),
        ("binary", "\"00ff41\" \"\""),
        ("date", "\"2022-01-08\""),
        ("timestamp", "\"2023-11-14T22:13:20.123456Z\""),
        ("local_timestamp", "\"2023-11-14T22:13:20.123456\""),
        ("list(int64)", "[1,null] []"),
        ("list(float64)", "[\"NaN\",1.5]"),
    ] {
        let rows: Vec<Value> =
            values.split(' ').map(|value| json!({"v": serde_json::from_str::<Value>(value).unwrap()})).collect();
        let batch = rows_of_json(&columns(&[("v", kind)]), &rows).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(batch.schema().field(0).data_type(), &kind_of_name(kind).unwrap());
        assert_eq!(written(batch.column(0).clone()), values, "{kind}");
    }
    // Other forms that are taken.
    for (kind, value, as_written) in [
        ("int64", json!("9223372036854775807"), "9223372036854775807"),
        ("float64", json!(3), "3.0"),
        ("decimal(12,2)", json!(12.5), "\"12.50\""),
        ("timestamp", json!("2023-11-14T23:13:20+01:00"), "\"2023-11-14T22:13:20Z\""),
        ("timestamp", json!("2023-11-14T22:13:20"), "\"2023-11-14T22:13:20Z\""),
    ] {
        let batch = rows_of_json(&columns(&[("v", kind)]), &[json!({"v": value})]).unwrap();
        assert_eq!(written(batch.column(0).clone()), as_written);
    }
    assert_eq!(rows_of_json(&columns(&[("v", "text")]), &[]).unwrap().num_rows(), 0);
}

#[test]
fn what_does_not_fit_is_named_with_its_row_and_column() {
    let schema = columns(&[("id", "int64"), ("v", "text")]);
    let why = |rows: Value| rows_of_json(&schema, rows.as_array().unwrap()).unwrap_err().to_string();
    assert_eq!(why(json!([{"id": 1}, {"id": "x", "v": "a"}])), "row 2, column \"id\": \"x\" is no int64");
    assert_eq!(why(json!([{}, [1]])), "row 2 is [1]: a row is an object, with a value for each column");
    assert_eq!(why(json!([{"di": 1}])), "row 1 has \"di\", which is no column: there are id, v");
    assert_eq!(
        why(json!([{"v": "x".repeat(100), "id": "y".repeat(100)}])),
        format!("row 1, column \"id\": \"{}… is no int64", "y".repeat(59))
    );
    let strict = Arc::new(Schema::new(vec![Field::new("id", arrow_schema::DataType::Int64, false)]));
    let missing = rows_of_json(&strict, &[json!({"id": 1}), json!({})]).unwrap_err();
    assert_eq!(missing.to_string(), "row 2, column \"id\": a value is missing, and the column may not be null");
    for (kind, value) in [
        ("int64", json!(1.5)),
        ("int64", json!(18_446_744_073_709_551_615_u64)),
        ("int64", json!("9223372036854775808")),
        ("int8", json!(128)),
        ("uint8", json!(-1)),
        ("uint8", json!("1.0")),
        ("float64", json!("1.5")),
        ("float64", json!(true)),
        ("bool", json!("true")),
        ("bool", json!(1)),
        ("text", json!(1)),
        ("binary", json!("0")),
        ("binary", json!("zz")),
        ("date", json!("2022-13-01")),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!(0)),
        ("decimal(4,2)", json!("1.239")),
        ("decimal(4,2)", json!("100.00")),
        ("decimal(4,2)", json!("1e1")),
        ("list(int64)", json!([1, "x"])),
        ("list(int64)", json!(1)),
    ] {
        let given = [json!({}), json!({"v": value})];
        let error = rows_of_json(&columns(&[("v", kind)]), &given).map(|batch| written(batch.column(0).clone()));
        assert_eq!(error.unwrap_err().to_string(), format!("row 2, column \"v\": {value} is no {kind}"));
    }
}
