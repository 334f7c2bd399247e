//! What of a process a library may have changed, before and after: threads, signals, descriptors, folder, rights of new
//! files, environment.
//!
//! What all of the host would feel is refused: a signal's handler or its being ignored, another folder to run in, other
//! rights for new files, variables set (other threads may be reading them), the host's own descriptors closed. What only
//! costs is a warning: threads and open files that are left, since code is never unmapped; signals blocked for a thread,
//! since drivers have threads of their own.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What a library may change, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Traces {
    /// Names, by number.
    threads: BTreeMap<u32, String>,
    caught: u64,
    ignored: u64,
    /// Of the thread that looks.
    blocked: u64,
    /// In octal.
    umask: String,
    folder: PathBuf,
    /// What each is, as the system calls it.
    descriptors: BTreeMap<u32, String>,
    environment: BTreeMap<OsString, OsString>,
}

/// What is different afterwards; each a piece of a sentence that begins with "it".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// What a host can't bear.
    pub(crate) refused: Vec<String>,
    /// What it can.
    pub(crate) warnings: Vec<String>,
}

/// Signals 32 and 33 are the C library's own: it catches them when it first needs them.
const RESERVED: u64 = 0b11 << 31;

impl Traces {
    /// Of this process and thread, now. What can't be read is the same before and after: nothing.
    pub(crate) fn look() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let mask = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or_default() & !RESERVED;
        Self {
            threads: entries("/proc/self/task", |path| {
                Some(fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned())
            }),
            caught: mask("SigCgt"),
            ignored: mask("SigIgn"),
            blocked: mask("SigBlk"),
            umask: field("Umask"),
            folder: fs::read_link("/proc/self/cwd").unwrap_or_default(),
            descriptors: entries("/proc/self/fd", |path| {
                let target = fs::read_link(path).ok()?.to_string_lossy().into_owned();
                // The one that this list is read through.
                let own = target.starts_with("/proc/") && target.ends_with("/fd");
                (!own).then_some(target)
            }),
            environment: std::env::vars_os().collect(),
        }
    }

    /// Whether there are threads that `before` had not.
    pub(super) fn has_more_threads_than(&self, before: &Self) -> bool {
        self.threads.keys().any(|thread| !before.threads.contains_key(thread))
    }

    /// The names of threads that `before` had not.
    pub(crate) fn threads_since(&self, before: &Self) -> Vec<String> {
        let new = self.threads.iter().filter(|(number, _)| !before.threads.contains_key(number));
        new.map(|(_, name)| format!("{name:?}")).collect()
    }

    /// What is open under numbers that were free before.
    pub(crate) fn descriptors_since(&self, before: &Self) -> Vec<String> {
        let new = self.descriptors.iter().filter(|(number, _)| !before.descriptors.contains_key(number));
        new.map(|(_, target)| target.clone()).collect()
    }

    /// What is different now.
    pub(crate) fn since(&self, before: &Self) -> Left {
        let mut left = Left::default();
        let changed = signals(self.caught ^ before.caught);
        if !changed.is_empty() {
            left.refused.push(format!("takes over the handling of {changed}, which is the host's"));
        }
        let changed = signals(self.ignored ^ before.ignored);
        if !changed.is_empty() {
            left.refused.push(format!("changes whether the process ignores {changed}"));
        }
        if self.umask != before.umask {
            let (old, new) = (&before.umask, &self.umask);
            left.refused.push(format!("changes which rights new files have (umask {old} to {new})"));
        }
        if self.folder != before.folder {
            left.refused.push(format!("changes the folder that the process runs in, to {}", self.folder.display()));
        }
        let all: BTreeSet<&OsString> = self.environment.keys().chain(before.environment.keys()).collect();
        let set = all.into_iter().filter(|name| self.environment.get(*name) != before.environment.get(*name));
        let set: Vec<String> = set.map(|name| name.to_string_lossy().into_owned()).collect();
        if !set.is_empty() {
            left.refused
                .push(format!("changes the environment ({}) while other threads may be reading it", shortened(&set)));
        }
        let taken = before.descriptors.iter().filter(|(number, target)| self.descriptors.get(number) != Some(target));
        let taken: Vec<String> = taken.map(|(number, _)| number.to_string()).collect();
        if !taken.is_empty() {
            left.refused.push(format!("closes or replaces descriptors that are not its own ({})", shortened(&taken)));
        }
        let opened = self.descriptors_since(before);
        if !opened.is_empty() {
            left.warnings.push(format!("keeps {} open from the moment it is loaded", shortened(&opened)));
        }
        let started = self.threads_since(before);
        if !started.is_empty() {
            left.warnings.push(format!("starts threads when it is loaded that stay: {}", shortened(&started)));
        }
        let changed = signals(self.blocked ^ before.blocked);
        if !changed.is_empty() {
            left.warnings.push(format!("changes whether the thread that calls it blocks {changed}"));
        }
        left
    }
}

fn entries(folder: &str, about: impl Fn(&Path) -> Option<String>) -> BTreeMap<u32, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, about(&entry.path())?))).collect()
}

/// A list that fits into a sentence.
fn shortened(all: &[String]) -> String {
    const MOST: usize = 4;
    let shown = all.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn signals(mask: u64) -> String {
    let names = (1..=64).filter(|number| mask >> (number - 1) & 1 == 1).map(signal_name);
    shortened(&names.collect::<Vec<_>>())
}

/// A signal as people know it.
pub(super) fn signal_name(number: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(number - 1).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Traces {
        Traces {
            threads: [(1, "main".to_owned()), (2, "drv-vet".to_owned())].into(),
            caught: 0x440,
            umask: "0022".to_owned(),
            folder: "/scratch".into(),
            descriptors: [(0, "/dev/null".to_owned()), (1, "pipe:[1]".to_owned()), (2, "pipe:[1]".to_owned())].into(),
            environment: [("PATH".into(), "/bin".into())].into(),
            ..Traces::default()
        }
    }

    #[test]
    fn nothing_changed_is_nothing_left() {
        assert_eq!(before().since(&before()), Left::default());
        // This process is read the same way twice, but for threads of other tests.
        let (one, two) = (Traces::look(), Traces::look());
        assert_eq!((&one.umask, &one.folder, one.caught), (&two.umask, &two.folder, two.caught));
        assert!(one.umask.len() == 4 && one.folder.is_absolute() && one.descriptors.contains_key(&2), "{one:?}");
        assert!(one.caught != 0 && one.threads.len() > 1, "{one:?}");
    }

    #[test]
    fn what_all_of_the_host_would_feel_is_refused() {
        let refused = |change: &dyn Fn(&mut Traces)| {
            let mut after = before();
            change(&mut after);
            let left = after.since(&before());
            assert_eq!(left.warnings, [""; 0]);
            left.refused.join("; ")
        };
        assert_eq!(
            refused(&|t| t.caught |= 1 << 14 | 1),
            "takes over the handling of SIGHUP, SIGTERM, which is the host's"
        );
        assert_eq!(refused(&|t| t.ignored |= 1 << 16), "changes whether the process ignores SIGCHLD");
        assert_eq!(refused(&|t| t.umask = "0000".into()), "changes which rights new files have (umask 0022 to 0000)");
        assert_eq!(refused(&|t| t.folder = "/".into()), "changes the folder that the process runs in, to /");
        assert_eq!(
            refused(&|t| {
                t.environment.insert("TZ".into(), "UTC".into());
                t.environment.remove(&OsString::from("PATH"));
            }),
            "changes the environment (PATH, TZ) while other threads may be reading it"
        );
        assert_eq!(
            refused(&|t| {
                t.descriptors.remove(&0);
                t.descriptors.insert(2, "/tmp/log".into());
            }),
            "closes or replaces descriptors that are not its own (0, 2)"
        );
    }

    #[test]
    fn what_only_costs_is_a_warning() {
        let mut after = before();
        after.threads.extend((3..9).map(|n| (n, format!("pool-{n}"))));
        after.descriptors.insert(5, "/tmp/log".to_owned());
        after.blocked = 1 << 12;
        let left = after.since(&before());
        assert_eq!(left.refused, [""; 0]);
        assert_eq!(
            left.warnings,
            [
                "keeps /tmp/log open from the moment it is loaded",
                "starts threads when it is loaded that stay: \"pool-3\", \"pool-4\", \"pool-5\", \"pool-6\" and 2 more",
                "changes whether the thread that calls it blocks SIGPIPE",
            ]
        );
        assert!(after.has_more_threads_than(&before()) && !before().has_more_threads_than(&after));
    }

    #[test]
    fn signals_have_names() {
        assert_eq!([1, 6, 31, 34].map(signal_name), ["SIGHUP", "SIGABRT", "SIGSYS", "signal 34"]);
    }
}
