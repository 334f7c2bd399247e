//! Rows as bytes: equal rows are the same bytes, different ones are different. Not for storing.
//!
//! Of columns of fixed width, texts and binaries a row's bytes are gathered column by column: marks of nulls, then the
//! values of fixed width and the lengths of the others, then the others. So one row's bytes can't be another's. Tables
//! with nested columns go through Arrow's row format.

use super::shape::Refused;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_data::ArrayData;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Schema};

/// So many rows are encoded at a time: their bytes stay in the processor's cache.
const WINDOW: usize = 128;

/// How rows of some columns become bytes.
#[derive(Debug)]
pub(crate) struct Encoder {
    columns: Vec<usize>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Flat(Layout),
    /// By Arrow's row format.
    Nested(Vec<DataType>),
}

/// Where in a row's bytes a column's are.
#[derive(Debug)]
struct Layout {
    columns: Vec<Place>,
    /// Bytes of null marks.
    marks: usize,
    /// Bytes of marks, fixed values and lengths.
    fixed: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    at: usize,
    /// The bit that marks a null.
    mark: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Nothing,
    Bool,
    Fixed(usize),
    Text,
    Binary,
}

fn kind(of: &DataType) -> Option<Kind> {
    Some(match of {
        DataType::Null => Kind::Nothing,
        DataType::Boolean => Kind::Bool,
        DataType::Utf8 => Kind::Text,
        DataType::Binary => Kind::Binary,
        DataType::FixedSizeBinary(width) => Kind::Fixed(usize::try_from(*width).ok()?),
        other => Kind::Fixed(other.primitive_width()?),
    })
}

impl Encoder {
    /// Of these columns of such batches.
    pub(crate) fn new(schema: &Schema, columns: Vec<usize>) -> Result<Self, Refused> {
        let fields = || columns.iter().map(|column| schema.field(*column));
        if let Some(kinds) = fields().map(|field| kind(field.data_type())).collect::<Option<Vec<Kind>>>() {
            let nullable = fields().filter(|field| field.is_nullable()).count();
            let marks = nullable.div_ceil(8);
            let (mut at, mut mark) = (marks, 0);
            let place = |(kind, field): (Kind, &arrow_schema::Field)| {
                let width = match kind {
                    Kind::Nothing => 0,
                    Kind::Bool => 1,
                    Kind::Fixed(width) => width,
                    Kind::Text | Kind::Binary => size_of::<u32>(),
                };
                let place = Place { kind, at, mark: field.is_nullable().then_some(mark) };
                at += width;
                mark += usize::from(field.is_nullable());
                place
            };
            let places = kinds.into_iter().zip(fields()).map(place).collect();
            return Ok(Self { columns, way: Way::Flat(Layout { columns: places, marks, fixed: at }) });
        }
        let types = fields().map(|field| field.data_type().clone()).collect();
        Ok(Self { columns, way: Way::Nested(types) })
    }

    /// Hands over each row's number and bytes, in order.
    pub(crate) fn each(&self, batch: &RecordBatch, mut row: impl FnMut(usize, &[u8])) -> Result<(), Refused> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| batch.column(*column).clone()).collect();
        match &self.way {
            Way::Flat(layout) => layout.each(&columns, batch.num_rows(), row),
            Way::Nested(types) => {
                let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
                let mut rows = converter.empty_rows(WINDOW, 0);
                for from in (0..batch.num_rows()).step_by(WINDOW) {
                    let length = WINDOW.min(batch.num_rows() - from);
                    let window: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, length)).collect();
                    rows.clear();
                    converter.append(&mut rows, &window)?;
                    rows.iter().enumerate().for_each(|(i, bytes)| row(from + i, bytes.as_ref()));
                }
            }
        }
        Ok(())
    }
}

/// A column's values as they lie in memory, and which are null.
struct Column<'a> {
    place: Place,
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

enum Values<'a> {
    Nothing,
    Bool(&'a BooleanArray),
    Fixed(&'a [u8]),
    Bytes(&'a [i32], &'a [u8]),
}

impl Layout {
    fn each(&self, columns: &[ArrayRef], count: usize, mut row: impl FnMut(usize, &[u8])) {
        let data: Vec<ArrayData> = columns.iter().map(|column| column.to_data()).collect();
        let columns: Vec<Column<'_>> = (self.columns.iter().zip(columns).zip(&data))
            .map(|((place, column), data)| Column {
                place: *place,
                values: values(place.kind, column, data),
                nulls: column.nulls().filter(|nulls| nulls.null_count() > 0),
            })
            .collect();
        let mut window = Window { bytes: Vec::new(), starts: [0; WINDOW], ends: [0; WINDOW] };
        for from in (0..count).step_by(WINDOW) {
            let rows = WINDOW.min(count - from);
            self.gather(&columns, from, rows, &mut window);
            for (i, (start, end)) in window.starts.iter().zip(&window.ends).take(rows).enumerate() {
                row(from + i, &window.bytes[*start..*end]);
            }
        }
    }

    /// The bytes of some rows.
    fn gather(&self, columns: &[Column<'_>], from: usize, rows: usize, window: &mut Window) {
        let Window { bytes, starts, ends } = window;
        let (starts, ends) = (&mut starts[..rows], &mut ends[..rows]);
        let texts: Vec<Text<'_>> = columns.iter().filter_map(|column| column.text(from, rows)).collect();
        let lengths = texts.iter().map(|text| length(text.offsets[0], text.offsets[rows]));
        let most = rows * self.fixed + lengths.sum::<usize>() + SLACK;
        if bytes.len() < most {
            bytes.resize(most, 0);
        }
        // Row by row what has no fixed width, so that a copy may write beyond its end: what comes there is written later.
        let mut at = 0;
        for (i, (start, end)) in starts.iter_mut().zip(ends.iter_mut()).enumerate() {
            *start = at;
            if self.marks > 0 {
                bytes[at..at + self.marks].fill(0);
            }
            at += self.fixed;
            for text in &texts {
                let (first, mut length) = (text.offsets[i], length(text.offsets[i], text.offsets[i + 1]));
                if text.nulls.is_some_and(|nulls| nulls.is_null(from + i)) {
                    length = 0;
                }
                #[allow(clippy::cast_possible_truncation, reason = "the difference of two offsets of 32 bits")]
                bytes[*start + text.at..][..size_of::<u32>()].copy_from_slice(&(length as u32).to_le_bytes());
                #[allow(clippy::cast_sign_loss, reason = "offsets are not negative")]
                let rest = &text.data[first as usize..];
                match rest.first_chunk::<SLACK>() {
                    Some(data) if length <= SLACK => bytes[at..at + SLACK].copy_from_slice(data),
                    _ => bytes[at..at + length].copy_from_slice(&rest[..length]),
                }
                at += length;
            }
            *end = at;
        }
        for column in columns {
            column.write(from, bytes, starts);
        }
    }
}

/// Of a text up to so many bytes, so many are copied: a copy of known length takes no call.
const SLACK: usize = 32;

/// The bytes of some rows, and where each row's begin and end.
struct Window {
    bytes: Vec<u8>,
    starts: [usize; WINDOW],
    ends: [usize; WINDOW],
}

#[allow(clippy::cast_sign_loss, reason = "offsets rise")]
fn length(first: i32, end: i32) -> usize {
    (end - first) as usize
}

fn values<'a>(kind: Kind, column: &'a ArrayRef, data: &'a ArrayData) -> Values<'a> {
    match kind {
        Kind::Nothing => Values::Nothing,
        Kind::Bool => Values::Bool(column.as_boolean()),
        Kind::Fixed(width) => Values::Fixed(&data.buffers()[0][data.offset() * width..][..column.len() * width]),
        Kind::Text => {
            let texts = column.as_string::<i32>();
            Values::Bytes(texts.value_offsets(), texts.value_data())
        }
        Kind::Binary => {
            let binaries = column.as_binary::<i32>();
            Values::Bytes(binaries.value_offsets(), binaries.value_data())
        }
    }
}

/// Some rows of a column of texts or binaries.
struct Text<'a> {
    /// Where the lengths go.
    at: usize,
    /// One more than rows.
    offsets: &'a [i32],
    data: &'a [u8],
    /// Of all rows.
    nulls: Option<&'a NullBuffer>,
}

impl Column<'_> {
    fn text(&self, from: usize, rows: usize) -> Option<Text<'_>> {
        let Values::Bytes(offsets, data) = self.values else { return None };
        Some(Text { at: self.place.at, offsets: &offsets[from..=from + rows], data, nulls: self.nulls })
    }

    /// What has a fixed width, and the marks of nulls, into the rows that start there.
    fn write(&self, from: usize, bytes: &mut [u8], starts: &[usize]) {
        let Place { kind, at, mark } = self.place;
        match self.values {
            Values::Nothing | Values::Bytes(..) => {}
            Values::Bool(bools) => {
                for (i, start) in starts.iter().enumerate() {
                    bytes[start + at] = u8::from(bools.value(from + i));
                }
            }
            Values::Fixed(values) => match kind {
                Kind::Fixed(1) => fixed::<1>(&values[from..], bytes, starts, at),
                Kind::Fixed(2) => fixed::<2>(&values[2 * from..], bytes, starts, at),
                Kind::Fixed(4) => fixed::<4>(&values[4 * from..], bytes, starts, at),
                Kind::Fixed(8) => fixed::<8>(&values[8 * from..], bytes, starts, at),
                Kind::Fixed(16) => fixed::<16>(&values[16 * from..], bytes, starts, at),
                Kind::Fixed(width) => {
                    for (i, start) in starts.iter().enumerate() {
                        let value = &values[(from + i) * width..][..width];
                        bytes[start + at..][..width].copy_from_slice(value);
                    }
                }
                _ => {}
            },
        }
        let (Some(mark), Some(nulls)) = (mark, self.nulls) else { return };
        let width = if let Kind::Fixed(width) = kind { width } else { usize::from(kind == Kind::Bool) };
        for (_, start) in starts.iter().enumerate().filter(|(i, _)| nulls.is_null(from + i)) {
            bytes[start + mark / 8] |= 1 << (mark % 8);
            // What lies under a null is nobody's business.
            bytes[start + at..][..width].fill(0);
        }
    }
}

fn fixed<const N: usize>(values: &[u8], bytes: &mut [u8], starts: &[usize], at: usize) {
    let (values, _) = values.as_chunks::<N>();
    for (start, value) in starts.iter().zip(values) {
        bytes[start + at..][..N].copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::*;
    use arrow_buffer::i256;
    use arrow_schema::Field;
    use proptest::prelude::*;
    use std::sync::Arc;

    type Plain = (Option<bool>, Option<i16>, i64, Option<String>, Option<Vec<u8>>, (Option<u8>, Option<i128>));

    fn batch(rows: &[Plain]) -> RecordBatch {
        let triples = |row: &Plain| row.1.map(|v| [v as u8, 0, 1]);
        let columns: Vec<(ArrayRef, bool)> = vec![
            (Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.0))), true),
            (Arc::new(Int16Array::from_iter(rows.iter().map(|row| row.1))), true),
            (Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))), false),
            (Arc::new(StringArray::from_iter(rows.iter().map(|row| row.3.as_ref()))), true),
            (Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.4.as_ref()))), true),
            (Arc::new(NullArray::new(rows.len())), true),
            (Arc::new(UInt8Array::from_iter(rows.iter().map(|row| row.5.0))), true),
            (Arc::new(Decimal128Array::from_iter(rows.iter().map(|row| row.5.1))), true),
            (Arc::new(Decimal256Array::from_iter(rows.iter().map(|row| row.5.1.map(i256::from_i128)))), true),
            (Arc::new(Float32Array::from_iter(rows.iter().map(|row| row.1.map(f32::from)))), true),
            (
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows.iter().map(triples), 3).unwrap()),
                true,
            ),
        ];
        let field = |(i, (column, nulls)): (usize, &(ArrayRef, bool))| {
            Field::new(i.to_string(), column.data_type().clone(), *nulls)
        };
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(column, _)| column).collect()).unwrap()
    }

    fn bytes(encoder: &Encoder, batch: &RecordBatch) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        encoder
            .each(batch, |row, bytes| {
                assert_eq!(row, all.len());
                all.push(bytes.to_vec());
            })
            .unwrap();
        all
    }

    fn plain() -> impl Strategy<Value = Plain> {
        let text = prop::option::of("[a-c]{0,2}|[ab]{30,40}");
        let binary = prop::option::of(prop::collection::vec(0u8..2, 0..3));
        let decimal = prop::option::of(prop_oneof![Just(0i128), Just(1), Just(1i128 << 100)]);
        (any::<Option<bool>>(), prop::option::of(0i16..2), 0i64..2, text, binary, (prop::option::of(0u8..2), decimal))
    }

    proptest! {
        /// The rows of a table have the same bytes when, and only when, Arrow's row format says that they are equal.
        #[test]
        fn equal_rows_and_no_others_are_the_same_bytes(
            rows in prop::collection::vec(plain(), 1..40),
            skip in 0usize..3,
        ) {
            // Slices begin in the middle of their buffers.
            let batch = batch(&rows);
            let batch = batch.slice(skip.min(rows.len()), rows.len() - skip.min(rows.len()));
            let all: Vec<usize> = (0..batch.num_columns()).collect();
            let flat = Encoder::new(&batch.schema(), all.clone()).unwrap();
            prop_assert!(matches!(flat.way, Way::Flat(_)));
            let types = batch.schema().fields().iter().map(|field| field.data_type().clone()).collect();
            let nested = Encoder { columns: all, way: Way::Nested(types) };
            let (ours, theirs) = (bytes(&flat, &batch), bytes(&nested, &batch));
            prop_assert_eq!((ours.len(), theirs.len()), (batch.num_rows(), batch.num_rows()));
            for i in 0..ours.len() {
                for j in 0..i {
                    prop_assert_eq!(ours[i] == ours[j], theirs[i] == theirs[j], "rows {} and {}", i, j);
                }
            }
        }
    }

    #[test]
    fn more_rows_than_a_window_and_what_lies_under_nulls() {
        let row = |i: usize| -> Plain {
            (None, (!i.is_multiple_of(3)).then_some(7), i as i64, Some("x".repeat(i % 50)), None, (None, None))
        };
        let rows: Vec<Plain> = (0..WINDOW * 2 + 10).map(row).collect();
        let encoder = Encoder::new(&batch(&rows).schema(), (0..11).collect()).unwrap();
        let (whole, mut single) = (bytes(&encoder, &batch(&rows)), Vec::new());
        rows.iter().for_each(|row| single.extend(bytes(&encoder, &batch(std::slice::from_ref(row)))));
        assert!(whole == single);

        let under = Int16Array::new(vec![5, 6].into(), Some(NullBuffer::from(vec![false, false])));
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int16, true)]));
        let nulls = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(under)]).unwrap();
        let bytes = bytes(&Encoder::new(&schema, vec![0]).unwrap(), &nulls);
        assert_eq!(bytes[0], bytes[1]);
    }
}
