//! A source of a new generation on probation: the former one waits, paused, to take over again.

use super::audit::Audit;
use super::beside::weigh;
use super::shared::Standing;
use super::{Event, FEW_ROWS, Open, Runner, SourceError, after, is_good, lazy, names, rows};
use crate::bus::{Address, Service, TableView};
use crate::datasource::ingest::Door;
use crate::plugin::{CallError, Ledger, Lenience, SwitchError};
use crate::table::Shape;
use arrow_schema::{DataType, Field, Fields};
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::Overlap;
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::table::{Batches, Change, Update};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// So long a source that failed has to close before the one that it had replaced goes on.
const RELEASE: Duration = Duration::from_secs(2);

/// What a runner says of its source's probation.
#[derive(Debug)]
pub(in crate::datasource) enum Said {
    /// It has given something good.
    Good(String),
    /// It failed.
    Fault(SwitchError),
    /// It is none of the reload's business any more: it was removed, or its record changed.
    Left(String),
}

/// What a reload gives a runner at the switch.
#[derive(Debug, Clone)]
pub(in crate::datasource) struct Probation {
    /// To whom it is said how it goes.
    pub(in crate::datasource) said: mpsc::UnboundedSender<Said>,
    /// Plain errors are none of the new code's.
    pub(in crate::datasource) accept_errors: Lenience,
}

/// What waits to be in charge again.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) former: Arc<Open>,
    /// Its tables that were well.
    pub(super) well: BTreeSet<String>,
    /// Its tables that are not polled, as they were: nobody could read them again.
    pub(super) written: Vec<Arc<TableView>>,
}

/// A probation.
#[derive(Debug)]
pub(super) struct Trial {
    name: String,
    former: Arc<Open>,
    well: BTreeSet<String>,
    written: Vec<Arc<TableView>>,
    /// Whether it was well before: only then does it say anything.
    votes: bool,
    probation: Probation,
    /// It failed: nothing more is asked of it.
    pub(super) failed: Option<SourceError>,
    audit: Option<Audit>,
}

impl Trial {
    pub(super) fn new(name: &str, waits: Waits, votes: bool, probation: Probation, audit: Option<Audit>) -> Self {
        let Waits { former, well, written } = waits;
        Self { name: name.to_owned(), former, well, written, votes, probation, failed: None, audit }
    }

    pub(super) fn good(&self) {
        let _ = self.probation.said.send(Said::Good(self.name.clone()));
    }

    /// Whether such an error ends it.
    fn minds(&self, error: &SourceError) -> bool {
        self.votes && (error.is_code_fault() || !self.probation.accept_errors.holds())
    }

    fn fail(&mut self, step: &'static str, error: &SourceError) {
        self.failed = Some(error.clone());
        let fault = SwitchError::of(&self.name, step, error, error.is_code_fault());
        let _ = self.probation.said.send(Said::Fault(fault));
    }

    /// Closes the books.
    fn balance(&mut self, service: &Service, in_charge: Option<&Arc<Open>>) -> Ledger {
        let (audit, in_charge) = (self.audit.take(), in_charge.unwrap_or(&self.former));
        audit.map(|audit| audit.close(service, &self.former.ingest, &in_charge.ingest)).unwrap_or_default()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Of one that is over nobody waits to hear.
        let _ = self.probation.said.send(Said::Left(self.name.clone()));
    }
}

impl Runner {
    /// Whether a source on probation failed, and nothing is to be done before it is said what with.
    pub(super) fn is_stuck(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.failed.is_some())
    }

    /// Takes a fault of a source on probation for the reload's to decide about; answers whether it is.
    pub(super) fn object(&mut self, step: &'static str, error: &SourceError) -> bool {
        let Some(trial) = self.trial.as_mut().filter(|trial| trial.minds(error)) else { return false };
        tracing::warn!(datasource = trial.name, step, %error, "the new generation's source failed on probation");
        trial.fail(step, error);
        self.due = None;
        true
    }

    /// A poll of all tables was applied, with these errors of some.
    pub(super) fn gave(&mut self, errors: &[(String, String)]) {
        // One that never was well is no worse than before.
        let well = |table: &String| self.trial.as_ref().is_some_and(|trial| trial.well.contains(table));
        if let Some((table, error)) = errors.iter().find(|(table, _)| well(table)) {
            let error = CallError::new(Code::FAILED, format!("table {table:?}: {error}"));
            if self.object("be polled", &error.into()) {
                return;
            }
        }
        if let Some(trial) = &self.trial {
            trial.good();
        }
    }

    /// What a source on probation answered to a poll. As an error if it may not be applied.
    pub(super) async fn fit(&mut self, updates: Vec<Update>) -> Result<Vec<Update>, Vec<Update>> {
        if self.trial.is_none() {
            return Ok(updates);
        }
        let (service, open) = (Arc::clone(&self.service), self.shared.open());
        let few = rows(&updates) <= FEW_ROWS;
        let look = move || {
            let unsaid = |table: &str| open.as_ref().is_some_and(|open| open.ingest.is_unsaid(Some(table)));
            (weigh(&service, &updates, false).and_then(|()| surprise(&service, &updates, unsaid)), updates)
        };
        let (fit, updates) = if few {
            look()
        } else {
            // Looking into millions of rows is no work for a thread that others wait for.
            match tokio::task::spawn_blocking(look).await {
                Ok(looked) => looked,
                Err(panic) => (Err(CallError::new(Code::FAILED, panic.to_string())), Vec::new()),
            }
        };
        match fit {
            Ok(()) => Ok(updates),
            Err(error) => match self.object("be polled", &error.into()) {
                true => Err(updates),
                false => Ok(updates),
            },
        }
    }

    /// The former source is needed no more.
    pub(super) fn retire(&mut self, drain: Duration) -> (Ledger, Option<SourceError>) {
        let Some(mut trial) = self.trial.take() else { return (Ledger::default(), None) };
        let ledger = trial.balance(&self.service, self.shared.open().as_ref());
        let former = Arc::clone(&trial.former);
        // Nobody waits for the old one's end, but who stops the host.
        self.leaving.see_off(&trial.former, async move { former.retire(drain).await });
        (ledger, trial.failed.take())
    }

    /// The tables that the source in charge does not poll, as they are.
    pub(super) fn written(&self) -> Vec<Arc<TableView>> {
        let Some(open) = self.shared.open() else { return Vec::new() };
        let declared = open.tables().into_iter().filter(|info| info.pushed).map(|info| info.name);
        let tables: BTreeSet<String> = declared.chain(open.ingest.offered()).collect();
        tables.iter().filter_map(|table| open.ingest.view(table)).collect()
    }

    /// Tables that only their publisher could give again are as they were, where the new source has left something else.
    fn give_back(&self, written: &[Arc<TableView>]) {
        for was in written {
            let table = was.address.table();
            let now =
                Address::new(self.service.name(), table).ok().and_then(|address| self.service.bus().table(&address));
            let fits = now.is_some_and(|now| now.epoch == was.epoch);
            if fits {
                continue;
            }
            let rows = Batches { schema: Arc::clone(&was.shape.schema), batches: was.rows.batches().collect() };
            if let Err(error) = self.service.snapshot(table, Shape::clone(&was.shape), &rows, 0) {
                tracing::warn!(datasource = self.service.name(), table, %error, "a table could not be put back as it was");
            }
        }
    }

    /// The probation is over since something else happened to the datasource.
    pub(super) fn leave_trial(&mut self) {
        let _ = self.retire(Duration::ZERO);
    }

    /// Closes a source that failed, before another has effects in its place. If only one can be open that is waited for until
    /// its own deadline, since it holds what the other needs; else for a moment, as nobody is in charge meanwhile.
    async fn let_go(&mut self, new: Arc<Open>, exclusive: bool) {
        let (open, (closes, closed)) = (Arc::clone(&new), oneshot::channel::<()>());
        self.leaving.see_off(&open, async move {
            new.close().await;
            drop(closes);
        });
        if exclusive {
            // At the end of all nobody goes on, and what is left is closed beside it.
            tokio::select! {
                _ = closed => {}
                () = self.shared.ended() => {}
            }
        } else if tokio::time::timeout(RELEASE, closed).await.is_err() {
            tracing::warn!(
                datasource = self.service.name(),
                generation = open.generation.number,
                "what failed does not close within {RELEASE:?}: it is left to that, and the former source goes on beside it"
            );
        }
    }

    /// Puts the former source back in charge, and reads it at once: what the new one published is corrected by that.
    pub(super) async fn revert(&mut self) -> Ledger {
        self.awaited = 0;
        let Some(mut trial) = self.trial.take() else {
            // It had no former source: one is opened now.
            if self.shared.open().is_none() {
                self.start().await;
            }
            return Ledger::default();
        };
        let former = Arc::clone(&trial.former);
        let new = self.shared.set(Standing::Standby(Arc::clone(&former)));
        if let Some(new) = new.as_ref() {
            new.ingest.turn(Door::Superseded);
        }
        let ledger = trial.balance(&self.service, new.as_ref());
        let hung = trial.failed.as_ref().is_some_and(SourceError::is_hung);
        let written = std::mem::take(&mut trial.written);
        if let Some(new) = new {
            let exclusive = [&former, &new].iter().any(|open| open.generation.info.overlap == Overlap::Exclusive);
            let wanted = new.ingest.take_wanted().request();
            if let Some(request) = wanted {
                former.ingest.want(&request);
            }
            if hung {
                new.leak();
            } else {
                self.let_go(new, exclusive).await;
            }
        }
        if self.shared.is_ended() {
            return ledger;
        }
        // Before it goes on: what it publishes then is newer.
        self.give_back(&written);
        if let Err(error) = former.resume().await {
            self.lose(&error).await;
            return ledger;
        }
        let number = Some(former.generation.number);
        self.shared.set(Standing::Active(Arc::clone(&former)));
        self.shared.change(|status| status.generation = number);
        self.plan();
        let everything = PollRequest { tables: None, snapshot: true };
        let everything = if former.has_lazy() { lazy::awake(&self.service, &former, everything) } else { everything };
        match former.poll(everything, self.record.spec.deadline).await {
            Ok(updates) => {
                let named = names(&updates);
                // Tables that only the new one had.
                let offered = former.ingest.offered();
                for table in self.service.tables().into_iter().filter(|t| !named.contains(t) && !offered.contains(t)) {
                    self.service.end(&table);
                }
                let errors = self.apply(&former, updates, Some(None)).await;
                self.shared.change(|status| {
                    status.polled(is_good(&named, &errors), true);
                    let (event, error) = after(&errors);
                    status.on(event, error);
                });
            }
            Err(error) if error.is_code_fault() => self.lose(&error).await,
            Err(error) => self.shared.change(|s| {
                s.unread = true;
                s.on(Event::Unwell, error.to_string());
            }),
        }
        ledger
    }
}

/// A source on probation that changes its mind about its columns has no schema that anybody could rely on. It may be the
/// data's doing, so it is no fault of the code.
fn surprise(service: &Service, updates: &[Update], unsaid: impl Fn(&str) -> bool) -> Result<(), CallError> {
    for update in updates {
        let Change::Snapshot(rows) = &update.change else { continue };
        // What is there is the former source's still.
        if unsaid(&update.table) {
            continue;
        }
        let Ok(address) = Address::new(service.name(), &update.table) else { continue };
        let Some(view) = service.bus().table(&address) else { continue };
        let Ok(shape) = Shape::of(update, rows) else { continue };
        let same = alike(view.shape.schema.fields(), shape.schema.fields()) && view.shape.key == shape.key;
        if view.publisher.instance == service.instance() && !same {
            let text = format!("table {:?} has other columns or another key than in its first poll", update.table);
            return Err(CallError::new(Code::FAILED, text));
        }
    }
    Ok(())
}

/// Whether columns have the same names and types; what else is said of them may differ from poll to poll.
fn alike(one: &Fields, other: &Fields) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_like(one, other))
}

fn is_like(one: &Field, other: &Field) -> bool {
    let types = match (one.data_type(), other.data_type()) {
        (DataType::List(one), DataType::List(other)) | (DataType::LargeList(one), DataType::LargeList(other)) => {
            is_like(one, other)
        }
        (DataType::FixedSizeList(one, n), DataType::FixedSizeList(other, m)) => n == m && is_like(one, other),
        (DataType::Map(one, n), DataType::Map(other, m)) => n == m && is_like(one, other),
        (DataType::Struct(one), DataType::Struct(other)) => alike(one, other),
        (one, other) => one == other,
    };
    types && one.name() == other.name() && one.is_nullable() == other.is_nullable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn columns_are_alike_by_name_type_and_whether_they_may_be_null() {
        let told = |field: Field| field.with_metadata(HashMap::from([("seen".to_owned(), "now".to_owned())]));
        let nested = |field: Field| Field::new("a", DataType::List(Arc::new(field)), false);
        let number = || Field::new("n", DataType::Int64, false);
        let of = |field: Field| Fields::from(vec![field]);
        assert!(alike(&of(number()), &of(told(number()))));
        assert!(alike(&of(nested(number())), &of(told(nested(told(number()))))), "at any depth");
        for other in [
            Field::new("m", DataType::Int64, false),
            Field::new("n", DataType::Int32, false),
            Field::new("n", DataType::Int64, true),
        ] {
            assert!(!alike(&of(number()), &of(other.clone())));
            assert!(!alike(&of(nested(number())), &of(nested(other))));
        }
        assert!(!alike(&of(number()), &Fields::empty()));
    }
}
