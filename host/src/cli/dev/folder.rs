//! The temporary folder of `busway dev`, and those that were left by who could not remove theirs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tempfile::TempDir;

/// How their names begin.
const PREFIX: &str = "busway-dev-";

/// A folder that goes when this does. Locked: whose lock nobody holds is nobody's.
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes one among the system's temporary files, and removes those that were left there.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    pub(super) fn new() -> io::Result<Self> {
        let among = std::env::temp_dir();
        sweep(&among);
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&among)?;
            let lock = File::open(folder.path())?;
            lock.lock()?;
            // Somebody who swept between the two took it for left.
            if is_at(&lock, folder.path()) {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether that is what lies at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let same = || io::Result::Ok((file.metadata()?, fs::symlink_metadata(path)?));
    same().is_ok_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Removes this user's folders that nobody holds. What can't be looked at, or removed, stays.
fn sweep(among: &Path) {
    let mine = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(among).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Not through a link that somebody has put there.
        if !is_one || !entry.metadata().is_ok_and(|about| about.is_dir() && about.uid() == mine) {
            continue;
        }
        let Ok(held) = File::open(entry.path()) else { continue };
        match held.try_lock() {
            Ok(()) if is_at(&held, &entry.path()) => {
                if let Err(error) = fs::remove_dir_all(entry.path()) {
                    tracing::debug!(folder = %entry.path().display(), %error, "a folder that was left stays");
                }
            }
            Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_nobody_holds_goes_and_all_else_stays() {
        let among = tempfile::tempdir().unwrap();
        let path = |name: &str| among.path().join(name);
        for name in ["busway-dev-dead", "busway-dev-held", "other", "away"] {
            fs::create_dir_all(path(name).join("state")).unwrap();
        }
        std::os::unix::fs::symlink(path("away"), path("busway-dev-link")).unwrap();
        let held = File::open(path("busway-dev-held")).unwrap();
        held.lock().unwrap();
        sweep(among.path());
        let mut left: Vec<_> = fs::read_dir(among.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["away", "busway-dev-held", "busway-dev-link", "other"]);
        drop(held);
        // Another test may be starting a program, which holds what is open here for a moment more.
        let end = Instant::now() + Duration::from_secs(20);
        while path("busway-dev-held").exists() {
            assert!(Instant::now() < end, "it stays");
            sweep(among.path());
        }
        assert!(path("away/state").exists());
    }
}
