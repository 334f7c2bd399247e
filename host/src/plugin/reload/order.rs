//! What operators ask of the executor, how it follows, and what it answers.

use super::super::bytes::FRESH;
use super::super::catalog::{FileState, FileView};
use super::super::plan::{Decision, Plan, explain};
use super::super::record::{By, Entry, Event, Journal, KeptCopy, Quarantined};
use super::judge::SETTLED;
use super::report::Report;
use super::{Executor, Tenants};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Why an order was not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No such driver.
    #[error("no driver {0:?} serves, and no file claims it: busway plugin list shows what there is")]
    NoDriver(String),
    /// There is nothing to go back to.
    #[error(
        "driver {driver:?} can't be rolled back: no copy is kept of bytes that served well before {sha256:.12}; copy the file that \
         is to serve over {file}"
    )]
    NoCopy {
        /// Its id.
        driver: String,
        /// What serves.
        sha256: String,
        /// From which file.
        file: String,
    },
    /// No such bytes are in quarantine.
    #[error("no bytes in quarantine begin with {0:?}: busway plugin list shows what is held back, and by which hash")]
    NotQuarantined(String),
    /// Several are.
    #[error("several bytes in quarantine begin with {0:?}: give more of the hash")]
    Ambiguous(String),
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Loads and reloads that ended since it was asked for, in their order.
    pub reports: Vec<Report>,
    /// The files in question that do not serve, and why.
    pub troubles: Vec<FileView>,
    /// The files of the one driver that was asked for, when there was nothing to do: what serves has their bytes.
    pub serving: Vec<FileView>,
}

impl Answer {
    /// Whether all is as the files want it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.troubles.is_empty() && self.reports.iter().all(|report| report.outcome.is_good())
    }
}

/// What operators ask.
#[derive(Debug)]
pub(super) enum Order {
    Reload { driver: Option<String>, accept_errors: bool, reply: oneshot::Sender<Result<Answer, OrderError>> },
    Rollback { driver: String, reply: oneshot::Sender<Result<Answer, OrderError>> },
    Release { sha256: String, reply: oneshot::Sender<Result<Quarantined, OrderError>> },
    Quarantine { reply: oneshot::Sender<Vec<(String, Quarantined)>> },
    Explain { driver: String, reply: oneshot::Sender<Vec<String>> },
}

/// Who gave an order waits no longer than so for files that are being written, nor for those that came later than so.
pub(super) const PATIENCE: Duration = FRESH;

/// Somebody who waits until what was ordered is over.
#[derive(Debug)]
pub(super) struct Waiter {
    /// None: all.
    pub(super) driver: Option<String>,
    pub(super) since: Instant,
    pub(super) reports: Vec<Report>,
    pub(super) reply: oneshot::Sender<Result<Answer, OrderError>>,
}

impl Waiter {
    pub(super) fn minds(&self, driver: &str) -> bool {
        self.driver.as_deref().is_none_or(|id| id == driver)
    }

    pub(super) fn answer(self, files: Vec<FileView>) {
        let bad = |file: &FileView| file.state != FileState::Serving && file.state != FileState::Missing;
        let mine = |file: &FileView| match (&self.driver, &file.driver) {
            (None, _) => true,
            (Some(id), Some(driver)) => id == driver,
            (Some(_), None) => false,
        };
        let (troubles, mut serving): (Vec<_>, Vec<_>) = files.into_iter().filter(mine).partition(bad);
        if self.driver.is_none() || !self.reports.is_empty() || !troubles.is_empty() {
            serving.clear();
        }
        let _ = self.reply.send(Ok(Answer { reports: self.reports, troubles, serving }));
    }
}

/// The way to give orders. Clones are the same.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) journal: Arc<Journal>,
}

impl Control {
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, OrderError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).map_err(|_| OrderError::Stopping)?;
        answer.await.map_err(|_| OrderError::Stopping)
    }

    /// Looks at the directories now, tries again what was put off, and waits until all of that is over: the probation of
    /// what takes over, too. A file that is still being written after ten seconds is answered as incomplete, and what came
    /// later than that is not waited for. Of one driver, or of all. Of one driver: a fresh copy of the bytes that serve takes
    /// over when what is mapped of them hangs, or has failed; and files of other drivers are not waited for.
    ///
    /// # Errors
    ///
    /// When no file claims the id, or the host is stopping.
    pub async fn reload(&self, driver: Option<&str>, accept_errors: bool) -> Result<Answer, OrderError> {
        let driver = driver.map(str::to_owned);
        self.ask(|reply| Order::Reload { driver, accept_errors, reply }).await?
    }

    /// Puts the copy that served well before back in charge, and the bytes that serve now into quarantine.
    ///
    /// # Errors
    ///
    /// When there is nothing to go back to.
    pub async fn rollback(&self, driver: &str) -> Result<Answer, OrderError> {
        let driver = driver.to_owned();
        self.ask(|reply| Order::Rollback { driver, reply }).await?
    }

    /// Lets bytes out of quarantine, by the beginning of their hash.
    ///
    /// # Errors
    ///
    /// When none or several are meant.
    pub async fn release(&self, sha256: &str) -> Result<Quarantined, OrderError> {
        let sha256 = sha256.to_owned();
        self.ask(|reply| Order::Release { sha256, reply }).await?
    }

    /// The bytes in quarantine, by their hash.
    ///
    /// # Errors
    ///
    /// When the host is stopping.
    pub async fn quarantine(&self) -> Result<Vec<(String, Quarantined)>, OrderError> {
        self.ask(|reply| Order::Quarantine { reply }).await
    }

    /// Why a driver is served as it is, one sentence each.
    ///
    /// # Errors
    ///
    /// When the host is stopping.
    pub async fn explain(&self, driver: &str) -> Result<Vec<String>, OrderError> {
        let driver = driver.to_owned();
        self.ask(|reply| Order::Explain { driver, reply }).await
    }

    /// What happened, the oldest first; of one driver, or of all. Reads a file.
    #[must_use]
    pub fn history(&self, driver: Option<&str>) -> Vec<Entry> {
        let mut entries = self.journal.read();
        entries.retain(|entry| driver.is_none_or(|id| entry.is_of(id)));
        entries
    }
}

impl<T: Tenants> Executor<T> {
    /// Answers those who wait for nothing that is under way; `quiet`: nothing is about to be begun, either.
    pub(super) fn answer_waiting(&mut self, views: &[FileView], planned: &Plan, quiet: bool) {
        // What is not under way by now was not wanted for later.
        if quiet {
            self.lenient.retain(|id| self.busy.contains_key(id));
            self.renew.retain(|id| self.busy.contains_key(id));
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let over = |waiter: &mut Waiter| {
            let until = waiter.since + self.patience;
            if Instant::now() >= until {
                // What comes again and again is not waited for for ever; what lay there in time and had to wait for another
                // is, once.
                return !self.busy.values().any(|under_way| {
                    let claim = &under_way.claim;
                    let lay = || self.judge.lies_since(&claim.path).is_some_and(|since| since <= until);
                    let told = || waiter.reports.iter().any(|report| report.sha256 == claim.sha256);
                    waiter.minds(&claim.id) && (under_way.since <= until || (lay() && !told()))
                });
            }
            match &waiter.driver {
                None => quiet && self.busy.is_empty(),
                Some(id) => {
                    let acts = matches!(planned.decisions.get(id), Some(Decision::Do(_)));
                    !acts && !self.busy.contains_key(id) && !self.is_unsettled(id)
                }
            }
        };
        let answered: Vec<Waiter> = waiting.extract_if(.., over).collect();
        self.waiting = waiting;
        let views = if answered.is_empty() { Vec::new() } else { self.with_unsettled(views) };
        for waiter in answered {
            if let Some(id) = &waiter.driver {
                self.lenient.remove(id);
                self.renew.remove(id);
            }
            match waiter.driver.clone().filter(|id| waiter.reports.is_empty() && !self.claims(id)) {
                Some(id) => drop(waiter.reply.send(Err(OrderError::NoDriver(id)))),
                None => waiter.answer(views.clone()),
            }
        }
    }

    pub(super) fn follow(&mut self, order: Order) {
        match order {
            Order::Reload { driver, accept_errors, reply } => self.begin_reload(driver, accept_errors, reply),
            Order::Rollback { driver, reply } => self.begin_rollback(driver, reply),
            Order::Release { sha256, reply } => drop(reply.send(self.release(&sha256))),
            Order::Quarantine { reply } => {
                let all = self.record.now().quarantine.iter().map(|(hash, why)| (hash.clone(), why.clone()));
                let _ = reply.send(all.collect());
            }
            Order::Explain { driver, reply } => drop(reply.send(explain(&self.inputs, &driver))),
        }
    }

    /// Whether a file is being written that may be this driver's. One of which nobody knows whose it is may be.
    fn is_unsettled(&self, id: &str) -> bool {
        let record = self.record.now();
        let of = |path: &PathBuf| {
            let serving = self.serving.iter().filter(|(_, serving)| serving.path == *path).map(|(id, _)| id);
            let served = record.served.iter().filter(|(_, served)| served.path == *path).map(|(id, _)| id);
            serving.chain(served).cloned().collect::<BTreeSet<String>>()
        };
        let absent = self.serving.get(id).and_then(|serving| self.gone.get(&serving.path));
        absent.is_some_and(|since| since.elapsed() < SETTLED)
            || self.judge.unsettled().any(|(path, claimed)| {
                let mut owners = of(path);
                owners.extend(claimed.cloned());
                owners.is_empty() || owners.contains(id)
            })
    }

    fn claims(&self, id: &str) -> bool {
        self.serving.contains_key(id) || self.inputs.claims.iter().any(|claim| claim.id == id)
    }

    fn begin_reload(
        &mut self,
        driver: Option<String>,
        accept_errors: bool,
        reply: oneshot::Sender<Result<Answer, OrderError>>,
    ) {
        // Whether anybody claims the id is seen when all files are: one may have come a moment ago.
        if accept_errors {
            self.lenient.extend(driver.clone());
        }
        if let Some(id) = driver.as_ref().filter(|id| !self.busy.contains_key(*id))
            && self.workshop.catalog.serving(id).is_some_and(|generation| generation.is_ailing())
        {
            self.renew.insert(id.clone());
        }
        let waiter = Waiter { driver, since: Instant::now(), reports: Vec::new(), reply };
        for under_way in self.busy.values().filter(|u| accept_errors && waiter.minds(&u.claim.id)) {
            under_way.lenience.begin();
        }
        let claims: Vec<_> = self.inputs.claims.iter().filter(|claim| waiter.minds(&claim.id)).cloned().collect();
        for claim in claims {
            if accept_errors {
                self.lenient.insert(claim.id.clone());
            }
            // What is put off, or was refused as it was loaded, is tried now.
            if let Some(bar) = self.bars.get_mut(&claim.sha256) {
                bar.again = Some(Instant::now());
                self.workshop.vetter.forget(&claim.sha256);
            }
        }
        self.judge.forget_refusals();
        self.waiting.push(waiter);
    }

    fn begin_rollback(&mut self, driver: String, reply: oneshot::Sender<Result<Answer, OrderError>>) {
        let Some(serving) = self.serving.get(&driver).cloned() else {
            drop(reply.send(Err(OrderError::NoDriver(driver))));
            return;
        };
        // Before the new bytes are in charge they are what is meant; on probation, what was there before is still open.
        let under_way = self.busy.get(&driver);
        let meant = under_way.filter(|u| !u.serves).map(|u| (u.claim.sha256.clone(), u.claim.path.clone()));
        let (sha256, path) = meant.unwrap_or((serving.sha256, serving.path));
        let record = self.record.now();
        let kept = record.served.get(&driver).map_or(&[][..], |served| &served.good);
        let may = |good: &&KeptCopy| good.sha256 != sha256 && !record.quarantine.contains_key(&good.sha256);
        // A fresh copy of the bytes that serve has nothing else before it.
        let goes_back = under_way.and_then(|u| u.before.as_ref()).is_some_and(|before| before.sha256 != sha256);
        if !goes_back && !kept.iter().filter(may).any(|good| self.workshop.copies.has(&good.sha256)) {
            let file = path.display().to_string();
            drop(reply.send(Err(OrderError::NoCopy { driver, sha256, file })));
            return;
        }
        let claim = self.inputs.claims.iter().find(|claim| claim.sha256 == sha256);
        let version = claim.map(|claim| claim.version.clone());
        let version = version.or_else(|| Some(self.workshop.catalog.serving(&driver)?.info.version.clone()));
        let why = Quarantined {
            driver: driver.clone(),
            version: version.unwrap_or_default(),
            path,
            reason: "an operator rolled it back: busway plugin release lets it in again".to_owned(),
            by: By::Operator,
            since: jiff::Timestamp::now(),
        };
        self.quarantine(&sha256, why);
        if let Some(abort) = self.busy.get_mut(&driver).and_then(|under_way| under_way.abort.take()) {
            let _ = abort.send("an operator rolled it back".to_owned());
        }
        self.waiting.push(Waiter { driver: Some(driver), since: Instant::now(), reports: Vec::new(), reply });
    }

    fn release(&mut self, sha256: &str) -> Result<Quarantined, OrderError> {
        let quarantine = &self.record.now().quarantine;
        let mut meant = quarantine.iter().filter(|(hash, _)| !sha256.is_empty() && hash.starts_with(sha256));
        let (hash, why) = match (meant.next(), meant.next()) {
            (Some((hash, why)), None) => (hash.clone(), why.clone()),
            (None, _) => return Err(OrderError::NotQuarantined(sha256.to_owned())),
            (Some(_), Some(_)) => return Err(OrderError::Ambiguous(sha256.to_owned())),
        };
        self.record.change(|now| {
            now.quarantine.remove(&hash);
            now.deaths.remove(&hash);
        });
        self.bars.remove(&hash);
        self.workshop.vetter.forget(&hash);
        self.journal.write(Event::Released { sha256: hash, driver: why.driver.clone() });
        Ok(why)
    }
}
