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
