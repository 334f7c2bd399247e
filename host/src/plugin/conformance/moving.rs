//! Checks of a reload: one source goes on from another.

use super::bench::{Bench, Session, told};
use super::cancelling::Polling;
use super::{Checked, Finding};
use busway_plugin_api::info::Overlap;
use busway_plugin_api::message::StateBody;
use serde_json::{Value, json};

pub(super) fn reload_in_poll(bench: &Bench<'_>) -> Checked {
    let old = bench.serve()?;
    bench.step("while it was polled");
    let (polling, runs) = Polling::begin(&old)?;
    let beside = bench.info.overlap == Overlap::Beside;
    let mut new = if beside { Some(open_beside(bench)?) } else { None };
    polling.cancel(bench, &old, runs)?;
    old.pause()?;
    let state = if bench.info.state.is_some() { old.export_state()? } else { None };
    let new = match new.take() {
        Some(new) => new,
        None => {
            bench.open().map_err(|why| format!("when another source has given up what only one may hold, {why}"))?
        }
    };
    if let Some(state) = &state {
        new.import_state(state).map_err(|error| told("it refuses the state that it handed over", &error))?;
    }
    new.poll().map_err(|why| format!("beside a paused source, {why}"))?;
    new.activate()?;
    old.end().map_err(|why| format!("after another source took over, {why}"))?;
    new.poll().map_err(|why| format!("after the source before it was closed, {why}"))?;
    new.unsound()?;
    new.end()?;
    // And the way back: a new source is given up, the old one serves on.
    let old = bench.serve()?;
    old.poll()?;
    if beside {
        open_beside(bench)?.end()?;
    }
    old.pause()?;
    old.resume()?;
    old.poll().map_err(|why| format!("after another source was given up, {why}"))?;
    old.end()?;
    Ok(Finding::passed())
}

fn open_beside<'a>(bench: &'a Bench<'_>) -> Result<Session<'a>, String> {
    bench.open().map_err(|why| {
        format!("beside an open source of the same datasource, {why}; if only one can be open, say so: Driver::OVERLAP")
    })
}

pub(super) fn state_round_trip(bench: &Bench<'_>) -> Checked {
    let Some(declared) = &bench.info.state else { return Ok(Finding::skipped("it hands over no state")) };
    let first = bench.serve()?;
    first.poll()?;
    let exported = hand_over(first)?;
    let Some(state) = exported else { return Ok(Finding::skipped("it had no state to hand over after a poll")) };
    if state.version != declared.version {
        return Err(format!("it hands over a state of version {}, and declares {}", state.version, declared.version));
    }
    let second = bench.open()?;
    second.import_state(&state).map_err(|error| told("it refuses the state that it handed over", &error))?;
    second.activate()?;
    let again = hand_over(second)?;
    if again.as_ref() != Some(&state) {
        let again = again.map_or_else(|| "nothing".to_owned(), |again| brief(&again.state));
        let given = brief(&state.state);
        return Err(format!(
            "a state does not survive being handed over twice without a poll between: given {given}, it hands over {again}"
        ));
    }
    let third = bench.open()?;
    third.import_state(&state).map_err(|error| told("it refuses the state that it handed over", &error))?;
    third.poll().map_err(|why| format!("with the state that it handed over, {why}"))?;
    third.end()?;
    Ok(Finding::passed())
}

fn hand_over(session: Session<'_>) -> Result<Option<StateBody>, String> {
    session.pause()?;
    let state = session.export_state()?;
    session.end()?;
    Ok(state)
}

/// As much of a value as fits into a sentence.
pub(super) fn brief(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(60).collect();
    if short == text { text } else { format!("{short}…") }
}

pub(super) fn state_garbage(bench: &Bench<'_>) -> Checked {
    let Some(declared) = &bench.info.state else { return Ok(Finding::skipped("it hands over no state")) };
    let reads = &declared.reads;
    let unknown = (0..=u32::MAX).rev().find(|version| !reads.contains(version)).unwrap_or_default();
    let garbage = [
        json!(null),
        json!("busway-conformance"),
        json!(-1.5),
        json!([[], {}, null]),
        json!({"busway_conformance": [1, {"deep": null}]}),
    ];
    let versions = [unknown].into_iter().chain(reads.iter().copied());
    for version in versions {
        for state in &garbage {
            let session = bench.open()?;
            match session.import_state(&StateBody { version, state: state.clone() }) {
                Ok(()) if version == unknown => {
                    return Err(format!("it takes a state of version {version}, which it does not read"));
                }
                Err(error) if error.is_code_fault() => {
                    return Err(told(&format!("it does not refuse the state {state} of version {version}"), &error));
                }
                Err(_) => {
                    session.poll().map(drop).map_err(|why| format!("after it refused the state {state}, {why}"))?
                }
                // It reads more than its own: what it makes of that is its own affair.
                Ok(()) => {}
            }
            session.end()?;
        }
    }
    Ok(Finding::passed())
}
