//! The list of plugins that an operator trusts, by their bytes. With `plugins.trust = "listed"` nothing else is loaded.
//!
//! The list is `plugins.lock` in the state directory, which is the host's user's alone. `busway plugin trust` keeps it; it
//! may as well be written by whatever deploys the host.

use super::super::reload::Errands;
use super::ownership;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

impl TrustError {
    /// Which list it is about.
    #[must_use]
    pub fn list(&self) -> &Path {
        match self {
            Self::NotListed { list, .. } | Self::Unusable { list, .. } => list,
        }
    }
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
    read: fn(&Path, Option<Stamp>) -> Option<Read>,
    asked: Errands<Option<Read>>,
    seen: Option<Stamp>,
    known: Result<TrustList, TrustError>,
}

/// What tells that a file was changed.
type Stamp = (u64, u64, i64, i64, u32);
/// What a list was, and what it held.
type Read = (Option<Stamp>, Result<TrustList, TrustError>);

/// The list is read in this time, or what was read of it before holds.
const ANSWER: Duration = Duration::from_secs(2);

impl Trust {
    /// Whatever lies in the directories is loaded.
    #[must_use]
    pub fn any() -> Self {
        Self { list: None, read, asked: Errands::default(), seen: None, known: Ok(TrustList::default()) }
    }

    /// Only what this list has is loaded; nothing, before it is read.
    #[must_use]
    pub fn listed(list: PathBuf) -> Self {
        let silent = Err(Self::silent(&list));
        Self { list: Some(list), known: silent, ..Self::any() }
    }

    fn silent(list: &Path) -> TrustError {
        let why = "it gives no answer, see to the file system that it is on".to_owned();
        TrustError::Unusable { list: list.to_owned(), done: "read", why }
    }

    /// Reads the list if it was changed.
    ///
    /// # Errors
    ///
    /// When it gives no answer: what was read of it before holds, and if it never was, nothing is trusted.
    pub(in crate::plugin) async fn refresh(&mut self) -> Result<(), TrustError> {
        let Some(list) = self.list.clone() else { return Ok(()) };
        let (read, of, seen) = (self.read, list.clone(), self.seen);
        let answer = self.asked.ask_anew(&list, ANSWER, move || read(&of, seen)).await;
        match answer {
            None => return Err(Self::silent(&list)),
            Some(None) => {}
            Some(Some((seen, known))) => (self.seen, self.known) = (seen, known),
        }
        Ok(())
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
}

/// Reads a list, if it is not what was seen of it.
fn read(list: &Path, seen: Option<Stamp>) -> Option<Read> {
    // Before it is read: what changes meanwhile is seen next time.
    let stamp = fs::metadata(list)
        .ok()
        .map(|about| (about.ino(), about.size(), about.ctime(), about.ctime_nsec(), about.mode()));
    // Where there is none, looking again costs nothing.
    (stamp.is_none() || stamp != seen).then(|| (stamp, TrustList::read(list)))
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

    fn refused(trust: &Trust) -> Option<String> {
        trust.refusal(Path::new("/plugins/a.so"), "ab").map(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_list_is_read_anew_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("plugins.lock");
        let mut trust = Trust::listed(list.clone());
        let silent = "it gives no answer, see to the file system that it is on";
        let unread = format!("the list of trusted plugins {} can't be read: {silent}", list.display());
        assert_eq!(refused(&trust), Some(unread));
        trust.refresh().await.unwrap();
        let missing = format!(
            "its bytes (SHA-256 ab) are not on the list of trusted plugins {}: if they are what they should be, \
             `busway plugin trust /plugins/a.so`",
            list.display()
        );
        assert_eq!(refused(&trust), Some(missing.clone()));
        TrustList::change(&list, |list| list.plugins.push(plugin("AB"))).unwrap();
        assert_eq!(refused(&trust), Some(missing.clone()));
        trust.refresh().await.unwrap();
        assert_eq!(refused(&trust), None);
        fs::write(&list, "plugin = 1").unwrap();
        trust.refresh().await.unwrap();
        let text = refused(&trust).unwrap();
        let expected = format!("the list of trusted plugins {} can't be read: line 1: ", list.display());
        assert!(text.starts_with(&expected), "{text}");
        fs::remove_file(&list).unwrap();
        trust.refresh().await.unwrap();
        assert_eq!(refused(&trust), Some(missing));
        let mut any = Trust::any();
        any.refresh().await.unwrap();
        assert_eq!(refused(&any), None);
    }

    /// A list that hangs as long as there is a file beside it.
    fn hung(list: &Path, seen: Option<Stamp>) -> Option<Read> {
        while list.with_extension("hung").exists() {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        read(list, seen)
    }

    #[tokio::test]
    async fn of_a_list_that_gives_no_answer_what_was_read_before_holds() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("plugins.lock");
        TrustList::change(&list, |list| list.plugins.push(plugin("ab"))).unwrap();
        let mut trust = Trust::listed(list.clone());
        trust.read = hung;
        trust.refresh().await.unwrap();
        assert_eq!(refused(&trust), None);
        fs::write(list.with_extension("hung"), "").unwrap();
        TrustList::change(&list, |list| list.plugins.clear()).unwrap();
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(trust.refresh().await, Err(Trust::silent(&list)));
        }
        assert!(begun.elapsed() < 2 * ANSWER, "it is waited for once: {:?}", begun.elapsed());
        assert_eq!(refused(&trust), None);
        // It answers again: what it holds now counts.
        fs::remove_file(list.with_extension("hung")).unwrap();
        while trust.refresh().await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(refused(&trust).unwrap().contains("are not on the list"));
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
