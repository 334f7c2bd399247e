//! Driver `push`: tables whose rows clients write.
//!
//! It reads nothing. A datasource declares tables; the host takes rows for them from its clients, holds them to the
//! declared columns and key, and refuses what does not fit, as a whole. The tables begin without rows.
//!
//! # Several tables
//!
//! ```toml
//! [datasource.inventory]
//! driver = "push"
//!
//! [datasource.inventory.options.tables.machines]
//! description = "What stands in the racks"
//! key = ["serial"]                  # one row for each; without a key the table is a set of rows
//! topic = "site"                    # subscribers may choose sites
//! columns = [
//!   { name = "serial", type = "text" },
//!   { name = "site", type = "text", nullable = false },
//!   { name = "price", type = "decimal(12,2)", description = "As bought" },
//!   "note",                         # short for { name = "note", type = "text" }
//! ]
//! ```
//!
//! Types are `bool`, `int8` to `int64`, `uint8` to `uint64`, `float32`, `float64`, `text`, `binary`, `date`, `timestamp`,
//! `local_timestamp`, `decimal(P,S)`, `list(T)`. A row may lack the value of a column, unless the column is of the key or
//! `nullable` is false. Keys are neither floats nor lists.
//!
//! Over another build or configuration the clients' rows stay, as long as a table's columns and key are the same; with
//! others it begins without rows.
//!
//! # One table
//!
//! With `columns` (and `key`, `topic`, `description`, if need be) instead of `tables` there is one table, `data`, as the
//! predecessor's driver of this name had:
//!
//! ```toml
//! [datasource.alarms]
//! driver = "push"
//! options = { columns = ["host", "alarm", { name = "level", type = "int64" }], description = "Alarms of the old system" }
//! ```
//!
//! A row that is a list has its values in the order of the columns, so those clients' `[["web1", "disk", 3], …]` go on as
//! they are. There the columns were not declared at all; here they must be: every row has as many values as there are
//! columns, or it is refused, and consumers know names and types.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test may panic"))]

mod options;
#[cfg(test)]
mod tests;

use busway_plugin_api::prelude::*;
use options::Options;

struct Push;

impl Driver for Push {
    const ID: &'static str = "push";
    const DESCRIPTION: &'static str = "Tables whose rows clients write";
    type Options = Options;
    type Source = PollSource;

    fn open(options: Options, context: Context) -> Result<PollSource, Error> {
        let source = PollSource::new(context);
        // Never rows: they would take the clients' away, also when another generation goes on with their tables.
        let add = |source: PollSource, spec| source.changes(spec, |_| Ok(Change::Published));
        Ok(options.check()?.into_iter().fold(source, add))
    }
}

export_driver!(Push);
