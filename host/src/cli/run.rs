//! `busway run`: the host itself.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::host_arguments::HostArguments;
use crate::logging;
use crate::node::Node;

/// Run a host: load the drivers of its plugin directories, and serve the tables of its datasources
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway run --config /etc/busway/busway.toml
  busway run --plugins /usr/lib/busway/drivers --listen 127.0.0.1:1789 --log info,busway=debug

SIGINT and SIGTERM stop it gracefully; a second one at once.")]
pub(crate) struct RunArguments {
    #[command(flatten)]
    host: HostArguments,
}

/// Runs until told to stop.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let config = arguments.host.configuration()?;
    let filter = logging::parse_filter(&config.log.filter).map_err(crate::config::ConfigError::Value)?;
    logging::start(filter, config.log.format, None);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut told = async || tokio::select! { _ = interrupt.recv() => "SIGINT", _ = terminate.recv() => "SIGTERM" };
        // A driver may take its time to load: one may change one's mind.
        let node = tokio::select! {
            node = Node::start(&config) => node?,
            signal = told() => {
                tracing::info!(signal, "told to stop before it served");
                return Ok(());
            }
        };
        let tcp = node.tcp().map(|address| format!("http://{address}"));
        let socket = node.socket().map(|path| path.display().to_string());
        tracing::info!(tcp, socket, pid = std::process::id(), "busway serves");
        let why = told().await;
        tracing::info!(signal = why, "stopping");
        tokio::select! {
            () = node.stop() => tracing::info!("stopped"),
            _ = told() => tracing::warn!("told twice: stopped at once"),
        }
        Ok::<(), Failure>(())
    });
    // Threads that hang in a driver must not hold up the end.
    runtime.shutdown_background();
    ended
}
