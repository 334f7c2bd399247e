//! `busway events` and `busway event`: what happens and happened, what can, and to say that something did.

mod follower;
mod line;
mod live;
mod publish;
mod types;

use clap::Subcommand;
use serde_json::Value;

use crate::event::{Catalogue, described};

use super::client::Client;
use super::failure::Failure;
use super::output::Output;

pub(crate) use live::{EventsArguments, run as follow};
pub(crate) use types::run as types;

/// Publish events, and see what types there are
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    Publish(publish::PublishArguments),
    Types(types::TypesArguments),
}

/// Does what needs a host.
pub(crate) async fn run(client: &Client, command: &EventCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        EventCommand::Publish(arguments) => publish::run(client, arguments, output).await,
        EventCommand::Types(arguments) => types::run(Some(client), arguments, output).await,
    }
}

/// What can happen at that host: its own types, and those that drivers and operators brought.
async fn catalogue(client: &Client) -> Result<Catalogue, Failure> {
    let answer = client.read("/v1/events/types").await?;
    let types = answer.get("results").and_then(Value::as_array).into_iter().flatten();
    Ok(Catalogue::of(types.filter_map(described)))
}
