//! A plugin's bytes, read once, and private copies of them. The operator's file is never mapped: whatever is done to it,
//! mapped code does not change under the host's feet.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// No plugin is larger.
const MAX_BYTES: u64 = 1 << 30;

/// A file's bytes and their SHA-256.
#[derive(Clone)]
pub struct Bytes {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Bytes {
    /// Reads a file, once.
    ///
    /// # Errors
    ///
    /// When it can't be read, or is larger than a gibibyte.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        let refuse = |source| StageError::Read { source };
        let file = fs::File::open(path).map_err(refuse)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(refuse)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(StageError::TooLarge);
        }
        Ok(Self::of(bytes))
    }

    /// Of bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        let sha256 = Sha256::digest(&bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String never fails.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self { bytes, sha256 }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bytes").field("len", &self.bytes.len()).field("sha256", &self.sha256).finish()
    }
}

/// Why bytes were not staged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The file can't be read.
    #[error("it can't be read: {source}")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// The file is too large.
    #[error("it is larger than 1 GiB")]
    TooLarge,
    /// The copy can't be written.
    #[error("no copy can be made in {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The folder of private copies: `<hash>/<n>.so`, for this process's life.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    next: AtomicU64,
}

impl Stage {
    /// Makes the folder anew: copies of an earlier process are removed. The caller holds the state directory's lock.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    pub fn new(folder: PathBuf) -> Result<Self, StageError> {
        let refuse = |source| StageError::Write { path: folder.clone(), source };
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refuse(error)),
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(refuse)?;
        Ok(Self { folder, next: AtomicU64::new(1) })
    }

    /// Writes a copy under a path that was never used before: the system's loader would take an old path for the old
    /// library.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn put(&self, bytes: &Bytes) -> Result<PathBuf, StageError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(&bytes.sha256[..16]);
        let path = folder.join(format!("{number}{}", std::env::consts::DLL_SUFFIX));
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o500).open(&path)?;
            file.write_all(&bytes.bytes)
        };
        match write() {
            Ok(()) => Ok(path),
            Err(source) => {
                // Half a copy would fill the disk a second time.
                let _ = fs::remove_file(&path);
                Err(StageError::Write { path, source })
            }
        }
    }
}
