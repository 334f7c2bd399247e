//! `busway datasource actions`: what it can be asked to do.

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::driver;
use super::super::failure::Failure;
use super::super::output::{Format, Output};
use super::fetch;

/// List what a datasource can be asked to do
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource actions web
  busway datasource execute web ACTION VALUE NAME=VALUE

JSON: {\"schema_version\":1,\"actions\":[{\"name\",\"description\",\"args\":[{\"name\",\"description\",\"required\"}]}]}
JSON lines: one action's object a line")]
pub(crate) struct ActionsArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints the actions of its driver.
pub(super) async fn run(client: &Client, arguments: &ActionsArguments, output: &mut Output) -> Result<(), Failure> {
    let datasource = fetch(client, &arguments.name).await?;
    let info = driver::fetch(client, datasource["driver"].as_str().unwrap_or_default()).await?;
    let mut actions = info["actions"].as_array().cloned().unwrap_or_default();
    actions.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    match output.format() {
        Format::Json => output.json_document(&json!({"actions": actions})),
        Format::Jsonl => actions.iter().try_for_each(|action: &Value| output.json_line(action)),
        Format::Table if actions.is_empty() => {
            if output.is_terminal() {
                output.note("its driver has no actions");
            }
            Ok(())
        }
        Format::Table => driver::print_actions(&actions, output),
    }
}
