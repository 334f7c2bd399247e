//! `busway datasource`: what a host runs, made and changed while it runs.

mod actions;
mod add;
mod execute;
mod list;
mod prune;
mod refresh;
mod remove;
mod set;
mod settings;
mod show;
mod status;
mod values;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{Client, part};
use super::failure::Failure;
use super::input::Input;
use super::output::{DIM, Format, GREEN, Output, RED, YELLOW};
use super::sheet::of;
use super::snapshot::Row;
use super::table_name::TableName;
pub(super) use values::{options, pair};

/// The datasources of a host
#[derive(Debug, Subcommand)]
pub(crate) enum DatasourceCommand {
    Add(add::AddArguments),
    List(list::ListArguments),
    Show(show::ShowArguments),
    Set(set::SetArguments),
    /// Let a datasource run
    #[command(after_help = "\
Examples:
  busway datasource enable web

JSON: the datasource's object, as `datasource show` has it")]
    Enable(NamedArguments),
    /// Let a datasource run no more: its tables go, its record stays
    #[command(after_help = "\
Examples:
  busway datasource disable web

JSON: the datasource's object, as `datasource show` has it")]
    Disable(NamedArguments),
    Remove(remove::RemoveArguments),
    Refresh(refresh::RefreshArguments),
    Status(status::StatusArguments),
    Actions(actions::ActionsArguments),
    Execute(execute::ExecuteArguments),
    Prune(prune::PruneArguments),
}

/// Which datasource.
#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
}

/// Does what the command says.
pub(crate) async fn run(
    client: &Client,
    command: &DatasourceCommand,
    input: &mut Input,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        DatasourceCommand::Add(arguments) => add::run(client, arguments, input, output).await,
        DatasourceCommand::List(arguments) => list::run(client, arguments, output).await,
        DatasourceCommand::Show(arguments) => show::run(client, arguments, output).await,
        DatasourceCommand::Set(arguments) => set::run(client, arguments, input, output).await,
        DatasourceCommand::Enable(arguments) => set::enable(client, &arguments.name, true, output).await,
        DatasourceCommand::Disable(arguments) => set::enable(client, &arguments.name, false, output).await,
        DatasourceCommand::Remove(arguments) => remove::run(client, arguments, input, output).await,
        DatasourceCommand::Refresh(arguments) => refresh::run(client, arguments, output).await,
        DatasourceCommand::Status(arguments) => status::run(client, arguments, output).await,
        DatasourceCommand::Actions(arguments) => actions::run(client, arguments, output).await,
        DatasourceCommand::Execute(arguments) => execute::run(client, arguments, output).await,
        DatasourceCommand::Prune(arguments) => prune::run(client, arguments, input, output).await,
    }
}

/// Where all are.
const ALL: &str = "/v1/data-sources";

fn path(name: &str) -> String {
    format!("{ALL}/{}", part(name))
}

/// One of them, by name or id.
async fn fetch(client: &Client, name: &str) -> Result<Value, Failure> {
    match client.read(&path(name)).await {
        Ok(answer) => Ok(answer),
        Err(failure) => Err(explain(client, name, failure).await),
    }
}

/// `failure`, or if there is no such datasource, one that knows those there are.
async fn explain(client: &Client, name: &str, failure: Failure) -> Failure {
    let missing = match &failure {
        Failure::Refused { status: 404, data, .. } => data["kind"] == "DatasourceNotFound",
        _ => false,
    };
    if !missing {
        return failure;
    }
    let Ok(answer) = client.read(&format!("{ALL}?fields=name")).await else { return failure };
    let names = results(&answer).iter().filter_map(|one| one["name"].as_str()).map(str::to_owned).collect();
    Failure::Unknown { what: "datasource", name: name.to_owned(), known: names }
}

fn results(answer: &Value) -> &[Value] {
    answer["results"].as_array().map_or(&[], Vec::as_slice)
}

/// How those are that the host runs, as it lists them.
pub(super) async fn conditions(client: &Client) -> Result<Vec<Row>, Failure> {
    Ok(client.rows(&TableName::of_host("datasources")).await?.rows)
}

/// A datasource with how it is: what the record does not know is added to it.
pub(super) fn joined(datasource: &Value, conditions: &[Row]) -> Row {
    let mut row = datasource.as_object().cloned().unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition.get("name") == row.get("name"));
    for key in ["rows", "polls", "failures", "last_poll", "since", "generation", "status"] {
        let value = condition.and_then(|condition| condition.get(key)).cloned().unwrap_or_default();
        row.entry(key).or_insert(value);
    }
    row
}

/// A state's colour.
pub(super) fn style_of(state: &str) -> anstyle::Style {
    match state {
        "running" => GREEN,
        "failed" | "hung" => RED,
        "disabled" | "stopped" => DIM,
        _ => YELLOW,
    }
}

/// What to do about a state that is not well.
pub(super) fn remedy_of(name: &str, state: &str) -> Option<String> {
    Some(match state {
        "waiting for driver" => "`busway plugin list` says what became of the driver's file".to_owned(),
        "degraded" => format!("`busway datasource status {name}` names its tables; the last good rows stay"),
        "failed" => format!("it is tried again by itself; `busway datasource set {name} OPTION=VALUE` changes it"),
        "hung" => format!("replace the driver's file, or disable and enable {name}"),
        _ => return None,
    })
}

/// So long at most a datasource that begins to run is waited for, to say how it is.
const SETTLE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// The datasource a moment later, when it is opened or is known not to be.
async fn settled(client: &Client, mut datasource: Value) -> Value {
    let until = Instant::now() + SETTLE;
    while is_beginning(&datasource) && Instant::now() < until {
        sleep(LOOK).await;
        let id = datasource["id"].as_str().unwrap_or_default();
        // It was created or changed, whatever became of it since.
        let Ok(now) = client.read(&path(id)).await else { break };
        datasource = now;
    }
    datasource
}

/// Whether its state is one that passes by itself.
fn is_beginning(datasource: &Value) -> bool {
    match datasource["state"].as_str() {
        Some("opening") => true,
        // With a reason, it waits for somebody.
        Some("waiting for driver") => datasource["error"].is_null(),
        _ => false,
    }
}

/// Says what became of a datasource: its object, or for people a line.
fn told(answer: &Value, done: &str, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json_document(answer),
        Format::Jsonl => output.json_line(answer),
        Format::Table => {
            let text = |key: &str| answer[key].as_str().unwrap_or_default();
            let state = output.paint().put(style_of(text("state")), text("state"));
            output.line(&match text("state") == done {
                true => format!("{} is {state}", text("name")),
                false => format!("{} {done}: {state}", text("name")),
            })?;
            if let Some(error) = answer["error"].as_str() {
                output.line(&format!("  {}", super::cell::printable(error)))?;
            }
            Ok(())
        }
    }
}

/// A row of cells.
fn cells<const N: usize>(cells: [(&str, Value); N]) -> Row {
    cells.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
}

/// The rows of a table of the host that are of one service.
async fn tables_of(client: &Client, name: &str) -> Result<Vec<Row>, Failure> {
    let mut rows = client.rows(&TableName::of_host("tables")).await?.rows;
    rows.retain(|row| row.get("service").is_some_and(|service| service == name));
    rows.sort_by_key(|row| of(row, "table").as_str().map(str::to_owned));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::told::ToldHost;
    use super::*;
    use serde_json::json;

    /// A datasource as a host answers it.
    pub(super) fn datasource(name: &str, state: &str, error: Value) -> Value {
        json!({
            "id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "name": name, "driver": "files", "description": "",
            "type": null, "enabled": state != "disabled", "config": {"path": "/srv", "password": "<hidden>"},
            "addresses": [], "poll": "10s", "deadline": "30s", "max_rows": null, "max_bytes": null,
            "persist_data": false, "managed_by": "api", "created": "2026-11-22T01:00:00.123456Z",
            "changed": "2026-11-22T02:00:00.5Z", "revision": 3, "etag": "6ba7b810-3", "fault": null, "state": state, "error": error,
        })
    }

    /// How it is, as the host lists it.
    pub(super) fn condition(name: &str, rows: u64) -> Value {
        json!({"name": name, "rows": rows, "polls": 7, "failures": 1, "generation": 2, "status": null,
            "last_poll": "2026-11-22T03:00:00Z", "since": "2026-11-22T02:30:00Z"})
    }

    /// A table as the host answers it.
    pub(in crate::cli) fn table(rows: Value) -> Value {
        json!({"service": "_host", "table": "x", "epoch": 1, "to": 1, "rows": rows})
    }

    /// What to answer where `web` is not there.
    pub(super) fn missing(request: &str) -> (&str, u16, &'static str, Value) {
        (request, 404, "Datasource not found wbe", json!({"kind": "DatasourceNotFound"}))
    }

    #[tokio::test]
    async fn one_that_begins_to_run_is_waited_for() {
        let id = "GET /v1/data-sources/6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let host = ToldHost::start(vec![(id, datasource("web", "running", Value::Null))]);
        for (state, error, then) in [
            ("opening", Value::Null, "running"),
            ("waiting for driver", Value::Null, "running"),
            ("waiting for driver", json!("no driver"), "waiting for driver"),
            ("failed", json!("no"), "failed"),
        ] {
            let seen = settled(&host.client(), datasource("web", state, error)).await;
            assert_eq!(seen["state"], then, "{state}");
        }
    }

    #[tokio::test]
    async fn a_datasource_that_is_not_there_has_a_near_name() {
        let names = json!({"results": [{"name": "db"}, {"name": "web"}]});
        let good = vec![("GET /v1/data-sources?fields=name", names)];
        let host = ToldHost::refusing(good, vec![missing("GET /v1/data-sources/wbe")]);
        let failure = fetch(&host.client(), "wbe").await.unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            "error: no datasource wbe\n  why: the datasources are db, web\n  try: web, which is a near name"
        );
    }
}
