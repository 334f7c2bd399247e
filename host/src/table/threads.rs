//! Work on two threads.

use super::shape::Refused;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// From so many rows on a second thread is worth its start. Work is shared out by batches of 65,536 rows: with fewer than
/// three the second has little to do, and on a busy machine one was faster up to 80,000 rows.
const LARGE: usize = 200_000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn each_piece_is_done_once_by_one_thread_or_two() {
        for threads in [1, 2] {
            let mut done = vec![0; 100];
            let work = done.iter_mut().enumerate().collect();
            each(work, threads, |(i, place)| {
                *place += i;
                Ok(())
            })
            .unwrap();
            assert!(done.iter().enumerate().all(|(i, done)| i == *done));
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        for threads in [1, 2] {
            let begun = AtomicUsize::new(0);
            let result = each((0..10_000).collect(), threads, |piece| {
                begun.fetch_add(1, Ordering::Relaxed);
                if piece == 3 { Err(Refused::Arrow("no".to_owned())) } else { Ok(()) }
            });
            assert_eq!(result, Err(Refused::Arrow("no".to_owned())));
            assert!(begun.into_inner() >= 4);
        }
    }
}
