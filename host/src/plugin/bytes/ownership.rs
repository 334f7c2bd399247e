//! Who could put code into the host: whoever may write to a plugin's file, or to a directory that leads to it.
//!
//! - Writable by everybody: refused, sticky or not. In a sticky directory nobody can replace the file, but add another.
//! - Writable by a group: refused, unless it is root's, or the host's user's own: of the same number as the user, as systems
//!   give one to each user and nobody else, and set umask 002 for that reason. A group by another number may have members.
//! - Owned by anybody but root and the host's user: refused.
//! - Directories above those are only to be safe from everybody: whose they are is the system's order. A sticky one is,
//!   as nobody can rename there what is not theirs.
//! - On a file system that is mounted read-only nobody writes.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What the system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rights {
    mode: u32,
    uid: u32,
    gid: u32,
}

/// As whom the host runs.
#[derive(Debug, Clone, Copy)]
struct Us {
    uid: u32,
    gid: u32,
}

/// Why a file's or directory's rights are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnershipError {
    /// Others than its owner may write to it.
    #[error("{what} is writable by {whom}, who could put code into the host so: chmod {change} {}", path.display())]
    Writable {
        /// `it`, or which directory.
        what: String,
        /// `everybody` or `members of group 100`.
        whom: String,
        /// The path to change.
        path: PathBuf,
        /// `o-w`, `g-w` or `go-w`.
        change: &'static str,
    },
    /// It is somebody else's.
    #[error(
        "{what} belongs to user {uid}, who could put code into the host so: chown {us} {}",
        path.display()
    )]
    Owner {
        /// Whose it is.
        uid: u32,
        /// As whom the host runs.
        us: u32,
        /// `it`, or which directory.
        what: String,
        /// The path to change.
        path: PathBuf,
    },
    /// It can't be found out.
    #[error("whose {what} is can't be found out: {why}")]
    Unknown {
        /// `it`, or which directory.
        what: String,
        /// Why.
        why: String,
    },
}

const STICKY: u32 = 0o1000;

fn check(rights: Rights, us: Us, what: &str, path: &Path) -> Result<(), OwnershipError> {
    let own_group = rights.gid == 0 || (rights.gid == us.gid && us.gid == us.uid);
    let everybody = rights.mode & 0o002 != 0;
    let group = rights.mode & 0o020 != 0 && !own_group;
    if everybody || group {
        return Err(OwnershipError::Writable {
            what: what.to_owned(),
            whom: if everybody { "everybody".to_owned() } else { format!("members of group {}", rights.gid) },
            path: path.to_owned(),
            change: match (everybody, group) {
                (true, true) => "go-w",
                (true, false) => "o-w",
                _ => "g-w",
            },
        });
    }
    if rights.uid != 0 && rights.uid != us.uid {
        return Err(OwnershipError::Owner {
            uid: rights.uid,
            us: us.uid,
            what: what.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn check_above(rights: Rights, path: &Path) -> Result<(), OwnershipError> {
    if rights.mode & 0o002 == 0 || rights.mode & STICKY != 0 {
        return Ok(());
    }
    Err(OwnershipError::Writable {
        what: "a directory above it".to_owned(),
        whom: "everybody".to_owned(),
        path: path.to_owned(),
        change: "o-w",
    })
}

/// Checks a plugin's file, its directory, and where it lies if it is a link.
pub(super) fn of(plugin: &Path) -> Result<(), OwnershipError> {
    let us = Us { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let unknown = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| OwnershipError::Unknown { what, why: error.to_string() }
    };
    let folder = plugin.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(unknown("its directory"))?;
    let file = plugin.canonicalize().map_err(unknown("it"))?;
    let led_to = if file.parent() == Some(&folder) { None } else { file.parent() };
    let mut all = vec![("it", file.as_path()), ("its directory", folder.as_path())];
    all.extend(led_to.map(|folder| ("the directory that it leads to", folder)));
    for (what, path) in all {
        if let Some(rights) = rights(path).map_err(unknown(what))? {
            check(rights, us, what, path)?;
        }
    }
    for folder in [Some(folder.as_path()), led_to].into_iter().flatten() {
        for above in folder.ancestors().skip(1) {
            if let Some(rights) = rights(above).map_err(unknown("a directory above it"))? {
                check_above(rights, above)?;
            }
        }
    }
    Ok(())
}

/// None where nobody can write.
fn rights(path: &Path) -> io::Result<Option<Rights>> {
    let about = std::fs::metadata(path)?;
    let mounted = rustix::fs::statvfs(path).map(|mounted| mounted.f_flag);
    let read_only = mounted.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    Ok((!read_only).then(|| Rights { mode: about.mode(), uid: about.uid(), gid: about.gid() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mode: u32, uid: u32, gid: u32, us: (u32, u32)) -> String {
        let us = Us { uid: us.0, gid: us.1 };
        let checked = check(Rights { mode, uid, gid }, us, "its directory", Path::new("/srv/plugins"));
        checked.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn only_root_and_the_host_may_write() {
        let service = (998, 997);
        let person = (1000, 1000);
        for (mode, uid, gid, us) in [
            (0o755, 0, 0, service),
            (0o700, 998, 997, service),
            (0o775, 0, 0, service),
            (0o775, 1000, 1000, person),
            (0o755, 0, 50, service),
        ] {
            assert_eq!(said(mode, uid, gid, us), "fine", "{mode:o} {uid} {gid}");
        }
        for (mode, uid, gid, us, text) in [
            (
                0o757,
                0,
                0,
                service,
                "its directory is writable by everybody, who could put code into the host so: chmod o-w /srv/plugins",
            ),
            (
                0o1777,
                0,
                0,
                (0, 0),
                "its directory is writable by everybody, who could put code into the host so: chmod o-w /srv/plugins",
            ),
            (
                0o777,
                0,
                50,
                service,
                "its directory is writable by everybody, who could put code into the host so: chmod go-w /srv/plugins",
            ),
            (
                0o775,
                998,
                997,
                service,
                "its directory is writable by members of group 997, who could put code into the host so: chmod g-w \
                 /srv/plugins",
            ),
            (
                0o775,
                1000,
                100,
                (1000, 100),
                "its directory is writable by members of group 100, who could put code into the host so: chmod g-w \
                 /srv/plugins",
            ),
            (
                0o755,
                1000,
                1000,
                (0, 0),
                "its directory belongs to user 1000, who could put code into the host so: chown 0 /srv/plugins",
            ),
        ] {
            assert_eq!(said(mode, uid, gid, us), text);
        }
    }

    #[test]
    fn what_leads_to_it_counts() {
        use std::os::unix::fs::PermissionsExt;
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().canonicalize().unwrap().join(name);
        for folder in ["above", "above/plugins", "store"] {
            std::fs::create_dir(at(folder)).unwrap();
            chmod(&at(folder), 0o755);
        }
        std::fs::write(at("store/real.so"), "").unwrap();
        chmod(&at("store/real.so"), 0o644);
        let plugin = at("above/plugins/a.so");
        std::os::unix::fs::symlink(at("store/real.so"), &plugin).unwrap();
        assert_eq!(of(&plugin), Ok(()));
        for (path, before, mode, what) in [
            ("store/real.so", 0o644, 0o646, "it"),
            ("store", 0o755, 0o1757, "the directory that it leads to"),
            ("above/plugins", 0o755, 0o757, "its directory"),
            ("above", 0o755, 0o757, "a directory above it"),
        ] {
            chmod(&at(path), mode);
            let text = of(&plugin).unwrap_err().to_string();
            let place = at(path);
            let why = "is writable by everybody, who could put code into the host so";
            assert_eq!(text, format!("{what} {why}: chmod o-w {}", place.display()));
            chmod(&at(path), before);
        }
        chmod(&at("above"), 0o1757);
        assert_eq!(of(&plugin), Ok(()));
    }
}
