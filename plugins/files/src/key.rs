//! A table's key: its columns are there, without nulls, and no two rows have the same.

use crate::input::{Input, Rows};
use arrow_cast::cast;
use arrow_cast::display::array_value_to_string;
use arrow_row::{Row, RowConverter, Rows as Keys, SortField};
use busway_plugin_api::Error;
use busway_plugin_api::arrow_array::{Array, ArrayRef, RecordBatch};
use busway_plugin_api::arrow_schema::{DataType, Field, Schema};
use std::collections::HashMap;
use std::sync::Arc;

/// The rows with the key's columns declared free of nulls, as keys must be.
pub(crate) fn keyed(input: &Input<'_>, rows: Rows, key: &[String]) -> Result<Rows, Error> {
    let refuse = |message: String| Error::new(message).code("key").at(input.file);
    let mut places = Vec::with_capacity(key.len());
    for name in key {
        let Ok(place) = rows.schema.index_of(name) else {
            let known: Vec<&str> = rows.schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(refuse(format!("there is no key column {name:?}; the columns are {}", known.join(", "))));
        };
        let kind = rows.schema.field(place).data_type();
        if kind.is_floating() || kind.is_nested() {
            return Err(refuse(format!("key column {name:?} is {kind}: a key is no float, list or struct")));
        }
        places.push(place);
    }
    let columns =
        |batch: &RecordBatch| -> Vec<ArrayRef> { places.iter().map(|&i| Arc::clone(batch.column(i))).collect() };
    let sorts = places.iter().map(|&i| SortField::new(rows.schema.field(i).data_type().clone())).collect();
    let converter = RowConverter::new(sorts)?;
    let mut keys: Vec<Keys> = Vec::with_capacity(rows.batches.len());
    let mut first = 0;
    for batch in &rows.batches {
        for (name, column) in key.iter().zip(columns(batch)) {
            if let Some(null) = (0..column.len()).find(|&i| column.is_null(i)) {
                let message = format!("key column {name:?} is null here");
                return Err(input.bad_row(&rows.places, first + null, message).code("key"));
            }
        }
        keys.push(converter.convert_columns(&columns(batch))?);
        first += batch.num_rows();
    }
    let mut seen: HashMap<Row<'_>, usize> = HashMap::with_capacity(rows.places.len());
    for (i, row) in keys.iter().flatten().enumerate() {
        input.go_on(i)?;
        if let Some(earlier) = seen.insert(row, i) {
            let (key, earlier) = (shown(&rows, &places, i)?, rows.places.said(earlier));
            return Err(input.bad_row(&rows.places, i, format!("the key {key} is in {earlier} already")).code("key"));
        }
    }
    let not_null = |(i, field): (usize, &Arc<Field>)| field.as_ref().clone().with_nullable(!places.contains(&i));
    let fields: Vec<Field> = rows.schema.fields().iter().enumerate().map(not_null).collect();
    let schema = Arc::new(Schema::new(fields));
    let batches = rows.batches.iter().map(|batch| {
        // A key has columns, so the number of rows is known from them.
        RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())
    });
    let batches = batches.collect::<Result<_, _>>()?;
    Ok(Rows { batches, schema, places: rows.places })
}

/// A row's key, for a message: `id=7, day=2026-01-31`.
fn shown(rows: &Rows, places: &[usize], mut row: usize) -> Result<String, Error> {
    for batch in &rows.batches {
        if row >= batch.num_rows() {
            row -= batch.num_rows();
            continue;
        }
        let named = |&i: &usize| -> Result<String, Error> {
            Ok(format!("{}={}", rows.schema.field(i).name(), cell(batch.column(i), row)?))
        };
        return Ok(places.iter().map(named).collect::<Result<Vec<_>, _>>()?.join(", "));
    }
    Ok(String::new())
}

/// A value, for a message.
pub(crate) fn cell(column: &ArrayRef, row: usize) -> Result<String, Error> {
    let column = match column.data_type() {
        // Zones go by name here, and arrow's display knows offsets alone.
        DataType::Timestamp(unit, Some(_)) => {
            &cast(&column.slice(row, 1), &DataType::Timestamp(*unit, Some("+00:00".into())))?
        }
        _ => &column.slice(row, 1),
    };
    Ok(array_value_to_string(column, 0)?)
}

#[cfg(test)]
mod tests {
    use crate::tests::Fixture;
    use serde_json::json;

    #[test]
    fn what_a_key_may_be() {
        let options = json!({"key": {"a": ["id", "day"], "n": ["o"]}});
        let t = Fixture::new(&[("a.csv", "v,id,day\nx,1,\"a\n\"\ny,1,b\n")], options);
        let polled = t.source.poll().unwrap();
        assert_eq!(polled.updates[0].key, ["id", "day"]);
        let nullable: Vec<bool> =
            polled.batches("a").unwrap().schema.fields().iter().map(|field| field.is_nullable()).collect();
        assert_eq!(nullable, [true, false, false]);
        for (file, text, expected) in [
            ("a.csv", "id,day\n1,\"a\n\"\n2,b\n1,b\n2,b\n", "a: a.csv:6: the key id=2, day=b is in line 4 already"),
            ("a.csv", "id,day\n\n1,a\n2,\n", "a: a.csv:4: key column \"day\" is null here"),
            (
                "a.csv",
                "id,day\n1,2026-01-31T10:00:00Z\n1,2026-01-31T12:00:00+02:00\n",
                "a: a.csv:3: the key id=1, day=2026-01-31T10:00:00Z is in line 2 already",
            ),
            ("a.csv", "id,dya\n", "a: a.csv: there is no key column \"day\"; the columns are id, dya"),
            ("a.csv", "id,day\n1.5,a\n", "a: a.csv: key column \"id\" is Float64: a key is no float, list or struct"),
            (
                "n.ndjson",
                "{\"o\":[1]}",
                "n: n.ndjson: key column \"o\" is List(Int64): a key is no float, list or struct",
            ),
        ] {
            t.write(file, text);
            assert_eq!(t.poll().pop().as_deref(), Some(expected));
        }
    }
}
