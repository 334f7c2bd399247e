//! `busway plugin reload`, `rollback`, `release`, `history`, `explain`: what a host is told of plugins, and what it tells.

use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::super::cell::printable;
use super::super::client::{Client, part};
use super::super::exit;
use super::super::failure::Failure;
use super::super::output::{Format, GREEN, Output, RED, YELLOW};
use crate::plugin::{Death, Report};

/// Opening, polling, probation and going back, of the slowest source: longer than all deadlines together.
const OVER: Duration = Duration::from_secs(600);

/// Looks at the directories now, and waits until what follows from that is over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin reload
  busway plugin reload files --accept-errors

Of one driver: if its code hangs or has failed, a fresh copy of the same bytes takes over. With --accept-errors a reload of it
that is under way passes over plain errors, too.

Exit codes: 0 all that lies there serves; 6 something was refused or held back; 7 something was taken back on probation;
8 something is tried again later: plain errors of its sources kept it from serving, or after ten seconds it was still being
written, or came later than that.

JSON: {\"schema_version\":1,\"good\",\"reports\":[{\"driver\",\"version\",\"outcome\",\"from\",\"to\",\"reason\",\"ledger\",…}],\"troubles\":[{\"file\",\"state\",\"reason\",…}]}
JSON lines: one report's object a line, then one trouble's")]
pub(crate) struct ReloadArguments {
    /// One driver's id; else all
    driver: Option<String>,
    /// Wait until it is over: what takes over has proved itself, or what was there before is back. It always does, but for files
    /// that keep changing
    #[arg(long)]
    wait: bool,
    /// Let the new code take over though a source that was well gives plain errors with it: the data's, not the code's
    #[arg(long)]
    accept_errors: bool,
}

pub(super) async fn reload(client: &Client, arguments: &ReloadArguments, output: &mut Output) -> Result<(), Failure> {
    let wish = json!({"driver": arguments.driver, "accept_errors": arguments.accept_errors});
    let answer = client.post("/v1/plugins/reload", &wish, OVER).await?;
    told(&answer, output)
}

/// Put what served well before back in charge, and keep the present bytes out
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin rollback files

The bytes that serve now are not loaded again until they are released; what the file holds next is, if it is other bytes.")]
pub(crate) struct RollbackArguments {
    /// The driver's id
    driver: String,
}

pub(super) async fn rollback(
    client: &Client,
    arguments: &RollbackArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let path = format!("/v1/drivers/{}/rollback", part(&arguments.driver));
    let answer = client.post(&path, &Value::Null, OVER).await?;
    let reports = list(&answer, "reports");
    // Its file still holds what was taken out: that is what was asked for.
    print(&answer, reports, &[], output)?;
    match reports.last().map(|report| report["outcome"].as_str().unwrap_or_default()) {
        None | Some("loaded" | "committed" | "rolled_back") => Ok(()),
        Some(outcome) => Err(unlike(outcome)),
    }
}

/// Let bytes out of quarantine: they are tried again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin quarantine
  busway plugin release 0123456789ab")]
pub(crate) struct ReleaseArguments {
    /// Their SHA-256, or enough of its beginning
    sha256: String,
}

pub(super) async fn release(client: &Client, arguments: &ReleaseArguments, output: &mut Output) -> Result<(), Failure> {
    let path = format!("/v1/plugins/quarantine/{}", part(&arguments.sha256));
    let released = client.change(Method::DELETE, &path, &Value::Null, None).await?;
    match output.format() {
        Format::Json => output.json_document(&released),
        Format::Jsonl => output.json_line(&released),
        Format::Table => {
            let text = |key: &str| released[key].as_str().unwrap_or_default().to_owned();
            output.line(&printable(&format!("released: {} {} of {}", text("driver"), text("version"), text("path"))))
        }
    }
}

pub(super) async fn quarantine(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let answer = client.read("/v1/plugins/quarantine").await?;
    let held = list(&answer, "results");
    match output.format() {
        Format::Json => output.json_document(&json!({"quarantine": held})),
        Format::Jsonl => held.iter().try_for_each(|one| output.json_line(one)),
        Format::Table if held.is_empty() => output.line("no bytes are in quarantine"),
        Format::Table => held.iter().try_for_each(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default();
            let brief: String = text("sha256").chars().take(12).collect();
            let (driver, version, since, by) = (text("driver"), text("version"), second(text("since")), text("by"));
            let line = format!("{brief}  {driver} {version}  since {since} by {by}: {}", text("reason"));
            output.line(&printable(&line))
        }),
    }
}

/// Say why a driver is served as it is: why this file, and why not another
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin explain files")]
pub(crate) struct ExplainArguments {
    /// The driver's id
    driver: String,
}

pub(super) async fn explain(client: &Client, arguments: &ExplainArguments, output: &mut Output) -> Result<(), Failure> {
    let path = format!("/v1/drivers/{}/explanation", part(&arguments.driver));
    let answer = client.read(&path).await?;
    match output.format() {
        Format::Json => output.json_document(&answer),
        Format::Jsonl => output.json_line(&answer),
        Format::Table => {
            let said = list(&answer, "explanation").iter().filter_map(Value::as_str);
            said.map(printable).try_for_each(|line| output.line(&line))
        }
    }
}

/// Say what happened to plugins, the latest last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin history
  busway plugin history files --limit 5 --output json

JSON: {\"schema_version\":1,\"history\":[{\"at\",\"event\",…}]}
JSON lines: one entry's object a line. A \"planned\" entry has all that the steps after it follow from.")]
pub(crate) struct HistoryArguments {
    /// One driver's id; else all
    driver: Option<String>,
    /// So many entries at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub(super) async fn history(client: &Client, arguments: &HistoryArguments, output: &mut Output) -> Result<(), Failure> {
    let driver = arguments.driver.as_deref().map(|id| format!("&driver={}", part(id))).unwrap_or_default();
    let answer = client.read(&format!("/v1/plugins/history?limit={}{driver}", arguments.limit)).await?;
    let entries = list(&answer, "results");
    match output.format() {
        Format::Json => output.json_document(&json!({"history": entries})),
        Format::Jsonl => entries.iter().try_for_each(|entry| output.json_line(entry)),
        Format::Table => entries.iter().filter_map(entry).try_for_each(|line| output.line(&printable(&line))),
    }
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

/// An entry as a line. What was planned is told by what came of it.
fn entry(entry: &Value) -> Option<String> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let brief = || text("sha256").chars().take(12).collect::<String>();
    let what = match text("event") {
        "started" => format!("the host started, version {}", text("version")),
        "died" => match Death::deserialize(entry) {
            Ok(death) => format!("the host died in {} {}: in {}", death.driver, death.version, death.place()),
            Err(_) => entry.to_string(),
        },
        "refused" => format!("{} refused: {}", text("path"), text("reason")),
        "quarantined" => format!("{} {} quarantined by {}: {}", text("driver"), brief(), text("by"), text("reason")),
        "released" => format!("{} {} released", text("driver"), brief()),
        "stopped" => format!("{} stopped: its file is gone", text("driver")),
        "transaction" => sentence(entry),
        _ => return None,
    };
    Some(format!("{}  {what}", second(text("at"))))
}

/// A time, to the second: nobody reads on.
fn second(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| time.to_owned(), |time| format!("{time:.0}"))
}

/// A report as a line. One of a host that says more than this program knows stands as it came.
fn sentence(report: &Value) -> String {
    Report::deserialize(report).map_or_else(|_| report.to_string(), |report| report.to_string())
}

/// Says what a reload came to; ends with the code of the worst of it.
fn told(answer: &Value, output: &mut Output) -> Result<(), Failure> {
    let (reports, troubles) = (list(answer, "reports"), list(answer, "troubles"));
    print(answer, reports, troubles, output)?;
    let outcomes = || reports.iter().filter_map(|report| report["outcome"].as_str());
    for bad in ["rolled_back", "refused", "inconclusive"] {
        if outcomes().any(|outcome| outcome == bad) {
            return Err(unlike(bad));
        }
    }
    match troubles {
        [] => Ok(()),
        // What is being written is no plugin yet, and no fault.
        all if all.iter().all(|trouble| trouble["state"] == "incomplete") => Err(unlike("incomplete")),
        // Nor is what came too late to be waited for.
        all if all.iter().all(|trouble| ["incomplete", "loading"].iter().any(|state| trouble["state"] == *state)) => {
            Err(unlike("loading"))
        }
        _ => Err(unlike("refused")),
    }
}

fn unlike(outcome: &str) -> Failure {
    let (code, text) = match outcome {
        "rolled_back" => (exit::TAKEN_BACK, "a new build was taken back: what was there before serves"),
        "incomplete" => (exit::INCONCLUSIVE, "a file is still being written: it is looked at again when it rests"),
        "loading" => {
            (exit::INCONCLUSIVE, "a new build came late: it is being loaded, busway plugin list says how it goes")
        }
        "inconclusive" => (exit::INCONCLUSIVE, "a new build is not in charge yet: it is tried again"),
        _ => (exit::REFUSED, "not all that lies in the plugin directories serves"),
    };
    Failure::Reload { code, text }
}

fn print(answer: &Value, reports: &[Value], troubles: &[Value], output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json_document(answer),
        Format::Jsonl => reports.iter().chain(troubles).try_for_each(|line| output.json_line(line)),
        Format::Table => {
            let paint = output.paint();
            for report in reports {
                let style = match report["outcome"].as_str() {
                    Some("loaded" | "committed") => GREEN,
                    Some("inconclusive") => YELLOW,
                    _ => RED,
                };
                output.line(&paint.put(style, &printable(&sentence(report))))?;
            }
            for trouble in troubles {
                let text = |key: &str| trouble[key].as_str().unwrap_or_default();
                let state = super::predicate(text("state"));
                let reason = Some(text("reason")).filter(|reason| !reason.is_empty());
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                output.line(&paint.put(YELLOW, &printable(&format!("{} is {state}{reason}", text("file")))))?;
            }
            let serving = list(answer, "serving");
            for file in serving {
                let text = |key: &str| file[key].as_str().unwrap_or_default();
                let (driver, version, path) = (text("driver"), text("version"), text("file"));
                let line = match text("reason") {
                    "" => format!("{driver} {version} already serves these bytes, those of {path}"),
                    reason => format!("{driver} {version} serves; {path}: {reason}"),
                };
                output.line(&printable(&line))?;
            }
            if reports.is_empty() && troubles.is_empty() && serving.is_empty() {
                output.line("all that lies in the plugin directories serves already")?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::*;

    fn answer() -> Value {
        let ledger = json!({"tables": 1, "produced": 2, "accepted": 2, "delivered": 2, "gap": 0, "dup": 0});
        json!({
            "good": false,
            "reports": [
                {"driver": "files", "version": "1.1.0", "path": "/p/libfiles.so", "sha256": "ab", "outcome": "committed", "from": 1, "to": 2,
                 "ledger": ledger, "exclusive": true, "phases": {"pause_us": 12_000}},
                {"driver": "sql", "version": "2.0.0", "path": "/p/libsql.so", "sha256": "cd", "outcome": "rolled_back", "from": 3, "to": 4,
                 "ledger": ledger, "reason": "datasource \"db\" could not be polled with it: panicked"},
            ],
            "troubles": [{"file": "/p/libsql.so", "state": "held back", "reason": "it panicked; the bytes before serve on"}],
        })
    }

    #[tokio::test]
    async fn a_reload_says_what_came_of_it_and_ends_so() {
        let host = ToldHost::start(vec![("POST /v1/plugins/reload", answer())]);
        let (mut output, data, _) = pages(Format::Table, Some(100));
        let arguments = ReloadArguments { driver: None, wait: true, accept_errors: true };
        let failure = reload(&host.client(), &arguments, &mut output).await.unwrap_err();
        assert_eq!(failure.code(), exit::TAKEN_BACK);
        assert_eq!(
            data.text(),
            "files 1.1.0 committed, generation 2 after 1, gap=0 dup=0, paused for 12ms as it can't be open twice\n\
             sql 2.0.0 rolled back, generation 4 after 3, gap=0 dup=0: datasource \"db\" could not be polled with it: panicked\n\
             /p/libsql.so is held back: it panicked; the bytes before serve on\n"
        );
        assert_eq!(host.told()[0].1, json!({"driver": null, "accept_errors": true}));
    }

    #[tokio::test]
    async fn what_is_still_being_written_is_tried_again_and_has_that_code() {
        let trouble =
            |state: &str| json!({"file": "/p/liba.so", "state": state, "reason": "it is still being written"});
        let arguments = ReloadArguments { driver: None, wait: true, accept_errors: false };
        let cases = [
            (vec![trouble("incomplete")], exit::INCONCLUSIVE),
            (vec![trouble("incomplete"), trouble("loading")], exit::INCONCLUSIVE),
            (vec![trouble("incomplete"), trouble("refused")], exit::REFUSED),
        ];
        for (troubles, code) in cases {
            let answer = json!({"good": false, "reports": [], "troubles": troubles});
            let host = ToldHost::start(vec![("POST /v1/plugins/reload", answer)]);
            let (mut output, data, _) = pages(Format::Table, Some(100));
            let failure = reload(&host.client(), &arguments, &mut output).await.unwrap_err();
            assert_eq!(failure.code(), code);
            assert!(
                data.text().starts_with("/p/liba.so is incomplete: it is still being written\n"),
                "{}",
                data.text()
            );
        }
        // What came too late has nothing to say yet.
        let answer = json!({"troubles": [{"file": "/p/liba.so", "state": "loading", "reason": ""}]});
        let host = ToldHost::start(vec![("POST /v1/plugins/reload", answer)]);
        let (mut output, data, _) = pages(Format::Table, Some(100));
        let failure = reload(&host.client(), &arguments, &mut output).await.unwrap_err();
        assert_eq!((failure.code(), data.text().as_str()), (exit::INCONCLUSIVE, "/p/liba.so is loading\n"));
    }

    #[tokio::test]
    async fn what_is_in_quarantine_is_a_line_each() {
        let held = json!({"driver": "files", "version": "1.1.0", "sha256": "0123456789abcdef", "by": "operator",
            "since": "2026-01-31T12:00:00.723578608Z", "reason": "an operator rolled it back"});
        let host = ToldHost::start(vec![("GET /v1/plugins/quarantine", json!({"results": [held]}))]);
        let (mut output, data, _) = pages(Format::Table, Some(100));
        quarantine(&host.client(), &mut output).await.unwrap();
        assert_eq!(
            data.text(),
            "0123456789ab  files 1.1.0  since 2026-01-31T12:00:00Z by operator: an operator rolled it back\n"
        );
    }

    #[tokio::test]
    async fn a_driver_that_serves_already_is_told_so() {
        let file =
            json!({"file": "/p/libfiles.so", "driver": "files", "version": "1.1.0", "state": "serving", "reason": ""});
        let gone = json!({"file": "/p/libsql.so", "driver": "sql", "version": "2.0.0", "state": "missing",
            "reason": "the file is gone; what was loaded of it serves on"});
        let answer = json!({"good": true, "reports": [], "troubles": [], "serving": [file, gone]});
        let host = ToldHost::start(vec![("POST /v1/plugins/reload", answer)]);
        let (mut output, data, _) = pages(Format::Table, Some(100));
        let arguments = ReloadArguments { driver: Some("files".to_owned()), wait: true, accept_errors: false };
        reload(&host.client(), &arguments, &mut output).await.unwrap();
        assert_eq!(
            data.text(),
            "files 1.1.0 already serves these bytes, those of /p/libfiles.so\n\
             sql 2.0.0 serves; /p/libsql.so: the file is gone; what was loaded of it serves on\n"
        );
    }

    #[tokio::test]
    async fn what_happened_is_told_in_lines() {
        let history = json!({"results": [
            {"at": "2026-11-22T01:00:00Z", "event": "started", "version": "0.1.0"},
            {"at": "2026-11-22T01:00:01Z", "event": "planned", "inputs": {}, "steps": []},
            {"at": "2026-11-22T01:00:02.25Z", "event": "transaction", "driver": "files", "version": "1.0.0",
             "path": "/p/libfiles.so", "sha256": "ab",
             "outcome": "loaded", "to": 1},
            {"at": "2026-11-22T01:00:03Z", "event": "quarantined", "sha256": "0123456789abcdef", "driver": "files",
             "by": "operator", "reason": "rolled back"},
        ]});
        let host = ToldHost::start(vec![("GET /v1/plugins/history?limit=50&driver=files", history)]);
        let (mut output, data, _) = pages(Format::Table, None);
        let arguments = HistoryArguments { driver: Some("files".to_owned()), limit: 50 };
        super::history(&host.client(), &arguments, &mut output).await.unwrap();
        assert_eq!(
            data.text(),
            "2026-11-22T01:00:00Z  the host started, version 0.1.0\n\
             2026-11-22T01:00:02Z  files 1.0.0 loaded, generation 1\n\
             2026-11-22T01:00:03Z  files 0123456789ab quarantined by operator: rolled back\n"
        );
    }
}
