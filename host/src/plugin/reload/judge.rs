//! What is known of each file since it last changed: whether anybody still writes it, and what its bytes are.

use super::super::bytes::{self, FRESH, Libraries};
use super::super::content::Reuse;
use super::super::plan::{Claim, Unclear};
use super::super::scan::{Found, ScanError, look};
use super::super::stage::Stage;
use super::errands::{Back, Errands};
use super::workshop::Staged;
use futures_util::{StreamExt as _, stream};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nobody wrote to a file for so long: it is read.
pub(super) const SETTLED: Duration = Duration::from_millis(150);
/// What could not be read, or lacks something of the system's, is looked at again so often.
const AGAIN: Duration = Duration::from_secs(30);
/// A file is read in this time, or there is no answer yet.
const ANSWER: Duration = Duration::from_secs(10);
/// And whether there is one by now is seen so often.
const SILENT: Duration = Duration::from_secs(5);

/// What a file is.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// A plugin.
    Claims(Claim),
    /// Not whole, and changed a moment ago.
    Incomplete(String),
    /// No plugin for this host. With when to look again, if that may help though the file stays as it is.
    Refused(String, Option<Instant>),
}

/// What is known of a file since it last changed.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) found: Found,
    since: Instant,
    /// None: it is not read before it has settled.
    pub(super) verdict: Option<Verdict>,
    /// The driver id that it claimed before it changed.
    claimed: Option<String>,
}

impl Seen {
    fn id(&self) -> Option<&String> {
        match &self.verdict {
            Some(Verdict::Claims(claim)) => Some(&claim.id),
            _ => self.claimed.as_ref(),
        }
    }
}

/// Reads a file and says what it is. Tests put in another.
pub(super) type Examiner = fn(&Path, &Found, &Stage, &Libraries) -> Examined;

/// The files of the plugin directories.
pub(super) struct Judge {
    pub(super) examine: Examiner,
    pub(super) seen: BTreeMap<PathBuf, Seen>,
    /// Private copies of what was read in this pass, by file, and what their notes say.
    pub(super) staged: HashMap<PathBuf, Staged>,
    /// Files that are being read.
    reading: Errands<Reading>,
    /// How long that may take.
    pub(super) patience: Duration,
}

/// What came of reading a file. If nobody wants to know any more, its private copy goes with it.
#[derive(Debug)]
struct Reading {
    /// What it looked like then.
    found: Found,
    examined: Option<Examined>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some((_, Some(copy))) = &self.examined {
            let _ = std::fs::remove_file(&copy.path);
        }
    }
}

/// A verdict, and the private copy of what it is about.
pub(super) type Examined = (Verdict, Option<Staged>);

impl Default for Judge {
    fn default() -> Self {
        Self { examine, seen: BTreeMap::new(), staged: HashMap::new(), reading: Errands::default(), patience: ANSWER }
    }
}

impl Judge {
    /// Reads what has settled since it last changed. Answers when to look again at the latest, if files are still changing;
    /// and what is newly refused.
    pub(super) async fn look(
        &mut self,
        files: &BTreeMap<PathBuf, Result<Found, ScanError>>,
        stage: &Arc<Stage>,
    ) -> (Option<Duration>, Vec<(PathBuf, String)>) {
        let (mut again, mut refused, mut settled) = (None, Vec::new(), Vec::new());
        self.seen.retain(|path, _| matches!(files.get(path), Some(Ok(_))));
        self.reading.sweep(|path| self.seen.contains_key(path));
        for (path, look) in files {
            let Ok(found) = look else { continue };
            let fresh = |claimed| Seen { found: found.clone(), since: Instant::now(), verdict: None, claimed };
            let seen = self.seen.entry(path.clone()).or_insert_with(|| fresh(None));
            if seen.found != *found {
                *seen = fresh(seen.id().cloned());
            }
            // A clock that is off must not make a file young for ever.
            let old = age(found) > FRESH || seen.since.elapsed() > FRESH;
            match &seen.verdict {
                None => {}
                Some(Verdict::Refused(_, Some(again))) if Instant::now() >= *again => {}
                Some(Verdict::Incomplete(_)) if old => {}
                Some(Verdict::Incomplete(_)) => {
                    again = Some(SETTLED);
                    continue;
                }
                Some(_) => continue,
            }
            let left = SETTLED.saturating_sub(seen.since.elapsed());
            if !old && !left.is_zero() {
                // Other events bring other looks meanwhile: they put nothing off.
                again = Some(again.map_or(left, |sooner: Duration| sooner.min(left)));
                continue;
            }
            settled.push((path.clone(), found.clone(), old));
        }
        for (path, old, (verdict, copy)) in self.read(settled, stage).await {
            let verdict = match verdict {
                // A slow copy pauses longer than the settling time now and then.
                Verdict::Incomplete(reason) if !old => {
                    again = Some(SETTLED);
                    Verdict::Incomplete(reason)
                }
                Verdict::Incomplete(reason) => Verdict::Refused(reason, None),
                verdict => verdict,
            };
            let before = self.seen.get(&path).and_then(|seen| seen.verdict.as_ref());
            let known = |reason: &String| matches!(before, Some(Verdict::Refused(said, _)) if said == reason);
            // What is looked at now and then is told once.
            if let Verdict::Refused(reason, _) = &verdict
                && !known(reason)
            {
                refused.push((path.clone(), reason.clone()));
            }
            if let Some(copy) = copy {
                self.staged.insert(path.clone(), copy);
            }
            if let Some(seen) = self.seen.get_mut(&path) {
                seen.claimed = seen.id().cloned();
                seen.verdict = Some(verdict);
            }
        }
        (again, refused)
    }

    /// Reads files, as many at a time as there are processors: hashing is what takes long. Of a directory in which one gives
    /// no answer no further one is waited for.
    async fn read(&self, files: Vec<(PathBuf, Found, bool)>, stage: &Arc<Stage>) -> Vec<(PathBuf, bool, Examined)> {
        if files.is_empty() {
            return Vec::new();
        }
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        let libraries = Arc::new(Libraries::of_system());
        let _spare = Reuse::begin(readers);
        let silent: Mutex<BTreeSet<PathBuf>> = Mutex::default();
        let read = |(path, found, old): (PathBuf, Found, bool)| {
            let (stage, libraries, silent) = (stage, &libraries, &silent);
            async move {
                let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
                let gave_up = silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&directory);
                let patience = if gave_up { Duration::ZERO } else { self.patience };
                let examined = self.examined(&path, &found, patience, (stage, libraries)).await;
                let examined = examined.unwrap_or_else(|| {
                    silent.lock().unwrap_or_else(PoisonError::into_inner).insert(directory);
                    let text = "it gives no answer: see to the file system that it is on".to_owned();
                    (Verdict::Refused(text, Some(Instant::now() + SILENT)), None)
                });
                (path, old, examined)
            }
        };
        let mut read: Vec<_> = stream::iter(files.into_iter().map(read)).buffer_unordered(readers).collect().await;
        read.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        read
    }

    async fn examined(
        &self,
        path: &Path,
        before: &Found,
        patience: Duration,
        (stage, libraries): (&Arc<Stage>, &Arc<Libraries>),
    ) -> Option<Examined> {
        loop {
            let (examine, reading, found) = (self.examine, path.to_owned(), before.clone());
            let (stage, libraries) = (Arc::clone(stage), Arc::clone(libraries));
            let work = move || {
                let examined = Some(examine(&reading, &found, &stage, &libraries));
                Reading { found, examined }
            };
            match self.reading.ask(path, patience, work).await? {
                Back::Now(mut read) => return read.examined.take(),
                Back::Late(mut read) if read.found == *before => return read.examined.take(),
                // It has changed since.
                Back::Late(_) => {}
            }
        }
    }

    /// Files of which it will soon be known what they are, each with the driver id that it claimed last.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = (&PathBuf, Option<&String>)> {
        let open = |seen: &Seen| matches!(seen.verdict, None | Some(Verdict::Incomplete(_)));
        self.seen.iter().filter(move |(_, seen)| open(seen)).map(|(path, seen)| (path, seen.id()))
    }

    /// Since when a file has been seen as it is.
    pub(super) fn lies_since(&self, path: &Path) -> Option<Instant> {
        self.seen.get(path).map(|seen| seen.since)
    }

    /// What a file claims now.
    pub(super) fn claim(&self, path: &Path) -> Option<&Claim> {
        match &self.seen.get(path)?.verdict {
            Some(Verdict::Claims(claim)) => Some(claim),
            _ => None,
        }
    }

    /// Files whose bytes are plugins.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let claim = |seen: &Seen| match &seen.verdict {
            Some(Verdict::Claims(claim)) => Some(claim.clone()),
            _ => None,
        };
        self.seen.values().filter_map(claim).collect()
    }

    /// Files that are none, or of which it is not known.
    pub(super) fn unclear(&self) -> BTreeMap<PathBuf, Unclear> {
        let unclear = |(path, seen): (&PathBuf, &Seen)| {
            let why = match &seen.verdict {
                None => Unclear::Changing,
                Some(Verdict::Incomplete(_)) => Unclear::Incomplete,
                Some(Verdict::Refused(..)) => Unclear::Refused,
                Some(Verdict::Claims(..)) => return None,
            };
            Some((path.clone(), why))
        };
        self.seen.iter().filter_map(unclear).collect()
    }

    /// What was refused is looked at again.
    pub(super) fn forget_refusals(&mut self) {
        for seen in self.seen.values_mut().filter(|seen| matches!(seen.verdict, Some(Verdict::Refused(..)))) {
            seen.verdict = None;
        }
    }

    /// Copies of files that were not to be loaded.
    pub(super) fn sweep(&mut self) {
        for (_, copy) in self.staged.drain() {
            let _ = std::fs::remove_file(copy.path);
        }
    }
}

/// Reads a file. When it is a plugin, it is copied at once: what was hashed is what is loaded, and it is read once.
fn examine(path: &Path, before: &Found, stage: &Stage, libraries: &Libraries) -> Examined {
    match bytes::examine(path, libraries) {
        Ok(bytes::Examined { bytes, facts, .. }) => {
            // One that changed meanwhile, or can't be copied now, is read anew if it is to be loaded.
            let unchanged = matches!(look(path), Some(Ok(now)) if now == *before);
            let copy = if unchanged { stage.put(&bytes).ok() } else { None };
            let (id, version) = (facts.note.id.clone(), facts.note.version.clone());
            let claim = Claim { path: path.to_owned(), id, version, sha256: bytes.sha256 };
            (Verdict::Claims(claim), copy.map(|path| Staged { path, note: facts.note }))
        }
        Err(error) if error.may_be_incomplete() => (Verdict::Incomplete(error.to_string()), None),
        // What the system lacks may be installed, what could not be read may be read.
        Err(error) => {
            let again = error.may_pass().then(|| Instant::now() + AGAIN);
            (Verdict::Refused(error.to_string(), again), None)
        }
    }
}

/// How long ago a file was last changed.
fn age(found: &Found) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = i128::try_from(now).unwrap_or(i128::MAX);
    let nanoseconds = now - found.modified.max(found.changed);
    // A time in the future: somebody's clock is off, and nobody knows.
    u64::try_from(nanoseconds).map_or(Duration::ZERO, Duration::from_nanos)
}
