//! A record becomes a running source.
//!
//! A `Runner` has one datasource: it opens a source of whatever generation serves its driver, polls it on schedule,
//! publishes what changed, and moves to a new generation when asked. [`Datasources`] has all of them, and is the plugin
//! room's [`Tenants`](crate::plugin::Tenants).

mod action;
mod calls;
mod error;
mod ingest;
mod interest;
mod open;
mod runner;
pub mod secret;
mod set;
mod status;
pub mod store;

pub use action::ActionError;
pub use set::Datasources;
pub use status::{Phase, Status};
