//! Acts on what lies in the directories: loads, reloads, refuses, goes back. What is to be done is decided by
//! [`plan`](super::plan); what sources do about a new generation by [`Tenants`].

mod bars;
mod errands;
mod judge;
mod order;
mod report;
mod settings;
mod sight;
mod tenants;
mod transaction;
mod view;
mod workshop;

pub use order::{Answer, Control, OrderError};
pub use report::{Ledger, Outcome, Phases, Report};
pub use settings::Settings;
pub use tenants::{Lenience, Moved, SwitchError, Tenants, Terms};

use super::bytes::Trust;
use super::catalog::Catalog;
use super::marker;
use super::plan::{Claim, Inputs, Plan, Serving, Step, Unclear, plan};
use super::record::{By, Copies, Event, Journal, KeptCopy, Quarantined, Record};
use super::scan::scan;
use super::stage::Stage;
use super::vet::Vet;
use super::watch::Watch;
use bars::Bar;
pub(super) use errands::Errands;
use judge::Judge;
use order::{Order, Waiter};
use sight::{Scan, Scanned, Sight};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use transaction::{Job, LOST, News, Over, Progress};
use workshop::Workshop;

/// Events that come so close together are one.
const BURST: Duration = Duration::from_millis(20);

/// A start waits no longer for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something that is being done.
#[derive(Debug)]
struct UnderWay {
    /// With which bytes.
    claim: Claim,
    /// Whether they are in charge by now, on probation.
    serves: bool,
    /// What serves if they fail: its file may have got another name since it was loaded.
    before: Option<Serving>,
    /// Whether it passes over plain errors.
    lenience: Lenience,
    /// When it began.
    since: Instant,
    /// Ends it early; it is told why.
    abort: Option<oneshot::Sender<String>>,
    restore: bool,
    /// None: it is lost, and what it left is being put in order.
    progress: Option<Arc<Progress>>,
    task: tokio::task::Id,
}

/// Loads and reloads what lies in the plugin directories.
pub struct Executor<T> {
    settings: Settings,
    scan: Scan,
    workshop: Arc<Workshop>,
    tenants: Arc<T>,
    trust: Trust,
    judge: Judge,
    serving: BTreeMap<String, Serving>,
    record: Record,
    journal: Arc<Journal>,
    /// By their hash.
    bars: HashMap<String, Bar>,
    /// Drivers that something is being done with.
    busy: BTreeMap<String, UnderWay>,
    /// What is being done: it ends when this does.
    jobs: JoinSet<()>,
    /// Drivers whose next reload passes over plain errors.
    lenient: BTreeSet<String>,
    /// Drivers of which a fresh copy of the same bytes is wanted.
    renew: BTreeSet<String>,
    /// Looks at directories.
    scans: Errands<Scanned>,
    /// Files of which something serves and that are not there, since when.
    gone: BTreeMap<PathBuf, Instant>,
    /// The inputs of the last plan.
    inputs: Inputs,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    orders: (mpsc::UnboundedSender<Order>, mpsc::UnboundedReceiver<Order>),
    waiting: Vec<Waiter>,
    /// How long they wait for files that are being written.
    patience: Duration,
    over_budget: bool,
}

impl<T: Tenants> Executor<T> {
    /// Nothing is loaded before the first [`pass`](Self::pass). In the folder `state` is remembered what happened.
    pub fn new(
        settings: Settings,
        stage: Stage,
        state: &Path,
        vetter: Arc<dyn Vet>,
        catalog: Arc<Catalog>,
        tenants: T,
    ) -> Self {
        let copies = Copies::new(state.join("good"));
        catalog.set_terms(settings.terms());
        catalog.set_budget(settings.budget);
        Self {
            settings,
            scan,
            workshop: Arc::new(Workshop::new(stage.lending(copies.clone()), copies, vetter, catalog)),
            tenants: Arc::new(tenants),
            trust: Trust::any(),
            judge: Judge::default(),
            serving: BTreeMap::new(),
            record: Record::read(&state.join("plugins.json")),
            journal: Arc::new(Journal::closed(&state.join("history.jsonl"))),
            bars: HashMap::new(),
            busy: BTreeMap::new(),
            jobs: JoinSet::new(),
            lenient: BTreeSet::new(),
            renew: BTreeSet::new(),
            scans: Errands::default(),
            gone: BTreeMap::new(),
            inputs: Inputs::default(),
            news: mpsc::unbounded_channel(),
            orders: mpsc::unbounded_channel(),
            waiting: Vec::new(),
            patience: order::PATIENCE,
            over_budget: false,
        }
    }

    /// From now on what happens is written down, and so is of which driver's doing the host dies; what an earlier one died of
    /// is heeded.
    #[must_use]
    pub fn writing_down(mut self, state: &Path) -> Self {
        self.journal = Arc::new(Journal::open(&state.join("history.jsonl")).telling(self.workshop.catalog.telling()));
        self.journal.write(Event::Started { version: env!("CARGO_PKG_VERSION").to_owned() });
        for death in marker::deaths(state) {
            self.mourn(death);
        }
        let marks = marker::Marks::begin(state);
        if let Err(error) = &marks {
            tracing::warn!(%error, "calls of drivers can't be noted: should the host die in one, nobody knows in which");
        }
        if let Some(workshop) = Arc::get_mut(&mut self.workshop) {
            workshop.marks = marks.ok();
        }
        self
    }

    /// Nothing is remembered, and copies that are kept stay as they are: for a look without consequences.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.forget();
        self
    }

    fn forget(&mut self) {
        self.record.forget();
        if let Some(workshop) = Arc::get_mut(&mut self.workshop) {
            workshop.copies.freeze();
        }
    }

    /// Only bytes that are trusted are loaded; what is loaded already stays.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The way to give it orders while it [runs](Self::run).
    #[must_use]
    pub fn control(&self) -> Control {
        Control { orders: self.orders.0.clone(), journal: Arc::clone(&self.journal) }
    }

    /// Looks at the directories, and waits until everything that lies there is loaded or refused; but for what is still
    /// being written: then answers when to look again.
    pub async fn settle(&mut self) -> Option<Duration> {
        let mut again = self.look().await.again;
        // From then on: a directory that gives no answer takes its own time.
        let until = Instant::now() + PATIENCE;
        // Files that came together are taken together: one that was read a moment earlier has no more of a claim.
        while let Some(pause) = again
            && self.judge.unclear().values().any(|why| *why == Unclear::Changing)
            && Instant::now() < until
        {
            tokio::time::sleep(pause).await;
            again = self.look().await.again;
        }
        let again = self.pass().await;
        self.idle().await;
        // What serves now is shown, and what is to be done next is begun.
        if again.is_none() { self.pass().await } else { again }
    }

    /// The same, until nothing is left to be done or, for so long, being written.
    pub async fn finish(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            let again = self.pass().await;
            match again.filter(|_| Instant::now() < until) {
                Some(pause) => tokio::time::sleep(pause).await,
                None if self.busy.is_empty() => return,
                None => self.idle().await,
            }
        }
    }

    /// Waits until nothing is being done.
    async fn idle(&mut self) {
        while !self.busy.is_empty() {
            tokio::select! {
                Some(news) = self.news.1.recv() => self.heed(news),
                Some(ended) = self.jobs.join_next_with_id() => self.bury(ended),
            }
        }
    }

    /// Goes on for ever: looks at the directories when they ring, now and then, and when it is told to.
    pub async fn run(mut self, watch: Watch, mut again: Option<Duration>) {
        loop {
            // What is due already was begun, or waits for what is under way.
            let now = Instant::now();
            let put_off = self.bars.values().filter_map(|bar| bar.again).filter(|at| *at > now).min();
            let put_off = put_off.map(|at| (at - now).max(BURST));
            let pause = again.into_iter().chain(put_off).min();
            tokio::select! {
                Some(news) = self.news.1.recv() => self.heed(news),
                // What was lost is put in order at once.
                Some(ended) = self.jobs.join_next_with_id() => self.bury(ended),
                Some(order) = self.orders.1.recv() => {
                    // What serves by now decides what an order means.
                    while let Ok(news) = self.news.1.try_recv() {
                        self.heed(news);
                    }
                    self.follow(order);
                }
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                // A burst of events is one reason to look.
                () = watch.ring() => tokio::time::sleep(BURST).await,
            }
            watch.follow(&self.settings.directories).await;
            again = self.pass().await;
        }
    }

    /// Looks at the directories once and begins what is to be done. Answers when to look again at the latest, if something
    /// is going on.
    pub async fn pass(&mut self) -> Option<Duration> {
        while let Ok(news) = self.news.1.try_recv() {
            self.heed(news);
        }
        self.reap();
        let Sight { files, unreadable, mut troubles, again } = self.look().await;
        if let Err(silent) = self.trust.refresh().await {
            troubles.push((silent.list().to_owned(), format!("{silent}; what was read of it before holds")));
        }
        self.forget_bars();
        let (again, absent) = self.absent(&files, &unreadable, again);
        self.inputs = self.inputs(&files, &unreadable, absent);
        let planned = plan(&self.inputs);
        let stopped = self.act(&planned);
        self.judge.sweep();
        let views = self.views(&planned, &files, &unreadable);
        self.workshop.catalog.set_files(views.clone(), troubles);
        // Now that it is to be seen why.
        for id in stopped {
            self.workshop.catalog.unserve(&id);
        }
        self.answer_waiting(&views, &planned, again.is_none() && planned.steps().is_empty());
        // What was done at once may lead to more.
        let at_once = |step: &Step| matches!(step, Step::Adopt { .. } | Step::Stop { .. });
        again.or_else(|| planned.steps().iter().any(at_once).then_some(BURST))
    }

    /// What has ended otherwise than by saying so has panicked: that is logged where it happened.
    fn reap(&mut self) {
        while let Some(ended) = self.jobs.try_join_next_with_id() {
            self.bury(ended);
        }
    }

    fn bury(&mut self, ended: Result<(tokio::task::Id, ()), JoinError>) {
        let Err(panic) = ended else { return };
        let Some(lost) = self.busy.values_mut().find(|under_way| under_way.task == panic.id()) else { return };
        let claim = lost.claim.clone();
        tracing::error!(driver = claim.id, %panic, "a reload was lost: what served before serves on");
        if let Some(progress) = lost.progress.take() {
            let (workshop, tenants, news) =
                (Arc::clone(&self.workshop), Arc::clone(&self.tenants), self.news.0.clone());
            let job = (claim, lost.restore, self.settings.drain);
            lost.abort = None;
            lost.task = self.jobs.spawn(transaction::recover(workshop, tenants, job, progress, news)).id();
            return;
        }
        self.busy.remove(&claim.id);
        self.put_off(&claim, LOST.to_owned(), false, None, None);
    }

    /// Begins what is to be done; answers the drivers that end.
    fn act(&mut self, planned: &Plan) -> Vec<String> {
        let (steps, mut stopped) = (planned.steps(), Vec::new());
        if !steps.is_empty() {
            let inputs = Box::new(self.inputs.clone());
            self.journal.write(Event::Planned { inputs, steps: steps.clone() });
        }
        for step in steps {
            let (claim, restore) = match step {
                Step::Load { claim } | Step::Reload { claim } => (claim, false),
                Step::Restore { claim } => (claim, true),
                Step::Adopt { claim } => {
                    tracing::info!(driver = claim.id, file = %claim.path.display(), "the driver's file has another name now");
                    self.put_in_charge(claim.id, Serving { path: claim.path, sha256: claim.sha256 });
                    continue;
                }
                Step::Stop { id } => {
                    self.stop(&id);
                    stopped.push(id);
                    continue;
                }
            };
            let (abort, aborted) = oneshot::channel();
            let settings = &self.settings;
            let lenience = Lenience::new(self.lenient.contains(&claim.id));
            let terms = Terms { accept_errors: lenience.clone(), ..settings.terms() };
            self.renew.remove(&claim.id);
            if self.serves(&claim.sha256) {
                self.workshop.taint(&claim.sha256);
            }
            let job = Job {
                restore,
                staged: if restore { None } else { self.judge.staged.remove(&claim.path) },
                made: self.bars.get_mut(&claim.sha256).and_then(|bar| bar.made.take()),
                terms,
                probation: settings.probation,
                drain: settings.drain,
                aborted,
                progress: Arc::default(),
                claim,
            };
            let (claim, progress) = (job.claim.clone(), Some(Arc::clone(&job.progress)));
            let (workshop, tenants, news) =
                (Arc::clone(&self.workshop), Arc::clone(&self.tenants), self.news.0.clone());
            let task = self.jobs.spawn(transaction::run(workshop, tenants, job, news)).id();
            let before = self.serving.get(&claim.id).cloned();
            let (since, abort) = (Instant::now(), Some(abort));
            let under_way = UnderWay { claim, serves: false, before, lenience, since, abort, restore, progress, task };
            self.busy.insert(under_way.claim.id.clone(), under_way);
        }
        stopped
    }

    /// Its file is gone, and the configuration says that it ends then.
    fn stop(&mut self, id: &str) {
        tracing::info!(driver = id, "the driver's file is gone: it serves no more");
        self.serving.remove(id);
        self.journal.write(Event::Stopped { driver: id.to_owned() });
    }

    fn heed(&mut self, news: News) {
        match news {
            News::Serves(claim) => {
                if let Some(under_way) = self.busy.get_mut(&claim.id) {
                    under_way.serves = true;
                }
                self.put_in_charge(claim.id, Serving { path: claim.path, sha256: claim.sha256 });
            }
            News::Back(id) => {
                let Some(under_way) = self.busy.get_mut(&id) else { return };
                under_way.serves = false;
                if let Some(before) = under_way.before.clone() {
                    self.put_in_charge(id, before);
                }
            }
            News::Over(over) => self.conclude(*over),
        }
    }

    fn put_in_charge(&mut self, id: String, serving: Serving) {
        self.record.change(|now| now.remember(&id, &serving.path));
        self.serving.insert(id, serving);
    }

    /// Whether something serves that has these bytes.
    fn serves(&self, sha256: &str) -> bool {
        self.serving.values().any(|serving| serving.sha256 == sha256)
    }

    fn conclude(&mut self, over: Over) {
        let Over { claim, report, code_fault, changed, again, made, kept } = over;
        self.busy.remove(&claim.id);
        self.lenient.remove(&claim.id);
        if report.outcome.is_good() {
            tracing::info!(driver = claim.id, file = %claim.path.display(), generation = report.to, "driver serves: {report}");
            self.bars.remove(&claim.sha256);
            if kept {
                let good = KeptCopy { sha256: claim.sha256.clone(), version: claim.version.clone() };
                self.record.change(|now| now.serve(&claim.id, &claim.path, good));
                // Not while another job is under way: the copy that it has just kept is not remembered yet.
                if self.busy.is_empty() {
                    let kept = self.record.now().good().map(str::to_owned).collect();
                    self.workshop.copies.retain(&kept);
                }
            }
        } else if changed {
            // The next scan sees what it has become.
            self.judge.seen.remove(&claim.path);
        } else {
            let reason = report.reason.clone().unwrap_or_default();
            tracing::warn!(driver = claim.id, file = %claim.path.display(), reason, "plugin refused: {}", report.outcome.as_str());
            let known = self.record.now().quarantine.contains_key(&claim.sha256);
            // What could not even be loaded is refused by its bytes each time; what failed in use is remembered.
            // A fresh copy of what serves that is no better is no reason to take that out.
            let serves = self.serves(&claim.sha256);
            if code_fault && report.to.is_some() && !known && !serves {
                self.quarantine(
                    &claim.sha256,
                    Quarantined {
                        driver: claim.id.clone(),
                        version: claim.version.clone(),
                        path: claim.path.clone(),
                        reason,
                        by: By::Fault,
                        since: jiff::Timestamp::now(),
                    },
                );
            } else if !known && !serves {
                self.put_off(&claim, reason, code_fault, again, made);
            }
        }
        self.weigh();
        for waiter in self.waiting.iter_mut().filter(|waiter| waiter.minds(&claim.id)) {
            waiter.reports.push(report.clone());
        }
        self.workshop.catalog.report(report.clone());
        self.journal.write(Event::Transaction(Box::new(report)));
    }

    /// Says once that generations which serve no more hold much.
    fn weigh(&mut self) {
        let advice = self.workshop.catalog.retired().advice();
        let over = advice.is_some();
        if let Some(advice) = advice.filter(|_| !self.over_budget) {
            tracing::warn!("{advice}");
        }
        self.over_budget = over;
    }
}

#[cfg(test)]
mod tests;
