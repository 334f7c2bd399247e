//! How a datasource gets another source: of the next generation, or by a changed record.

use super::audit::Audit;
use super::shared::Standing;
use super::trial::{Trial, Waits};
use super::{Command, Event, Open, Phase, Probation, Runner, SourceError, Switched, after, is_good, names};
use crate::bus::Service;
use crate::datasource::ingest::Door;
use crate::datasource::record::Record;
use crate::plugin::{CallError, Generation, Lenience, SwitchError, Terms};
use crate::table::Shape;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::Overlap;
use busway_plugin_api::message::{ErrorBody, PollRequest};
use busway_plugin_api::table::{CONTRADICTION, Change, Update};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What waits for `Commit` or `Abort`.
#[derive(Debug)]
pub(super) struct Prepared {
    /// None: there was no source that was well, so there is nothing to switch.
    pub(super) beside: Option<Beside>,
    /// The number of the generation.
    to: u64,
    /// Whether the former source was well.
    votes: bool,
    audit: Option<Audit>,
}

/// A source in standby, with its first poll's rows. The former one is paused.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) new: Arc<Open>,
    updates: Vec<Update>,
    /// Since when no source is in charge.
    paused: Instant,
}

/// So long calls have to end that run in a source whose datasource was changed.
const DRAIN: Duration = Duration::from_secs(10);

/// At which step a source could not take over, and why.
type Failed = (&'static str, SourceError);

impl Runner {
    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Prepare(to, terms, reply) => {
                // Whoever begins another reload knows that the one before is over.
                self.leave_trial();
                let prepared = self.prepare(to, terms).await.map(|prepared| self.prepared = Some(prepared));
                let _ = reply.send(prepared);
            }
            Command::Commit(probation, reply) => {
                let switched = self.switch(probation).await;
                let _ = reply.send(switched);
            }
            Command::Abort(reply) => {
                if let Some(beside) = self.prepared.take().and_then(|prepared| prepared.beside) {
                    beside.new.close().await;
                    self.resume().await;
                }
                let _ = reply.send(());
            }
            Command::Retire(drain, reply) => {
                let (ledger, failed) = self.retire(drain);
                // It failed when nobody listened any more: from now on that is its own affair.
                match failed {
                    // One that could not even be activated is nothing to go on with.
                    Some(error) if error.is_code_fault() || !self.shared.is_active() => self.lose(&error).await,
                    Some(error) => {
                        self.shared.change(|s| s.on(Event::Unwell, error.to_string()));
                        self.plan();
                    }
                    None => {}
                }
                let _ = reply.send(ledger);
            }
            Command::Revert(reply) => {
                let ledger = self.revert().await;
                let _ = reply.send(ledger);
            }
            Command::Stop(_) => {}
        }
    }

    /// Opens the new source beside the old, pauses the old, hands its state over, polls the new.
    ///
    /// Plain errors of a source that was not well before are no news, so they are no veto: it will be opened anew.
    async fn prepare(&mut self, to: Arc<Generation>, terms: Terms) -> Result<Prepared, SwitchError> {
        let number = to.number;
        let lenient = terms.accept_errors.clone();
        let nothing = Prepared { beside: None, to: number, votes: false, audit: None };
        let Some(old) = self.shared.open() else { return Ok(nothing) };
        // While a changed record can't be applied the former is in force, over a reload too.
        let behind = self.behind.is_some();
        let votes = behind || self.shared.status().phase == Phase::Running;
        let record = Arc::clone(if behind { &old.record } else { &self.record });
        let lazy: BTreeSet<String> = old.tables().into_iter().filter(|t| t.lazy).map(|t| t.name).collect();
        let audit = Audit::open(&self.service, &old.ingest, |table| lazy.contains(table));
        match self.beside(&old, to, record, Some(terms)).await {
            Ok(beside) => Ok(Prepared { beside: Some(beside), to: number, votes, audit: Some(audit) }),
            Err((_, error)) if (!votes || lenient.holds()) && !error.is_code_fault() => Ok(nothing),
            // It was cancelled, and has no say any more.
            Err(_) if self.shared.is_ended() => Ok(nothing),
            Err((step, error)) => Err(SwitchError::of(self.service.name(), step, &error, error.is_code_fault())),
        }
    }

    /// Switches to what was prepared. The former source waits, paused.
    async fn switch(&mut self, probation: Probation) -> Option<Switched> {
        let Prepared { beside, to, votes, audit } = self.prepared.take()?;
        let Some(beside) = beside else {
            // The catalog does not say so yet.
            self.awaited = to;
            self.begin_anew().await;
            return None;
        };
        let new = Arc::clone(&beside.new);
        let well = self.service.tables().into_iter().filter(|table| self.service.is_well(table)).collect();
        let written = self.written();
        let (former, pause) = self.commit(beside).await;
        let waits = Waits { former: former?, well, written };
        self.trial = Some(Box::new(Trial::new(self.service.name(), waits, votes, probation, audit)));
        self.activate(Arc::clone(&new)).await;
        // What it does in charge it has not done before: it is read once more, now.
        new.ingest.want(&PollRequest::default());
        Some(Switched { pause, votes })
    }

    /// Goes by another record. What needs no other source holds at once.
    pub(super) async fn follow(&mut self, record: Arc<Record>) {
        let before = std::mem::replace(&mut self.record, record);
        let (old, new) = (&before.spec, &self.record.spec);
        let kept = old.persist_data;
        let same = old.options == new.options && old.limits() == new.limits();
        if old.poll != new.poll && self.shared.open().is_some() {
            self.plan();
        }
        self.keep_or_not(kept).await;
        if self.shared.open().is_some() {
            if !same {
                self.leave_trial();
                self.catch_up().await;
            }
        } else {
            // What it failed by may be mended: not after the pause, but now.
            self.due = None;
            self.schedule.worked();
            self.start().await;
        }
    }

    /// Moves to the generation that serves, if the source that is open is of an older one: it was opened while others were
    /// being switched; or if its own has failed.
    pub(super) async fn keep_up(&mut self) {
        if self.trial.is_some() {
            return;
        }
        if self.catalog.serving(&self.record.spec.driver).is_none() && self.shared.open().is_some() {
            return self.begin_anew().await;
        }
        if self.shared.open().is_some_and(|open| self.newer(&open).is_some()) {
            self.catch_up().await;
        }
    }

    /// The generation that serves, if the source is to move to it.
    fn newer(&self, open: &Open) -> Option<Arc<Generation>> {
        self.catalog.serving(&self.record.spec.driver).filter(|serving| {
            let of = &open.generation;
            serving.number > of.number || (of.is_withdrawn() && serving.number != of.number)
        })
    }

    /// Puts a source that follows the record, of the generation that serves, in place of the one that is open. When it can't
    /// be, the old one serves on, and it is tried again after a while.
    pub(super) async fn catch_up(&mut self) {
        let Some(old) = self.shared.open() else { return };
        let newer = self.newer(&old);
        let moves = newer.is_some();
        // What bytes that failed know is not handed on.
        let hands = moves && !old.generation.is_withdrawn();
        let generation = newer.unwrap_or_else(|| Arc::clone(&old.generation));
        match self.beside(&old, generation, Arc::clone(&self.record), hands.then(|| self.catalog.terms())).await {
            Ok(beside) => {
                self.behind = None;
                self.changing.worked();
                let new = Arc::clone(&beside.new);
                let (former, _) = self.commit(beside).await;
                self.activate(new).await;
                if let Some(former) = former {
                    // Nobody waits for the old one's end, but who stops the host.
                    let open = Arc::clone(&former);
                    self.leaving.see_off(&open, async move { former.retire(DRAIN).await });
                }
            }
            Err(_) if self.shared.is_ended() => {}
            Err((step, error)) => {
                self.behind = Some(Instant::now() + self.changing.back_off());
                let text = match moves {
                    true => format!(
                        "the driver's present generation does not serve it, a former one does: it can't {step}: {error}"
                    ),
                    false => format!(
                        "the changed configuration is not in force, the former one is: it can't {step}: {error}"
                    ),
                };
                tracing::warn!(datasource = self.service.name(), error = text, "datasource not changed yet");
                self.shared.change(|s| s.on(Event::Unwell, text));
            }
        }
    }

    /// Opens a source of that generation and by that record beside the old one, pauses the old one, hands its state over if it is of use, polls the new one. When that does not work the old one goes on.
    async fn beside(
        &mut self,
        old: &Arc<Open>,
        to: Arc<Generation>,
        record: Arc<Record>,
        state: Option<Terms>,
    ) -> Result<Beside, Failed> {
        let exclusive = [&old.generation, &to].iter().any(|g| g.info.overlap == Overlap::Exclusive);
        let mut paused = Instant::now();
        if exclusive {
            self.quiet(old).await;
        }
        match Open::new(&record, &self.service, to, &self.shared).await {
            Ok(new) => {
                let new = Arc::new(new);
                if !exclusive {
                    paused = Instant::now();
                    self.quiet(old).await;
                }
                match self.warm(old, &new, state).await {
                    Ok(updates) => Ok(Beside { new, updates, paused }),
                    Err((step, error)) => {
                        if error.is_hung() {
                            new.leak();
                        } else {
                            new.close().await;
                        }
                        self.resume().await;
                        Err((step, error))
                    }
                }
            }
            Err(error) => {
                if exclusive {
                    self.resume().await;
                }
                Err(("open", error))
            }
        }
    }

    /// Pauses the old source. One that can't be paused is shut out all the same: its faults are no fault of the new.
    async fn quiet(&self, old: &Arc<Open>) {
        self.shared.set(Standing::Standby(Arc::clone(old)));
        if let Err(error) = old.pause().await {
            tracing::warn!(datasource = self.service.name(), %error, "what is to be replaced did not pause well");
        }
    }

    async fn warm(&self, old: &Open, new: &Open, state: Option<Terms>) -> Result<Vec<Update>, Failed> {
        let lenience = state.as_ref().map(|terms| terms.accept_errors.clone());
        if let (Some(terms), Some(writes), Some(reads)) =
            (state, old.generation.info.state.as_ref(), new.generation.info.state.as_ref())
        {
            let handed = self.hand_over((old, writes.version), (new, &reads.reads), &terms).await;
            match handed {
                Err((_, error)) if terms.cold_start && !error.is_hung() => {
                    tracing::warn!(datasource = self.service.name(), %error, "the new source begins without the former's state");
                }
                handed => handed?,
            }
        }
        let everything = PollRequest { tables: None, snapshot: true };
        let everything = if new.has_lazy() { self.awake(new, everything) } else { everything };
        let updates = match new.poll(everything, self.record.spec.deadline).await {
            // Its tables stay as they are, and say why.
            Err(error) if lenience.as_ref().is_some_and(Lenience::holds) && !error.is_code_fault() => {
                let failed = Change::Failed(ErrorBody::new(error.to_string()));
                let tables = self.service.tables().into_iter();
                tables.map(|table| Update::bare(table, failed.clone())).collect()
            }
            polled => polled.map_err(|e| ("be polled", e))?,
        };
        let weighed = tokio::task::spawn_blocking({
            let service = Arc::clone(&self.service);
            move || (weigh(&service, &updates), updates)
        });
        match weighed.await {
            Ok((Err(error), _)) if !lenience.is_some_and(|lenience| lenience.holds()) || error.is_code_fault() => {
                Err(("be polled", error.into()))
            }
            Ok((_, updates)) => Ok(updates),
            Err(panic) => Err(("be polled", CallError::new(Code::FAILED, panic.to_string()).into())),
        }
    }

    /// What the old source knows becomes the new one's.
    async fn hand_over(&self, old: (&Open, u32), new: (&Open, &[u32]), terms: &Terms) -> Result<(), Failed> {
        const READ: &str = "read the state of what it replaces";
        let ((old, writes), (new, reads)) = (old, new);
        let broken = |what: String| (READ, SourceError::from(CallError::new(Code::FAILED, what)).into_code_fault());
        // Said before anything is asked: both sides declare it.
        if !reads.contains(&writes) {
            let reads: Vec<String> = reads.iter().map(ToString::to_string).collect();
            return Err(broken(format!(
                "what serves writes version {writes}, and the new build reads {}: let it read that one too, or set \
                 plugins.cold_start",
                if reads.is_empty() { "none".to_owned() } else { reads.join(", ") }
            )));
        }
        let state = match old.export_state().await {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(datasource = self.service.name(), %error, "what is to be replaced gave no state");
                return Ok(());
            }
        };
        let size = serde_json::to_vec(&state.state).map_or(0, |text| text.len());
        if size > terms.most_state {
            let text = format!(
                "the state of what serves has {size} bytes, more than plugins.most_state, {}: raise that, or set \
                 plugins.cold_start",
                terms.most_state
            );
            return Err((READ, CallError::new(Code::FAILED, text).into()));
        }
        new.import_state(state).await.map_err(|e| (READ, e.into_code_fault()))
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

    /// Puts the new source in charge; it is still to be activated. Answers the former, and how long none was in charge.
    async fn commit(&mut self, beside: Beside) -> (Option<Arc<Open>>, Duration) {
        let Beside { new, updates, paused } = beside;
        new.ingest.count_from_now(|| {});
        let old = self.shared.set(Standing::Standby(Arc::clone(&new)));
        if let Some(old) = &old {
            old.ingest.turn(Door::Superseded);
        }
        // A new generation may have fewer tables: those end here.
        let named = names(&updates);
        let offered = old.iter().flat_map(|old| old.ingest.offered());
        for table in self.service.tables().into_iter().chain(offered).filter(|t| !named.contains(t)) {
            self.service.end(&table);
        }
        self.offer_idle(&new);
        let number = Some(new.generation.number);
        let errors = self.apply(&new, updates, Some(None)).await;
        let pause = paused.elapsed();
        if new.record.revision == self.record.revision {
            self.behind = None;
        }
        // What keeps a changed record from being applied is not over.
        let behind = self.behind.is_some();
        self.shared.change(|status| {
            status.generation = number;
            status.polled(is_good(&named, &errors));
            if !behind || !errors.is_empty() {
                let (event, error) = after(&errors);
                status.on(event, error);
            }
        });
        // A poll that the old one was asked for is the new one's.
        if let Some(request) = old.as_ref().and_then(|old| old.ingest.take_wanted().request()) {
            new.ingest.want(&request);
        }
        self.plan();
        (old, pause)
    }

    /// Gives up what is open, if anything is: another is opened as soon as the catalog says who serves.
    async fn begin_anew(&mut self) {
        self.leave_trial();
        if let Some(old) = self.shared.set(Standing::Absent) {
            old.close().await;
        }
        self.due = None;
        self.schedule.worked();
        let driver = &self.record.spec.driver;
        let error = match self.catalog.serving(driver) {
            Some(_) => String::new(),
            // Nobody comes: what was there last stays, and says that it is old.
            None => self.catalog.why_not(driver),
        };
        for table in self.service.tables().into_iter().filter(|_| !error.is_empty()) {
            self.service.fail(&table, error.clone());
        }
        self.shared.change(|s| {
            s.on(Event::NoSource, error);
            s.generation = None;
        });
    }
}

/// Whether a first poll is good enough to take over: no table that was well has failed, and every table can be held.
pub(super) fn weigh(service: &Service, updates: &[Update]) -> Result<(), CallError> {
    for update in updates {
        let table = &update.table;
        match &update.change {
            Change::Failed(error) if error.code.as_deref() == Some(CONTRADICTION) => {
                return Err(CallError::broken(&format!("table {table:?}: {error}")));
            }
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
