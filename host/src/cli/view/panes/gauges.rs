//! The pane that says how full the machine is: processors, memory, mounts.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::model::Model;
use super::super::screen::{BAD, FAINT, GOOD, WARN};
use super::super::tables::{number, text};
use super::network::sparkline;
use crate::cli::cell::{bytes, printable, shortened, width};
use crate::cli::snapshot::Row;

/// How many mounts are shown: the fullest.
const MOUNTS: usize = 4;
/// Room for a gauge's name.
const LABEL: usize = 10;
/// Room for what stands behind its bar.
const VALUE: usize = 14;
/// A bar beside which there is room for that.
const NARROWEST_BAR: usize = 10;

/// The pane's lines, `wide` columns each; none if the host has no such tables.
pub(in super::super) fn lines(model: &Model, wide: u16) -> Vec<Line<'static>> {
    let wide = usize::from(wide);
    let mut lines = Vec::new();
    if let Some((_, load)) = model.tables.called("load", &["cpu_percent"])
        && let Some(row) = load.rows().next()
    {
        let percent = number(row, "cpu_percent");
        let cpus = number(row, "cpus");
        let value = if cpus > 0.0 { format!("of {cpus:.0} cpus") } else { String::new() };
        lines.push(gauge("cpu", percent, &value, wide));
        let room = wide.saturating_sub(LABEL + 16);
        let loads = ["load_1", "load_5", "load_15"].map(|column| format!("{:.2}", number(row, column))).join(" ");
        lines.push(Line::from(vec![
            Span::styled(padded("load", LABEL), FAINT),
            Span::styled(padded(&sparkline(model.cpu.iter().copied(), room, Some(100.0)), room), GOOD),
            Span::raw(format!("{loads:>16}")),
        ]));
    }
    if let Some((_, memory)) = model.tables.called("memory", &["used_percent"])
        && let Some(row) = memory.rows().next()
    {
        let value = format!("of {}", bytes(number(row, "total_bytes")));
        lines.push(gauge("memory", number(row, "used_percent"), &value, wide));
    }
    if let Some((_, mounts)) = model.tables.called("mounts", &["path", "used_percent"]) {
        let mut rows: Vec<_> = mounts.rows().filter(|row| is_worth_a_look(row)).collect();
        rows.sort_by(|a, b| number(b, "used_percent").total_cmp(&number(a, "used_percent")));
        for row in rows.into_iter().take(MOUNTS) {
            let value = format!("of {}", bytes(number(row, "total_bytes")));
            lines.push(gauge(text(row, "path"), number(row, "used_percent"), &value, wide));
        }
    }
    lines
}

/// Nobody runs out of room on a mount that has none, or that is empty.
fn is_worth_a_look(mount: &Row) -> bool {
    number(mount, "total_bytes") > 0.0 && (number(mount, "used_percent") >= 0.5 || text(mount, "path") == "/")
}

/// `name ━━━━━━━─── 71% of 8 GiB`.
fn gauge(name: &str, percent: f64, value: &str, wide: usize) -> Line<'static> {
    let percent = percent.clamp(0.0, 999.0);
    let style = match percent {
        ..70.0 => GOOD,
        70.0..90.0 => WARN,
        _ => BAD,
    };
    // A bar is worth more than what stands behind it.
    let value_room = if wide >= LABEL + 5 + VALUE + NARROWEST_BAR { VALUE } else { 0 };
    let room = wide.saturating_sub(LABEL + 5 + value_room);
    let full = ((percent.min(100.0) / 100.0) * room as f64).round() as usize;
    Line::from(vec![
        Span::styled(padded(&end_of(&printable(name), LABEL - 1), LABEL), FAINT),
        Span::styled("━".repeat(full), style),
        Span::styled("─".repeat(room.saturating_sub(full)), FAINT),
        Span::styled(format!("{percent:>4.0}%"), Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(format!(" {}", shortened(value, value_room.saturating_sub(1))), FAINT),
    ])
}

/// The last part of a path tells more than its first.
fn end_of(path: &str, most: usize) -> String {
    if width(path) <= most {
        return path.to_owned();
    }
    let mut end: Vec<char> = path.chars().rev().take(most.saturating_sub(1)).collect();
    end.reverse();
    format!("…{}", end.into_iter().collect::<String>())
}

fn padded(text: &str, wide: usize) -> String {
    let text = shortened(text, wide);
    let pad = wide.saturating_sub(width(&text));
    format!("{text}{}", " ".repeat(pad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_has_its_width_whatever_it_shows() {
        for (name, percent) in
            [("/", 0.0), ("/a/very/long/path", 55.5), ("memory", 100.0), ("cpu", 1e300), ("x", f64::NAN)]
        {
            let line = gauge(name, percent, "of 8.0 GiB", 44);
            let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
            assert!((25..=45).contains(&width(&text)), "{text:?}");
        }
        assert_eq!(end_of("/srv/data/archive", 9), "…/archive");
    }
}
