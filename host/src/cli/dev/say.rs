//! What is told, for people and for programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use tracing::Level;

use super::build::{Build, file_name};
use super::log::Record;
use super::rows::Rows;
use super::stand::word;
use super::{Place, Told};
use crate::cli::cell::{fields, printable};
use crate::cli::failure::Failure;
use crate::cli::output::{BOLD, DIM, Format, GREEN, Output, RED, YELLOW};
use crate::plugin::conformance::Report as Suite;
use crate::plugin::{Outcome, Report};

/// On a terminal words end where cargo's do; so much stands before a row's sign.
pub(super) const MARGIN: usize = 11;
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Says one thing.
pub(super) struct Say<'a> {
    output: &'a mut Output,
}

impl<'a> Say<'a> {
    pub(super) fn new(output: &'a mut Output) -> Self {
        Self { output }
    }

    /// A word for what happened, and what it is about.
    pub(super) fn line(&mut self, style: Style, word: &str, text: &str) -> Result<(), Failure> {
        let margin = if self.output.is_terminal() { MARGIN + 1 } else { 0 };
        let word = self.output.paint().put(style.bold(), &format!("{word:>margin$}"));
        self.output.line(&format!("{word} {text}"))
    }

    /// A line that begins where rows do.
    pub(super) fn indented(&mut self, line: &str) -> Result<(), Failure> {
        let margin = if self.output.is_terminal() { MARGIN } else { 0 };
        self.output.line(&format!("{:margin$}{line}", ""))
    }

    /// Something of a table.
    pub(super) fn row(&mut self, sign: char, text: &str) -> Result<(), Failure> {
        self.indented(&format!("{sign} {text}"))
    }
}

/// Tells what happened.
pub(super) fn tell(told: Told, place: &Place, rows: &mut Rows, output: &mut Output) -> Result<(), Failure> {
    match told {
        Told::News(name, news) => rows.take(&name, news, output),
        Told::Log(record) => log(&record, output),
        told if output.format() == Format::Table => sentence(&told, place, output),
        told => object(&told, place).map_or(Ok(()), |object| output.json_line(&object)),
    }
}

fn sentence(told: &Told, place: &Place, output: &mut Output) -> Result<(), Failure> {
    // There cargo says these things itself, on the same terminal.
    let by_cargo = place.loud;
    let mut say = Say::new(output);
    match told {
        Told::Serving { url, socket } => {
            say.line(CYAN, "Serving", &format!("{url}, busway --host {} tables", socket.display()))
        }
        Told::Saved(files) => say.line(BOLD, "Saved", &names(files, &place.folder)),
        Told::Building { .. } if by_cargo => Ok(()),
        Told::Building { package } => say.line(CYAN, "Building", package),
        Told::Built(Build::Done { .. }) if by_cargo => Ok(()),
        Told::Built(Build::Done { library, took, .. }) => {
            say.line(CYAN, "Built", &format!("{} in {:.1} s", file_name(library), took.as_secs_f64()))
        }
        Told::Built(Build::Failed { .. }) => {
            say.line(RED, "Broken", &format!("it does not build; {}", goes_on(place.serving())))
        }
        Told::Unchanged => say.line(DIM, "Unchanged", "the library is the same as before"),
        Told::Refused { file, reason, serving } => {
            say.line(RED, "Refused", &printable(&format!("{file}: {reason}; {}", goes_on(*serving))))
        }
        Told::Moved { report, serving } => {
            let style = match report.outcome {
                Outcome::Loaded | Outcome::Committed => GREEN,
                Outcome::Inconclusive => YELLOW,
                Outcome::RolledBack | Outcome::Refused => RED,
            };
            say.line(style, word(report.outcome), &printable(&moved(report, *serving)))
        }
        Told::NoSource { driver, failure } => {
            say.line(RED, "Not opened", &printable(&no_source(driver, failure)))?;
            for line in no_source_lines(failure) {
                say.indented(&format!("  {}", printable(&line)))?;
            }
            Ok(())
        }
        Told::Tested(Ok(suite)) => tested(suite, &mut say),
        Told::Tested(Err(why)) => say.line(RED, "Not tested", &printable(why)),
        Told::Trouble(error) => {
            say.line(RED, "Broken", &printable(&format!("{error}; {}", goes_on(place.serving()))))?;
            let remedy = error.remedy().map(|remedy| format!("try: {remedy}"));
            for line in error.why().into_iter().map(|why| format!("why: {why}")).chain(remedy) {
                say.indented(&format!("  {}", printable(&line)))?;
            }
            Ok(())
        }
        Told::News(..) | Told::Log(_) => Ok(()),
    }
}

/// What serves now that something else does not.
fn goes_on(serving: Option<u64>) -> String {
    serving.map_or_else(|| "nothing serves yet".to_owned(), |generation| format!("generation {generation} serves on"))
}

fn moved(report: &Report, serving: Option<u64>) -> String {
    let Report { driver, version, from, to, outcome, reason, ledger, phases, .. } = report;
    let mut text = format!("{driver} {version}");
    if let Some(to) = to {
        text += &format!(", generation {to}");
    }
    if let Some(from) = from {
        text += &format!(" after {from}");
    }
    if let Some(ledger) = ledger.filter(|_| outcome.is_good()) {
        let pause = Duration::from_micros(phases.pause_us).as_secs_f64() * 1000.0;
        text += &format!(", paused {pause:.1} ms, gap={} dup={}", ledger.gap, ledger.dup);
    }
    if let Some(reason) = reason {
        text += &format!(": {reason}");
    }
    if !outcome.is_good() {
        text += &format!("; {}", goes_on(serving));
    }
    text
}

fn no_source(driver: &str, failure: &Failure) -> String {
    let report = failure.report().unwrap_or_default();
    let head = report.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    format!("{driver}: {head}")
}

/// What is wrong with the options, each on a line of its own, and what to write.
fn no_source_lines(failure: &Failure) -> Vec<String> {
    let report = failure.report().unwrap_or_default();
    let mut lines: Vec<String> = report.lines().skip(1).map(|line| line.trim().to_owned()).collect();
    if report.contains("option") {
        let first = lines.iter().find_map(|line| line.split_once("missing option \"")?.1.split_once('"'));
        let name = first.map_or("NAME", |(name, _)| name);
        lines.push(format!(
            "try: busway dev --option {name}=VALUE, or in Cargo.toml: [package.metadata.busway-dev] options = {{ {name} = … }}"
        ));
    }
    lines
}

fn tested(suite: &Suite, say: &mut Say<'_>) -> Result<(), Failure> {
    let style = if suite.failed().is_empty() { GREEN } else { RED };
    say.line(style, "Tested", &suite.summary())?;
    let failed = suite.failed();
    let found = suite.checks.iter().filter(|check| failed.contains(&check.name));
    found.into_iter().try_for_each(|check| {
        let reason = check.finding.reason.as_deref().unwrap_or_default();
        say.row('✗', &printable(&format!("{}: {reason}", check.name)))
    })
}

/// Paths as they are seen from the crate.
fn names(files: &BTreeSet<PathBuf>, folder: &Path) -> String {
    const SOME: usize = 3;
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let some: Vec<String> = files.iter().take(SOME).map(name).collect();
    match files.len().saturating_sub(SOME) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

fn object(told: &Told, place: &Place) -> Option<Value> {
    Some(match told {
        Told::Serving { url, socket } => json!({"kind": "serving", "url": url, "socket": socket}),
        Told::Saved(files) => json!({"kind": "saved", "files": files}),
        Told::Building { package } => json!({"kind": "building", "package": package}),
        Told::Built(Build::Done { library, took, said }) => {
            let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
            json!({"kind": "built", "file": library, "seconds": seconds, "said": said})
        }
        Told::Built(Build::Failed { said }) => json!({"kind": "failed", "said": said, "serving": place.serving()}),
        Told::Trouble(error) => {
            json!({"kind": "failed", "said": error.to_string(), "why": error.why(), "serving": place.serving()})
        }
        Told::Unchanged => json!({"kind": "unchanged"}),
        Told::Refused { file, reason, serving } => {
            json!({"kind": "refused", "file": file, "reason": reason, "serving": serving})
        }
        Told::Moved { report, serving } => {
            let kind = match report.outcome {
                Outcome::Loaded => "loaded",
                Outcome::Committed => "reloaded",
                _ => "refused",
            };
            let mut object = json!({"kind": kind, "serving": serving});
            if let (Some(fields), Ok(Value::Object(report))) = (object.as_object_mut(), serde_json::to_value(report)) {
                fields.extend(report);
            }
            object
        }
        Told::NoSource { driver, failure } => {
            json!({"kind": "refused", "driver": driver, "reason": no_source(driver, failure), "why": no_source_lines(failure)})
        }
        Told::Tested(Ok(suite)) => json!({"kind": "tested", "summary": suite.summary(), "checks": suite.checks}),
        Told::Tested(Err(why)) => json!({"kind": "tested", "error": why}),
        Told::News(..) | Told::Log(_) => return None,
    })
}

/// What the driver logs goes to stderr; for programs it is one object more.
fn log(record: &Record, output: &mut Output) -> Result<(), Failure> {
    let Record { level, from, message, fields: with } = record;
    let word = level.as_str().to_ascii_lowercase();
    if output.format() != Format::Table {
        let object = json!({"kind": "log", "level": word, "from": from, "message": message, "fields": with});
        return output.json_line(&object);
    }
    let style = match *level {
        Level::ERROR => RED,
        Level::WARN => YELLOW,
        _ => DIM,
    };
    let text = printable(&format!("{from}: {message}"));
    let text = if with.is_empty() { text } else { format!("{text} {}", fields(with)) };
    output.aside(style, &word, if output.is_terminal() { MARGIN + 1 } else { 0 }, &text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ProjectError;
    use super::*;
    use crate::cli::output::tests::pages;
    use crate::plugin::{Catalog, Ledger, Phases};
    use std::sync::Arc;

    fn report(outcome: Outcome, reason: Option<&str>) -> Told {
        let ledger = Ledger { tables: 1, produced: 2, accepted: 2, delivered: 2, ..Ledger::default() };
        let report = Report {
            driver: "web".to_owned(),
            version: "0.2.0".to_owned(),
            path: "/t/plugins/libweb.so".into(),
            sha256: "ab".to_owned(),
            from: Some(1),
            to: Some(2),
            outcome,
            restored: false,
            reason: reason.map(str::to_owned),
            sources: 1,
            exclusive: false,
            phases: Phases { pause_us: 1250, ..Phases::default() },
            ledger: Some(ledger),
            notes: Vec::new(),
        };
        Told::Moved { report: Box::new(report), serving: Some(if outcome.is_good() { 2 } else { 1 }) }
    }

    fn missing() -> Failure {
        let problems = ["missing option \"path\" (string): The folder"];
        let message = format!("Missing required config options: {}", problems.join("; "));
        let data = json!({"kind": "MissingRequiredConfigOptions", "problems": problems});
        Failure::Refused { status: 400, message, data }
    }

    /// One of each, as it may come.
    fn all() -> Vec<Told> {
        let files = ["/c/src/lib.rs", "/c/src/b.rs", "/c/src/c.rs", "/c/src/d.rs", "/else/src/lib.rs"];
        let library = PathBuf::from("/c/target/debug/libweb.so");
        let record = json!({"page": 2}).as_object().cloned().unwrap_or_default();
        vec![
            Told::Serving { url: "http://127.0.0.1:4711".to_owned(), socket: "/t/sock".into() },
            Told::Building { package: "web".to_owned() },
            Told::Built(Build::Done { library, took: Duration::from_millis(1240), said: String::new() }),
            report(Outcome::Loaded, None),
            Told::NoSource { driver: "web".to_owned(), failure: Box::new(missing()) },
            Told::Saved(files.iter().map(PathBuf::from).collect()),
            Told::Built(Build::Failed { said: "error: …".to_owned() }),
            Told::Unchanged,
            report(Outcome::Committed, None),
            report(Outcome::RolledBack, Some("it panicked\non line 7")),
            report(Outcome::Refused, Some("it panicked")),
            report(Outcome::Inconclusive, Some("no answer")),
            Told::Refused {
                file: "libweb.so".to_owned(),
                reason: "it is no Busway driver".to_owned(),
                serving: Some(1),
            },
            Told::Trouble(ProjectError::NoLibraries("/c".into())),
            Told::Tested(Err("no child process can be had".to_owned())),
            Told::Log(Record {
                level: Level::WARN,
                from: "web::page".to_owned(),
                message: "slow".to_owned(),
                fields: record,
            }),
        ]
    }

    fn told(format: Format, width: Option<usize>, loud: bool) -> (String, String) {
        let place = Place { folder: "/c".into(), loud, catalog: Arc::new(Catalog::new("info")) };
        let (mut output, data, aside) = pages(format, width);
        let mut rows = Rows::default();
        all().into_iter().for_each(|one| tell(one, &place, &mut rows, &mut output).unwrap());
        (data.text(), aside.text())
    }

    #[test]
    fn each_is_a_plain_line_in_a_pipe() {
        let (data, aside) = told(Format::Table, None, false);
        let expected = [
            "Serving http://127.0.0.1:4711, busway --host /t/sock tables",
            "Building web",
            "Built libweb.so in 1.2 s",
            "Loaded web 0.2.0, generation 2 after 1, paused 1.2 ms, gap=0 dup=0",
            "Not opened web: Missing required config options",
            "  why: missing option \"path\" (string): The folder",
            "  try: busway dev --option path=VALUE, or in Cargo.toml: [package.metadata.busway-dev] options = { path = … }",
            "Saved src/b.rs, src/c.rs, src/d.rs and 2 more",
            "Broken it does not build; nothing serves yet",
            "Unchanged the library is the same as before",
            "Reloaded web 0.2.0, generation 2 after 1, paused 1.2 ms, gap=0 dup=0",
            "Taken back web 0.2.0, generation 2 after 1: it panicked\\non line 7; generation 1 serves on",
            "Refused web 0.2.0, generation 2 after 1: it panicked; generation 1 serves on",
            "Held back web 0.2.0, generation 2 after 1: no answer; generation 1 serves on",
            "Refused libweb.so: it is no Busway driver; generation 1 serves on",
            "Broken no package of the workspace /c makes a library that a host can load; nothing serves yet",
            "  try: a driver's Cargo.toml says `[lib]` and `crate-type = [\"cdylib\"]`",
            "Not tested no child process can be had",
        ];
        assert_eq!(data.lines().collect::<Vec<_>>(), expected);
        assert_eq!(aside, "warn web::page: slow page=2\n");
    }

    #[test]
    fn on_a_terminal_words_end_where_cargos_do_and_cargo_speaks_for_itself() {
        let (data, aside) = told(Format::Table, Some(100), true);
        let lines: Vec<&str> = data.lines().collect();
        assert_eq!(lines[0], "     Serving http://127.0.0.1:4711, busway --host /t/sock tables");
        assert_eq!(lines[1], "      Loaded web 0.2.0, generation 2 after 1, paused 1.2 ms, gap=0 dup=0");
        assert!(lines[3].starts_with("             why: missing option"), "{data}");
        assert!(!data.contains("Building") && !data.contains("Built"));
        assert_eq!(aside, "        warn web::page: slow page=2\n");
    }

    #[test]
    fn each_is_an_object_for_programs() {
        let (data, aside) = told(Format::Json, None, false);
        let kinds: Vec<String> = data
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect();
        let expected = [
            "serving",
            "building",
            "built",
            "loaded",
            "refused",
            "saved",
            "failed",
            "unchanged",
            "reloaded",
            "refused",
            "refused",
            "refused",
            "refused",
            "failed",
            "tested",
            "log",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(aside, "");
    }
}
