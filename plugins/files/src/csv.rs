//! CSV to columns.
//!
//! The cells are split here and not by `arrow-csv`: that one counts rows, not lines, takes a quote that is never closed
//! for the end of the file, and names no column twice given.

use crate::declared::{Cell, Column, Types};
use crate::input::{Input, Places, Rows};
use crate::types::typed;
use busway_plugin_api::Error;
use busway_plugin_api::arrow_array::builder::StringBuilder;
use busway_plugin_api::arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use busway_plugin_api::arrow_schema::{DataType, Field, Schema};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads a whole file.
pub(crate) fn read(input: &Input<'_>, delimiter: char, header: bool, types: &Types) -> Result<Rows, Error> {
    let mut records = Records { input, delimiter, at: 0, line: 1 };
    let mut cells = Vec::new();
    let Some(first) = records.next(&mut cells)? else {
        let lacks = if header { "it is empty: it has no header" } else { "it is empty: it has no columns" };
        // Most programs that write a file make an empty one first.
        return Err(Error::transient(lacks).code("empty").at(format!("{}:1", input.file)));
    };
    let names = if header {
        names(input, first, &cells)?
    } else {
        records = Records { input, delimiter, at: 0, line: 1 };
        (1..=cells.len()).map(|i| format!("column_{i}")).collect()
    };
    let mut columns: Vec<Growing> = names.iter().map(|name| Growing::new(name, types)).collect();
    if let Some(name) = types.keys().find(|name| !names.contains(name)) {
        let known = Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>());
        return Err(input.bad(first, input.no_column(name, &known)).code("type"));
    }
    let mut lines = Vec::new();
    while let Some(line) = records.next(&mut cells)? {
        input.go_on(lines.len())?;
        if cells.len() != names.len() {
            let message = format!("a row of {} cells, where there are {} columns", cells.len(), names.len());
            return Err(input.bad(line, message));
        }
        for (column, cell) in columns.iter_mut().zip(&cells) {
            let put = column.put((!cell.is_empty()).then_some(cell));
            put.map_err(|problem| input.bad(line, problem).code("type"))?;
        }
        lines.push(line);
    }
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for mut column in columns {
        input.go_on(0)?;
        arrays.push(column.finish());
    }
    let fields: Vec<Field> =
        names.into_iter().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
    Ok(Rows { schema, batches: vec![batch], places: Places::Lines(lines) })
}

/// A column as it grows.
enum Growing {
    /// Its type is that of all its cells.
    Guessed(StringBuilder),
    Declared(Column),
}

impl Growing {
    fn new(name: &str, types: &Types) -> Self {
        match types.get(name) {
            Some(kind) => Self::Declared(Column::new(name, kind)),
            // A builder's own idea of its capacity, a thousand cells, would let a long header fill the memory.
            None => Self::Guessed(StringBuilder::with_capacity(0, 0)),
        }
    }

    fn put(&mut self, cell: Option<&str>) -> Result<(), String> {
        match self {
            Self::Guessed(cells) => cells.append_option(cell),
            Self::Declared(column) => column.push(cell.map_or(Cell::Null, Cell::Text))?,
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Guessed(cells) => typed(cells.finish()),
            Self::Declared(column) => column.finish(),
        }
    }
}

fn names(input: &Input<'_>, line: u32, cells: &[Cow<'_, str>]) -> Result<Vec<String>, Error> {
    let mut seen = HashMap::with_capacity(cells.len());
    for (i, name) in cells.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(input.bad(line, format!("column {} has no name in the header", i + 1)));
        }
        if name.contains('\0') {
            return Err(input.bad(line, format!("the name of column {}, {name:?}, holds a zero byte", i + 1)));
        }
        if let Some(earlier) = seen.insert(name, i) {
            let message = format!("columns {} and {} of the header are both named {name:?}", earlier + 1, i + 1);
            return Err(input.bad(line, message));
        }
    }
    Ok(cells.iter().map(|cell| cell.clone().into_owned()).collect())
}

/// The rows of a text, as RFC 4180 has them; a quote within a cell that does not begin with one is a mere character.
struct Records<'a, 'i> {
    input: &'a Input<'i>,
    delimiter: char,
    at: usize,
    line: u32,
}

impl<'a> Records<'a, '_> {
    /// The next row's cells, and the line it begins in.
    fn next(&mut self, cells: &mut Vec<Cow<'a, str>>) -> Result<Option<u32>, Error> {
        cells.clear();
        let text: &'a str = self.input.text;
        while self.end_line() {}
        if self.at == text.len() {
            return Ok(None);
        }
        let first = self.line;
        loop {
            let cell = if text[self.at..].starts_with('"') { self.quoted()? } else { self.plain() };
            cells.push(cell);
            if self.at == text.len() || self.end_line() {
                return Ok(Some(first));
            }
            if !text[self.at..].starts_with(self.delimiter) {
                return Err(self.input.bad(self.line, format!("text after the closing quote of cell {}", cells.len())));
            }
            self.at += self.delimiter.len_utf8();
        }
    }

    /// Goes past a line's end, if it is here.
    fn end_line(&mut self) -> bool {
        let rest = &self.input.text.as_bytes()[self.at..];
        let end = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [b'\r'] => 1,
            _ => return false,
        };
        self.at += end;
        self.line += 1;
        true
    }

    fn plain(&mut self) -> Cow<'a, str> {
        let rest: &'a str = &self.input.text[self.at..];
        let delimiter = self.delimiter;
        let end = rest.find([delimiter, '\n']).unwrap_or(rest.len());
        let mut cell = &rest[..end];
        // The line's end is "\r\n"; `end_line` goes past both.
        if !rest[end..].starts_with(delimiter) {
            cell = cell.strip_suffix('\r').unwrap_or(cell);
        }
        self.at += cell.len();
        Cow::Borrowed(cell)
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Error> {
        let rest: &'a str = &self.input.text[self.at + 1..];
        let mut end = 0;
        let mut doubled = false;
        loop {
            let Some(quote) = rest[end..].find('"') else {
                return Err(self.input.bad(self.line, "a quote is opened here and never closed"));
            };
            end += quote;
            if !rest[end + 1..].starts_with('"') {
                break;
            }
            doubled = true;
            end += 2;
        }
        let cell = &rest[..end];
        self.at += end + 2;
        self.line += cell.bytes().map(|b| u32::from(b == b'\n')).sum::<u32>();
        Ok(if doubled { Cow::Owned(cell.replace("\"\"", "\"")) } else { Cow::Borrowed(cell) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use busway_plugin_api::arrow_array::cast::AsArray as _;
    use busway_plugin_api::arrow_array::types::Int64Type;

    fn run(text: &str, delimiter: char, header: bool) -> Result<Rows, Error> {
        read(&Input { file: "t.csv", text, cancelled: &|| false }, delimiter, header, &Types::new())
    }

    fn refused(text: &str) -> String {
        match run(text, ',', true) {
            Err(error) => format!("{} {}", error.place().unwrap_or_default(), error.message()),
            Ok(rows) => panic!("{text:?} was read: {rows:?}"),
        }
    }

    fn texts(rows: &Rows, column: usize) -> Vec<Option<&str>> {
        rows.batches[0].column(column).as_string::<i32>().iter().collect()
    }

    fn lines(rows: &Rows) -> &[u32] {
        match &rows.places {
            Places::Lines(lines) => lines,
            Places::Numbers(_) => panic!("no lines"),
        }
    }

    #[test]
    fn quotes_line_ends_and_blank_lines() {
        let rows = run("\r\na,\"b \"\"c\"\"\"\r\n\r\n\"x,\n\"\"y\"\"\",5\" pipe\n\n,\"\"\nz,w", ',', true).unwrap();
        assert_eq!(rows.schema.field(1).name(), "b \"c\"");
        assert_eq!(texts(&rows, 0), [Some("x,\n\"y\""), None, Some("z")]);
        assert_eq!(texts(&rows, 1), [Some("5\" pipe"), None, Some("w")]);
        assert_eq!(lines(&rows), [4, 7, 8]);
    }

    #[test]
    fn carriage_returns_belong_to_line_ends_alone() {
        let rows = run("a,b\r\n1\r,x\r\n\r\n2,y\r", ',', true).unwrap();
        assert_eq!(texts(&rows, 0), [Some("1\r"), Some("2")]);
        assert_eq!(texts(&rows, 1), [Some("x"), Some("y")]);
        assert_eq!((rows.schema.field(1).name().as_str(), lines(&rows)), ("b", &[2, 4][..]));
        assert_eq!(run("a\r", ',', true).unwrap().places.len(), 0);
    }

    #[test]
    fn any_character_delimits_and_a_header_may_be_missing() {
        let rows = run("1¦x\n2¦\n", '¦', false).unwrap();
        let names: Vec<&str> = rows.schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["column_1", "column_2"]);
        assert_eq!(rows.batches[0].column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(texts(&rows, 1), [Some("x"), None]);
        assert_eq!(lines(&rows), [1, 2]);
    }

    #[test]
    fn a_header_alone_is_a_table_without_rows() {
        let rows = run("a,b", ',', true).unwrap();
        assert_eq!((rows.schema.fields().len(), rows.batches[0].num_rows()), (2, 0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, message) in [
            ("", "t.csv:1 it is empty: it has no header"),
            ("\n\n", "t.csv:1 it is empty: it has no header"),
            ("a,b\n1,2\n\n3\n4,5", "t.csv:4 a row of 1 cells, where there are 2 columns"),
            ("a,b\r\n\"1\r\n\",2\r\n3,4,5\r\n", "t.csv:4 a row of 3 cells, where there are 2 columns"),
            ("a,b\n1,2\n3,\"4\n5,6\n", "t.csv:3 a quote is opened here and never closed"),
            ("a,b\n\"1\n2\"x,3\n", "t.csv:3 text after the closing quote of cell 1"),
            ("a,,c\n", "t.csv:1 column 2 has no name in the header"),
            ("\n\na,b,a\n", "t.csv:3 columns 1 and 3 of the header are both named \"a\""),
            ("a,b\0\n", "t.csv:1 the name of column 2, \"b\\0\", holds a zero byte"),
        ] {
            assert_eq!(refused(text), message, "{text:?}");
        }
    }
}
