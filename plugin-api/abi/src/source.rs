//! A running source, implemented by the driver and called by the host.

use crate::{PollReply, Reply};
use abi_stable::{
    sabi_trait,
    std_types::{RBox, RStr},
};

/// The instance of a datasource. Every request is a JSON object with at least `call`, the number of the call within the
/// source, and `deadline_ms`, after which the host gives up waiting; those are left out of the shapes below.
///
/// # Life
///
/// | state | what may come | then |
/// |---|---|---|
/// | standby (after `open`) | `tables`, `poll`, `import_state` before the first poll, `activate`, `close` | `activate`: active |
/// | active | everything but `import_state`, `activate`, `resume` | `pause`: paused |
/// | paused | `export_state`, `tables`, `resume`, `close` | `resume`: active |
/// | closed | nothing; the object is dropped, or leaked when a call never came back | |
///
/// A method that does not answer OK leaves the state as it was: after a failed or overdue `pause` the host calls
/// `resume`, which an active source takes as a wish already granted. After `POISONED` or `PANICKED` only `close` comes.
/// Dropping a closed source does nothing that can fail or take time.
///
/// Methods added later have default bodies that answer [`Status::NOT_IMPLEMENTED`](crate::Status::NOT_IMPLEMENTED).
#[sabi_trait]
pub trait Source: Send + Sync {
    /// The tables this source has now: `[{"name": …, "key": …, "columns": …}]`, as in
    /// [`Module::describe`](crate::Module). It may do I/O.
    fn tables(&self, request: RStr<'_>) -> Reply;

    /// Reads the data: `{"tables": ["a", "b"], "snapshot": true}`. Without `tables` all of them; with `snapshot`
    /// `unchanged` is no legal answer. At most one runs at a time.
    fn poll(&self, request: RStr<'_>) -> PollReply;

    /// Which tables have subscribers now, and which topics: `{"tables": {"a": null, "b": ["north"]}}`. It replaces what
    /// was said before. A hint: a source that polls expensive things may leave out what nobody watches.
    fn subscribed(&self, request: RStr<'_>) -> Reply;

    /// Runs an action: `{"action": "kill", "positional": [], "named": {"pid": 7}, "request_id": "…"}`. The body of the
    /// reply is the result. Each try of one request carries the same `request_id`.
    fn execute(&self, request: RStr<'_>) -> Reply;

    /// Stop having effects: no more publications, release what only one may hold. Afterwards `export_state`, then
    /// `resume` or `close`.
    fn pause(&self, request: RStr<'_>) -> Reply;

    /// Undo `pause`.
    fn resume(&self, request: RStr<'_>) -> Reply;

    /// Leave standby: publish, start threads, have effects. Publications are accepted from the beginning of this call.
    fn activate(&self, request: RStr<'_>) -> Reply;

    /// What the next generation's source should go on from: `{"version": 2, "state": …}`, or `null` for none. The
    /// request says what the next one reads, if that is known: `{"reads": [1, 2]}`. Binary state is JSON text too
    /// (base64).
    fn export_state(&self, request: RStr<'_>) -> Reply;

    /// Takes an earlier generation's state, `{"version": 2, "state": …}`, before the first poll. A version it can't
    /// read: [`Status::INVALID`](crate::Status::INVALID), and nothing was changed.
    fn import_state(&self, request: RStr<'_>) -> Reply;

    /// End calls in flight: `{"calls": [17]}`, or without the key all of them. They answer
    /// [`Status::CANCELLED`](crate::Status::CANCELLED) or whatever they still can. It comes on a thread of its own, must
    /// return at once, may come twice, and may name calls that have ended.
    fn cancel(&self, request: RStr<'_>) -> Reply;

    /// The last call: stop threads, release everything.
    fn close(&self, request: RStr<'_>) -> Reply;

    /// Anything later contracts add without a method of its own. Now there is
    ///
    /// * `webhook`, `{"table": "orders", "payload": …}`: something outside told of news. `table` is null when the sender
    ///   named none, `payload` is what came. The source publishes what it makes of it and answers the names of the tables
    ///   that it updated: `["orders"]`.
    #[sabi(last_prefix_field)]
    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;
}

/// A [`Source`] as it crosses.
pub type SourceObject = Source_TO<'static, RBox<()>>;
