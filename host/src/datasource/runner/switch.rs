//! How a datasource gets another source: of the next generation, or by a changed record.

use super::beside::{Beside, Failed, Start, quiet};
use super::shared::Standing;
use super::{Event, Open, Runner, after, is_good, lazy, names};
use crate::bus::TableView;
use crate::datasource::ingest::Door;
use crate::datasource::record::Record;
use crate::plugin::Generation;
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::table::Change;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So long calls have to end that run in a source whose datasource was changed.
const DRAIN: Duration = Duration::from_secs(10);

/// A source that is in charge now.
pub(super) struct Taken {
    pub(super) new: Arc<Open>,
    pub(super) former: Option<Arc<Open>>,
    /// The tables that are not polled, as they were.
    pub(super) written: Vec<Arc<TableView>>,
    /// How long none was in charge.
    pub(super) pause: Duration,
}

impl Runner {
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
        if moves && !hands && old.generation.info.state.is_some() {
            let why = "what it replaces failed, and is not trusted";
            tracing::warn!(
                datasource = self.service.name(),
                why,
                "the new source begins without the state of what it replaces"
            );
        }
        let start = Start {
            service: Arc::clone(&self.service),
            shared: Arc::clone(&self.shared),
            old,
            record: Arc::clone(&self.record),
            to: generation,
            terms: hands.then(|| self.catalog.terms()),
            deadline: self.record.spec.deadline,
            votes: true,
            hold: None,
        };
        match self.beside(&start).await {
            Ok(beside) => {
                drop(start);
                self.behind = None;
                self.changing.worked();
                let Some(Taken { new, former, .. }) = self.commit(beside).await else { return };
                // These books nobody reads.
                let ((), _) = new.ingest.counted(|| ());
                if new.ingest.is_unsaid(None) {
                    new.ingest.want(&PollRequest::default());
                }
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

    /// What it takes to do that.
    async fn beside(&mut self, start: &Start) -> Result<Beside, Failed> {
        match start.pauses_first() {
            true if start.is_exclusive() => self.warm(start, None).await,
            true => {
                let beside = start.ready().await?;
                self.warm(start, Some(beside)).await
            }
            false => start.ready().await,
        }
    }

    /// Puts the new source in charge, pausing the old one unless it is; it is still to be activated.
    pub(super) async fn commit(&mut self, beside: Beside) -> Option<Taken> {
        let paused = match beside.paused {
            Some(paused) => paused,
            None => {
                let now = Instant::now();
                if let Some(old) = self.shared.open() {
                    quiet(&self.service, &self.shared, &old).await;
                }
                now
            }
        };
        let written = self.written();
        let (new, updates, mut passed) = beside.take(&self.service)?;
        let old = self.shared.set(Standing::Standby(Arc::clone(&new)));
        if let Some(old) = &old {
            old.ingest.turn(Door::Superseded);
        }
        let mut named = names(&updates);
        // One that somebody came for after the new source was polled is the old one's until the next poll.
        let lazy = new.tables().into_iter().filter(|t| t.lazy && !named.contains(&t.name) && self.service.has(&t.name));
        let (late, idle): (BTreeSet<String>, BTreeSet<String>) =
            lazy.map(|t| t.name).partition(|table| self.service.is_wanted(table));
        passed.retain(|table, _| !idle.contains(table));
        passed.extend(late.into_iter().map(|table| (table, true)));
        named.extend(passed.keys().cloned());
        // A new generation may have fewer tables: those end here.
        let offered = old.iter().flat_map(|old| old.ingest.offered());
        for table in self.service.tables().into_iter().chain(offered).filter(|t| !named.contains(t)) {
            self.service.end(&table);
        }
        lazy::offer_idle(&self.service, &new);
        let number = Some(new.generation.number);
        // Of what it could not give what is there is the old one's still.
        let failed = updates.iter().filter(|update| matches!(update.change, Change::Failed(_)));
        let failed: Vec<String> = failed.map(|u| u.table.clone()).filter(|table| self.service.has(table)).collect();
        passed.extend(failed.into_iter().map(|table| (table, true)));
        // All that it said nothing of has ended.
        let errors = self.apply(&new, updates, None).await;
        let pause = paused.elapsed();
        new.ingest.expect_whole(passed);
        if new.record.revision == self.record.revision {
            self.behind = None;
        }
        // What keeps a changed record from being applied is not over.
        let behind = self.behind.is_some();
        self.shared.change(|status| {
            status.generation = number;
            status.polled(is_good(&named, &errors), true);
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
        Some(Taken { new, former: old, written, pause })
    }

    /// Gives up what is open, if anything is: another is opened as soon as the catalog says who serves.
    pub(super) async fn begin_anew(&mut self) {
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
