//! Table `load`.

use crate::rates::{Samples, percent};
use busway_plugin_api::prelude::*;
use procfs::{CpuTime, Current as _, CurrentSI as _, KernelStats, LoadAverage, Uptime};
use std::time::Instant;

/// A row of `load`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    host: String,
    load_1: f64,
    load_5: f64,
    load_15: f64,
    running: u32,
    tasks: u32,
    cpus: u32,
    pub(crate) cpu_percent: Option<f64>,
    uptime_seconds: u64,
}

/// The table's declaration.
pub(crate) fn spec() -> TableSpec {
    TableSpec::of::<Load>("load")
        .key(["host"])
        .describe("How busy the machine is, in one row")
        .column("load_1", "Tasks that run or wait to, on average over a minute")
        .column("load_5", "The same over 5 minutes")
        .column("load_15", "The same over 15 minutes")
        .column("running", "Tasks that could run now")
        .column("tasks", "Processes and their threads")
        .column("cpus", "Processors that are online")
        .column("cpu_percent", "Time not idle between two polls, of all processors; null at the first poll")
}

/// Reads the table; remembers the processors' times.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    times: Samples<Times>,
}

impl Reader {
    /// The one row.
    pub(crate) fn read(&self) -> Result<Vec<Load>, Error> {
        let average = LoadAverage::current()?;
        let stats = KernelStats::current()?;
        let now = Times::of(&stats.total);
        let earlier = self.times.exchange(Instant::now(), now);
        Ok(vec![Load {
            host: crate::host()?,
            load_1: hundredths(average.one),
            load_5: hundredths(average.five),
            load_15: hundredths(average.fifteen),
            running: average.cur,
            tasks: average.max,
            cpus: u32::try_from(stats.cpu_time.len()).unwrap_or(u32::MAX),
            cpu_percent: earlier.and_then(|(before, _)| now.busy_percent_since(*before)),
            uptime_seconds: Uptime::current()?.uptime_duration().as_secs(),
        }])
    }
}

/// What the kernel printed: an f32 made an f64 would end in noise.
fn hundredths(average: f32) -> f64 {
    (f64::from(average) * 100.0).round() / 100.0
}

/// Ticks of all processors since boot.
#[derive(Debug, Clone, Copy)]
struct Times {
    busy: u64,
    idle: u64,
}

impl Times {
    fn of(total: &CpuTime) -> Self {
        let ticks = |some: Option<u64>| some.unwrap_or(0);
        // The guests' time is within the users'.
        let interrupts = ticks(total.irq) + ticks(total.softirq);
        Self {
            busy: total.user + total.nice + total.system + interrupts + ticks(total.steal),
            idle: total.idle + ticks(total.iowait),
        }
    }

    fn busy_percent_since(self, before: Self) -> Option<f64> {
        // The kernel's idle times may go back a little.
        let busy = self.busy.saturating_sub(before.busy);
        let idle = self.idle.saturating_sub(before.idle);
        percent(busy as f64, (busy + idle) as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use procfs::{FromBufReadSI as _, FromRead as _};

    fn times(cpu: &str) -> Times {
        let text = format!("cpu  {cpu}\ncpu0 {cpu}\nctxt 1\nbtime 1\nprocesses 1\n");
        Times::of(&KernelStats::from_buf_read(text.as_bytes(), procfs::current_system_info()).unwrap().total)
    }

    #[test]
    fn guests_are_counted_once_and_waiting_is_idle() {
        let before = times("100 10 50 1000 20 0 5 0 60 0");
        let after = times("130 10 60 1050 30 0 5 0 90 0");
        assert_eq!(after.busy_percent_since(before), Some(40.0));
        assert_eq!(before.busy_percent_since(before), None, "no tick went by");
    }

    #[test]
    fn averages_stay_what_the_kernel_printed() {
        let average = LoadAverage::from_read("0.07 12.31 3.00 1/86 24105\n".as_bytes()).unwrap();
        assert_eq!([average.one, average.five, average.fifteen].map(hundredths), [0.07, 12.31, 3.0]);
    }
}
