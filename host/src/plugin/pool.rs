//! A driver's own threads: foreign code runs on them and nowhere else, each call with a deadline.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// So many threads a driver has.
pub(crate) const THREADS: usize = 8;
/// So many abandoned threads are replaced.
pub(crate) const REPLACED: usize = 4;
/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(30);

/// So long a call that was told to end may take for it.
const GRACE: Duration = Duration::from_millis(200);
/// So long a call waits for a thread.
const QUEUED: Duration = Duration::from_secs(60);

/// Why a call came to no end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is not back within its time; its thread was abandoned.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Overdue(Duration),
    /// The host's own side of the call panicked.
    #[error("the host panicked in this call: its log says where")]
    Panicked,
    /// All threads are at work.
    #[error("all threads of this driver are busy since {}", humantime::format_duration(QUEUED))]
    Busy,
    /// The system has no thread to give.
    #[error("the system has no thread to give")]
    NoThread,
    /// No thread is left: too many hang.
    #[error("{0} threads of this driver hang, none is left")]
    Exhausted(usize),
}

/// Threads for one driver, made when needed.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
    /// So long a call waits for a thread.
    patience: Duration,
}

#[derive(Debug)]
struct Inner {
    name: String,
    state: Mutex<State>,
    bell: Condvar,
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Work)>,
    next: u64,
    threads: usize,
    idle: usize,
    /// Jobs that run and are waited for. One that comes back and is not among them was abandoned: its thread leaves.
    running: std::collections::HashSet<u64>,
    hung: usize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("threads", &self.threads).field("hung", &self.hung).finish_non_exhaustive()
    }
}

impl Pool {
    /// No threads yet; `name` goes into theirs.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let inner = Inner { name: name.to_owned(), state: Mutex::default(), bell: Condvar::new() };
        Self { inner: Arc::new(inner), patience: QUEUED }
    }

    /// One whose calls wait so long for a thread.
    #[cfg(test)]
    pub(crate) fn patient(name: &str, patience: Option<Duration>) -> Self {
        Self { patience: patience.unwrap_or(QUEUED), ..Self::new(name) }
    }

    /// How many threads hang now.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.inner.state().hung
    }

    /// Runs a call on one of the threads. The deadline counts from when it starts to run; `overdue` is called when it
    /// passes, and a call that heeds that gets a moment to come back before its thread is given up for lost.
    ///
    /// The deadline holds even when the caller goes away: it is watched by a task of its own.
    ///
    /// # Errors
    ///
    /// See [`PoolError`].
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        overdue: impl FnOnce() + Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let pool = self.clone();
        let watched = tokio::spawn(async move { pool.watch(deadline, overdue, work).await });
        watched.await.unwrap_or(Err(PoolError::Panicked))
    }

    async fn watch<T: Send + 'static>(
        &self,
        deadline: Duration,
        overdue: impl FnOnce(),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (started, start) = oneshot::channel::<()>();
        let (done, mut end) = oneshot::channel();
        let job: Work = Box::new(move || {
            // Nobody waits any more: nothing to do.
            if started.send(()).is_ok() {
                let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
            }
        });
        let number = self.submit(job)?;
        match tokio::time::timeout(self.patience, start).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(PoolError::Exhausted(self.hung())),
            Err(_) => return Err(PoolError::Busy),
        }
        let ended = match tokio::time::timeout(deadline, &mut end).await {
            Ok(ended) => ended,
            Err(_) => {
                overdue();
                let Ok(ended) = tokio::time::timeout(GRACE, &mut end).await else {
                    self.abandon(number);
                    return Err(PoolError::Overdue(deadline));
                };
                ended
            }
        };
        match ended {
            Ok(Ok(result)) => Ok(result),
            _ => Err(PoolError::Panicked),
        }
    }

    fn submit(&self, job: Work) -> Result<u64, PoolError> {
        let mut state = self.inner.state();
        let number = state.next;
        state.next += 1;
        state.queue.push_back((number, job));
        self.inner.staff(&mut state);
        if state.threads == 0 {
            state.queue.clear();
            let none_left = state.hung >= THREADS + REPLACED;
            return Err(if none_left { PoolError::Exhausted(state.hung) } else { PoolError::NoThread });
        }
        drop(state);
        self.inner.bell.notify_one();
        Ok(number)
    }

    fn abandon(&self, number: u64) {
        let mut state = self.inner.state();
        if !state.running.remove(&number) {
            // It came back in the last moment, and its thread with it.
            return;
        }
        state.hung += 1;
        state.threads = state.threads.saturating_sub(1);
        // Others may wait in line behind the one that hangs.
        self.inner.staff(&mut state);
        if state.threads == 0 {
            state.queue.clear();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a thread when jobs wait and one more is allowed.
    fn staff(self: &Arc<Self>, state: &mut State) {
        let allowed = (THREADS + REPLACED).saturating_sub(state.hung).min(THREADS);
        if state.idle >= state.queue.len() || state.threads >= allowed {
            return;
        }
        let inner = Arc::clone(self);
        // Linux keeps 15 characters of a thread's name.
        match std::thread::Builder::new().name(format!("drv-{}", self.name)).spawn(move || inner.work()) {
            Ok(_) => state.threads += 1,
            Err(error) => tracing::warn!(driver = self.name, %error, "no further thread to be had"),
        }
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some((number, job)) = state.queue.pop_front() {
                state.running.insert(number);
                drop(state);
                job();
                state = self.state();
                if !state.running.remove(&number) {
                    state.hung -= 1;
                    return;
                }
                continue;
            }
            state.idle += 1;
            let (guard, waited) = self.bell.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn calls_run_on_named_threads_and_a_panic_is_an_error() {
        let pool = Pool::new("fixture");
        let name = pool.run(LONG, || (), || std::thread::current().name().map(str::to_owned)).await;
        assert_eq!(name, Ok(Some("drv-fixture".to_owned())));
        let panicked: Result<(), _> = pool.run(LONG, || (), || panic!("on purpose")).await;
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(pool.run(LONG, || (), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_hung_call_costs_its_thread_and_a_returning_one_gives_it_back() {
        let pool = Pool::new("fixture");
        let (release, gate) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let hung = pool.run(SHORT, move || tell.send(()).unwrap(), move || gate.recv().is_ok()).await;
        assert_eq!(hung, Err(PoolError::Overdue(SHORT)));
        assert!(told.try_recv().is_ok());
        assert_eq!(pool.hung(), 1);
        assert_eq!(pool.run(LONG, || (), || 7).await, Ok(7));
        release.send(()).unwrap();
        let end = std::time::Instant::now() + LONG;
        while pool.hung() > 0 {
            assert!(std::time::Instant::now() < end);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn when_all_hang_the_next_call_is_refused_at_once() {
        let pool = Pool::new("fixture");
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..THREADS + REPLACED {
            let gate = Arc::clone(&gate);
            let hung = pool.run(SHORT, || (), move || gate.lock().map(|g| g.recv().is_ok()).unwrap_or(false)).await;
            assert_eq!(hung, Err(PoolError::Overdue(SHORT)));
        }
        assert_eq!(pool.run(LONG, || (), || 7).await, Err(PoolError::Exhausted(12)));
        drop(release);
    }

    #[tokio::test]
    async fn a_call_that_heeds_its_cancellation_keeps_its_thread() {
        let pool = Pool::new("fixture");
        for _ in 0..20 {
            let (cancel, cancelled) = mpsc::channel::<()>();
            let back = pool.run(SHORT, move || drop(cancel), move || cancelled.recv().is_err()).await;
            assert_eq!(back, Ok(true));
        }
        assert_eq!(pool.hung(), 0);
        assert_eq!(pool.run(LONG, || (), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn the_deadline_holds_when_the_caller_goes_away() {
        let pool = Pool::new("fixture");
        let (release, gate) = mpsc::channel::<()>();
        let (begin, began) = mpsc::channel();
        let call = tokio::spawn({
            let pool = pool.clone();
            let work = move || begin.send(()).is_ok() && gate.recv().is_ok();
            async move { pool.run(SHORT, || (), work).await }
        });
        let end = std::time::Instant::now() + LONG;
        while began.try_recv().is_err() {
            assert!(std::time::Instant::now() < end, "it never began");
            tokio::task::yield_now().await;
        }
        call.abort();
        while pool.hung() == 0 {
            assert!(std::time::Instant::now() < end, "nobody watches it any more");
            tokio::task::yield_now().await;
        }
        drop(release);
    }
}
