//! The life of one datasource: wait for its driver, open, poll, move to the next generation, stop.

use super::ingest::Door;
use super::open::{Open, SourceError};
use super::status::{Phase, Status};
use crate::bus::Service;
use crate::config::Datasource;
use crate::plugin::{CallError, Catalog, Generation, REPLACED, SwitchError};
use crate::table::Shape;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::Overlap;
use busway_plugin_api::message::{ErrorBody, PollRequest};
use busway_plugin_api::table::{Change, Update};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a runner is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// Open a source of this generation beside the present one, pause that, and poll the new one. Neither publishes
    /// before `Commit` or `Abort`.
    Prepare(Arc<Generation>, oneshot::Sender<Result<(), SwitchError>>),
    /// Switch to what was prepared.
    Commit(oneshot::Sender<()>),
    /// Go on with what was there before.
    Abort(oneshot::Sender<()>),
    /// Close the source and end.
    Stop,
}

/// Where a datasource's source is.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// There is none.
    Absent,
    /// About to become active, or paused: it is polled at most, and an end of this is in sight.
    Standby(Arc<Open>),
    /// It has effects, and runs actions.
    Active(Arc<Open>),
}

/// What others may see of a runner.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) status: Mutex<Status>,
    standing: watch::Sender<Standing>,
    /// Rung when something wants a poll out of turn.
    pub(super) bell: Arc<Notify>,
    pub(super) changed: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(changed: watch::Sender<u64>) -> Self {
        let standing = watch::Sender::new(Standing::Absent);
        Self { status: Mutex::default(), standing, bell: Arc::default(), changed }
    }

    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> Option<Arc<Open>> {
        self.standing.borrow().open().cloned()
    }

    /// To be told where the source is.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The active source; waits while there is one that will be. None: there is no source.
    pub(super) async fn settled(&self) -> Option<Arc<Open>> {
        let mut standing = self.standing();
        let settled = standing.wait_for(|standing| !matches!(standing, Standing::Standby(_))).await;
        // The sender lives as long as this.
        settled.ok()?.open().cloned()
    }

    /// Whether a source is the active one, as whoever asks later finds it.
    pub(super) fn still(&self, open: &Arc<Open>) -> impl FnOnce() -> bool + Send + 'static {
        let (standing, open) = (self.standing(), Arc::downgrade(open));
        move || matches!(&*standing.borrow(), Standing::Active(active) if std::ptr::eq(Arc::as_ptr(active), open.as_ptr()))
    }

    /// Answers the source that was there before.
    fn set(&self, standing: Standing) -> Option<Arc<Open>> {
        self.standing.send_replace(standing).open().cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status());
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Standing {
    fn open(&self) -> Option<&Arc<Open>> {
        match self {
            Self::Absent => None,
            Self::Standby(open) | Self::Active(open) => Some(open),
        }
    }
}

/// A source that waits for `Commit`, with its first poll's rows.
type Prepared = Option<(Arc<Open>, Vec<Update>)>;

pub(super) struct Runner {
    pub(super) record: Datasource,
    pub(super) service: Arc<Service>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// When the next poll is due, or the next attempt to open.
    due: Option<Instant>,
    pause: Duration,
    prepared: Option<Prepared>,
}

impl Runner {
    pub(super) fn new(
        record: Datasource,
        service: Arc<Service>,
        catalog: Arc<Catalog>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self { record, service, catalog, shared, commands, due: None, pause: FIRST_PAUSE, prepared: None }
    }

    pub(super) async fn run(mut self) {
        let mut catalog = self.catalog.changed();
        self.start().await;
        loop {
            let busy = self.prepared.is_some();
            let open = self.shared.open().is_some();
            let bell = Arc::clone(&self.shared.bell);
            let due = self.due;
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.obey(command).await,
                },
                // The node outlives its runners, so the catalog does too.
                _ = catalog.changed(), if !open && !busy => self.start().await,
                () = until(due), if !busy => if open { self.poll(PollRequest::default()).await } else { self.start().await },
                () = bell.notified(), if open && !busy => self.poll_wanted().await,
            }
        }
        if let Some(Some((new, _))) = self.prepared.take() {
            new.close().await;
        }
        if let Some(open) = self.shared.set(Standing::Absent) {
            open.close().await;
        }
        self.shared.change(|s| s.phase = Phase::Stopped);
    }

    /// Opens a source of the generation that serves the driver, if one does, and polls it at once.
    async fn start(&mut self) {
        let Some(generation) = self.catalog.serving(&self.record.driver) else {
            self.due = None;
            let error = format!("no driver {:?} is loaded", self.record.driver);
            return self.shared.change(|s| (s.phase, s.error) = (Phase::Waiting, error));
        };
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
        self.shared.change(|s| (s.phase, s.generation) = (Phase::Opening, number));
        let bell = Arc::clone(&self.shared.bell);
        match Open::new(&self.record, &self.service, generation, bell).await {
            Err(error) => self.failed(&error),
            Ok(open) => {
                self.shared.set(Standing::Standby(Arc::new(open)));
                self.poll(PollRequest::default()).await;
                if let Some(open) = self.shared.open() {
                    self.activate(open).await;
                }
            }
        }
    }

    async fn activate(&mut self, open: Arc<Open>) {
        match open.activate().await {
            Ok(()) => drop(self.shared.set(Standing::Active(open))),
            Err(error) => self.lose(&error).await,
        }
    }

    async fn poll_wanted(&mut self) {
        let wanted = self.shared.open().and_then(|open| open.ingest.take_wanted().request());
        if let Some(request) = wanted {
            self.poll(request).await;
        }
    }

    async fn poll(&mut self, request: PollRequest) {
        let Some(open) = self.shared.open() else { return };
        let all = request.tables.is_none();
        if all {
            self.due = (!self.record.poll.is_zero()).then(|| Instant::now() + self.record.poll);
        }
        match open.poll(request, self.record.deadline).await {
            Ok(updates) => {
                let errors = self.apply(&open, updates, all).await;
                self.pause = FIRST_PAUSE;
                let text = open.ingest.text();
                self.shared.change(|status| {
                    status.polls += 1;
                    status.last_poll = Some(Timestamp::now());
                    status.text = text;
                    // After a poll of some tables, what is wrong with the others still is.
                    if all || !errors.is_empty() {
                        (status.phase, status.error) = after(&errors);
                    }
                });
            }
            Err(error) => {
                self.shared.change(|s| s.failures += 1);
                for table in self.service.tables() {
                    self.service.fail(&table, error.to_string());
                }
                if error.is_code_fault() {
                    self.lose(&error).await;
                } else {
                    let text = error.to_string();
                    self.shared.change(|s| (s.phase, s.error) = (Phase::Degraded, text));
                }
            }
        }
    }

    /// Publishes what a poll answered. Of a poll of all tables, one that is missing is that table's error.
    async fn apply(&self, open: &Open, updates: Vec<Update>, all: bool) -> Vec<(String, String)> {
        let named: BTreeSet<String> = updates.iter().map(|u| u.table.clone()).collect();
        let ingest = Arc::clone(&open.ingest);
        let poll = self.shared.status().polls + 1;
        // Comparing millions of rows is no work for a thread that others wait for.
        let applied = tokio::task::spawn_blocking(move || ingest.apply(updates, poll)).await;
        let mut errors = applied.unwrap_or_else(|e| vec![(String::new(), format!("the host panicked: {e}"))]);
        for table in self.service.tables().into_iter().filter(|t| all && !named.contains(t)) {
            let error = "the last poll said nothing of it".to_owned();
            self.service.fail(&table, error.clone());
            errors.push((table, error));
        }
        errors
    }

    /// The source's code failed: give it up, and open another after a while.
    async fn lose(&mut self, error: &SourceError) {
        tracing::warn!(datasource = self.service.name(), driver = self.record.driver, %error, "source given up");
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
        let hung = error.is_hung();
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let text = error.to_string();
        tracing::debug!(datasource = self.service.name(), error = text, "no source");
        self.shared.change(|s| (s.phase, s.error) = (if hung { Phase::Hung } else { Phase::Failed }, text));
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Prepare(to, reply) => {
                let prepared = self.prepare(to).await.map(|prepared| self.prepared = Some(prepared));
                let _ = reply.send(prepared);
            }
            Command::Commit(reply) => {
                self.commit().await;
                let _ = reply.send(());
            }
            Command::Abort(reply) => {
                if let Some(Some((new, _))) = self.prepared.take() {
                    new.close().await;
                    self.resume().await;
                }
                let _ = reply.send(());
            }
            Command::Stop => {}
        }
    }

    /// Opens the new source beside the old, pauses the old, hands its state over, polls the new.
    ///
    /// Plain errors of a source that was not well before are no news, so they are no veto: it will be opened anew.
    async fn prepare(&mut self, to: Arc<Generation>) -> Result<Prepared, SwitchError> {
        let well = self.shared.status().phase == Phase::Running;
        let Some(old) = self.shared.open() else { return Ok(None) };
        let exclusive = [&old.generation, &to].iter().any(|g| g.info.overlap == Overlap::Exclusive);
        if exclusive {
            self.quiet(&old).await;
        }
        let bell = Arc::clone(&self.shared.bell);
        let (step, error) = match Open::new(&self.record, &self.service, to, bell).await {
            Ok(new) => {
                let new = Arc::new(new);
                if !exclusive {
                    self.quiet(&old).await;
                }
                match self.warm(&old, &new).await {
                    Ok(updates) => return Ok(Some((new, updates))),
                    Err((step, error)) => {
                        if error.is_hung() {
                            new.leak();
                        } else {
                            new.close().await;
                        }
                        self.resume().await;
                        (step, error)
                    }
                }
            }
            Err(error) => {
                if exclusive {
                    self.resume().await;
                }
                ("open", error)
            }
        };
        if !well && !error.is_code_fault() {
            return Ok(None);
        }
        let datasource = self.service.name().to_owned();
        Err(SwitchError { datasource, step, error: error.to_string(), code_fault: error.is_code_fault() })
    }

    /// Pauses the old source. One that can't be paused is shut out all the same: its faults are no fault of the new.
    async fn quiet(&self, old: &Arc<Open>) {
        self.shared.set(Standing::Standby(Arc::clone(old)));
        if let Err(error) = old.pause().await {
            tracing::warn!(datasource = self.service.name(), %error, "what is to be replaced did not pause well");
        }
    }

    async fn warm(&self, old: &Open, new: &Open) -> Result<Vec<Update>, (&'static str, SourceError)> {
        if old.generation.info.state.is_some() && new.generation.info.state.is_some() {
            match old.export_state().await {
                Ok(Some(state)) => {
                    let imported = new.import_state(state).await;
                    imported.map_err(|e| ("read the state of what it replaces", e.into_code_fault()))?;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(datasource = self.service.name(), %error, "what is to be replaced gave no state");
                }
            }
        }
        let everything = PollRequest { tables: None, snapshot: true };
        let updates = new.poll(everything, self.record.deadline).await.map_err(|e| ("be polled", e))?;
        let weighed = tokio::task::spawn_blocking({
            let service = Arc::clone(&self.service);
            move || weigh(&service, &updates).map(|()| updates)
        });
        match weighed.await {
            Ok(updates) => updates.map_err(|e| ("be polled", e.into())),
            Err(panic) => Err(("be polled", CallError::new(Code::FAILED, panic.to_string()).into())),
        }
    }

    /// The old one serves on.
    async fn resume(&mut self) {
        if let Some(old) = self.shared.open() {
            match old.resume().await {
                Ok(()) => drop(self.shared.set(Standing::Active(old))),
                Err(error) => self.lose(&error).await,
            }
        }
    }

    async fn commit(&mut self) {
        match self.prepared.take() {
            Some(Some((new, updates))) => {
                let old = self.shared.set(Standing::Standby(Arc::clone(&new)));
                if let Some(old) = &old {
                    old.ingest.turn(Door::Superseded);
                }
                // A new generation may have fewer tables: those end here.
                let named: BTreeSet<String> = updates.iter().map(|u| u.table.clone()).collect();
                let offered = old.iter().flat_map(|old| old.ingest.offered());
                for table in self.service.tables().into_iter().chain(offered).filter(|t| !named.contains(t)) {
                    self.service.end(&table);
                }
                let number = Some(new.generation.number);
                let errors = self.apply(&new, updates, true).await;
                self.shared.change(|status| {
                    status.generation = number;
                    status.polls += 1;
                    status.last_poll = Some(Timestamp::now());
                    (status.phase, status.error) = after(&errors);
                });
                self.due = (!self.record.poll.is_zero()).then(|| Instant::now() + self.record.poll);
                self.activate(new).await;
                if let Some(old) = old {
                    // Nobody waits for the old one's end.
                    tokio::spawn(async move { old.close().await });
                }
            }
            // It had no source that was well: a new one is opened as soon as the catalog says who serves.
            _ => {
                if let Some(old) = self.shared.set(Standing::Absent) {
                    old.close().await;
                }
                self.due = None;
                self.pause = FIRST_PAUSE;
                self.shared.change(|s| (s.phase, s.generation) = (Phase::Waiting, None));
            }
        }
    }
}

/// Whether a first poll is good enough to take over: no table that was well has failed, and every table can be held.
fn weigh(service: &Service, updates: &[Update]) -> Result<(), CallError> {
    for update in updates {
        let table = &update.table;
        match &update.change {
            Change::Failed(error) if service.is_well(table) => {
                return Err(CallError::of(Code::FAILED, ErrorBody::new(format!("table {table:?}: {error}"))));
            }
            Change::Snapshot(rows) => {
                let held = Shape::of(update, rows).and_then(|_| Ok(rows.validate()?));
                held.map_err(|e| CallError::broken(&format!("table {table:?}: {e}")))?;
            }
            Change::Unchanged if !service.has(table) => {
                return Err(CallError::broken(&format!(
                    "table {table:?} is \"unchanged\", though its rows were never given"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a datasource is after a poll with these errors of its tables.
fn after(errors: &[(String, String)]) -> (Phase, String) {
    let shown: Vec<String> = errors.iter().map(|(table, error)| format!("table {table:?}: {error}")).collect();
    (if errors.is_empty() { Phase::Running } else { Phase::Degraded }, shown.join("; "))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
