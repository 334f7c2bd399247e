//! Busway: a plugin host that turns driver libraries into live tables on a bus.

pub mod cli;
pub mod table;
