//! An event on a line.

use anstyle::Style;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;

use crate::cli::cell::{field, fields, printable, shortened, shown, width};
use crate::cli::output::{BOLD, DIM, GREEN, Paint, RED, YELLOW};
use crate::event::PREFIX;

/// Types' names stand in so many columns, if they fit.
const TYPES: usize = 22;
/// Origins.
const ORIGINS: usize = 12;

/// What all events may have outside their data, by its CloudEvents name and by the one that people know.
const OUTSIDE: [(&str, &str); 6] = [
    ("resourcename", "name"),
    ("eventstatus", "status"),
    ("dataresourceid", "data_resource_id"),
    ("userid", "user_id"),
    ("body", "body"),
    ("sender", "sender"),
];

/// The event: when, what, to what, and what it says; `most` columns wide at most.
pub(super) fn line(event: &Value, zone: &TimeZone, most: Option<usize>, paint: Paint) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let time = text("time").parse::<Timestamp>().map_or_else(|_| text("time").to_owned(), |time| when(time, zone));
    let kind = printable(text("type").strip_prefix(PREFIX).unwrap_or(text("type")));
    // Of what says nothing else it is who said it.
    let origin = printable(event["subject"].as_str().unwrap_or(text("source")));
    let parts =
        [(time, 0, DIM), (kind, TYPES, style(event).bold()), (origin, ORIGINS, BOLD), (says(event), 0, Style::new())];
    let (mut line, mut room) = (String::new(), most.unwrap_or(usize::MAX));
    for (at, (text, column, style)) in parts.into_iter().enumerate() {
        let gap = if at == 0 { 0 } else { 2 };
        if text.is_empty() || room <= gap {
            continue;
        }
        let text = shortened(&text, room - gap);
        let wide = width(&text).max(column.min(room - gap));
        line.push_str(&" ".repeat(gap));
        line.push_str(&paint.put(style, &text));
        line.push_str(&" ".repeat(wide - width(&text)));
        room -= gap + wide;
    }
    line.trim_end().to_owned()
}

fn when(time: Timestamp, zone: &TimeZone) -> String {
    let zoned: Zoned = time.to_zoned(zone.clone());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// What it says besides: in words first, then field by field.
fn says(event: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(description) = event["description"].as_str().filter(|text| !text.is_empty()) {
        parts.push(printable(description));
    }
    let is_ours = event.get("buswaynode").is_some();
    for (attribute, name) in OUTSIDE {
        // Of this host's events the origin says enough.
        if let Some(value) = event.get(attribute).filter(|_| attribute != "sender" || !is_ours) {
            parts.push(field(name, value));
        }
    }
    match &event["data"] {
        Value::Object(data) if !data.is_empty() => parts.push(fields(data)),
        Value::Null | Value::Object(_) => {}
        other => parts.push(field("data", other)),
    }
    if let Some(base64) = event["data_base64"].as_str() {
        parts.push(format!("data={}", shown("bytes", &(base64.len() / 4 * 3).into())));
    }
    if !is_ours {
        parts.extend(event.get("source").map(|source| field("source", source)));
    }
    parts.join(" ")
}

/// Red is what went wrong, yellow what ended or waits, green what is well.
fn style(event: &Value) -> Style {
    let kind = event["type"].as_str().unwrap_or_default();
    let state = event["data"]["state"].as_str().unwrap_or_default();
    if event["eventstatus"] == "ERROR" {
        return RED;
    }
    match (kind.strip_prefix(PREFIX).unwrap_or(kind), state) {
        ("ErrorLoggingEvent" | "CriticalLoggingEvent" | "DatasourceUnavailableEvent", _) => RED,
        (_, "ERROR" | "REFUSED" | "QUARANTINED" | "ROLLED_BACK") => RED,
        (_, "TERMINATED" | "STOPPED" | "HELD_BACK" | "RETIRED") | ("SchemaChangedEvent", _) => YELLOW,
        (_, "NEW" | "READY" | "ACTIVE" | "STARTED" | "LOADED" | "SWITCHED" | "VETTED" | "RELEASED") => GREEN,
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(event: &Value, most: Option<usize>) -> String {
        line(event, &TimeZone::UTC, most, Paint::default())
    }

    fn lifecycle() -> Value {
        json!({
            "specversion": "1.0", "id": "1", "source": "/busway/alpha", "type": "busway.ResourceLifecycleEvent",
            "subject": "rack.7", "time": "2026-01-31T12:00:00.123Z", "sender": "keeper", "buswaynode": "alpha",
            "resourcename": "a rack", "description": "it is\non", "data": {"state": "ACTIVE", "count": 2},
        })
    }

    #[test]
    fn when_what_to_what_and_what_it_says() {
        assert_eq!(
            plain(&lifecycle(), None),
            "2026-01-31 12:00:00  ResourceLifecycleEvent  rack.7        it is\\non name=\"a rack\" state=ACTIVE count=2"
        );
        let foreign = json!({"type": "com.example.door", "subject": "front", "source": "/x", "time": "2026-01-31T12:00:00Z",
            "sender": "s", "data": [1]});
        assert_eq!(
            plain(&foreign, None),
            "2026-01-31 12:00:00  com.example.door        front         sender=s data=[1] source=/x"
        );
        let of_itself = json!({"type": "com.example.door", "source": "/x", "time": "2026-01-31T12:00:00Z"});
        assert_eq!(plain(&of_itself, None), "2026-01-31 12:00:00  com.example.door        /x            source=/x");
        let bare = json!({"type": "busway.ScheduleEvent", "subject": "1001", "time": "2026-01-31T12:00:00Z", "buswaynode": "a"});
        assert_eq!(plain(&bare, None), "2026-01-31 12:00:00  ScheduleEvent           1001");
    }

    #[test]
    fn every_line_fits_whatever_the_width() {
        for most in 1..120 {
            let line = plain(&lifecycle(), Some(most));
            assert!(width(&line) <= most, "{most}: {line}");
        }
        assert_eq!(plain(&lifecycle(), Some(40)), "2026-01-31 12:00:00  ResourceLifecycleE…");
    }

    #[test]
    fn what_went_wrong_is_red() {
        for (kind, state, expected) in [
            ("busway.ErrorLoggingEvent", "", RED),
            ("busway.PluginLifecycleEvent", "REFUSED", RED),
            ("busway.PluginLifecycleEvent", "HELD_BACK", YELLOW),
            ("busway.ResourceLifecycleEvent", "NEW", GREEN),
            ("busway.ScheduleEvent", "", Style::new()),
        ] {
            assert_eq!(style(&json!({"type": kind, "data": {"state": state}})), expected, "{kind} {state}");
        }
        let painted = line(&lifecycle(), &TimeZone::UTC, Some(60), Paint::new(true));
        assert!(painted.contains("\u{1b}[32m") && painted.contains("\u{1b}[2m"), "{painted:?}");
    }
}
