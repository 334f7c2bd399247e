//! No panic crosses: each entry point runs its work in here.

use crate::Error;
use crate::abi::Status;
use crate::log;
use crate::message::{ErrorBody, LogRecord};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// Where this thread last panicked.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

static KEEP_REPORTS: AtomicBool = AtomicBool::new(false);

/// Runs the work; a panic becomes an error with its message and place.
pub(crate) fn run<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // An earlier panic, caught by the driver itself, may have left its own.
    PLACE.with_borrow_mut(Option::take);
    let _inside = Inside::enter();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(payload) => {
            let message = text(payload.as_ref());
            // Dropping the payload may panic as well: it is leaked instead.
            std::mem::forget(payload);
            let place = PLACE.with_borrow_mut(Option::take);
            Err(Error::from_parts(
                Status::PANICKED,
                ErrorBody { place, ..ErrorBody::new(format!("panicked: {message}")) },
            ))
        }
    }
}

/// Marks this thread as within the guard, where a panic is an answer.
struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Has panics outside the guard and outside a source's threads reported as before the hook, too: an author's test that
/// fails must say so.
pub(crate) fn keep_reports() {
    KEEP_REPORTS.store(true, Ordering::Relaxed);
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "with no message".to_owned())
}

/// Makes this copy of `std` keep the place of each panic and log it, instead of writing to the host's standard error.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let driver = DEPTH.try_with(Cell::get).unwrap_or(0) > 0 || log::owned();
            if !driver && KEEP_REPORTS.load(Ordering::Relaxed) {
                before(info);
            }
            let place = info.location().map(ToString::to_string);
            let thread = std::thread::current();
            let record = LogRecord {
                level: "error".to_owned(),
                target: "panic".to_owned(),
                message: format!("panicked: {}", text(info.payload())),
                fields: [
                    ("place".to_owned(), place.clone().unwrap_or_default().into()),
                    ("thread".to_owned(), thread.name().unwrap_or("unnamed").into()),
                ]
                .into_iter()
                .collect(),
                ..LogRecord::default()
            };
            let _ = PLACE.try_with(|kept| kept.replace(place));
            log::send(&record);
        }));
    });
}
