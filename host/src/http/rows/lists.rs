//! Rows as the predecessor's clients know them: lists of values, nulls and truth values as its texts, all but numbers as
//! text.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use std::io::{self, Write};

static FORM: FormatOptions<'static> = FormatOptions::new();

enum Column<'a> {
    Text(&'a StringArray),
    Bool(&'a BooleanArray),
    /// Digits as they are.
    Whole(ArrayFormatter<'a>),
    /// The same, and what tells which are numbers.
    Float(ArrayFormatter<'a>, Box<dyn Fn(usize) -> bool + 'a>),
    Other(ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self, ArrowError> {
        let formatted = || ArrayFormatter::try_new(array.as_ref(), &FORM);
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            kind if kind.is_integer() => Self::Whole(formatted()?),
            DataType::Float64 => {
                let floats = array.as_primitive::<Float64Type>();
                Self::Float(formatted()?, Box::new(|row| floats.value(row).is_finite()))
            }
            DataType::Float32 => {
                let floats = array.as_primitive::<Float32Type>();
                Self::Float(formatted()?, Box::new(|row| floats.value(row).is_finite()))
            }
            DataType::Float16 => {
                let floats = array.as_primitive::<Float16Type>();
                Self::Float(formatted()?, Box::new(|row| floats.value(row).is_finite()))
            }
            _ => Self::Other(formatted()?),
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Text(texts) => Ok(serde_json::to_writer(out, texts.value(row))?),
            Self::Bool(values) => out.write_all(if values.value(row) { b"\"True\"" } else { b"\"False\"" }),
            Self::Whole(formatter) => write!(out, "{}", formatter.value(row)),
            Self::Float(formatter, is_number) if is_number(row) => write!(out, "{}", formatter.value(row)),
            Self::Float(formatter, _) | Self::Other(formatter) => {
                Ok(serde_json::to_writer(out, &formatter.value(row).to_string())?)
            }
        }
    }
}

/// Some rows, with commas between.
pub(super) fn rows(rows: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let columns = rows.columns().iter().map(Column::of).collect::<Result<Vec<_>, _>>()?;
    let nulls: Vec<Option<NullBuffer>> = rows.columns().iter().map(|column| column.logical_nulls()).collect();
    let failed = |error: io::Error| ArrowError::JsonError(error.to_string());
    for row in 0..rows.num_rows() {
        out.extend_from_slice(if row == 0 { b"{\"data\":[" } else { b",{\"data\":[" });
        for (at, (column, nulls)) in columns.iter().zip(&nulls).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                true => out.extend_from_slice(b"\"None\""),
                false => column.write(row, out).map_err(failed)?,
            }
        }
        out.extend_from_slice(b"]}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int32Type;
    use arrow_array::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[test]
    fn values_are_the_predecessor_s() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(i64::MAX), None])),
            Arc::new(Float64Array::from(vec![0.1, f64::INFINITY])),
            Arc::new(Float32Array::from(vec![1e30, 0.1])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(StringArray::from(vec![Some("say \"hi\"\n"), None])),
            Arc::new(Decimal128Array::from(vec![150, -5]).with_precision_and_scale(6, 2).unwrap()),
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC")),
            Arc::new(lists),
            Arc::new(NullArray::new(2)),
        ];
        let named = columns.into_iter().enumerate().map(|(i, column)| (format!("c{i}"), column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(named).unwrap();
        let mut out = Vec::new();
        rows(&batch, &mut out).unwrap();
        let read: Value = serde_json::from_str(&format!("[{}]", String::from_utf8(out).unwrap())).unwrap();
        assert_eq!(
            read,
            json!([
                {"data": [i64::MAX, 0.1, 1e30, "True", "say \"hi\"\n", "1.50", "1970-01-01T00:00:00Z", "[1, ]", "None"]},
                {"data": ["None", "inf", 0.1, "False", "None", "-0.05", "1970-01-01T00:00:00.000001Z", "None", "None"]},
            ])
        );
    }
}
