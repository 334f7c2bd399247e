//! The list of plugins that an operator trusts, by their bytes. With `plugins.trust = "listed"` nothing else is loaded.
//!
//! The list is `plugins.lock` in the state directory, which is the host's user's alone. `busway plugin trust` keeps it; it
//! may as well be written by whatever deploys the host.

use super::ownership;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The list's name within the state directory.
pub const TRUST_LIST: &str = "plugins.lock";

const HEAD: &str = "# The plugins that this host may load, by their bytes. Kept by `busway plugin trust`.\n";

/// A plugin that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// Its bytes' SHA-256 in hexadecimal.
    pub sha256: String,
    /// The file's name then. Another name is as good: the bytes decide.
    #[serde(default)]
    pub file: String,
    /// The driver's id.
    #[serde(default)]
    pub id: String,
    /// The driver's version.
    #[serde(default)]
    pub version: String,
    /// When it came onto the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<Timestamp>,
    /// Who put it there.
    #[serde(default)]
    pub by: String,
}

/// What is wrong with the list, or with what is not on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The bytes are not on the list.
    #[error(
        "its bytes (SHA-256 {sha256}) are not on the list of trusted plugins {}: if they are what they should be, `busway plugin trust {}`",
        list.display(),
        file.display()
    )]
    NotListed {
        /// The list.
        list: PathBuf,
        /// The plugin.
        file: PathBuf,
        /// Its bytes.
        sha256: String,
    },
    /// The list can't be read or written.
    #[error("the list of trusted plugins {} can't be {done}: {why}", list.display())]
    Unusable {
        /// The list.
        list: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// Why.
        why: String,
    },
}

/// The list, as a file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustList {
    /// Those that are trusted, in the order in which they came.
    #[serde(default, rename = "plugin")]
    pub plugins: Vec<Trusted>,
}

impl TrustList {
    /// Reads a list; where there is no file, it is empty.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is writable by others, or is no such list.
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let unusable = |why: String| TrustError::Unusable { list: path.to_owned(), done: "read", why };
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unusable(error.to_string())),
            Ok(text) => {
                ownership::of(path).map_err(|error| unusable(error.to_string()))?;
                let list: Self = toml::from_str(&text).map_err(|error| {
                    let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
                    unusable(format!("line {line}: {}", error.message()))
                })?;
                Ok(list)
            }
        }
    }

    /// Whether bytes are on it.
    #[must_use]
    pub fn has(&self, sha256: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.sha256.eq_ignore_ascii_case(sha256))
    }

    /// Changes the list in a file: read, changed, and put in its place whole, one at a time.
    ///
    /// # Errors
    ///
    /// When it can't be read or written; nothing is changed then.
    pub fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> T) -> Result<T, TrustError> {
        let unusable = |error: io::Error| {
            let why = error.to_string();
            TrustError::Unusable { list: path.to_owned(), done: "written", why }
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unusable)?;
        // Another command that is at it is done in a moment.
        let locked = fs::File::open(folder).map_err(unusable)?;
        locked.lock().map_err(unusable)?;
        let mut list = Self::read(path)?;
        let before = list.clone();
        let answer = change(&mut list);
        if list != before {
            let text = toml::to_string(&list).map_err(|error| unusable(io::Error::other(error)))?;
            let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unusable)?;
            file.write_all(format!("{HEAD}\n{text}").as_bytes()).map_err(unusable)?;
            file.as_file().sync_all().map_err(unusable)?;
            let kept = file.persist(path).map_err(|error| unusable(error.error))?;
            // Made for one alone; the host may run as another than who keeps the list.
            kept.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).map_err(unusable)?;
            locked.sync_all().map_err(unusable)?;
        }
        Ok(answer)
    }
}

/// Whom a host trusts: anybody, or who is listed. The list is read anew when its file changes.
#[derive(Debug)]
pub struct Trust {
    list: Option<PathBuf>,
    seen: Option<Stamp>,
    known: Result<TrustList, TrustError>,
}

/// What tells that a file was changed.
type Stamp = (u64, u64, i64, i64, u32);

impl Trust {
    /// Whatever lies in the directories is loaded.
    #[must_use]
    pub fn any() -> Self {
        Self { list: None, seen: None, known: Ok(TrustList::default()) }
    }

    /// Only what this list has is loaded.
    #[must_use]
    pub fn listed(list: PathBuf) -> Self {
        let mut trust = Self { list: Some(list), ..Self::any() };
        trust.read();
        trust
    }

    /// Reads the list if it was changed. Answers whether it was.
    pub fn refresh(&mut self) -> bool {
        let changed = self.list.is_some() && self.seen != self.stamp();
        if changed {
            self.read();
        }
        changed
    }

    /// Why a plugin's bytes must not be loaded, if so.
    #[must_use]
    pub fn refusal(&self, file: &Path, sha256: &str) -> Option<TrustError> {
        let list = self.list.clone()?;
        match &self.known {
            Ok(known) if known.has(sha256) => None,
            Ok(_) => Some(TrustError::NotListed { list, file: file.to_owned(), sha256: sha256.to_owned() }),
            Err(error) => Some(error.clone()),
        }
    }

    fn read(&mut self) {
        // Before it is read: what changes meanwhile is seen next time.
        self.seen = self.stamp();
        self.known = self.list.as_deref().map_or(Ok(TrustList::default()), TrustList::read);
    }

    fn stamp(&self) -> Option<Stamp> {
        let about = fs::metadata(self.list.as_ref()?).ok()?;
        Some((about.ino(), about.size(), about.ctime(), about.ctime_nsec(), about.mode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(sha256: &str) -> Trusted {
        let text = String::new();
        Trusted {
            sha256: sha256.into(),
            file: text.clone(),
            id: "a".into(),
            version: text.clone(),
            trusted: None,
            by: text,
        }
    }

    #[test]
    fn the_list_is_read_anew_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (list, file) = (folder.path().join("plugins.lock"), Path::new("/plugins/a.so"));
        let mut trust = Trust::listed(list.clone());
        let refused = |trust: &Trust| trust.refusal(file, "ab").map(|error| error.to_string());
        assert_eq!(
            refused(&trust),
            Some(format!(
                "its bytes (SHA-256 ab) are not on the list of trusted plugins {}: if they are what they should be, \
                 `busway plugin trust /plugins/a.so`",
                list.display()
            ))
        );
        assert!(!trust.refresh());
        TrustList::change(&list, |list| list.plugins.push(plugin("AB"))).unwrap();
        assert!(trust.refresh() && !trust.refresh());
        assert_eq!(refused(&trust), None);
        fs::write(&list, "plugin = 1").unwrap();
        assert!(trust.refresh());
        let text = refused(&trust).unwrap();
        let expected = format!("the list of trusted plugins {} can't be read: line 1: ", list.display());
        assert!(text.starts_with(&expected), "{text}");
        fs::remove_file(&list).unwrap();
        assert!(trust.refresh() && trust.refusal(file, "ab").is_some());
        assert_eq!(Trust::any().refusal(file, "ab"), None);
    }

    #[test]
    fn a_list_reads_back_and_a_bad_one_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/plugins.lock");
        let full = Trusted { trusted: Some("2026-01-02T03:04:05Z".parse().unwrap()), ..plugin("cd") };
        TrustList::change(&path, |list| list.plugins = vec![plugin("ab"), full.clone()]).unwrap();
        assert_eq!(TrustList::read(&path).unwrap().plugins, [plugin("ab"), full]);
        assert!(fs::read_to_string(&path).unwrap().starts_with(HEAD));
        fs::write(&path, "nonsense").unwrap();
        assert!(TrustList::change(&path, |list| list.plugins.clear()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let text = TrustList::read(&path).unwrap_err().to_string();
        assert!(text.contains("can't be read: it is writable by everybody"), "{text}");
    }
}
