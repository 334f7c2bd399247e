//! Drivers that can't be made with the library for drivers: it would not let them.

use super::report::Outcome;
use super::{Assignment, Finding, perform};
use crate::plugin::driver::{Call, CallError, Driver, HostCalls, Source};
use busway_plugin_api::TableSpec;
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, TableInfo};
use busway_plugin_api::message::{
    AttachRequest, CallHead, ErrorBody, ExecuteRequest, OpenRequest, PollRequest, SelfTestRequest, StateBody,
    SubscribedRequest, WebhookRequest,
};
use busway_plugin_api::table::{Batches, Change, Update};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A driver with one flaw, by name; without, it passes all checks.
struct Flawed(&'static str, Arc<Shared>);

/// What its sources have in common.
#[derive(Default)]
struct Shared {
    opened: AtomicU64,
    closed: AtomicBool,
}

struct Opened {
    flaw: &'static str,
    /// The how manieth of its driver it is.
    number: u64,
    shared: Arc<Shared>,
    host: Arc<dyn HostCalls>,
    polls: AtomicU64,
    paused: AtomicBool,
    active: AtomicBool,
    upset: AtomicBool,
    state: Mutex<u64>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: u32,
}

fn rows() -> TableSpec {
    TableSpec::of::<Row>("rows").key(["id"])
}

fn failed(text: &str) -> CallError {
    CallError::new(Status::FAILED, text)
}

fn panicked() -> CallError {
    CallError::new(Status::PANICKED, "panicked: on purpose")
}

impl Driver for Flawed {
    fn describe(&self) -> Result<DriverInfo, CallError> {
        let mut tables = vec![rows().info()];
        if self.0 == "lacks_table" {
            tables.push(TableSpec::of::<Row>("more").info());
        }
        let overlap = if self.0.starts_with("exclusive") { "exclusive" } else { "beside" };
        let args = json!([{"name": "to", "required": true}]);
        Ok(serde_json::from_value(json!({
            "id": "flawed", "version": "1.0.0", "contract": "1.0.0", "overlap": overlap, "tables": tables,
            "actions": [{"name": "reset"}, {"name": "rename", "args": args}],
            "state": {"version": 1, "reads": [1]},
        }))
        .unwrap())
    }

    fn attach(&self, _: Arc<dyn HostCalls>, _: &AttachRequest) -> Result<(), CallError> {
        if self.0 == "attach" { Err(failed("no host is good enough")) } else { Ok(()) }
    }

    fn open(&self, request: &OpenRequest, host: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        if let Some(unknown) = request.options.keys().next() {
            return Err(CallError::new(Status::INVALID, format!("unknown option {unknown:?}")));
        }
        let number = self.1.opened.fetch_add(1, Ordering::Relaxed);
        if self.0 == "open" || (self.0 == "exclusive_open" && number > 0) {
            return Err(failed("the port is taken"));
        }
        Ok(Arc::new(Opened {
            flaw: self.0,
            number,
            shared: Arc::clone(&self.1),
            host,
            polls: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            active: AtomicBool::new(false),
            upset: AtomicBool::new(false),
            state: Mutex::new(0),
        }))
    }

    fn set_log_filter(&self, _: &str) -> Result<(), CallError> {
        Ok(())
    }

    fn self_test(&self, _: &SelfTestRequest) -> Result<(), CallError> {
        Ok(())
    }
}

impl Opened {
    fn is(&self, flaw: &str) -> bool {
        self.flaw == flaw
    }

    fn snapshot(&self) -> Update {
        rows().snapshot(rows().rows(&[Row { id: 1 }]).unwrap())
    }

    /// What no host takes.
    fn bad(&self) -> Update {
        Update { key: vec!["nothing".to_owned()], ..self.snapshot() }
    }
}

impl Source for Opened {
    fn tables(&self, _: CallHead) -> Result<Vec<TableInfo>, CallError> {
        let mut table = rows().info();
        match self.flaw {
            "tables" => return Err(failed("nobody knows")),
            "table_rules" => table.key = vec!["nothing".to_owned()],
            "pushed_rows" => table.pushed = true,
            "other_key" => table.key.clear(),
            "other_columns" => table.columns.clear(),
            _ => {}
        }
        let mut tables = vec![table];
        if self.is("unanswered") {
            tables.push(TableSpec::of::<Row>("more").info());
        }
        if self.is("other_columns") {
            tables = vec![TableInfo { key: vec!["id".to_owned()], ..TableSpec::of::<Wide>("rows").info() }];
        }
        Ok(tables)
    }

    fn poll(&self, call: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError> {
        let polls = self.polls.fetch_add(1, Ordering::Relaxed);
        let is_second = self.number > 0;
        if self.upset.load(Ordering::Relaxed) {
            return Err(failed("it is upset"));
        }
        let fails = match self.flaw {
            "poll_beside" => is_second && !self.active.load(Ordering::Relaxed),
            "poll_after" => is_second && self.shared.closed.load(Ordering::Relaxed),
            "poll_with_state" => *self.state.lock().unwrap() > 0 && self.number == 2,
            "panics_cancelled" => {
                while !self.host.cancelled(call.head.call) {
                    std::thread::yield_now();
                }
                return Err(panicked());
            }
            _ => false,
        };
        if fails {
            return Err(failed("not like this"));
        }
        let empty = || Batches::empty(rows().schema);
        Ok(match self.flaw {
            "twice" => vec![self.snapshot(), self.snapshot()],
            "delta" => vec![rows().update(Change::Delta { added: empty(), removed: empty() })],
            "failed_table" => vec![rows().update(Change::Failed(ErrorBody::new("no such file")))],
            "bad" => vec![self.bad()],
            "foreign" => vec![self.snapshot(), Update { table: "foreign".to_owned(), ..self.snapshot() }],
            "same_key" => vec![rows().snapshot(rows().rows(&[Row { id: 1 }, Row { id: 1 }]).unwrap())],
            "unsound" if polls == 0 => {
                let _ = self.host.publish(self.bad());
                vec![self.snapshot()]
            }
            _ => vec![self.snapshot()],
        })
    }

    fn subscribed(&self, _: Call<'_, SubscribedRequest>) -> Result<(), CallError> {
        if self.is("after_full") {
            self.upset.store(self.host.publish(self.snapshot()).is_err(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn webhook(&self, call: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError> {
        match self.flaw {
            "no_webhook" => Err(CallError::new(Status::NOT_IMPLEMENTED, "no")),
            "webhook_panic" if call.body.payload.is_array() => Err(panicked()),
            "webhook_foreign" if call.body.payload.is_object() => Ok(vec!["foreign".to_owned()]),
            "webhook_upset" => {
                self.upset.store(true, Ordering::Relaxed);
                Err(failed("no"))
            }
            _ => Ok(vec!["rows".to_owned()]),
        }
    }

    fn execute(&self, call: Call<'_, ExecuteRequest>) -> Result<Value, CallError> {
        let ExecuteRequest { action, positional, named, .. } = call.body;
        let invalid = |text: &str| Err(CallError::new(Status::INVALID, text));
        let is_garbage = named.get("to").or(positional.first()).is_some_and(Value::is_array);
        match (self.flaw, action.as_str()) {
            ("any_action", "") => Ok(Value::Null),
            ("action_upset", name) if name.starts_with("busway") => {
                self.upset.store(true, Ordering::Relaxed);
                invalid("no")
            }
            ("unknown_panic", name) if name.starts_with("busway") => Err(panicked()),
            ("unknown_argument", "reset") => Ok(Value::Null),
            ("many_arguments", "reset") if named.is_empty() => Ok(Value::Null),
            ("missing_argument", "rename") if named.is_empty() && positional.is_empty() => Ok(Value::Null),
            ("argument_twice", "rename") if positional.len() == 1 && named.contains_key("to") => Ok(Value::Null),
            ("garbage", "rename") if named.len() == 1 && positional.is_empty() && is_garbage => Err(panicked()),
            ("bare_panic", "reset") if named.is_empty() && positional.is_empty() => Err(panicked()),
            ("cancelled_panic", "reset") if named.is_empty() && positional.is_empty() => {
                while !self.host.cancelled(call.head.call) {
                    std::thread::yield_now();
                }
                Err(panicked())
            }
            (_, "reset") if named.is_empty() && positional.is_empty() => Ok(Value::Null),
            (_, "rename") if named.contains_key("to") && positional.is_empty() => Ok(Value::Null),
            _ => invalid("the arguments are wrong"),
        }
    }

    fn pause(&self, _: CallHead) -> Result<(), CallError> {
        self.paused.store(true, Ordering::Relaxed);
        if self.is("pause") { Err(failed("it is busy")) } else { Ok(()) }
    }

    fn resume(&self, _: CallHead) -> Result<(), CallError> {
        let was_paused = self.paused.swap(false, Ordering::Relaxed);
        if self.is("resume_twice") && !was_paused { Err(failed("it runs")) } else { Ok(()) }
    }

    fn activate(&self, _: CallHead) -> Result<(), CallError> {
        self.active.store(true, Ordering::Relaxed);
        if self.is("activate") { Err(failed("not yet")) } else { Ok(()) }
    }

    fn export_state(&self, _: CallHead) -> Result<Option<StateBody>, CallError> {
        let version = if self.is("other_version") { 2 } else { 1 };
        match self.flaw {
            "no_export" => Err(failed("it is gone")),
            _ => Ok(Some(StateBody { version, state: json!(7) })),
        }
    }

    fn import_state(&self, call: Call<'_, StateBody>) -> Result<(), CallError> {
        match (call.body.version, call.body.state.as_u64()) {
            (1, Some(state)) if !self.is("no_import") => {
                *self.state.lock().unwrap() = state;
                Ok(())
            }
            _ => {
                self.upset.store(self.is("import_upset"), Ordering::Relaxed);
                Err(CallError::new(Status::INVALID, "it can't read that"))
            }
        }
    }

    fn cancel(&self, _: Option<&[u64]>) {
        if self.is("cancel_slow") {
            std::thread::park_timeout(Duration::from_millis(1100));
        }
        self.upset.store(self.is("cancel_upset"), Ordering::Relaxed);
    }

    fn close(&self, _: CallHead) -> Result<(), CallError> {
        self.shared.closed.store(true, Ordering::Relaxed);
        if self.is("close_late") && self.number == 0 { Err(failed("it is in use")) } else { Ok(()) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is("drop_slow") {
            std::thread::park_timeout(Duration::from_millis(1100));
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wide {
    id: u32,
    name: String,
}

fn found(flaw: &'static str, check: &str) -> Finding {
    let driver: Arc<dyn Driver> = Arc::new(Flawed(flaw, Arc::default()));
    perform(&driver, &Assignment { check: check.to_owned(), options: Map::new() }, &|_| ())
}

/// A check fails of a flaw, and says why.
fn fails(flaw: &'static str, check: &str, why: &str) {
    assert_eq!(found(flaw, check), Finding::failed(why), "{flaw}");
}

#[test]
fn without_a_flaw_every_check_passes() {
    // What is left of a process is looked for elsewhere: here other tests run beside.
    for check in super::CHECKS.iter().filter(|check| !check.name.ends_with("leak") && check.name != "process_in_use") {
        let Finding { outcome, reason, .. } = found("none", check.name);
        let has_nothing = ["options_missing", "options_type", "full_queue"].contains(&check.name);
        let expected = if has_nothing { Outcome::Skipped } else { Outcome::Passed };
        assert_eq!(outcome, expected, "{}: {reason:?}", check.name);
    }
    assert_eq!(found("no_webhook", "webhook_garbage"), Finding::skipped("it takes no webhooks"));
}

#[test]
fn each_way_of_opening_badly_is_told() {
    fails("attach", "open_close", "it refuses its host: no host is good enough");
    fails("open", "open_close", "it does not open: the port is taken");
    fails("activate", "open_close", "it can't be activated: not yet");
    fails("tables", "open_close", "it does not say which tables it has: nobody knows");
    let rules = "its tables break the rules: ";
    let Finding { reason, .. } = found("table_rules", "open_close");
    assert!(reason.as_ref().unwrap().starts_with(rules), "{reason:?}");
    fails(
        "lacks_table",
        "open_close",
        "its tables break the rules: table \"more\", which every source is to have, is none of this source's",
    );
}

#[test]
fn each_poll_that_no_host_takes_is_told() {
    fails("twice", "poll_twice", "a poll answers table \"rows\" twice");
    fails("delta", "poll_twice", "a poll answers a delta for table \"rows\": only what is published may be one");
    fails("failed_table", "poll_twice", "table \"rows\": no such file");
    let refused = "table \"rows\": key column \"nothing\" is not one of the table's columns";
    fails("bad", "poll_twice", refused);
    fails("foreign", "poll_twice", "a poll answers table \"foreign\", which is none of its tables");
    fails("unanswered", "poll_twice", "a poll of all tables does not answer table \"more\"");
    fails(
        "pushed_rows",
        "poll_twice",
        "a poll answers rows for table \"rows\": it would take away those that clients wrote",
    );
    fails("other_columns", "poll_twice", "table \"rows\" has the columns [\"id\"], and declares [\"id\", \"name\"]");
    fails("other_key", "poll_twice", "table \"rows\" has the key [\"id\"], and declares []");
    fails("unsound", "poll_twice", &format!("what it publishes is refused: {refused}"));
    let noted = Finding::noted("rows of table \"rows\" have the same id: 1 left out");
    assert_eq!(found("same_key", "poll_twice"), noted);
}

#[test]
fn each_way_of_serving_badly_is_told() {
    fails("after_full", "full_queue", "a poll fails: it is upset");
    fails("pause", "pause_resume", "it can't be paused: it is busy");
    fails("no_export", "pause_resume", "it does not hand over its state: it is gone");
    fails("resume_twice", "pause_resume", "while it is active, it can't be resumed: it runs");
    fails("cancel_slow", "cancel_in_poll", "to cancel a poll took 1.1 s: it is to return at once");
    fails(
        "panics_cancelled",
        "cancel_in_poll",
        "a poll that is cancelled fails, as its code panicked: panicked: on purpose",
    );
    fails("cancel_upset", "cancel_in_poll", "after a poll that was over had been cancelled, a poll fails: it is upset");
}

#[test]
fn each_way_of_moving_badly_is_told() {
    fails(
        "exclusive_open",
        "reload_in_poll",
        "when another source has given up what only one may hold, it does not open: the port is taken",
    );
    fails("no_import", "reload_in_poll", "it refuses the state that it handed over: it can't read that");
    fails("poll_beside", "reload_in_poll", "beside a paused source, a poll fails: not like this");
    fails("poll_after", "reload_in_poll", "after the source before it was closed, a poll fails: not like this");
    fails("close_late", "reload_in_poll", "after another source took over, it can't be closed: it is in use");
    fails("other_version", "state_round_trip", "it hands over a state of version 2, and declares 1");
    fails("no_import", "state_round_trip", "it refuses the state that it handed over: it can't read that");
    fails("import_upset", "state_garbage", "after it refused the state null, a poll fails: it is upset");
    fails("drop_slow", "drop_order", "to drop a closed source took 1.1 s: all that takes time is to be done in close");
}

#[test]
fn each_way_of_being_asked_badly_is_told() {
    fails("any_action", "action_unknown", "it takes an action without a name for well");
    fails(
        "unknown_panic",
        "action_unknown",
        "it does not refuse an action that it does not declare, as its code panicked: panicked: on purpose",
    );
    fails("action_upset", "action_unknown", "after an action that it does not declare, a poll fails: it is upset");
    let takes = |what: &str| format!("it takes {what} for well");
    let arguments = |flaw, what: &str| fails(flaw, "action_arguments", &takes(what));
    arguments("unknown_argument", "an argument that it does not declare for action \"reset\"");
    arguments("many_arguments", "more arguments than it declares for action \"reset\"");
    arguments("missing_argument", "a missing argument for action \"rename\"");
    arguments("argument_twice", "an argument that is given twice for action \"rename\"");
    fails(
        "garbage",
        "action_arguments",
        "it does not bear [[],{},null] as an argument of action \"rename\", as its code panicked: panicked: on purpose",
    );
    fails(
        "bare_panic",
        "action_bare",
        "action \"reset\" fails without arguments, as its code panicked: panicked: on purpose",
    );
    fails(
        "cancelled_panic",
        "cancel_in_action",
        "action \"reset\" fails when it is cancelled, as its code panicked: panicked: on purpose",
    );
    fails(
        "webhook_panic",
        "webhook_garbage",
        "it does not refuse the webhook [[],{},null], as its code panicked: panicked: on purpose",
    );
    fails(
        "webhook_foreign",
        "webhook_garbage",
        "it says that the webhook {\"busway_conformance_unknown\":[1,{\"deep\":null}]} updated table \"foreign\", which is none of its tables",
    );
    fails("webhook_upset", "webhook_garbage", "after webhooks that make no sense, a poll fails: it is upset");
}
