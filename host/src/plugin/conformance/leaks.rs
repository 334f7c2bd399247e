//! Checks of what stays of a source that was closed.

use super::bench::{Bench, Seat};
use super::{Checked, Finding};
use crate::plugin::vet::Traces;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What ends by itself has so long for it.
const ENDING: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(5);

/// Waits until something is so, for a while.
fn becomes(so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !so() {
        if begun.elapsed() > ENDING {
            return false;
        }
        std::thread::park_timeout(BEAT);
    }
    true
}

pub(super) fn drop_order(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    session.poll()?;
    session.close()?;
    let begun = Instant::now();
    let seat: Arc<Seat> = session.drop_source();
    if begun.elapsed() > ENDING {
        return Err(format!(
            "to drop a closed source took {:.1} s: all that takes time is to be done in close",
            begun.elapsed().as_secs_f64()
        ));
    }
    let weak: Weak<Seat> = Arc::downgrade(&seat);
    bench.step("after it was dropped");
    // Beside this one only what the driver keeps.
    let let_go = becomes(|| weak.strong_count() == 1);
    let late = seat.late.load(Ordering::Acquire);
    if late > 0 {
        return Err(format!("it publishes after it was closed ({late} times): end what publishes in close"));
    }
    if !let_go {
        return Err("something of it still holds its host 1 s after it was closed and dropped: a thread, or a static"
            .to_owned());
    }
    // In standby: closed without ever having served.
    bench.open()?.end()?;
    Ok(Finding::passed())
}

fn once(bench: &Bench<'_>) -> Result<(), String> {
    let session = bench.serve()?;
    session.poll()?;
    session.pause()?;
    session.resume()?;
    session.end()
}

/// So many sources are opened, polled and closed, one after the other.
const ROUNDS: usize = 4;

/// What they left, by what is looked for.
fn left(bench: &Bench<'_>, look: impl Fn(&Traces, &Traces) -> Vec<String>) -> Result<Option<String>, String> {
    // What it sets up once for all sources is no leak.
    once(bench)?;
    let before = Traces::look();
    for _ in 0..ROUNDS {
        once(bench)?;
    }
    bench.step("after it was closed");
    becomes(|| look(&Traces::look(), &before).is_empty());
    let left = look(&Traces::look(), &before);
    // One that stays may be of a pool that grows, or be numbered as one of the source before.
    Ok((left.len() + 1 >= ROUNDS).then(|| format!("{} ({})", left.len(), left.join(", "))))
}

pub(super) fn thread_leak(bench: &Bench<'_>) -> Checked {
    match left(bench, Traces::threads_since)? {
        None => Ok(Finding::passed()),
        Some(left) => {
            Err(format!("{ROUNDS} sources that were closed left threads: {left}; end and join them in close"))
        }
    }
}

pub(super) fn descriptor_leak(bench: &Bench<'_>) -> Checked {
    match left(bench, Traces::descriptors_since)? {
        None => Ok(Finding::passed()),
        Some(left) => Err(format!("{ROUNDS} sources that were closed left files open: {left}; close them in close")),
    }
}

pub(super) fn process_in_use(bench: &Bench<'_>) -> Checked {
    let before = Traces::look();
    once(bench)?;
    let refused = Traces::look().since(&before).refused;
    if refused.is_empty() {
        return Ok(Finding::passed());
    }
    let what = refused.join("; it ");
    Err(format!("in use it {what}: a driver shares the host's process and leaves it as it is"))
}
