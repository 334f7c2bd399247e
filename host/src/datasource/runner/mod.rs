//! The life of one datasource: wait for its driver, open, poll, move to the next generation or configuration, stop.

mod audit;
mod beside;
mod keeping;
mod lazy;
mod leaving;
mod moving;
mod phase;
mod schedule;
mod shared;
mod status;
mod switch;
mod trial;

pub(super) use beside::{Beside, Hold, Start};
pub(super) use phase::Event;
pub use phase::Phase;
pub(super) use shared::{Restored, Shared, Standing};
pub use status::Status;
pub(super) use trial::{Probation, Said};

use super::keep::Place;
use super::open::{Open, SourceError};
use super::push;
use super::record::Record;
use crate::bus::Service;
use crate::plugin::{Catalog, Generation, Ledger, PoolError, REPLACED, SwitchError, Terms};
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::table::{Change, Update};
use keeping::Keeping;
use leaving::Leaving;
use moving::Moving;
use schedule::Schedule;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use trial::Trial;

/// So few rows are compared at once: handing them to another thread costs more.
const FEW_ROWS: usize = 1000;

/// What a runner is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// A reload begins: from now until `Commit` or `Abort` the source is moved no other way. Answers at once, also while it is
    /// polled, what it takes to open another beside it; `None`: there is none that could be replaced.
    Prepare(Arc<Generation>, Terms, oneshot::Sender<Option<Start>>),
    /// Begin no further poll; one that runs is cancelled after a moment. Answers when none runs.
    Quiet(oneshot::Sender<()>),
    /// Pause the source, hand its state over to the one that was opened, and poll that; open it first, if only one can be.
    /// Neither publishes before `Commit` or `Abort`.
    Warm(Box<Start>, Option<Box<Beside>>, oneshot::Sender<Result<Warmed, SwitchError>>),
    /// Switch to this one, and pause the former one, unless it is; none: open one anew when the catalog says so. Answers how
    /// long no source was in charge, and whether the new one is on probation and what becomes of it is of weight; `None`:
    /// there was none to switch.
    Commit(Option<Box<Beside>>, Probation, oneshot::Sender<Option<Switched>>),
    /// The former source is needed no more; calls that run in it have that long to end.
    Retire(Duration, oneshot::Sender<Ledger>),
    /// Put the former source back in charge.
    Revert(oneshot::Sender<Ledger>),
    /// Go on with what was there before, however far the reload has come.
    Abort(oneshot::Sender<Ledger>),
    /// Close the source and end, since that happened.
    Stop(Event),
}

/// A source that could take over now.
#[derive(Debug, Default)]
pub(super) struct Warmed {
    /// None: it is opened anew later.
    pub(super) beside: Option<Box<Beside>>,
    /// Why it begins without the state of what it replaces.
    pub(super) cold: Option<String>,
}

/// What came of a switch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switched {
    pub(super) pause: Duration,
    pub(super) votes: bool,
}

pub(super) struct Runner {
    record: Arc<Record>,
    service: Arc<Service>,
    catalog: Arc<Catalog>,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Commands that came while it was polled, and that wait for the end of that.
    waiting: VecDeque<Command>,
    /// The record as it is now; `record` is the one that is gone by.
    records: watch::Receiver<Arc<Record>>,
    schedule: Schedule,
    /// Of attempts to apply a changed record.
    changing: Schedule,
    /// When the next poll is due, or the next attempt to open.
    due: Option<Instant>,
    /// When the next attempt is due to apply a changed record, which the source that is open does not follow yet.
    behind: Option<Instant>,
    moving: Option<Box<Moving>>,
    /// No source of an earlier generation is opened: the catalog is about to name this one, or a later.
    awaited: u64,
    /// A new generation's source is in charge, and the former one waits.
    trial: Option<Box<Trial>>,
    keeping: Keeping,
    /// Sources that were replaced, and end.
    leaving: Leaving,
}

impl Runner {
    pub(super) fn new(
        service: Arc<Service>,
        catalog: Arc<Catalog>,
        shared: Arc<Shared>,
        (commands, mut records): (mpsc::UnboundedReceiver<Command>, watch::Receiver<Arc<Record>>),
        place: Arc<Place>,
    ) -> Self {
        let record = Arc::clone(&records.borrow_and_update());
        let schedule = Schedule::new(record.id.as_u64_pair().1);
        let changing = Schedule::new(record.id.as_u64_pair().0);
        let (due, behind, moving, trial, keeping) = (None, None, None, None, Keeping::new(place));
        Self {
            record,
            service,
            catalog,
            shared,
            commands,
            waiting: VecDeque::new(),
            records,
            schedule,
            changing,
            due,
            behind,
            moving,
            awaited: 0,
            trial,
            keeping,
            leaving: Leaving::default(),
        }
    }

    pub(super) async fn run(&mut self) {
        let mut catalog = self.catalog.changed();
        self.shared.change(|s| s.on(Event::Enabled, ""));
        Box::pin(self.restore()).await;
        Box::pin(self.start()).await;
        let ended = loop {
            let open = self.shared.open().is_some();
            let (polls, moves) = (self.may_poll(open), self.may_move());
            let next = self.next(open);
            // What is done now and then is boxed, and all times share one timer: thousands of runners mostly wait, and are as
            // small as that.
            tokio::select! {
                biased;
                command = next_of(&mut self.waiting, &mut self.commands) => match command {
                    None => break Event::Stopped,
                    Some(Command::Stop(event)) => break event,
                    Some(command) => Box::pin(self.obey(command)).await,
                },
                // Not while a reload is under way: what it opens is of the record as it was.
                Ok(()) = self.records.changed(), if moves => {
                    let record = Arc::clone(&self.records.borrow_and_update());
                    Box::pin(self.follow(record)).await;
                }
                // The node outlives its runners, so the catalog does too.
                _ = catalog.changed(), if moves => match open {
                    true => Box::pin(self.keep_up()).await,
                    false => Box::pin(self.start()).await,
                },
                () = until(next) => Box::pin(self.act(open)).await,
                () = self.shared.bell.notified(), if open && polls => Box::pin(self.poll_wanted()).await,
            }
        };
        // Its name is free, and its tables are gone, before the driver has had its time to close.
        self.service.unregister();
        self.leave_trial();
        if let Some(open) = self.shared.set(Standing::Absent) {
            Box::pin(open.close()).await;
        }
        Box::pin(self.leaving.end()).await;
        self.shared.change(|s| {
            s.on(ended, "");
            (s.generation, s.text) = (None, String::new());
        });
    }

    /// Whether it may be given another source, or another record.
    fn may_move(&self) -> bool {
        self.moving.is_none() && !self.is_stuck()
    }

    /// Whether the source may be polled; if none is open: whether one may be opened.
    fn may_poll(&self, open: bool) -> bool {
        let quiet = self.moving.as_ref().is_some_and(|moving| !open || moving.quiet);
        !quiet && !self.is_stuck()
    }

    /// When something is due next.
    fn next(&self, open: bool) -> Option<Instant> {
        let behind = self.behind.filter(|_| self.may_catch_up(open));
        let due = self.due.filter(|_| self.may_poll(open));
        [behind, due, self.keeping.due].into_iter().flatten().min()
    }

    fn may_catch_up(&self, open: bool) -> bool {
        open && self.may_move() && self.trial.is_none()
    }

    /// Does one thing that is due.
    async fn act(&mut self, open: bool) {
        let now = Instant::now();
        let is = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if is(self.behind) && self.may_catch_up(open) {
            self.catch_up().await;
        } else if is(self.due) && self.may_poll(open) {
            match open {
                true => self.poll(PollRequest::default()).await,
                false => self.start().await,
            }
        } else if is(self.keeping.due) {
            self.save().await;
        }
    }

    /// Opens a source of the generation that serves the driver, if one does, and polls it at once.
    async fn start(&mut self) {
        self.behind = None;
        let Some(generation) = self.catalog.serving(&self.record.spec.driver) else {
            self.due = None;
            let error = self.catalog.why_not(&self.record.spec.driver);
            return self.shared.change(|s| s.on(Event::NoSource, error));
        };
        if generation.number < self.awaited {
            self.due = None;
            return;
        }
        // A hung source waits for other code; a failed one for its time.
        let (hung, failed) = {
            let status = self.shared.status();
            let same = status.generation == Some(generation.number);
            let gone = matches!(status.phase, Phase::Hung | Phase::Failed);
            // Too many of its threads hang: no more are spent on this code.
            (same && status.phase == Phase::Hung && generation.pool.hung() >= REPLACED, same && gone)
        };
        if hung {
            self.due = None;
            return;
        }
        if failed && self.due.is_some_and(|due| Instant::now() < due) {
            return;
        }
        let number = Some(generation.number);
        self.shared.change(|s| {
            let error = std::mem::take(&mut s.error);
            s.on(Event::Opening, error);
            s.generation = number;
        });
        match Open::new(&self.record, &self.service, generation, &self.shared).await {
            Err(error) => self.failed(&error),
            Ok(open) => {
                self.shared.set(Standing::Standby(Arc::new(open)));
                // What was kept of another life is not what this source gave.
                self.poll(PollRequest { tables: None, snapshot: true }).await;
                // It may have been told to end meanwhile: it is to have no effects then.
                if let Some(open) = self.shared.open().filter(|_| !self.shared.is_ended()) {
                    self.activate(open).await;
                }
            }
        }
    }

    async fn activate(&mut self, open: Arc<Open>) {
        match open.activate().await {
            Ok(()) => {
                push::begin(&open);
                self.shared.set(Standing::Active(open));
            }
            Err(error) => self.lose(&error).await,
        }
    }

    async fn poll_wanted(&mut self) {
        let wanted = self.shared.open().and_then(|open| open.ingest.take_wanted().request());
        if let Some(request) = wanted {
            self.poll(request).await;
        }
    }

    /// Sets when the next poll is due, a poll of all tables having begun now.
    fn plan(&mut self) {
        let (interval, first) = (self.record.spec.poll, self.shared.status().polls == 0);
        let pause = if first { self.schedule.second(interval) } else { self.schedule.next(interval) };
        self.due = (!interval.is_zero()).then(|| Instant::now() + pause);
    }

    async fn poll(&mut self, request: PollRequest) {
        let Some(open) = self.shared.open() else { return };
        // It was told to end while the source was being opened: nobody waits for what this would give.
        if self.shared.is_ended() {
            return;
        }
        let all = request.tables.is_none();
        if all {
            self.plan();
            self.shared.status().rounds.begun += 1;
        }
        let mut request = match all && open.has_lazy() {
            true => lazy::without_idle(&self.service, &open, request).await,
            false => request,
        };
        request.snapshot |= open.ingest.is_unsaid(None);
        let asked = request.tables.clone();
        // What was asked for, to be done later by whichever source is in charge then.
        let again = PollRequest { tables: asked.clone().filter(|_| !all), snapshot: request.snapshot };
        let Some(polled) = self.polled(&open, request).await else { return open.ingest.want(&again) };
        match polled {
            Ok(updates) => {
                let updates = match self.fit(updates).await {
                    Ok(updates) => updates,
                    Err(unfit) => {
                        open.ingest.pass_over(&unfit);
                        return;
                    }
                };
                let named = names(&updates);
                let errors = self.apply(&open, updates, all.then_some(asked)).await;
                self.schedule.worked();
                let text = open.ingest.text();
                if all {
                    self.gave(&errors);
                }
                // A changed record that can't be applied is not forgotten over a good poll.
                let behind = self.behind.is_some();
                self.shared.change(|status| {
                    let good = is_good(&named, &errors);
                    status.polled(good, all);
                    if all {
                        status.round(if good { String::new() } else { after(&errors).1 });
                    }
                    status.text = text;
                    // After a poll of some tables, what is wrong with the others still is.
                    if (all && !behind) || !errors.is_empty() {
                        let (event, error) = after(&errors);
                        status.on(event, error);
                    }
                });
            }
            // That many sources want a thread is nobody's fault.
            Err(SourceError::Pool(PoolError::Busy)) if self.trial.is_some() => open.ingest.want(&again),
            Err(error) if self.object("be polled", &error) => {}
            Err(error) => {
                self.shared.change(|s| {
                    s.failures += 1;
                    if all {
                        s.round(error.to_string());
                    }
                });
                // It is not what the probation is about.
                if let Some(trial) = &self.trial {
                    trial.good();
                }
                for table in self.service.tables() {
                    self.service.fail(&table, error.to_string());
                }
                if error.is_code_fault() {
                    self.lose(&error).await;
                } else {
                    self.shared.change(|s| {
                        s.unread |= all;
                        s.on(Event::Unwell, error.to_string());
                    });
                }
            }
        }
    }

    /// Publishes what a poll answered. `all`: it was of all tables, or of these; one that is missing is that table's error.
    async fn apply(
        &self,
        open: &Open,
        updates: Vec<Update>,
        all: Option<Option<Vec<String>>>,
    ) -> Vec<(String, String)> {
        let named = names(&updates);
        let ingest = Arc::clone(&open.ingest);
        let poll = self.shared.status().polls + 1;
        let mut errors = if rows(&updates) <= FEW_ROWS {
            ingest.apply(updates, poll)
        } else {
            // Comparing millions of rows is no work for a thread that others wait for.
            let applied = tokio::task::spawn_blocking(move || ingest.apply(updates, poll)).await;
            applied.unwrap_or_else(|e| vec![(String::new(), format!("the host panicked: {e}"))])
        };
        let Some(asked) = all else { return errors };
        let meant = |table: &String| asked.as_ref().is_none_or(|asked| asked.contains(table));
        for table in self.service.tables().into_iter().filter(|t| meant(t) && !named.contains(t)) {
            if self.shared.restored.remove(&table) || open.ingest.lacks(&table) {
                self.service.end(&table);
                continue;
            }
            let error = "the last poll said nothing of it".to_owned();
            self.service.fail(&table, error.clone());
            errors.push((table, error));
        }
        errors
    }

    /// The source's code failed: give it up, and open another after a while.
    async fn lose(&mut self, error: &SourceError) {
        if self.object("go on", error) {
            return;
        }
        // It fails by itself: nobody goes back for that.
        self.leave_trial();
        tracing::warn!(datasource = self.service.name(), driver = self.record.spec.driver, %error, "source given up");
        if let Some(open) = self.shared.set(Standing::Absent) {
            if error.is_hung() {
                open.leak();
            } else {
                open.close().await;
            }
        }
        self.failed(error);
    }

    fn failed(&mut self, error: &SourceError) {
        self.due = Some(Instant::now() + self.schedule.back_off());
        let text = error.to_string();
        tracing::debug!(datasource = self.service.name(), error = text, "no source");
        let event = if error.is_hung() { Event::Hung } else { Event::Lost };
        self.shared.change(|s| s.on(event, text));
    }
}

/// How many rows come with these.
fn rows(updates: &[Update]) -> usize {
    let of = |update: &Update| match &update.change {
        Change::Snapshot(rows) => rows.num_rows(),
        Change::Delta { added, removed } => added.num_rows() + removed.num_rows(),
        Change::Unchanged | Change::Published | Change::Gone | Change::Failed(_) => 0,
    };
    updates.iter().map(of).sum()
}

/// What a poll with these errors of its tables means.
fn after(errors: &[(String, String)]) -> (Event, String) {
    let shown: Vec<String> = errors.iter().map(|(table, error)| format!("table {table:?}: {error}")).collect();
    (if errors.is_empty() { Event::Well } else { Event::Unwell }, shown.join("; "))
}

/// The tables that a poll answered.
fn names(updates: &[Update]) -> BTreeSet<String> {
    updates.iter().map(|update| update.table.clone()).collect()
}

/// Whether a poll with these errors of its tables was of any use.
fn is_good(named: &BTreeSet<String>, errors: &[(String, String)]) -> bool {
    errors.is_empty() || named.iter().any(|table| errors.iter().all(|(failed, _)| failed != table))
}

/// What waited comes before what comes.
async fn next_of(waiting: &mut VecDeque<Command>, commands: &mut mpsc::UnboundedReceiver<Command>) -> Option<Command> {
    match waiting.pop_front() {
        Some(command) => Some(command),
        None => commands.recv().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
