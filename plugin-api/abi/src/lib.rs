//! The contract between the Busway host and its drivers.
//!
//! A driver is a shared library that exports one root [`Module`]. The host opens a [`Source`] with it for each
//! datasource, and hands the source a [`Host`] to talk back through. Nothing else is shared: each side has its own
//! allocator, its own `std`, its own async runtime if it wants one.
//!
//! Most authors never see this crate: `busway-plugin-api` wraps it in safe traits.
//!
//! # What crosses
//!
//! * **Tables** cross as [`TableUpdate`]: the [Arrow C data interface] in the structs [`ArrowSchema`] and
//!   [`ArrowArray`], defined here so that no version of any Arrow library is part of the contract.
//! * **Everything else** crosses as UTF-8 JSON text. A reader ignores keys it does not know; a writer leaves out what
//!   it has nothing to say about. The shapes are documented at each method.
//! * Every answer is a [`Reply`]: a [`Status`] and a JSON body. When the status is not [`Status::OK`] the body is an
//!   [error object](#errors).
//!
//! # Growth
//!
//! The crate's version is the contract's version. Any driver of contract 1.x runs in any host of 1.y. That holds because
//!
//! 1. [`Module`], [`Source`] and [`Host`] are prefix types: later versions append fields and methods behind
//!    `last_prefix_field`, fields as options, methods with default bodies. Nothing before it is ever touched, names of
//!    functions' parameters included;
//! 2. types passed by value ([`Reply`], [`Opened`], [`TableUpdate`], [`TableData`], [`PollReply`], the Arrow structs)
//!    never change: what they have to say more they say in JSON;
//! 3. statuses are integers: one that the reader does not know is a general failure;
//! 4. each of the three has `control(op, json)`, which answers [`Status::NOT_IMPLEMENTED`] to an operation it does not
//!    know, so a request may be added without a new method;
//! 5. layouts are compared in both directions at load, see [`root_module`];
//! 6. each version's layout is kept as text in `tests/golden`, and a test holds today's against all of them.
//!
//! `abi_stable` is pinned to `=0.11.3`: another version of it is another contract.
//!
//! # Errors
//!
//! ```json
//! {"message": "no such host", "code": "dns", "place": "src/lib.rs:40:9", "transient": true, "problems": ["…", "…"]}
//! ```
//!
//! `message` is always there. `code` is a short stable word, `place` says where in the driver's source, `transient` that
//! trying again may help, `problems` lists several findings at once.
//!
//! # JSON
//!
//! Requests are objects and never empty. `…_ms` are durations from the beginning of the call. Whole numbers stay below
//! 2^53; NaN and infinities do not occur. A request that is no JSON of the documented shape answers [`Status::INVALID`].
//! `control` looks at its operation before its JSON.
//!
//! # Ownership
//!
//! * What is passed by value is consumed, whatever the answer.
//! * An `RStr` is good for the call alone.
//! * `RString`, `RVec`, trait objects and Arrow structures are freed by the code of whoever made them, on any thread, at
//!   any later time, even after `close`. That code must not block, panic or call the other side.
//! * A library once mapped stays mapped until the process ends.
//!
//! # Threads
//!
//! Methods of a source take `&self` and may run at once on several threads, except: one `poll` at a time, and nothing
//! after `close`. `cancel` always comes on another thread than the call it ends. A call back into one's own source
//! through [`Host::call`] is refused. No panic may leave a method or a `Drop`: an unwinding `extern "C"` function ends
//! the process, so the driver's side catches it and answers [`Status::PANICKED`].
//!
//! # Other languages
//!
//! The root module and the two trait objects are `abi_stable`'s, so this contract is for Rust. A contract in C carries
//! the same messages.
//!
//! [Arrow C data interface]: https://arrow.apache.org/docs/format/CDataInterface.html

// The contract is where unsafe code lives: each block says why it is sound.
#![allow(unsafe_code)]
// `#[sabi_trait]` and `#[derive(StableAbi)]` make items that these lints would complain of.
#![allow(unknown_lints, non_local_definitions, unreachable_pub, rust_2018_idioms, missing_docs)]

mod arrow;
mod check;
mod host;
mod incompatible;
pub mod layout;
mod message;
mod mismatch;
mod module;
mod note;
mod source;

pub use abi_stable;

pub use crate::arrow::{ArrowArray, ArrowSchema, RawArray, RawSchema};
#[doc(hidden)]
pub use crate::check::compare;
pub use crate::check::root_module;
pub use crate::host::{Host, HostObject};
pub use crate::incompatible::Incompatible;
pub use crate::message::{Opened, PollReply, Reply, Status, TableData, TableUpdate};
pub use crate::mismatch::{Difference, Mismatch};
pub use crate::module::{header, Module, ModuleRef, ModuleVal, Root};
pub use crate::note::{note_bytes, note_len, read_note, NoteError, NOTE_MAGIC, NOTE_SECTION};
pub use crate::source::{Source, SourceObject};

/// The trait objects' generated types and the trait to call them, for those who implement or drive the contract.
pub mod object {
    pub use crate::host::{Host_TO, Host_trait};
    pub use crate::source::{Source_TO, Source_trait};
}

/// The contract's version, `major.minor.patch`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The symbol by which a plugin exports its [`header`]: `abi_stable`'s own name for it.
pub const ROOT_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// How a Busway driver's root module is named, so that it is not taken for another host's library.
pub const MODULE_NAME: &str = "busway_driver";

/// The version of `abi_stable` that the contract is made of.
pub const ABI_STABLE: &str = "0.11.3";

#[cfg(test)]
mod tests {
    #[test]
    fn the_symbol_is_the_one_that_abi_stable_looks_for() {
        assert_eq!(crate::ROOT_SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME);
    }
}
