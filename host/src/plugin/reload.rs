//! Acts on what the scan found: loads, reloads, refuses. What is to be done is decided by [`plan`]; what sources do about
//! a new generation by [`Tenants`].

use super::catalog::{Catalog, FileState, FileView, Generation};
use super::driver::{CallError, Driver, HostCalls};
use super::load::{LoadError, load};
use super::note::{Note, inspect_file};
use super::plan::{Claim, Decision, Serving, plan};
use super::pool::{Pool, PoolError};
use super::scan::{Found, ScanError, look, scan};
use super::stage::{Bytes, Stage, StageError};
use super::vet::{self, Subject, Vet};
use crate::logging::DriverLog;
use busway_plugin_api::info::DriverInfo;
use busway_plugin_api::message::AttachRequest;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nobody wrote to a file for so long: it is read.
const SETTLED: Duration = Duration::from_millis(150);
/// A file that was changed so recently and is no whole library is taken for one still being copied.
const FRESH: Duration = Duration::from_secs(2);
/// Loading, describing: a driver that takes longer is refused.
const LOADING: Duration = Duration::from_secs(10);
/// A new generation that plain errors of its sources kept from serving is tried again so often.
const AGAIN: Duration = Duration::from_secs(30);

/// Those who have sources of a driver open.
pub trait Tenants: Send + Sync {
    /// Moves every source of the driver to this generation, or none: opened beside the old ones and polled before
    /// anything is switched.
    ///
    /// # Errors
    ///
    /// What kept it; the old generation serves on as before.
    fn switch(&self, to: Arc<Generation>) -> impl Future<Output = Result<(), SwitchError>> + Send;
}

/// Why sources did not move to a new generation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("datasource {datasource:?} could not {step} with it: {error}")]
pub struct SwitchError {
    /// Whose source it was.
    pub datasource: String,
    /// What it was asked.
    pub step: &'static str,
    /// What it answered.
    pub error: String,
    /// Whether the driver's code is at fault, not its data.
    pub code_fault: bool,
}

/// Why a claim did not become a generation.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("it changed while it was read")]
    Changed,
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("loading it: {0}")]
    Pool(#[from] PoolError),
    #[error("its description failed: {0}")]
    Describe(CallError),
    #[error("its description breaks the rules: {}", .0.join("; "))]
    Rules(Vec<String>),
    #[error("its note says {0}, its description {1}")]
    Lies(String, String),
    #[error("it refused to be attached: {0}")]
    Attach(CallError),
    #[error(transparent)]
    Vetted(#[from] vet::Bad),
}

impl Failure {
    /// When to try again, if the host's own trouble is behind it, or the system's: not the bytes'.
    fn again(&self) -> Option<Instant> {
        match self {
            Self::Vetted(bad) => {
                let left = bad.again?.duration_since(Timestamp::now());
                Some(Instant::now() + Duration::try_from(left).unwrap_or_default())
            }
            Self::Stage(_) | Self::Load(LoadError::Map(_)) | Self::Pool(PoolError::NoThread | PoolError::Busy) => {
                Some(Instant::now() + AGAIN)
            }
            _ => None,
        }
    }
}

/// What is known of a file since it last changed.
#[derive(Debug)]
struct Seen {
    found: Found,
    since: Instant,
    verdict: Option<Verdict>,
}

/// Bytes that did not come to serve.
#[derive(Debug)]
struct HeldBack {
    reason: String,
    /// When to try again; never, when the code is at fault.
    again: Option<Instant>,
    /// What was made of them already: it stays mapped, so the next try takes it.
    generation: Option<Arc<Generation>>,
}

#[derive(Debug, Clone)]
enum Verdict {
    Claims(Claim, Box<Note>),
    /// With when to look again, if that may help though the file stays as it is.
    Refused(String, Option<Instant>),
}

/// Loads and reloads what lies in the plugin directories.
pub struct Executor<T> {
    directories: Vec<PathBuf>,
    stage: Arc<Stage>,
    /// Private copies of what was read in this pass, by file.
    copies: HashMap<PathBuf, PathBuf>,
    catalog: Arc<Catalog>,
    tenants: T,
    seen: BTreeMap<PathBuf, Seen>,
    serving: BTreeMap<String, Serving>,
    /// Who served before this process: decides between files that claim one id.
    history: History,
    /// Mapped copies by their bytes: the same bytes are mapped once.
    mapped: HashMap<String, Arc<dyn Driver>>,
    /// Bytes that did not come to serve.
    held_back: HashMap<String, HeldBack>,
    /// Tries what is new before it is mapped.
    vetter: Arc<dyn Vet>,
    /// What came of trying this pass's plugins, by their bytes.
    vetted: HashMap<String, vet::Verdict>,
    generations: u64,
}

impl<T: Tenants> Executor<T> {
    /// Nothing is loaded before the first [`pass`](Self::pass). `history` is the file in which is remembered who served.
    pub fn new(
        directories: Vec<PathBuf>,
        stage: Stage,
        history: &Path,
        vetter: Arc<dyn Vet>,
        catalog: Arc<Catalog>,
        tenants: T,
    ) -> Self {
        Self {
            directories,
            stage: Arc::new(stage),
            copies: HashMap::new(),
            catalog,
            tenants,
            seen: BTreeMap::new(),
            serving: BTreeMap::new(),
            history: History::read(history),
            mapped: HashMap::new(),
            held_back: HashMap::new(),
            vetter,
            vetted: HashMap::new(),
            generations: 0,
        }
    }

    /// Nothing is written to the history: for a look without consequences.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.history.forgetful = true;
        self
    }

    /// Looks at the directories once and does what is to be done. Answers when to look again at the latest, if files are
    /// still changing.
    pub async fn pass(&mut self) -> Option<Duration> {
        let directories = self.directories.clone();
        // Slow disks must not hold up everyone else.
        let scanned =
            tokio::task::spawn_blocking(move || directories.iter().map(|d| scan(d)).collect::<Vec<_>>()).await;
        let mut troubles = Vec::new();
        let mut files: BTreeMap<PathBuf, Result<Found, ScanError>> = BTreeMap::new();
        let mut unreadable: Vec<PathBuf> = Vec::new();
        for (directory, scanned) in self.directories.iter().zip(scanned.unwrap_or_default()) {
            match scanned {
                Ok(found) => files.extend(found),
                Err(error) => {
                    if matches!(error, ScanError::Unreadable { .. }) {
                        unreadable.push(directory.clone());
                    }
                    troubles.push((directory.clone(), error.to_string()));
                }
            }
        }
        let mut views = Vec::new();
        let again = self.judge(&files, &mut views).await;
        let claims: Vec<Claim> = (self.seen.values())
            .filter_map(|seen| match &seen.verdict {
                Some(Verdict::Claims(claim, _)) => Some(claim.clone()),
                _ => None,
            })
            .collect();
        // Files that are there, and those of directories that can't be read just now.
        let mut undecided: BTreeSet<PathBuf> = files.keys().cloned().collect();
        undecided.retain(|path| !claims.iter().any(|claim| &claim.path == path));
        let known = self.serving.values().map(|s| &s.path).chain(self.history.served.values());
        let lost = |path: &&PathBuf| unreadable.iter().any(|d| path.parent() == Some(d.as_path()));
        undecided.extend(known.filter(lost).cloned());
        let (mut decisions, conflicts) = plan(&claims, &self.serving, &self.history.served, &undecided);
        self.vet_all(decisions.values()).await;
        for decision in decisions.values_mut() {
            self.act(std::mem::replace(decision, Decision::Keep)).await;
        }
        self.vetted.clear();
        // Of files that were not to be loaded.
        for (_, copy) in self.copies.drain() {
            let _ = std::fs::remove_file(copy);
        }
        self.view(&conflicts, &files, &mut views);
        self.catalog.set_files(views, troubles);
        again
    }

    /// Reads what has settled since it last changed.
    async fn judge(
        &mut self,
        files: &BTreeMap<PathBuf, Result<Found, ScanError>>,
        views: &mut Vec<FileView>,
    ) -> Option<Duration> {
        let mut again = None;
        let mut settled = Vec::new();
        self.seen.retain(|path, _| matches!(files.get(path), Some(Ok(_))));
        for (path, look) in files {
            let found = match look {
                Ok(found) => found,
                Err(error) => {
                    views.push(view(path, FileState::Refused, error.to_string(), 0));
                    continue;
                }
            };
            let seen = self.seen.entry(path.clone()).or_insert_with(|| Seen {
                found: found.clone(),
                since: Instant::now(),
                verdict: None,
            });
            if seen.found != *found {
                *seen = Seen { found: found.clone(), since: Instant::now(), verdict: None };
            }
            match &seen.verdict {
                Some(Verdict::Refused(_, Some(again))) if Instant::now() >= *again => {}
                Some(_) => continue,
                None => {}
            }
            // A clock that is off must not make a file young for ever.
            let old = age(found) > FRESH || seen.since.elapsed() > FRESH;
            if !old && seen.since.elapsed() < SETTLED {
                again = Some(SETTLED);
                continue;
            }
            settled.push((path.clone(), found.clone(), old));
        }
        for (path, found, old, (verdict, copy)) in self.read(settled).await {
            match verdict {
                // A slow copy pauses longer than the settling time now and then.
                Verdict::Refused(reason, _) if !old => {
                    again = Some(SETTLED);
                    views.push(view(&path, FileState::Incomplete, reason, found.size));
                }
                verdict => {
                    if let Verdict::Refused(reason, _) = &verdict {
                        tracing::warn!(file = %path.display(), reason, "plugin refused");
                    }
                    if let Some(copy) = copy {
                        self.copies.insert(path.clone(), copy);
                    }
                    if let Some(seen) = self.seen.get_mut(&path) {
                        seen.verdict = Some(verdict);
                    }
                }
            }
        }
        again
    }

    /// Reads files, as many at a time as there are processors: hashing is what takes long.
    async fn read(&self, files: Vec<(PathBuf, Found, bool)>) -> Vec<(PathBuf, Found, bool, Examined)> {
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        let read = |(path, found, old): (PathBuf, Found, bool)| {
            let stage = Arc::clone(&self.stage);
            async move {
                let (reading, before) = (path.clone(), found.clone());
                let examined = tokio::task::spawn_blocking(move || examine(&reading, &before, &stage)).await;
                let panicked = |_| (Verdict::Refused("the host panicked reading it".to_owned(), None), None);
                (path, found, old, examined.unwrap_or_else(panicked))
            }
        };
        stream::iter(files.into_iter().map(read)).buffered(readers).collect().await
    }

    async fn act(&mut self, decision: Decision) {
        let (claim, reload) = match decision {
            Decision::Load(claim) => (claim, false),
            Decision::Reload(claim) => (claim, true),
            Decision::Keep | Decision::Missing => return,
        };
        let made = match self.held_back.get(&claim.sha256) {
            Some(held) if held.again.is_none_or(|again| Instant::now() < again) => return,
            Some(held) => held.generation.clone(),
            None => None,
        };
        let made = match made {
            Some(generation) => Ok(generation),
            None => self.generation(&claim).await,
        };
        let generation = match made {
            Ok(generation) => generation,
            Err(Failure::Changed) => {
                // The next scan sees what it has become.
                self.seen.remove(&claim.path);
                return;
            }
            Err(failure) => {
                let again = failure.again();
                return self.hold_back(&claim, failure.to_string(), again, None);
            }
        };
        if reload && let Err(error) = self.tenants.switch(Arc::clone(&generation)).await {
            self.catalog.count(Arc::clone(&generation));
            let again = (!error.code_fault).then(|| Instant::now() + AGAIN);
            return self.hold_back(&claim, error.to_string(), again, Some(generation));
        }
        self.held_back.remove(&claim.sha256);
        let serving = Serving { path: claim.path.clone(), sha256: claim.sha256.clone() };
        self.serving.insert(claim.id.clone(), serving);
        self.history.remember(&claim.id, &claim.path);
        tracing::info!(driver = claim.id, version = generation.info.version, generation = generation.number,
            file = %claim.path.display(), "driver serves");
        self.catalog.serve(generation);
    }

    fn hold_back(
        &mut self,
        claim: &Claim,
        reason: String,
        again: Option<Instant>,
        generation: Option<Arc<Generation>>,
    ) {
        tracing::warn!(driver = claim.id, file = %claim.path.display(), reason, "plugin refused");
        self.held_back.insert(claim.sha256.clone(), HeldBack { reason, again, generation });
    }

    /// Maps the claim's bytes, or takes the copy that is mapped already, and asks the driver who it is.
    async fn generation(&mut self, claim: &Claim) -> Result<Arc<Generation>, Failure> {
        let pool = Pool::new(&claim.id);
        let driver = match self.mapped.get(&claim.sha256) {
            Some(driver) => Arc::clone(driver),
            None => {
                let staged = match self.copies.remove(&claim.path) {
                    Some(copy) => copy,
                    None => self.copy(claim).await?,
                };
                if let Err(failure) = self.vetted(claim, &staged).await {
                    let _ = std::fs::remove_file(staged);
                    return Err(failure);
                }
                let driver = pool.run(LOADING, || (), move || load(&staged)).await??;
                self.mapped.insert(claim.sha256.clone(), Arc::clone(&driver));
                driver
            }
        };
        let asked = Arc::clone(&driver);
        let info = pool.run(LOADING, || (), move || asked.describe()).await?.map_err(Failure::Describe)?;
        self.check(claim, &info)?;
        self.generations += 1;
        let number = self.generations;
        let request = AttachRequest { generation: number, log_filter: self.catalog.log_filter() };
        let log: Arc<dyn HostCalls> = Arc::new(DriverLog::new(&info.id, number));
        let asked = Arc::clone(&driver);
        pool.run(LOADING, || (), move || asked.attach(log, &request)).await?.map_err(Failure::Attach)?;
        Ok(Arc::new(Generation {
            number,
            info,
            driver,
            pool,
            sha256: claim.sha256.clone(),
            path: claim.path.clone(),
            loaded: Timestamp::now(),
            sources: AtomicUsize::new(0),
        }))
    }

    /// Tries what is new: all of it at once, and how many children there are is the vetter's to say.
    async fn vet_all(&mut self, decisions: impl Iterator<Item = &Decision>) {
        let new = decisions.filter_map(|decision| match decision {
            Decision::Load(claim) | Decision::Reload(claim) => Some(claim),
            Decision::Keep | Decision::Missing => None,
        });
        let due = |claim: &&Claim| {
            let held_back = self.held_back.get(&claim.sha256);
            let due = held_back.is_none_or(|held| held.again.is_some_and(|again| Instant::now() >= again));
            due && !self.mapped.contains_key(&claim.sha256)
        };
        let new: Vec<&Claim> = new.filter(due).collect();
        for claim in &new {
            // What can't be copied is said when it is loaded.
            if !self.copies.contains_key(&claim.path)
                && let Ok(copy) = self.copy(claim).await
            {
                self.copies.insert(claim.path.clone(), copy);
            }
        }
        let mut trials = FuturesUnordered::new();
        for subject in new.into_iter().filter_map(|claim| self.subject(claim, self.copies.get(&claim.path)?)) {
            let trial = self.vetter.vet(subject);
            trials.push(trial.map(|verdict| (subject.sha256.to_owned(), verdict)));
        }
        let mut vetted = HashMap::new();
        while let Some((sha256, verdict)) = trials.next().await {
            vetted.insert(sha256, verdict);
        }
        drop(trials);
        self.vetted = vetted;
    }

    fn subject<'a>(&'a self, claim: &'a Claim, staged: &'a Path) -> Option<Subject<'a>> {
        match &self.seen.get(&claim.path)?.verdict {
            Some(Verdict::Claims(_, note)) => Some(Subject { file: &claim.path, staged, sha256: &claim.sha256, note }),
            _ => None,
        }
    }

    /// Whether a private copy may be mapped: until now nothing of it has been run in this process.
    async fn vetted(&mut self, claim: &Claim, staged: &Path) -> Result<(), Failure> {
        let verdict = match self.vetted.remove(&claim.sha256) {
            Some(verdict) => verdict,
            None => self.vetter.vet(self.subject(claim, staged).ok_or(Failure::Changed)?).await,
        };
        match verdict {
            vet::Verdict::Good(_) => Ok(()),
            vet::Verdict::Bad(bad) => Err(bad.into()),
        }
    }

    /// A private copy of a file that was examined in an earlier pass, or changed while it was.
    async fn copy(&self, claim: &Claim) -> Result<PathBuf, Failure> {
        let path = claim.path.clone();
        let bytes = tokio::task::spawn_blocking(move || Bytes::read(&path)).await.map_err(|_| Failure::Changed)??;
        if bytes.sha256 != claim.sha256 {
            return Err(Failure::Changed);
        }
        Ok(self.stage.put(&bytes)?)
    }

    fn check(&self, claim: &Claim, info: &DriverInfo) -> Result<(), Failure> {
        let problems = info.problems();
        if !problems.is_empty() {
            return Err(Failure::Rules(problems));
        }
        if let Some(Verdict::Claims(_, note)) = self.seen.get(&claim.path).and_then(|s| s.verdict.as_ref()) {
            let says = |id: &str, version: &str| format!("{id} {version}");
            if (&note.id, &note.version) != (&info.id, &info.version) {
                return Err(Failure::Lies(says(&note.id, &note.version), says(&info.id, &info.version)));
            }
        }
        Ok(())
    }

    /// What operators see of each file.
    fn view(
        &self,
        conflicts: &BTreeMap<PathBuf, Vec<PathBuf>>,
        files: &BTreeMap<PathBuf, Result<Found, ScanError>>,
        views: &mut Vec<FileView>,
    ) {
        for (path, seen) in &self.seen {
            let size = seen.found.size;
            let (claim, note) = match &seen.verdict {
                Some(Verdict::Claims(claim, note)) => (claim, note),
                Some(Verdict::Refused(reason, _)) => {
                    views.push(view(path, FileState::Refused, reason.clone(), size));
                    continue;
                }
                // It is changing: until it has settled, what was loaded of it serves.
                None => {
                    if let Some(generation) = self.catalog.drivers().into_iter().find(|g| &g.path == path)
                        && !views.iter().any(|v| &v.path == path)
                    {
                        views.push(FileView {
                            driver: Some(generation.info.id.clone()),
                            version: Some(generation.info.version.clone()),
                            generation: Some(generation.number),
                            sha256: Some(generation.sha256.clone()),
                            ..view(path, FileState::Serving, String::new(), size)
                        });
                    }
                    continue;
                }
            };
            let serves = self.serving.get(&claim.id).is_some_and(|s| &s.path == path);
            let current = serves && self.serving.get(&claim.id).is_some_and(|s| s.sha256 == claim.sha256);
            let (state, reason) = match (conflicts.get(path), self.held_back.get(&claim.sha256)) {
                (Some(others), _) => {
                    let others: Vec<String> = others.iter().map(|p| p.display().to_string()).collect();
                    let text = format!("driver id {:?} is claimed by {} too: remove one", claim.id, others.join(", "));
                    (FileState::Conflict, text)
                }
                (None, Some(held)) if serves && !current => {
                    (FileState::HeldBack, format!("{}; the bytes before serve on", held.reason))
                }
                (None, Some(held)) if !current => (FileState::Refused, held.reason.clone()),
                _ => (FileState::Serving, String::new()),
            };
            let generation = self.catalog.serving(&claim.id).filter(|g| serves && &g.path == path).map(|g| g.number);
            views.push(FileView {
                driver: Some(claim.id.clone()),
                version: Some(note.version.clone()),
                generation,
                sha256: Some(claim.sha256.clone()),
                ..view(path, state, reason, size)
            });
        }
        for (id, serving) in self.serving.iter().filter(|(_, s)| !files.contains_key(&s.path)) {
            let generation = self.catalog.serving(id);
            views.push(FileView {
                driver: Some(id.clone()),
                version: generation.as_ref().map(|g| g.info.version.clone()),
                generation: generation.map(|g| g.number),
                sha256: Some(serving.sha256.clone()),
                ..view(
                    &serving.path,
                    FileState::Missing,
                    "the file is gone; what was loaded of it serves on".to_owned(),
                    0,
                )
            });
        }
        views.sort_by(|a, b| a.path.cmp(&b.path));
    }
}

fn view(path: &Path, state: FileState, reason: String, size: u64) -> FileView {
    FileView { path: path.to_owned(), driver: None, version: None, state, reason, generation: None, sha256: None, size }
}

/// How long ago a file was last changed.
fn age(found: &Found) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = i128::try_from(now).unwrap_or(i128::MAX);
    let nanoseconds = now - found.modified.max(found.changed);
    // A time in the future: somebody's clock is off, and nobody knows.
    u64::try_from(nanoseconds).map_or(Duration::ZERO, Duration::from_nanos)
}

/// A verdict, and the private copy of what it is about.
type Examined = (Verdict, Option<PathBuf>);

/// Reads a file. When it is a plugin, it is copied at once: what was hashed is what is loaded, and it is read once.
fn examine(path: &Path, before: &Found, stage: &Stage) -> Examined {
    match inspect_file(path) {
        Ok((bytes, note)) => {
            // One that changed meanwhile, or can't be copied now, is read anew if it is to be loaded.
            let unchanged = matches!(look(path), Some(Ok(now)) if now == *before);
            let copy = if unchanged { stage.put(&bytes).ok() } else { None };
            let claim = Claim { path: path.to_owned(), id: note.id.clone(), sha256: bytes.sha256 };
            (Verdict::Claims(claim, Box::new(note)), copy)
        }
        // What the system lacks may be installed, what could not be read may be read.
        Err(error) => {
            let again = error.may_pass().then(|| Instant::now() + AGAIN);
            (Verdict::Refused(error.to_string(), again), None)
        }
    }
}

/// Which file served which driver id last, kept over restarts.
#[derive(Debug)]
struct History {
    file: PathBuf,
    served: BTreeMap<String, PathBuf>,
    forgetful: bool,
}

impl History {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // A history that can't be read is none: then a conflict stays one until an operator resolves it.
        Self { file: file.to_owned(), served: serde_json::from_str(&text).unwrap_or_default(), forgetful: false }
    }

    fn remember(&mut self, id: &str, path: &Path) {
        if self.forgetful || self.served.get(id).is_some_and(|p| p == path) {
            return;
        }
        self.served.insert(id.to_owned(), path.to_owned());
        let next = self.file.with_extension("next");
        let text = serde_json::to_string_pretty(&self.served).unwrap_or_default();
        let written = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, &self.file));
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "who serves can't be remembered");
        }
    }
}
