//! The host, as a source sees it.

use crate::{Reply, Status, TableUpdate};
use abi_stable::{
    sabi_trait,
    std_types::{RBox, RStr},
};

/// What a source may ask of its host. Each source has one of its own; clones are the same one and may outlive `close`,
/// after which they answer [`CLOSED`](crate::Status::CLOSED). All methods may be called on any thread; none panics; only
/// `publish` and `call` block, no longer than they are told, and are woken by `pause` and `close`.
///
/// In standby and when paused, `publish` and `emit` answer [`STANDBY`](crate::Status::STANDBY); the others work.
///
/// Methods added later have default bodies that answer [`Status::NOT_IMPLEMENTED`](crate::Status::NOT_IMPLEMENTED).
#[sabi_trait]
pub trait Host: Send + Sync + Clone {
    /// Publishes an update of one table, waiting at most `wait_ms` for room; 0: not at all. The update is consumed
    /// whatever the answer.
    ///
    /// OK: accepted, in this order. Otherwise nothing was changed: [`FULL`](crate::Status::FULL) (the table now needs a
    /// snapshot), [`STANDBY`](crate::Status::STANDBY), [`SUPERSEDED`](crate::Status::SUPERSEDED),
    /// [`CLOSED`](crate::Status::CLOSED), [`INVALID`](crate::Status::INVALID),
    /// [`INCONSISTENT`](crate::Status::INCONSISTENT), [`NEEDS_SNAPSHOT`](crate::Status::NEEDS_SNAPSHOT).
    fn publish(&self, update: TableUpdate, wait_ms: u64) -> Reply;

    /// Tells of something that happened: `{"topic": …, "type": …, "origin": …, "body": …}`.
    fn emit(&self, event: RStr<'_>) -> Reply;

    /// Calls a method of a service on the bus and waits for its answer, which is the reply's body:
    /// `{"service": "web", "method": "get_snapshot", "args": {}, "deadline_ms": 5000}`. Nobody of that name:
    /// [`NOT_FOUND`](crate::Status::NOT_FOUND) at once; the service's own errors come back as it gave them.
    fn call(&self, request: RStr<'_>) -> Reply;

    /// Asks to be polled soon: `{"tables": ["a"]}`, or without the key all tables. Several become one.
    fn request_poll(&self, request: RStr<'_>) -> Reply;

    /// A short text that operators see beside the source, what it is doing or waiting for: `{"text": "…"}`. Empty clears
    /// it.
    fn status(&self, request: RStr<'_>) -> Status;

    /// A log record that passed the filter:
    ///
    /// ```json
    /// {"level": "warn", "target": "my_driver::net", "message": "…", "fields": {"tries": 3}, "spans": ["refresh"],
    ///  "file": "src/net.rs", "line": 12}
    /// ```
    fn log(&self, record: RStr<'_>) -> Status;

    /// Whether this call was cancelled, or the source is being closed; call 0 asks for the latter alone. Cheap: a flag
    /// read.
    fn cancelled(&self, call: u64) -> bool;

    /// Anything later contracts add without a method of its own.
    #[sabi(last_prefix_field)]
    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;
}

/// A [`Host`] as it crosses.
pub type HostObject = Host_TO<'static, RBox<()>>;
