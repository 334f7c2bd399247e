//! Table `interfaces`.

use crate::rates::{Samples, per_second};
use busway_plugin_api::prelude::*;
use busway_plugin_api::tracing;
use nix::ifaddrs::getifaddrs;
use procfs::net::{DeviceStatus, dev_status};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Up as its administrator wants it, in sysfs's `flags`.
const IFF_UP: u32 = 1;

/// A row of `interfaces`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) up: Option<bool>,
    mac: Option<String>,
    mtu: Option<u32>,
    pub(crate) addresses: Option<Vec<String>>,
    received_bytes: u64,
    sent_bytes: u64,
    received_packets: u64,
    sent_packets: u64,
    received_errors: u64,
    sent_errors: u64,
    received_bytes_per_second: Option<u64>,
    sent_bytes_per_second: Option<u64>,
}

/// The table's declaration.
pub(crate) fn spec() -> TableSpec {
    TableSpec::of::<Interface>("interfaces")
        .key(["name"])
        .describe("Network interfaces, their addresses and traffic")
        .column("up", "Whether traffic can pass")
        .column("mac", "Null where it has none, as the loopback")
        .column("addresses", "IPv4 first, then IPv6")
        .column("received_bytes_per_second", "Between two polls; null at the first")
        .column("sent_bytes_per_second", "Between two polls; null at the first")
}

/// Received and sent bytes by interface.
type Traffic = HashMap<String, (u64, u64)>;

/// Reads the table; remembers the traffic.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    traffic: Samples<Traffic>,
}

impl Reader {
    /// All rows.
    pub(crate) fn read(&self) -> Result<Vec<Interface>, Error> {
        let mut devices: Vec<DeviceStatus> = dev_status()?.into_values().collect();
        devices.sort_by(|a, b| a.name.cmp(&b.name));
        let traffic = devices.iter().map(|d| (d.name.clone(), (d.recv_bytes, d.sent_bytes))).collect();
        let earlier = self.traffic.exchange(Instant::now(), traffic);
        let earlier = earlier.as_ref().map(|(traffic, elapsed)| (traffic.as_ref(), *elapsed));
        let mut addresses = addresses();
        let row = |device: DeviceStatus| {
            let here = addresses.as_mut().map(|all| all.remove(&device.name).unwrap_or_default());
            row(device, here, earlier)
        };
        Ok(devices.into_iter().map(row).collect())
    }
}

fn row(device: DeviceStatus, addresses: Option<Vec<IpAddr>>, earlier: Option<(&Traffic, Duration)>) -> Interface {
    let rates = earlier.and_then(|(traffic, elapsed)| {
        let (received, sent) = traffic.get(&device.name)?;
        Some((per_second(*received, device.recv_bytes, elapsed), per_second(*sent, device.sent_bytes, elapsed)))
    });
    let (received_rate, sent_rate) = rates.unwrap_or_default();
    let attribute = |file: &str| {
        let text = std::fs::read_to_string(Path::new("/sys/class/net").join(&device.name).join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    Interface {
        up: attribute("operstate").and_then(|state| is_up(&state, &attribute("flags")?)),
        mac: attribute("address").filter(|mac| is_mac(mac)),
        mtu: attribute("mtu").and_then(|mtu| mtu.parse().ok()),
        addresses: addresses.map(|all| all.iter().map(IpAddr::to_string).collect()),
        received_bytes: device.recv_bytes,
        sent_bytes: device.sent_bytes,
        received_packets: device.recv_packets,
        sent_packets: device.sent_packets,
        received_errors: device.recv_errs,
        sent_errors: device.sent_errs,
        received_bytes_per_second: received_rate,
        sent_bytes_per_second: sent_rate,
        name: device.name,
    }
}

/// Loopback, tunnels and some drivers don't know their state: then it's what the administrator wants.
fn is_up(state: &str, flags: &str) -> Option<bool> {
    match state {
        "up" => Some(true),
        "unknown" => {
            let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
            Some(flags & IFF_UP != 0)
        }
        _ => Some(false),
    }
}

/// The loopback's is all zeros, a tunnel's may be empty.
fn is_mac(text: &str) -> bool {
    text.chars().any(|c| !matches!(c, '0' | ':'))
}

/// The addresses by interface, in a steady order; none where the system does not tell.
fn addresses() -> Option<HashMap<String, Vec<IpAddr>>> {
    let found = getifaddrs().inspect_err(|error| tracing::debug!(%error, "addresses can't be listed")).ok()?;
    let found = found.filter_map(|one| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = || address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        Some((one.interface_name, v4.or_else(v6)?))
    });
    Some(by_interface(found))
}

fn by_interface(found: impl Iterator<Item = (String, IpAddr)>) -> HashMap<String, Vec<IpAddr>> {
    let mut all: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for (name, address) in found {
        // A second IPv4 address may go by a label, eth0:1.
        let name = name.split_once(':').map_or(name.as_str(), |(device, _)| device);
        all.entry(name.to_owned()).or_default().push(address);
    }
    for addresses in all.values_mut() {
        addresses.sort_unstable();
        addresses.dedup();
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use procfs::FromRead as _;
    use procfs::net::InterfaceDeviceStatus;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
 no-such: 5000     20    1    0    0     0          0         0     3000      10    2    0    0     0       0          0
";

    #[test]
    fn counters_and_rates() {
        let device = || InterfaceDeviceStatus::from_read(DEV.as_bytes()).unwrap().0.remove("no-such").unwrap();
        let first = row(device(), Some(Vec::new()), None);
        assert_eq!((first.received_bytes, first.received_packets, first.received_errors), (5000, 20, 1));
        assert_eq!((first.sent_bytes, first.sent_packets, first.sent_errors), (3000, 10, 2));
        assert_eq!((first.received_bytes_per_second, first.up, first.mtu), (None, None, None));

        let before = Traffic::from([("no-such".to_owned(), (4000, 9000))]);
        let second = row(device(), None, Some((&before, Duration::from_secs(2))));
        assert_eq!(second.received_bytes_per_second, Some(500));
        assert_eq!(second.sent_bytes_per_second, None, "the counter was reset");
    }

    #[test]
    fn states() {
        assert_eq!(is_up("up", "0x1003"), Some(true));
        assert_eq!(is_up("down", "0x1003"), Some(false));
        assert_eq!(is_up("lowerlayerdown", "0x1003"), Some(false));
        assert_eq!(is_up("unknown", "0x9"), Some(true));
        assert_eq!(is_up("unknown", "0x8"), Some(false));
        assert!(is_mac("02:fc:00:00:00:01") && !is_mac("00:00:00:00:00:00") && !is_mac(""));
    }

    #[test]
    fn addresses_are_in_a_steady_order_and_labels_belong_to_their_device() {
        let found = ["eth0 fe80::1", "eth0:1 10.0.0.9", "eth0 10.0.0.10", "eth0 10.0.0.9", "lo ::1"].map(|line| {
            let (name, address) = line.split_once(' ').unwrap();
            (name.to_owned(), address.parse().unwrap())
        });
        let all = by_interface(found.into_iter());
        let text: Vec<String> = all["eth0"].iter().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.0.9", "10.0.0.10", "fe80::1"]);
        assert_eq!(all.len(), 2);
    }
}
