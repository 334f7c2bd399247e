//! The pane that lists all tables.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::model::Model;
use super::super::screen::{ACCENT, BAD, FAINT, GOOD, Look, pane};
use super::super::tables::{number, text};
use crate::cli::cell::{printable, shortened, width};
use crate::cli::replica::Replica;
use crate::cli::snapshot::Row;
use crate::cli::table_name::TableName;

/// Draws the list; the chosen table is always in sight.
pub(in super::super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look) {
    let mut names = model.tables.names();
    let listed: Vec<TableName> = model.tables.of_host("tables").map(named).unwrap_or_default();
    // Those that are too many or too large to be followed.
    names.extend(listed.iter().filter(|name| model.tables.get(name).is_none()));
    let chosen = model.selected().map(|(name, _)| name.clone());
    let block = pane("tables");
    let inner = block.inner(area);
    let room = usize::from(inner.height);
    let at = names.iter().position(|name| Some(*name) == chosen.as_ref()).unwrap_or_default();
    let first = at.saturating_sub(room.saturating_sub(1) / 2).min(names.len().saturating_sub(room));
    let lines: Vec<Line<'_>> = names
        .iter()
        .skip(first)
        .take(room)
        .map(|name| line(model, name, chosen.as_ref() == Some(name), usize::from(inner.width), look))
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn line(model: &Model, name: &TableName, chosen: bool, wide: usize, look: Look) -> Line<'static> {
    let replica = model.tables.get(name);
    let listed = listed(model, name);
    let counts = match (replica, listed) {
        (Some(replica), _) => format!("{:>6} #{:<5}", replica.len(), replica.to()),
        (None, Some(row)) => format!("{:>6} #{:<5}", number(row, "rows"), number(row, "to")),
        (None, None) => String::new(),
    };
    let failed = listed.is_some_and(|row| row.get("error").is_some_and(|error| !error.is_null()));
    let room = wide.saturating_sub(width(&counts) + 2);
    let shown = shortened(&printable(&name.to_string()), room);
    let pad = " ".repeat(room.saturating_sub(width(&shown)));
    let style = match () {
        () if failed => BAD,
        () if chosen => ACCENT.add_modifier(Modifier::BOLD),
        () if name.is_hidden() || replica.is_none() => FAINT,
        () => Style::new(),
    };
    let sign = match () {
        () if chosen => Span::styled("▸ ", ACCENT),
        () if failed => Span::styled("! ", BAD),
        () if model.changed_lately(name, look.now) => Span::styled("• ", GOOD),
        () => Span::raw("  "),
    };
    Line::from(vec![sign, Span::styled(shown, style), Span::raw(pad), Span::styled(counts, FAINT)])
}

fn listed<'a>(model: &'a Model, name: &TableName) -> Option<&'a Row> {
    let is = |row: &&Row| text(row, "service") == name.service && text(row, "table") == name.table;
    model.tables.of_host("tables")?.rows().map(|row| &**row).find(is)
}

fn named(list: &Replica) -> Vec<TableName> {
    list.rows().map(|row| TableName::new(text(row, "service"), text(row, "table"))).collect()
}
