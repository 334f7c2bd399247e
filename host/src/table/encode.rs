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
const WINDOW: usize = 512;

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
            return Ok(Self { columns, way: Way::Flat(Layout { columns: places, fixed: at }) });
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
        // The lengths come first: they say where each row's bytes are.
        ends.fill(self.fixed);
        for column in columns {
            if let Values::Bytes(offsets, _) = column.values {
                let lengths = offsets[from..=from + rows].windows(2).map(|pair| length(pair));
                ends.iter_mut().zip(lengths).for_each(|(end, length)| *end += length);
                for i in column.nulls(from, rows) {
                    ends[i] -= length(&offsets[from + i..from + i + 2]);
                }
            }
        }
        let mut at = 0;
        for (start, end) in starts.iter_mut().zip(ends.iter_mut()) {
            *start = at;
            at += *end;
            // For now where the first text goes.
            *end = *start + self.fixed;
        }
        bytes.clear();
        bytes.resize(at, 0);
        for column in columns {
            column.write(from, bytes, starts, ends);
        }
    }
}

/// The bytes of some rows, and where each row's begin and end.
struct Window {
    bytes: Vec<u8>,
    starts: [usize; WINDOW],
    ends: [usize; WINDOW],
}

#[allow(clippy::cast_sign_loss, reason = "offsets rise")]
fn length(pair: &[i32]) -> usize {
    (pair[1] - pair[0]) as usize
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

impl Column<'_> {
    /// Which of some rows are null here.
    fn nulls(&self, from: usize, rows: usize) -> impl Iterator<Item = usize> + '_ {
        self.nulls.into_iter().flat_map(move |nulls| (0..rows).filter(move |i| nulls.is_null(from + i)))
    }

    /// Into the rows that start there. `ends` is where the next text of each row goes.
    fn write(&self, from: usize, bytes: &mut [u8], starts: &[usize], ends: &mut [usize]) {
        let Place { kind, at, mark } = self.place;
        match self.values {
            Values::Nothing => {}
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
            Values::Bytes(offsets, data) => {
                for (i, (start, end)) in starts.iter().zip(ends.iter_mut()).enumerate() {
                    if self.nulls.is_some_and(|nulls| nulls.is_null(from + i)) {
                        continue;
                    }
                    let length = length(&offsets[from + i..][..2]);
                    #[allow(
                        clippy::cast_sign_loss,
                        clippy::cast_possible_truncation,
                        reason = "offsets are not negative, lengths come from them"
                    )]
                    let (value, mark) = (&data[offsets[from + i] as usize..][..length], length as u32);
                    bytes[start + at..][..4].copy_from_slice(&mark.to_le_bytes());
                    bytes[*end..][..length].copy_from_slice(value);
                    *end += length;
                }
            }
        }
        let Some(mark) = mark else { return };
        let width = if let Kind::Fixed(width) = kind { width } else { usize::from(kind == Kind::Bool) };
        for i in self.nulls(from, starts.len()) {
            bytes[starts[i] + mark / 8] |= 1 << (mark % 8);
            // What lies under a null is nobody's business.
            bytes[starts[i] + at..][..width].fill(0);
        }
    }
}

fn fixed<const N: usize>(values: &[u8], bytes: &mut [u8], starts: &[usize], at: usize) {
    let (values, _) = values.as_chunks::<N>();
    for (start, value) in starts.iter().zip(values) {
        bytes[start + at..][..N].copy_from_slice(value);
    }
}
