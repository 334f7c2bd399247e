//! Driver `system`: the Linux machine it runs on, as live tables.
//!
//! It is also an example to copy: each table has a file of its own, with its row, its `spec` and its `read`; what a
//! table must remember between polls lives in the source, in the closure that reads it.

mod load;
mod memory;
mod rates;

use busway_plugin_api::prelude::*;

/// What a datasource may set.
#[derive(Deserialize, JsonSchema)]
struct Options {}

struct System;

impl Driver for System {
    const ID: &'static str = "system";
    const DESCRIPTION: &'static str = "This Linux machine: load, memory";
    type Options = Options;
    type Source = PollSource;

    fn tables() -> Vec<TableSpec> {
        vec![load::spec(), memory::spec()]
    }

    fn open(_: Options, context: Context) -> Result<PollSource, Error> {
        let load = load::Reader::default();
        let source = PollSource::new(context)
            .table(load::spec(), move |_| load.read())
            .table(memory::spec(), |_| memory::read());
        Ok(source)
    }
}

/// The machine's name: the key of the tables that have one row.
fn host() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

export_driver!(System);
