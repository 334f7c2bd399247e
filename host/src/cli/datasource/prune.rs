//! `busway datasource prune`: those whose driver is gone are removed.

use clap::Args;
use serde_json::{Value, json};

use super::super::cell::count_of_things;
use super::super::client::{ANSWER, Client};
use super::super::failure::Failure;
use super::super::input::Input;
use super::super::output::{Format, Output};
use super::super::sheet::{grid, plain};
use super::super::snapshot::Row;
use super::{cells, results};

/// Where they are.
const ORPHANS: &str = "/v1/orphans";

/// Remove the datasources whose driver is gone, after showing them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource prune
  busway datasource prune --yes            asks nothing; in a pipe it must be said

A driver is gone when none of that id serves and no file in the plugin directories claims it. Datasources of the
configuration file stay.

JSON: {\"schema_version\":1,\"removed\":[NAME,…]}
JSON lines: one name a line")]
pub(crate) struct PruneArguments {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Shows them, asks, and removes them.
pub(super) async fn run(
    client: &Client,
    arguments: &PruneArguments,
    input: &mut Input,
    output: &mut Output,
) -> Result<(), Failure> {
    let answer = client.read(ORPHANS).await?;
    let orphans = results(&answer);
    let names: Vec<&Value> = orphans.iter().map(|orphan| &orphan["name"]).collect();
    if orphans.is_empty() {
        return match output.format() {
            Format::Json => output.json_document(&json!({"removed": []})),
            Format::Jsonl => Ok(()),
            Format::Table => output.line("every datasource's driver is there: nothing to remove"),
        };
    }
    if output.format() == Format::Table {
        let columns = ["name", "driver", "changed", "description"];
        let row = |orphan: &Value| cells(columns.map(|column| (column, orphan[column].clone())));
        let rows: Vec<Row> = orphans.iter().map(row).collect();
        grid(&columns, &rows, &plain, output)?;
    }
    let count = count_of_things(orphans.len(), "datasource");
    if !arguments.yes {
        input.confirm(&format!("Remove {count} for good?"), &format!("removing {count}"), output)?;
    }
    // Those that were shown, and no others.
    let answer = client.post(ORPHANS, &json!({"names": names}), ANSWER).await?;
    let removed = answer["removed"].as_array().cloned().unwrap_or_default();
    match output.format() {
        Format::Json => output.json_document(&json!({"removed": removed})),
        Format::Jsonl => removed.iter().try_for_each(|name| output.json_line(name)),
        Format::Table => output.line(&format!("{} removed", count_of_things(removed.len(), "datasource"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::input::tests::given;
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::datasource;
    use super::*;

    fn host(orphans: &[&str]) -> ToldHost {
        let orphans: Vec<Value> =
            orphans.iter().map(|name| datasource(name, "waiting for driver", Value::Null)).collect();
        ToldHost::start(vec![
            ("GET /v1/orphans", json!({"results": orphans})),
            ("POST /v1/orphans", json!({"removed": ["a"]})),
        ])
    }

    async fn pruned(host: &ToldHost, yes: bool, answer: &str, terminal: bool) -> (Result<(), Failure>, String, String) {
        let (mut output, data, asked) = pages(Format::Table, None);
        let done = run(&host.client(), &PruneArguments { yes }, &mut given(answer, terminal), &mut output).await;
        (done, data.text(), asked.text())
    }

    #[tokio::test]
    async fn those_that_were_shown_are_removed() {
        let host = host(&["a", "b"]);
        let shown =
            "name  driver  changed\na     files   2026-11-22T02:00:00.5Z\nb     files   2026-11-22T02:00:00.5Z\n";
        let (done, text, asked) = pruned(&host, false, "\n", true).await;
        assert_eq!(
            (done.is_err(), text.as_str(), asked.as_str()),
            (true, shown, "Remove 2 datasources for good? [y/N] ")
        );
        let (done, text, _) = pruned(&host, false, "", false).await;
        assert_eq!(
            done.unwrap_err().report().unwrap(),
            "error: removing 2 datasources needs a yes, and stdin is no terminal to ask on\n  try: say it with --yes"
        );
        assert_eq!(text, shown);
        assert!(host.told().is_empty());
        let (done, text, _) = pruned(&host, true, "", false).await;
        done.unwrap();
        // One's driver came back meanwhile.
        assert_eq!(text, format!("{shown}1 datasource removed\n"));
        assert_eq!(host.told(), [("POST /v1/orphans".to_owned(), json!({"names": ["a", "b"]}))]);
    }

    #[tokio::test]
    async fn where_nothing_is_to_be_removed_nobody_is_asked() {
        let host = host(&[]);
        let (done, text, asked) = pruned(&host, false, "", false).await;
        done.unwrap();
        assert_eq!((text.as_str(), asked.as_str()), ("every datasource's driver is there: nothing to remove\n", ""));
        assert!(host.told().is_empty());
    }
}
