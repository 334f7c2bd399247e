//! A record becomes a running source.
//!
//! A `Runner` has one datasource: it opens a source of whatever generation serves its driver, polls it on schedule,
//! publishes what changed, and moves to a new generation when asked. [`Datasources`] has all of them, and is the plugin
//! room's [`Tenants`](crate::plugin::Tenants).

mod ingest;
mod open;
mod runner;
mod set;
mod status;

pub use set::{ActionError, Datasources};
pub use status::{Phase, Status};
