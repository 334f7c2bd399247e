//! Values one by one, in the forms of [JSON](super) but without its quotes: what stands in a field of CSV.

use super::Exact;
use arrow_array::{Array, RecordBatch};
use arrow_json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow_schema::{ArrowError, DataType};
use std::sync::{Arc, LazyLock};

static OPTIONS: LazyLock<EncoderOptions> =
    LazyLock::new(|| EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(Exact)));

/// The columns of some rows, to be read value by value.
pub(crate) struct Cells<'a> {
    columns: Vec<Column<'a>>,
    text: Vec<u8>,
}

enum Column<'a> {
    Text(&'a arrow_array::StringArray),
    Other(NullableEncoder<'a>),
}

impl<'a> Cells<'a> {
    /// Of these rows.
    ///
    /// # Errors
    ///
    /// When a column's type has no JSON form.
    pub(crate) fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let column = |(field, column): (&'a _, &'a arrow_array::ArrayRef)| {
            Ok(match column.data_type() {
                DataType::Utf8 => Column::Text(arrow_array::cast::AsArray::as_string(column)),
                _ => Column::Other(make_encoder(field, column.as_ref(), &OPTIONS)?),
            })
        };
        let columns = rows.schema_ref().fields().iter().zip(rows.columns()).map(column);
        Ok(Self { columns: columns.collect::<Result<_, ArrowError>>()?, text: Vec::new() })
    }

    /// A value as text; `None`: it is null.
    pub(crate) fn text(&mut self, row: usize, column: usize) -> Option<&[u8]> {
        let encoder = match &mut self.columns[column] {
            Column::Text(texts) => return (!texts.is_null(row)).then(|| texts.value(row).as_bytes()),
            Column::Other(encoder) => encoder,
        };
        if encoder.is_null(row) {
            return None;
        }
        self.text.clear();
        encoder.encode(row, &mut self.text);
        // What is text in JSON and no text here has nothing in it that is escaped: digits, times, hexadecimal.
        let bare = self.text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        Some(bare.unwrap_or(&self.text))
    }
}
