//! One thing, told in lines: what, and how it is.

use anstyle::Style;
use serde_json::Value;

use super::cell::{printable, shown, width};
use super::failure::Failure;
use super::grid::{GAP, Grid};
use super::output::{BOLD, DIM, Output};
use super::snapshot::Row;

/// A value, in its colour or with colours in it.
#[derive(Debug)]
enum Text {
    Plain(String, Style),
    Ready(String),
}

/// Lines of a name and a value.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    lines: Vec<(String, Text)>,
}

impl Sheet {
    /// Adds a line.
    pub(crate) fn line(&mut self, name: &str, text: impl Into<String>) {
        self.painted(name, text, Style::new());
    }

    /// Adds a line, unless there is nothing to say.
    pub(crate) fn maybe(&mut self, name: &str, value: &Value) {
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if !empty {
            let text = match value {
                Value::Array(list) => list.iter().map(|one| shown(name, one)).collect::<Vec<_>>().join(", "),
                value => shown(name, value),
            };
            self.line(name, text);
        }
    }

    /// Adds a line whose value has a colour.
    pub(crate) fn painted(&mut self, name: &str, text: impl Into<String>, style: Style) {
        self.lines.push((name.to_owned(), Text::Plain(printable(&text.into()), style)));
    }

    /// Adds a line whose text has its colours already, and nothing that must not be printed.
    pub(crate) fn raw(&mut self, name: &str, text: String) {
        self.lines.push((name.to_owned(), Text::Ready(text)));
    }

    /// Writes the lines, the values under each other.
    pub(crate) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let wide = self.lines.iter().map(|(name, ..)| width(name)).max().unwrap_or(0) + GAP;
        let paint = output.paint();
        for (name, text) in &self.lines {
            let pad = " ".repeat(wide - width(name));
            let text = match text {
                Text::Plain(text, _) if text == "-" => paint.put(DIM, text),
                Text::Plain(text, style) => paint.put(*style, text),
                Text::Ready(text) => text.clone(),
            };
            output.line(format!("{}{pad}{text}", paint.put(BOLD, name)).trim_end())?;
        }
        Ok(())
    }
}

/// A grid under a heading, a free line above; nothing when it has no rows. Columns without a value are left out, but for
/// the first.
pub(crate) fn section(
    heading: &str,
    columns: &[&str],
    rows: &[Row],
    painted: &dyn Fn(&str, &str) -> String,
    output: &mut Output,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let paint = output.paint();
    output.line("")?;
    output.line(&paint.put(BOLD, &format!("{heading}:")))?;
    grid(columns, rows, painted, output)
}

/// Rows whose last column is broken into lines, where it would be cut else: what one came to read.
pub(crate) fn wrapped(columns: &[&str], rows: Vec<Row>, most: Option<usize>) -> Vec<Row> {
    let (Some(most), Some((last, others))) = (most, columns.split_last()) else { return rows };
    let wide = |column: &&str| {
        let says = |row: &&Row| !of(row, column).is_null() && of(row, column) != "";
        let cells = rows.iter().filter(says).map(|row| width(&shown(column, of(row, column))));
        cells.max().map_or(0, |cell| cell.max(width(column)) + GAP)
    };
    let room = most.saturating_sub(others.iter().map(wide).sum());
    if room < NARROW {
        return rows;
    }
    let broken = rows.into_iter().flat_map(|row| {
        let mut lines = broken(of(&row, last).as_str().unwrap_or_default(), room).into_iter();
        let mut first = row.clone();
        first.insert((*last).to_owned(), lines.next().unwrap_or_default().into());
        let more = lines.map(|line| {
            let mut row: Row = others.iter().map(|column| ((*column).to_owned(), Value::from(""))).collect();
            row.insert((*last).to_owned(), line.into());
            row
        });
        std::iter::once(first).chain(more).collect::<Vec<_>>()
    });
    broken.collect()
}

/// No column is broken into lines shorter than this.
const NARROW: usize = 24;

/// A text in lines of `most` columns, where its words allow it.
fn broken(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A grid. Columns in which nothing stands would only take room from the others: they are left out, but for the first.
pub(crate) fn grid(
    columns: &[&str],
    rows: &[Row],
    painted: &dyn Fn(&str, &str) -> String,
    output: &mut Output,
) -> Result<(), Failure> {
    let says = |column: &str| {
        let said = |row: &Row| row.get(column).is_some_and(|value| !value.is_null() && value != "");
        rows.iter().any(said)
    };
    let columns: Vec<String> = columns
        .iter()
        .enumerate()
        .filter(|(at, column)| *at == 0 || rows.is_empty() || says(column))
        .map(|(_, column)| (*column).to_owned())
        .collect();
    let drawn = Grid::new(&columns, rows).lines(output.width(), painted, output.paint());
    drawn.lines.iter().try_for_each(|line| output.line(line))
}

/// What stands there; null where nothing does.
pub(crate) fn of<'a>(row: &'a Row, column: &str) -> &'a Value {
    row.get(column).unwrap_or(&Value::Null)
}

/// Cells as they are.
pub(crate) fn plain(_: &str, text: &str) -> String {
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::output::Format;
    use super::super::output::tests::pages;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_one_came_to_read_is_not_cut() {
        let rows: Vec<Row> = [
            json!({"option": "path", "must": null, "description": "The directory; a relative one starts elsewhere"}),
            json!({"option": "depth", "must": null, "description": ""}),
        ]
        .iter()
        .map(|row| row.as_object().unwrap().clone())
        .collect();
        let columns = ["option", "must", "description"];
        let (mut output, data, _) = pages(Format::Table, Some(38));
        grid(&columns, &wrapped(&columns, rows, output.width()), &plain, &mut output).unwrap();
        assert_eq!(
            data.text(),
            "option  description\npath    The directory; a relative one\n        starts elsewhere\ndepth\n"
        );
    }

    #[test]
    fn values_stand_under_each_other_and_what_says_nothing_is_left_out() {
        let (mut output, data, _) = pages(Format::Table, None);
        let mut sheet = Sheet::default();
        sheet.line("name", "web");
        sheet.maybe("description", &json!(""));
        sheet.maybe("addresses", &json!(["a", "b"]));
        sheet.maybe("size_bytes", &json!(2048));
        sheet.line("error", "two\nlines");
        sheet.print(&mut output).unwrap();
        let rows: Vec<Row> =
            [json!({"a": 1, "b": null}), json!({"a": 2})].iter().map(|row| row.as_object().unwrap().clone()).collect();
        section("things", &["a", "b"], &rows, &plain, &mut output).unwrap();
        section("nothing", &["a", "b"], &[], &plain, &mut output).unwrap();
        assert_eq!(
            data.text(),
            "name        web\naddresses   a, b\nsize_bytes  2.0 KiB\nerror       two\\nlines\n\nthings:\na\n1\n2\n"
        );
    }
}
