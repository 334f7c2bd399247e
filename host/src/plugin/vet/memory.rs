//! Verdicts that were reached before, kept over restarts: a host that starts again with plugins it knows tries none.

use super::patience::is_due;
use super::verdict::{Bad, Verdict, Weight};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are kept, the latest. A verdict is a description: some kilobytes.
const MOST: usize = 512;

/// The file's form.
const VERSION: u32 = 1;

/// One that is too large was not written by a host.
const LARGEST: u64 = 256 << 20;

/// Verdicts by the bytes they are about and the conditions they were reached under.
#[derive(Debug)]
pub(super) struct Memory {
    /// None: nothing is written.
    file: Option<PathBuf>,
    known: Mutex<Vec<Known>>,
    /// Held while the file is written: what is written last is what is known last.
    writing: Mutex<()>,
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    sha256: String,
    /// Of the host's build, its limits and the C library.
    conditions: String,
    verdict: Verdict,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    known: Vec<Known>,
}

impl Memory {
    /// What a file holds; one that can't be read holds nothing. When `writes` is not set, nothing is ever written to it.
    pub(super) fn read(file: PathBuf, writes: bool) -> Self {
        let read = || -> io::Result<Vec<Known>> {
            let size = match std::fs::metadata(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                about => about?.len(),
            };
            if size > LARGEST {
                return Err(io::Error::other(format!("it has {size} bytes")));
            }
            let document: Document = serde_json::from_slice(&std::fs::read(&file)?)?;
            if document.version == VERSION { Ok(document.known) } else { Ok(Vec::new()) }
        };
        let known = read().unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "what is known of plugins can't be read: they are tried again");
            Vec::new()
        });
        Self { file: writes.then_some(file), known: Mutex::new(known), writing: Mutex::default() }
    }

    /// The verdict, unless there is none or it is time for another try.
    pub(super) fn verdict(&self, sha256: &str, conditions: &str, now: Timestamp) -> Option<Verdict> {
        let verdict = self.find(sha256, conditions)?;
        let due = matches!(&verdict, Verdict::Bad(bad) if is_due(bad, now));
        (!due).then_some(verdict)
    }

    /// How often these bytes were tried in vain.
    pub(super) fn tries(&self, sha256: &str, conditions: &str) -> u32 {
        match self.find(sha256, conditions) {
            Some(Verdict::Bad(Bad { tries, .. })) => tries,
            _ => 0,
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, sha256: &str, conditions: &str) -> Option<Verdict> {
        let known = self.known();
        known.iter().find(|k| k.sha256 == sha256 && k.conditions == conditions).map(|k| k.verdict.clone())
    }

    /// Keeps a verdict, if it is one that lasts: whether there is something to be [saved](Self::save) then.
    pub(super) fn keep(&self, sha256: &str, conditions: &str, verdict: &Verdict) -> bool {
        if matches!(verdict, Verdict::Bad(bad) if bad.kind.weight() == Weight::System) {
            return false;
        }
        let mut known = self.known();
        known.retain(|known| known.sha256 != sha256 || known.conditions != conditions);
        let (sha256, conditions) = (sha256.to_owned(), conditions.to_owned());
        known.push(Known { sha256, conditions, verdict: verdict.clone() });
        let over = known.len().saturating_sub(MOST);
        known.drain(..over);
        true
    }

    /// Forgets what is known of some bytes: whether there was something.
    pub(super) fn forget(&self, sha256: &str) -> bool {
        let mut known = self.known();
        let before = known.len();
        known.retain(|known| known.sha256 != sha256);
        known.len() < before
    }

    /// Writes all that is known in the place of what the file holds, all or nothing. Waits for the disk.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known().clone();
        let write = || {
            let text = serde_json::to_vec(&Document { version: VERSION, known })?;
            let mut next = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(file))?;
            next.write_all(&text)?;
            next.as_file().sync_data()?;
            next.persist(file)?;
            Ok::<(), io::Error>(())
        };
        if let Err(error) = write() {
            tracing::warn!(file = %file.display(), %error, "what is known of plugins can't be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::patience::after;
    use super::super::verdict::Kind;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn bad(kind: Kind) -> Verdict {
        Verdict::Bad(after(Bad::new(kind, "no"), 0, NOW))
    }

    #[test]
    fn verdicts_outlast_the_process_and_hold_under_their_conditions_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.json");
        let memory = Memory::read(file.clone(), true);
        assert!(memory.keep("aa", "here", &bad(Kind::Rules)) && memory.keep("bb", "here", &bad(Kind::Signal)));
        assert!(!memory.keep("cc", "here", &bad(Kind::Loader)), "it may be good tomorrow");
        memory.save();
        let memory = Memory::read(file.clone(), true);
        assert_eq!(memory.verdict("aa", "here", NOW), Some(bad(Kind::Rules)));
        assert_eq!(memory.verdict("aa", "there", NOW), None);
        assert_eq!((memory.verdict("cc", "here", NOW), memory.tries("cc", "here")), (None, 0));
        // What may be chance is tried again in its time.
        assert_eq!(memory.verdict("bb", "here", NOW), Some(bad(Kind::Signal)));
        let later = Timestamp::from_second(5).unwrap();
        assert_eq!((memory.verdict("bb", "here", later), memory.tries("bb", "here")), (None, 1));
        assert!(memory.forget("aa") && !memory.forget("aa"));
        memory.save();
        let reader = Memory::read(file.clone(), false);
        assert_eq!(reader.verdict("aa", "here", NOW), None);
        // One that looks without consequences.
        assert!(reader.forget("bb"));
        reader.save();
        assert_eq!(Memory::read(file, true).verdict("bb", "here", NOW), Some(bad(Kind::Signal)));
    }

    #[test]
    fn a_file_that_can_t_be_read_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.json");
        for text in ["", "{\"version\":1,\"kno", "[]", "{\"version\":2,\"known\":[]}", "\u{0}\u{0}"] {
            std::fs::write(&file, text).unwrap();
            let memory = Memory::read(file.clone(), true);
            assert!(memory.known().is_empty());
            memory.keep("aa", "here", &bad(Kind::Rules));
            memory.save();
            assert_eq!(Memory::read(file.clone(), true).known().len(), 1, "after {text:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::read(folder.path().join("verdicts.json"), true);
        for number in 0..MOST + 3 {
            memory.keep(&number.to_string(), "here", &bad(Kind::Rules));
            memory.keep("3", "here", &bad(Kind::Rules));
        }
        assert_eq!(memory.known().len(), MOST);
        assert!(memory.find("3", "here").is_some() && memory.find("0", "here").is_none());
    }
}
