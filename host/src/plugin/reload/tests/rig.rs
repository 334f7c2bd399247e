//! An executor over files of words instead of libraries, and tenants that do as the words say.
//!
//! A file holds `ID VERSION WORD…`; what else it holds is no plugin, and `half` is one that is being copied. Words:
//! `panics` as its sources are to move, `bursts` when they have, `topples` (once) as the former are to go, `refused` and `errs` then, `waits` on probation until it is told how it goes.

use super::super::super::bytes::{BytesError, Libraries, Note};
use super::super::super::catalog::{Catalog, FileView};
use super::super::super::driver::{CallError, Driver, HostCalls, Source};
use super::super::super::generation::Generation;
use super::super::super::load::LoadError;
use super::super::super::plan::Claim;
use super::super::super::scan::Found;
use super::super::super::stage::{Bytes, Stage};
use super::super::super::vet::{Good, Subject, Verdict as Vetted, Vet};
use super::super::super::watch::Watch;
use super::super::judge::{Examined, Verdict};
use super::super::report::Ledger;
use super::super::workshop::{Staged, Tools};
use super::super::{Control, Executor, Moved, Settings, SwitchError, Tenants, Terms};
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, Overlap};
use busway_plugin_api::message::{AttachRequest, OpenRequest, SelfTestRequest};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Longer than anything takes.
pub(super) const LONG: Duration = Duration::from_secs(8);

pub(super) fn note(id: &str, version: &str) -> Note {
    Note {
        id: id.to_owned(),
        version: version.to_owned(),
        contract: "1.0.0".to_owned(),
        sdk: String::new(),
        abi_stable: "0.11.3".to_owned(),
        target: String::new(),
        panic: "unwind".to_owned(),
    }
}

fn read(bytes: &[u8]) -> Option<(String, String, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.splitn(3, ' ');
    let (id, version) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some((id, version, words.next().unwrap_or_default().to_owned()))
}

fn examine(path: &Path, _: &Found, stage: &Stage, _: &Libraries) -> Examined {
    let Ok(bytes) = Bytes::read(path) else { return (Verdict::Refused("it can't be read".to_owned(), None), None) };
    match read(&bytes.bytes) {
        None if *bytes.bytes == *b"half" => (Verdict::Incomplete("it is half a plugin".to_owned()), None),
        None => (Verdict::Refused("it is no plugin".to_owned(), None), None),
        Some((id, version, _)) => {
            let copy = stage.put(&bytes).ok().map(|path| Staged { path, note: note(&id, &version) });
            (Verdict::Claims(Claim { path: path.to_owned(), id, version, sha256: bytes.sha256 }), copy)
        }
    }
}

fn load(path: &Path) -> Result<Arc<dyn Driver>, LoadError> {
    let bytes = std::fs::read(path).map_err(|error| LoadError::Map(error.to_string()))?;
    let (id, version, words) = read(&bytes).ok_or(LoadError::Symbol)?;
    Ok(Arc::new(Words { id, version, words }))
}

struct Words {
    id: String,
    version: String,
    words: String,
}

fn unasked() -> CallError {
    CallError::new(Status::NOT_IMPLEMENTED, "not implemented")
}

impl Words {
    fn info(&self) -> DriverInfo {
        DriverInfo {
            id: self.id.clone(),
            version: self.version.clone(),
            contract: "1.0.0".to_owned(),
            sdk: String::new(),
            description: self.words.clone(),
            overlap: Overlap::Beside,
            options: Vec::new(),
            tables: Vec::new(),
            actions: Vec::new(),
            events: Vec::new(),
            state: None,
        }
    }
}

impl Driver for Words {
    fn describe(&self) -> Result<DriverInfo, CallError> {
        Ok(self.info())
    }

    fn attach(&self, _: Arc<dyn HostCalls>, _: &AttachRequest) -> Result<(), CallError> {
        Ok(())
    }

    fn open(&self, _: &OpenRequest, _: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        Err(unasked())
    }

    fn set_log_filter(&self, _: &str) -> Result<(), CallError> {
        Ok(())
    }

    fn self_test(&self, _: &SelfTestRequest) -> Result<(), CallError> {
        Err(unasked())
    }
}

/// Trying a build takes as long as this is held.
#[derive(Default)]
pub(super) struct Gate(Mutex<bool>, Notify);

impl Gate {
    pub(super) fn hold(&self) {
        *self.0.lock().unwrap() = true;
    }

    pub(super) fn free(&self) {
        *self.0.lock().unwrap() = false;
        self.1.notify_waiters();
    }
}

impl Vet for Gate {
    fn vet<'a>(&'a self, _: Subject<'a>) -> BoxFuture<'a, Vetted> {
        Box::pin(async {
            loop {
                let freed = self.1.notified();
                if !*self.0.lock().unwrap() {
                    let info = Words { id: String::new(), version: String::new(), words: String::new() }.info();
                    return Vetted::Good(Box::new(Good { info, warnings: Vec::new() }));
                }
                freed.await;
            }
        })
    }

    fn forget(&self, _: &str) {}
}

/// What the tenants were told of a driver last.
#[derive(Default)]
pub(super) struct Told {
    words: BTreeMap<String, String>,
    terms: BTreeMap<String, Terms>,
    aborted: Vec<String>,
}

/// Sources of every driver, which do as its words say.
#[derive(Clone, Default)]
pub(super) struct Sources(Arc<Mutex<Told>>, Arc<Notify>);

impl Sources {
    /// A probation that waits meets a plain error: good enough, if such are accepted.
    pub(super) fn err(&self) {
        self.1.notify_one();
    }

    /// The drivers whose sources were told that whoever moved them is lost.
    pub(super) fn aborted(&self) -> Vec<String> {
        self.0.lock().unwrap().aborted.clone()
    }
}

impl Tenants for Sources {
    async fn switch(&self, to: Arc<Generation>, terms: Terms) -> Result<Moved, SwitchError> {
        let words = to.info.description.clone();
        assert!(!words.contains("panics"), "on purpose");
        for (word, code_fault) in [("refused", true), ("errs", false)] {
            if words.contains(word) {
                return Err(SwitchError::of("one", "open", &word, code_fault));
            }
        }
        let mut told = self.0.lock().unwrap();
        told.words.insert(to.info.id.clone(), words);
        told.terms.insert(to.info.id.clone(), terms);
        Ok(Moved { sources: 1, pause: Duration::ZERO, cold: Vec::new() })
    }

    async fn probe(&self, driver: &str, _: Duration) -> Result<(), SwitchError> {
        let (words, terms) = {
            let told = self.0.lock().unwrap();
            (told.words[driver].clone(), told.terms[driver].clone())
        };
        assert!(!words.contains("bursts"), "on purpose");
        if !words.contains("waits") {
            return Ok(());
        }
        self.1.notified().await;
        let lenient = terms.accept_errors.holds();
        if lenient { Ok(()) } else { Err(SwitchError::of("one", "be polled", &"no data", false)) }
    }

    async fn retire(&self, driver: &str, _: Duration) -> Ledger {
        let words = self.0.lock().unwrap().words.insert(driver.to_owned(), String::new());
        assert!(!words.is_some_and(|words| words.contains("topples")), "on purpose");
        Ledger::default()
    }

    async fn revert(&self, _: &str) -> Ledger {
        Ledger::default()
    }

    async fn abort(&self, driver: &str) -> Ledger {
        self.0.lock().unwrap().aborted.push(driver.to_owned());
        Ledger::default()
    }
}

/// A host's plugin room.
pub(super) struct Rig {
    pub(super) folder: tempfile::TempDir,
    pub(super) catalog: Arc<Catalog>,
    pub(super) sources: Sources,
    pub(super) gate: Arc<Gate>,
    pub(super) control: Control,
    running: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Rig {
    /// Starts with these files in its one directory.
    pub(super) async fn start(files: &[(&str, &str)]) -> Self {
        Self::begin(tempfile::tempdir().unwrap(), files, |_| {}).await
    }

    /// The same in a folder that may hold what an earlier one left, as `change` wants it.
    pub(super) async fn begin(
        folder: tempfile::TempDir,
        files: &[(&str, &str)],
        change: impl FnOnce(&mut Executor<Sources>),
    ) -> Self {
        std::fs::create_dir_all(folder.path().join("plugins")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join("plugins").join(name), text).unwrap();
        }
        let settings = Settings { directories: vec![folder.path().join("plugins")], ..Settings::default() };
        let stage = Stage::new(folder.path().join("staged")).unwrap();
        let (catalog, sources, gate) = (Arc::new(Catalog::new("info")), Sources::default(), Arc::new(Gate::default()));
        let mut executor = Executor::new(
            settings,
            stage,
            folder.path(),
            Arc::clone(&gate) as _,
            Arc::clone(&catalog),
            sources.clone(),
        );
        executor.judge.examine = examine;
        let tools = Tools { load, note: |bytes| read(bytes).map(|(id, v, _)| note(&id, &v)).ok_or(BytesError::Empty) };
        Arc::get_mut(&mut executor.workshop).unwrap().tools = tools;
        change(&mut executor);
        let first = executor.settle().await;
        let control = executor.control();
        let running = tokio::spawn(executor.run(Watch::new(Duration::from_millis(10)), first));
        Self { folder, catalog, sources, gate, control, running }
    }

    /// Ends; what it remembered stays.
    pub(super) async fn stop(mut self) -> tempfile::TempDir {
        self.running.abort();
        let _ = (&mut self.running).await;
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("plugins").join(name)
    }

    /// Puts a file there at once.
    pub(super) fn put(&self, name: &str, text: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.path(name)).unwrap();
    }

    /// The version and the generation that serve a driver.
    pub(super) fn serves(&self, id: &str) -> Option<(String, u64)> {
        self.catalog.serving(id).map(|generation| (generation.info.version.clone(), generation.number))
    }

    pub(super) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LONG;
        while !is(self) {
            assert!(Instant::now() < end, "never {what}: {:#?} {:#?}", self.catalog.generations(), self.views());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn until_version(&self, id: &str, version: &str) {
        self.until(&format!("{id} {version}"), |rig| rig.serves(id).is_some_and(|(now, _)| now == version)).await;
    }

    pub(super) fn views(&self) -> Vec<FileView> {
        self.catalog.files()
    }

    /// Name, driver, state and reason of each file.
    pub(super) fn shown(&self) -> Vec<String> {
        let line = |file: FileView| {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = format!("{name} {} {}: {}", file.driver.unwrap_or_default(), file.state.as_str(), file.reason);
            text.trim_end_matches(": ").to_owned()
        };
        self.views().into_iter().map(line).collect()
    }
}

/// What comes within a time that is longer than anything takes.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("it takes too long")
}
