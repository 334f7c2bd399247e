//! What a reload does with all datasources of a driver: one transaction.

use super::Datasources;
use super::entry::Entry;
use super::fleet::{self, Fleet};
use super::runner::{Command, Hold, Probation, Said};
use crate::plugin::{Generation, Ledger, Moved, SwitchError, Tenants, Terms};
use busway_plugin_api::message::PollRequest;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The sources of a driver on probation, and who is heard about them.
#[derive(Debug)]
struct Trial {
    said: mpsc::UnboundedReceiver<Said>,
    /// Whose source has not given anything good yet, and was well before.
    outstanding: BTreeSet<String>,
}

/// Drivers on probation, by id.
#[derive(Debug, Default)]
pub(super) struct Trials(Mutex<BTreeMap<String, Trial>>);

impl Trials {
    fn put(&self, driver: &str, trial: Trial) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(driver.to_owned(), trial);
    }

    fn take(&self, driver: &str) -> Option<Trial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(driver)
    }
}

impl Trial {
    /// Waits until all have given something good, and at least so long.
    async fn wait(&mut self, least: Duration) -> Result<(), SwitchError> {
        let least = Instant::now() + least;
        loop {
            let said = match self.outstanding.is_empty() {
                // Faults count as long as it lasts.
                true => match tokio::time::timeout_at(least, self.said.recv()).await {
                    Ok(said) => said,
                    Err(_) => return Ok(()),
                },
                false => self.said.recv().await,
            };
            match said {
                Some(Said::Good(name) | Said::Left(name)) => drop(self.outstanding.remove(&name)),
                Some(Said::Fault(fault)) => return Err(fault),
                // All of them were removed, or there were none.
                None => {
                    tokio::time::sleep_until(least).await;
                    return Ok(());
                }
            }
        }
    }
}

impl Datasources {
    /// The datasources of a driver that run.
    fn of(&self, driver: &str) -> Vec<Arc<Entry>> {
        let entries = self.entries();
        let mine = |entry: &&Arc<Entry>| entry.runs() && entry.record().spec.driver == driver;
        entries.by_id.values().filter(mine).cloned().collect()
    }
}

/// Sources on their way. When whoever waits for that goes, they are brought back.
struct Underway {
    all: Datasources,
    driver: String,
    fleet: Arc<Fleet>,
    /// None: it is over, and its end was heard of.
    task: Option<JoinHandle<Result<Moved, SwitchError>>>,
    hold: Hold,
}

impl Underway {
    async fn end(&mut self) -> Result<Moved, SwitchError> {
        let Some(task) = &mut self.task else { return Err(fleet::panicked()) };
        let moved = match task.await {
            Ok(moved) => moved,
            // It panicked, which was logged where it happened.
            Err(_) => {
                self.fleet.back().await;
                Err(fleet::panicked())
            }
        };
        self.task = None;
        moved
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let (Some(task), Ok(runtime)) = (self.task.take(), Handle::try_current()) else { return };
        tracing::warn!(driver = self.driver, "nobody waits for its reload any more: the sources before serve on");
        self.fleet.abandon();
        let (all, driver) = (self.all.clone(), std::mem::take(&mut self.driver));
        let (fleet, hold) = (Arc::clone(&self.fleet), Arc::clone(&self.hold));
        runtime.spawn(async move {
            if !task.is_finished() {
                let _ = task.await;
            }
            fleet.back().await;
            all.abort(&driver).await;
            drop(hold);
        });
    }
}

impl Datasources {
    /// Moves all, or leaves all as they were.
    async fn moved(&self, fleet: &Fleet, to: &Arc<Generation>, terms: Terms) -> Result<Moved, SwitchError> {
        let moved = self.all_moved(fleet, to, terms).await;
        if moved.is_err() {
            fleet.back().await;
        }
        moved
    }

    async fn all_moved(&self, fleet: &Fleet, to: &Arc<Generation>, terms: Terms) -> Result<Moved, SwitchError> {
        fleet.make_ready(to, &terms).await?;
        let (said, hears) = mpsc::unbounded_channel();
        let switched = fleet.commit(&Probation { said, accept_errors: terms.accept_errors }).await?;
        let outstanding =
            switched.iter().filter(|(_, s)| s.votes).map(|(entry, _)| entry.record().name.clone()).collect();
        self.inner.trials.put(&to.info.id, Trial { said: hears, outstanding });
        for (entry, _) in &switched {
            // What it does in charge it has not done before: it is read once more. Not before all are in charge: that takes
            // no thread, a poll may take one for long.
            if let Some(open) = entry.shared().open().filter(|open| open.generation.number == to.number) {
                open.ingest.want(&PollRequest::default());
            }
        }
        let pause = switched.iter().map(|(_, switched)| switched.pause).max().unwrap_or_default();
        Ok(Moved { sources: switched.len(), pause, cold: fleet.cold() })
    }
}

impl Tenants for Datasources {
    async fn switch(&self, to: Arc<Generation>, terms: Terms) -> Result<Moved, SwitchError> {
        // The host's end waits for sources that are nobody's yet.
        let hold = Arc::new(Arc::clone(&self.inner.moving).read_owned().await);
        let driver = to.info.id.clone();
        let fleet = Arc::new(Fleet::of(self.of(&driver), Arc::clone(&hold)));
        // In a task of its own: it comes to an orderly end whether or not anybody waits for that.
        let task = tokio::spawn({
            let (all, fleet) = (self.clone(), Arc::clone(&fleet));
            async move { all.moved(&fleet, &to, terms).await }
        });
        Underway { all: self.clone(), driver, fleet, task: Some(task), hold }.end().await
    }

    async fn probe(&self, driver: &str, least: Duration) -> Result<(), SwitchError> {
        match self.inner.trials.take(driver) {
            Some(mut trial) => trial.wait(least).await,
            None => Ok(()),
        }
    }

    async fn retire(&self, driver: &str, drain: Duration) -> Ledger {
        drop(self.inner.trials.take(driver));
        let all = self.of(driver);
        let ledgers = join_all(all.iter().map(|entry| entry.ask(|reply| Command::Retire(drain, reply)))).await;
        ledgers.into_iter().flatten().fold(Ledger::default(), Ledger::and)
    }

    async fn revert(&self, driver: &str) -> Ledger {
        drop(self.inner.trials.take(driver));
        let all = self.of(driver);
        let ledgers = join_all(all.iter().map(|entry| entry.ask(Command::Revert))).await;
        ledgers.into_iter().flatten().fold(Ledger::default(), Ledger::and)
    }

    async fn abort(&self, driver: &str) -> Ledger {
        drop(self.inner.trials.take(driver));
        let all = self.of(driver);
        let ledgers = join_all(all.iter().map(|entry| entry.ask(Command::Abort))).await;
        ledgers.into_iter().flatten().fold(Ledger::default(), Ledger::and)
    }
}
