//! A running source, implemented by the driver and called by the host.

use crate::{PollReply, Reply};
use abi_stable::{
    sabi_trait,
    std_types::{RBox, RStr},
};

/// The instance of a datasource. Life: open (standby), first poll, `activate`, polls and calls, perhaps `pause` and
/// `resume`, `close`.
///
/// Methods added later have default bodies that answer [`Status::NOT_IMPLEMENTED`](crate::Status::NOT_IMPLEMENTED).
#[sabi_trait]
pub trait Source: Send + Sync {
    /// The tables this source has now: `[{"name": …, "key": …, "columns": …}]`, as in
    /// [`Module::describe`](crate::Module). It may do I/O.
    fn tables(&self) -> Reply;

    /// Reads the data: `{"tables": ["a", "b"]}`, or without the key all of them. At most one runs at a time. A table
    /// asked for by name is answered by a snapshot. A table that exists and was not asked for by name is answered too
    /// when `tables` is absent; one result for each table, errors table by table.
    fn poll(&self, request: RStr<'_>) -> PollReply;

    /// Which tables have subscribers now, and which topics: `{"tables": {"a": null, "b": ["north"]}}`. A hint.
    fn subscribed(&self, request: RStr<'_>) -> Reply;

    /// Runs an action: `{"action": "kill", "positional": [], "named": {"pid": 7}, "request_id": "…"}`. The body of the
    /// reply is the result.
    fn execute(&self, request: RStr<'_>) -> Reply;

    /// Stop having effects: no more publications, release what only one may hold. `{"deadline_ms": 2000}`. Afterwards
    /// `export_state`, then `resume` or `close`.
    fn pause(&self, request: RStr<'_>) -> Reply;

    /// Undo `pause`.
    fn resume(&self) -> Reply;

    /// Leave standby: publish, start threads, have effects.
    fn activate(&self) -> Reply;

    /// What the next generation's source should go on from: `{"version": 2, "state": …}`, or `null` for none.
    fn export_state(&self) -> Reply;

    /// Takes an earlier generation's state, in the same form, before the first poll. A version it can't read:
    /// [`Status::INVALID`](crate::Status::INVALID), and nothing was changed.
    fn import_state(&self, state: RStr<'_>) -> Reply;

    /// End the calls in flight as soon as possible; they answer [`Status::CANCELLED`](crate::Status::CANCELLED) or
    /// whatever they still can. Comes on a thread of its own and must return at once.
    fn cancel(&self, request: RStr<'_>) -> Reply;

    /// The last call: stop threads, release everything.
    fn close(&self) -> Reply;

    /// Anything later contracts add without a method of its own.
    #[sabi(last_prefix_field)]
    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;
}

/// A [`Source`] as it crosses.
pub type SourceObject = Source_TO<'static, RBox<()>>;
