//! Table `processes`.

use crate::rates::{Samples, percent};
use crate::users::Users;
use busway_plugin_api::arrow_schema::{DataType, Field, Schema, TimeUnit};
use busway_plugin_api::prelude::*;
use busway_plugin_api::tracing;
use procfs::process::{Stat, all_processes};
use procfs::{Current as _, CurrentSI as _, KernelStats, Meminfo, ProcResult};
use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many characters of a command line are told.
const COMMAND_CHARS: usize = 256;

/// A row of `processes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent_pid: i32,
    pub(crate) name: String,
    pub(crate) command: Option<String>,
    pub(crate) user: String,
    pub(crate) state: String,
    threads: i64,
    pub(crate) cpu_percent: Option<f64>,
    cpu_seconds: f64,
    pub(crate) memory_bytes: u64,
    memory_percent: Option<f64>,
    pub(crate) started_at: i64,
}

/// The table's declaration.
pub(crate) fn spec() -> TableSpec {
    let mut spec = TableSpec::of::<Process>("processes");
    // A row's type can't say that a number is a time.
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let retyped = |field: &Arc<Field>| match field.name().as_str() {
        "started_at" => Arc::new(field.as_ref().clone().with_data_type(time.clone())),
        _ => Arc::clone(field),
    };
    spec.schema = Arc::new(Schema::new(spec.schema.fields().iter().map(retyped).collect::<Vec<_>>()));
    spec.key(["pid"])
        .describe("Running processes")
        .column("name", "The program's short name, at most 15 bytes")
        .column("command", "With arguments, cut off at 256 characters; null of kernel threads and where not permitted")
        .column("user", "Whose rights it has")
        .column("cpu_percent", "Of one processor, between two polls; null at the first poll")
        .column("cpu_seconds", "Since it started")
        .column("memory_bytes", "Resident, shared pages included")
        .column("memory_percent", "Resident, of the machine's memory")
        .column("started_at", "Exact to about a second")
}

/// A process over time: numbers are used again, but not within a tick.
type Identity = (i32, u64);

/// Reads the table; remembers how much each process had worked.
#[derive(Debug)]
pub(crate) struct Reader {
    command_lines: bool,
    ticks: Samples<HashMap<Identity, u64>>,
    boot: AtomicU64,
}

/// What is the same for all rows of a poll.
struct Machine {
    users: Users,
    memory_bytes: u64,
    boot_seconds: u64,
}

/// What is read of one process.
struct Seen {
    stat: Stat,
    uid: Option<u32>,
    command: Option<String>,
}

impl Reader {
    /// One that has seen nothing yet.
    pub(crate) fn new(command_lines: bool) -> Self {
        Self { command_lines, ticks: Samples::default(), boot: AtomicU64::new(0) }
    }

    /// All rows.
    pub(crate) fn read(&self, context: &Context) -> Result<Vec<Process>, Error> {
        let boot_seconds = steady(self.boot.load(Ordering::Relaxed), kernel_boot()?);
        self.boot.store(boot_seconds, Ordering::Relaxed);
        let machine = Machine { users: Users::read(), memory_bytes: Meminfo::current()?.mem_total, boot_seconds };

        let now = Instant::now();
        let mut seen = Vec::new();
        for process in all_processes()? {
            if context.cancelled() {
                return Err(Error::cancelled());
            }
            // It may end between any two reads, or be hidden from us: then it has no row.
            match process.and_then(|process| self.look(&process)) {
                Ok(one) => seen.push(one),
                Err(error) => tracing::trace!(%error, "a process was skipped"),
            }
        }
        let ticks = seen.iter().map(|one| (identity(&one.stat), ticks(&one.stat))).collect();
        let earlier = self.ticks.exchange(now, ticks);
        let row = |one: Seen| {
            let worked = earlier.as_ref().map(|(before, elapsed)| (ticks_since(before, &one.stat), *elapsed));
            one.row(&machine, worked)
        };
        Ok(seen.into_iter().map(row).collect())
    }

    fn look(&self, process: &procfs::process::Process) -> ProcResult<Seen> {
        let stat = process.stat()?;
        // Not the owner of the process's folder: that is root for each process that may not be traced.
        // With room for all of it at once: each read that is too short is one more call of the kernel, of every process.
        let mut status = Vec::with_capacity(4096);
        process.open_relative("status")?.read_to_end(&mut status)?;
        let command = if self.command_lines { command(process) } else { None };
        Ok(Seen { stat, uid: effective_user(&String::from_utf8_lossy(&status)), command })
    }
}

impl Seen {
    fn row(self, machine: &Machine, worked: Option<(u64, Duration)>) -> Process {
        let Self { stat, uid, command } = self;
        let second = procfs::ticks_per_second();
        let memory = stat.rss.saturating_mul(procfs::page_size());
        Process {
            pid: stat.pid,
            parent_pid: stat.ppid,
            command,
            user: uid.map_or_else(String::new, |uid| machine.users.name(uid)),
            state: state(stat.state).to_owned(),
            threads: stat.num_threads,
            cpu_percent: worked.and_then(|(ticks, over)| percent(ticks as f64 / second as f64, over.as_secs_f64())),
            cpu_seconds: (ticks(&stat) as f64 * 100.0 / second as f64).round() / 100.0,
            memory_bytes: memory,
            memory_percent: percent(memory as f64, machine.memory_bytes as f64),
            started_at: started_at(&stat, machine.boot_seconds),
            name: stat.comm,
        }
    }
}

/// When the machine was booted, as the kernel tells it now: in seconds since 1970.
pub(crate) fn kernel_boot() -> ProcResult<u64> {
    Ok(KernelStats::current()?.btime)
}

/// When it was started, in milliseconds since 1970.
pub(crate) fn started_at(stat: &Stat, boot_seconds: u64) -> i64 {
    let started = boot_seconds * 1000 + stat.starttime.saturating_mul(1000) / procfs::ticks_per_second();
    i64::try_from(started).unwrap_or(i64::MAX)
}

fn identity(stat: &Stat) -> Identity {
    (stat.pid, stat.starttime)
}

fn ticks(stat: &Stat) -> u64 {
    stat.utime.saturating_add(stat.stime)
}

/// How much it worked since the sample; one that is not in it began since, at nothing.
fn ticks_since(sample: &HashMap<Identity, u64>, stat: &Stat) -> u64 {
    ticks(stat).saturating_sub(sample.get(&identity(stat)).copied().unwrap_or(0))
}

/// When the machine was booted: as it was first told, so that the rows stay the same. The kernel rounds it to seconds,
/// and a corrected clock moves it; only a real step is taken over.
fn steady(kept: u64, told: u64) -> u64 {
    if kept.abs_diff(told) > 1 { told } else { kept }
}

/// The second number of the line `Uid:` in a process's `status`.
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Its arguments in one line; none of kernel threads, and where it may not be read. To read this can block while the
/// process is stuck with its memory locked.
fn command(process: &procfs::process::Process) -> Option<String> {
    // No character is longer than four bytes: one that is cut in two is past the bound.
    let mut bytes = Vec::with_capacity(4 * COMMAND_CHARS);
    process.open_relative("cmdline").ok()?.take(4 * COMMAND_CHARS as u64).read_to_end(&mut bytes).ok()?;
    one_line(&bytes)
}

fn one_line(arguments: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(arguments).replace(|c: char| c.is_control(), " ");
    let text: String = text.trim_end().chars().take(COMMAND_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

fn state(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "blocked",
        'I' => "idle",
        'T' => "stopped",
        't' => "traced",
        'Z' => "zombie",
        'X' | 'x' => "dead",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use procfs::FromRead as _;

    fn seen(utime: u64, stime: u64) -> Seen {
        let text = format!(
            "4242 (a (b) c) S 1 4242 4242 0 -1 4194304 1 0 0 0 {utime} {stime} 0 0 20 0 3 0 12345 1000000 250 \
            18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        Seen { stat: Stat::from_read(text.as_bytes()).unwrap(), uid: Some(7), command: None }
    }

    fn machine() -> Machine {
        let memory_bytes = 1000 * procfs::page_size();
        Machine { users: Users::read(), memory_bytes, boot_seconds: 1_700_000_000 }
    }

    #[test]
    fn a_row_of_its_parts() {
        let second = procfs::ticks_per_second();
        let row = seen(3 * second, second).row(&machine(), Some((second / 2, Duration::from_secs(2))));
        assert_eq!((row.pid, row.parent_pid, row.threads), (4242, 1, 3));
        assert_eq!((row.name.as_str(), row.state.as_str()), ("a (b) c", "sleeping"));
        assert_eq!((row.cpu_percent, row.cpu_seconds), (Some(25.0), 4.0));
        assert_eq!((row.memory_bytes, row.memory_percent), (250 * procfs::page_size(), Some(25.0)));
        assert_eq!(row.started_at, 1_700_000_000_000 + 12345 * 1000 / i64::try_from(second).unwrap());
        assert_eq!(seen(1, 1).row(&machine(), None).cpu_percent, None);
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let stat = seen(30, 20).stat;
        assert_eq!(ticks_since(&HashMap::from([((4242, 12345), 40)]), &stat), 10);
        assert_eq!(ticks_since(&HashMap::from([((4242, 11111), 40)]), &stat), 50);
    }

    #[test]
    fn the_time_of_boot_does_not_jitter() {
        assert_eq!(steady(0, 1000), 1000);
        assert_eq!(steady(1000, 1001), 1000);
        assert_eq!(steady(1000, 999), 1000);
        assert_eq!(steady(1000, 90_000), 90_000, "the clock was set");
    }

    #[test]
    fn the_user_whose_rights_it_has() {
        assert_eq!(effective_user("Name:\tsudo\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n"), Some(0));
        assert_eq!(effective_user("Name:\tUid:\n"), None);
    }

    #[test]
    fn command_lines_are_one_line_and_bounded() {
        assert_eq!(one_line(b"sh\0-c\0echo\nhi\0").as_deref(), Some("sh -c echo hi"));
        assert_eq!(one_line(b""), None);
        assert_eq!(one_line(b"\0\0"), None);
        let long = one_line("é".repeat(2 * COMMAND_CHARS).as_bytes()).unwrap();
        assert_eq!(long.chars().count(), COMMAND_CHARS);
        assert_eq!(one_line(b"caf\xc3").as_deref(), Some("caf\u{fffd}"));
    }

    #[test]
    fn every_state_has_a_word() {
        assert_eq!("RSDITtZXW".chars().map(state).filter(|word| *word != "unknown").count(), 8);
    }
}
