//! A file on disk becomes a serving generation, or is refused with a reason.
//!
//! bytes (what they say, unrun) -> stage (a private copy) -> vet (tried in a child process) -> load (mapped, checked,
//! described) -> catalog (who serves which driver id). `scan` and `watch` tell what lies in the directories, `plan` decides,
//! `reload` acts, `record` remembers, `marker` notes which calls are open, `content` has the memory that files are read into.
//! Knows no datasource: sources are moved through the trait [`Tenants`].

mod bytes;
mod catalog;
pub(crate) mod conformance;
mod content;
mod driver;
mod generation;
mod load;
mod marker;
mod news;
mod plan;
mod pool;
mod record;
mod reload;
mod scan;
mod stage;
pub(crate) mod vet;
mod watch;

pub use bytes::{
    BytesError, ChecksumError, Examined, Facts, Libraries, Needs, Note, OwnershipError, Refusal, TRUST_LIST, Trust,
    TrustError, TrustList, Trusted, Version, examine, facts, inspect,
};
pub use catalog::{Catalog, FileState, FileView, GenerationView, Retired, Tally};
pub use content::Content;
pub use driver::{Call, CallError, Driver, HostCalls, Source};
pub use generation::{Generation, GenerationState, Health};
pub use load::{LoadError, load};
pub use marker::Death;
pub(crate) use news::News;
pub use plan::{Claim, Decision, Inputs, Plan, Serving, Step, Unclear, explain, plan};
pub use pool::{Pool, PoolError};
pub(crate) use pool::{REPLACED, THREADS};
pub use record::{By, Difference, Entry, Event, Journal, KeptCopy, Quarantined, Recorded, Replay, Served, replay};
pub use reload::{
    Answer, Control, Executor, Ledger, Lenience, Moved, OrderError, Outcome, Phases, Report, Settings, SwitchError,
    Tenants, Terms,
};
pub use scan::{Found, ScanError, is_plugin_name, scan};
pub use stage::{Bytes, Stage, StageError};
pub use vet::{Bad, ChildVetter, Good, Kind, ProgramError, Subject, Verdict, Vet, VetterError};
pub use watch::Watch;
