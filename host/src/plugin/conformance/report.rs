//! What the checks found, and how other programs read it.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// As it must.
    Passed,
    /// Not as it must.
    Failed,
    /// It could not be done, or there is nothing to check.
    Skipped,
}

impl Outcome {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why it failed or was skipped; what else is worth knowing.
    pub(crate) reason: Option<String>,
    /// The same in at most five lines, where that says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) explanation: Option<String>,
}

impl Finding {
    pub(super) fn passed() -> Self {
        Self { outcome: Outcome::Passed, reason: None, explanation: None }
    }

    pub(super) fn noted(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, reason: Some(reason.into()), explanation: None }
    }

    /// One that failed.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, reason: Some(reason.into()), explanation: None }
    }

    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, reason: Some(reason.into()), explanation: None }
    }
}

/// A check that was done, or skipped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Done {
    /// Its name, which stays.
    pub(crate) name: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub(crate) finding: Finding,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub(crate) took: Duration,
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// All that was found of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// The driver, if the file says.
    pub(crate) driver: Option<String>,
    /// Its version.
    pub(crate) version: Option<String>,
    /// In order.
    pub(crate) checks: Vec<Done>,
}

impl Report {
    /// Those that failed.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        self.with(Outcome::Failed).map(|done| done.name).collect()
    }

    fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Done> {
        self.checks.iter().filter(move |done| done.finding.outcome == outcome)
    }

    /// How many there are of each outcome, in words.
    pub(crate) fn summary(&self) -> String {
        let count = |outcome: Outcome| format!("{} {}", self.with(outcome).count(), outcome.word());
        [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(count).join(", ")
    }

    /// As CI servers read it.
    pub(crate) fn junit(&self) -> String {
        let of = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
        let (driver, version) = (of(&self.driver), of(&self.version));
        let all: Duration = self.checks.iter().map(|done| done.took).sum();
        let (tests, time) = (self.checks.len(), all.as_secs_f64());
        let (failures, skipped) = (self.with(Outcome::Failed).count(), self.with(Outcome::Skipped).count());
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{driver} {version}\" \
             tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{time:.3}\">\n"
        );
        for Done { name, finding, took } in &self.checks {
            let reason = of(&finding.reason);
            let inner = match finding.outcome {
                Outcome::Passed if reason.is_empty() => String::new(),
                Outcome::Passed => format!("<system-out>{reason}</system-out>"),
                Outcome::Failed if finding.explanation.is_some() => {
                    format!("<failure message=\"{reason}\">{}</failure>", of(&finding.explanation))
                }
                Outcome::Failed => format!("<failure message=\"{reason}\"/>"),
                Outcome::Skipped => format!("<skipped message=\"{reason}\"/>"),
            };
            let took = took.as_secs_f64();
            // Writing to a String never fails.
            let _ = writeln!(
                text,
                "    <testcase classname=\"{driver}\" name=\"{name}\" time=\"{took:.3}\">{inner}</testcase>"
            );
        }
        text.push_str("  </testsuite>\n</testsuites>\n");
        text
    }
}

/// As text in XML, which can't hold most control characters at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_is_sound_whatever_a_driver_says() {
        let done = |name, finding| Done { name, finding, took: Duration::from_millis(1500) };
        let report = Report {
            driver: Some("one".to_owned()),
            version: Some("1.0.0".to_owned()),
            checks: vec![
                done("a", Finding::passed()),
                done("b", Finding::failed("it says \"<no>\" & \u{1b}[31m\nmore")),
                done("c", Finding::skipped("it has no state")),
                done("d", Finding::noted("a poll is over in 2 ms")),
            ],
        };
        assert_eq!(report.failed(), ["b"]);
        assert_eq!(report.summary(), "2 passed, 1 failed, 1 skipped");
        assert_eq!(
            report.junit(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"one 1.0.0\" tests=\"4\" \
             failures=\"1\" errors=\"0\" skipped=\"1\" time=\"6.000\">\n    \
             <testcase classname=\"one\" name=\"a\" time=\"1.500\"></testcase>\n    \
             <testcase classname=\"one\" name=\"b\" time=\"1.500\"><failure message=\"it says &quot;&lt;no&gt;&quot; &amp; \
             \u{fffd}[31m&#10;more\"/></testcase>\n    \
             <testcase classname=\"one\" name=\"c\" time=\"1.500\"><skipped message=\"it has no state\"/></testcase>\n    \
             <testcase classname=\"one\" name=\"d\" time=\"1.500\"><system-out>a poll is over in 2 \
             ms</system-out></testcase>\n  </testsuite>\n</testsuites>\n"
        );
    }
}
