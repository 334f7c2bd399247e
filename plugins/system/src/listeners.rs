//! Table `listeners`.

use crate::users::Users;
use busway_plugin_api::prelude::*;
use procfs::ProcError;
use procfs::net::{TcpNetEntry, TcpState, UdpNetEntry, UdpState, tcp, tcp6, udp, udp6};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

/// A row of `listeners`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) protocol: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    inode: u64,
    user: String,
    pub(crate) pid: Option<i32>,
    pub(crate) process: Option<String>,
}

/// The table's declaration.
pub(crate) fn spec() -> TableSpec {
    TableSpec::of::<Listener>("listeners")
        .key(["protocol", "address", "port", "inode"])
        .describe("Sockets that wait for connections or datagrams")
        .column("protocol", "tcp, tcp6, udp or udp6")
        .column("address", "0.0.0.0 or :: stand for all")
        .column("inode", "The socket's number: several may share a port")
        .column("user", "Who made the socket")
        .column("pid", "The process that holds it, of several the lowest; null where that can't be read")
        .column("process", "The name of that process")
}

/// A socket as the kernel lists it; in the table's order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    protocol: &'static str,
    local: SocketAddr,
    inode: u64,
    uid: u32,
}

/// All rows.
pub(crate) fn read(context: &Context) -> Result<Vec<Listener>, Error> {
    let mut sockets = BTreeSet::new();
    sockets.extend(listening("tcp", present(tcp())?));
    sockets.extend(listening("tcp6", present(tcp6())?));
    sockets.extend(unconnected("udp", present(udp())?));
    sockets.extend(unconnected("udp6", present(udp6())?));
    let mut holders = holders(sockets.iter().map(|socket| socket.inode).collect(), context)?;
    let users = Users::read();
    let row = |socket: Socket| {
        let (pid, process) = holders.remove(&socket.inode).unzip();
        Listener {
            protocol: socket.protocol.to_owned(),
            address: socket.local.ip().to_string(),
            port: socket.local.port(),
            inode: socket.inode,
            user: users.name(socket.uid),
            pid,
            process,
        }
    };
    Ok(sockets.into_iter().map(row).collect())
}

/// A kernel without IPv6 has no list of its sockets.
fn present<T>(list: Result<Vec<T>, ProcError>) -> Result<Vec<T>, ProcError> {
    match list {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        other => other,
    }
}

fn listening(protocol: &'static str, list: Vec<TcpNetEntry>) -> impl Iterator<Item = Socket> {
    let waiting = list.into_iter().filter(|entry| entry.state == TcpState::Listen);
    waiting.map(move |e| Socket { protocol, local: e.local_address, inode: e.inode, uid: e.uid })
}

/// A datagram socket that is connected hears its peer alone: a client, mostly.
fn unconnected(protocol: &'static str, list: Vec<UdpNetEntry>) -> impl Iterator<Item = Socket> {
    let waiting = list.into_iter().filter(|entry| entry.state != UdpState::Established);
    waiting.map(move |e| Socket { protocol, local: e.local_address, inode: e.inode, uid: e.uid })
}

/// Which process holds each socket. The kernel tells it only the other way round, so this looks at every open file of
/// one process after the other until all sockets are found: the costly part of this driver. Processes of others can't
/// be looked into without privileges; their sockets stay without holder.
fn holders(mut wanted: HashSet<u64>, context: &Context) -> Result<HashMap<u64, (i32, String)>, Error> {
    let mut found = HashMap::new();
    let mut pids: Vec<i32> =
        std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // A server's workers inherit its socket: the lowest number is mostly the server, and the same at each poll.
    pids.sort_unstable();
    for pid in pids {
        if context.cancelled() {
            return Err(Error::cancelled());
        }
        if wanted.is_empty() {
            break;
        }
        let process = Path::new("/proc").join(pid.to_string());
        // Not permitted, or gone by now.
        let Ok(files) = std::fs::read_dir(process.join("fd")) else { continue };
        for file in files.flatten() {
            let target = match std::fs::read_link(file.path()) {
                Ok(target) => target,
                // Some let us count their files but not look at any.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => break,
                // Closed by now.
                Err(_) => continue,
            };
            if let Some(inode) = target.to_str().and_then(socket_inode)
                && wanted.remove(&inode)
            {
                let name = std::fs::read(process.join("comm")).unwrap_or_default();
                found.insert(inode, (pid, String::from_utf8_lossy(&name).trim_end().to_owned()));
            }
        }
    }
    Ok(found)
}

/// The number in `socket:[123]`.
fn socket_inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use procfs::FromReadSI as _;
    use procfs::net::{TcpNetEntries, UdpNetEntries};

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1076 1 0 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1077 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 2000 1 0 100 0 0 10 0
";
    const TCP6: &str = "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9 1 0 100 0 0 10 0
";
    const UDP: &str =
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref
  10: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31 2 0 0
  11: 0100007F:9C40 0100007F:0035 01 00000000:00000000 00:00000000 00000000     0        0 32 2 0 0
";

    #[test]
    fn only_those_that_wait_are_listed() {
        let system = procfs::current_system_info();
        let tcp = TcpNetEntries::from_read(TCP.as_bytes(), system).unwrap().0;
        let found: Vec<Socket> = listening("tcp", tcp).collect();
        let local = "127.0.0.1:8080".parse().unwrap();
        let socket = |inode| Socket { protocol: "tcp", local, inode, uid: 1000 };
        assert_eq!(found, [socket(1076), socket(1077)], "two share a port");

        let tcp6 = TcpNetEntries::from_read(TCP6.as_bytes(), system).unwrap().0;
        let found: Vec<SocketAddr> = listening("tcp6", tcp6).map(|s| s.local).collect();
        assert_eq!(found, ["[::1]:22".parse().unwrap()]);

        let udp = UdpNetEntries::from_read(UDP.as_bytes(), system).unwrap().0;
        let found: Vec<u64> = unconnected("udp", udp).map(|s| s.inode).collect();
        assert_eq!(found, [31]);
    }

    #[test]
    fn a_missing_list_is_empty_and_an_unreadable_one_an_error() {
        assert!(present::<TcpNetEntry>(Err(ProcError::NotFound(None))).unwrap().is_empty());
        assert!(present::<TcpNetEntry>(Err(ProcError::PermissionDenied(None))).is_err());
    }

    #[test]
    fn links_to_sockets() {
        assert_eq!(socket_inode("socket:[1076]"), Some(1076));
        for other in ["pipe:[1076]", "/tmp/socket:[1]", "anon_inode:[eventpoll]", "socket:[]"] {
            assert_eq!(socket_inode(other), None, "{other}");
        }
    }
}
