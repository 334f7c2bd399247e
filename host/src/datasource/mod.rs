//! A record becomes a running source.
//!
//! A `Runner` has one datasource: it opens a source of whatever generation serves its driver, polls it on schedule,
//! publishes what changed, and moves to a new generation when asked. [`Datasources`] has all of them, and is the plugin
//! room's [`Tenants`](crate::plugin::Tenants).

mod action;
mod asked;
mod books;
mod calls;
mod cancel;
mod changes;
mod converge;
mod declared;
mod entry;
mod error;
mod fleet;
mod ingest;
mod interest;
mod keep;
mod once;
mod open;
mod options;
mod push;
mod record;
mod refusal;
mod runner;
pub mod secret;
mod set;
pub mod store;
#[cfg(test)]
mod suite;
mod synchronize;
mod tenants;
#[cfg(test)]
mod tests;

pub use action::ActionError;
pub use once::Begun;
pub(crate) use options::as_opened;
pub use options::{PERSIST_DATA, POLL_TIME, shown};
pub use push::Written;
pub use record::{Change, Draft, ManagedBy, Record};
pub use refusal::Refusal;
pub use runner::{Phase, Status};
pub use set::{Datasources, View};
pub use synchronize::Difference;
