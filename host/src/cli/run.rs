//! `busway run`: the host itself.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::host_arguments::HostArguments;
use super::supervisor::Supervisor;
use crate::logging;
use crate::node::Node;

/// Run a host: load the drivers of its plugin directories, and serve the tables of its datasources
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway run --config /etc/busway/busway.toml
  busway run --plugins /usr/lib/busway/drivers --listen 127.0.0.1:1789 --log info,busway=debug

SIGINT and SIGTERM stop it gracefully; a second one at once. SIGHUP looks at the plugin directories and follows the
configuration file's datasources, as `busway plugin reload` and `busway config reload` do.")]
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
        let supervisor = Supervisor::of_process();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
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
        supervisor.ready("serves");
        let why = tokio::select! {
            why = told() => why,
            () = supervisor.watch() => "nothing",
            () = async {
                while hangup.recv().await.is_some() {
                    supervisor.reloading();
                    reload(&node).await;
                    supervisor.ready("serves");
                }
                std::future::pending().await
            } => "nothing",
        };
        tracing::info!(signal = why, "stopping");
        supervisor.stopping();
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

/// What SIGHUP means. What comes of it is in the log: nobody waits for an answer.
async fn reload(node: &Node) {
    tracing::info!("SIGHUP: looking at the plugin directories and the configuration file");
    match node.reload_configuration().await {
        Ok(Some(followed)) => {
            let (changes, types_refused) = (followed.datasources, followed.types_refused.len());
            tracing::info!(
                changes,
                types_refused,
                "the configuration file's datasources and types of events are followed"
            );
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "the configuration file is not followed"),
    }
    match node.plugins().reload(None, false).await {
        Ok(answer) => {
            answer.reports.iter().for_each(|report| tracing::info!("{report}"));
            for file in answer.troubles {
                tracing::warn!(file = %file.path.display(), reason = file.reason, "a plugin is {}", file.state.as_str());
            }
        }
        Err(error) => tracing::error!(%error, "the plugins were not reloaded"),
    }
}
