//! `busway config`: what a host is told by its configuration.

mod changes;
mod check;
mod origin;
mod show;

pub(crate) use check::{CheckArguments, run as check};
pub(crate) use origin::Given;

use clap::Subcommand;

use super::client::Client;
use super::failure::Failure;
use super::output::Output;

/// The configuration: checked, shown, compared with a running host, followed by it
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    Check(CheckArguments),
    Show(show::ShowArguments),
    /// Say what the configuration file has otherwise than the running host
    #[command(after_help = "\
Examples:
  busway config diff

The host reads the file that it was started with. Only datasources are compared: the rest holds from its next start on.

JSON: {\"schema_version\":1,\"changes\":[{\"name\",\"change\",\"keys\"}]}, a change is added, changed, removed or clash
JSON lines: one change's object a line")]
    Diff,
    /// Let the running host follow its configuration file: datasources are added, changed and removed in one pass
    #[command(after_help = "\
Examples:
  busway config diff && busway config reload

The host reads the file that it was started with. What it says of anything but datasources holds from the next start on.

JSON: {\"schema_version\":1,\"changes\":[{\"name\",\"change\",\"keys\"}]}
JSON lines: one change's object a line")]
    Reload,
}

impl ConfigCommand {
    /// Does what needs no host; none: it needs one.
    pub(crate) async fn alone(&self, given: &Given, output: &mut Output) -> Option<Result<(), Failure>> {
        match self {
            Self::Check(arguments) => Some(check(arguments, output).await),
            Self::Show(arguments) => Some(show::run(arguments, given, output)),
            Self::Diff | Self::Reload => None,
        }
    }

    /// Does what needs a host.
    pub(crate) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Diff => changes::diff(client, output).await,
            Self::Reload => changes::reload(client, output).await,
            Self::Check(_) | Self::Show(_) => Ok(()),
        }
    }
}
