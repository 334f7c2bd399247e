//! Where bytes become generations: staged, mapped, described and attached.

use super::super::bytes::{self, BytesError, Note};
use super::super::catalog::Catalog;
use super::super::driver::{CallError, Driver, HostCalls};
use super::super::generation::{Generation, Health};
use super::super::load::{LoadError, load};
use super::super::marker::{About, Marks, mark};
use super::super::news::News;
use super::super::plan::Claim;
use super::super::pool::{Pool, PoolError};
use super::super::record::Copies;
use super::super::stage::{Bytes, Stage, StageError};
use super::super::vet::{self, Subject, Vet};
use crate::hiding::{Finder, Finders};
use crate::logging::DriverLog;
use busway_plugin_api::info::DriverInfo;
use busway_plugin_api::message::AttachRequest;
use jiff::Timestamp;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Loading, describing: a driver that takes longer is refused.
const LOADING: Duration = Duration::from_secs(10);

/// Why a claim did not become a generation.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error("it changed while it was read")]
    Changed,
    #[error("the copy that was kept of it is not there any more, or is not what it was")]
    NoCopy,
    #[error("the copy that was kept of it is no plugin for this host any more: {0}")]
    OldCopy(BytesError),
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
    /// Whether the host's own trouble is behind it, or the system's: not the bytes'.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Vetted(bad) => bad.may_pass(),
            Self::Stage(_) | Self::Changed | Self::NoCopy | Self::Load(LoadError::Map(_)) => true,
            Self::Pool(error) => matches!(error, PoolError::NoThread | PoolError::Busy),
            _ => false,
        }
    }

    /// When to try again, if that is known.
    pub(super) fn again(&self) -> Option<Duration> {
        let Self::Vetted(bad) = self else { return None };
        Duration::try_from(bad.again?.duration_since(Timestamp::now())).ok()
    }
}

/// A private copy, and what its note says.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    pub(super) path: PathBuf,
    pub(super) note: Note,
}

/// A mapped copy.
#[derive(Clone)]
struct Mapped {
    driver: Arc<dyn Driver>,
    staged: PathBuf,
    size: u64,
    /// What its sources were told: all its generations share its memory.
    secrets: Arc<Finders>,
    /// Whether it failed: then the next try of the same bytes gets a fresh one.
    health: Arc<Health>,
}

impl Mapped {
    /// What it said outside any source, without their secrets.
    fn clean(&self, mut error: CallError) -> CallError {
        if error.is_code_fault() {
            self.health.blame();
        }
        self.secrets.hide_in_error(&mut error.body);
        error
    }
}

/// What touches foreign bytes. Tests put in others.
#[derive(Clone, Copy)]
pub(super) struct Tools {
    /// Maps a private copy.
    pub(super) load: fn(&Path) -> Result<Arc<dyn Driver>, LoadError>,
    /// What bytes say of themselves.
    pub(super) note: fn(&[u8]) -> Result<Note, BytesError>,
}

impl Default for Tools {
    fn default() -> Self {
        Self { load, note: |bytes| Ok(bytes::facts(bytes)?.note) }
    }
}

/// Makes generations.
pub(super) struct Workshop {
    pub(super) tools: Tools,
    pub(super) stage: Arc<Stage>,
    pub(super) copies: Copies,
    pub(super) catalog: Arc<Catalog>,
    /// Tries what is new before it is mapped.
    pub(super) vetter: Arc<dyn Vet>,
    /// Mapped copies by their bytes: the same bytes are mapped once, unless that copy has failed.
    mapped: Mutex<HashMap<String, Mapped>>,
    generations: AtomicU64,
    /// Where open calls are noted, if they are.
    pub(super) marks: Option<Arc<Marks>>,
}

impl Workshop {
    pub(super) fn new(stage: Stage, copies: Copies, vetter: Arc<dyn Vet>, catalog: Arc<Catalog>) -> Self {
        let (stage, generations) = (Arc::new(stage), AtomicU64::new(0));
        Self {
            tools: Tools::default(),
            stage,
            copies,
            catalog,
            vetter,
            mapped: Mutex::default(),
            generations,
            marks: None,
        }
    }

    /// Maps the claim's bytes, or takes the copy that is mapped already, and asks the driver who it is. `staged`: a private
    /// copy of the file, if one was made already; `restore`: the kept copy is meant, not the file.
    pub(super) async fn make(
        &self,
        claim: &Claim,
        staged: Option<Staged>,
        restore: bool,
    ) -> Result<Arc<Generation>, Failure> {
        let pool = Pool::new(&claim.id);
        let known = self.mapped().get(&claim.sha256).filter(|mapped| !mapped.health.is_ill()).cloned();
        let mapped = match known {
            Some(mapped) => {
                if let Some(unused) = staged {
                    let _ = std::fs::remove_file(unused.path);
                }
                mapped
            }
            None => {
                let staged = match staged {
                    Some(staged) => staged,
                    None => self.copy(claim, restore).await?,
                };
                let told = Arc::new(claim.clone());
                self.catalog.telling().tell(|| News::Staged(Arc::clone(&told)));
                self.vet(claim, &staged).await?;
                self.catalog.telling().tell(|| News::Vetted(told));
                let Staged { path: staged, .. } = staged;
                let size = std::fs::metadata(&staged).map_or(0, |m| m.len());
                let path = staged.clone();
                let driver = pool.run(LOADING, || (), self.loading(claim, path)).await?.inspect_err(|_| {
                    let _ = std::fs::remove_file(&staged);
                })?;
                let mapped = Mapped { driver, staged, size, secrets: Arc::default(), health: Arc::default() };
                self.mapped().insert(claim.sha256.clone(), mapped.clone());
                mapped
            }
        };
        let clean = |error| mapped.clean(error);
        let hangs = |_: &PoolError| mapped.health.blame();
        let asked = Arc::clone(&mapped.driver);
        let info = pool.run(LOADING, || (), move || asked.describe()).await.inspect_err(hangs)?;
        let info = info.map_err(|error| Failure::Describe(clean(error)))?;
        check(claim, &info)?;
        let number = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let request = AttachRequest { generation: number, log_filter: self.catalog.log_filter() };
        let log: Arc<dyn HostCalls> = Arc::new(DriverLog::new(&info.id, number, Arc::clone(&mapped.secrets)));
        let asked = Arc::clone(&mapped.driver);
        let attached = pool.run(LOADING, || (), move || asked.attach(log, &request)).await.inspect_err(hangs)?;
        attached.map_err(|error| Failure::Attach(clean(error)))?;
        let Mapped { driver, size, secrets, health, .. } = mapped;
        let made = Arc::new(Generation {
            number,
            info,
            driver,
            pool,
            cancels: Pool::new("cancel"),
            sha256: claim.sha256.clone(),
            path: claim.path.clone(),
            loaded: Timestamp::now(),
            sources: AtomicUsize::new(0),
            size,
            secrets,
            health,
            state: Mutex::default(),
            told: Mutex::default(),
        });
        self.catalog.telling().tell(|| News::Loaded(Arc::clone(&made)));
        Ok(made)
    }

    /// Whether a private copy may be mapped: until now nothing of it has been run in this process.
    async fn vet(&self, claim: &Claim, staged: &Staged) -> Result<(), Failure> {
        let subject = Subject { file: &claim.path, staged: &staged.path, sha256: &claim.sha256, note: &staged.note };
        match self.vetter.vet(subject).await {
            vet::Verdict::Good(_) => Ok(()),
            vet::Verdict::Bad(bad) => {
                let _ = std::fs::remove_file(&staged.path);
                Err(bad.into())
            }
        }
    }

    /// Maps a copy; calls of what comes of it are noted while they are open, and so is this.
    fn loading(&self, claim: &Claim, path: PathBuf) -> impl FnOnce() -> Result<Arc<dyn Driver>, LoadError> + use<> {
        let Claim { id, version, sha256, .. } = claim.clone();
        let about = About { driver: id, version, sha256, datasource: None };
        let (marks, load) = (self.marks.clone(), self.tools.load);
        move || {
            let Some(marks) = marks else { return load(&path) };
            let open = marks.open(&about, "load");
            let driver = load(&path)?;
            drop(open);
            Ok(mark(driver, about, marks))
        }
    }

    /// A mapped copy that panicked or hangs is not used again: the next try of the same bytes gets a fresh one.
    pub(super) fn taint(&self, sha256: &str) {
        self.mapped().remove(sha256);
    }

    /// Keeps a copy of bytes that served well.
    pub(super) async fn keep(&self, sha256: &str) -> bool {
        let Some(Mapped { staged, .. }) = self.mapped().get(sha256).cloned() else { return self.copies.has(sha256) };
        let (copies, of) = (self.copies.clone(), sha256.to_owned());
        match tokio::task::spawn_blocking(move || copies.keep(&staged, &of)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(sha256, %error, "no copy can be kept of a driver that serves well");
                false
            }
            Err(_) => false,
        }
    }

    fn mapped(&self) -> std::sync::MutexGuard<'_, HashMap<String, Mapped>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A private copy of a file that was examined in an earlier pass, or changed while it was; or of the copy that is kept.
    async fn copy(&self, claim: &Claim, restore: bool) -> Result<Staged, Failure> {
        let (claim, copies, stage) = (claim.clone(), self.copies.clone(), Arc::clone(&self.stage));
        let note = self.tools.note;
        let work = move || {
            let bytes = match restore {
                true => copies.read(&claim.sha256).ok_or_else(|| {
                    copies.remove(&claim.sha256);
                    Failure::NoCopy
                })?,
                false => read(&claim.path, &claim.sha256)?,
            };
            // A file was examined a moment ago; a copy, by another host perhaps.
            let note = note(&bytes.bytes).map_err(|e| if restore { Failure::OldCopy(e) } else { Failure::Changed })?;
            Ok(Staged { path: stage.put(&bytes)?, note })
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Failure::Changed)?
    }
}

fn read(path: &Path, sha256: &str) -> Result<Bytes, Failure> {
    let bytes = match Bytes::read(path) {
        // It was there a moment ago, and may be again a moment later: its bytes are not to wait for that.
        Err(StageError::Read { source }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::Changed);
        }
        read => read?,
    };
    if bytes.sha256 == sha256 { Ok(bytes) } else { Err(Failure::Changed) }
}

fn check(claim: &Claim, info: &DriverInfo) -> Result<(), Failure> {
    let problems = info.problems();
    if !problems.is_empty() {
        return Err(Failure::Rules(problems));
    }
    let says = |id: &str, version: &str| format!("{id} {version}");
    if (&claim.id, &claim.version) != (&info.id, &info.version) {
        return Err(Failure::Lies(says(&claim.id, &claim.version), says(&info.id, &info.version)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_goes_before_it_is_copied_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.so");
        assert!(matches!(read(&file, ""), Err(Failure::Changed)));
        std::fs::write(&file, "a").unwrap();
        assert!(matches!(read(&file, ""), Err(Failure::Changed)), "it holds other bytes");
        assert!(matches!(read(folder.path(), ""), Err(Failure::Stage(_))));
        let sha256 = Bytes::of(b"a".to_vec()).sha256;
        assert_eq!(*read(&file, &sha256).unwrap().bytes, *b"a");
    }
}
