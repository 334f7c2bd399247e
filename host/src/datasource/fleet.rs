//! All sources of a driver on their way to its next generation: none of them is paused for what another does.
//!
//! 1. Each new source is opened, and polled for the first time, a few at once, while the old ones serve on as ever.
//! 2. When that is good of all, no further poll of an old one begins, and those that run end, or are cancelled.
//! 3. A few at once, each old source is paused and the new one put in its place.
//!
//! Where state is handed over, the first poll comes after that, so after the pause; and where only one source can be open,
//! opening does too. There a step comes in between: each is paused and made ready, a few at once, and waits for the others,
//! since all move or none. That pause is as long as it takes for all of them.

use super::entry::Entry;
use super::runner::{Beside, Command, Probation, Start, Switched, Warmed};
use crate::plugin::{Generation, SwitchError, THREADS, Terms};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// So long polls are waited for that do not heed their cancellation, where nothing of theirs is handed over.
const DEAF: Duration = Duration::from_secs(2);
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
}

impl Fleet {
    pub(super) fn of(entries: Vec<Arc<Entry>>) -> Self {
        let member = |entry| Member { entry, state: Mutex::default() };
        Self {
            members: entries.into_iter().map(member).collect(),
            few: Semaphore::new(THREADS),
            failed: Mutex::default(),
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
        self.failed().as_ref().is_some_and(|failed| failed.code_fault)
    }

    /// Makes all of them ready to be switched, or leaves all as they were.
    pub(super) async fn make_ready(&self, to: &Arc<Generation>, terms: &Terms) -> Result<(), SwitchError> {
        join_all(self.members.iter().map(|member| self.open(member, to, terms))).await;
        if self.failed().is_none() {
            self.quiet().await;
            join_all(self.members.iter().map(|member| self.warm(member))).await;
        }
        let failed = self.failed().take();
        let Some(failed) = failed else { return Ok(()) };
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
        Err(failed)
    }

    /// Opens the new source beside the old one, which serves on.
    async fn open(&self, member: &Member, to: &Arc<Generation>, terms: &Terms) {
        let asked = member.entry.ask(|reply| Command::Prepare(Arc::clone(to), terms.clone(), reply)).await;
        // None: its runner has ended, as it was removed or the host is stopping; or it has no source to be replaced.
        let Some(start) = asked.flatten().map(Box::new) else { return };
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
    async fn quiet(&self) {
        let all = join_all(self.members.iter().map(|member| member.entry.ask(Command::Quiet)));
        let hands = self.members.iter().any(|member| member.start().is_some_and(|start| start.pauses_first()));
        if hands {
            // What such a poll comes to may be in the state, so its rows must be in the tables.
            all.await;
        } else if tokio::time::timeout(DEAF, all).await.is_err() {
            tracing::debug!("polls of sources that are to be replaced do not heed that they are cancelled");
        }
    }

    /// Pauses an old source and makes the new one ready, where it is not yet.
    async fn warm(&self, member: &Member) {
        let Some(start) = member.start().filter(|start| start.pauses_first()) else { return };
        let Ok(_turn) = self.few.acquire().await else { return };
        if self.is_decided() {
            return;
        }
        let beside = member.state().beside.take();
        match member.entry.ask(|reply| Command::Warm(start, beside, reply)).await {
            Some(Ok(Warmed { beside, cold })) => {
                let mut state = member.state();
                (state.beside, state.cold) = (beside, cold);
            }
            Some(Err(error)) => self.fails(error),
            None => {}
        }
    }

    /// Puts the new sources in charge.
    pub(super) async fn commit(&self, probation: &Probation) -> Vec<(&Arc<Entry>, Switched)> {
        let switched = join_all(self.members.iter().map(async |member| {
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
            drop(turn);
            switched.map(|switched| (&member.entry, switched))
        }));
        switched.await.into_iter().flatten().collect()
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
