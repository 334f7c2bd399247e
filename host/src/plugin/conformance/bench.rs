//! The host's part in a check: sources are opened, asked and closed as a host does, and what they tell it is counted.

use crate::plugin::driver::{Call, CallError, Driver, HostCalls, Source};
use crate::table::{Limits, Shape, TableState};
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, TableInfo};
use busway_plugin_api::message::{AttachRequest, CallHead, LogRecord, OpenRequest, PollRequest, StateBody};
use busway_plugin_api::table::{Change, Update};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each call is told of its time.
const DEADLINE_MS: u64 = 5000;

/// A driver on the bench.
pub(super) struct Bench<'a> {
    pub(super) driver: &'a Arc<dyn Driver>,
    pub(super) info: DriverInfo,
    pub(super) options: &'a Map<String, Value>,
    step: &'a dyn Fn(&str),
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        driver: &'a Arc<dyn Driver>,
        options: &'a Map<String, Value>,
        step: &'a dyn Fn(&str),
    ) -> Result<Self, String> {
        let info = driver.describe().map_err(|error| format!("it does not describe itself: {error}"))?;
        step("when it was told of its host");
        let host = Arc::new(Seat::default());
        let request = AttachRequest { generation: 1, log_filter: "warn".to_owned() };
        driver.attach(host, &request).map_err(|error| format!("it refuses its host: {error}"))?;
        Ok(Self { driver, info, options, step })
    }

    /// Says when it is that something happens.
    pub(super) fn step(&self, when: &str) {
        (self.step)(when);
    }

    /// Asks it to open a source with these options.
    pub(super) fn try_open(&self, options: &Map<String, Value>) -> Result<Session<'_>, CallError> {
        self.step("when a source was opened");
        let seat = Arc::new(Seat::default());
        let request = OpenRequest {
            datasource: "conformance".to_owned(),
            call: seat.next_call(),
            generation: 1,
            options: options.clone(),
        };
        let source = self.driver.open(&request, Arc::clone(&seat) as Arc<dyn HostCalls>)?;
        Ok(Session { source, seat, step: self.step })
    }

    /// Opens a source with the options that were given, in standby.
    pub(super) fn open(&self) -> Result<Session<'_>, String> {
        self.try_open(self.options).map_err(|error| told("it does not open", &error))
    }

    /// Opens one and lets it serve.
    pub(super) fn serve(&self) -> Result<Session<'_>, String> {
        let session = self.open()?;
        session.activate()?;
        Ok(session)
    }
}

/// What a call that must not fail failed with.
pub(super) fn told(what: &str, error: &CallError) -> String {
    match error.status {
        Status::PANICKED | Status::POISONED => format!("{what}, as its code panicked: {error}"),
        _ => format!("{what}: {error}"),
    }
}

/// An open source, and the host's side of it.
pub(super) struct Session<'a> {
    pub(super) source: Arc<dyn Source>,
    pub(super) seat: Arc<Seat>,
    step: &'a dyn Fn(&str),
}

impl Session<'_> {
    fn call<T>(&self, when: &str, what: &str, ask: impl FnOnce(CallHead) -> Result<T, CallError>) -> Result<T, String> {
        (self.step)(when);
        ask(self.seat.head()).map_err(|error| told(what, &error))
    }

    pub(super) fn tables(&self) -> Result<Vec<TableInfo>, String> {
        self.call("when it was asked for its tables", "it does not say which tables it has", |head| {
            self.source.tables(head)
        })
    }

    /// Polls all tables; every answer must be sound.
    pub(super) fn poll(&self) -> Result<Vec<Update>, String> {
        let updates = self.call("while it was polled", "a poll fails", |head| {
            self.source.poll(Call { head, body: &PollRequest::default() })
        })?;
        sound_poll(&updates)?;
        Ok(updates)
    }

    pub(super) fn activate(&self) -> Result<(), String> {
        // Publications are accepted from the beginning of the call.
        self.seat.set(Door::Open);
        self.call("when it was activated", "it can't be activated", |head| self.source.activate(head))
    }

    pub(super) fn pause(&self) -> Result<(), String> {
        self.call("when it was paused", "it can't be paused", |head| self.source.pause(head))?;
        self.seat.set(Door::Standby);
        Ok(())
    }

    pub(super) fn resume(&self) -> Result<(), String> {
        self.seat.set(Door::Open);
        self.call("when it was resumed", "it can't be resumed", |head| self.source.resume(head))
    }

    pub(super) fn export_state(&self) -> Result<Option<StateBody>, String> {
        let what = "it does not hand over its state";
        self.call("when it was asked for its state", what, |head| self.source.export_state(head))
    }

    pub(super) fn import_state(&self, state: &StateBody) -> Result<(), CallError> {
        (self.step)("when it was given a state");
        self.source.import_state(Call { head: self.seat.head(), body: state })
    }

    /// The last call. What it publishes from now on comes too late.
    pub(super) fn close(&self) -> Result<(), String> {
        self.seat.closing.store(true, Ordering::Release);
        self.call("when it was closed", "it can't be closed", |head| self.source.close(head))?;
        self.seat.set(Door::Closed);
        Ok(())
    }

    /// Lets go of the source; the host's side stays.
    pub(super) fn drop_source(self) -> Arc<Seat> {
        (self.step)("when it was dropped after it had been closed");
        drop(self.source);
        self.seat
    }

    /// Closes it and lets go of it.
    pub(super) fn end(self) -> Result<(), String> {
        self.close()?;
        self.drop_source();
        Ok(())
    }

    /// What of its publications no host would take.
    pub(super) fn unsound(&self) -> Result<(), String> {
        lock(&self.seat.unsound).clone().map_or(Ok(()), Err)
    }
}

/// What becomes of what a source publishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Door {
    #[default]
    Standby,
    Open,
    Full,
    Closed,
}

/// The host, as one source sees it.
#[derive(Default)]
pub(super) struct Seat {
    door: Mutex<Door>,
    closing: AtomicBool,
    calls: AtomicU64,
    /// Calls up to this one are cancelled.
    cancelled: AtomicU64,
    /// How often it published while it might, while there was no room, while it might not, after it was closed.
    pub(super) taken: AtomicUsize,
    pub(super) full: AtomicUsize,
    pub(super) early: AtomicUsize,
    pub(super) late: AtomicUsize,
    unsound: Mutex<Option<String>>,
}

impl Seat {
    pub(super) fn set(&self, door: Door) {
        *lock(&self.door) = door;
    }

    fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(super) fn head(&self) -> CallHead {
        CallHead { call: self.next_call(), deadline_ms: DEADLINE_MS }
    }

    /// Cancels the calls up to this one.
    pub(super) fn cancel(&self, call: u64) {
        self.cancelled.fetch_max(call, Ordering::AcqRel);
    }
}

impl HostCalls for Seat {
    fn publish(&self, update: Update) -> Result<(), CallError> {
        let refuse = |count: &AtomicUsize, status, why: &str| {
            count.fetch_add(1, Ordering::AcqRel);
            Err(CallError::new(status, why))
        };
        match *lock(&self.door) {
            Door::Standby => refuse(&self.early, Status::STANDBY, "it is in standby"),
            Door::Full => refuse(&self.full, Status::FULL, "there is no room"),
            Door::Closed => refuse(&self.late, Status::CLOSED, "it is closed"),
            Door::Open => {
                if let Err(why) = sound(&update) {
                    lock(&self.unsound).get_or_insert_with(|| format!("what it publishes is refused: {why}"));
                    return Err(CallError::new(Status::INVALID, why));
                }
                self.taken.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
        }
    }

    fn request_poll(&self, _: PollRequest) -> Result<(), CallError> {
        Ok(())
    }

    fn status(&self, _: String) -> Status {
        Status::OK
    }

    fn log(&self, _: LogRecord) -> Status {
        Status::OK
    }

    fn cancelled(&self, call: u64) -> bool {
        self.closing.load(Ordering::Acquire) || (call > 0 && call <= self.cancelled.load(Ordering::Acquire))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a host could take all that a poll answered.
fn sound_poll(updates: &[Update]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for update in updates {
        if !seen.insert(update.table.as_str()) {
            return Err(format!("a poll answers table {:?} twice", update.table));
        }
        if matches!(update.change, Change::Delta { .. }) {
            return Err(format!(
                "a poll answers a delta for table {:?}: only what is published may be one",
                update.table
            ));
        }
        sound(update)?;
    }
    Ok(())
}

/// Rows that a host leaves out of its tables, as others stand for them.
pub(super) fn left_out(updates: &[Update]) -> Vec<String> {
    let duplicates = |update: &Update| {
        let Change::Snapshot(rows) = &update.change else { return None };
        let state = TableState::begin(Shape::of(update, rows).ok()?, rows, Limits::default()).ok()?;
        Some(state.duplicates()).filter(|count| *count > 0)
    };
    let of = |update: &Update, count: u64| {
        let like = if update.key.is_empty() {
            "are like others".to_owned()
        } else {
            format!("have the same {}", update.key.join(", "))
        };
        format!("rows of table {:?} {like}: {count} left out", update.table)
    };
    updates.iter().filter_map(|update| Some(of(update, duplicates(update)?))).collect()
}

/// Whether a host could take an update.
fn sound(update: &Update) -> Result<(), String> {
    let table = &update.table;
    let refuse = |why: &dyn std::fmt::Display| format!("table {table:?}: {why}");
    match &update.change {
        Change::Snapshot(rows) => {
            let shape = Shape::of(update, rows).map_err(|why| refuse(&why))?;
            TableState::begin(shape, rows, Limits::default()).map(drop).map_err(|why| refuse(&why))
        }
        Change::Failed(error) => Err(refuse(error)),
        _ => Ok(()),
    }
}
