//! Table `mounts`.

use crate::rates::percent;
use busway_plugin_api::prelude::*;
use rustix::fs::{StatVfs, statvfs};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// File systems that are views of something else, or whose use means nothing.
const PSEUDO: [&str; 26] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// File systems that a server answers for, which may be gone; see [`is_remote`].
const NETWORK: [&str; 12] =
    ["9p", "afs", "ceph", "cifs", "coda", "gfs2", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"];

/// A row of `mounts`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) path: String,
    device: String,
    pub(crate) filesystem: String,
    options: String,
    pub(crate) total_bytes: Option<u64>,
    used_bytes: Option<u64>,
    available_bytes: Option<u64>,
    used_percent: Option<f64>,
    inodes_total: Option<u64>,
    inodes_used: Option<u64>,
    read_only: bool,
}

/// The table's declaration.
pub(crate) fn spec() -> TableSpec {
    TableSpec::of::<Mount>("mounts")
        .key(["path"])
        .describe("Mounted file systems and their use")
        .column("path", "Where it is mounted; of several at one place, the one on top")
        .column("total_bytes", "Null, as all of its use, where it could not be read or is not asked for")
        .column("available_bytes", "For users other than root")
        .column("used_percent", "Of what users other than root could have, as df shows it")
        .column("inodes_total", "Null where the file system has no fixed number")
}

/// Which mounts are listed, and which are asked for their use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Pseudo file systems too.
    pub(crate) all: bool,
    /// Whether those of other machines are asked.
    pub(crate) stat_network: bool,
}

/// All rows.
pub(crate) fn read(wanted: Wanted, context: &Context) -> Result<Vec<Mount>, Error> {
    let mut rows = Vec::new();
    for entry in parse(&std::fs::read("/proc/self/mounts")?) {
        if context.cancelled() {
            return Err(Error::cancelled());
        }
        let pseudo = PSEUDO.contains(&entry.filesystem.as_str());
        if pseudo && !wanted.all {
            continue;
        }
        // To stat an automount point would mount it; a dead server would hang this thread, where nothing can wake it.
        let ask = !pseudo && (wanted.stat_network || !is_remote(&entry.filesystem));
        let usage = if ask { statvfs(&entry.path).ok() } else { None };
        rows.push(entry.row(usage.as_ref()));
    }
    Ok(rows)
}

/// Whether somebody else answers for it: a server, or, for FUSE, a process that mostly speaks to one.
fn is_remote(filesystem: &str) -> bool {
    filesystem == "fuse" || filesystem.starts_with("fuse.") || NETWORK.contains(&filesystem)
}

/// A line of `/proc/self/mounts`.
#[derive(Debug, PartialEq)]
struct Entry {
    path: OsString,
    device: String,
    filesystem: String,
    options: String,
}

impl Entry {
    fn row(self, usage: Option<&StatVfs>) -> Mount {
        let blocks = |count: u64| usage.map(|u| count.saturating_mul(u.f_frsize));
        let used = usage.map_or(0, |u| u.f_blocks.saturating_sub(u.f_bfree));
        // Btrfs and others make inodes as they need them and say 0.
        let inodes = usage.filter(|u| u.f_files > 0);
        Mount {
            path: self.path.to_string_lossy().into_owned(),
            device: self.device,
            filesystem: self.filesystem,
            total_bytes: usage.and_then(|u| blocks(u.f_blocks)),
            used_bytes: blocks(used),
            available_bytes: usage.and_then(|u| blocks(u.f_bavail)),
            used_percent: usage.and_then(|u| percent(used as f64, used as f64 + u.f_bavail as f64)),
            inodes_total: inodes.map(|u| u.f_files),
            inodes_used: inodes.map(|u| u.f_files.saturating_sub(u.f_ffree)),
            read_only: self.options.split(',').any(|option| option == "ro"),
            options: self.options,
        }
    }
}

/// The mounts by path: of several at one place the last, which hides the others. Not procfs's own list: that leaves
/// spaces in paths escaped and loses the options' order.
fn parse(mounts: &[u8]) -> Vec<Entry> {
    let mut by_path = BTreeMap::new();
    for line in mounts.split(|byte| *byte == b'\n') {
        let fields: Vec<Vec<u8>> = line.split(|byte| *byte == b' ').map(unescape).collect();
        let [device, path, filesystem, options, ..] = &fields[..] else { continue };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entry = Entry {
            path: OsString::from_vec(path.clone()),
            device: text(device),
            filesystem: text(filesystem),
            options: text(options),
        };
        // By the path's text, which is the table's key.
        by_path.insert(OsStr::from_bytes(path).to_string_lossy().into_owned(), entry);
    }
    by_path.into_values().collect()
}

/// The kernel writes blanks, backslashes and `#` as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = rest {
            plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = after;
        } else {
            plain.push(*first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escapes_and_mounts_over_mounts() {
        let entries = parse(
            b"/dev/sda1 / ext4 rw,relatime 0 0\n/dev/sdb1 /mnt/my\\040disk\\134x ext4 ro,noatime,errors=remount-ro 0 0\n\
            tmpfs / tmpfs rw,size=4k 0 0\n /empty tmpfs rw 0 0\nbroken line\n",
        );
        let seen: Vec<_> = entries.iter().map(|e| (e.path.to_str().unwrap(), e.filesystem.as_str())).collect();
        assert_eq!(seen, [("/", "tmpfs"), ("/empty", "tmpfs"), ("/mnt/my disk\\x", "ext4")]);
        assert_eq!(entries[1].device, "", "a device may be empty");
        let rows: Vec<Mount> = entries.into_iter().map(|e| e.row(None)).collect();
        assert_eq!(rows[2].options, "ro,noatime,errors=remount-ro");
        assert_eq!(rows.iter().map(|row| row.read_only).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!((rows[0].total_bytes, rows[0].used_percent), (None, None));
    }

    #[test]
    fn use_is_counted_as_df_does() {
        let mut usage = statvfs("/").unwrap();
        (usage.f_frsize, usage.f_blocks, usage.f_bfree, usage.f_bavail) = (4096, 1000, 300, 200);
        (usage.f_files, usage.f_ffree) = (50, 20);
        let entry = || parse(b"/dev/sda1 / ext4 rw 0 0").pop().unwrap();
        let row = entry().row(Some(&usage));
        assert_eq!((row.total_bytes, row.used_bytes), (Some(4_096_000), Some(700 * 4096)));
        assert_eq!((row.available_bytes, row.used_percent), (Some(200 * 4096), Some(77.8)));
        assert_eq!((row.inodes_total, row.inodes_used), (Some(50), Some(30)));
        usage.f_files = 0;
        assert_eq!(entry().row(Some(&usage)).inodes_total, None);
    }

    #[test]
    fn what_others_answer_for_is_remote() {
        for remote in ["nfs", "nfs4", "cifs", "fuse", "fuse.sshfs"] {
            assert!(is_remote(remote), "{remote}");
        }
        for local in ["ext4", "tmpfs", "overlay", "fuseblk", "nfsd"] {
            assert!(!is_remote(local), "{local}");
        }
    }
}
