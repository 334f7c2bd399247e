//! Who is at work on an error of the log: what it logs itself is none of that kind.
//!
//! A thread of its own may be marked as such; a task goes from thread to thread, and is known by its id over all that it
//! waits for. What it hands to other tasks is theirs, and bounded by how often errors are told.

use std::sync::{Mutex, PoisonError};
use std::thread::ThreadId;
use tokio::task;

/// So many are known at once; of more, the first are forgotten.
const MOST: usize = 1024;

static AT_WORK: Mutex<Vec<Who>> = Mutex::new(Vec::new());

/// A task, or a thread that runs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Task(task::Id),
    Thread(ThreadId),
}

impl Who {
    fn now() -> Self {
        task::try_id().map_or_else(|| Self::Thread(std::thread::current().id()), Self::Task)
    }
}

/// As long as this lives, what was current when it was made is at work on an error of the log.
#[derive(Debug)]
pub(crate) struct Handling(Who);

impl Handling {
    /// Who runs this is at work from now on.
    pub(crate) fn begin() -> Self {
        let who = Who::now();
        let mut all = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(who);
        Self(who)
    }

    /// Whether it is about who runs this.
    pub(crate) fn is_own(&self) -> bool {
        self.0 == Who::now()
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut all = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|who| *who == self.0) {
            all.remove(at);
        }
    }
}

/// Whether who runs this is at work on an error of the log.
pub(super) fn is_handling() -> bool {
    let all = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    !all.is_empty() && all.contains(&Who::now())
}
