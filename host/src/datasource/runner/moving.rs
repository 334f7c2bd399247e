//! What a runner does in a reload before its source is switched, and when it is not: see [`tenants`](super::super::tenants)
//! for what all of a driver's do together.

use super::audit::Audit;
use super::beside::{Beside, Failed, Start, quiet};
use super::shared::Standing;
use super::switch::Taken;
use super::trial::{Trial, Waits};
use super::{Command, Event, Open, Phase, Probation, Runner, SourceError, Switched, Warmed, until};
use crate::plugin::{Generation, Ledger, SwitchError, Terms};
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::table::Update;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So long a poll that runs when its source is about to be replaced may still take. Then it is cancelled.
const GRACE: Duration = Duration::from_millis(250);

/// A reload that is under way. The source serves on, but nothing of it is changed otherwise.
#[derive(Debug)]
pub(super) struct Moving {
    /// None: there was no source, so there is nothing to switch.
    old: Option<Arc<Open>>,
    /// The number of the generation.
    to: u64,
    /// Whether the source was well.
    votes: bool,
    /// No further poll begins.
    pub(super) quiet: bool,
    audit: Option<Audit>,
}

impl Runner {
    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Prepare(to, terms, reply) => {
                self.resume().await;
                let _ = reply.send(self.prepare(&to, terms));
            }
            Command::Quiet(reply) => {
                if let Some(moving) = &mut self.moving {
                    moving.quiet = true;
                }
                let _ = reply.send(());
            }
            Command::Warm(start, beside, reply) => {
                let warmed = self.warm_all(&start, beside).await;
                // Whoever asked is gone: it goes before the old one is told to go on.
                if let Err(Ok(Warmed { beside: Some(beside), .. })) = reply.send(warmed) {
                    beside.dismiss().await;
                }
            }
            Command::Commit(beside, probation, reply) => {
                let switched = self.switch(beside.map(|beside| *beside), probation).await;
                let _ = reply.send(switched);
            }
            Command::Abort(reply) => {
                let _ = reply.send(self.abort().await);
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

    /// Polls the source that is in charge. What a reload asks meanwhile is answered, unless it has to wait until the poll is
    /// over; one that would hold a reload up is cancelled. `None`: nobody waits for what it gives.
    pub(super) async fn polled(
        &mut self,
        open: &Arc<Open>,
        request: PollRequest,
    ) -> Option<Result<Vec<Update>, SourceError>> {
        let mut poll = std::pin::pin!(open.poll(request, self.record.spec.deadline));
        // One that is about to be in charge is not alone with that: its opening is not over.
        let listens = self.shared.is_active();
        let (mut limit, mut cut) = (None, false);
        let polled = loop {
            tokio::select! {
                biased;
                polled = &mut poll => break polled,
                () = until(limit) => {
                    (limit, cut) = (None, true);
                    open.cancel_poll();
                }
                command = self.commands.recv(), if listens => match command {
                    Some(Command::Prepare(to, terms, reply)) if self.moving.is_none() => {
                        let _ = reply.send(self.prepare(&to, terms));
                    }
                    Some(Command::Retire(drain, reply)) if !self.is_stuck() => {
                        let _ = reply.send(self.retire(drain).0);
                    }
                    Some(Command::Abort(reply)) if self.trial.is_none() => {
                        (self.moving, limit) = (None, None);
                        self.waiting.retain(|command| !matches!(command, Command::Quiet(_)));
                        let _ = reply.send(Ledger::default());
                    }
                    Some(command @ Command::Quiet(_)) => {
                        limit = Some(Instant::now() + GRACE);
                        self.waiting.push_back(command);
                    }
                    // Whatever it gives would be of a source that is not in charge any more.
                    Some(command @ (Command::Commit(..) | Command::Revert(_) | Command::Abort(_))) => {
                        self.waiting.push_back(command);
                        return None;
                    }
                    Some(command) => self.waiting.push_back(command),
                    None => {
                        self.waiting.push_back(Command::Stop(Event::Stopped));
                        break poll.await;
                    }
                },
            }
        };
        match polled {
            // It was told to end, and that is no fault of its own.
            Err(error) if cut && !error.is_code_fault() => None,
            polled => Some(polled),
        }
    }

    /// A reload begins. Answers what it takes to put a source of that generation in the place of the one that is open;
    /// `None`: there is none, and one is opened anew if the reload works.
    pub(super) fn prepare(&mut self, to: &Arc<Generation>, terms: Terms) -> Option<Start> {
        // Whoever begins another reload knows that the one before is over.
        self.leave_trial();
        let old = self.shared.open();
        // While a changed record can't be applied the former is in force, over a reload too.
        let behind = self.behind.is_some();
        let votes = behind || self.shared.status().phase == Phase::Running;
        // One that goes on for a while in mid-reload is still in its books.
        let before = self.moving.take().filter(|moving| moving.to == to.number);
        let before = before.filter(|m| matches!((&m.old, &old), (Some(was), Some(old)) if Arc::ptr_eq(was, old)));
        let audit = before.and_then(|moving| moving.audit).or_else(|| {
            let old = old.as_ref()?;
            let lazy: BTreeSet<String> = old.tables().into_iter().filter(|t| t.lazy).map(|t| t.name).collect();
            Some(Audit::open(&self.service, &old.ingest, |table| lazy.contains(table)))
        });
        self.moving = Some(Box::new(Moving { old: old.clone(), to: to.number, votes, quiet: false, audit }));
        let old = old?;
        Some(Start {
            service: Arc::clone(&self.service),
            shared: Arc::clone(&self.shared),
            record: Arc::clone(if behind { &old.record } else { &self.record }),
            old,
            to: Arc::clone(to),
            terms: Some(terms),
            deadline: self.record.spec.deadline,
            votes,
            hold: None,
        })
    }

    /// Whether a source is still the one that is open.
    fn is_open(&self, old: &Arc<Open>) -> bool {
        self.shared.open().is_some_and(|open| Arc::ptr_eq(&open, old))
    }

    async fn warm_all(&mut self, start: &Start, beside: Option<Box<Beside>>) -> Result<Warmed, SwitchError> {
        // It failed by itself meanwhile: one is opened anew, if the reload works.
        if !self.is_open(&start.old) {
            return Ok(Warmed::default());
        }
        match self.warm(start, beside.map(|beside| *beside)).await {
            Ok(beside) => Ok(Warmed { cold: beside.cold.clone(), beside: Some(Box::new(beside)) }),
            Err(failed) => Ok(Warmed { cold: start.judge(failed)?, beside: None }),
        }
    }

    /// Pauses the old source, and makes the new one ready to take over. When that does not work the old one goes on.
    pub(super) async fn warm(&mut self, start: &Start, beside: Option<Beside>) -> Result<Beside, Failed> {
        let paused = Instant::now();
        quiet(&start.service, &start.shared, &start.old).await;
        let warmed = start.warm(beside, paused, &mut self.leaving).await;
        if warmed.is_err() {
            self.resume().await;
        }
        warmed
    }

    /// Switches to what was prepared, pausing the former source unless it is. That one waits.
    async fn switch(&mut self, beside: Option<Beside>, probation: Probation) -> Option<Switched> {
        let Moving { old, to, votes, audit, .. } = *self.moving.take()?;
        let there = old.filter(|old| self.is_open(old));
        let (Some(beside), Some(_)) = (beside, there) else {
            // The catalog does not say so yet.
            self.awaited = to;
            self.begin_anew().await;
            return None;
        };
        let well = self.service.tables().into_iter().filter(|table| self.service.is_well(table)).collect();
        let Taken { new, former, written, pause } = self.commit(beside).await?;
        let waits = Waits { former: former?, well, written };
        self.trial = Some(Box::new(Trial::new(self.service.name(), waits, votes, probation, audit)));
        self.activate(new).await;
        Some(Switched { pause, votes })
    }

    /// Goes on with what was there before the reload, however far that has come.
    async fn abort(&mut self) -> Ledger {
        self.moving = None;
        if self.trial.is_some() {
            return self.revert().await;
        }
        self.resume().await;
        // One that was to be opened anew, when the catalog says so, is opened of what serves.
        if std::mem::take(&mut self.awaited) > 0 && self.shared.open().is_none() {
            self.start().await;
        }
        Ledger::default()
    }

    /// The old one serves on, if it was paused.
    async fn resume(&mut self) {
        let Standing::Standby(old) = self.shared.standing().borrow().clone() else { return };
        match old.resume().await {
            Ok(()) => drop(self.shared.set(Standing::Active(old))),
            Err(error) => self.lose(&error).await,
        }
    }
}
