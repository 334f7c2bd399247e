//! Driver `system`: the Linux machine it runs on, as live tables.
//!
//! Its action `signal_process` sends a signal to a process, which must belong to the user that the host runs as, and be
//! neither the host nor what started it: `{"pid": 4242, "signal": "TERM"}`. With `name` or `started_at` of the row in table
//! `processes` it is sent only if the process is still that one. Option `signals` turns it off.
//!
//! That a signal was sent is told as event `system.process.signalled`, with the process' number and name and the signal; its
//! origin is the datasource: `busway events --type system.process.signalled`.
//!
//! It is also an example to copy: each table has a file of its own, with its row, its `spec` and its `read`; what a
//! table must remember between polls lives in the source, in the closure that reads it.

mod interfaces;
mod listeners;
mod load;
mod memory;
mod mounts;
mod processes;
mod rates;
mod signals;
#[cfg(test)]
mod tests;
mod users;

use busway_plugin_api::prelude::*;

/// What a datasource may set.
#[derive(Deserialize, JsonSchema)]
struct Options {
    /// Whether `mounts` lists pseudo file systems too: proc, sysfs, cgroup and the like.
    #[serde(default)]
    all_mounts: bool,
    /// Whether the usage of network and FUSE mounts is read. A server that is gone can block that, and the poll, for
    /// good.
    #[serde(default)]
    stat_network_mounts: bool,
    /// Whether there is a table `processes`.
    #[serde(default = "yes")]
    processes: bool,
    /// Whether `processes` tells command lines, which may hold passwords.
    #[serde(default = "yes")]
    command_lines: bool,
    /// Whether action `signal_process` may be used.
    #[serde(default = "yes")]
    signals: bool,
}

fn yes() -> bool {
    true
}

struct System;

impl Driver for System {
    const ID: &'static str = "system";
    const DESCRIPTION: &'static str = "This Linux machine: processes, mounts, interfaces, listeners, load, memory";
    type Options = Options;
    type Source = PollSource;

    /// Without `processes`, which an option can turn off.
    fn tables() -> Vec<TableSpec> {
        vec![mounts::spec(), interfaces::spec(), listeners::spec(), load::spec(), memory::spec()]
    }

    fn actions() -> Vec<ActionInfo> {
        vec![signals::info()]
    }

    fn events() -> Vec<EventTypeInfo> {
        vec![signals::event()]
    }

    fn open(options: Options, context: Context) -> Result<PollSource, Error> {
        let wanted = mounts::Wanted { all: options.all_mounts, stat_network: options.stat_network_mounts };
        let interfaces = interfaces::Reader::default();
        let load = load::Reader::default();
        let source = PollSource::new(context)
            .table(mounts::spec(), move |context| mounts::read(wanted, context))
            .table(interfaces::spec(), move |_| interfaces.read())
            .table(listeners::spec(), listeners::read)
            .table(load::spec(), move |_| load.read())
            .table(memory::spec(), |_| memory::read())
            .action(signals::NAME, move |context, args| signals::send(options.signals, context, args));
        if !options.processes {
            return Ok(source);
        }
        let processes = processes::Reader::new(options.command_lines);
        Ok(source.table(processes::spec(), move |context| processes.read(context)))
    }
}

/// The machine's name: the key of the tables that have one row.
fn host() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

export_driver!(System);
