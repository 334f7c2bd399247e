//! All that a start would do, without serving: for operators who want to know before.

use super::lock::{Lock, LockError};
use super::{NodeError, PATIENCE, trust};
use crate::config::Config;
use crate::http::Server;
use crate::plugin::{
    Catalog, ChildVetter, Executor, FileState, Generation, Ledger, Moved, Settings, Stage, SwitchError, Tenants, Terms,
};
use busway_plugin_api::options::problems;
use std::sync::Arc;
use std::time::Duration;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `plugin`, `datasource`, `directory`, `state directory` or `listen`.
    pub what: &'static str,
    /// Which one.
    pub name: String,
    /// Whether it would run.
    pub ok: bool,
    /// What is wrong, and what to do; of a good plugin, what it is.
    pub detail: String,
}

/// Nobody has sources open: nothing is to be moved.
struct Nobody;

impl Tenants for Nobody {
    async fn switch(&self, _: Arc<Generation>, _: Terms) -> Result<Moved, SwitchError> {
        Ok(Moved::default())
    }

    async fn probe(&self, _: &str, _: Duration) -> Result<(), SwitchError> {
        Ok(())
    }

    async fn retire(&self, _: &str, _: Duration) -> Ledger {
        Ledger::default()
    }

    async fn revert(&self, _: &str) -> Ledger {
        Ledger::default()
    }

    async fn abort(&self, _: &str) -> Ledger {
        Ledger::default()
    }
}

/// Looks at everything: the state directory and the addresses (when no host runs on them), each plugin file, each
/// datasource against what its driver declares. Drivers are loaded into this process
/// if they were good in a child process.
///
/// # Errors
///
/// When the configuration itself is wrong, or no copies of plugins can be made.
pub async fn check(config: &Config) -> Result<Vec<Finding>, NodeError> {
    config.check()?;
    let mut findings = Vec::new();
    let mut found = |what, name: String, bad: Option<String>, good: &str| {
        let (ok, detail) = (bad.is_none(), bad.unwrap_or_else(|| good.to_owned()));
        findings.push(Finding { what, name, ok, detail });
    };
    let state = config.state_dir();
    let lock = Lock::take(&state);
    match &lock {
        // A host that runs has its addresses as well.
        Err(LockError::Held { pid, .. }) => {
            found("state directory", state.display().to_string(), None, &format!("in use by the running host {pid}"));
        }
        Err(error) => found("state directory", state.display().to_string(), Some(error.to_string()), ""),
        Ok(_) => {
            found("state directory", state.display().to_string(), None, "free");
            let doors = Server::bind(config, Some(config.socket()));
            let name = config.listen.tcp.map_or_else(|| config.socket().display().to_string(), |a| a.to_string());
            found("listen", name, doors.as_ref().err().map(ToString::to_string), "free");
            if let Ok(doors) = doors {
                doors.stop().await;
            }
        }
    }
    let scratch = tempfile::tempdir()
        .map_err(|source| crate::plugin::StageError::Write { path: std::env::temp_dir(), source })?;
    let stage = Stage::new(scratch.path().join("staged"))?;
    // What a host found out on this state directory holds here, too; nothing is written to it.
    let vetter = ChildVetter::forgetful(&config.plugins.vet, &state.join("vet"), scratch.path())?;
    let catalog = Arc::new(Catalog::new("off"));
    // What is remembered of who served decides here as it would at a start; nothing is written to it.
    let settings = Settings { probation: Duration::ZERO, ..config.plugins.settings() };
    let executor = Executor::new(settings, stage, &state, Arc::new(vetter), Arc::clone(&catalog), Nobody);
    let mut executor = executor.forgetful().trusting(trust(config));
    executor.finish(PATIENCE).await;
    for (directory, trouble) in catalog.troubles() {
        found("directory", directory.display().to_string(), Some(trouble), "");
    }
    for file in catalog.files() {
        let bad = (file.state != FileState::Serving).then_some(file.reason);
        let good = format!("driver {} {}", file.driver.unwrap_or_default(), file.version.unwrap_or_default());
        found("plugin", file.path.display().to_string(), bad, &good);
    }
    for (name, datasource) in config.datasource.iter().filter(|(_, d)| d.enabled) {
        let bad = match catalog.serving(&datasource.driver) {
            None => Some(format!("no driver {:?} is loaded", datasource.driver)),
            Some(generation) => {
                let wrong = problems(&generation.info.options, &datasource.options);
                (!wrong.is_empty()).then(|| wrong.join("; "))
            }
        };
        found("datasource", name.clone(), bad, "options fit");
    }
    Ok(findings)
}
