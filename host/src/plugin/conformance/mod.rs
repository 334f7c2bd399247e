//! What a driver must stand, check by check: the suite of `busway plugin test`.
//!
//! The first checks are what every plugin is put through before it is loaded. Each of the others has a child process of its
//! own, as vetting has, so that one which crashes or hangs fails by name. In the child a [`Bench`](bench::Bench) plays the
//! host.

mod asking;
mod bench;
mod cancelling;
mod leaks;
#[cfg(test)]
mod mock;
mod moving;
mod opening;
mod report;
mod running;
mod suite;

#[cfg(test)]
pub(crate) use report::Done;
pub(crate) use report::{Finding, Report};
pub(crate) use suite::{NAMES, SuiteError, run};

use super::driver::Driver;
use bench::Bench;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Which check a child is to do, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// The check's name.
    pub(crate) check: String,
    /// What a datasource would set.
    pub(crate) options: Map<String, Value>,
}

/// What a check answers: a finding, or what is wrong with the driver.
type Checked = Result<Finding, String>;

/// A check that is done in a child process of its own.
struct Check {
    name: &'static str,
    /// Whether it needs a source that opens.
    opens: bool,
    run: fn(&Bench<'_>) -> Checked,
}

const fn check(name: &'static str, opens: bool, run: fn(&Bench<'_>) -> Checked) -> Check {
    Check { name, opens, run }
}

/// In the order in which they are done.
const CHECKS: [Check; 22] = [
    check("describe_again", false, opening::describe_again),
    check("options_unknown", false, opening::options_unknown),
    check("options_missing", false, opening::options_missing),
    check("options_type", false, opening::options_type),
    check("open_close", true, opening::open_close),
    check("poll_twice", true, running::poll_twice),
    check("cancel_in_poll", true, cancelling::cancel_in_poll),
    check("standby", true, running::standby),
    check("full_queue", true, running::full_queue),
    check("pause_resume", true, running::pause_resume),
    check("reload_in_poll", true, moving::reload_in_poll),
    check("state_round_trip", true, moving::state_round_trip),
    check("state_garbage", true, moving::state_garbage),
    check("action_unknown", true, asking::action_unknown),
    check("action_arguments", true, asking::action_arguments),
    check("action_bare", true, asking::action_bare),
    check("cancel_in_action", true, asking::cancel_in_action),
    check("webhook_garbage", true, asking::webhook_garbage),
    check("drop_order", true, leaks::drop_order),
    check("thread_leak", true, leaks::thread_leak),
    check("descriptor_leak", true, leaks::descriptor_leak),
    check("process_in_use", true, leaks::process_in_use),
];

/// Does one check. `step` is told when it is that something happens, as the end of a sentence.
pub(super) fn perform(driver: &Arc<dyn Driver>, assignment: &Assignment, step: &dyn Fn(&str)) -> Finding {
    let Some(check) = CHECKS.iter().find(|check| check.name == assignment.check) else {
        return Finding::failed(format!("there is no check {:?}: the child is of another build", assignment.check));
    };
    step("while it was described");
    let done = Bench::new(driver, &assignment.options, step).and_then(|bench| (check.run)(&bench));
    done.unwrap_or_else(Finding::failed)
}
