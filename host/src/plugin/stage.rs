//! A plugin's bytes, read once, and private copies of them. The operator's file is never mapped: whatever is done to it,
//! mapped code does not change under the host's feet.

use super::content::Content;
use super::record::Copies;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// So much is compared at a time: what a processor's cache holds.
const PIECE: usize = 1 << 18;
/// No plugin is larger.
const MAX_BYTES: u64 = 1 << 30;

/// A file's bytes and their SHA-256.
#[derive(Clone)]
pub struct Bytes {
    /// The bytes.
    pub bytes: Content,
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
        let size = file.metadata().map_or(0, |about| about.len().min(MAX_BYTES));
        let mut bytes = Content::room(usize::try_from(size).unwrap_or_default() + 1);
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(refuse)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(StageError::TooLarge);
        }
        Ok(Self::hashed(bytes.into()))
    }

    /// Of bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self::hashed(bytes.into())
    }

    fn hashed(bytes: Content) -> Self {
        let sha256 = Sha256::digest(&*bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
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
    /// Those of an earlier life, which need not be written again.
    kept: Option<Copies>,
}

/// What the next copy is called: no two of a process are called the same, whichever host made them.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Device and inode of every copy that was made in this process, by whichever host: the system's loader takes a second path
/// to one for the library that it mapped before.
static MADE: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

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
        Ok(Self { folder, kept: None })
    }

    /// Bytes of which a copy is kept are not written again, but given another name.
    #[must_use]
    pub(super) fn lending(mut self, kept: Copies) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Makes a copy under a path that was never used before, of a file that was not either: the system's loader would take
    /// an old one for the old library.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn put(&self, bytes: &Bytes) -> Result<PathBuf, StageError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(&bytes.sha256[..16]);
        let path = folder.join(format!("{number}{}", std::env::consts::DLL_SUFFIX));
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            if self.lend(bytes, &path) {
                return Ok(());
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o500).open(&path)?;
            file.write_all(&bytes.bytes)?;
            made_anew(&file.metadata()?);
            Ok(())
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

    /// Whether the copy that is kept of these bytes is there under that path now: if it still holds them, and nothing in this
    /// process was mapped of it.
    fn lend(&self, bytes: &Bytes, path: &Path) -> bool {
        let linked = self.kept.as_ref().is_some_and(|kept| kept.link(&bytes.sha256, path).is_ok());
        let fit = || {
            let mut file = fs::File::open(path).ok()?;
            let about = file.metadata().ok()?;
            let same = about.len() == bytes.bytes.len() as u64 && holds(&mut file, &bytes.bytes).ok()?;
            Some(same && made_anew(&about))
        };
        let lent = linked && fit() == Some(true);
        if linked && !lent {
            let _ = fs::remove_file(path);
        }
        lent
    }
}

/// Notes a copy; whether it was not before.
fn made_anew(about: &fs::Metadata) -> bool {
    MADE.lock().unwrap_or_else(PoisonError::into_inner).insert((about.dev(), about.ino()))
}

/// Whether a file holds just these bytes.
fn holds(file: &mut fs::File, mut bytes: &[u8]) -> io::Result<bool> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some((expected, rest)) = bytes.split_at_checked(read) else { return Ok(false) };
        if piece[..read] != *expected {
            return Ok(false);
        }
        if read == 0 {
            return Ok(rest.is_empty());
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_copy_is_lent_once_and_only_while_it_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::new(folder.path().join("good"));
        let bytes = Bytes::of(vec![7; PIECE + 5]);
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let begin = || Stage::new(folder.path().join("staged")).unwrap().lending(copies.clone());
        let stage = begin();
        let written = stage.put(&bytes).unwrap();
        copies.keep(&written, &bytes.sha256).unwrap();
        // It is mapped by now.
        let second = stage.put(&bytes).unwrap();
        assert_ne!(inode(&second), inode(&written));
        let first = (fs::metadata(&written).unwrap().dev(), inode(&written));
        // Another host of this process, later: what was mapped is.
        assert_ne!(inode(&begin().put(&bytes).unwrap()), first.1);
        // Another process.
        MADE.lock().unwrap().remove(&first);
        let stage = begin();
        let kept = folder.path().join(format!("good/{}.so", bytes.sha256));
        let lent = stage.put(&bytes).unwrap();
        assert_eq!(inode(&lent), inode(&kept));
        copies.keep(&lent, &bytes.sha256).unwrap();
        assert_ne!(inode(&stage.put(&bytes).unwrap()), inode(&kept), "a second one is a file of its own");
    }

    #[test]
    fn a_kept_copy_that_was_damaged_is_not_lent() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::new(folder.path().join("good"));
        fs::create_dir(folder.path().join("good")).unwrap();
        let bytes = Bytes::of(vec![7; PIECE + 5]);
        let kept = folder.path().join(format!("good/{}.so", bytes.sha256));
        let stage = Stage::new(folder.path().join("staged")).unwrap().lending(copies);
        let of = |last: usize, byte: u8| {
            let mut other = vec![7; last];
            other[last - 1] = byte;
            other
        };
        for damaged in [of(PIECE + 5, 8), of(PIECE + 4, 7), of(PIECE, 7), of(PIECE + 6, 7), Vec::new()] {
            fs::write(&kept, &damaged).unwrap();
            let path = stage.put(&bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), *bytes.bytes);
            assert_ne!(fs::metadata(&path).unwrap().ino(), fs::metadata(&kept).unwrap().ino());
        }
    }
}
