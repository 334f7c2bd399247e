//! The live view's layout: which panes there is room for.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph};

use super::model::Model;
use super::panes::{change_log, gauges, main_table, network, table_list};
use super::tables::{file_name, number, text};
use crate::cli::cell::printable;

/// Names, keys: what the eye should find first.
pub(super) const ACCENT: Style = Style::new().fg(Color::Cyan);
/// Frames and what is only there to be found when looked for.
pub(super) const FAINT: Style = Style::new().fg(Color::DarkGray);
/// What came, what is well.
pub(super) const GOOD: Style = Style::new().fg(Color::Green);
/// What changed, what needs a look.
pub(super) const WARN: Style = Style::new().fg(Color::Yellow);
/// What went, what failed.
pub(super) const BAD: Style = Style::new().fg(Color::Red);

/// How the model is to be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// How long the view has been there.
    pub(super) now: Duration,
    /// Whether it stands still.
    pub(super) paused: bool,
    /// Whether there is colour.
    pub(super) color: bool,
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, look: Look) {
    let area = frame.area();
    let header = if area.height >= 8 { 2 } else { u16::from(area.height >= 3) };
    let footer = u16::from(area.height >= 6);
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(header), Constraint::Min(0), Constraint::Length(footer)]).areas(area);
    draw_header(frame, head, model, look);
    draw_body(frame, body, model, look);
    draw_footer(frame, foot);
    if !look.color {
        without_color(frame.buffer_mut());
    }
}

fn draw_body(frame: &mut Frame<'_>, body: Rect, model: &Model, look: Look) {
    let side = match body.width {
        0..90 => 0,
        90..130 => 36,
        _ => 46,
    };
    let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(side)]).areas(body);
    let log = if left.height >= 14 { (left.height / 3).clamp(5, 14) } else { 0 };
    let [main, news] = Layout::vertical([Constraint::Min(0), Constraint::Length(log)]).areas(left);
    main_table::draw(frame, main, model, look);
    if log > 0 {
        change_log::draw(frame, news, model);
    }
    if side == 0 {
        return;
    }
    // What is wanted at most; the list of tables takes what is left, and gives way to none.
    let meters = gauges::lines(model, side.saturating_sub(4));
    let rates = network::lines(model, side.saturating_sub(4));
    let framed = |lines: &[Line<'_>]| if lines.is_empty() { 0 } else { lines.len() as u16 + 2 };
    let room = right.height.saturating_sub(5);
    let meters_height = if framed(&meters) <= room { framed(&meters) } else { 0 };
    let rates_height = if framed(&rates) <= room - meters_height { framed(&rates) } else { 0 };
    let [first, second, third] =
        Layout::vertical([Constraint::Length(meters_height), Constraint::Length(rates_height), Constraint::Min(0)])
            .areas(right);
    for (area, title, lines) in [(first, "machine", meters), (second, "network", rates)] {
        if area.height > 0 {
            frame.render_widget(Paragraph::new(lines).block(pane(title)), area);
        }
    }
    table_list::draw(frame, third, model, look);
}

/// A frame with a title.
pub(super) fn pane(title: &str) -> Block<'_> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(FAINT)
        .title(Span::styled(format!(" {title} "), ACCENT.add_modifier(Modifier::BOLD)))
        .padding(ratatui::widgets::Padding::horizontal(1))
}

fn draw_header(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look) {
    let state = match (&model.away, look.paused) {
        (Some(why), _) => Span::styled(format!(" ○ {} ", printable(why)), BAD),
        (None, true) => Span::styled(" ‖ paused ", WARN.add_modifier(Modifier::BOLD)),
        (None, false) if !model.connected => Span::styled(" ○ connecting ", WARN),
        (None, false) => Span::styled(" ● live ", GOOD),
    };
    let up = humantime::format_duration(Duration::from_secs(look.now.as_secs())).to_string();
    let first = Line::from(vec![
        Span::styled(" busway ", Style::new().fg(Color::Black).bg(Color::Cyan).add_modifier(Modifier::BOLD)),
        Span::styled(format!(" {} ", model.title), Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(format!(" {}  {up}", printable(&model.address)), FAINT),
    ]);
    let lines = vec![first, Line::from(plugins(model))];
    frame.render_widget(Paragraph::new(lines), area);
    let width = (state.width() as u16).min(area.width);
    let corner = Rect { x: area.right() - width, width, height: area.height.min(1), ..area };
    frame.render_widget(Paragraph::new(state).alignment(Alignment::Right), corner);
}

/// Each plugin with its version and generation, then what is amiss.
fn plugins(model: &Model) -> Vec<Span<'static>> {
    let mut spans = vec![Span::raw(" ")];
    let Some(plugins) = model.tables.of_host("plugins") else { return spans };
    let (serving, others): (Vec<_>, Vec<_>) = plugins.rows().partition(|row| text(row, "state") == "serving");
    for row in serving {
        spans.push(Span::styled(printable(text(row, "driver")), Style::new().add_modifier(Modifier::BOLD)));
        let generation = number(row, "generation");
        spans.push(Span::styled(format!(" {} ", printable(text(row, "version"))), FAINT));
        let reloaded = if generation > 1.0 { WARN } else { FAINT };
        spans.push(Span::styled(format!("generation {generation:.0}"), reloaded));
        spans.push(Span::styled("  ·  ", FAINT));
    }
    for row in others {
        spans.push(Span::styled(format!("{} {}", file_name(text(row, "file")), printable(text(row, "state"))), BAD));
        spans.push(Span::styled("  ·  ", FAINT));
    }
    if let Some(sources) = model.tables.of_host("datasources") {
        let failing = sources.rows().filter(|row| ["failed", "hung"].contains(&text(row, "state"))).count();
        let plural = if sources.len() == 1 { "" } else { "s" };
        spans.push(Span::styled(format!("{} datasource{plural}", sources.len()), FAINT));
        if failing > 0 {
            spans.push(Span::styled(format!(", {failing} failing"), BAD));
        }
    } else {
        spans.pop();
    }
    spans
}

fn draw_footer(frame: &mut Frame<'_>, area: Rect) {
    let keys = [("q", "quit"), ("tab", "next table"), ("↑↓", "scroll"), ("p", "pause")];
    let mut spans = vec![Span::raw(" ")];
    for (key, does) in keys {
        spans.push(Span::styled(key, ACCENT.add_modifier(Modifier::BOLD)));
        spans.push(Span::styled(format!(" {does}   "), FAINT));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn without_color(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        // What was told apart by its ground alone is turned round.
        if cell.bg != Color::Reset {
            cell.modifier |= Modifier::REVERSED;
        }
        cell.fg = Color::Reset;
        cell.bg = Color::Reset;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::feed::FeedEvent;
    use super::super::model::Moment;
    use super::super::tables::tests::{snapshot, step};
    use super::*;
    use crate::cli::table_name::TableName;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Value, json};

    fn at(milliseconds: u64) -> Moment {
        Moment { since: Duration::from_millis(milliseconds), clock: "12:00:00".to_owned() }
    }

    /// A host with something in every pane.
    pub(crate) fn busy() -> Model {
        let mut model = Model::new("demo", "/run/b.sock");
        let processes = json!([
            {"pid":1,"name":"init","user":"root","state":"sleeping","threads":1,"cpu_percent":0.0,"memory_bytes":9_000_000},
            {"pid":70,"name":"compiler","user":"ada","state":"running","threads":8,"cpu_percent":88.25,"memory_bytes":700_000_000},
            {"pid":71,"name":"database","user":"db","state":"sleeping","threads":30,"cpu_percent":0.0,"memory_bytes":900_000_000}]);
        let plugins = json!([
            {"file":"system.so","driver":"system","version":"0.1.0","state":"serving","generation":2},
            {"file":"notes.so","driver":null,"version":null,"state":"refused","generation":null}]);
        let events = vec![
            FeedEvent::Connected,
            snapshot("_host", "plugins", &["file"], plugins),
            snapshot("_host", "datasources", &["name"], json!([{"name":"system","state":"running"}])),
            snapshot(
                "_host",
                "tables",
                &["service", "table"],
                json!([
                {"service":"system","table":"processes","rows":3,"to":1,"error":null},
                {"service":"system","table":"load","rows":1,"to":1,"error":null},
                {"service":"files","table":"orders","rows":4,"to":9,"error":"line 3: not a number"}]),
            ),
            snapshot(
                "system",
                "load",
                &[],
                json!([{"load_1":0.5,"load_5":0.25,"load_15":0.1,"cpus":2,"cpu_percent":45.0}]),
            ),
            snapshot(
                "system",
                "memory",
                &[],
                json!([{"total_bytes":8_000_000_000_u64,"used_bytes":6_000_000_000_u64,"used_percent":75.0}]),
            ),
            snapshot(
                "system",
                "mounts",
                &["path"],
                json!([{"path":"/","total_bytes":1000,"used_bytes":950,"used_percent":95.0}]),
            ),
            snapshot(
                "system",
                "interfaces",
                &["name"],
                json!([{"name":"eth0","received_bytes_per_second":2048.0,"sent_bytes_per_second":0.0}]),
            ),
            snapshot("system", "processes", &["pid"], processes),
            step("system", "processes", 1, json!({"added":[{"pid":99,"name":"newcomer"}]})),
        ];
        for event in events {
            model.apply(event, &at(1000));
        }
        model
    }

    /// The screen as text.
    pub(crate) fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let look = Look { now: Duration::from_millis(1100), paused: false, color: false };
        terminal.draw(|frame| draw(frame, model, look)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_large_terminal_shows_everything() {
        let screen = screen(&busy(), 120, 30);
        assert_eq!(screen, include_str!("screen_120x30.txt").trim_end_matches('\n'), "\n{screen}\n");
    }

    #[test]
    fn a_small_terminal_shows_the_table() {
        let screen = screen(&busy(), 60, 10);
        assert!(
            screen.contains("system/processes") && screen.contains("compiler") && !screen.contains("machine"),
            "{screen}"
        );
    }

    #[test]
    fn no_size_and_no_table_is_too_odd() {
        let mut odd = Model::new("top", "here");
        for (table, rows) in [
            ("processes", json!([{"pid": null}, {"cpu_percent": "much", "memory_bytes": [1]}])),
            ("load", json!([{"cpu_percent": -4}])),
            ("memory", json!([{"used_percent": 1e300, "total_bytes": null}])),
            ("mounts", json!([{"path": 7, "used_percent": null}, {}])),
            ("interfaces", json!([{"name": null, "received_bytes_per_second": -1}])),
            ("empty", json!([])),
        ] {
            odd.apply(snapshot("odd", table, &["nothing"], rows), &at(0));
        }
        for (service, table, rows) in [
            ("_host", "tables", json!([{"service": 1}, {"table": "\u{1b}[2J"}])),
            ("_host", "plugins", json!([{"state": "serving"}, {"file": "日本語"}])),
            ("_host", "datasources", Value::Array(Vec::new())),
        ] {
            odd.apply(snapshot(service, table, &[], rows), &at(0));
        }
        for model in [&mut Model::new("top", "here"), &mut odd, &mut busy()] {
            for (width, height) in [(1, 1), (2, 3), (5, 40), (40, 5), (20, 8), (91, 9), (95, 16), (140, 50), (300, 4)] {
                for _ in 0..12 {
                    screen(model, width, height);
                    model.select(1);
                    model.scroll(1);
                }
            }
            model.apply(FeedEvent::Gone(TableName::new("system", "processes")), &at(0));
            screen(model, 100, 30);
        }
    }

    #[test]
    fn without_a_host_the_reason_is_shown() {
        let mut model = busy();
        model.apply(FeedEvent::Away("there is no such socket".to_owned()), &at(2000));
        assert!(screen(&model, 100, 20).lines().next().unwrap().ends_with("○ there is no such socket"));
    }
}
