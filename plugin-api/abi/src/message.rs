//! What calls answer. These structs are passed by value, so they never change; growth goes into their JSON.

use crate::{ArrowArray, ArrowSchema, SourceObject};
use abi_stable::{
    std_types::{ROption, RString, RVec},
    StableAbi,
};

/// How a call ended. An integer, so that later contracts can add to it: a reader treats one it does not know as
/// [`Status::FAILED`]. All values, negative ones too, belong to the contract.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, StableAbi)]
pub struct Status(pub i32);

impl Status {
    /// It worked. For [`Host::publish`](crate::Host::publish): accepted.
    pub const OK: Self = Self(0);
    /// It did not work; the error says why.
    pub const FAILED: Self = Self(1);
    /// The callee knows no such method or operation.
    pub const NOT_IMPLEMENTED: Self = Self(2);
    /// The request is wrong and nothing was changed: `problems` lists each finding.
    pub const INVALID: Self = Self(3);
    /// Something named in the request is not there (a table, an action, a service).
    pub const NOT_FOUND: Self = Self(4);
    /// The callee panicked; the panic was caught on its side. A source that did so is poisoned.
    pub const PANICKED: Self = Self(5);
    /// An earlier panic poisoned the source: it takes no more calls but `close`.
    pub const POISONED: Self = Self(6);
    /// The call was cancelled.
    pub const CANCELLED: Self = Self(7);
    /// A deadline passed.
    pub const TIMED_OUT: Self = Self(8);
    /// The other side was closed.
    pub const CLOSED: Self = Self(9);
    /// No room within the wait; the table now needs a snapshot, and the host will ask for one.
    pub const FULL: Self = Self(10);
    /// Another generation writes these tables now, for good: nothing was changed.
    pub const SUPERSEDED: Self = Self(11);
    /// The delta contradicts the table's state: nothing was changed, and a snapshot will be asked for.
    pub const INCONSISTENT: Self = Self(12);
    /// Not allowed here (a call back into one's own source, say).
    pub const REFUSED: Self = Self(13);
    /// The source is not activated yet, or paused: nothing was changed; again after `activate` or `resume`.
    pub const STANDBY: Self = Self(14);
    /// The table waits for a snapshot and takes no delta before it: nothing was changed.
    pub const NEEDS_SNAPSHOT: Self = Self(15);
}

/// An answer: a status and a JSON body. Not OK: the body is an error object.
///
/// An empty body stands for `null`.
#[repr(C)]
#[derive(Debug, Clone, StableAbi)]
pub struct Reply {
    /// How the call ended.
    pub status: Status,
    /// JSON, UTF-8.
    pub body: RString,
}

impl Reply {
    /// OK, with nothing to say.
    pub fn ok() -> Self {
        Self { status: Status::OK, body: RString::new() }
    }

    /// Whether the call worked.
    pub fn is_ok(&self) -> bool {
        self.status == Status::OK
    }
}

/// What `open` answers: a source when the status is OK, else the error.
#[repr(C)]
#[derive(StableAbi)]
pub struct Opened {
    /// Status and error.
    pub reply: Reply,
    /// The source, in standby.
    pub source: ROption<SourceObject>,
}

/// The batches of one part of an update. All share the schema.
///
/// A batch holds at most 64 MiB of buffer bytes in use (offset and length counted); the SDK splits larger ones. A table
/// of no rows has no batch, and still its schema. Column names are unique and not empty. Unions, run-end-encoded and
/// list-view columns do not cross; a row that is null as a whole is refused.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct TableData {
    /// The columns.
    pub schema: ArrowSchema,
    /// The rows, in order.
    pub batches: RVec<ArrowArray>,
}

/// What happened to one table.
///
/// The header:
///
/// ```json
/// {"table": "mounts", "kind": "snapshot", "key": ["path"], "description": "…"}
/// ```
///
/// | `kind` | parts |
/// |---|---|
/// | `snapshot` | one: all the rows. Twice the same row, or two rows of one key: the last one counts, and they are counted |
/// | `unchanged` | none: as this very source last gave it; before it has, an error of that table; in the first poll of a source that is to replace another, a breach of the contract, as that asks for a snapshot |
/// | `gone` | none: the table is no more, or never was |
/// | `error` | none; `error` in the header is an error object; the table stays as it was |
/// | `published` | none, in a poll only: its rows went, or will go, through [`Host::publish`](crate::Host::publish) |
/// | `delta` | two, through `publish` only. Keyed tables: rows to insert or replace, then the keys to remove, as the key columns alone in the header's order. Others: rows added, rows removed |
///
/// `key` names the columns that make a row's identity; a table without it is a set of rows, and a header without it says
/// just that. A key column that is nullable or a float is refused ([`Status::INVALID`]). `topic`, if there, names the
/// column by which subscribers may choose rows.
///
/// A delta is refused as a whole ([`Status::INCONSISTENT`]) when it adds a row that is there to a set, removes a row or
/// key that is not, names a key twice in one part or in both, or has other columns than the table; floats are compared
/// with NaN equal to NaN and -0 to 0. Before a table's first snapshot, and after a refused delta, deltas are answered
/// [`Status::NEEDS_SNAPSHOT`].
///
/// A table that its source ever publishes is written through `publish` alone, and by one thread at a time: a poll's rows
/// and a publication have no order between them.
///
/// A kind that the reader does not know is an error of that table.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct TableUpdate {
    /// JSON, see above.
    pub header: RString,
    /// As the kind demands.
    pub parts: RVec<TableData>,
}

/// What a poll answers. Not OK: the whole poll failed and `updates` is ignored.
///
/// One update for each table that was asked for. A table known before that is missing from a poll of all is an error of
/// that table, not its end. Two updates of one table, or one of a table not asked for: the poll fails.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct PollReply {
    /// Status and body; the body of a good poll may be empty.
    pub reply: Reply,
    /// One for each table polled.
    pub updates: RVec<TableUpdate>,
}
