//! Is a directory on a disk of this machine? A store promises what `fsync` and file locks promise, and over a network
//! these often promise nothing: a server may acknowledge what it holds in memory, and two machines may both be told that
//! they alone have the lock.

use std::path::Path;

/// File systems whose files lie on another machine, by the number that `statfs` gives, with the name they are known by.
///
/// NFS, SMB, AFS, Coda and NCP: locks are per client or advice to the server, and `fsync` is as good as the server. Ceph,
/// Lustre, BeeGFS, GPFS, PanFS, OrangeFS: made for many machines, with locks that depend on how they are mounted. 9p: what
/// a virtual machine or a sandbox sees of its host, without dependable locks; likewise the shared folders of VirtualBox,
/// VMware and Parallels.
///
/// Not here: file systems of several machines over one block device (GFS2, OCFS2), whose locks and `fsync` are those of a
/// local one; overlayfs, which shows no more of what is below; tmpfs, whose owner knows what it is. FUSE is asked for its
/// kind, see [`FUSE_NETWORK`].
const NETWORK: [(u32, &str); 20] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0000_564c, "ncpfs"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0xaad7_aaea, "panfs"),
    (0x2003_0528, "orangefs"),
    (0xbeef_dead, "snfs"),
    (0x6163_6673, "acfs"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
    (0x7c7c_6673, "prlfs"),
];

const FUSE: u32 = 0x6573_5546;

/// Kinds of FUSE file systems, as the list of mounts gives them after `fuse.`, whose files lie elsewhere. The others are
/// taken for local: the root of a container without root is one, an encrypted directory, a foreign disk.
const FUSE_NETWORK: [&str; 17] = [
    "sshfs",
    "glusterfs",
    "ceph",
    "ceph-fuse",
    "s3fs",
    "rclone",
    "gcsfuse",
    "blobfuse",
    "blobfuse2",
    "goofys",
    "juicefs",
    "curlftpfs",
    "davfs",
    "davfs2",
    "smbnetfs",
    "mount-s3",
    "moosefs",
];

/// The name of the network file system that has this number.
fn network(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// The name of the network file system that this FUSE mount is. `mounts` is the text of `/proc/self/mountinfo`, `device`
/// the directory's device as it is written there.
fn fuse_network(device: &str, mounts: &str) -> Option<&'static str> {
    // 36 35 0:48 / /mnt/data rw,noatime shared:1 - fuse.sshfs host:/data rw,user_id=0
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?.strip_prefix("fuse.")?;
    FUSE_NETWORK.iter().find(|name| **name == kind).copied()
}

/// The name of the network file system that a directory is on; none: it is on this machine, or the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn network_of(directory: &Path) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let about = rustix::fs::statfs(directory).ok()?;
    // Some of them have the highest bit set, which the system's signed type carries on to 64 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers have 32 bits")]
    let magic = about.f_type as u32;
    if magic != FUSE {
        return network(magic);
    }
    let device = std::fs::metadata(directory).ok()?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    fuse_network(&device, &std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Other systems number their file systems otherwise: nothing is refused there.
#[cfg(not(target_os = "linux"))]
pub(super) fn network_of(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_number() {
        for (magic, name) in [(0x6969, "nfs"), (0xff53_4d42, "cifs"), (0xfe53_4d42, "smb2"), (0x0102_1997, "9p")] {
            assert_eq!(network(magic), Some(name));
        }
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs, f2fs, gfs2, FUSE
        let local =
            [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1, 0xf2f5_2010, 0x0116_1970, FUSE];
        assert_eq!(local.map(network), [None; 9]);
        let mut numbers: Vec<u32> = NETWORK.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), NETWORK.len(), "a number is there twice");
    }

    #[test]
    fn a_fuse_mount_is_asked_for_its_kind() {
        let mounts = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      36 21 0:48 / /mnt/a\\040b rw,noatime shared:1 master:2 - fuse.sshfs host:/data rw\n\
                      37 21 0:49 / /mnt/c rw - fuse.fuse-overlayfs fuse-overlayfs rw\n\
                      38 21 0:50 / /mnt/d rw - fuse.glusterfs x rw\n39 21 8:17 / /mnt/e rw - fuseblk /dev/sdb1 rw\n";
        let kinds = ["0:48", "0:49", "0:50", "8:17", "8:1", "0:5"].map(|device| fuse_network(device, mounts));
        assert_eq!(kinds, [Some("sshfs"), None, Some("glusterfs"), None, None, None]);
        assert_eq!(network_of(&std::env::temp_dir()), None);
    }
}
