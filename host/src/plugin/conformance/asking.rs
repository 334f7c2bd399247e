//! Checks of what a source is asked to do: actions, and webhooks.

use super::bench::{Bench, Session, told};
use super::moving::brief;
use super::{Checked, Finding};
use crate::plugin::driver::{Call, CallError};
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::ActionInfo;
use busway_plugin_api::message::{ExecuteRequest, WebhookRequest};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// What nobody has: an action, an argument.
const UNKNOWN: &str = "busway_conformance_unknown";
/// An action that is not over by now is in its middle.
const MIDDLE: Duration = Duration::from_millis(100);
/// As long as a caller would wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long a host counts an action that was cancelled as hanging.
const HEEDED: Duration = Duration::from_secs(2);

/// What no driver expects, of every type.
fn garbage() -> [Value; 7] {
    [
        json!(null),
        json!(-1.5),
        json!(u64::MAX),
        json!("busway-conformance \u{0} \u{202e}"),
        json!([[], {}, null]),
        json!({UNKNOWN: [1, {"deep": null}]}),
        json!("x".repeat(1 << 16)),
    ]
}

fn request(action: &str, positional: Vec<Value>, named: &[(&str, Value)]) -> ExecuteRequest {
    let named: Map<String, Value> = named.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    ExecuteRequest { action: action.to_owned(), positional, named, request_id: None }
}

fn execute(bench: &Bench<'_>, session: &Session<'_>, request: &ExecuteRequest) -> Result<Value, CallError> {
    bench.step(&format!("when it was asked for action {:?}", request.action));
    session.source.execute(Call { head: session.seat.head(), body: request })
}

/// It must refuse that by an error, and go on well.
fn refuses(bench: &Bench<'_>, session: &Session<'_>, request: &ExecuteRequest, what: &str) -> Result<(), String> {
    match execute(bench, session, request) {
        Ok(_) => Err(format!("it takes {what} for well")),
        Err(error) if error.is_code_fault() => Err(told(&format!("it does not refuse {what}"), &error)),
        Err(_) => Ok(()),
    }
}

/// Whatever it was asked, it goes on.
fn goes_on(session: &Session<'_>, what: &str) -> Result<(), String> {
    session.poll().map(drop).map_err(|why| format!("after {what}, {why}"))
}

pub(super) fn action_unknown(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    let what = "an action that it does not declare";
    refuses(bench, &session, &request(UNKNOWN, Vec::new(), &[]), what)?;
    refuses(bench, &session, &request("", Vec::new(), &[]), "an action without a name")?;
    goes_on(&session, what)?;
    session.end()?;
    Ok(Finding::passed())
}

fn actions<'a>(bench: &'a Bench<'_>) -> Option<&'a [ActionInfo]> {
    Some(&bench.info.actions[..]).filter(|actions| !actions.is_empty())
}

pub(super) fn action_arguments(bench: &Bench<'_>) -> Checked {
    let Some(actions) = actions(bench) else { return Ok(Finding::skipped("it has no action")) };
    let session = bench.serve()?;
    for ActionInfo { name, args, .. } in actions {
        let of = |what: &str| format!("{what} for action {name:?}");
        let unknown = request(name, Vec::new(), &[(UNKNOWN, true.into())]);
        refuses(bench, &session, &unknown, &of("an argument that it does not declare"))?;
        let many = request(name, vec![true.into(); args.len() + 1], &[]);
        refuses(bench, &session, &many, &of("more arguments than it declares"))?;
        if args.iter().any(|arg| arg.required) {
            refuses(bench, &session, &request(name, Vec::new(), &[]), &of("a missing argument"))?;
        }
        if let Some(first) = args.first() {
            let twice = request(name, vec![true.into()], &[(&first.name, true.into())]);
            refuses(bench, &session, &twice, &of("an argument that is given twice"))?;
        }
        // Which values it takes is its own affair, and that of what it speaks to: none may be its end.
        for value in garbage().iter().filter(|_| !args.is_empty()) {
            let all: Vec<(&str, Value)> = args.iter().map(|arg| (arg.name.as_str(), value.clone())).collect();
            if let Err(error) = execute(bench, &session, &request(name, Vec::new(), &all))
                && error.is_code_fault()
            {
                let value = brief(value);
                return Err(told(&format!("it does not bear {value} as an argument of action {name:?}"), &error));
            }
        }
        goes_on(&session, &of("wrong arguments"))?;
    }
    session.end()?;
    Ok(Finding::passed())
}

/// Those that begin without arguments; why none is run, if none does.
fn bare<'a>(bench: &'a Bench<'_>) -> Result<Vec<&'a ActionInfo>, Finding> {
    let all = actions(bench).ok_or_else(|| Finding::skipped("it has no action"))?;
    let bare: Vec<&ActionInfo> = all.iter().filter(|action| action.args.iter().all(|arg| !arg.required)).collect();
    if bare.is_empty() { Err(Finding::skipped("every action of it requires arguments")) } else { Ok(bare) }
}

pub(super) fn action_bare(bench: &Bench<'_>) -> Checked {
    let bare = match bare(bench) {
        Ok(bare) => bare,
        Err(finding) => return Ok(finding),
    };
    for ActionInfo { name, .. } in bare {
        let session = bench.serve()?;
        let running = Running::begin(bench, &session, name)?;
        let answer = match running.over.recv_timeout(PATIENCE) {
            // As a host does when the caller waits no longer.
            Err(RecvTimeoutError::Timeout) => running.cancel(&session, "its caller waits no longer"),
            Err(RecvTimeoutError::Disconnected) => Err(format!("action {name:?} ends its thread")),
            Ok(answer) => Ok(answer),
        };
        sound(name, answer?, "without arguments")?;
        goes_on(&session, &format!("action {name:?}"))?;
        session.end()?;
    }
    Ok(Finding::passed())
}

/// An error is an answer, a panic is none.
fn sound(action: &str, answer: Result<Value, CallError>, when: &str) -> Result<(), String> {
    match answer {
        Err(error) if error.is_code_fault() => Err(told(&format!("action {action:?} fails {when}"), &error)),
        _ => Ok(()),
    }
}

/// An action on a thread of its own.
struct Running {
    action: String,
    call: u64,
    over: Receiver<Result<Value, CallError>>,
}

impl Running {
    fn begin(bench: &Bench<'_>, session: &Session<'_>, action: &str) -> Result<Self, String> {
        bench.step(&format!("while action {action:?} ran"));
        let (head, source, request) =
            (session.seat.head(), Arc::clone(&session.source), request(action, Vec::new(), &[]));
        let (done, over) = sync_channel(1);
        let thread = std::thread::Builder::new().name("drv-asked".to_owned());
        let asked = thread.spawn(move || {
            let answer = source.execute(Call { head, body: &request });
            // The one who asked has the last reference, as in a host.
            drop(source);
            let _ = done.send(answer);
        });
        asked.map_err(|error| format!("there is no thread to ask it on: {error}"))?;
        Ok(Self { action: action.to_owned(), call: head.call, over })
    }

    /// Cancels it, as a host does: by its flag, and by a call on another thread. What it answers then.
    fn cancel(&self, session: &Session<'_>, after: &str) -> Result<Result<Value, CallError>, String> {
        session.seat.cancel(self.call);
        session.source.cancel(Some(&[self.call]));
        self.over.recv_timeout(HEEDED).map_err(|_| {
            format!(
                "action {:?} goes on for more than {} s after {after}: ask Context::cancelled in long loops, and sleep with \
                 Context::sleep",
                self.action,
                HEEDED.as_secs()
            )
        })
    }
}

pub(super) fn cancel_in_action(bench: &Bench<'_>) -> Checked {
    let bare = match bare(bench) {
        Ok(bare) => bare,
        Err(finding) => return Ok(finding),
    };
    let mut soon = Vec::new();
    for ActionInfo { name, .. } in bare {
        let session = bench.serve()?;
        let running = Running::begin(bench, &session, name)?;
        let over = running.over.recv_timeout(MIDDLE);
        bench.step(&format!("when action {name:?} was cancelled"));
        let answer = match over {
            Err(RecvTimeoutError::Timeout) => running.cancel(&session, "it was cancelled")?,
            Err(RecvTimeoutError::Disconnected) => return Err(format!("action {name:?} ends its thread")),
            Ok(answer) => {
                session.seat.cancel(running.call);
                session.source.cancel(Some(&[running.call]));
                soon.push(format!("{name:?}"));
                answer
            }
        };
        sound(name, answer, "when it is cancelled")?;
        goes_on(&session, &format!("action {name:?} was cancelled"))?;
        session.end()?;
    }
    Ok(match soon.is_empty() {
        true => Finding::passed(),
        false => Finding::noted(format!("over before it could be cancelled: {}", soon.join(", "))),
    })
}

pub(super) fn webhook_garbage(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    let tables = session.tables()?;
    let named = tables.first().map(|table| table.name.clone());
    for table in [None, named, Some(UNKNOWN.to_owned())] {
        for payload in garbage() {
            bench.step("when it was sent a webhook");
            let body = WebhookRequest { table: table.clone(), payload };
            let shown = brief(&body.payload);
            match session.source.webhook(Call { head: session.seat.head(), body: &body }) {
                Err(error) if error.status == Status::NOT_IMPLEMENTED => {
                    session.end()?;
                    return Ok(Finding::skipped("it takes no webhooks"));
                }
                Err(error) if error.is_code_fault() => {
                    return Err(told(&format!("it does not refuse the webhook {shown}"), &error));
                }
                Err(_) => {}
                // That it is no news to it is an answer, too.
                Ok(updated) => {
                    let own = session.tables()?;
                    if let Some(foreign) = updated.iter().find(|name| !own.iter().any(|table| table.name == **name)) {
                        return Err(format!(
                            "it says that the webhook {shown} updated table {foreign:?}, which is none of its tables"
                        ));
                    }
                }
            }
        }
    }
    session.unsound()?;
    goes_on(&session, "webhooks that make no sense")?;
    session.end()?;
    Ok(Finding::passed())
}
