//! How long ago something was.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// `3s`, `5m`, `2h 10m`, `4d`: how long before `now` that was. None if it is no time.
pub(crate) fn age(time: &Value, now: Timestamp) -> Option<String> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    let seconds = u64::try_from(now.duration_since(time).as_secs()).unwrap_or(0);
    Some(span(Duration::from_secs(seconds)))
}

/// A time as people say it: two units at most.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |many: u64, unit: &str, rest: u64, less: &str| match rest {
        0 => format!("{many}{unit}"),
        rest => format!("{many}{unit} {rest}{less}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => two(minutes, "m", seconds % 60, "s"),
        (0, hours, minutes) => two(hours, "h", minutes % 60, "m"),
        (days, hours, _) => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_said_in_two_units() {
        for (seconds, said) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (7_860, "2h 11m"), (90_000, "1d 1h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), said);
        }
        let now: Timestamp = "2026-11-22T01:00:10Z".parse().unwrap();
        assert_eq!(age(&json!("2026-11-22T01:00:00Z"), now).as_deref(), Some("10s"));
        // Clocks differ.
        assert_eq!(age(&json!("2026-11-22T02:00:00Z"), now).as_deref(), Some("0s"));
        assert_eq!((age(&json!(null), now), age(&json!("soon"), now)), (None, None));
    }
}
