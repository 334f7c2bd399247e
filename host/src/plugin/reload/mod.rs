//! Acts on what lies in the directories: loads, reloads, refuses, goes back. What is to be done is decided by
//! [`plan`](super::plan); what sources do about a new generation by [`Tenants`].

mod judge;
mod order;
mod report;
mod settings;
mod tenants;
mod transaction;
mod view;
mod workshop;

pub use order::{Answer, Control, OrderError};
pub use report::{Ledger, Outcome, Phases, Report};
pub use settings::Settings;
pub use tenants::{Moved, SwitchError, Tenants, Terms};

use super::bytes::Trust;
use super::catalog::Catalog;
use super::marker::{self, Death};
use super::plan::{Claim, Inputs, Plan, Serving, Step, Unclear, plan};
use super::record::{By, Copies, Event, Journal, KeptCopy, Quarantined, Record};
use super::scan::{Found, ScanError, scan};
use super::stage::Stage;
use super::vet::Vet;
use super::watch::Watch;
use judge::Judge;
use order::{Order, Waiter};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use transaction::{Job, News, Over};
use workshop::Workshop;

/// Bytes that plain errors of their sources kept from serving are tried again so soon, and twice as late each time.
const AGAIN: Duration = Duration::from_secs(30);
/// But not later than this.
const LATEST: Duration = Duration::from_secs(600);
/// Events that come so close together are one.
const BURST: Duration = Duration::from_millis(20);

/// Bytes in which the host died so often are not loaded again.
const MOST_DEATHS: u32 = 2;
/// A start waits no longer for files that are being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that are not to be loaded now.
#[derive(Debug, Default)]
struct Bar {
    reason: String,
    /// When to try again; never, when the code is at fault.
    again: Option<Instant>,
    tries: u32,
    /// What was made of them already: it stays mapped, so the next try takes it.
    made: Option<Arc<super::Generation>>,
}

impl Bar {
    fn holds(&self) -> bool {
        self.again.is_none_or(|again| Instant::now() < again)
    }
}

/// Something that is being done.
#[derive(Debug)]
struct UnderWay {
    /// With which bytes.
    claim: Claim,
    /// Whether they are in charge by now, on probation.
    serves: bool,
    /// What serves if they fail: its file may have got another name since it was loaded.
    before: Option<Serving>,
    /// Ends it early; it is told why.
    abort: Option<oneshot::Sender<String>>,
    task: tokio::task::Id,
}

/// What is to be seen in the directories.
struct Sight {
    files: BTreeMap<PathBuf, Result<Found, ScanError>>,
    /// Directories that can't be read just now.
    unreadable: Vec<PathBuf>,
    troubles: Vec<(PathBuf, String)>,
    /// When to look again at the latest, if files are still changing.
    again: Option<Duration>,
}

/// Loads and reloads what lies in the plugin directories.
pub struct Executor<T> {
    settings: Settings,
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
    /// The inputs of the last plan.
    inputs: Inputs,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    orders: (mpsc::UnboundedSender<Order>, mpsc::UnboundedReceiver<Order>),
    waiting: Vec<Waiter>,
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
            workshop: Arc::new(Workshop::new(stage, copies, vetter, catalog)),
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
            inputs: Inputs::default(),
            news: mpsc::unbounded_channel(),
            orders: mpsc::unbounded_channel(),
            waiting: Vec::new(),
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

    /// Bytes in which the host died twice are not loaded again.
    fn mourn(&mut self, death: Death) {
        let Death { driver, version, sha256, call, datasource, signal } = &death;
        let of = datasource.as_ref().map(|name| format!(" of datasource {name:?}")).unwrap_or_default();
        let reason = format!("the host died in its {call}{of}, by {signal}");
        let mut deaths = 0;
        self.record.change(|now| {
            let of_these = now.deaths.entry(sha256.clone()).or_default();
            *of_these += 1;
            deaths = *of_these;
        });
        tracing::error!(driver, version, sha256, deaths, "an earlier host died in a driver: {reason}");
        if deaths >= MOST_DEATHS && !self.record.now().quarantine.contains_key(sha256) {
            let path = self.record.now().served.get(driver).map(|served| served.path.clone()).unwrap_or_default();
            let why = Quarantined {
                driver: driver.clone(),
                version: version.clone(),
                path,
                reason: format!("{reason}, for the {deaths}. time"),
                by: By::Crash,
                since: jiff::Timestamp::now(),
            };
            self.quarantine(sha256, why);
        }
        self.journal.write(Event::Died(death));
    }

    /// Nothing is remembered: for a look without consequences.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.record.forget();
        self
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
        let until = Instant::now() + PATIENCE;
        // Files that came together are taken together: one that was read a moment earlier has no more of a claim.
        while let Some(pause) = self.look().await.again
            && self.judge.unclear().values().any(|why| *why == Unclear::Changing)
            && Instant::now() < until
        {
            tokio::time::sleep(pause).await;
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
    pub async fn run(mut self, mut watch: Watch, mut again: Option<Duration>) {
        loop {
            // What is due already was begun, or waits for what is under way.
            let now = Instant::now();
            let put_off = self.bars.values().filter_map(|bar| bar.again).filter(|at| *at > now).min();
            let put_off = put_off.map(|at| (at - now).max(BURST));
            let pause = again.into_iter().chain(put_off).min();
            tokio::select! {
                Some(news) = self.news.1.recv() => self.heed(news),
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
            watch.follow(&self.settings.directories);
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
        let Sight { files, unreadable, troubles, again } = self.look().await;
        self.trust.refresh();
        self.forget_bars();
        self.inputs = self.inputs(&files, &unreadable);
        let planned = plan(&self.inputs);
        let stopped = self.act(&planned);
        self.judge.sweep();
        let views = self.views(&planned, &files);
        self.workshop.catalog.set_files(views.clone(), troubles);
        // Now that it is to be seen why.
        for id in stopped {
            self.workshop.catalog.unserve(&id);
        }
        if again.is_none() && planned.steps().is_empty() {
            self.answer_waiting(&views);
        }
        again
    }

    /// What has ended otherwise than by saying so has panicked: that is logged where it happened.
    fn reap(&mut self) {
        while let Some(ended) = self.jobs.try_join_next_with_id() {
            self.bury(ended);
        }
    }

    fn bury(&mut self, ended: Result<(tokio::task::Id, ()), JoinError>) {
        let Err(panic) = ended else { return };
        let lost = self.busy.values().find(|under_way| under_way.task == panic.id()).map(|u| u.claim.clone());
        let Some(claim) = lost else { return };
        self.busy.remove(&claim.id);
        self.put_off(&claim, "the host panicked loading it: its log says where".to_owned(), false, None, None);
    }

    /// Looks at the directories, and reads what has settled.
    async fn look(&mut self) -> Sight {
        let directories = self.settings.directories.clone();
        // Slow disks must not hold up everyone else.
        let scanned =
            tokio::task::spawn_blocking(move || directories.iter().map(|d| scan(d)).collect::<Vec<_>>()).await;
        let mut troubles = Vec::new();
        let mut files: BTreeMap<PathBuf, Result<Found, ScanError>> = BTreeMap::new();
        let mut unreadable: Vec<PathBuf> = Vec::new();
        for (directory, scanned) in self.settings.directories.iter().zip(scanned.unwrap_or_default()) {
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
        let (again, refused) = self.judge.look(&files, &self.workshop.stage).await;
        for (path, reason) in refused {
            tracing::warn!(file = %path.display(), reason, "plugin refused");
            self.journal.write(Event::Refused { path, sha256: None, driver: None, reason });
        }
        Sight { files, unreadable, troubles, again }
    }

    /// Of bytes that lie nowhere any more nothing is known.
    fn forget_bars(&mut self) {
        let claims = self.judge.claims();
        let there: BTreeSet<&str> = claims.iter().map(|c| c.sha256.as_str()).chain(self.record.now().good()).collect();
        self.bars.retain(|sha256, _| there.contains(sha256.as_str()));
    }

    /// All that a plan follows from.
    fn inputs(&self, files: &BTreeMap<PathBuf, Result<Found, ScanError>>, unreadable: &[PathBuf]) -> Inputs {
        let record = self.record.now();
        let mut unclear = self.judge.unclear();
        // What can't be looked at is there.
        let odd = files.iter().filter(|(_, look)| look.is_err()).map(|(path, _)| (path.clone(), Unclear::Refused));
        unclear.extend(odd);
        // Files of directories that can't be read just now.
        let known = self.serving.values().map(|s| &s.path).chain(record.served.values().map(|s| &s.path));
        let lost = known.filter(|path| unreadable.iter().any(|d| path.parent() == Some(d.as_path())));
        unclear.extend(lost.map(|path| (path.clone(), Unclear::Changing)));
        let mut served = record.served.clone();
        for served in served.values_mut() {
            served.good.retain(|good| self.workshop.copies.has(&good.sha256));
        }
        let quarantined = record.quarantine.iter().map(|(sha256, q)| (sha256.clone(), q.reason.clone()));
        // What serves is not taken out for what kept it from moving.
        let serves = |sha256: &String| self.serving.values().any(|serving| serving.sha256 == *sha256);
        let barred = self.bars.iter().filter(|(sha256, bar)| bar.holds() && !serves(sha256));
        let barred = barred.map(|(sha256, bar)| (sha256.clone(), bar.reason.clone()));
        let claims = self.judge.claims();
        let distrusted = claims.iter().map(|claim| (&claim.id, &claim.path, &claim.sha256));
        let kept =
            served.iter().flat_map(|(id, served)| served.good.iter().map(move |g| (id, &served.path, &g.sha256)));
        let distrusted: BTreeMap<String, String> = (distrusted.chain(kept))
            .filter(|(id, _, sha256)| self.serving.get(*id).is_none_or(|serving| serving.sha256 != **sha256))
            .filter_map(|(_, path, sha256)| Some((sha256.clone(), self.trust.refusal(path, sha256)?.to_string())))
            .collect();
        Inputs {
            claims,
            unclear,
            serving: self.serving.clone(),
            served,
            barred: distrusted.into_iter().chain(barred).chain(quarantined).collect(),
            busy: self.busy.keys().cloned().collect(),
            named: self.settings.named.clone(),
            stop_missing: self.settings.stop_missing,
        }
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
            let terms = Terms { accept_errors: self.lenient.contains(&claim.id), ..settings.terms() };
            let job = Job {
                restore,
                staged: if restore { None } else { self.judge.staged.remove(&claim.path) },
                made: self.bars.get_mut(&claim.sha256).and_then(|bar| bar.made.take()),
                terms,
                probation: settings.probation,
                drain: settings.drain,
                aborted,
                claim,
            };
            let claim = job.claim.clone();
            let (workshop, tenants, news) =
                (Arc::clone(&self.workshop), Arc::clone(&self.tenants), self.news.0.clone());
            let task = self.jobs.spawn(transaction::run(workshop, tenants, job, news)).id();
            let before = self.serving.get(&claim.id).cloned();
            let under_way = UnderWay { claim, serves: false, before, abort: Some(abort), task };
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
            if code_fault && report.to.is_some() && !known {
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
            } else if !known {
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

    /// Bytes that did not come to serve are not loaded for a while, or at all when they are at fault.
    fn put_off(
        &mut self,
        claim: &Claim,
        reason: String,
        code_fault: bool,
        again: Option<Duration>,
        made: Option<Arc<super::Generation>>,
    ) {
        let bar = self.bars.entry(claim.sha256.clone()).or_default();
        bar.tries += 1;
        let pause = AGAIN.saturating_mul(1 << (bar.tries - 1).min(16)).min(LATEST);
        // One who knows when says the least.
        let pause = again.map_or(pause, |again| again.max(pause.min(again * bar.tries)));
        (bar.reason, bar.made) = (reason, made);
        bar.again = (!code_fault).then(|| Instant::now() + pause);
    }

    fn quarantine(&mut self, sha256: &str, why: Quarantined) {
        let (driver, reason, by) = (why.driver.clone(), why.reason.clone(), why.by);
        self.journal.write(Event::Quarantined { sha256: sha256.to_owned(), driver, reason, by });
        self.record.change(|now| drop(now.quarantine.insert(sha256.to_owned(), why)));
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
