//! Work on file systems, which may never answer: a thread for each place, waited for at most so long. A place that gives no
//! answer costs its own thread, and nobody else's time; it is asked nothing more before it has answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

/// What has no answer yet, by its place.
#[derive(Debug)]
pub(in crate::plugin) struct Errands<T>(Mutex<BTreeMap<PathBuf, Receiver<T>>>);

impl<T> Default for Errands<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Back<T> {
    /// To what was asked now.
    Now(T),
    /// To what was asked before, when nobody waited any more; nothing was asked now.
    Late(T),
}

impl<T: Send + 'static> Errands<T> {
    fn out(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Receiver<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work on a thread of its own, unless an earlier errand to the place is still out. `None`: there is no answer
    /// yet, or never one, as the work panicked or no thread was to be had.
    pub(in crate::plugin) async fn ask(
        &self,
        place: &Path,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<Back<T>> {
        // Nothing below is done with it locked.
        let former = self.out().remove(place);
        if let Some(mut former) = former {
            match former.try_recv() {
                Ok(late) => return Some(Back::Late(late)),
                Err(TryRecvError::Empty) => {
                    self.out().insert(place.to_owned(), former);
                    return None;
                }
                Err(TryRecvError::Closed) => {}
            }
        }
        let (reply, mut answer) = oneshot::channel();
        let spawned = std::thread::Builder::new().name("files".to_owned()).spawn(move || drop(reply.send(work())));
        if let Err(error) = spawned {
            tracing::warn!(place = %place.display(), %error, "no thread to look at files");
            return None;
        }
        match tokio::time::timeout(patience, &mut answer).await {
            Ok(answer) => answer.ok().map(Back::Now),
            Err(_) => {
                self.out().insert(place.to_owned(), answer);
                None
            }
        }
    }

    /// Drops late answers from places that nobody will ask again. What is still out stays out: such a place gets no second thread.
    pub(in crate::plugin) fn sweep(&self, wanted: impl Fn(&Path) -> bool) {
        let out = |place: &PathBuf, answer: &mut Receiver<T>| {
            // An answer is dropped with its receiver.
            wanted(place) || matches!(answer.try_recv(), Err(TryRecvError::Empty))
        };
        self.out().retain(out);
    }

    /// The same; what was asked before is asked anew.
    pub(in crate::plugin) async fn ask_anew(
        &self,
        place: &Path,
        patience: Duration,
        work: impl Fn() -> T + Clone + Send + 'static,
    ) -> Option<T> {
        loop {
            match self.ask(place, patience, work.clone()).await? {
                Back::Now(answer) => return Some(answer),
                Back::Late(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn one_that_gives_no_answer_holds_up_nobody_and_its_answer_is_not_lost() {
        let errands = Errands::default();
        let (release, gate) = mpsc::channel::<()>();
        let hung = Path::new("/hung");
        let work = move || gate.recv().unwrap_or_default();
        assert_eq!(errands.ask(hung, Duration::from_millis(1), work).await, None);
        // At once, and without another thread.
        let begun = Instant::now();
        assert_eq!(errands.ask(hung, LONG, || panic!("it is asked nothing more")).await, None);
        assert_eq!(errands.ask(Path::new("/fine"), LONG, || ()).await, Some(Back::Now(())));
        assert!(begun.elapsed() < LONG);
        drop(release);
        let end = Instant::now() + LONG;
        loop {
            match errands.ask(hung, LONG, || panic!("it is asked nothing more")).await {
                Some(back) => break assert_eq!(back, Back::Late(())),
                None => assert!(Instant::now() < end),
            }
        }
        assert_eq!(errands.ask_anew(hung, LONG, || ()).await, Some(()));
        // What panics is over.
        assert_eq!(errands.ask(hung, LONG, || panic!("on purpose")).await, None);
        assert_eq!(errands.ask(hung, LONG, || ()).await, Some(Back::Now(())));
    }
}
