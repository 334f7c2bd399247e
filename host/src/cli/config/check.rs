//! `busway config check`, and `busway check`: all that a start would do, without serving.

use serde_json::{Value, json};

use super::super::cell::printable;
use super::super::failure::Failure;
use super::super::grid::Grid;
use super::super::host_arguments::HostArguments;
use super::super::output::{Format, GREEN, Output, RED};
use super::super::snapshot::Row;
use crate::node::{Finding, check};

/// Check a configuration and the plugins it would load, without serving: what is wrong, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway config check --config /etc/busway/busway.toml
  busway config check --plugins target/release --output json

The drivers are tried in child processes, then loaded and asked to describe themselves, so their code runs in this
process. Datasources are checked against what their drivers declare; they are not opened.

JSON: {\"schema_version\":1,\"findings\":[{\"what\",\"name\",\"ok\",\"detail\"}]}")]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    host: HostArguments,
}

/// Checks, and fails when something would not run.
pub(crate) async fn run(arguments: &CheckArguments, output: &mut Output) -> Result<(), Failure> {
    let config = arguments.host.configuration()?;
    let findings = check(&config).await?;
    let row = |f: &Finding| match json!({"what": f.what, "name": f.name, "ok": f.ok, "detail": f.detail}) {
        Value::Object(row) => row,
        _ => Row::new(),
    };
    let rows: Vec<Row> = findings.iter().map(row).collect();
    match output.format() {
        Format::Json => output.json_document(&json!({"findings": rows}))?,
        Format::Jsonl => rows.iter().try_for_each(|row| output.json_line(row))?,
        Format::Table => print(&findings, output)?,
    }
    let bad = findings.iter().filter(|f| !f.ok).count();
    if bad == 0 { Ok(()) } else { Err(Failure::Check(format!("{bad} of {} would not run", findings.len()))) }
}

fn print(findings: &[Finding], output: &mut Output) -> Result<(), Failure> {
    let columns = ["what", "name", "verdict"].map(str::to_owned);
    let row = |f: &Finding| {
        let verdict = if f.ok { "ok" } else { "bad" };
        Row::from_iter([
            ("what".to_owned(), f.what.into()),
            ("name".to_owned(), f.name.clone().into()),
            ("verdict".to_owned(), verdict.into()),
        ])
    };
    let rows: Vec<Row> = findings.iter().map(row).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match (column, text) {
        ("verdict", "ok") => paint.put(GREEN, text),
        ("verdict", _) => paint.put(RED, text),
        _ => text.to_owned(),
    };
    let drawn = Grid::new(&columns, &rows).lines(output.width(), &painted, paint);
    drawn.lines.iter().try_for_each(|line| output.line(line))?;
    for finding in findings.iter().filter(|f| !f.ok) {
        output.line("")?;
        output.line(&format!("{}:", [finding.what, &finding.name].join(" ").trim_end()))?;
        output.line(&format!("  {}", printable(&finding.detail)))?;
    }
    Ok(())
}
