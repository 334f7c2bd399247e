//! Which calls of drivers are open: when the host dies in one, the next start can name it.
//!
//! Open calls stand in the process's own memory, so noting one waits for no disk. A host that dies by a signal of its own making
//! writes those of the dying thread to its state directory on the way, with the signal; so a host that was killed from outside
//! accuses nobody. The file outlives the process, not the machine.
//!
//! On a thread that a driver started no call is open. Then the driver is named whose code died, or called what did: the one to
//! which the first return address on the thread's stack belongs. A thread that has ever made a call of a driver, or let go of
//! rows that one gave in a poll, is the host's, and what lies on its stack may be left over: of such a one only code that died
//! itself counts. Not seen is a thread whose
//! stack overflowed, since the handler runs on it too.

mod grounds;
mod marked;
mod slots;

pub(super) use grounds::{BEFORE, is_call, is_drivers, whose};
pub(super) use marked::mark;
pub(super) use slots::{TEXT, each, makes_calls, runs_drivers_code};

use serde::{Deserialize, Serialize};
use slots::{Node, Slot};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// A call that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenCall {
    /// The driver's id.
    pub(super) driver: String,
    /// Its version.
    pub(super) version: String,
    /// Its bytes.
    pub(super) sha256: String,
    /// What it was asked.
    pub(super) call: String,
    /// Whose source, if it was one's.
    pub(super) datasource: Option<String>,
    /// On which thread.
    pub(super) thread: u32,
}

/// The host died in a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The driver's id.
    pub driver: String,
    /// Its version.
    pub version: String,
    /// Its bytes.
    pub sha256: String,
    /// What it was asked; `thread`: nothing, it was on a thread that the driver started.
    pub call: String,
    /// Whose source, if it was one's.
    pub datasource: Option<String>,
    /// By which signal: `SIGSEGV`, say.
    pub signal: String,
}

/// The call of a driver's own thread.
const THREAD: &str = "thread";

impl Death {
    /// Where and how: `its poll of datasource "one", by SIGABRT`.
    #[must_use]
    pub fn place(&self) -> String {
        let Self { call, datasource, signal, .. } = self;
        let of = datasource.as_ref().map(|name| format!(" of datasource {name:?}")).unwrap_or_default();
        let place = if call == THREAD { "a thread that it started itself" } else { &format!("its {call}") };
        format!("{place}{of}, by {signal}")
    }
}

/// Where calls of a node's drivers are noted.
#[derive(Debug)]
pub(super) struct Marks {
    node: Node,
    /// Open as long as the node has its place.
    _file: File,
}

/// An open call. It has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    slot: Option<&'static Slot>,
    /// Its place outlives the call.
    _marks: &'a Marks,
}

impl Marks {
    /// Begins anew: what an earlier host left is read before by [`deaths`].
    ///
    /// # Errors
    ///
    /// When the file can't be made, or too many nodes are in this process.
    pub(super) fn begin(state: &Path) -> io::Result<Arc<Self>> {
        // Earlier hosts kept calls in a file.
        let _ = std::fs::remove_file(state.join("open-calls"));
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(state.join("death"))?;
        let node = Node::new(file.as_raw_fd()).ok_or_else(|| io::Error::other("too many hosts are in this process"))?;
        super::load::note_deaths()?;
        Ok(Arc::new(Self { node, _file: file }))
    }

    /// A driver's code lies there.
    pub(super) fn own(&self, about: &About, code: &Range<usize>) {
        if !self.node.claim(code, &about.text(THREAD, 0)) {
            let About { driver, .. } = about;
            tracing::warn!(
                driver,
                "too many copies are mapped: should the host die in a thread of this one, nobody knows"
            );
        }
    }

    /// A call begins on this thread.
    pub(super) fn open(&self, about: &About, call: &str) -> Mark<'_> {
        let thread = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or_default();
        Mark { slot: self.node.open(thread, &about.text(call, thread)), _marks: self }
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.close();
        }
    }
}

/// What is noted of each call of one driver or source.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) driver: String,
    pub(super) version: String,
    pub(super) sha256: String,
    pub(super) datasource: Option<String>,
}

impl About {
    fn text(&self, call: &str, thread: u32) -> String {
        let Self { driver, version, sha256, .. } = self;
        let open = |datasource: Option<String>| {
            let open = OpenCall {
                driver: driver.clone(),
                version: version.clone(),
                sha256: sha256.clone(),
                call: call.to_owned(),
                datasource,
                thread,
            };
            serde_json::to_string(&open).unwrap_or_default()
        };
        let text = open(self.datasource.clone());
        // A name may be long; who it is about may not be lost over that.
        if text.len() <= TEXT { text } else { open(None) }
    }
}

/// In which drivers the host of this state directory died, if it did.
pub(super) fn deaths(state: &Path) -> Vec<Death> {
    let notes = std::fs::read_to_string(state.join("death")).unwrap_or_default();
    // `SIGNAL CALL`, one a line.
    let noted = |line: &str| {
        let (signal, call) = line.split_once(' ')?;
        Some((signal.parse::<i32>().ok()?, serde_json::from_str::<OpenCall>(call).ok()?))
    };
    let notes: Vec<(i32, OpenCall)> = notes.lines().filter_map(noted).collect();
    let Some((first, thread)) = notes.first().map(|(signal, open)| (*signal, open.thread)) else { return Vec::new() };
    // The first is what happened, others may follow from it.
    notes
        .into_iter()
        .filter(|(signal, open)| (*signal, open.thread) == (first, thread))
        .map(|(signal, open)| Death {
            driver: open.driver,
            version: open.version,
            sha256: open.sha256,
            call: open.call,
            datasource: open.datasource,
            signal: signal_name(signal),
        })
        .collect()
}

fn signal_name(signal: i32) -> String {
    let names: BTreeMap<i32, &str> =
        [(4, "SIGILL"), (6, "SIGABRT"), (7, "SIGBUS"), (8, "SIGFPE"), (11, "SIGSEGV")].into_iter().collect();
    names.get(&signal).map_or_else(|| format!("signal {signal}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    const FOLDER: &str = "BUSWAY_TEST_DIES_IN";
    const HOW: &str = "BUSWAY_TEST_DIES_SO";

    fn about(driver: &str) -> About {
        let (driver, version, sha256) = (driver.to_owned(), "1.0.0".to_owned(), "ab".to_owned());
        About { driver, version, sha256, datasource: None }
    }

    /// Runs a test of this program again, as a process that may die; how it ended.
    fn dies(test: &str, folder: &Path, how: &str) -> Option<i32> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder).env(HOW, how);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().signal()
    }

    /// Stands for a driver's code.
    #[inline(never)]
    extern "C" fn drivers_code() {
        // No tail call: it is there when it dies.
        std::hint::black_box(std::process::abort as fn() -> !)();
    }

    /// On the host's own threads nobody is accused over what lies on their stacks.
    #[test]
    fn inv07_a_death_on_a_thread_of_its_own_is_that_drivers_and_nobodys_on_any_other() {
        let name =
            "plugin::marker::tests::inv07_a_death_on_a_thread_of_its_own_is_that_drivers_and_nobodys_on_any_other";
        if let Some(folder) = std::env::var_os(FOLDER) {
            let how = std::env::var(HOW).unwrap();
            let marks = Marks::begin(Path::new(&folder)).unwrap();
            let begin = drivers_code as extern "C" fn() as usize;
            marks.own(&about("a"), &(begin..begin + 64));
            let thread = std::thread::spawn(move || {
                match how.as_str() {
                    "own" => drivers_code(),
                    // It is known by its calls, and none is open.
                    "hosts" => {
                        drop(marks.open(&about("a"), "poll"));
                        drivers_code();
                    }
                    // The stack of one that calls no driver holds where a driver's function begins.
                    "pointer" => {
                        let held = std::hint::black_box([drivers_code as extern "C" fn() as usize; 64]);
                        std::hint::black_box(&held);
                        std::process::abort();
                    }
                    _ => {
                        drop(marks);
                        drivers_code();
                    }
                }
            });
            let _ = thread.join();
            return;
        }
        for (how, accused) in [("own", 1), ("hosts", 0), ("pointer", 0), ("gone", 0)] {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(dies(name, folder.path(), how), Some(6), "{how}");
            let deaths = deaths(folder.path());
            assert_eq!(deaths.len(), accused, "{how}: {deaths:?}");
            for death in deaths {
                assert_eq!((death.driver.as_str(), death.sha256.as_str()), ("a", "ab"));
                assert_eq!(death.place(), "a thread that it started itself, by SIGABRT");
            }
        }
    }

    /// Of two nodes in one process the one whose call it was is told of its death, and the call that is over is not.
    #[test]
    fn inv07_a_death_is_noted_with_the_node_whose_call_it_was() {
        let name = "plugin::marker::tests::inv07_a_death_is_noted_with_the_node_whose_call_it_was";
        if let Some(folder) = std::env::var_os(FOLDER) {
            let folder = Path::new(&folder);
            let [one, two] = ["one", "two"].map(|node| Marks::begin(&folder.join(node)).unwrap());
            drop(one.open(&about("a"), "open"));
            let _elsewhere = std::thread::spawn(move || std::mem::forget(one.open(&about("a"), "poll"))).join();
            let _open = two.open(&About { datasource: Some("one".to_owned()), ..about("b") }, "poll");
            std::process::abort();
        }
        let folder = tempfile::tempdir().unwrap();
        for node in ["one", "two"] {
            std::fs::create_dir(folder.path().join(node)).unwrap();
        }
        assert_eq!(dies(name, folder.path(), ""), Some(6));
        assert_eq!(deaths(&folder.path().join("one")), []);
        let death = Death {
            driver: "b".to_owned(),
            version: "1.0.0".to_owned(),
            sha256: "ab".to_owned(),
            call: "poll".to_owned(),
            datasource: Some("one".to_owned()),
            signal: "SIGABRT".to_owned(),
        };
        assert_eq!(deaths(&folder.path().join("two")), [death]);
    }
}
