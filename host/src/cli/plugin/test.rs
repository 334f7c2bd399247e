//! `busway plugin test`: a driver's author puts a file through the conformance suite.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Vet;
use crate::plugin::conformance::{NAMES, Report, SuiteError, run};

use super::super::cell::printable;
use super::super::datasource::{options, pair};
use super::super::failure::Failure;
use super::super::grid::Grid;
use super::super::input::Input;
use super::super::output::{Format, GREEN, Output, RED, YELLOW};
use super::super::snapshot::Row;

/// Put a driver through the conformance suite: what a host and its operators may do to it, check by check
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin test target/release/libfolder.so --option path=/srv
  busway plugin test libfolder.so --option path=/srv --check cancel_in_poll --check thread_leak
  busway plugin test libfolder.so --option path=/srv --output json --junit target/conformance.xml

Each check has a child process of its own, limited in time, memory and files: one that crashes or hangs fails by name. The
child has an empty folder for HOME and to run in, and of the environment LD_LIBRARY_PATH, PATH, TZ and LANG: let paths be
absolute. Sources open, are polled and activated, their actions are run without arguments and with wrong ones, and they are
sent webhooks that make no sense: name data that may be read and written. No host is asked.

Options are given as to `busway datasource add`: OPTION=- is asked for, unseen, and '${file:/run/secret}' is read here.

Exit codes: 0 no check failed (some may be skipped: each says why); 6 a check failed.

JSON: {\"schema_version\":1,\"file\",\"driver\",\"version\",\"checks\":[{\"name\",\"outcome\",\"reason\",\"seconds\"}]}
JSON lines: one check's object a line")]
pub(crate) struct TestArguments {
    /// The driver's library
    file: PathBuf,
    /// An option of the sources that are opened; a text is read as the driver declares it
    #[arg(long = "option", value_name = "OPTION=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,
    /// Options as a JSON object, or @ and a file with it; those given one by one are put over it
    #[arg(long, value_name = "JSON|@FILE")]
    config_json: Option<String>,
    /// Do this check alone, and what comes before any; may be given several times
    #[arg(long = "check", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    checks: Vec<String>,
    /// Also write the report as JUnit XML, for CI servers
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How long one check may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Does the checks, and tells what they found.
pub(crate) fn test(arguments: &TestArguments, output: &mut Output) -> Result<(), Failure> {
    let file = &arguments.file;
    let given = options(arguments.config_json.as_deref(), &arguments.options, &mut Input::of_process())?;
    // One that only uses much processor time is stopped by the clock.
    let limits = Vet { timeout: arguments.timeout, cpu: arguments.timeout, ..Vet::default() };
    let report = run(file, &given, &arguments.checks, &limits).map_err(|error| match error {
        SuiteError::File(why) => Failure::File { path: file.clone(), why: why.to_string() },
        SuiteError::Options(what) => {
            let remedy = format!("`busway plugin inspect {}` and the driver's documentation", file.display());
            Failure::Usage { what, remedy }
        }
        other => Failure::File { path: file.clone(), why: other.to_string() },
    })?;
    if let Some(path) = &arguments.junit {
        std::fs::write(path, report.junit())
            .map_err(|error| Failure::File { path: path.clone(), why: super::super::client::reason(&error) })?;
    }
    match output.format() {
        Format::Json => {
            let Report { driver, version, checks } = &report;
            output.json_document(&json!({"file": file, "driver": driver, "version": version, "checks": checks}))
        }
        Format::Jsonl => report.checks.iter().try_for_each(|check| output.json_line(check)),
        Format::Table => print(&report, output),
    }?;
    match report.failed() {
        none if none.is_empty() => Ok(()),
        failed => Err(Failure::Check(format!("{} failed {}", file.display(), failed.join(", ")))),
    }
}

fn print(report: &Report, output: &mut Output) -> Result<(), Failure> {
    let rows = report.checks.iter().map(|check| {
        let row = json!({
            "check": check.name,
            "outcome": check.finding.outcome.word(),
            "ms": u64::try_from(check.took.as_millis()).unwrap_or(u64::MAX),
            "reason": check.finding.reason,
        });
        if let Value::Object(row) = row { row } else { Row::new() }
    });
    let rows: Vec<Row> = rows.collect();
    // On a terminal a reason is never cut, and stands below.
    let below = output.is_terminal();
    let columns = ["check", "outcome", "ms", "reason"].map(str::to_owned);
    let columns = if below { &columns[..3] } else { &columns[..] };
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match (column, text) {
        ("outcome", "passed") => paint.put(GREEN, text),
        ("outcome", "failed") => paint.put(RED, text),
        ("outcome", "skipped") => paint.put(YELLOW, text),
        _ => text.to_owned(),
    };
    let drawn = Grid::new(columns, &rows).lines(output.width(), &painted, paint);
    drawn.lines.iter().try_for_each(|line| output.line(line))?;
    if below {
        let mut said =
            report.checks.iter().filter_map(|check| Some((check, check.finding.reason.as_ref()?))).peekable();
        if said.peek().is_some() {
            output.line("")?;
        }
        for (check, reason) in said {
            let word = painted("outcome", check.finding.outcome.word());
            let Some(explanation) = &check.finding.explanation else {
                output.line(&format!("{} {word}: {}", check.name, printable(reason)))?;
                continue;
            };
            output.line(&format!("{} {word}:", check.name))?;
            explanation.lines().try_for_each(|line| output.line(&format!("  {}", printable(line))))?;
        }
        output.note(&report.summary());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::*;
    use crate::plugin::conformance::{Done, Finding};

    #[test]
    fn on_a_terminal_what_does_not_fit_the_contract_is_told_in_lines() {
        let explanation = Some("Reply.body is missing in the driver\nexpected: body: RString".to_owned());
        let finding = Finding { explanation, ..Finding::failed("its types differ") };
        let check = Done { name: "contract", finding, took: Duration::ZERO };
        let report = Report { driver: None, version: None, checks: vec![check] };
        let (mut output, data, _) = pages(Format::Table, Some(80));
        print(&report, &mut output).unwrap();
        assert_eq!(
            data.text(),
            "check     outcome  ms\n\
             contract  failed    0\n\
             \n\
             contract failed:\n  \
             Reply.body is missing in the driver\n  \
             expected: body: RString\n"
        );
        assert!(report.junit().contains(
            "<failure message=\"its types differ\">Reply.body is missing in the driver&#10;expected: body: RString</failure>"
        ));
    }
}
