//! Durations as people write them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::time::Duration;

/// For serde's `deserialize_with`; the forms are those of [`read_duration`].
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    read_duration(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// `"1m 30s"`, `"500ms"`, or a number of seconds; a number may be a text, as simple clients send it.
pub(crate) fn read_duration(value: &Value) -> Result<Duration, String> {
    let seconds = |seconds: Option<f64>| seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    match value {
        Value::String(text) => match seconds(text.trim().parse().ok()) {
            Some(duration) => Ok(duration),
            None => humantime::parse_duration(text)
                .map_err(|e| format!("{text:?} is no duration like \"10s\" or \"1m 30s\": {e}")),
        },
        Value::Number(number) => seconds(number.as_f64()).ok_or_else(|| format!("{number} is no number of seconds")),
        other => Err(format!("{other} is no duration like \"10s\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn people_and_simple_clients_write_durations() {
        let good =
            [(json!("1m 30s"), 90_000), (json!(0), 0), (json!(0.5), 500), (json!("2"), 2_000), (json!("10ms"), 10)];
        for (text, milliseconds) in good {
            assert_eq!(read_duration(&text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(
            read_duration(&json!("often")).unwrap_err(),
            "\"often\" is no duration like \"10s\" or \"1m 30s\": expected number at 0"
        );
        assert_eq!(read_duration(&json!(-1)).unwrap_err(), "-1 is no number of seconds");
        assert_eq!(read_duration(&json!([])).unwrap_err(), "[] is no duration like \"10s\"");
    }
}
