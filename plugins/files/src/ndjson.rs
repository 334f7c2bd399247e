//! NDJSON to columns: each line is checked and learnt from, then all are decoded as what was learnt.
//!
//! `arrow-json` infers too, but makes texts of mixed types, and says of no error which line it is in.

use crate::declared::{Cell, Column, Types};
use crate::input::{Input, Places, Rows};
use crate::shape::{Object, name};
use arrow_json::ReaderBuilder;
use busway_plugin_api::Error;
use busway_plugin_api::arrow_array::{Array as _, ArrayRef, RecordBatch};
use busway_plugin_api::arrow_schema::{Field, Schema};
use busway_plugin_api::serde_json::{self, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows in a batch, at most.
const BATCH: usize = 1 << 16;
/// Cells in a batch, where one row has no more.
const BATCH_CELLS: u64 = 1 << 24;
/// Cells of a file. Few bytes make many when each row brings keys of its own; memory would run out, and end the host.
const MAX_CELLS: u64 = 1 << 28;

/// Reads a whole file.
pub(crate) fn read(input: &Input<'_>, types: &Types) -> Result<Rows, Error> {
    let mut object = Object::of_rows(types.keys().cloned());
    let mut declared: Vec<(&String, Column)> =
        types.iter().map(|(name, kind)| (name, Column::new(name, kind))).collect();
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(input.text.split_inclusive('\n')) {
        input.go_on(lines.len())?;
        let row = text.trim_matches([' ', '\t', '\r', '\n']);
        if row.is_empty() {
            continue;
        }
        match serde_json::from_str(row) {
            Ok(Value::Object(row)) => {
                object.learn_row(&row).map_err(|problem| input.bad(number, problem))?;
                for (name, column) in &mut declared {
                    let put = column.push(row.get(*name).map_or(Cell::Null, Cell::Json));
                    put.map_err(|problem| input.bad(number, problem).code("type"))?;
                }
            }
            Ok(other) => return Err(input.bad(number, format!("a row is an object, this is {}", name(&other)))),
            Err(error) if text.ends_with('\n') => return Err(input.bad(number, not_json(&error))),
            Err(error) => {
                // Only the last line lacks its end.
                let message = format!("its last line has no end and is {}: it is being written?", not_json(&error));
                return Err(Error::transient(message).code("incomplete").at(format!("{}:{number}", input.file)));
            }
        }
        lines.push(number);
    }
    if lines.is_empty() {
        // Most programs that write a file make an empty one first; to have no rows, vanish or keep the last one's columns
        // would be three ways to be wrong.
        let message = "it is empty: an NDJSON file without a row has no columns";
        return Err(Error::transient(message).code("empty").at(format!("{}:1", input.file)));
    }
    if object.names().is_empty() {
        return Err(input.bad(1, "no row has a key, so there are no columns"));
    }
    let rows = lines.len() as u64;
    let cells = object.cells(rows);
    if cells > MAX_CELLS {
        let message = format!("its {rows} rows have so many different keys that {cells} cells would be, mostly empty");
        return Err(Error::new(message).code("too_large").at(input.file));
    }
    let batch = usize::try_from(BATCH_CELLS / (cells / rows).max(1))?.clamp(1, BATCH);
    let learnt = decode(input, &Arc::new(Schema::new(object.fields())), batch.min(lines.len()))?;
    let declared = declared.into_iter().map(|(name, mut column)| (name.as_str(), column.finish())).collect();
    join(&object.names(), learnt, &declared, batch, lines)
}

/// The columns in the order in which the file brings them.
fn join(
    names: &[&str],
    learnt: Vec<RecordBatch>,
    declared: &HashMap<&str, ArrayRef>,
    batch: usize,
    lines: Vec<u32>,
) -> Result<Rows, Error> {
    let mut batches = Vec::new();
    let mut learnt = learnt.into_iter();
    let mut first = 0;
    while first < lines.len() {
        let learnt = learnt.next();
        // Without learnt columns nothing says how many rows a batch has.
        let rows = learnt.as_ref().map_or(batch.min(lines.len() - first), RecordBatch::num_rows);
        let mut columns: Vec<(&str, ArrayRef)> = Vec::with_capacity(names.len());
        for &name in names {
            let learnt = || learnt.as_ref()?.column_by_name(name).cloned();
            let column = declared.get(name).map(|all| all.slice(first, rows)).or_else(learnt);
            columns.extend(column.map(|column| (name, column)));
        }
        let fields: Vec<Field> =
            columns.iter().map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        batches.push(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?);
        first += rows;
    }
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    Ok(Rows { schema, batches, places: Places::Lines(lines) })
}

/// The columns whose types were learnt; none, when there are none.
fn decode(input: &Input<'_>, schema: &Arc<Schema>, batch: usize) -> Result<Vec<RecordBatch>, Error> {
    if schema.fields().is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error| Error::new(format!("it can't be made into columns: {error}")).at(input.file);
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(batch);
    let mut decoder = builder.build_decoder().map_err(failed)?;
    let mut rest = input.text.as_bytes();
    let mut batches = Vec::new();
    loop {
        // It takes as much as makes a batch.
        let taken = decoder.decode(rest).map_err(failed)?;
        rest = &rest[taken..];
        input.go_on(0)?;
        match decoder.flush().map_err(failed)? {
            Some(batch) => batches.push(batch),
            None => break,
        }
    }
    Ok(batches)
}

/// serde_json's text without its "at line 1": the line is told beside it, and it knows only this one.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    format!("not JSON: {} (column {})", text.strip_suffix(&place).unwrap_or(&text), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<Rows, Error> {
        read(&Input { file: "t.ndjson", text, cancelled: &|| false }, &Types::new())
    }

    fn kinds(text: &str) -> Vec<String> {
        let rows = run(text).unwrap();
        rows.schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
    }

    #[test]
    fn the_types_of_all_rows() {
        let text = r#"{"i": 1, "f": 1, "b": null, "t": "2026-01-31", "n": null}
            {"b": true, "f": 1e2, "late": 18446744073709551615, "e": []}"#;
        let expected = ["i Int64", "f Float64", "b Boolean", "t Utf8", "n Utf8", "late Float64", "e List(Utf8)"];
        assert_eq!(kinds(text), expected);
        let nested = "{\"s\": {\"a\": [1, null]}}\r\n\r\n{\"s\": {\"b\": [[\"x\"]], \"a\": [2.5]}}\r\n";
        assert_eq!(kinds(nested), ["s Struct(\"a\": List(Float64), \"b\": List(List(Utf8)))"]);
    }

    #[test]
    fn many_rows_make_several_batches() {
        let text: String = (0..BATCH + 2).map(|i| format!("{{\"i\": {i}}}\n")).collect();
        let rows = run(&text).unwrap();
        let sizes: Vec<usize> = rows.batches.iter().map(|batch| batch.num_rows()).collect();
        assert_eq!((sizes, rows.places.len()), (vec![BATCH, 2], BATCH + 2));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, message) in [
            ("", "t.ndjson:1 it is empty: an NDJSON file without a row has no columns"),
            (" \n\n", "t.ndjson:1 it is empty: an NDJSON file without a row has no columns"),
            ("{}\n", "t.ndjson:1 no row has a key, so there are no columns"),
            ("{\"a\":1}\n\n{\"a\" 2}\n", "t.ndjson:3 not JSON: expected `:` (column 6)"),
            ("{\"a\":1}{\"a\":2}\n", "t.ndjson:1 not JSON: trailing characters (column 8)"),
            ("{\"a\":\n1}\n", "t.ndjson:1 not JSON: EOF while parsing a value (column 5)"),
            ("{\"a\":1}\n[1]\n", "t.ndjson:2 a row is an object, this is a list"),
            ("{\"a\":1}\n{\"a\":true}\n{\"a\":\n", "t.ndjson:2 \"a\" is true or false here and a number before"),
            (
                "{\"a\":{\"b\":[1]}}\n{\"a\":{\"b\":[2,\"x\"]}}",
                "t.ndjson:2 \"a.b[]\" is a text here and a number before",
            ),
            ("{\"a\":{\"b\":1}}\n{\"a\":[]}", "t.ndjson:2 \"a\" is a list here and an object before"),
            ("{\"a\":1}\n{\"\":1}\n", "t.ndjson:2 a key that is empty: no column can be named so"),
            ("{\"a\":{\"x\\u0000\":1}}", "t.ndjson:1 a key in \"a\" that holds a zero byte: no column can be named so"),
            (
                "{\"a\":1}\n{\"a\":",
                "t.ndjson:2 its last line has no end and is not JSON: EOF while parsing a value (column 5): it is being \
                 written?",
            ),
        ] {
            let refused = run(text).map(|rows| panic!("{text:?} was read: {rows:?}")).unwrap_err();
            assert_eq!(format!("{} {}", refused.place().unwrap_or_default(), refused.message()), message, "{text:?}");
        }
    }

    #[test]
    fn keys_that_differ_from_row_to_row_do_not_fill_the_memory() {
        let text: String = (0..20_000).map(|i| format!("{{\"key{i}\": 1}}\n")).collect();
        let refused = run(&text).unwrap_err();
        assert!(refused.message().contains("400000000 cells"), "{refused}");
        let text: String =
            (0..2000).map(|i| format!("{{\"l\": [{{\"key{i}\": 1}}{}]}}\n", ", {}".repeat(99))).collect();
        let refused = run(&text).unwrap_err();
        assert!(refused.message().contains("cells"), "{refused}");
        let text: String = (0..5000).map(|i| format!("{{\"key{i}\": 1}}\n")).collect();
        let rows = run(&text).unwrap();
        assert_eq!((rows.batches.len(), rows.schema.fields().len()), (2, 5000));
    }

    #[test]
    fn cancelled_within_a_file() {
        let refused = read(&Input { file: "t", text: "{\"a\":1}", cancelled: &|| true }, &Types::new()).unwrap_err();
        assert_eq!(refused.status(), Error::cancelled().status());
    }
}
