//! The view of a whole host as it lives: panes on a terminal, lines elsewhere.

mod feed;
mod host_news;
mod lines;
mod live;
mod model;
mod news;
mod panes;
mod screen;
mod tables;

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Output};

/// What is shown, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    /// A word for the header: the command that shows.
    pub(crate) title: &'static str,
    /// End by itself after this time.
    pub(crate) duration: Option<Duration>,
}

/// Shows the host: live on a terminal, as lines elsewhere. Ends with its time, with the key `q`, or, as
/// [`Failure::Interrupted`], with a signal.
pub(crate) async fn show(client: Client, show: &Show, output: &mut Output) -> Result<(), Failure> {
    let ending = Ending::new(show.duration)?;
    let is_live = output.is_terminal() && output.format() == Format::Table && io::IsTerminal::is_terminal(&io::stdin());
    if is_live {
        output.flush()?;
        live::run(client, show, output.paint().is_on(), ending).await
    } else {
        lines::run(client, show, output, ending).await
    }
}

/// What ends a view from outside.
struct Ending {
    at: Option<Instant>,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Ending {
    fn new(duration: Option<Duration>) -> io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            at: duration.and_then(|duration| Instant::now().checked_add(duration)),
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the end of the view. Nothing is lost if this is dropped while it waits.
    async fn wait(&mut self) -> Result<(), Failure> {
        let at = self.at;
        let over = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        #[cfg(unix)]
        let stopped = async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hangup.recv() => {}
            }
        };
        #[cfg(not(unix))]
        let stopped = tokio::signal::ctrl_c();
        tokio::select! {
            () = over => Ok(()),
            _ = stopped => Err(Failure::Interrupted),
        }
    }
}

/// The time of day, as people here have it.
fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}
