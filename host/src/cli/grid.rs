//! Rows under a header, aligned, as wide as the terminal at most.

use serde_json::Value;

use super::cell::{shortened, shown, width};
use super::output::{BOLD, DIM, Paint};
use super::snapshot::Row;

/// What stands between two columns.
pub(crate) const GAP: usize = 2;
/// No column of text is made narrower than this.
const NARROWEST: usize = 8;

/// Cells to be printed in columns.
#[derive(Debug)]
pub(crate) struct Grid {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    numeric: Vec<bool>,
}

/// A grid's lines, and the columns that had no room.
#[derive(Debug, PartialEq)]
pub(crate) struct Lines {
    /// The header, then a line a row.
    pub(crate) lines: Vec<String>,
    /// The columns left out, for lack of room.
    pub(crate) left_out: Vec<String>,
}

impl Grid {
    /// Those columns of those rows.
    pub(crate) fn new<'a>(columns: &[String], rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let rows: Vec<&Row> = rows.into_iter().collect();
        let value = |row: &Row, column: &String| shown(column, row.get(column).unwrap_or(&Value::Null));
        let numeric = |column: &String| {
            let mut values = rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null()).peekable();
            values.peek().is_some() && values.all(Value::is_number)
        };
        Self {
            headers: columns.to_vec(),
            rows: rows.iter().map(|row| columns.iter().map(|column| value(row, column)).collect()).collect(),
            numeric: columns.iter().map(numeric).collect(),
        }
    }

    /// Draws it, `most` columns wide at most, with `paint` on the cells.
    pub(crate) fn lines(&self, most: Option<usize>, paint: &dyn Fn(&str, &str) -> String, header: Paint) -> Lines {
        let widths = self.widths(most);
        let gap = " ".repeat(GAP);
        let line = |cells: &[String], paint: &dyn Fn(usize, &str) -> String| {
            let cell = |(index, wide): (usize, &usize)| {
                let (text, pad) = fitted(&cells[index], *wide);
                let text = paint(index, &text);
                match self.numeric[index] {
                    true => format!("{pad}{text}"),
                    // Nothing trails.
                    false if index + 1 == widths.len() => text,
                    false => format!("{text}{pad}"),
                }
            };
            widths.iter().enumerate().map(cell).collect::<Vec<_>>().join(&gap).trim_end().to_owned()
        };
        let head = line(&self.headers, &|_, text| header.put(BOLD, text));
        let cell = |index: usize, text: &str| match text {
            "-" => header.put(DIM, text),
            _ => paint(&self.headers[index], text),
        };
        let lines = std::iter::once(head).chain(self.rows.iter().map(|cells| line(cells, &cell))).collect();
        Lines { lines, left_out: self.headers[widths.len()..].to_vec() }
    }

    /// The header's cells, then each row's, every one padded to its column's width: `most` columns in all at most.
    pub(crate) fn cells(&self, most: usize) -> (Vec<String>, Vec<Vec<String>>) {
        let widths = self.widths(Some(most));
        let padded = |cells: &Vec<String>| {
            let cell = |(index, wide): (usize, &usize)| {
                let (text, pad) = fitted(&cells[index], *wide);
                if self.numeric[index] { format!("{pad}{text}") } else { format!("{text}{pad}") }
            };
            widths.iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        (padded(&self.headers), self.rows.iter().map(padded).collect())
    }

    /// The columns' widths: the longest texts give way first; then the last columns have no room.
    fn widths(&self, most: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headers.iter().map(|header| width(header)).collect();
        for row in &self.rows {
            for (wide, cell) in widths.iter_mut().zip(row) {
                *wide = (*wide).max(width(cell));
            }
        }
        let Some(most) = most else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1);
        loop {
            let excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(most);
            let shrinkable = |index: &usize| !self.numeric[*index] && widths[*index] > NARROWEST;
            let widest = (0..widths.len()).filter(shrinkable).max_by_key(|index| widths[*index]);
            let (true, Some(widest)) = (excess > 0, widest) else { break };
            let next = (0..widths.len())
                .filter(|index| shrinkable(index) && *index != widest)
                .map(|index| widths[index])
                .max()
                .unwrap_or(NARROWEST);
            // Down to the next longest, or by one where two are equally long.
            let floor = next.min(widths[widest] - 1).max(NARROWEST);
            widths[widest] = widths[widest].saturating_sub(excess).max(floor);
        }
        let mut used = 0;
        let fitting = widths.iter().take_while(|wide| {
            used += **wide + if used > 0 { GAP } else { 0 };
            used <= most
        });
        let fitting = fitting.count().max(1).min(widths.len());
        widths.truncate(fitting);
        if fitting == 1 {
            widths[0] = widths[0].min(most.max(1));
        }
        widths
    }
}

/// `text` in `wide` columns at most, and the blanks that make it so wide.
fn fitted(text: &str, wide: usize) -> (String, String) {
    let text = shortened(text, wide);
    let pad = " ".repeat(wide.saturating_sub(width(&text)));
    (text, pad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grid(rows: &[Value]) -> Grid {
        let rows: Vec<Row> = rows.iter().map(|row| row.as_object().unwrap().clone()).collect();
        let columns: Vec<String> = rows[0].keys().cloned().collect();
        Grid::new(&columns, &rows)
    }

    fn drawn(grid: &Grid, most: Option<usize>) -> String {
        grid.lines(most, &|_, text| text.to_owned(), Paint::default()).lines.join("\n")
    }

    fn people() -> Grid {
        grid(&[
            json!({"name":"Ada","pid":7,"memory_bytes":12_897_485,"command":"analytical-engine --cards all"}),
            json!({"name":"Grace Brewster Hopper","pid":1234,"memory_bytes":null,"command":"compile"}),
        ])
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_trails() {
        assert_eq!(
            drawn(&people(), None),
            "name                    pid  memory_bytes  command\n\
             Ada                       7      12.3 MiB  analytical-engine --cards all\n\
             Grace Brewster Hopper  1234             -  compile"
        );
    }

    #[test]
    fn the_longest_texts_give_way() {
        assert_eq!(
            drawn(&people(), Some(56)),
            "name                pid  memory_bytes  command\n\
             Ada                   7      12.3 MiB  analytical-engin…\n\
             Grace Brewster H…  1234             -  compile"
        );
    }

    #[test]
    fn every_line_fits_whatever_the_width() {
        for most in 1..90 {
            let lines = people().lines(Some(most), &|_, text| text.to_owned(), Paint::default());
            assert!(lines.lines.iter().all(|line| width(line) <= most), "{most}: {lines:?}");
        }
        let narrow = people().lines(Some(20), &|_, text| text.to_owned(), Paint::default());
        assert_eq!(narrow.left_out, ["memory_bytes", "command"]);
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        let grid = Grid::new(&["a".to_owned(), "b".to_owned()], &[]);
        assert_eq!(drawn(&grid, Some(10)), "a  b");
        assert_eq!(drawn(&Grid::new(&[], &[]), Some(10)), "");
    }
}
