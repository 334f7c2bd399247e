//! All sources of a driver on their way to its next generation: none of them is paused for what another does.
//!
//! 1. Each new source is opened, and polled for the first time, a few at once, while the old ones serve on as ever.
//! 2. When that is good of all, no further poll of an old one begins, and those that run end, or are cancelled.
//! 3. A few at once, each old source is paused and the new one put in its place.
//!
//! Where state is handed over, the first poll comes after that, so after the pause; and where only one source can be open,
//! opening does too. There a step comes in between: each is paused and made ready, a few at once, and waits for the others,
//! since all move or none. That pause is as long as it takes for all of them; but where one takes far longer than the
//! others, those go back to their old sources meanwhile, and are made ready once more when it is.

use super::entry::Entry;
use super::runner::{Beside, Command, Hold, Probation, Start, Switched, Warmed};
use crate::plugin::{Generation, SwitchError, THREADS, Terms};
use futures_util::future::{FutureExt as _, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// So long polls are waited for that do not heed their cancellation, where nothing of theirs is handed over.
const DEAF: Duration = Duration::from_secs(2);
/// Those that are ready wait at least so long, paused, for one that is not, before they go back to their old sources...
const LINGER: Duration = Duration::from_millis(500);
/// ...and so many times as long as it took to make one of them ready: it is done once more then, and all wait for that.
const WORTH: u32 = 2;
/// So many begin without their state are named.
const NAMED: usize = 3;

/// A datasource on its way.
struct Member {
    entry: Arc<Entry>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None: it has no source that could be replaced.
    start: Option<Box<Start>>,
    /// Its new source, if it can take over.
    beside: Option<Box<Beside>>,
    /// Why it begins without the state of what it replaces.
    cold: Option<String>,
}

impl Member {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Option<Box<Start>> {
        self.state().start.clone()
    }
}

/// All datasources of a driver.
pub(super) struct Fleet {
    members: Vec<Member>,
    /// As many at once as the driver has threads: more would wait in line there, and take the time of those that serve.
    few: Semaphore,
    /// What keeps them all from moving.
    failed: Mutex<Option<SwitchError>>,
    /// The host's end waits for what has this.
    hold: Hold,
}

/// The host's own fault says nothing of the code.
pub(super) fn panicked() -> SwitchError {
    let error = "the host panicked moving its sources: its log says where".to_owned();
    SwitchError { datasource: None, step: "move", error, code_fault: false }
}

impl Fleet {
    pub(super) fn of(entries: Vec<Arc<Entry>>, hold: Hold) -> Self {
        let member = |entry| Member { entry, state: Mutex::default() };
        Self {
            members: entries.into_iter().map(member).collect(),
            few: Semaphore::new(THREADS),
            failed: Mutex::default(),
            hold,
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<SwitchError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of several the code's own fault is told: it decides whether the build is tried again.
    fn fails(&self, error: SwitchError) {
        let mut failed = self.failed();
        if failed.as_ref().is_none_or(|failed| error.code_fault && !failed.code_fault) {
            *failed = Some(error);
        }
    }

    /// Whether there is no more to learn.
    fn is_decided(&self) -> bool {
        self.failed().as_ref().is_some_and(|failed| failed.code_fault || failed.datasource.is_none())
    }

    /// Nobody waits for what comes of it: nothing more is begun, and all are left as they were.
    pub(super) fn abandon(&self) {
        let error = "nobody waits for it any more".to_owned();
        self.fails(SwitchError { datasource: None, step: "move", error, code_fault: false });
    }

    /// A panic of the host about one of them keeps all from moving; what is under way for the others comes to its end.
    async fn kept<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let done = AssertUnwindSafe(work).catch_unwind().await.ok();
        if done.is_none() {
            self.fails(panicked());
        }
        done
    }

    /// Makes all of them ready to be switched. When that does not work they are to be brought [`back`](Self::back).
    pub(super) async fn make_ready(&self, to: &Arc<Generation>, terms: &Terms) -> Result<(), SwitchError> {
        join_all(self.members.iter().map(|member| self.kept(self.open(member, to, terms)))).await;
        if self.failed().is_none() {
            faults::at("quiet");
            self.quiet(&self.members.iter().collect::<Vec<_>>()).await;
            self.warm_all(to, terms).await;
        }
        faults::at("ready");
        self.verdict()
    }

    fn verdict(&self) -> Result<(), SwitchError> {
        self.failed().clone().map_or(Ok(()), Err)
    }

    /// Leaves all as they were, however far each has come.
    pub(super) async fn back(&self) {
        join_all(self.members.iter().map(async |member| {
            let beside = member.state().beside.take();
            let dismiss = async {
                if let Some(beside) = beside {
                    beside.dismiss().await;
                }
            };
            // The old one may need what this one holds. If both can be open, it does not wait for the end of what failed.
            if member.start().is_some_and(|start| start.is_exclusive()) {
                dismiss.await;
                member.entry.ask(Command::Abort).await;
            } else {
                member.entry.ask(Command::Abort).await;
                dismiss.await;
            }
        }))
        .await;
    }

    /// Opens the new source beside the old one, which serves on.
    async fn open(&self, member: &Member, to: &Arc<Generation>, terms: &Terms) {
        let asked = member.entry.ask(|reply| Command::Prepare(Arc::clone(to), terms.clone(), reply)).await;
        // None: its runner has ended, as it was removed or the host is stopping; or it has no source to be replaced.
        let Some(mut start) = asked.flatten().map(Box::new) else { return };
        start.hold = Some(Arc::clone(&self.hold));
        member.state().start = Some(start.clone());
        if let Err(failed) = start.agrees() {
            return self.judge(member, start.judge(failed));
        }
        if start.is_exclusive() {
            return;
        }
        let Ok(_turn) = self.few.acquire().await else { return };
        if self.is_decided() {
            return;
        }
        let ready = start.ready().await;
        match ready {
            Ok(beside) => {
                let mut state = member.state();
                state.cold.clone_from(&beside.cold);
                state.beside = Some(Box::new(beside));
            }
            Err(failed) => self.judge(member, start.judge(failed)),
        }
        faults::at("open");
    }

    fn judge(&self, member: &Member, judged: Result<Option<String>, SwitchError>) {
        match judged {
            Ok(cold) => {
                let mut state = member.state();
                // It is not ready, and is not asked again.
                (state.start, state.cold) = (None, cold);
            }
            Err(error) => self.fails(error),
        }
    }

    /// No poll of an old source runs any more, nor begins.
    async fn quiet(&self, members: &[&Member]) {
        let all = join_all(members.iter().map(|member| member.entry.ask(Command::Quiet)));
        let hands = members.iter().any(|member| member.start().is_some_and(|start| start.pauses_first()));
        if hands {
            // What such a poll comes to may be in the state, so its rows must be in the tables.
            all.await;
        } else if tokio::time::timeout(DEAF, all).await.is_err() {
            tracing::debug!("polls of sources that are to be replaced do not heed that they are cancelled");
        }
    }

    /// Pauses the old sources and makes the new ones ready, where they are not yet. Those for which that is quick do not wait,
    /// paused, for those for which it is not: they go on, and it is done once more.
    async fn warm_all(&self, to: &Arc<Generation>, terms: &Terms) {
        let one = async |member| {
            let took = self.kept(self.warm(member)).await.flatten();
            (member, took)
        };
        let all = self.members.iter().filter(|member| member.start().is_some_and(|start| start.pauses_first()));
        let mut warming: FuturesUnordered<_> = all.map(one).collect();
        let (mut ready, mut longest) = (Vec::new(), Duration::ZERO);
        let mut resting = Vec::new();
        loop {
            let patience = LINGER.max(longest * WORTH);
            // Those that wait for their turn are waited for by the others: together they take as long as they take.
            let slow = warming.len() <= THREADS && !ready.is_empty() && resting.is_empty() && self.failed().is_none();
            match tokio::time::timeout(patience, warming.next()).await {
                Ok(None) => break,
                Ok(Some((member, Some(took)))) => {
                    ready.push(member);
                    longest = longest.max(took);
                }
                Ok(Some((_, None))) => {}
                Err(_) if slow => {
                    resting = std::mem::take(&mut ready);
                    let rest = join_all(resting.iter().map(|member| self.kept(self.rest(member, to, terms))));
                    // What is slow goes on meanwhile, to its end.
                    let others = async { while warming.next().await.is_some() {} };
                    tokio::join!(rest, others);
                }
                Err(_) => {}
            }
        }
        if resting.is_empty() || self.failed().is_some() {
            return;
        }
        self.quiet(&resting).await;
        join_all(resting.into_iter().map(one)).await;
    }

    /// One that was ready goes on with its old source, and gets another new one.
    async fn rest(&self, member: &Member, to: &Arc<Generation>, terms: &Terms) {
        tracing::debug!(
            datasource = member.entry.record().name,
            "its source goes on while others are slow to be replaced"
        );
        let beside = member.state().beside.take();
        let dismiss = async {
            if let Some(beside) = beside {
                beside.dismiss().await;
            }
        };
        tokio::join!(self.open(member, to, terms), dismiss);
    }

    /// Pauses an old source and makes the new one ready, where it is not yet; answers how long that took.
    async fn warm(&self, member: &Member) -> Option<Duration> {
        let start = member.start().filter(|start| start.pauses_first())?;
        let _turn = self.few.acquire().await.ok()?;
        if self.is_decided() {
            return None;
        }
        let begun = Instant::now();
        let beside = member.state().beside.take();
        let may_rest = beside.is_some();
        let warmed = member.entry.ask(|reply| Command::Warm(start, beside, reply)).await;
        faults::at("warm");
        match warmed {
            Some(Ok(Warmed { beside, cold })) => {
                let mut state = member.state();
                (state.beside, state.cold) = (beside, cold);
                // Where only one can be open, going back takes closing and opening: it waits.
                (may_rest && state.beside.is_some()).then(|| begun.elapsed())
            }
            Some(Err(error)) => {
                self.fails(error);
                None
            }
            None => None,
        }
    }

    /// Puts the new sources in charge. When that does not work they are to be brought [`back`](Self::back).
    pub(super) async fn commit(&self, probation: &Probation) -> Result<Vec<(&Arc<Entry>, Switched)>, SwitchError> {
        let switched =
            join_all(self.members.iter().map(|member| self.kept(self.put_in_charge(member, probation)))).await;
        faults::at("switched");
        self.verdict()?;
        Ok(switched.into_iter().flatten().flatten().collect())
    }

    async fn put_in_charge<'a>(&self, member: &'a Member, probation: &Probation) -> Option<(&'a Arc<Entry>, Switched)> {
        // Of those that are paused already none waits for its turn.
        let paused = member.start().is_none_or(|start| start.pauses_first());
        let turn = if paused { None } else { self.few.acquire().await.ok() };
        let beside = member.state().beside.take();
        if member.start().is_some_and(|start| start.is_ended()) {
            if let Some(beside) = beside {
                beside.dismiss().await;
            }
            return None;
        }
        let switched = member.entry.ask(|reply| Command::Commit(beside, probation.clone(), reply)).await.flatten();
        faults::at("commit");
        drop(turn);
        switched.map(|switched| (&member.entry, switched))
    }

    /// Those that begin without the state of what they replace, and why.
    pub(super) fn cold(&self) -> Vec<String> {
        let told = |member: &Member| {
            let cold = member.state().cold.clone()?;
            let name = &member.entry.record().name;
            Some(format!("datasource {name:?} begins without the state of what it replaces: {cold}"))
        };
        let mut all: Vec<String> = self.members.iter().filter_map(told).collect();
        if all.len() > NAMED + 1 {
            let others = all.len() - NAMED;
            all.truncate(NAMED);
            all.push(format!("so do {others} more datasources"));
        }
        all
    }
}

/// Where tests have the host panic.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;

    thread_local! {
        static POINT: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// The host panics when a task of this thread comes there: once.
    pub(in crate::datasource) fn put(point: &'static str) {
        POINT.set(Some(point));
    }

    pub(in crate::datasource) fn at(point: &str) {
        if POINT.get() == Some(point) {
            POINT.set(None);
            panic!("the host panics at {point:?}, on purpose");
        }
    }
}

#[cfg(not(test))]
pub(super) mod faults {
    pub(in crate::datasource) const fn at(_: &str) {}
}
