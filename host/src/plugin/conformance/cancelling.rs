//! Polls that run while something else happens.

use super::bench::{Bench, Session, told};
use super::{Checked, Finding};
use crate::plugin::driver::{Call, CallError};
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::table::Update;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// A poll that is not over by now is in its middle.
const MIDDLE: Duration = Duration::from_millis(100);
/// After so long a host counts a poll that was cancelled as hanging.
const HEEDED: Duration = Duration::from_secs(2);
/// `cancel` itself returns at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A poll on a thread of its own.
pub(super) struct Polling {
    call: u64,
    over: Receiver<Result<Vec<Update>, CallError>>,
    lasted: Duration,
}

/// How a poll went.
pub(super) enum Went {
    /// It was over before anybody could have cancelled it.
    Soon(Duration),
    /// It was cancelled, and ended.
    Cancelled,
}

impl Polling {
    /// Begins one, and waits until it is in its middle or over.
    pub(super) fn begin(session: &Session<'_>) -> Result<(Self, bool), String> {
        let (head, source) = (session.seat.head(), Arc::clone(&session.source));
        let (done, over) = sync_channel(1);
        let thread = std::thread::Builder::new().name("drv-polled".to_owned());
        let polled = thread.spawn(move || {
            let answer = source.poll(Call { head, body: &PollRequest::default() });
            // The one who asked has the last reference, as in a host.
            drop(source);
            let _ = done.send(answer);
        });
        polled.map_err(|error| format!("there is no thread to poll it on: {error}"))?;
        let begun = Instant::now();
        let runs = match over.recv_timeout(MIDDLE) {
            Err(RecvTimeoutError::Timeout) => true,
            Ok(answer) => {
                answer.map_err(|error| told("a poll fails", &error))?;
                false
            }
            Err(RecvTimeoutError::Disconnected) => return Err("a poll ends its thread".to_owned()),
        };
        Ok((Self { call: head.call, over, lasted: begun.elapsed() }, runs))
    }

    /// Cancels it, as a host does: by its flag, and by a call on another thread.
    pub(super) fn cancel(self, bench: &Bench<'_>, session: &Session<'_>, runs: bool) -> Result<Went, String> {
        bench.step("when a poll was cancelled");
        session.seat.cancel(self.call);
        let asked = Instant::now();
        session.source.cancel(Some(&[self.call]));
        if asked.elapsed() > AT_ONCE {
            return Err(format!(
                "to cancel a poll took {:.1} s: it is to return at once",
                asked.elapsed().as_secs_f64()
            ));
        }
        if !runs {
            return Ok(Went::Soon(self.lasted));
        }
        match self.over.recv_timeout(HEEDED) {
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "a poll goes on for more than {} s after it was cancelled: ask Context::cancelled in long loops, and sleep with \
                 Context::sleep",
                HEEDED.as_secs()
            )),
            Err(RecvTimeoutError::Disconnected) => Err("a poll that is cancelled ends its thread".to_owned()),
            Ok(Err(error)) if error.is_code_fault() => Err(told("a poll that is cancelled fails", &error)),
            // It answers that it was cancelled, or whatever it still can.
            Ok(_) => Ok(Went::Cancelled),
        }
    }
}

pub(super) fn cancel_in_poll(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    bench.step("while it was polled");
    let (polling, runs) = Polling::begin(&session)?;
    let went = polling.cancel(bench, &session, runs)?;
    bench.step("when all its calls were cancelled");
    session.source.cancel(None);
    if let Went::Soon(lasted) = went {
        // A cancelled call that ended long ago is nothing to it.
        session.poll().map_err(|why| format!("after a poll that was over had been cancelled, {why}"))?;
        session.end()?;
        let lasted = lasted.as_millis();
        return Ok(Finding::noted(format!("a poll is over in {lasted} ms: cancelled after it, the next one was well")));
    }
    session.end()?;
    Ok(Finding::passed())
}
