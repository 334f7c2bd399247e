//! No panic crosses: each entry point runs its work in here.

use crate::Error;
use crate::abi::Status;
use crate::log;
use crate::message::{ErrorBody, LogRecord};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Where this thread last panicked.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the work; a panic becomes an error with its message and place.
pub(crate) fn run<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
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

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "with no message".to_owned())
}

/// Makes this copy of `std` keep the place of each panic and log it, instead of writing to the host's standard error.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
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
            PLACE.with_borrow_mut(|kept| *kept = place);
            log::send(&record);
        }));
    });
}
