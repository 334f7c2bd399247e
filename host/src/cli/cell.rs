//! A value as people read it.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::snapshot::Row;

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// The value of a column in few characters, on one line.
pub(crate) fn shown(column: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Number(number) => {
            let approximate = number.as_f64().unwrap_or_default();
            match unit_of(column) {
                Some(per) => format!("{}{per}", bytes(approximate)),
                // One decimal, so that a column of them stands still.
                None if column.ends_with("_percent") => format!("{approximate:.1}"),
                None if number.is_f64() => float(approximate),
                None => number.to_string(),
            }
        }
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => printable(&value.to_string()),
    }
}

/// Every column of a row as `name=value`.
pub(crate) fn fields(row: &Row) -> String {
    row.iter().map(|(column, value)| field(column, value)).collect::<Vec<_>>().join(" ")
}

/// `name=value`, the value quoted if it would not be clear where it ends.
pub(crate) fn field(column: &str, value: &Value) -> String {
    let text = shown(column, value);
    match value {
        Value::String(_) if text.is_empty() || text.contains([' ', '=', '"']) => format!("{column}={text:?}"),
        Value::Number(_) => format!("{column}={}", text.replace(' ', "")),
        _ => format!("{column}={text}"),
    }
}

/// So many bytes, in the unit that suits them.
pub(crate) fn bytes(count: f64) -> String {
    let (mut count, mut unit) = (count, 0);
    while count.abs() >= 1023.95 && unit + 1 < UNITS.len() {
        count /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count:.0} B") } else { format!("{count:.1} {}", UNITS[unit]) }
}

/// `text` without anything that moves a terminal's cursor or starts a line.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        // Marks that turn the direction of writing could make a line look like another.
        if letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// `1 row`, `7 rows`.
pub(crate) fn count_of(rows: usize) -> String {
    count_of_things(rows, "row")
}

/// `1 table`, `7 tables`.
pub(crate) fn count_of_things(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// How many columns of a terminal `text` takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `most` columns, its end replaced by `…` if it is longer.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = most.saturating_sub(1);
    for letter in text.chars() {
        match left.checked_sub(letter.width().unwrap_or(0)) {
            Some(rest) => left = rest,
            None => break,
        }
        kept.push(letter);
    }
    if most > 0 {
        kept.push('…');
    }
    kept
}

/// What follows a byte count in that column, if it has byte counts.
fn unit_of(column: &str) -> Option<&'static str> {
    if column == "bytes" || column.ends_with("_bytes") {
        Some("")
    } else if column.ends_with("bytes_per_second") {
        Some("/s")
    } else {
        None
    }
}

fn float(value: f64) -> String {
    if value != 0.0 && !(0.001..1e15).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.3}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_short_and_on_one_line() {
        for (column, value, expected) in [
            ("a", json!(null), "-"),
            ("a", json!("two\nlines\u{1b}[2J"), "two\\nlines\\u{1b}[2J"),
            ("a", json!("\u{202e}gpj.exe"), "\\u{202e}gpj.exe"),
            ("a", json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
            ("a", json!(12.0), "12"),
            ("a", json!(0.123_456), "0.123"),
            ("used_percent", json!(7), "7.0"),
            ("a", json!(-0.000_000_1), "-1.000e-7"),
            ("a", json!(1e300), "1.000e300"),
            ("a", json!({"b": [1, "c"]}), "{\"b\":[1,\"c\"]}"),
            ("memory_bytes", json!(0), "0 B"),
            ("memory_bytes", json!(12_897_485), "12.3 MiB"),
            ("size_bytes", json!(1_048_575), "1.0 MiB"),
            ("bytes", json!(1023), "1023 B"),
            ("received_bytes_per_second", json!(2048.0), "2.0 KiB/s"),
            ("total_bytes", json!("many"), "many"),
        ] {
            assert_eq!(shown(column, &value), expected, "{value}");
        }
    }

    #[test]
    fn fields_show_where_they_end() {
        let row = json!({"pid": 7, "name": "a b", "memory_bytes": 2048, "x": "", "y": null});
        assert_eq!(fields(row.as_object().unwrap()), "pid=7 name=\"a b\" memory_bytes=2.0KiB x=\"\" y=-");
    }

    #[test]
    fn long_text_is_cut_by_the_width_of_its_letters() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
        assert_eq!(shortened("日本語", 5), "日本…");
        assert_eq!(shortened("日本語", 4), "日…");
        assert_eq!(shortened("abc", 0), "");
    }
}
