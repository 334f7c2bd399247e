//! The doors: bound before anything starts, served after everything has.

use super::events::{Consumers, Streams};
use super::guard::{self, Rules};
use super::session::Sessions;
use super::{Happenings, State, router};
use crate::bus::Bus;
use crate::config::Config;
use crate::datasource::Datasources;
use crate::plugin::{Catalog, Control};
use axum::middleware;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Open requests get so long to end when the host stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a door can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The TCP address can't be had.
    #[error("can't listen on {address}: {source}; name another with --listen")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The unix socket can't be had.
    #[error("can't listen on the socket {}: {source}; name another with --socket", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another host listens on it.
    #[error("another host listens on the socket {}: stop it, or name another with --socket", path.display())]
    InUse {
        /// Its path.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("{} is there already and is no socket: name another with --socket", path.display())]
    NotASocket {
        /// Its path.
        path: PathBuf,
    },
    /// The token can't be read.
    #[error("the token file {} can't be read: {source}", path.display())]
    Token {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The doors, bound and perhaps served.
#[derive(Debug)]
pub struct Server {
    tcp: Option<(std::net::TcpListener, SocketAddr)>,
    unix: Option<(std::os::unix::net::UnixListener, PathBuf)>,
    rules: Arc<Rules>,
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Takes the addresses; nothing is answered yet. `socket`: where the unix socket is to be; none: there is none.
    ///
    /// # Errors
    ///
    /// When one can't be had.
    pub fn bind(config: &Config, socket: Option<PathBuf>) -> Result<Self, ServerError> {
        let token = match &config.listen.token_file {
            None => None,
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| ServerError::Token { path: path.clone(), source })?;
                Some(text.trim().to_owned()).filter(|t| !t.is_empty())
            }
        };
        let tcp = match config.listen.tcp {
            None => None,
            Some(address) => {
                let bound = std::net::TcpListener::bind(address).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    let address = listener.local_addr()?;
                    Ok((listener, address))
                });
                Some(bound.map_err(|source| ServerError::Tcp { address, source })?)
            }
        };
        let unix = match socket.map(|path| (bind_socket(&path), path)) {
            None => None,
            Some((Ok(listener), path)) => Some((listener, path)),
            // A socket that nobody asked for by name may be impossible (no such folder): TCP will do then.
            Some((Err(error), _)) if config.listen.socket.is_none() && tcp.is_some() => {
                tracing::warn!(%error, "no unix socket");
                None
            }
            Some((Err(error), _)) => return Err(error),
        };
        let loopback = tcp.as_ref().is_none_or(|(_, address)| address.ip().is_loopback());
        // The configuration's check refuses it for other addresses; whoever did not check gets no door open to all.
        let writes = config.listen.open_writes && loopback;
        if let Some((_, address)) = tcp.as_ref().filter(|_| writes) {
            tracing::warn!(%address, "listen.open_writes: every user and program of this machine may change everything here");
        }
        let rules = Arc::new(Rules { hosts: config.listen.hosts.clone(), token, reads: loopback, writes });
        Ok(Self { tcp, unix, rules, stopping: watch::Sender::new(false), tasks: Vec::new() })
    }

    /// Begins to answer.
    #[must_use]
    pub(crate) fn serve(
        mut self,
        bus: Bus,
        catalog: Arc<Catalog>,
        datasources: Datasources,
        happenings: Happenings,
        plugins: Control,
        file: Option<PathBuf>,
    ) -> Self {
        let (sessions, stopping) = (Sessions::default(), self.stopping.subscribe());
        let file = file.map(Arc::new);
        let started = jiff::Timestamp::now();
        let publisher = Arc::new(happenings.events.publisher("http"));
        let state = State {
            bus,
            catalog,
            datasources,
            happenings,
            publisher,
            plugins,
            sessions,
            streams: Streams::default(),
            consumers: Consumers::default(),
            file,
            started,
            stopping,
        };
        let app = router(state);
        let stop = |mut stopping: watch::Receiver<bool>| async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        if let Some((listener, _)) = self.tcp.as_ref().and_then(|(l, a)| Some((l.try_clone().ok()?, a))) {
            let app = app.clone().layer(middleware::from_fn_with_state(Arc::clone(&self.rules), guard::tcp));
            let stop = stop(self.stopping.subscribe());
            self.tasks.push(tokio::spawn(async move {
                let served = match TcpListener::from_std(listener) {
                    Ok(listener) => axum::serve(listener, app).with_graceful_shutdown(stop).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = served {
                    tracing::error!(%error, "TCP is no longer served");
                }
            }));
        }
        if let Some((listener, _)) = self.unix.as_ref().and_then(|(l, p)| Some((l.try_clone().ok()?, p))) {
            let stop = stop(self.stopping.subscribe());
            self.tasks.push(tokio::spawn(async move {
                let served = match UnixListener::from_std(listener) {
                    Ok(listener) => axum::serve(listener, app).with_graceful_shutdown(stop).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = served {
                    tracing::error!(%error, "the unix socket is no longer served");
                }
            }));
        }
        self
    }

    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|(_, address)| *address)
    }

    pub(crate) fn socket(&self) -> Option<&Path> {
        self.unix.as_ref().map(|(_, path)| path.as_path())
    }

    /// Lets open requests end, for a while.
    pub(crate) async fn stop(self) {
        self.stopping.send_replace(true);
        for mut task in self.tasks {
            if tokio::time::timeout(DRAIN, &mut task).await.is_err() {
                task.abort();
            }
        }
        if let Some((_, path)) = self.unix {
            // Gone already: fine.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_socket(path: &Path) -> Result<std::os::unix::net::UnixListener, ServerError> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let refuse = |source| ServerError::Socket { path: path.to_owned(), source };
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(ServerError::NotASocket { path: path.to_owned() });
        }
        match UnixStream::connect(path) {
            // A socket that nobody listens on was left behind by a host that died.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(refuse)?
            }
            _ => return Err(ServerError::InUse { path: path.to_owned() }),
        }
    }
    // Made under another name, and its owner's alone before it gets its own: the folder may be everyone's.
    let private = path.with_extension(format!("{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&private);
    let listener = UnixListener::bind(&private).map_err(refuse)?;
    let opened = std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&private, path))
        .and_then(|()| listener.set_nonblocking(true));
    match opened {
        Ok(()) => Ok(listener),
        Err(source) => {
            let _ = std::fs::remove_file(&private);
            Err(refuse(source))
        }
    }
}
