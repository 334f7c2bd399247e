//! The host, as a source sees it.

use crate::{Reply, TableUpdate};
use abi_stable::{
    sabi_trait,
    std_types::{RBox, RStr},
};

/// What a source may ask of its host. Each source has one of its own; clones are the same one. All methods may be
/// called on any thread, none panics, none blocks longer than it says.
///
/// Methods added later have default bodies that answer [`Status::NOT_IMPLEMENTED`](crate::Status::NOT_IMPLEMENTED).
#[sabi_trait]
pub trait Host: Send + Sync + Clone {
    /// Publishes an update of one table, waiting at most `wait_ms` for room.
    ///
    /// OK: accepted, in this order. [`FULL`](crate::Status::FULL), [`SUPERSEDED`](crate::Status::SUPERSEDED),
    /// [`CLOSED`](crate::Status::CLOSED), [`INVALID`](crate::Status::INVALID),
    /// [`INCONSISTENT`](crate::Status::INCONSISTENT): nothing was changed.
    fn publish(&self, update: TableUpdate, wait_ms: u64) -> Reply;

    /// Tells of something that happened: `{"topic": …, "type": …, "origin": …, "body": …}`.
    fn emit(&self, event: RStr<'_>) -> Reply;

    /// Calls a method of a service on the bus and waits for its answer:
    /// `{"service": "web", "method": "get_snapshot", "args": {}, "deadline_ms": 5000}`.
    fn call(&self, request: RStr<'_>) -> Reply;

    /// Asks to be polled soon: `{"tables": ["a"]}`, or without the key all tables. Returns at once; several become one.
    fn request_poll(&self, request: RStr<'_>) -> Reply;

    /// A short text that operators see beside the source: what it is doing or waiting for. Empty clears it.
    fn status(&self, text: RStr<'_>);

    /// A log record that passed the filter:
    ///
    /// ```json
    /// {"level": "warn", "target": "my_driver::net", "message": "…", "fields": {"tries": 3}, "spans": ["refresh"],
    ///  "file": "src/net.rs", "line": 12}
    /// ```
    fn log(&self, record: RStr<'_>);

    /// Whether the calls in flight were cancelled or the source is to be closed. Cheap: a flag read.
    fn cancelled(&self) -> bool;

    /// Anything later contracts add without a method of its own.
    #[sabi(last_prefix_field)]
    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;
}

/// A [`Host`] as it crosses.
pub type HostObject = Host_TO<'static, RBox<()>>;
