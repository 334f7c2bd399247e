//! The pane with the news, the latest at its foot.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::model::Model;
use super::super::screen::{BAD, FAINT, GOOD, WARN, pane};
use crate::cli::cell::{printable, shortened, width};

/// Draws as many of the last lines as there is room for.
pub(in super::super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let block = pane("changes");
    let inner = block.inner(area);
    let room = usize::from(inner.height);
    let wide = usize::from(inner.width);
    let lines: Vec<Line<'_>> = model
        .log
        .iter()
        .skip(model.log.len().saturating_sub(room))
        .map(|entry| {
            let line = &entry.line;
            let (sign, text) = match line.sign {
                // Of the host itself: a reload, a failure. That must not be missed.
                _ if line.name.is_hidden() => (WARN, WARN.add_modifier(Modifier::BOLD)),
                '+' => (GOOD, GOOD),
                '-' => (BAD, BAD),
                '~' => (WARN, Style::new()),
                _ => (FAINT, FAINT),
            };
            let name = printable(&line.name.to_string());
            let left = wide.saturating_sub(width(&entry.at.clock) + 4 + width(&name));
            Line::from(vec![
                Span::styled(entry.at.clock.clone(), FAINT),
                Span::styled(format!(" {} ", line.sign), sign.add_modifier(Modifier::BOLD)),
                Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
                Span::styled(format!(" {}", shortened(&line.text, left)), text),
            ])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
