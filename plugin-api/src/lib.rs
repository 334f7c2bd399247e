//! Everything a driver's author needs.
//!
//! A driver is a shared library that a running Busway host loads; it gives tables. About thirty lines make one:
//!
//! ```
//! use busway_plugin_api::prelude::*;
//!
//! /// What a datasource may set. Doc comments become the options' descriptions.
//! #[derive(Deserialize, JsonSchema)]
//! struct Options {
//!     /// The folder whose files are listed.
//!     path: String,
//!     /// Whether hidden files are too.
//!     #[serde(default)]
//!     hidden: bool,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct File {
//!     name: String,
//!     bytes: u64,
//! }
//!
//! struct Folder;
//!
//! impl Driver for Folder {
//!     const ID: &'static str = "folder";
//!     const DESCRIPTION: &'static str = "The files of a folder";
//!     type Options = Options;
//!     type Source = PollSource;
//!
//!     fn open(options: Options, context: Context) -> Result<PollSource, Error> {
//!         let files = TableSpec::of::<File>("files").key(["name"]);
//!         Ok(PollSource::new(context).table(files, move |_| {
//!             let mut rows = Vec::new();
//!             for entry in std::fs::read_dir(&options.path)? {
//!                 let entry = entry?;
//!                 let name = entry.file_name().to_string_lossy().into_owned();
//!                 if options.hidden || !name.starts_with('.') {
//!                     rows.push(File { name, bytes: entry.metadata()?.len() });
//!                 }
//!             }
//!             Ok(rows)
//!         }))
//!     }
//! }
//!
//! busway_plugin_api::export_driver!(Folder);
//!
//! # fn main() -> Result<(), Error> {
//! // The author's own test, with no host:
//! use busway_plugin_api::testing::TestHost;
//! let host = TestHost::new();
//! let source = host.open::<Folder>(serde_json::json!({"path": env!("CARGO_MANIFEST_DIR")}))?;
//! let files: Vec<File> = source.poll()?.rows("files")?;
//! assert!(files.iter().any(|file| file.name == "Cargo.toml" && file.bytes > 0));
//! # Ok(()) }
//! ```
//!
//! Its `Cargo.toml` has `crate-type = ["cdylib"]` and depends on this crate and on `serde`. The library, dropped into a
//! host's plugin directory, is driver `folder`.
//!
//! # What to know
//!
//! * The host calls a driver on threads of its own, with deadlines. Block as you like, but ask
//!   [`Context::cancelled`] in long loops and sleep with [`Context::sleep`].
//! * A source opens in standby: no effects before [`Source::activate`]. During a reload the old and the new one are open
//!   at once, unless [`Driver::OVERLAP`] says otherwise.
//! * A loaded library is never unloaded, and the same bytes are loaded once: statics live on over a reload of the same
//!   bytes. Keep state in the source.
//! * A panic is caught, logged with its place, and poisons that source alone. Build with `panic = "unwind"`, the default.
//! * A driver is one self-contained file: it needs no library beside the system's.
//! * Register no signal handlers, change neither the working directory, nor the environment, nor the locale.
//! * Use `tracing` as everywhere: records reach the host's log with driver, generation and datasource.
//!
//! # Tables that are more than rows of a poll
//!
//! | a table | is declared | and |
//! |---|---|---|
//! | whose source learns of changes by itself | | polls answer [`Change::Published`]; a [`Publisher`] replaces, adds, removes |
//! | that costs much to read | [`TableSpec::lazy`] | the host polls it only while somebody subscribes to it. A poll says which tables it wants ([`PollRequest::wants`](message::PollRequest::wants)); [`PollSource`] minds that |
//! | that clients write | [`TableSpec::pushed`] | the host takes their rows, holds them to the declared columns and key, and begins without any. Polls answer [`Change::Published`]: rows of a poll would take the clients' away |
//! | that others tell of news | | [`Source::webhook`] is given what they sent, publishes what it makes of it, and names the tables |
//!
//! ```
//! use busway_plugin_api::prelude::*;
//! use busway_plugin_api::testing::TestHost;
//! # #[derive(Deserialize, JsonSchema)] struct NoOptions {}
//! # struct Shop;
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Order { id: i64, customer: String }
//!
//! # impl Driver for Shop {
//! #     const ID: &'static str = "shop";
//! #     type Options = NoOptions;
//! #     type Source = PollSource;
//! fn open(_: NoOptions, context: Context) -> Result<PollSource, Error> {
//!     let orders = || TableSpec::of::<Order>("orders").key(["id"]);
//!     Ok(PollSource::new(context)
//!         .changes(orders(), |_| Ok(Change::Published))
//!         .changes(TableSpec::of::<Order>("notes").pushed(), |_| Ok(Change::Published))
//!         .table(TableSpec::of::<Order>("history").lazy(), |_| Ok(Vec::<Order>::new()))
//!         .webhook(move |context, request| {
//!             let all = Vec::<Order>::deserialize(&request.payload)?;
//!             context.publisher(orders()).replace(&all)?;
//!             Ok(vec!["orders".to_owned()])
//!         }))
//! }
//! # }
//!
//! # fn main() -> Result<(), Error> {
//! let host = TestHost::new();
//! let source = host.open::<Shop>(serde_json::json!({}))?;
//! source.activate()?;
//! assert_eq!(source.webhook(None, serde_json::json!([{"id": 7, "customer": "Ada"}]))?, ["orders"]);
//! assert_eq!(host.published().len(), 1);
//! # Ok(()) }
//! ```
//!
//! A table takes changes once it was replaced: [`Publisher::add`] to one that was never given is
//! [`PublishError::NeedsSnapshot`]. A webhook that only says that there is news may call [`Context::request_poll`].
//!
//! # Support
//!
//! | what | promise |
//! |---|---|
//! | a built driver, contract 1.x | runs in every host of contract 1.y, older or newer |
//! | this crate | may break between its own minor versions before 1.0; a driver built with an old one runs on |
//! | something deprecated here | stays, with a note of what replaces it, for two minor versions |
//! | platforms | x86-64 and aarch64 Linux with glibc; contract and note are fixed for Windows and macOS, untested there |
//! | Rust | this crate: the workspace's `rust-version`; `busway-abi` alone: 1.63 (tested) |

pub use arrow_array;
pub use arrow_buffer;
pub use arrow_schema;
pub use arrow_select;
pub use busway_abi as abi;
pub use schemars;
pub use serde;
pub use serde_arrow;
pub use serde_json;
pub use tracing;

mod context;
mod driver;
mod error;
pub mod event;
#[doc(hidden)]
pub mod export;
mod guard;
pub mod info;
pub mod log;
pub mod message;
pub mod options;
mod poll;
mod retry;
mod secret;
pub mod table;
pub mod testing;

pub use context::{Context, PublishError, Publisher};
pub use driver::{Args, Driver, Source};
pub use error::Error;
pub use event::EventTypeInfo;
pub use info::{ActionInfo, Overlap, StateInfo, TableInfo};
pub use poll::PollSource;
pub use retry::Retry;
pub use secret::Secret;
pub use table::{Batches, Change, TableSpec, Update};

/// What most drivers need, in one `use`.
pub mod prelude {
    pub use crate::message::EventBody;
    pub use crate::schemars::{self, JsonSchema};
    pub use crate::{
        ActionInfo, Args, Batches, Change, Context, Driver, Error, EventTypeInfo, Overlap, PollSource, Retry, Secret,
        Source, StateInfo, TableSpec, Update, export_driver,
    };
    pub use serde::{Deserialize, Serialize};
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
