//! What lies in the plugin directories.

use super::bytes::Surroundings;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that may be a plugin, with what tells whether it changed. Two equal signatures a moment apart: nobody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Device and inode of what the path leads to.
    pub inode: (u64, u64),
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub modified: i128,
    /// When anything about it last changed.
    pub changed: i128,
    /// What else decides about it.
    pub(crate) surroundings: Surroundings,
}

/// What is wrong with a directory, or an entry of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The directory is not there.
    #[error("the plugin directory {} does not exist: make it, or name another with --plugins", path.display())]
    NoDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// The directory can't be read.
    #[error("the plugin directory {} can't be read: {why}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The directory gives no answer.
    #[error("the plugin directory {} does not answer: see to the file system that it is on", path.display())]
    Silent {
        /// Its path.
        path: PathBuf,
    },
    /// An entry named like a plugin that is no file.
    #[error("it is {what}, not a file")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// A link that leads nowhere.
    #[error("it is a link to {}, which is not there", target.display())]
    Dangling {
        /// Where it leads.
        target: PathBuf,
    },
    /// An entry that can't be looked at.
    #[error("it can't be looked at: {0}")]
    Entry(String),
}

/// Whether a file of that name may be a plugin: the platform's library extension, no dot in front, and none of the names
/// under which editors and packagers keep half-written files.
#[must_use]
pub fn is_plugin_name(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let Some(stem) = name.strip_suffix(std::env::consts::DLL_SUFFIX) else { return false };
    !stem.is_empty()
        && !name.starts_with('.')
        && !name.starts_with('#')
        && !stem.ends_with('~')
        && !name.contains(".dpkg-")
}

/// What a directory holds: files by path, each with what is wrong with it, if anything.
///
/// # Errors
///
/// When the directory itself can't be read.
pub fn scan(directory: &Path) -> Result<BTreeMap<PathBuf, Result<Found, ScanError>>, ScanError> {
    let entries = std::fs::read_dir(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ScanError::NoDirectory { path: directory.to_owned() },
        _ => ScanError::Unreadable { path: directory.to_owned(), why: error.to_string() },
    })?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry =
            entry.map_err(|error| ScanError::Unreadable { path: directory.to_owned(), why: error.to_string() })?;
        if is_plugin_name(&entry.file_name())
            && let Some(look) = look(&entry.path())
        {
            found.insert(entry.path(), look);
        }
    }
    Ok(found)
}

/// `None` for what vanished in between.
pub(super) fn look(path: &Path) -> Option<Result<Found, ScanError>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let target = std::fs::read_link(path).ok();
            return match (error.kind(), target) {
                (io::ErrorKind::NotFound, Some(target)) => Some(Err(ScanError::Dangling { target })),
                (io::ErrorKind::NotFound, None) => None,
                _ => Some(Err(ScanError::Entry(error.to_string()))),
            };
        }
    };
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "a pipe, socket or device" };
        return Some(Err(ScanError::NotAFile { what }));
    }
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some(Ok(Found {
        inode: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        surroundings: Surroundings::of(path),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["libfoo.so", "foo.so", "foo-1.2.so"] {
            assert!(is_plugin_name(OsStr::new(good)), "{good}");
        }
        for bad in [
            ".so",
            ".foo.so",
            ".foo.so.Xy12",
            "foo.so~",
            "foo~.so",
            "foo.so.dpkg-new",
            "foo.dpkg-tmp.so",
            "#foo.so",
            "foo.so.1",
            "foo",
        ] {
            assert!(!is_plugin_name(OsStr::new(bad)), "{bad}");
        }
    }

    #[test]
    fn what_is_no_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("dir.so")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("link.so")).unwrap();
        std::fs::write(at("file.so"), "x").unwrap();
        std::fs::write(at("other.txt"), "x").unwrap();
        let found = scan(folder.path()).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[&at("dir.so")], Err(ScanError::NotAFile { what: "a directory" }));
        assert_eq!(found[&at("link.so")], Err(ScanError::Dangling { target: "nowhere".into() }));
        assert_eq!(found[&at("file.so")].as_ref().unwrap().size, 1);
        let missing = scan(&at("none")).unwrap_err().to_string();
        assert!(missing.ends_with("none does not exist: make it, or name another with --plugins"), "{missing}");
    }
}
