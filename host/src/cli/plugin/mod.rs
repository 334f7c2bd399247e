//! `busway plugin`: the files that drivers come from.

mod inspect;
mod new;
mod orders;
mod replay;
mod test;

use clap::Subcommand;
use serde_json::{Value, json};

use super::cell::{printable, shown};
use super::client::Client;
use super::failure::Failure;
use super::grid::Grid;
use super::output::{Format, GREEN, Output, RED, YELLOW};
use super::snapshot::{Row, Snapshot};
use super::table_name::TableName;
use super::trust::{self, TrustArguments};
pub(crate) use inspect::inspect;
pub(crate) use new::new;
pub(crate) use replay::{ReplayArguments, replay};
pub(crate) use test::test;

/// The plugins of a host
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the files that the host looked at, and what became of each
    #[command(after_help = "\
Examples:
  busway plugin list
  busway plugin list --output jsonl | jq 'select(.state != \"serving\")'

JSON: {\"schema_version\":1,\"plugins\":[{\"file\",\"driver\",\"version\",\"state\",\"reason\",\"generation\",…}]}
JSON lines: one plugin's object a line")]
    List,
    Inspect(inspect::InspectArguments),
    New(new::NewArguments),
    Test(test::TestArguments),
    /// Look at the plugin directories now, and say what came of it
    Reload(orders::ReloadArguments),
    Rollback(orders::RollbackArguments),
    /// List the bytes that are not loaded until somebody releases them
    Quarantine,
    Release(orders::ReleaseArguments),
    Explain(orders::ExplainArguments),
    History(orders::HistoryArguments),
    Replay(ReplayArguments),
    Trust(TrustArguments),
}

/// Does what the command says.
pub(crate) async fn run(client: &Client, command: &PluginCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        PluginCommand::List => list(client, output).await,
        PluginCommand::Inspect(arguments) => inspect(arguments, output),
        PluginCommand::New(arguments) => new(arguments, output),
        PluginCommand::Test(arguments) => test(arguments, output),
        PluginCommand::Reload(arguments) => orders::reload(client, arguments, output).await,
        PluginCommand::Rollback(arguments) => orders::rollback(client, arguments, output).await,
        PluginCommand::Quarantine => orders::quarantine(client, output).await,
        PluginCommand::Release(arguments) => orders::release(client, arguments, output).await,
        PluginCommand::Explain(arguments) => orders::explain(client, arguments, output).await,
        PluginCommand::History(arguments) => orders::history(client, arguments, output).await,
        PluginCommand::Replay(arguments) => replay(arguments, output),
        PluginCommand::Trust(arguments) => trust::run(arguments, output),
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let plugins = client.rows(&TableName::of_host("plugins")).await?;
    match output.format() {
        Format::Json => output.json_document(&json!({"plugins": plugins.rows})),
        Format::Jsonl => plugins.rows.iter().try_for_each(|row| output.json_line(row)),
        Format::Table => print(&plugins, output),
    }
}

fn print(plugins: &Snapshot, output: &mut Output) -> Result<(), Failure> {
    // A reason is what one looks for: on a terminal it is never cut, and stands below.
    let below = output.is_terminal();
    let says = |column: &str| plugins.rows.iter().any(|row| row.get(column).is_some_and(|value| !value.is_null()));
    let mut columns = plugins.column_names();
    columns.retain(|column| column != "reason");
    if !below && says("reason") {
        columns.push("reason".to_owned());
    }
    let rows: Vec<Row> = plugins.rows.iter().map(|row| if below { brief(row) } else { row.clone() }).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match (column, text) {
        ("state", "serving") => paint.put(GREEN, text),
        ("state", "refused" | "conflict" | "in conflict" | "missing") => paint.put(RED, text),
        ("state", _) => paint.put(YELLOW, text),
        _ => text.to_owned(),
    };
    let drawn = Grid::new(&columns, &rows).lines(output.width(), &painted, paint);
    drawn.lines.iter().try_for_each(|line| output.line(line))?;
    if below && says("reason") {
        output.line("")?;
        for row in plugins.rows.iter().filter(|row| row.get("reason").is_some_and(|reason| !reason.is_null())) {
            let of = |column: &str| shown(column, row.get(column).unwrap_or(&Value::Null));
            let state = painted("state", predicate(&of("state")));
            output.line(&format!("{} is {state}: {}", of("file"), printable(&of("reason"))))?;
        }
    }
    if plugins.rows.is_empty() && output.is_terminal() {
        output.note("no plugins in the host's directories");
    }
    Ok(())
}

/// A plugin's state as it stands in a sentence.
pub(super) fn predicate(state: &str) -> &str {
    if state == "conflict" { "in conflict" } else { state }
}

/// A hash is told by its beginning.
fn brief(row: &Row) -> Row {
    let mut row = row.clone();
    if let Some(Value::String(hash)) = row.get_mut("sha256") {
        *hash = hash.chars().take(12).collect();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::super::mock::MockHost;
    use super::super::output::tests::pages;
    use super::*;

    async fn listed(format: Format, width: Option<usize>) -> String {
        let host = MockHost::start().await;
        let (mut output, data, _) = pages(format, width);
        run(&Client::new(host.socket()), &PluginCommand::List, &mut output).await.unwrap();
        data.text()
    }

    #[tokio::test]
    async fn on_a_terminal_the_reasons_stand_below() {
        assert_eq!(
            listed(Format::Table, Some(120)).await,
            "file         driver  version  state    generation  sha256        size_bytes  changed\n\
             libfiles.so  files   0.1.0    serving           1  0123456789ab     3.3 MiB  2026-11-22T01:00:00Z\n\
             notes.so     -       -        refused           -  fedcba987654        12 B  2026-11-22T01:00:00Z\n\
             \n\
             notes.so is refused: it is no object file: it begins with \"Dear\"\n"
        );
    }

    #[tokio::test]
    async fn elsewhere_every_row_is_one_whole_line() {
        let text = listed(Format::Table, None).await;
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("it begins with \"Dear\"") && text.contains("fedcba9876543210fedcba9876543210"));
    }
}
