//! Rows as RFC 4180 has them: a header line, lines that end in CR LF, quotes where they are needed.
//!
//! Values look as in JSON, without its quotes; lists and objects are JSON. Null is an empty field, and so is an empty text.

use crate::table::Cells;
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use csv::{Terminator, Writer, WriterBuilder};

fn writer(out: &mut Vec<u8>) -> Writer<&mut Vec<u8>> {
    WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out)
}

fn failed(error: &dyn std::error::Error) -> ArrowError {
    ArrowError::CsvError(error.to_string())
}

/// The columns' names.
pub(super) fn header(schema: &Schema, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = writer(out);
    writer.write_record(schema.fields().iter().map(|field| field.name())).map_err(|e| failed(&e))?;
    writer.flush().map_err(|e| failed(&e))
}

/// Some rows, without a header.
pub(super) fn rows(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let (mut writer, mut cells) = (writer(out), Cells::of(rows)?);
    for row in 0..rows.num_rows() {
        for column in 0..rows.num_columns() {
            writer.write_field(cells.text(row, column).unwrap_or_default()).map_err(|e| failed(&e))?;
        }
        writer.write_record(None::<&[u8]>).map_err(|e| failed(&e))?;
    }
    writer.flush().map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int32Type;
    use arrow_array::*;
    use std::sync::Arc;

    fn text(columns: Vec<(&str, ArrayRef)>) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let mut out = Vec::new();
        header(&batch.schema(), &mut out).unwrap();
        rows(&batch, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_look_as_in_json_and_quotes_are_where_they_are_needed() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a, b", Arc::new(StringArray::from(vec![Some("say \"hi\""), None, Some("two\nlines")]))),
            ("n", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(0.1), Some(1e300)]))),
            ("on", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("d", Arc::new(Decimal128Array::from(vec![150, -5, 0]).with_precision_and_scale(6, 2).unwrap())),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(1)]).with_timezone("UTC"))),
            ("hex", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None, Some(b"")]))),
            ("list", Arc::new(lists)),
        ];
        assert_eq!(
            text(columns),
            "\"a, b\",n,on,d,at,hex,list\r\n\
             \"say \"\"hi\"\"\",NaN,true,1.50,1970-01-01T00:00:00Z,00ff,\"[1,null]\"\r\n\
             ,0.1,,-0.05,,,\r\n\
             \"two\nlines\",1.0e300,false,0.00,1970-01-01T00:00:00.000001Z,,[]\r\n"
        );
    }

    #[test]
    fn a_line_of_one_null_is_no_empty_line() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(text(vec![("n", column)]), "n\r\n1\r\n\"\"\r\n");
    }
}
