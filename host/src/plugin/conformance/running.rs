//! Checks of a source that serves.

use super::bench::{Bench, Door, Session, left_out};
use super::{Checked, Finding};
use crate::plugin::driver::Call;
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::TableInfo;
use busway_plugin_api::message::SubscribedRequest;
use busway_plugin_api::table::{Change, Update};
use std::sync::atomic::Ordering;

pub(super) fn poll_twice(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    let mut left = Vec::new();
    for _ in 0..2 {
        let updates = session.poll()?;
        complete(&session.tables()?, &updates)?;
        left = left_out(&updates);
    }
    session.unsound()?;
    session.end()?;
    Ok(if left.is_empty() { Finding::passed() } else { Finding::noted(left.join("; ")) })
}

/// Every table that is not lazy is answered, and no other; rows have the declared columns.
fn complete(tables: &[TableInfo], updates: &[Update]) -> Result<(), String> {
    for table in tables.iter().filter(|table| !table.lazy) {
        if !updates.iter().any(|update| update.table == table.name) {
            return Err(format!("a poll of all tables does not answer table {:?}", table.name));
        }
    }
    for update in updates {
        let name = &update.table;
        let Some(table) = tables.iter().find(|table| &table.name == name) else {
            return Err(format!("a poll answers table {name:?}, which is none of its tables"));
        };
        let Change::Snapshot(rows) = &update.change else { continue };
        if table.pushed {
            return Err(format!("a poll answers rows for table {name:?}: it would take away those that clients wrote"));
        }
        let fields = rows.schema.fields();
        let given: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let declared: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        if !declared.is_empty() && given != declared {
            return Err(format!("table {name:?} has the columns {given:?}, and declares {declared:?}"));
        }
        if table.key != update.key {
            return Err(format!("table {name:?} has the key {:?}, and declares {:?}", update.key, table.key));
        }
    }
    Ok(())
}

/// Somebody subscribes to all its tables: what it publishes then, it publishes now.
fn subscribe(bench: &Bench<'_>, session: &Session<'_>) -> Result<(), String> {
    let tables = session.tables()?.into_iter().map(|table| (table.name, None)).collect();
    bench.step("when it was told who subscribes");
    let told = session.source.subscribed(Call { head: session.seat.head(), body: &SubscribedRequest { tables } });
    told.or_else(|error| if error.status == Status::NOT_IMPLEMENTED { Ok(()) } else { Err(error) })
        .map_err(|error| super::bench::told("it does not bear subscribers", &error))
}

pub(super) fn standby(bench: &Bench<'_>) -> Checked {
    let session = bench.open()?;
    session.tables()?;
    session.poll()?;
    let early = session.seat.early.load(Ordering::Acquire);
    if early > 0 {
        return Err(format!(
            "it publishes in standby ({early} times, before it was activated): until then another source may serve the tables"
        ));
    }
    session.activate()?;
    session.poll()?;
    session.end()?;
    Ok(Finding::passed())
}

pub(super) fn full_queue(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    session.seat.set(Door::Full);
    subscribe(bench, &session)?;
    session.poll()?;
    session.poll()?;
    let full = session.seat.full.load(Ordering::Acquire);
    session.seat.set(Door::Open);
    subscribe(bench, &session)?;
    session.poll().map_err(|why| format!("when there is room again, {why}"))?;
    session.unsound()?;
    session.end()?;
    Ok(match full {
        0 => Finding::skipped("it published nothing while there was no room"),
        _ => Finding::passed(),
    })
}

pub(super) fn pause_resume(bench: &Bench<'_>) -> Checked {
    let session = bench.serve()?;
    session.poll()?;
    session.pause()?;
    let early = session.seat.early.load(Ordering::Acquire);
    session.tables()?;
    session.export_state().or_else(|why| if bench.info.state.is_none() { Ok(None) } else { Err(why) })?;
    // A thread that it forgot would speak up about now.
    std::thread::park_timeout(std::time::Duration::from_millis(50));
    if session.seat.early.load(Ordering::Acquire) > early {
        return Err("it publishes while it is paused: another source may serve the tables then".to_owned());
    }
    session.resume()?;
    session.poll().map_err(|why| format!("after it was resumed, {why}"))?;
    // A host that could not pause a source in time resumes it: that wish is granted already.
    session.resume().map_err(|why| format!("while it is active, {why}"))?;
    session.pause()?;
    // From here a source may be closed as well.
    session.end()?;
    Ok(Finding::passed())
}
