//! A file on disk becomes a serving generation, or is refused with a reason.
//!
//! note (what the bytes say) -> stage (a private copy) -> vet (tried in a child process) -> load (mapped, checked, described) -> catalog (who serves which
//! driver id). `scan` and `watch` tell what lies in the directories, `plan` decides, `reload` acts. Knows no datasource:
//! sources are moved through the trait [`Tenants`].

mod catalog;
mod driver;
mod load;
mod note;
mod plan;
mod pool;
mod reload;
mod scan;
mod stage;
pub(crate) mod vet;
mod watch;

pub use catalog::{Catalog, FileState, FileView, Generation, GenerationView};
pub use driver::{Call, CallError, Driver, HostCalls, Source};
pub use load::{LoadError, load};
pub use note::{InspectError, Needs, Note, NoteError, inspect_file, read as read_note};
pub use plan::{Claim, Decision, Serving, plan};
pub(crate) use pool::REPLACED;
pub use pool::{Pool, PoolError};
pub use reload::{Executor, SwitchError, Tenants};
pub use scan::{Found, ScanError, is_plugin_name, scan};
pub use stage::{Bytes, Stage, StageError};
pub use vet::{Bad, ChildVetter, Good, Kind, ProgramError, Subject, Verdict, Vet, VetterError};
pub use watch::Watch;
