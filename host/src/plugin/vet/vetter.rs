//! Who tries plugins: knows what is known, and lets no more children run at once than there are processors.

use super::guest::try_in_child;
use super::judge::judge;
use super::memory::Memory;
use super::patience::after;
use super::program::{Program, ProgramError};
use super::verdict::{Bad, Kind, Verdict};
use super::wire::{Confines, Task};
use super::{Subject, Vet, build};
use crate::config;
use crate::plugin::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Why no plugin can be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VetterError {
    /// There is no program to try them with.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// There is no folder to try them in.
    #[error("plugins can't be tried in {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Tries plugins in child processes.
#[derive(Debug)]
pub struct ChildVetter {
    program: Program,
    options: config::Vet,
    /// Each child has a folder of its own in it.
    scratch: PathBuf,
    /// The host's build, the limits, the C library.
    conditions: String,
    memory: Arc<Memory>,
    children: Semaphore,
}

/// Where verdicts are kept, in the state directory.
const VERDICTS: &str = "verdicts.json";

impl ChildVetter {
    /// One that keeps what it finds out in a folder, which it makes. The caller holds the state directory's lock.
    ///
    /// # Errors
    ///
    /// When there is no program to try plugins with, or the folder can't be made.
    pub fn new(options: &config::Vet, folder: &Path) -> Result<Self, VetterError> {
        let scratch = folder.join("scratch");
        // What a host that was killed left.
        let _ = std::fs::remove_dir_all(&scratch);
        Self::make(options, scratch, Memory::read(folder.join(VERDICTS), true))
    }

    /// One that takes what is known from a folder, keeps nothing there, and tries plugins in another.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn forgetful(options: &config::Vet, folder: &Path, scratch: &Path) -> Result<Self, VetterError> {
        Self::make(options, scratch.join("scratch"), Memory::read(folder.join(VERDICTS), false))
    }

    fn make(options: &config::Vet, scratch: PathBuf, memory: Memory) -> Result<Self, VetterError> {
        let program = Program::find(options.program.as_deref())?;
        if let Err(source) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&scratch) {
            return Err(VetterError::Folder { path: scratch, source });
        }
        let scratch = std::path::absolute(&scratch).unwrap_or(scratch);
        let builds = [env!("CARGO_PKG_VERSION"), &build::of(program.path()), &build::of_libc()].join("\n");
        let conditions = Bytes::of(format!("{builds}\n{options:?}").into_bytes()).sha256;
        let children = Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from));
        Ok(Self { program, options: options.clone(), scratch, conditions, memory: Arc::new(memory), children })
    }

    fn known(&self, sha256: &str) -> Option<Verdict> {
        self.memory.verdict(sha256, &self.conditions, Timestamp::now())
    }

    async fn verdict(&self, subject: Subject<'_>) -> Verdict {
        if let Some(known) = self.known(subject.sha256) {
            return known;
        }
        let permit = self.children.acquire().await;
        // Somebody else may have had the same bytes tried meanwhile.
        if let Some(known) = self.known(subject.sha256) {
            return known;
        }
        let begun = Instant::now();
        let verdict = self.try_now(subject).await;
        drop(permit);
        let earlier = self.memory.tries(subject.sha256, &self.conditions);
        let verdict = match verdict {
            Verdict::Bad(bad) => Verdict::Bad(after(bad, earlier, Timestamp::now())),
            good => good,
        };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        report(subject.file, &verdict, milliseconds);
        if self.memory.keep(subject.sha256, &self.conditions, &verdict) {
            let memory = Arc::clone(&self.memory);
            // A panic there was logged; what is not written is tried again after a restart.
            let _ = tokio::task::spawn_blocking(move || memory.save()).await;
        }
        verdict
    }

    async fn try_now(&self, subject: Subject<'_>) -> Verdict {
        let (program, options) = (self.program.clone(), self.options.clone());
        let (staged, note, folder) = (subject.staged.to_owned(), subject.note.clone(), self.scratch.clone());
        let tried = tokio::task::spawn_blocking(move || {
            let scratch = tempfile::Builder::new().prefix("home-").tempdir_in(folder)?;
            let confines = Confines::from(&options);
            let task = Task { staged: std::path::absolute(&staged)?, confines, check: None };
            let trial = try_in_child(&program, &task, options.timeout, scratch.path())?;
            Ok::<_, io::Error>(judge(trial, &note, &options))
        });
        let host = |why: String| Verdict::Bad(Bad::new(Kind::Host, format!("it can't be tried: {why}")));
        match tried.await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => host(format!("no child process can be had: {error}")),
            Err(_) => host("the host panicked: its log says where".to_owned()),
        }
    }
}

/// The reason of a refusal is told by whoever holds the file back.
fn report(file: &Path, verdict: &Verdict, milliseconds: u64) {
    let (file, good) = (file.display(), matches!(verdict, Verdict::Good(_)));
    tracing::info!(%file, milliseconds, good, "plugin tried in a child process");
    if let Verdict::Good(good) = verdict {
        for warning in &good.warnings {
            tracing::warn!(%file, warning, "plugin misbehaves, but may be loaded");
        }
    }
}

impl Vet for ChildVetter {
    fn vet<'a>(&'a self, subject: Subject<'a>) -> BoxFuture<'a, Verdict> {
        Box::pin(self.verdict(subject))
    }

    fn forget(&self, sha256: &str) {
        if self.memory.forget(sha256) {
            self.memory.save();
        }
    }
}
