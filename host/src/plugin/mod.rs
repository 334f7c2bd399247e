//! A file on disk becomes a serving generation, or is refused with a reason.
//!
//! bytes (what they say, unrun) -> stage (a private copy) -> load (mapped, checked, described) -> catalog (who serves which
//! driver id). `scan` and `watch` tell what lies in the directories, `plan` decides, `reload` acts. Knows no datasource:
//! sources are moved through the trait [`Tenants`].

mod bytes;
mod catalog;
mod driver;
mod load;
mod plan;
mod pool;
mod reload;
mod scan;
mod stage;
mod watch;

pub use bytes::{
    BytesError, ChecksumError, Examined, Facts, Libraries, Needs, Note, OwnershipError, Refusal, TRUST_LIST, Trust,
    TrustError, TrustList, Trusted, Version, examine, facts, inspect,
};
pub use catalog::{Catalog, FileState, FileView, Generation, GenerationView};
pub use driver::{Call, CallError, Driver, HostCalls, Source};
pub use load::{LoadError, load};
pub use plan::{Claim, Decision, Serving, plan};
pub(crate) use pool::REPLACED;
pub use pool::{Pool, PoolError};
pub use reload::{Executor, SwitchError, Tenants};
pub use scan::{Found, ScanError, is_plugin_name, scan};
pub use stage::{Bytes, Stage, StageError};
pub use watch::Watch;
