//! Private copies of bytes that served well: to go back to, in this life of the host or another.

use super::super::stage::Bytes;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A folder of them: `<sha256>.so`.
#[derive(Debug, Clone)]
pub(in crate::plugin) struct Copies {
    folder: PathBuf,
    /// They are another's, who may run: they stay as they are.
    frozen: bool,
}

impl Copies {
    pub(in crate::plugin) fn new(folder: PathBuf) -> Self {
        Self { folder, frozen: false }
    }

    /// From now on none is made or removed.
    pub(in crate::plugin) fn freeze(&mut self) {
        self.frozen = true;
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}{}", std::env::consts::DLL_SUFFIX))
    }

    /// Keeps a staged copy: as another name of the same file where that can be, so it costs no room.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(in crate::plugin) fn keep(&self, staged: &Path, sha256: &str) -> io::Result<()> {
        if self.frozen {
            return Ok(());
        }
        let path = self.path(sha256);
        let inode = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
        // What serves is the kept one itself. Otherwise one that a dying machine left half is made anew.
        if inode(&path).is_some_and(|kept| Some(kept) == inode(staged)) || self.read(sha256).is_some() {
            return Ok(());
        }
        self.remove(sha256);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if fs::hard_link(staged, &path).is_ok() {
            return Ok(());
        }
        let next = path.with_extension("next");
        // One that a dying host left can't be written to.
        let _ = fs::remove_file(&next);
        fs::copy(staged, &next)?;
        fs::rename(&next, &path)
    }

    /// Gives a copy one more name.
    ///
    /// # Errors
    ///
    /// When it is not there, or a file can't have two names here.
    pub(in crate::plugin) fn link(&self, sha256: &str, to: &Path) -> io::Result<()> {
        fs::hard_link(self.path(sha256), to)
    }

    /// Reads a copy; `None`: it is not there, or is not what it was.
    pub(in crate::plugin) fn read(&self, sha256: &str) -> Option<Bytes> {
        Bytes::read(&self.path(sha256)).ok().filter(|bytes| bytes.sha256 == sha256)
    }

    /// Removes one that is of no use.
    pub(in crate::plugin) fn remove(&self, sha256: &str) {
        if !self.frozen {
            let _ = fs::remove_file(self.path(sha256));
        }
    }

    pub(in crate::plugin) fn has(&self, sha256: &str) -> bool {
        self.path(sha256).is_file()
    }

    /// Removes all but these.
    pub(in crate::plugin) fn retain(&self, kept: &BTreeSet<String>) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let entries = entries.filter(|_| !self.frozen);
        for entry in entries {
            let name = entry.file_name();
            let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if !kept.contains(stem)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(file = %entry.path().display(), %error, "a copy that is of no use can't be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_as_long_as_they_are_of_use_and_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let staged = folder.path().join("1.so");
        fs::write(&staged, "good").unwrap();
        let sha256 = Bytes::of(b"good".to_vec()).sha256;
        let copies = Copies::new(folder.path().join("good"));
        assert!(copies.read(&sha256).is_none());
        copies.keep(&staged, &sha256).unwrap();
        copies.keep(&staged, &sha256).unwrap();
        fs::remove_file(&staged).unwrap();
        assert_eq!(*copies.read(&sha256).unwrap().bytes, *b"good");
        copies.retain(&BTreeSet::from([sha256.clone()]));
        assert!(copies.has(&sha256));
        fs::write(copies.path(&sha256), "bad").unwrap();
        assert!(copies.read(&sha256).is_none(), "somebody changed it");
        copies.retain(&BTreeSet::new());
        assert!(!copies.has(&sha256));
    }
}
