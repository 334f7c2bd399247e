//! What a child takes from itself before a plugin's first byte is run.

use super::wire::Confines;
use crate::config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Room for addresses: sanitizers and other languages' runtimes reserve far more than they use.
const ADDRESSES: u64 = 256 << 30;

impl From<&config::Vet> for Confines {
    fn from(options: &config::Vet) -> Self {
        let &config::Vet { cpu, memory, file_size, files, processes, .. } = options;
        let cpu = cpu.as_secs() + u64::from(cpu.subsec_nanos() > 0);
        Self { cpu, memory, file_size, files, processes }
    }
}

impl Confines {
    /// Limits this process, for good. What can't be limited stays as it is: whoever is limited already has less.
    pub(super) fn enter(self) {
        limit(Resource::Core, 0, 0);
        // The second that is left is for one that catches the signal.
        limit(Resource::Cpu, self.cpu, self.cpu.saturating_add(1));
        limit(Resource::Data, self.memory, self.memory);
        limit(Resource::As, ADDRESSES.saturating_add(self.memory), ADDRESSES.saturating_add(self.memory));
        limit(Resource::Fsize, self.file_size, self.file_size);
        limit(Resource::Nofile, self.files, self.files);
        if !rustix::process::geteuid().is_root() {
            limit_processes(self.processes);
        }
        // A host that serves comes first.
        let _ = rustix::process::nice(5);
    }
}

fn limit(resource: Resource, current: u64, maximum: u64) {
    let was = getrlimit(resource);
    let at_most = |wanted: u64, allowed: Option<u64>| Some(allowed.map_or(wanted, |allowed| allowed.min(wanted)));
    let maximum = at_most(maximum, was.maximum);
    let _ = setrlimit(resource, Rlimit { current: at_most(current, was.maximum), maximum });
}

/// The system counts all threads of the user, on all of the machine: so many more than there are now. Where others share
/// the user and can't be seen from here, the count is too low, and then there is no limit.
fn limit_processes(more: u64) {
    let was = getrlimit(Resource::Nproc);
    let wanted = threads_of_user().saturating_add(more);
    let wanted = was.current.map_or(wanted, |current| current.min(wanted));
    if setrlimit(Resource::Nproc, Rlimit { current: Some(wanted), maximum: was.maximum }).is_ok() {
        match std::thread::Builder::new().spawn(|| ()) {
            Ok(thread) => {
                let _ = thread.join();
            }
            Err(_) => {
                let _ = setrlimit(Resource::Nproc, was);
            }
        }
    }
}

fn threads_of_user() -> u64 {
    let user = rustix::process::getuid().as_raw().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = processes.filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        (field("Uid:")? == user).then(|| field("Threads:")?.parse().ok())?
    });
    threads.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_configuration_s_limits_are_the_child_s() {
        let options = config::Vet { cpu: Duration::from_millis(1200), ..config::Vet::default() };
        let confines = Confines::from(&options);
        assert_eq!((confines.cpu, confines.memory, confines.files), (2, 2 << 30, 256));
    }

    #[test]
    fn the_user_s_threads_are_counted() {
        let own = fs::read_dir("/proc/self/task").unwrap().count();
        assert!(threads_of_user() >= own.min(2) as u64, "{own}");
    }
}
