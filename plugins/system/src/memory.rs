//! Table `memory`.

use crate::rates::percent;
use busway_plugin_api::prelude::*;
use procfs::{Current as _, Meminfo};

/// A row of `memory`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    host: String,
    pub(crate) total_bytes: u64,
    available_bytes: Option<u64>,
    used_bytes: Option<u64>,
    cached_bytes: u64,
    buffers_bytes: u64,
    swap_total_bytes: u64,
    swap_used_bytes: u64,
    used_percent: Option<f64>,
}

/// The table's declaration.
pub(crate) fn spec() -> TableSpec {
    TableSpec::of::<Memory>("memory")
        .key(["host"])
        .describe("The machine's memory, in one row")
        .column("available_bytes", "What programs could still get without swapping")
        .column("used_bytes", "The total without what is available")
        .column("cached_bytes", "Copies of files; most of it counts as available")
        .column("used_percent", "Used of the total")
}

/// The one row.
pub(crate) fn read() -> Result<Vec<Memory>, Error> {
    Ok(vec![row(crate::host()?, &Meminfo::current()?)])
}

fn row(host: String, info: &Meminfo) -> Memory {
    // Kernels before 3.14 don't tell what is available.
    let used = info.mem_available.map(|available| info.mem_total.saturating_sub(available));
    Memory {
        host,
        total_bytes: info.mem_total,
        available_bytes: info.mem_available,
        used_bytes: used,
        cached_bytes: info.cached,
        buffers_bytes: info.buffers,
        swap_total_bytes: info.swap_total,
        swap_used_bytes: info.swap_total.saturating_sub(info.swap_free),
        used_percent: used.and_then(|used| percent(used as f64, info.mem_total as f64)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use procfs::FromRead as _;

    const MEMINFO: &str = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nBuffers: 10 kB\nCached: 300 kB\n\
        SwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\nDirty: 0 kB\nWriteback: 0 kB\n\
        Mapped: 1 kB\nSlab: 1 kB\nCommitted_AS: 1 kB\nVmallocTotal: 1 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n";

    #[test]
    fn used_is_what_is_not_available() {
        let memory = row("h".to_owned(), &Meminfo::from_read(MEMINFO.as_bytes()).unwrap());
        assert_eq!(memory.total_bytes, 1000 * 1024);
        assert_eq!(memory.used_bytes, Some(600 * 1024));
        assert_eq!(memory.used_percent, Some(60.0));
        assert_eq!(memory.swap_used_bytes, 30 * 1024);

        let old = MEMINFO.replace("MemAvailable: 400 kB\n", "");
        let memory = row("h".to_owned(), &Meminfo::from_read(old.as_bytes()).unwrap());
        assert_eq!((memory.used_bytes, memory.used_percent), (None, None));
    }
}
