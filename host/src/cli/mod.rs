//! The command line: one file a subcommand, no logic of the host.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod address;
mod age;
mod backup;
mod call;
mod cell;
mod client;
mod completions;
mod config;
mod datasource;
mod demo;
mod dev;
mod driver;
mod event;
mod event_stream;
mod exit;
mod failure;
mod follow;
mod followers;
mod grid;
mod host_arguments;
mod input;
mod man;
#[cfg(all(test, unix))]
mod mock;
mod nodes;
mod output;
mod plugin;
mod replica;
mod restore;
mod resync;
mod rows;
mod run;
mod sheet;
mod snapshot;
mod status;
mod supervisor;
mod table_name;
mod tables;
#[cfg(all(test, unix))]
mod told;
mod top;
mod trust;
mod view;
mod watch;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use address::{Origin, candidates};
use client::Client;
use failure::Failure;
use output::{ColorChoice, Format, Output};

/// The program's version and the contract's: a driver built for another minor version of that one is welcome, too.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} (driver contract {})", env!("CARGO_PKG_VERSION"), busway_plugin_api::abi::VERSION));

/// Live tables from driver libraries: drop a driver into a directory, name a datasource, and its tables are on the bus
#[derive(Debug, Parser)]
#[command(name = "busway", version = VERSION.as_str(), after_help = exit::HELP, max_term_width = 110)]
struct Program {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct GlobalArguments {
    /// The host to speak to: an URL (http://127.0.0.1:1789) or a socket's path. Without it: the configuration's socket,
    /// $XDG_RUNTIME_DIR/busway.sock, then /run/busway/busway.sock
    #[arg(long, global = true, value_name = "URL|PATH", env = "BUSWAY_HOST", help_heading = "Global options")]
    host: Option<String>,
    /// What data looks like on stdout
    #[arg(
        long,
        short,
        global = true,
        value_name = "FORMAT",
        env = "BUSWAY_OUTPUT",
        default_value = "table",
        hide_possible_values = false,
        help_heading = "Global options"
    )]
    output: Format,
    /// When there is colour; NO_COLOR and CLICOLOR_FORCE are heeded
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "BUSWAY_COLOR",
        default_value = "auto",
        help_heading = "Global options"
    )]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArguments),
    Dev(dev::DevArguments),
    Run(run::RunArguments),
    Status(status::StatusArguments),
    Tables(tables::TablesArguments),
    Rows(rows::RowsArguments),
    Watch(watch::WatchArguments),
    Top(top::TopArguments),
    Call(call::CallArguments),
    Resync(resync::ResyncArguments),
    Nodes(nodes::NodesArguments),
    Events(event::EventsArguments),
    #[command(subcommand)]
    Event(event::EventCommand),
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    #[command(subcommand)]
    Driver(driver::DriverCommand),
    #[command(subcommand, visible_alias = "ds")]
    Datasource(datasource::DatasourceCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// The same as `busway config check`
    Check(config::CheckArguments),
    Backup(backup::BackupArguments),
    Restore(restore::RestoreArguments),
    Completions(completions::CompletionsArguments),
    Man(man::ManArguments),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let matches = Program::command().get_matches();
    let host_origin = match matches.value_source("host") {
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => Origin::Argument,
    };
    let program = Program::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut output = Output::of_process(program.global.output, program.global.color);
    let named = program.global.host.as_deref().map(|host| (host, host_origin));
    let done = match &program.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Demo(arguments) => demo::run(arguments, &mut output),
        Command::Dev(arguments) => dev::run(arguments, &mut output),
        command => on_one_thread(ask(command, named, &config::Given::of(&matches), &mut output)),
    };
    let done = done.and_then(|()| output.flush());
    match done {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// What needs no host is done first; the rest asks one.
async fn ask(
    command: &Command,
    named: Option<(&str, Origin)>,
    given: &config::Given,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => return config::check(arguments, output).await,
        Command::Config(command) => {
            if let Some(done) = command.alone(given, output).await {
                return done;
            }
        }
        Command::Completions(arguments) => return completions::run(arguments, Program::command(), output),
        Command::Man(arguments) => return man::run(arguments, Program::command(), output),
        Command::Restore(arguments) => return restore::run(arguments, output),
        Command::Plugin(plugin::PluginCommand::Inspect(arguments)) => return plugin::inspect(arguments, output),
        Command::Plugin(plugin::PluginCommand::Replay(arguments)) => return plugin::replay(arguments, output),
        Command::Plugin(plugin::PluginCommand::New(arguments)) => return plugin::new(arguments, output),
        Command::Plugin(plugin::PluginCommand::Test(arguments)) => return plugin::test(arguments, output),
        Command::Plugin(plugin::PluginCommand::Trust(arguments)) => return trust::run(arguments, output),
        _ => {}
    }
    let configured = if named.is_none() { host_arguments::configured_socket()? } else { None };
    let client = match (find(named, configured).await, command) {
        // What every host knows this program knows, too.
        (Err(Failure::NotReachable(_)), Command::Event(event::EventCommand::Types(arguments))) if named.is_none() => {
            return event::types(None, arguments, output).await;
        }
        (found, _) => found?,
    };
    match command {
        Command::Tables(arguments) => tables::run(&client, arguments, output).await,
        Command::Rows(arguments) => rows::run(&client, arguments, output).await,
        Command::Watch(arguments) => watch::run(&client, arguments, output).await,
        Command::Top(arguments) => top::run(client, arguments, output).await,
        Command::Call(arguments) => call::run(&client, arguments, output).await,
        Command::Resync(arguments) => resync::run(&client, arguments, output).await,
        Command::Nodes(arguments) => nodes::run(&client, arguments, output).await,
        Command::Events(arguments) => event::follow(&client, arguments, output).await,
        Command::Event(command) => event::run(&client, command, output).await,
        Command::Plugin(command) => plugin::run(&client, command, output).await,
        Command::Driver(command) => driver::run(&client, command, output).await,
        Command::Datasource(command) => {
            datasource::run(&client, command, &mut input::Input::of_process(), output).await
        }
        Command::Status(arguments) => status::run(&client, arguments, output).await,
        Command::Config(command) => command.run(&client, output).await,
        Command::Backup(arguments) => backup::run(&client, arguments, output).await,
        Command::Demo(_) | Command::Dev(_) | Command::Run(_) => Ok(()),
        Command::Check(_) | Command::Restore(_) => Ok(()),
        Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}

/// The host that the user named, or the first that answers. `configured` is the socket of the configuration.
async fn find(named: Option<(&str, Origin)>, configured: Option<PathBuf>) -> Result<Client, Failure> {
    Client::find(candidates(named, configured)?).await
}

/// A client waits for one host: one thread is enough.
fn on_one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_argument_is_documented() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Program::command());
    }

    #[test]
    fn the_version_names_the_contract() {
        let version = Program::command().render_version();
        assert_eq!(
            version,
            format!("busway {} (driver contract {})\n", env!("CARGO_PKG_VERSION"), busway_plugin_api::abi::VERSION)
        );
    }
}
