//! Busway: a plugin host that turns driver libraries into live tables on a bus.

pub mod bus;
pub mod cli;
pub mod config;
pub mod datasource;
pub mod http;
pub mod logging;
pub mod node;
pub mod plugin;
pub mod table;

/// What rows and columns are made of, in the version that the bus hands out.
pub use busway_plugin_api::{arrow_array, arrow_schema};
