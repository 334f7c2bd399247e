//! One state directory, one host.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why the state directory can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another host has it.
    #[error("the state directory {} is in use by the host with process id {pid}: stop that one, or name another with --state-dir", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// It can't be made or written.
    #[error("the state directory {} can't be used: {source}; name another with --state-dir", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The lock of a state directory, until dropped. The system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// # Errors
    ///
    /// When another host has it: which; or when it can't be used.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { path: directory.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Whoever has it wrote its number; between taking and writing there is a moment without one.
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
                return Err(LockError::Held { path: directory.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");
        let held = Lock::take(&state).unwrap();
        let text = Lock::take(&state).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "the state directory {} is in use by the host with process id {}: stop that one, or name another with \
                 --state-dir",
                state.display(),
                std::process::id()
            )
        );
        drop(held);
        Lock::take(&state).unwrap();
    }
}
