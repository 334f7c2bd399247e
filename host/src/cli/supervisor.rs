//! What the host tells the service manager that started it, if one did: systemd's `sd_notify` protocol, one datagram a word to
//! the socket that `NOTIFY_SOCKET` names (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Who started the host and wants to hear of it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the host is alive.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says; what it says wrong is logged, and nobody is told anything.
    pub(crate) fn of_process() -> Self {
        let named = std::env::var_os("NOTIFY_SOCKET");
        let variable = |name: &str| std::env::var(name).ok();
        Self::new(named.as_deref(), variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref())
    }

    fn new(socket: Option<&OsStr>, watchdog: Option<&str>, watched: Option<&str>) -> Self {
        let socket = socket.and_then(|name| match connect(name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "NOTIFY_SOCKET can't be reached: nobody is told that the host serves");
                None
            }
        });
        let mine = watched.is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = watchdog.filter(|_| mine).and_then(|text| text.parse().ok()).map(Duration::from_micros);
        Self { socket, watchdog: watchdog.filter(|period| !period.is_zero()) }
    }

    fn tell(&self, text: &str) {
        // It may have gone; the host goes on without it.
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!(%error, text, "the service manager was not told");
        }
    }

    /// The host serves.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins; [`ready`](Self::ready) ends it.
    pub(crate) fn reloading(&self) {
        // Since boot, as systemd compares it with its own.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The host stops.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says that the host is alive, for as long as its runtime is; never ends.
    pub(crate) async fn watch(&self) {
        let Some(period) = self.watchdog.filter(|_| self.socket.is_some()) else { return std::future::pending().await };
        // Thrice as often as must be: one may come late.
        let mut beat = tokio::time::interval(period / 3);
        loop {
            beat.tick().await;
            self.tell("WATCHDOG=1");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        // A name that is no path.
        [b'@', rest @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(rest)?)?,
        _ => socket.connect(name)?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[tokio::test]
    async fn who_started_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::new(Some(path.as_os_str()), Some("30000000"), None);
        supervisor.ready("2 drivers");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=2 drivers");
        supervisor.reloading();
        let reloading = heard(&manager);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        supervisor.stopping();
        assert_eq!(heard(&manager), "STOPPING=1");
        let alive = tokio::time::timeout(Duration::from_secs(20), supervisor.watch());
        tokio::select! {
            _ = alive => panic!("it ends"),
            heard = tokio::task::spawn_blocking(move || heard(&manager)) => assert_eq!(heard.unwrap(), "WATCHDOG=1"),
        }
    }

    #[test]
    fn nobody_is_told_when_nobody_asked() {
        let quiet = Supervisor::new(None, Some("30000000"), None);
        quiet.ready("");
        assert!(quiet.socket.is_none());
        assert_eq!(Supervisor::new(None, Some("30000000"), Some("1")).watchdog, None, "meant for another process");
        assert!(Supervisor::new(Some(OsStr::new("/nowhere/at/all")), None, None).socket.is_none());
    }
}
