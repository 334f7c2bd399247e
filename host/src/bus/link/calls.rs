//! Calls over the pipe. Asking is repeated, work is not: who runs a call keeps its number and its answer for as long as the
//! question may come again.

use super::Timing;
use super::wire::Word;
use crate::bus::call::{CallError, Fault};
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

/// So many bytes of answers are kept for one caller: of more, the oldest go. Mostly they have long arrived.
const KEPT_BYTES: usize = if cfg!(test) { 64 << 10 } else { 16 << 20 };
/// A caller that went is remembered for so long: none of its calls runs for longer, so none comes again after that.
const GONE: Duration = Duration::from_secs(24 * 60 * 60);
/// So many of those are remembered: of more, those that went first are forgotten.
const GONE_CALLERS: usize = if cfg!(test) { 100 } else { 10_000 };

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
    /// Its answer, and how many bytes that is.
    Done(Box<Result<Value, CallError>>, usize),
}

/// A caller's calls.
#[derive(Debug, Default)]
struct Client {
    calls: BTreeMap<u64, (Served, Instant)>,
    /// Calls up to this number are over and forgotten: one of them that comes again is a late copy.
    floor: u64,
    /// Of the answers that are kept.
    bytes: usize,
    /// Since when it is gone.
    gone: Option<Instant>,
}

/// What one hears who asks for an answer that is kept no longer.
fn not_kept() -> CallError {
    CallError::Failed(Fault::new(
        "answer_lost",
        "it was done, but its answer was lost on the way and is kept no longer",
    ))
}

fn bytes(result: &Result<Value, CallError>) -> usize {
    serde_json::to_vec(result).map_or(0, |text| text.len())
}

impl Client {
    fn keep(&mut self, id: u64, (result, bytes): (Result<Value, CallError>, usize), until: Instant) {
        self.bytes += bytes;
        if let Some((Served::Done(_, was), _)) = self.calls.insert(id, (Served::Done(Box::new(result), bytes), until)) {
            self.bytes -= was;
        }
        if self.bytes <= KEPT_BYTES {
            return;
        }
        for (served, _) in self.calls.iter_mut().filter(|(of, _)| **of != id).map(|(_, call)| call) {
            if let Served::Done(result, bytes) = served {
                self.bytes -= std::mem::take(bytes);
                **result = Err(not_kept());
                if self.bytes <= KEPT_BYTES / 2 {
                    return;
                }
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(u64, &Served) -> bool) {
        let bytes = &mut self.bytes;
        self.calls.retain(|id, (served, _)| {
            let gone = gone(*id, served);
            if let (true, Served::Done(_, own)) = (gone, &*served) {
                *bytes -= own;
            }
            !gone
        });
    }
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
                && let (Served::Done(_, bytes), until) = entry.get()
                && *until <= now
            {
                client.bytes -= bytes;
                client.floor = client.floor.max(*entry.key());
                entry.remove();
            }
        }
        state.clients.retain(|_, client| client.gone.is_none_or(|since| now < since + GONE));
        again
    }

    /// A process is gone: who waits for it is told, what runs for it ends.
    pub(super) fn leave(&self, process: Uuid, now: Instant) {
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
            client.bytes = 0;
            client.gone = Some(now);
            for (served, _) in std::mem::take(&mut client.calls).into_values() {
                if let Served::Running(task) = served {
                    task.abort();
                }
            }
        }
        let gone = state.clients.iter().filter_map(|(process, client)| Some((client.gone?, *process)));
        let mut gone: Vec<(Instant, Uuid)> = gone.collect();
        if gone.len() > GONE_CALLERS {
            gone.sort_unstable();
            // Some more than need be: not each who goes is to cost this.
            gone.truncate(gone.len() - GONE_CALLERS * 3 / 4);
            gone.iter().for_each(|(_, process)| drop(state.clients.remove(process)));
        }
    }

    /// A call came, perhaps again. Below `open` the caller waits for none any more.
    pub(super) fn take(&self, process: Uuid, id: u64, open: u64) -> Taken {
        let mut state = self.state();
        let client = state.clients.entry(process).or_default();
        client.gone = None;
        client.floor = client.floor.max(open.saturating_sub(1));
        let floor = client.floor;
        client.forget(|id, served| id <= floor && !matches!(served, Served::Running(_)));
        match client.calls.get(&id) {
            Some((Served::Running(_), _)) => Taken::Running,
            Some((Served::Done(result, _), _)) => Taken::Done((**result).clone()),
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
        let bytes = bytes(&result);
        self.state().clients.entry(process).or_default().keep(id, (result, bytes), until);
    }

    /// Its caller went.
    pub(super) fn cancel(&self, process: Uuid, id: u64, until: Instant, gone: CallError) {
        let mut state = self.state();
        let client = state.clients.entry(process).or_default();
        if let Some((Served::Running(task), _)) = client.calls.get(&id) {
            task.abort();
        }
        if !matches!(client.calls.get(&id), Some((Served::Done(..), _))) {
            // Also when the cancellation overtook the call: it is not begun then.
            let gone = Err(gone);
            let bytes = bytes(&gone);
            client.keep(id, (gone, bytes), until);
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
        calls.leave(them, now);
        assert_eq!(answer.await.unwrap(), Err(gone()));
        calls.answered(them, id, Ok(Value::Null));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_kept_up_to_so_many_bytes_and_nothing_is_run_again_for_those_that_are_not() {
        let (calls, now, them) = (Calls::new(Timing::default()), Instant::now(), Uuid::nil());
        let until = now + Duration::from_secs(60);
        let large = || Ok(Value::String("x".repeat(4 << 10)));
        let kept = || calls.state().clients[&them].bytes;
        // The first runs for long: the caller waits for it, and so none that came later is forgotten.
        assert!(matches!(calls.take(them, 1, 1), Taken::New));
        calls.running(them, 1, tokio::spawn(async {}), now);
        for id in 2..100 {
            assert!(matches!(calls.take(them, id, 1), Taken::New));
            calls.done(them, id, large(), until);
            assert!(kept() <= KEPT_BYTES, "{}", kept());
        }
        assert!(matches!(calls.take(them, 99, 1), Taken::Done(Ok(_))), "the last is there");
        let Taken::Done(Err(lost)) = calls.take(them, 2, 1) else { panic!("it is not run again") };
        assert_eq!(lost.to_string(), "it was done, but its answer was lost on the way and is kept no longer");
        calls.take(them, 101, 101);
        assert_eq!(kept(), 0, "the caller waits for none of them any more");
        calls.done(them, 101, large(), until);
        calls.done(them, 101, Ok(Value::Null), until);
        assert_eq!(kept(), 11, "what is kept in its place counts alone");
        calls.done(them, 1, Ok(Value::Null), until);
        calls.tick(until);
        assert_eq!(kept(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_went_are_forgotten_in_the_end() {
        let (calls, now) = (Calls::new(Timing::default()), Instant::now());
        let of = |n: usize| Uuid::from_u128(n as u128);
        for n in 0..GONE_CALLERS * 2 {
            calls.take(of(n), 7, 7);
            calls.done(of(n), 7, Ok(Value::Null), now);
            calls.leave(of(n), now + Duration::from_micros(n as u64));
            assert!(calls.state().clients.len() <= GONE_CALLERS);
            let back = matches!(calls.take(of(n), 7, 7), Taken::Late);
            assert!(back, "it may be back, and what it asked for once is not run again");
            calls.leave(of(n), now + Duration::from_micros(n as u64));
        }
        calls.tick(now + GONE + GONE);
        assert_eq!(calls.state().clients.len(), 0);
    }
}
