//! Arrow tables: what is held, how it differs from the next snapshot, and the steps between states.
//!
//! Knows no bus and no driver: everything here is a function of its arguments. A table's states are numbered within an
//! epoch; a [`Step`] takes whoever stands at `from` to `to`. A [`TableState`] belongs to its writer; readers hold its
//! [`Rows`].

mod bits;
mod canonical;
mod coalesce;
mod diff;
mod encode;
mod fingerprint;
mod index;
mod intake;
mod json;
mod limits;
mod pick;
mod radix;
mod ring;
mod rows;
mod shape;
mod state;
mod step;
mod store;
mod threads;

#[cfg(test)]
mod model;

pub use intake::Taken;
pub(crate) use json::Cells;
pub use json::{BadKind, BadRow, kind_of_name, kinds, rows_json, rows_of_json};
pub use limits::Limits;
pub(crate) use pick::{Only, Order, Place, Walk, Wanted};
pub use ring::Ring;
pub use rows::Rows;
pub use shape::{Refused, Shape};
pub use state::{Applied, TableState};
pub use step::{Epoch, Step};
