//! What is remembered of plugins over restarts: which file serves which driver, which copies were good, which bytes are not
//! to be loaded again, and what happened.

mod copies;
mod journal;
mod replay;
mod writer;

pub use journal::{Entry, Event, Journal};
pub use replay::{Difference, Replay, replay};

pub(super) use copies::Copies;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use writer::Writer;

/// So many good copies are kept of each driver: what serves, and what to go back to.
const KEPT: usize = 2;

/// Who served a driver id last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The file.
    pub path: PathBuf,
    /// Bytes of it that served well and of which a copy is kept, the latest first.
    #[serde(default)]
    pub good: Vec<KeptCopy>,
}

/// Bytes that served well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCopy {
    /// Their SHA-256.
    pub sha256: String,
    /// The driver's version.
    pub version: String,
}

/// Who says that bytes are not to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// They failed.
    Fault,
    /// An operator rolled them back.
    Operator,
    /// The host died in them.
    Crash,
}

impl By {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Operator => "operator",
            Self::Crash => "crash",
        }
    }
}

/// Bytes that are not to be loaded until an operator releases them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The driver id that they claim.
    pub driver: String,
    /// Its version.
    pub version: String,
    /// The file that they were in.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: By,
    /// Since when.
    pub since: Timestamp,
}

/// All that decides what is loaded, but for the directories and the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recorded {
    /// By driver id.
    pub served: BTreeMap<String, Served>,
    /// By SHA-256.
    pub quarantine: BTreeMap<String, Quarantined>,
    /// How often the host died in bytes, by SHA-256.
    pub deaths: BTreeMap<String, u32>,
}

impl Recorded {
    /// This file serves.
    pub(super) fn remember(&mut self, id: &str, path: &Path) {
        let served = self.served.entry(id.to_owned()).or_insert_with(|| Served { path: path.to_owned(), good: vec![] });
        path.clone_into(&mut served.path);
    }

    /// These bytes serve well.
    pub(super) fn serve(&mut self, id: &str, path: &Path, good: KeptCopy) {
        self.remember(id, path);
        let Some(served) = self.served.get_mut(id) else { return };
        served.good.retain(|kept| kept.sha256 != good.sha256);
        served.good.insert(0, good);
        served.good.truncate(KEPT);
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut next = tempfile::Builder::new().prefix(".plugins").tempfile_in(folder)?;
        next.write_all(&serde_json::to_vec_pretty(self)?)?;
        next.as_file().sync_data()?;
        next.persist(file)?;
        Ok(())
    }

    /// The bytes of which a copy is kept.
    pub(super) fn good(&self) -> impl Iterator<Item = &str> {
        self.served.values().flat_map(|served| &served.good).map(|good| good.sha256.as_str())
    }
}

/// [`Recorded`], in a file.
#[derive(Debug)]
pub(super) struct Record {
    now: Recorded,
    /// None: nothing is written.
    writer: Option<Writer<Recorded>>,
}

impl Record {
    /// What can't be read is none, and said: then a conflict stays one until an operator resolves it.
    pub(super) fn read(file: &Path) -> Self {
        let now = match std::fs::read(file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "what is remembered of plugins can't be read: begun anew");
                Recorded::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Recorded::default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "what is remembered of plugins can't be read: begun anew");
                Recorded::default()
            }
        };
        let file = file.to_owned();
        let write = move |now: Recorded| {
            if let Err(error) = now.write(&file) {
                tracing::warn!(file = %file.display(), %error, "what happened to plugins can't be remembered");
            }
        };
        Self { now, writer: Some(Writer::new("what is remembered of plugins", true, write)) }
    }

    /// Nothing is written from now on.
    pub(super) fn forget(&mut self) {
        self.writer = None;
    }

    pub(super) fn now(&self) -> &Recorded {
        &self.now
    }

    /// Changes it, on disk too when this returns; but a disk that gives no answer is not waited for.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Recorded)) {
        let before = self.now.clone();
        change(&mut self.now);
        if let Some(writer) = self.writer.as_ref().filter(|_| self.now != before) {
            writer.put(self.now.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(sha256: &str) -> KeptCopy {
        KeptCopy { sha256: sha256.to_owned(), version: "1.0.0".to_owned() }
    }

    #[test]
    fn it_is_there_again_after_a_restart_and_two_good_copies_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugins.json");
        let mut record = Record::read(&file);
        for sha256 in ["1", "2", "3", "2"] {
            record.change(|now| now.serve("x", Path::new("a.so"), good(sha256)));
        }
        let again = Record::read(&file);
        assert_eq!(again.now(), record.now());
        assert_eq!(again.now().good().collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn a_look_without_consequences_writes_nothing_and_garbage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugins.json");
        std::fs::write(&file, "{").unwrap();
        let mut record = Record::read(&file);
        assert_eq!(record.now(), &Recorded::default());
        record.forget();
        record.change(|now| now.serve("x", Path::new("a.so"), good("1")));
        assert_eq!(std::fs::read(&file).unwrap(), b"{");
    }
}
