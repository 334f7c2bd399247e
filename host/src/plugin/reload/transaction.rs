//! One load or reload, from bytes to serving or back: nothing is changed unless all of it is good.

use super::super::generation::{Generation, GenerationState, Happening};
use super::super::news::News as Became;
use super::super::plan::Claim;
use super::report::{Ledger, Outcome, Phases, Report};
use super::tenants::{SwitchError, Tenants, Terms};
use super::workshop::{Failure, Staged, Workshop};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Why a job did not come to its end.
pub(super) const LOST: &str = "the host panicked loading it: its log says where";

/// What is to be done, and how.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) claim: Claim,
    /// The kept copy is meant, not the file.
    pub(super) restore: bool,
    /// A private copy of the file, if one was made already.
    pub(super) staged: Option<Staged>,
    /// What was made of the bytes before, and did not come to serve for a reason that may pass.
    pub(super) made: Option<Arc<Generation>>,
    pub(super) terms: Terms,
    pub(super) probation: Duration,
    pub(super) drain: Duration,
    /// Told why, when it is to be taken back.
    pub(super) aborted: oneshot::Receiver<String>,
    pub(super) progress: Arc<Progress>,
}

/// How far a job has come: who ends it, should it be lost, goes by that.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Reached>);

#[derive(Debug, Default, Clone)]
struct Reached {
    /// What served when it began.
    former: Option<Arc<Generation>>,
    /// What was made of the bytes.
    made: Option<Arc<Generation>>,
}

impl Progress {
    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a job, while it does.
#[derive(Debug)]
pub(super) enum News {
    /// These bytes serve the id, for now.
    Serves(Claim),
    /// They do not, and those before do again: of this id.
    Back(String),
    /// It is over.
    Over(Box<Over>),
}

/// The end of a job.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) claim: Claim,
    pub(super) report: Report,
    /// Whether the bytes are at fault.
    pub(super) code_fault: bool,
    /// Whether the file changed meanwhile.
    pub(super) changed: bool,
    /// When to try again, if that is known.
    pub(super) again: Option<Duration>,
    /// What was made, if it did not come to serve for a reason that may pass.
    pub(super) made: Option<Arc<Generation>>,
    /// Whether a copy of the bytes is kept.
    pub(super) kept: bool,
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Does the job; says what serves as soon as it does.
pub(super) async fn run<T: Tenants>(
    workshop: Arc<Workshop>,
    tenants: Arc<T>,
    job: Job,
    news: mpsc::UnboundedSender<News>,
) {
    let former = workshop.catalog.serving(&job.claim.id);
    job.progress.reached().former.clone_from(&former);
    let mut transaction = Transaction {
        report: report(&job.claim, job.restore, former.as_ref()),
        workshop,
        tenants,
        former,
        news: news.clone(),
    };
    let (claim, ended) = (job.claim.clone(), transaction.go(job).await);
    let mut over = Over {
        claim,
        report: transaction.report,
        code_fault: false,
        changed: false,
        again: None,
        made: None,
        kept: false,
    };
    match ended {
        Ok(kept) => over.kept = kept,
        Err(Ended { reason, code_fault, changed, again, made }) => {
            over.report.reason = Some(reason);
            if over.report.outcome != Outcome::RolledBack {
                over.report.outcome = if code_fault { Outcome::Refused } else { Outcome::Inconclusive };
            }
            (over.code_fault, over.changed, over.again, over.made) = (code_fault, changed, again, made);
        }
    }
    let _ = news.send(News::Over(Box::new(over)));
}

/// Of a job that begins.
fn report(claim: &Claim, restore: bool, former: Option<&Arc<Generation>>) -> Report {
    Report {
        driver: claim.id.clone(),
        version: claim.version.clone(),
        path: claim.path.clone(),
        sha256: claim.sha256.clone(),
        from: former.map(|former| former.number),
        to: None,
        outcome: Outcome::Inconclusive,
        restored: restore,
        reason: None,
        sources: 0,
        exclusive: false,
        phases: Phases::default(),
        ledger: None,
        notes: Vec::new(),
    }
}

/// Ends a job whose task panicked, or was ended: what served before serves on, unless the new bytes had proved themselves.
pub(super) async fn recover<T: Tenants>(
    workshop: Arc<Workshop>,
    tenants: Arc<T>,
    (claim, restore, drain): (Claim, bool, Duration),
    progress: Arc<Progress>,
    news: mpsc::UnboundedSender<News>,
) {
    let Reached { former, made } = progress.reached().clone();
    let driver = claim.id.clone();
    let mut report = report(&claim, restore, former.as_ref());
    report.to = made.as_ref().map(|made| made.number);
    let mut kept = false;
    match (former, made) {
        (former, Some(made)) if made.state() == GenerationState::Serving => {
            report.outcome = if former.is_some() { Outcome::Committed } else { Outcome::Loaded };
            workshop.catalog.serve(made);
            let _ = news.send(News::Serves(claim.clone()));
            if let Some(former) = former {
                former.on(Happening::Retired);
                report.ledger = Some(tenants.retire(&driver, drain).await);
                workshop.catalog.ring();
            }
            kept = workshop.keep(&claim.sha256).await;
        }
        (former, made) => {
            report.reason = Some(LOST.to_owned());
            if let Some(made) = made {
                if made.state() == GenerationState::Probation {
                    report.outcome = Outcome::RolledBack;
                }
                made.on(Happening::Failed);
                workshop.catalog.count(made);
            }
            if let Some(former) = former {
                former.on(Happening::Resumed);
                workshop.catalog.serve(former);
                report.ledger = Some(tenants.abort(&driver).await).filter(|_| report.outcome == Outcome::RolledBack);
                let _ = news.send(News::Back(driver));
            }
        }
    }
    let over = Over { claim, report, code_fault: false, changed: false, again: None, made: None, kept };
    let _ = news.send(News::Over(Box::new(over)));
}

/// Why it ended early.
struct Ended {
    reason: String,
    code_fault: bool,
    changed: bool,
    again: Option<Duration>,
    made: Option<Arc<Generation>>,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        let changed = matches!(failure, Failure::Changed | Failure::NoCopy);
        let (code_fault, again) = (!failure.may_pass(), failure.again());
        Self { reason: failure.to_string(), code_fault, changed, again, made: None }
    }
}

struct Transaction<T> {
    report: Report,
    workshop: Arc<Workshop>,
    tenants: Arc<T>,
    former: Option<Arc<Generation>>,
    news: mpsc::UnboundedSender<News>,
}

impl<T: Tenants> Transaction<T> {
    /// Answers whether a copy of the bytes is kept.
    async fn go(&mut self, mut job: Job) -> Result<bool, Ended> {
        let begun = Instant::now();
        let made = match job.made {
            Some(made) => {
                if let Some(unused) = job.staged {
                    let _ = std::fs::remove_file(unused.path);
                }
                made
            }
            None => self.workshop.make(&job.claim, job.staged, job.restore).await?,
        };
        self.report.phases.load_us = micros(begun);
        self.report.to = Some(made.number);
        job.progress.reached().made = Some(Arc::clone(&made));
        let Some(former) = self.former.clone() else {
            made.on(Happening::Proven);
            self.serve(&job.claim, &made);
            self.report.outcome = Outcome::Loaded;
            return Ok(self.workshop.keep(&job.claim.sha256).await);
        };
        if let Ok(why) = job.aborted.try_recv() {
            self.workshop.catalog.count(Arc::clone(&made));
            return Err(self.failed(SwitchError::ordered(why), made));
        }
        self.switch(&job.claim, &made, &former, job.terms).await?;
        let proven = match (job.aborted.try_recv(), job.probation) {
            (Ok(why), _) => Err(SwitchError::ordered(why)),
            (Err(_), Duration::ZERO) => Ok(()),
            (Err(_), least) => self.probe(least, job.aborted).await,
        };
        let begun = Instant::now();
        let driver = self.report.driver.clone();
        let ended = match proven {
            Ok(()) => {
                self.report.outcome = Outcome::Committed;
                made.on(Happening::Proven);
                former.on(Happening::Retired);
                self.workshop.catalog.telling().tell(|| Became::Retired(Arc::clone(&former)));
                self.balance(self.tenants.retire(&driver, job.drain).await);
                self.workshop.catalog.ring();
                Ok(self.workshop.keep(&job.claim.sha256).await)
            }
            Err(error) => {
                self.report.outcome = Outcome::RolledBack;
                // In this order: who opens a source now gets one of the former generation.
                made.on(Happening::Failed);
                former.on(Happening::Resumed);
                self.workshop.catalog.serve(Arc::clone(&former));
                self.balance(self.tenants.revert(&driver).await);
                let _ = self.news.send(News::Back(driver));
                Err(self.failed(error, made))
            }
        };
        tracing::debug!(took = ?begun.elapsed(), "former sources let go, or put back");
        ended
    }

    async fn switch(
        &mut self,
        claim: &Claim,
        made: &Arc<Generation>,
        former: &Arc<Generation>,
        terms: Terms,
    ) -> Result<(), Ended> {
        use busway_plugin_api::info::Overlap;
        let begun = Instant::now();
        self.report.exclusive = [former, made].iter().any(|g| g.info.overlap == Overlap::Exclusive);
        let moved = match self.tenants.switch(Arc::clone(made), terms).await {
            Ok(moved) => moved,
            Err(error) => {
                if error.code_fault {
                    made.on(Happening::Failed);
                }
                self.workshop.catalog.count(Arc::clone(made));
                return Err(self.failed(error, Arc::clone(made)));
            }
        };
        self.report.phases.prepare_us = micros(begun);
        self.report.phases.pause_us = u64::try_from(moved.pause.as_micros()).unwrap_or(u64::MAX);
        self.report.sources = moved.sources;
        self.report.notes = moved.cold;
        made.on(Happening::Tried);
        former.on(Happening::Superseded);
        self.workshop.catalog.telling().tell(|| Became::Switched(Arc::clone(made)));
        self.serve(claim, made);
        Ok(())
    }

    async fn probe(&mut self, least: Duration, aborted: oneshot::Receiver<String>) -> Result<(), SwitchError> {
        let begun = Instant::now();
        let proven = tokio::select! {
            proven = self.tenants.probe(&self.report.driver, least) => proven,
            Ok(why) = aborted => Err(SwitchError::ordered(why)),
        };
        self.report.phases.probation_us = micros(begun);
        proven
    }

    fn serve(&self, claim: &Claim, made: &Arc<Generation>) {
        self.workshop.catalog.serve(Arc::clone(made));
        let _ = self.news.send(News::Serves(claim.clone()));
    }

    fn balance(&mut self, ledger: Ledger) {
        if ledger.gap + ledger.dup > 0 {
            tracing::error!(driver = self.report.driver, %ledger, "states of tables were lost or doubled by a reload: a fault \
                of the host");
        }
        self.report.ledger = Some(ledger);
    }

    fn failed(&self, error: SwitchError, made: Arc<Generation>) -> Ended {
        if error.code_fault {
            self.workshop.taint(&made.sha256);
        }
        Ended {
            reason: error.to_string(),
            code_fault: error.code_fault,
            changed: false,
            again: None,
            made: (!error.code_fault && !made.is_withdrawn()).then_some(made),
        }
    }
}

#[cfg(test)]
mod tests;
