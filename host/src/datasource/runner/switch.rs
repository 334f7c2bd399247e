//! How a datasource gets another source: of the next generation, or by a changed record.

use super::shared::Standing;
use super::{Command, Event, Open, Phase, Runner, SourceError, after, is_good, names};
use crate::bus::Service;
use crate::datasource::ingest::Door;
use crate::datasource::record::Record;
use crate::plugin::{CallError, Generation, SwitchError};
use crate::table::Shape;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::Overlap;
use busway_plugin_api::message::{ErrorBody, PollRequest};
use busway_plugin_api::table::{Change, Update};
use std::sync::Arc;
use tokio::time::Instant;

/// A source that waits for `Commit`, with its first poll's rows.
pub(super) type Prepared = Option<(Arc<Open>, Vec<Update>)>;

/// At which step a source could not take over, and why.
type Failed = (&'static str, SourceError);

impl Runner {
    pub(super) async fn obey(&mut self, command: Command) {
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
            Command::Stop(_) => {}
        }
    }

    /// Opens the new source beside the old, pauses the old, hands its state over, polls the new.
    ///
    /// Plain errors of a source that was not well before are no news, so they are no veto: it will be opened anew.
    async fn prepare(&mut self, to: Arc<Generation>) -> Result<Prepared, SwitchError> {
        let Some(old) = self.shared.open() else { return Ok(None) };
        // While a changed record can't be applied the former is in force, over a reload too.
        let behind = self.behind.is_some();
        let well = behind || self.shared.status().phase == Phase::Running;
        let record = Arc::clone(if behind { &old.record } else { &self.record });
        match self.beside(&old, to, record, true).await {
            Ok(prepared) => Ok(Some(prepared)),
            Err((_, error)) if !well && !error.is_code_fault() => Ok(None),
            // It was cancelled, and has no say any more.
            Err(_) if self.shared.is_ended() => Ok(None),
            Err((step, error)) => {
                let datasource = self.service.name().to_owned();
                Err(SwitchError { datasource, step, error: error.to_string(), code_fault: error.is_code_fault() })
            }
        }
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
    /// being switched.
    pub(super) async fn keep_up(&mut self) {
        if self.shared.open().is_some_and(|open| self.newer(&open).is_some()) {
            self.catch_up().await;
        }
    }

    /// The generation that serves, if a later one than the source is of.
    fn newer(&self, open: &Open) -> Option<Arc<Generation>> {
        self.catalog.serving(&self.record.spec.driver).filter(|serving| serving.number > open.generation.number)
    }

    /// Puts a source that follows the record, of the generation that serves, in place of the one that is open. When it can't
    /// be, the old one serves on, and it is tried again after a while.
    pub(super) async fn catch_up(&mut self) {
        let Some(old) = self.shared.open() else { return };
        let newer = self.newer(&old);
        let moves = newer.is_some();
        let generation = newer.unwrap_or_else(|| Arc::clone(&old.generation));
        match self.beside(&old, generation, Arc::clone(&self.record), moves).await {
            Ok(prepared) => {
                self.behind = None;
                self.changing.worked();
                self.prepared = Some(Some(prepared));
                self.commit().await;
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
        state: bool,
    ) -> Result<(Arc<Open>, Vec<Update>), Failed> {
        let exclusive = [&old.generation, &to].iter().any(|g| g.info.overlap == Overlap::Exclusive);
        if exclusive {
            self.quiet(old).await;
        }
        match Open::new(&record, &self.service, to, &self.shared).await {
            Ok(new) => {
                let new = Arc::new(new);
                if !exclusive {
                    self.quiet(old).await;
                }
                match self.warm(old, &new, state).await {
                    Ok(updates) => Ok((new, updates)),
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

    async fn warm(&self, old: &Open, new: &Open, state: bool) -> Result<Vec<Update>, Failed> {
        if state && old.generation.info.state.is_some() && new.generation.info.state.is_some() {
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
        let everything = if new.has_lazy() { self.awake(new, everything) } else { everything };
        let updates = new.poll(everything, self.record.spec.deadline).await.map_err(|e| ("be polled", e))?;
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
                let named = names(&updates);
                let offered = old.iter().flat_map(|old| old.ingest.offered());
                for table in self.service.tables().into_iter().chain(offered).filter(|t| !named.contains(t)) {
                    self.service.end(&table);
                }
                self.offer_idle(&new);
                let number = Some(new.generation.number);
                let errors = self.apply(&new, updates, Some(None)).await;
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
                self.schedule.worked();
                self.shared.change(|s| {
                    s.on(Event::NoSource, "");
                    s.generation = None;
                });
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
