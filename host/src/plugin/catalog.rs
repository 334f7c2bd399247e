//! Who serves which driver id, and what became of every file.

use super::generation::{Generation, GenerationState, Happening};
use super::news::{MOST, News};
use super::reload::{Outcome, Report, Terms};
use crate::happenings::{Happenings, Receiver};
use crate::hiding::Finder;
use busway_plugin_api::options::nearest;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Its driver serves.
    Serving,
    /// It is no driver for this host; the reason says why.
    Refused,
    /// Another file claims the same driver id.
    Conflict,
    /// Its driver serves on, the file is gone.
    Missing,
    /// It is still being written, as it seems.
    Incomplete,
    /// Its bytes did not make a serving driver; the ones before serve on.
    HeldBack,
    /// It is being loaded, or its sources are being moved.
    Loading,
}

impl FileState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Missing => "missing",
            Self::Incomplete => "incomplete",
            Self::HeldBack => "held back",
            Self::Loading => "loading",
        }
    }
}

/// A file, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// Where it lies.
    pub path: PathBuf,
    /// The driver id it claims, once known.
    pub driver: Option<String>,
    /// The version it claims.
    pub version: Option<String>,
    /// What became of it.
    pub state: FileState,
    /// Why, in one line; empty when it serves.
    pub reason: String,
    /// The generation that serves from it.
    pub generation: Option<u64>,
    /// Its bytes.
    pub sha256: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

/// A generation, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationView {
    /// Its driver.
    pub driver: String,
    /// Its number.
    pub number: u64,
    /// The driver's version.
    pub version: String,
    /// Its bytes.
    pub sha256: String,
    /// Where it is in its life; it stays mapped for the whole of the process's.
    pub state: GenerationState,
    /// Since when it is loaded.
    pub loaded: Timestamp,
    /// How many sources of it are open.
    pub sources: usize,
    /// How large its file is, in bytes.
    pub size: u64,
}

/// Generations that are mapped and serve no more: their code is never unmapped, a restart gives the memory back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    /// How many.
    pub generations: usize,
    /// The bytes of their files. The same bytes are counted once: they are mapped once, unless they failed.
    pub bytes: u64,
    /// How many of these are too many: `plugins.retired_budget`.
    pub budget: u64,
}

impl Retired {
    /// What is wrong with it and what helps, if they hold too much.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        (self.bytes > self.budget).then(|| {
            let (noun, verb) = if self.generations == 1 { ("generation", "holds") } else { ("generations", "hold") };
            format!(
                "{} retired {noun} {verb} {} MiB, more than plugins.retired_budget ({} MiB): restart the host when that suits, \
                 which gives it back",
                self.generations,
                self.bytes.div_ceil(1 << 20),
                self.budget >> 20
            )
        })
    }
}

/// What loads and reloads of a driver came to since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many ended how.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// States of tables that were lost by them.
    pub gap: u64,
    /// States of tables that were doubled by them.
    pub dup: u64,
}

/// What the plugin room tells the others.
#[derive(Debug)]
pub struct Catalog {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    news: Arc<Happenings<News>>,
}

#[derive(Debug, Default)]
struct State {
    serving: BTreeMap<String, Arc<Generation>>,
    loaded: Vec<Arc<Generation>>,
    files: Vec<FileView>,
    troubles: Vec<(PathBuf, String)>,
    /// Files of which it was told that they are held back, and their bytes.
    held: BTreeMap<PathBuf, Option<String>>,
    /// What is to be known of drivers that serve.
    remarks: BTreeMap<String, String>,
    /// What the last load or reload of each driver came to.
    reports: BTreeMap<String, Report>,
    tallies: BTreeMap<String, Tally>,
    budget: u64,
    log_filter: String,
    terms: Terms,
}

/// A driver has so long to change its filter.
const LOG_FILTER: Duration = Duration::from_secs(5);

impl Catalog {
    /// An empty one; drivers will be told this log filter.
    #[must_use]
    pub fn new(log_filter: &str) -> Self {
        let state = State { log_filter: log_filter.to_owned(), ..State::default() };
        Self { state: Mutex::new(state), changed: watch::Sender::new(0), news: Arc::new(Happenings::new(MOST)) }
    }

    /// On what terms sources move by themselves, to a generation that came to serve while they were being opened.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.state().terms.clone()
    }

    pub(super) fn set_terms(&self, terms: Terms) {
        self.state().terms = terms;
    }

    pub(super) fn set_budget(&self, bytes: u64) {
        self.state().budget = bytes;
    }

    /// Rung whenever something changed.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All that becomes of plugins from now on.
    pub(crate) fn news(&self) -> Receiver<News> {
        self.news.follow()
    }

    /// Where it is told.
    pub(crate) fn telling(&self) -> &Arc<Happenings<News>> {
        &self.news
    }

    /// What is to be known of a driver though it serves; none: nothing.
    pub(crate) fn remark(&self, driver: &str, what: Option<String>) {
        let mut state = self.state();
        let before = match what.clone() {
            Some(what) => state.remarks.insert(driver.to_owned(), what),
            None => state.remarks.remove(driver),
        };
        drop(state);
        if before != what {
            self.ring();
        }
    }

    /// The generation that serves a driver id.
    #[must_use]
    pub fn serving(&self, driver: &str) -> Option<Arc<Generation>> {
        self.state().serving.get(driver).cloned()
    }

    /// Why no generation serves a driver id: what became of the files that claim it, else the nearest id that is served.
    #[must_use]
    pub fn why_not(&self, driver: &str) -> String {
        let state = self.state();
        let claims = state.files.iter().filter(|file| file.driver.as_deref() == Some(driver));
        let said = |f: &FileView| format!("{} is {}: {}", f.path.display(), f.state.as_str(), f.reason);
        let files: Vec<String> = claims.map(said).collect();
        if !files.is_empty() {
            return format!("no driver {driver:?} is loaded: {}", files.join("; "));
        }
        match nearest(driver, state.serving.keys().map(String::as_str)) {
            Some(near) => format!("no driver {driver:?} is loaded: did you mean {near:?}?"),
            None => format!("no driver {driver:?} is loaded"),
        }
    }

    /// All that serve.
    #[must_use]
    pub fn drivers(&self) -> Vec<Arc<Generation>> {
        self.state().serving.values().cloned().collect()
    }

    /// All files of the plugin directories, and those that still serve though they are gone.
    #[must_use]
    pub fn files(&self) -> Vec<FileView> {
        let state = self.state();
        let mut files = state.files.clone();
        for file in files.iter_mut().filter(|file| file.state == FileState::Serving && file.reason.is_empty()) {
            let remark = file.driver.as_ref().and_then(|driver| state.remarks.get(driver));
            file.reason = remark.cloned().unwrap_or_default();
        }
        files
    }

    /// What is wrong with the directories themselves.
    #[must_use]
    pub fn troubles(&self) -> Vec<(PathBuf, String)> {
        self.state().troubles.clone()
    }

    /// All generations of this process, retired ones too.
    #[must_use]
    pub fn generations(&self) -> Vec<GenerationView> {
        let state = self.state();
        let view = |g: &Arc<Generation>| GenerationView {
            driver: g.info.id.clone(),
            number: g.number,
            version: g.info.version.clone(),
            sha256: g.sha256.clone(),
            state: g.state(),
            loaded: g.loaded,
            sources: g.sources.load(Ordering::Relaxed),
            size: g.size,
        };
        state.loaded.iter().map(view).collect()
    }

    /// Which log records cross from now on: from all that serve, and from those that come.
    ///
    /// # Errors
    ///
    /// What drivers that refused it said.
    pub async fn set_log_filter(&self, filter: &str) -> Result<(), String> {
        filter.clone_into(&mut self.state().log_filter);
        let mut refused = Vec::new();
        for generation in self.drivers() {
            let (driver, filter) = (Arc::clone(&generation.driver), filter.to_owned());
            let answer = generation.pool.run(LOG_FILTER, || (), move || driver.set_log_filter(&filter)).await;
            let answer = answer.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e| e.to_string()));
            let said = answer.err().map(|e| generation.secrets.hide(&e).into_owned());
            refused.extend(said.map(|e| format!("driver {}: {e}", generation.info.id)));
        }
        if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) }
    }

    /// Which log records cross.
    #[must_use]
    pub fn log_filter(&self) -> String {
        self.state().log_filter.clone()
    }

    /// What the last load or reload of each driver came to, by its id.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<String, Report> {
        self.state().reports.clone()
    }

    /// What loads and reloads came to since the start, by the driver's id.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<String, Tally> {
        self.state().tallies.clone()
    }

    pub(super) fn report(&self, report: Report) {
        let mut state = self.state();
        let tally = state.tallies.entry(report.driver.clone()).or_default();
        *tally.outcomes.entry(report.outcome).or_default() += 1;
        let ledger = report.ledger.unwrap_or_default();
        (tally.gap, tally.dup) = (tally.gap + ledger.gap, tally.dup + ledger.dup);
        state.reports.insert(report.driver.clone(), report);
        drop(state);
        self.ring();
    }

    /// A driver id is served no more: what is open of it closes.
    pub(crate) fn unserve(&self, driver: &str) {
        let gone = self.state().serving.remove(driver);
        if let Some(gone) = gone {
            gone.on(Happening::Retired);
            self.news.tell(|| News::Retired(gone));
            self.ring();
        }
    }

    /// What generations that serve no more hold.
    #[must_use]
    pub fn retired(&self) -> Retired {
        let state = self.state();
        let over = |state| matches!(state, GenerationState::Retired | GenerationState::Withdrawn);
        // Generations of one mapped copy share its health; a fresh copy of the same bytes is memory of its own.
        let copy = |generation: &Arc<Generation>| Arc::as_ptr(&generation.health);
        let alive: BTreeSet<_> = state.loaded.iter().filter(|g| !over(g.state())).map(copy).collect();
        let retired: Vec<&Arc<Generation>> = state.loaded.iter().filter(|g| over(g.state())).collect();
        let mapped = retired.iter().map(|g| (copy(g), g.size));
        let sizes: BTreeMap<_, u64> = mapped.filter(|(copy, _)| !alive.contains(copy)).collect();
        Retired { generations: retired.len(), bytes: sizes.values().sum(), budget: state.budget }
    }

    /// The generation from which on a driver id is served.
    pub(crate) fn serve(&self, generation: Arc<Generation>) {
        let mut state = self.state();
        if !state.loaded.iter().any(|g| g.number == generation.number) {
            state.loaded.push(Arc::clone(&generation));
        }
        state.serving.insert(generation.info.id.clone(), generation);
        drop(state);
        self.ring();
    }

    /// A generation that was loaded and did not come to serve: it stays mapped, so it is counted.
    pub(super) fn count(&self, generation: Arc<Generation>) {
        let mut state = self.state();
        if !state.loaded.iter().any(|g| g.number == generation.number) {
            state.loaded.push(generation);
        }
        drop(state);
        self.ring();
    }

    pub(super) fn set_files(&self, files: Vec<FileView>, troubles: Vec<(PathBuf, String)>) {
        let mut state = self.state();
        if state.files == files && state.troubles == troubles {
            return;
        }
        for (_, trouble) in troubles.iter().filter(|t| !state.troubles.contains(t)) {
            tracing::error!("{trouble}");
        }
        self.tell_held(&mut state, &files);
        (state.files, state.troubles) = (files, troubles);
        drop(state);
        self.ring();
    }

    /// Once for the same bytes, however often they are tried.
    fn tell_held(&self, state: &mut State, files: &[FileView]) {
        let may = |file: &&FileView| matches!(file.state, FileState::HeldBack | FileState::Loading);
        state.held.retain(|path, _| files.iter().filter(may).any(|file| file.path == *path));
        for file in files.iter().filter(|file| file.state == FileState::HeldBack) {
            if state.held.get(&file.path) == Some(&file.sha256) {
                continue;
            }
            state.held.insert(file.path.clone(), file.sha256.clone());
            self.news.tell(|| News::HeldBack {
                path: file.path.clone(),
                driver: file.driver.clone().unwrap_or_default(),
                version: file.version.clone(),
                sha256: file.sha256.clone(),
                reason: file.reason.clone(),
            });
        }
    }

    pub(super) fn ring(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
