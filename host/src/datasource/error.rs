//! Errors between the contract of drivers and the bus: what a source answers reaches who called it, and the other way.

use super::open::SourceError;
use crate::bus::{self, Fault};
use crate::plugin::{CallError, PoolError};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::ErrorBody;
use serde_json::Value;

/// The statuses that mean the same on the bus and in the contract, by their words there. What is missing among them would,
/// if a driver handed it on, say something about the driver itself: that it panicked, say.
const BOTH: [(Status, &str); 5] = [
    (Status::NOT_FOUND, "not_found"),
    (Status::INVALID, "invalid_arguments"),
    (Status::TIMED_OUT, "timed_out"),
    (Status::REFUSED, "refused"),
    (Status::NOT_IMPLEMENTED, "not_implemented"),
];

const ONE_WAY: [(Status, &str); 5] = [
    (Status::PANICKED, "panicked"),
    (Status::POISONED, "poisoned"),
    (Status::CANCELLED, "cancelled"),
    (Status::CLOSED, "closed"),
    (Status::STANDBY, "standby"),
];

/// What a source's failure is to who called it. Its data is the driver's error object, when that says more than its text.
pub(super) fn fault(error: &SourceError) -> Fault {
    let kind = match error {
        SourceError::Pool(PoolError::Overdue(_)) => "timed_out",
        SourceError::Pool(PoolError::Panicked) => "panicked",
        SourceError::Pool(PoolError::Busy | PoolError::NoThread) => "busy",
        SourceError::Pool(PoolError::Exhausted(_)) => "hung",
        SourceError::Options(_) => "invalid_options",
        SourceError::Call(error) => {
            let mut known = BOTH.iter().chain(&ONE_WAY);
            known.find(|(status, _)| *status == error.status).map_or("failed", |(_, kind)| kind)
        }
    };
    let mut fault = Fault::new(kind, error);
    if let SourceError::Call(error) = error
        && error.body != ErrorBody::new(error.body.message.clone())
    {
        fault.data = serde_json::to_value(&error.body).unwrap_or_default();
    }
    fault
}

/// What a call's failure is to the source that made it.
pub(super) fn answer(error: bus::CallError) -> CallError {
    let text = error.to_string();
    let (status, code, transient) = match error {
        bus::CallError::Failed(fault) => return handed_on(fault),
        bus::CallError::NotFound { .. } => (Status::NOT_FOUND, "not_found", false),
        bus::CallError::TimedOut { .. } => (Status::TIMED_OUT, "timed_out", false),
        bus::CallError::UnknownMethod { .. } => (Status::NOT_IMPLEMENTED, "unknown_method", false),
        bus::CallError::TooLarge { .. } => (Status::INVALID, "too_large", false),
        bus::CallError::Stopped { .. } => (Status::FAILED, "stopped", true),
        bus::CallError::Busy { .. } => (Status::FAILED, "busy", true),
        // Trying again may do twice what is to be done once: that is the caller's to weigh.
        bus::CallError::Unreachable { .. } => (Status::FAILED, "unreachable", false),
    };
    CallError::of(status, ErrorBody { code: Some(code.to_owned()), transient, ..ErrorBody::new(text) })
}

/// A service's own error, as it gave it.
fn handed_on(fault: Fault) -> CallError {
    let Fault { kind, message, data } = fault;
    let status = BOTH.iter().find(|(_, known)| *known == kind).map_or(Status::FAILED, |(status, _)| *status);
    let given = data.get("message").is_some_and(Value::is_string).then(|| serde_json::from_value(data).ok()).flatten();
    let body: ErrorBody = given.unwrap_or_else(|| ErrorBody::new(message));
    CallError::of(status, ErrorBody { code: body.code.or(Some(kind)), ..body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn source(status: Status, body: ErrorBody) -> SourceError {
        SourceError::Call(CallError::of(status, body))
    }

    #[test]
    fn a_source_s_error_has_a_kind_and_keeps_what_the_driver_said() {
        let plain = fault(&source(Status::FAILED, ErrorBody::new("no")));
        assert_eq!(plain, Fault::new("failed", "no"));
        let body = ErrorBody {
            code: Some("locked".to_owned()),
            place: Some("src/lib.rs:7:1".to_owned()),
            transient: true,
            problems: vec!["a".to_owned()],
            ..ErrorBody::new("wrong")
        };
        let whole = fault(&source(Status::INVALID, body.clone()));
        let data = json!({"message": "wrong", "code": "locked", "place": "src/lib.rs:7:1", "transient": true, "problems": ["a"]});
        assert_eq!(
            whole,
            Fault { kind: "invalid_arguments".into(), message: "wrong: a (at src/lib.rs:7:1)".into(), data }
        );
        // And back: the source that called has it as the other gave it.
        assert_eq!(answer(bus::CallError::Failed(whole)), CallError::of(Status::INVALID, body));
        let hung = fault(&SourceError::Pool(PoolError::Overdue(Duration::from_secs(3))));
        assert_eq!(hung, Fault::new("timed_out", "no answer within 3s"));
    }

    #[test]
    fn another_s_panic_is_not_the_caller_s() {
        let panicked = fault(&source(Status::PANICKED, ErrorBody::new("panicked: oh")));
        assert_eq!(panicked.kind, "panicked");
        let seen = answer(bus::CallError::Failed(panicked));
        assert_eq!((seen.status, seen.body.code.as_deref()), (Status::FAILED, Some("panicked")));
        assert!(!seen.is_code_fault());
    }

    #[test]
    fn a_call_that_came_to_nothing_says_why() {
        let seen = |error: bus::CallError| {
            let seen = answer(error);
            (seen.status, seen.body.code.unwrap(), seen.body.transient, seen.body.message)
        };
        let there = vec!["web".to_owned()];
        assert_eq!(
            seen(bus::CallError::NotFound { what: "service \"wbe\"".to_owned(), there }),
            (Status::NOT_FOUND, "not_found".into(), false, "service \"wbe\" is not there: there are web".into())
        );
        assert_eq!(
            seen(bus::CallError::Stopped { service: "web".to_owned() }),
            (
                Status::FAILED,
                "stopped".into(),
                true,
                "service \"web\" is stopped: it takes no calls until it is started".into()
            )
        );
        let fault = Fault::new("no_disk", "the disk is full");
        assert_eq!(
            seen(bus::CallError::Failed(fault)),
            (Status::FAILED, "no_disk".into(), false, "the disk is full".into())
        );
    }
}
