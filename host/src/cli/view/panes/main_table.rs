//! The pane with one table's rows, whatever their columns.

use std::cmp::Ordering;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::model::{Flash, Model};
use super::super::screen::{ACCENT, FAINT, GOOD, Look, WARN, pane};
use super::super::tables::number;
use crate::cli::cell::count_of;
use crate::cli::grid::{GAP, Grid};
use crate::cli::replica::Replica;
use crate::cli::snapshot::Row;

/// Columns that rows are ordered by, the largest first, in tables that have them all.
const BUSIEST: [&str; 2] = ["cpu_percent", "memory_bytes"];

/// Draws the chosen table.
pub(in super::super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look) {
    let Some((name, replica)) = model.selected() else {
        let waiting = Paragraph::new(Line::styled("no tables yet", FAINT)).alignment(Alignment::Center);
        frame.render_widget(waiting.block(pane("tables")), area);
        return;
    };
    let title = name.to_string();
    let block = pane(&title);
    let inner = block.inner(area);
    let room = usize::from(inner.height.saturating_sub(1));
    // Never so far that nothing would be left to see.
    let first = model.scroll.min(replica.len().saturating_sub(room));
    let (rows, by) = ordered(replica, first, room);
    let mut about = vec![Span::styled(format!(" {}  step {} ", count_of(replica.len()), replica.to()), FAINT)];
    if let Some(by) = by {
        about.push(Span::styled(format!(" by {by} "), FAINT));
    }
    let mut block = block.title_top(Line::from(about).alignment(Alignment::Right));
    if replica.len() > rows.len() && !rows.is_empty() {
        let shown = format!(" {}–{} of {} ", first + 1, first + rows.len(), replica.len());
        block = block.title_bottom(Line::styled(shown, FAINT).alignment(Alignment::Right));
    }
    frame.render_widget(block, area);

    let grid = Grid::new(replica.columns(), rows.iter().map(|row| &***row));
    // Two columns before the first are for the sign of what is new.
    let (header, cells) = grid.cells(usize::from(inner.width.saturating_sub(2)));
    let gap = " ".repeat(GAP);
    let mut lines = vec![Line::from(vec![
        Span::raw("  "),
        Span::styled(header.join(&gap), Style::new().add_modifier(Modifier::BOLD)),
    ])];
    for (row, cells) in rows.iter().zip(cells) {
        let flash = model.flash(name, &replica.key_of(row), look.now);
        let (sign, style) = match flash {
            Some(Flash::Added) => (Span::styled("+ ", GOOD.add_modifier(Modifier::BOLD)), GOOD),
            Some(Flash::Updated) => (Span::styled("· ", WARN), Style::new()),
            None => (Span::raw("  "), Style::new()),
        };
        let mut spans = vec![sign];
        for (index, cell) in cells.into_iter().enumerate() {
            let is_key = replica.columns().get(index).is_some_and(|column| replica.key().contains(column));
            let style = match cell.trim() {
                "-" => FAINT,
                _ if flash == Some(Flash::Added) => style,
                _ if is_key => ACCENT,
                _ => style,
            };
            spans.push(Span::styled(cell, style));
            spans.push(Span::raw(gap.clone()));
        }
        lines.push(Line::from(spans));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// `room` rows from the `first` on, and what they are ordered by if not by their keys.
fn ordered(replica: &Replica, first: usize, room: usize) -> (Vec<&Arc<Row>>, Option<&'static str>) {
    if !BUSIEST.iter().all(|column| replica.columns().iter().any(|known| known == column)) {
        return (replica.rows().skip(first).take(room).collect(), None);
    }
    let mut rows: Vec<&Arc<Row>> = replica.rows().collect();
    rows.sort_by(|a, b| {
        let larger = |column: &&str| number(b, column).total_cmp(&number(a, column));
        BUSIEST.iter().map(larger).fold(Ordering::Equal, Ordering::then)
    });
    (rows.into_iter().skip(first).take(room).collect(), Some(BUSIEST[0]))
}
