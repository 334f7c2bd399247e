//! `busway demo`: a host of its own, on the drivers that were built, and a live view of it.

mod samples;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::address::HostAddress;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::top::time;
use super::view::{Show, show};
use crate::config::{Config, ConfigError, Datasource};
use crate::logging;
use crate::node::{Node, beside_the_program};
use samples::Samples;

/// Show what this is: a host with live tables of this machine and of a folder of changing files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway demo
  busway demo --for 20s | cat              where there is no terminal: a line a change

It loads the drivers that lie beside the program (cargo build puts them there), and keeps its state in a temporary
folder. Build a driver anew while it runs: its tables go on from the new code.

Keys: q quit, tab next table, shift-tab the one before, arrows and page keys scroll, p pause")]
pub(crate) struct DemoArguments {
    /// End after this time: seconds, or with a unit (90, 5m)
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// The directory of the drivers, if not the program's own
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

/// What the demonstration needs.
const DRIVERS: [&str; 2] = ["system", "files"];

/// Runs a host for as long as it is looked at.
pub(crate) fn run(arguments: &DemoArguments, output: &mut Output) -> Result<(), Failure> {
    let plugins = arguments.plugins.clone().or_else(beside_the_program).unwrap_or_else(|| PathBuf::from("."));
    let missing = |name: &&&str| !plugins.join(format!("libbusway_{name}{}", std::env::consts::DLL_SUFFIX)).is_file();
    if let Some(name) = DRIVERS.iter().find(missing) {
        return Err(Failure::NoDriver { name, plugins });
    }
    let folder = tempfile::Builder::new().prefix("busway-demo-").tempdir()?;
    let config = config(folder.path(), plugins)?;
    let log = std::fs::File::create(folder.path().join("log"))?;
    let filter = logging::parse_filter(&config.log.filter).map_err(ConfigError::Value)?;
    // On the screen it would be in the way.
    logging::start(filter, config.log.format, Some(log));
    let files = folder.path().join("files");
    std::fs::create_dir(&files)?;
    let samples = Samples::new(&files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shown = runtime.block_on(async {
        let node = Node::start(&config).await?;
        let changing = tokio::spawn(async move { samples.keep_changing().await });
        let client = Client::new(HostAddress::Socket(config.socket()));
        let shown = show(client, &Show { title: "demo", duration: arguments.duration }, output).await;
        changing.abort();
        node.stop().await;
        shown
    });
    runtime.shutdown_background();
    shown
}

fn config(folder: &Path, plugins: PathBuf) -> Result<Config, ConfigError> {
    let mut config = Config { state_dir: Some(folder.join("state")), ..Config::default() };
    config.plugins.directories = vec![plugins];
    config.plugins.scan_interval = Duration::from_secs(1);
    config.listen.socket = Some(folder.join("busway.sock"));
    let datasource = |driver: &str, options: serde_json::Value| Datasource {
        deadline: Duration::from_secs(10),
        options: options.as_object().cloned().unwrap_or_default(),
        ..Datasource::new(driver).poll(Duration::from_secs(1))
    };
    let files = folder.join("files");
    let keys = json!({"orders": ["id"], "sensors": ["sensor"]});
    config.datasource.insert("system".to_owned(), datasource("system", json!({})));
    config.datasource.insert("files".to_owned(), datasource("files", json!({"path": files, "key": keys})));
    config.check()?;
    Ok(config)
}
