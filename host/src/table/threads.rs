//! Work on two threads.

use super::shape::Refused;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// From so many rows on a second thread is worth its start.
const LARGE: usize = 40_000;

/// How many threads work on so many rows: one, or for large tables two, if the process may use two processors.
pub(crate) fn threads(rows: usize) -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let processors = || *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    if rows < LARGE { 1 } else { processors().min(2) }
}

/// Both, at the same time if there are two threads.
pub(crate) fn both<A, B: Send>(threads: usize, a: impl FnOnce() -> A, b: impl FnOnce() -> B + Send) -> (A, B) {
    if threads < 2 {
        return (a(), b());
    }
    std::thread::scope(|scope| {
        let b = scope.spawn(b);
        (a(), b.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Each piece of work, in any order; stops at the first error.
pub(crate) fn each<T: Send>(
    work: Vec<T>,
    threads: usize,
    run: impl Fn(T) -> Result<(), Refused> + Sync,
) -> Result<(), Refused> {
    if threads < 2 || work.len() < 2 {
        return work.into_iter().try_for_each(run);
    }
    let (work, failed) = (Mutex::new(work.into_iter()), AtomicBool::new(false));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let Some(piece) = next() else { break };
            run(piece).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let (a, b) = both(threads, worker, worker);
    a.and(b)
}
