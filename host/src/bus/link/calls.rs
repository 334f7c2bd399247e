//! Calls over the pipe. Asking is repeated, work is not: who runs a call keeps its number and its answer for as long as the
//! question may come again.

use super::Timing;
use super::wire::Word;
use crate::bus::call::CallError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// So many answers are kept for one caller; who has more questions open is refused.
const KEPT: usize = 4096;

/// A call of ours that waits for its answer.
#[derive(Debug)]
struct Waiting {
    process: Uuid,
    word: Word,
    answer: oneshot::Sender<Result<Value, CallError>>,
    /// Deliveries left until the other side says that it has it.
    left: u32,
    accepted: bool,
    again: Instant,
    pause: Duration,
    gone: CallError,
}

/// A call of theirs.
#[derive(Debug)]
enum Served {
    Running(JoinHandle<()>),
    Done(Box<Result<Value, CallError>>),
}

/// A caller's calls.
#[derive(Debug, Default)]
struct Client {
    calls: BTreeMap<u64, (Served, Instant)>,
    /// Calls up to this number are over and forgotten: one of them that comes again is a late copy.
    floor: u64,
}

#[derive(Debug)]
pub(super) struct Calls {
    timing: Timing,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    clients: BTreeMap<Uuid, Client>,
}

/// What to do with a call that came.
pub(super) enum Taken {
    /// Run it.
    New,
    /// It runs: say so again.
    Running,
    /// It was answered: say it again.
    Done(Result<Value, CallError>),
    /// Nothing: a late copy of one that is over.
    Late,
    /// Too many at once.
    Full(usize),
}

impl Calls {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, state: Mutex::default() }
    }

    /// A new call: its number and where its answer comes.
    pub(super) fn open(
        &self,
        process: Uuid,
        word: impl FnOnce(u64, u64) -> Word,
        retries: u32,
        gone: CallError,
        now: Instant,
    ) -> (u64, Word, oneshot::Receiver<Result<Value, CallError>>) {
        let mut state = self.state();
        state.next += 1;
        let (id, pause) = (state.next, self.timing.retry);
        let open = state.waiting.iter().find(|(_, waiting)| waiting.process == process);
        let word = word(id, open.map_or(id, |(open, _)| *open));
        let (answer, receiver) = oneshot::channel();
        let copy = word.clone();
        let waiting =
            Waiting { process, word, answer, left: retries, accepted: false, again: now + pause, pause, gone };
        state.waiting.insert(id, waiting);
        (id, copy, receiver)
    }

    /// Nobody waits any more; whom to tell.
    pub(super) fn drop_waiting(&self, id: u64) -> Option<Uuid> {
        self.state().waiting.remove(&id).map(|waiting| waiting.process)
    }

    pub(super) fn accepted(&self, process: Uuid, id: u64) {
        if let Some(waiting) = self.state().waiting.get_mut(&id).filter(|w| w.process == process) {
            waiting.accepted = true;
        }
    }

    /// An answer; late ones find nobody.
    pub(super) fn answered(&self, process: Uuid, id: u64, result: Result<Value, CallError>) {
        let mut state = self.state();
        if state.waiting.get(&id).is_some_and(|waiting| waiting.process == process)
            && let Some(waiting) = state.waiting.remove(&id)
        {
            // Who asked may have gone this moment.
            let _ = waiting.answer.send(result);
        }
    }

    /// Questions to ask again; answers to forget.
    pub(super) fn tick(&self, now: Instant) -> Vec<(Uuid, Word)> {
        let mut again = Vec::new();
        let mut state = self.state();
        for waiting in state.waiting.values_mut().filter(|waiting| waiting.again <= now) {
            if !waiting.accepted {
                if waiting.left == 0 {
                    continue;
                }
                waiting.left -= 1;
            }
            waiting.pause = (waiting.pause * 2).min(self.timing.refresh);
            waiting.again = now + waiting.pause;
            again.push((waiting.process, waiting.word.clone()));
        }
        for client in state.clients.values_mut() {
            while let Some(entry) = client.calls.first_entry()
                && matches!(entry.get().0, Served::Done(_))
                && entry.get().1 <= now
            {
                client.floor = client.floor.max(*entry.key());
                entry.remove();
            }
        }
        again
    }

    /// A process is gone: who waits for it is told, what runs for it ends.
    pub(super) fn leave(&self, process: Uuid) {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        let (gone, left): (BTreeMap<_, _>, BTreeMap<_, _>) =
            waiting.into_iter().partition(|(_, w)| w.process == process);
        state.waiting = left;
        for waiting in gone.into_values() {
            // Who asked may have gone as well.
            let _ = waiting.answer.send(Err(waiting.gone));
        }
        if let Some(client) = state.clients.get_mut(&process) {
            // It may be back, and ask again: what was taken once is not run again.
            client.floor = client.calls.keys().next_back().map_or(client.floor, |last| client.floor.max(*last));
            for (served, _) in std::mem::take(&mut client.calls).into_values() {
                if let Served::Running(task) = served {
                    task.abort();
                }
            }
        }
    }

    /// A call came, perhaps again. Below `open` the caller waits for none any more.
    pub(super) fn take(&self, process: Uuid, id: u64, open: u64) -> Taken {
        let mut state = self.state();
        let client = state.clients.entry(process).or_default();
        client.floor = client.floor.max(open.saturating_sub(1));
        let floor = client.floor;
        client.calls.retain(|id, (served, _)| *id > floor || matches!(served, Served::Running(_)));
        match client.calls.get(&id) {
            Some((Served::Running(_), _)) => Taken::Running,
            Some((Served::Done(result), _)) => Taken::Done((**result).clone()),
            None if id <= client.floor => Taken::Late,
            None if client.calls.len() >= KEPT => Taken::Full(KEPT),
            None => Taken::New,
        }
    }

    /// It runs.
    pub(super) fn running(&self, process: Uuid, id: u64, task: JoinHandle<()>, now: Instant) {
        let mut state = self.state();
        let calls = &mut state.clients.entry(process).or_default().calls;
        // It may be done already.
        calls.entry(id).or_insert((Served::Running(task), now));
    }

    /// It is done; its answer is kept until then.
    pub(super) fn done(&self, process: Uuid, id: u64, result: Result<Value, CallError>, until: Instant) {
        let mut state = self.state();
        state.clients.entry(process).or_default().calls.insert(id, (Served::Done(Box::new(result)), until));
    }

    /// Its caller went.
    pub(super) fn cancel(&self, process: Uuid, id: u64, until: Instant, gone: CallError) {
        let mut state = self.state();
        let calls = &mut state.clients.entry(process).or_default().calls;
        if let Some((Served::Running(task), _)) = calls.get(&id) {
            task.abort();
        }
        if !matches!(calls.get(&id), Some((Served::Done(_), _))) {
            // Also when the cancellation overtook the call: it is not begun then.
            calls.insert(id, (Served::Done(Box::new(Err(gone))), until));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> CallError {
        CallError::Stopped { service: "gone".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_comes_twice_is_run_once_and_answered_twice() {
        let (calls, now, them) = (Calls::new(Timing::default()), Instant::now(), Uuid::nil());
        assert!(matches!(calls.take(them, 1, 1), Taken::New));
        calls.running(them, 1, tokio::spawn(async {}), now);
        assert!(matches!(calls.take(them, 1, 1), Taken::Running));
        calls.done(them, 1, Ok(Value::Bool(true)), now + Duration::from_secs(5));
        assert!(matches!(calls.take(them, 1, 1), Taken::Done(Ok(Value::Bool(true)))));
        calls.tick(now + Duration::from_secs(5));
        assert!(matches!(calls.take(them, 1, 1), Taken::Late), "forgotten, and still not run again");
        assert!(matches!(calls.take(them, 2, 1), Taken::New));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancellation_that_overtakes_its_call_keeps_it_from_running() {
        let (calls, now, them) = (Calls::new(Timing::default()), Instant::now(), Uuid::nil());
        calls.cancel(them, 3, now + Duration::from_secs(5), gone());
        assert!(matches!(calls.take(them, 3, 1), Taken::Done(Err(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn asking_is_repeated_so_often_and_who_leaves_is_an_answer() {
        let timing = Timing::default();
        let (calls, now, them) = (Calls::new(timing), Instant::now(), Uuid::nil());
        let (id, _, answer) = calls.open(them, |id, _| Word::Accepted { id }, 2, gone(), now);
        assert_eq!(calls.tick(now), []);
        let mut asked = 0;
        for beat in 1..200 {
            asked += calls.tick(now + timing.retry * beat).len();
        }
        assert_eq!(asked, 2);
        calls.accepted(them, id);
        assert_eq!(calls.tick(now + timing.retry * 300).len(), 1, "who has it is asked how it goes");
        calls.leave(them);
        assert_eq!(answer.await.unwrap(), Err(gone()));
        calls.answered(them, id, Ok(Value::Null));
    }
}
