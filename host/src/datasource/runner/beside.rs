//! A source that is opened beside the one in charge, until it takes over or is let go.

use super::leaving::Leaving;
use super::shared::{Shared, Standing};
use super::{Open, SourceError, lazy, names};
use crate::bus::{Address, Service};
use crate::datasource::record::Record;
use crate::plugin::{CallError, Generation, PoolError, SwitchError, Terms};
use crate::table::Shape;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::Overlap;
use busway_plugin_api::message::{ErrorBody, PollRequest};
use busway_plugin_api::table::{CONTRADICTION, Change, Update};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// At which step a source could not take over, and why.
pub(in crate::datasource) type Failed = (&'static str, Box<SourceError>);

fn failed(step: &'static str, error: impl Into<SourceError>) -> Failed {
    (step, Box::new(error.into()))
}

/// Where tables stand: their epochs and numbers.
type Positions = BTreeMap<String, (u64, u64)>;

/// Tables of which a new source's first poll is not the last word, and whether they were in it.
pub(in crate::datasource) type Passed = BTreeMap<String, bool>;

/// The host's end waits until the last of these is gone.
pub(in crate::datasource) type Hold = Arc<tokio::sync::OwnedRwLockReadGuard<()>>;

/// What it takes to put another source in the place of one.
#[derive(Debug, Clone)]
pub(in crate::datasource) struct Start {
    pub(super) service: Arc<Service>,
    pub(in crate::datasource) shared: Arc<Shared>,
    pub(super) old: Arc<Open>,
    /// The new one's.
    pub(super) record: Arc<Record>,
    pub(super) to: Arc<Generation>,
    /// None: there is no state to hand over, as both are of one generation, or what the old one knows is of no use.
    pub(super) terms: Option<Terms>,
    /// How long a poll may take.
    pub(super) deadline: Duration,
    /// Whether the old one is well: only then do plain errors of the new one count.
    pub(in crate::datasource) votes: bool,
    /// For as long as the new one is nobody's. None: its runner waits for it.
    pub(in crate::datasource) hold: Option<Hold>,
}

/// A source that is not in charge yet. One that nobody takes is closed.
#[derive(Debug)]
pub(super) struct Fresh(Option<Arc<Open>>, Option<Hold>);

impl Fresh {
    fn take(mut self) -> Option<Arc<Open>> {
        self.0.take()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        if let (Some(open), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            let hold = self.1.take();
            runtime.spawn(async move {
                open.close().await;
                drop(hold);
            });
        }
    }
}

/// A source in standby.
#[derive(Debug)]
pub(in crate::datasource) struct Beside {
    new: Fresh,
    /// What its first poll gave, if there was one already.
    pub(super) updates: Vec<Update>,
    /// Where the tables stood when that began, if the old source was in charge then.
    at: Option<Positions>,
    /// Since when no source is in charge.
    pub(super) paused: Option<Instant>,
    /// Why it begins without the state of what it replaces.
    pub(in crate::datasource) cold: Option<String>,
}

impl Beside {
    fn source(&self) -> Option<&Arc<Open>> {
        self.new.0.as_ref()
    }

    /// Takes it for good, while nobody writes the tables. Its rows of tables that the old source has gone on with since are
    /// passed over: of these the names; of those that the old source has begun since, too. With each, whether this one gave it.
    pub(super) fn take(mut self, service: &Service) -> Option<(Arc<Open>, Vec<Update>, Passed)> {
        let new = self.new.take()?;
        let Some(at) = self.at.take() else { return Some((new, self.updates, Passed::new())) };
        let now = positions(service);
        let given = names(&self.updates);
        let begun = now.keys().filter(|table| !at.contains_key(*table) && !given.contains(*table));
        let begun: Passed = begun.map(|table| (table.clone(), false)).collect();
        let mut passed = Vec::new();
        for update in &mut self.updates {
            let moved = now.contains_key(&update.table) && at.get(&update.table) != now.get(&update.table);
            if moved && matches!(update.change, Change::Snapshot(_)) {
                // What the old one gave after this was read is newer; the next poll gives all of it.
                let change = std::mem::replace(&mut update.change, Change::Unchanged);
                passed.push(Update::bare(update.table.clone(), change));
            }
        }
        new.ingest.pass_over(&passed);
        let passed = passed.into_iter().map(|update| (update.table, true)).chain(begun).collect();
        Some((new, self.updates, passed))
    }

    /// It does not take over.
    pub(in crate::datasource) async fn dismiss(self) {
        if let Some(new) = self.new.take() {
            new.close().await;
        }
    }

    /// It does not take over, as it failed.
    async fn fail(self, error: &SourceError) {
        match self.new.take() {
            Some(new) if error.is_hung() => new.leak(),
            Some(new) => new.close().await,
            None => {}
        }
    }
}

/// Of the state that is handed over.
enum State {
    /// There is none, or none is wanted.
    None,
    /// The new source reads the version that the old one writes.
    Read(u32),
    /// It begins without, which is allowed.
    Cold(String),
}

/// What is said of a new source that can't go on where the old one was.
const READ: &str = "read the state of what it replaces";

impl Start {
    pub(in crate::datasource) fn name(&self) -> &str {
        self.service.name()
    }

    /// Whether the datasource ends.
    pub(in crate::datasource) fn is_ended(&self) -> bool {
        self.shared.is_ended()
    }

    /// Whether plain errors are accepted, as somebody may say at any time.
    fn is_lenient(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.accept_errors.holds())
    }

    /// Whether only one can be open.
    pub(in crate::datasource) fn is_exclusive(&self) -> bool {
        [&self.old.generation, &self.to].iter().any(|g| g.info.overlap == Overlap::Exclusive)
    }

    /// Whether the old source has to be paused before the new one can be polled.
    pub(in crate::datasource) fn pauses_first(&self) -> bool {
        self.is_exclusive() || matches!(self.state(), Ok(State::Read(_)))
    }

    /// The new one can't take over. An error if that is a reason to have none of the driver's sources move; else it is opened
    /// anew later, and if it has to begin without the old one's state then: why.
    pub(in crate::datasource) fn judge(&self, (step, error): Failed) -> Result<Option<String>, SwitchError> {
        let lenient = !self.votes || self.is_lenient();
        // One that was cancelled has no say any more.
        if self.shared.is_ended() {
            return Ok(None);
        }
        if error.is_code_fault() || !lenient {
            return Err(SwitchError::of(self.name(), step, &*error, error.is_code_fault()));
        }
        let leaves = self.old.generation.info.state.is_some();
        Ok(leaves.then(|| {
            self.begins_cold(&error.to_string());
            error.to_string()
        }))
    }

    /// Whether what both sides declare of state fits; said before anything is asked.
    pub(in crate::datasource) fn agrees(&self) -> Result<(), Failed> {
        self.state().map(|_| ())
    }

    fn state(&self) -> Result<State, Failed> {
        let (Some(terms), Some(writes)) = (&self.terms, &self.old.generation.info.state) else {
            return Ok(State::None);
        };
        let writes = writes.version;
        let reads = self.to.info.state.as_ref().map(|state| state.reads.as_slice());
        if reads.is_some_and(|reads| reads.contains(&writes)) {
            return Ok(State::Read(writes));
        }
        let reads: Option<Vec<String>> = reads.map(|reads| reads.iter().map(ToString::to_string).collect());
        let why = match reads.filter(|reads| !reads.is_empty()) {
            Some(reads) => format!(
                "what serves writes version {writes}, and the new build reads {}: let it read that one too, or set \
                 plugins.cold_start",
                reads.join(", ")
            ),
            None => format!(
                "what serves writes version {writes}, and the new build reads none: let it read that one, or set \
                 plugins.cold_start"
            ),
        };
        match terms.cold_start {
            true => Ok(State::Cold(why)),
            false => Err(failed(READ, CallError::new(Code::FAILED, why).into_code_fault())),
        }
    }

    /// Opens the new source, while the old one serves on unless only one can be open; polls it, if it is to have no state
    /// of the old one's.
    pub(in crate::datasource) async fn ready(&self) -> Result<Beside, Failed> {
        let state = self.state()?;
        let open = patiently(|| Open::new(&self.record, &self.service, Arc::clone(&self.to), &self.shared)).await;
        let new = Arc::new(open.map_err(|error| failed("open", error))?);
        let mut beside = Beside {
            new: Fresh(Some(Arc::clone(&new)), self.hold.clone()),
            updates: Vec::new(),
            at: None,
            paused: None,
            cold: None,
        };
        match state {
            State::Read(_) => return Ok(beside),
            State::None => {}
            State::Cold(why) => {
                self.begins_cold(&why);
                beside.cold = Some(why);
            }
        }
        if self.is_exclusive() {
            return Ok(beside);
        }
        new.ingest.count_from_now(|| ());
        beside.at = Some(positions(&self.service));
        match self.first(&new).await {
            Ok(updates) => Ok(Beside { updates, ..beside }),
            Err((step, error)) => {
                drop(new);
                beside.fail(&error).await;
                Err((step, error))
            }
        }
    }

    /// Hands the state of the old source, which is paused, over to the new one, and polls that; opens it before, if only one
    /// can be open.
    /// One that fails then is among those that are `leaving`, if the old one can go on without its end.
    pub(super) async fn warm(
        &self,
        beside: Option<Beside>,
        paused: Instant,
        leaving: &mut Leaving,
    ) -> Result<Beside, Failed> {
        let mut beside = match beside {
            Some(beside) => beside,
            None => self.ready().await?,
        };
        beside.paused = Some(paused);
        let Some(new) = beside.source().cloned() else { return Ok(beside) };
        new.ingest.count_from_now(|| ());
        let warmed = async {
            let cold = match self.state()? {
                State::Read(version) => self.hand_over(version, &new).await?,
                State::None | State::Cold(_) => None,
            };
            Ok((cold, self.first(&new).await?))
        };
        match warmed.await {
            Ok((cold, updates)) => {
                beside.updates = updates;
                beside.cold = beside.cold.or(cold);
                Ok(beside)
            }
            Err((step, error)) => {
                if self.is_exclusive() {
                    drop(new);
                    beside.fail(&error).await;
                } else {
                    let why = error.clone();
                    leaving.see_off(&new, async move { beside.fail(&why).await });
                }
                Err((step, error))
            }
        }
    }

    /// What the old source knows becomes the new one's. Answers why not, if it begins without.
    async fn hand_over(&self, version: u32, new: &Open) -> Result<Option<String>, Failed> {
        let terms = self.terms.clone().unwrap_or_default();
        let cold = |error: SourceError| match terms.cold_start {
            true => {
                self.begins_cold(&error.to_string());
                Ok(Some(error.to_string()))
            }
            false => Err(failed(READ, error)),
        };
        // Whatever is wrong with what the old source gives is not the new one's fault.
        let of_old = |what: String| cold(CallError::new(Code::FAILED, what).into());
        let state = match patiently(|| self.old.export_state()).await {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::warn!(datasource = self.service.name(), %error, "what is to be replaced gave no state");
                return of_old(format!(
                    "what serves could not hand it over: {error}: reload again, or set plugins.cold_start"
                ));
            }
        };
        if state.version != version {
            return of_old(format!(
                "what serves says that it writes version {version}, and gave version {}: set plugins.cold_start",
                state.version
            ));
        }
        let size = serde_json::to_vec(&state.state).map_or(0, |text| text.len());
        if size > terms.most_state {
            return of_old(format!(
                "the state of what serves has {size} bytes, more than plugins.most_state, {}: raise that, or set \
                 plugins.cold_start",
                terms.most_state
            ));
        }
        match patiently(|| new.import_state(state.clone())).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_hung() => Err(failed(READ, error.into_code_fault())),
            Err(error) => cold(error.into_code_fault()),
        }
    }

    fn begins_cold(&self, error: &str) {
        tracing::warn!(
            datasource = self.service.name(),
            error,
            "the new source begins without the state of what it replaces"
        );
    }

    /// The new source's first poll.
    async fn first(&self, new: &Open) -> Result<Vec<Update>, Failed> {
        let everything = PollRequest { tables: None, snapshot: true };
        let everything = if new.has_lazy() { lazy::awake(&self.service, new, everything) } else { everything };
        let lenient = || self.is_lenient();
        let updates = match patiently(|| new.poll(everything.clone(), self.deadline)).await {
            // Its tables stay as they are, and say why.
            Err(error) if lenient() && !error.is_code_fault() => {
                let failed = Change::Failed(ErrorBody::new(error.to_string()));
                let tables = self.service.tables().into_iter();
                tables.map(|table| Update::bare(table, failed.clone())).collect()
            }
            polled => polled.map_err(|e| failed("be polled", e))?,
        };
        let weighed = tokio::task::spawn_blocking({
            let service = Arc::clone(&self.service);
            move || (weigh(&service, &updates, true), updates)
        });
        match weighed.await {
            Ok((Err(error), _)) if !lenient() || error.is_code_fault() => Err(failed("be polled", error)),
            Ok((_, updates)) => Ok(updates),
            Err(panic) => Err(failed("be polled", CallError::new(Code::FAILED, panic.to_string()))),
        }
    }
}

/// Pauses the old source. One that can't be paused is shut out all the same: its faults are no fault of the new.
pub(super) async fn quiet(service: &Service, shared: &Shared, old: &Arc<Open>) {
    shared.set(Standing::Standby(Arc::clone(old)));
    if let Err(error) = old.pause().await {
        tracing::warn!(datasource = service.name(), %error, "what is to be replaced did not pause well");
    }
}

/// Calls until there was a thread for it: that many want one is nobody's fault.
async fn patiently<T, F: Future<Output = Result<T, SourceError>>>(
    mut call: impl FnMut() -> F,
) -> Result<T, SourceError> {
    loop {
        match call().await {
            Err(SourceError::Pool(PoolError::Busy)) => {}
            done => return done,
        }
    }
}

fn positions(service: &Service) -> Positions {
    let at = |table: String| {
        let view = service.bus().table(&Address::new(service.name(), &table).ok()?)?;
        Some((table, (view.epoch.0, view.to)))
    };
    service.tables().into_iter().filter_map(at).collect()
}

/// Whether a poll is good enough to take over: no table that was well has failed, and every table can be held. In its `first`
/// poll a source has given nothing that could be unchanged, whatever state it was handed: it was asked for all rows.
pub(super) fn weigh(service: &Service, updates: &[Update], first: bool) -> Result<(), CallError> {
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
            Change::Unchanged if first || !service.has(table) => {
                return Err(CallError::broken(&format!(
                    "table {table:?} is \"unchanged\", though its rows were never given"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}
