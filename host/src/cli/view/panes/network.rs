//! The pane with the interfaces' traffic.

use std::collections::VecDeque;

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::model::{Model, Traffic};
use super::super::screen::{ACCENT, FAINT, GOOD};
use crate::cli::cell::{bytes, printable, shortened, width};

/// How many interfaces are shown: the busiest.
const INTERFACES: usize = 3;
/// Room for an interface's name.
const LABEL: usize = 10;
/// Room for a rate.
const RATE: usize = 13;

/// The pane's lines, two an interface; none if the host has no such table.
pub(in super::super) fn lines(model: &Model, wide: u16) -> Vec<Line<'static>> {
    let mut interfaces: Vec<(&String, &Traffic)> = model.traffic.iter().collect();
    let total = |traffic: &Traffic| traffic.received.iter().chain(&traffic.sent).sum::<f64>();
    interfaces.sort_by(|a, b| total(b.1).total_cmp(&total(a.1)));
    // Most machines have some that nothing ever passes.
    let busy = interfaces.iter().filter(|(_, traffic)| total(traffic) > 0.0).count();
    interfaces.truncate(busy.clamp(1, INTERFACES));
    let room = usize::from(wide).saturating_sub(LABEL + 2 + RATE);
    let mut lines = Vec::new();
    for (name, traffic) in interfaces {
        let name = shortened(&printable(name), LABEL - 1);
        let name = format!("{name}{}", " ".repeat(LABEL.saturating_sub(width(&name))));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        lines.push(line(Span::styled(name, bold), "↓ ", &traffic.received, room, GOOD));
        lines.push(line(Span::raw(" ".repeat(LABEL)), "↑ ", &traffic.sent, room, ACCENT));
    }
    lines
}

fn line(label: Span<'static>, arrow: &'static str, rates: &VecDeque<f64>, room: usize, style: Style) -> Line<'static> {
    let rate = rates.back().copied().unwrap_or_default().max(0.0);
    let curve = sparkline(rates.iter().copied(), room, None);
    Line::from(vec![
        label,
        Span::styled(arrow, FAINT),
        Span::styled(format!("{curve:>room$}"), style),
        Span::raw(format!("{:>RATE$}", format!("{}/s", bytes(rate)))),
    ])
}

/// The last `room` values as blocks of their height, to the scale of `most` or of the largest.
pub(super) fn sparkline(values: impl DoubleEndedIterator<Item = f64>, room: usize, most: Option<f64>) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut values: Vec<f64> = values.rev().take(room).collect();
    values.reverse();
    let most = most.unwrap_or_else(|| values.iter().copied().fold(1.0, f64::max));
    let block = |value: f64| {
        let height = (value / most).clamp(0.0, 1.0) * (BLOCKS.len() - 1) as f64;
        BLOCKS[(height.round() as usize).min(BLOCKS.len() - 1)]
    };
    values.into_iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_to_scale_and_no_longer_than_its_room() {
        assert_eq!(sparkline([0.0, 50.0, 100.0].into_iter(), 10, Some(100.0)), "▁▅█");
        assert_eq!(sparkline((0..100).map(f64::from), 3, None), "███");
        assert_eq!(sparkline([0.0, 0.0].into_iter(), 3, None), "▁▁");
        assert_eq!(sparkline([f64::NAN, -1.0, 1e300].into_iter(), 3, Some(1.0)), "▁▁█");
        assert_eq!(sparkline([1.0].into_iter(), 0, None), "");
    }
}
