//! Which calls of drivers are open: when the host dies in one, the next start can name it.
//!
//! Open calls stand in a file of fixed slots, written when a call begins and when it ends. It outlives the process, not the
//! machine. A host that dies by a signal of its own making writes down that signal and the thread, so a host that was killed
//! from outside accuses nobody.

mod marked;

pub(super) use marked::mark;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A slot's size. What does not fit is cut at the datasource's name.
const SLOT: usize = 512;

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
    /// What it was asked.
    pub call: String,
    /// Whose source, if it was one's.
    pub datasource: Option<String>,
    /// By which signal: `SIGSEGV`, say.
    pub signal: String,
}

/// The file of open calls.
#[derive(Debug)]
pub(super) struct Marks {
    file: File,
    free: Mutex<Free>,
}

/// Slots that nobody uses.
#[derive(Debug, Default)]
struct Free {
    slots: Vec<u64>,
    /// All from this one on.
    next: u64,
}

/// An open call. It has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    marks: &'a Marks,
    slot: u64,
}

impl Marks {
    /// Begins anew: what an earlier host left is read before by [`deaths`].
    ///
    /// # Errors
    ///
    /// When the file can't be made.
    pub(super) fn begin(state: &Path) -> io::Result<Arc<Self>> {
        let open = |name: &str| {
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(state.join(name))
        };
        super::load::note_deaths(open("death")?)?;
        Ok(Arc::new(Self { file: open("open-calls")?, free: Mutex::default() }))
    }

    /// A call begins on this thread.
    pub(super) fn open(&self, about: &About, call: &str) -> Mark<'_> {
        let slot = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.slots.pop().unwrap_or_else(|| {
                free.next += 1;
                free.next - 1
            })
        };
        self.write(slot, &about.text(call));
        Mark { marks: self, slot }
    }

    fn write(&self, slot: u64, text: &str) {
        let mut bytes = [b' '; SLOT];
        let length = text.len().min(SLOT - 1);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        bytes[SLOT - 1] = b'\n';
        // A call that can't be noted is made all the same.
        let _ = self.file.write_all_at(&bytes, slot * SLOT as u64);
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.marks.write(self.slot, "");
        self.marks.free.lock().unwrap_or_else(PoisonError::into_inner).slots.push(self.slot);
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
    fn text(&self, call: &str) -> String {
        let Self { driver, version, sha256, .. } = self;
        let thread = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or_default();
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
        if text.len() < SLOT { text } else { open(None) }
    }
}

/// In which drivers the host of this state directory died, if it did.
pub(super) fn deaths(state: &Path) -> Vec<Death> {
    let notes = std::fs::read_to_string(state.join("death")).unwrap_or_default();
    // `SIGNAL THREAD`, one a line; the first is what happened, others may follow from it.
    let noted = |line: &str| {
        let (signal, thread) = line.split_once(' ')?;
        Some((signal.parse::<i32>().ok()?, thread.parse::<u32>().ok()?))
    };
    let Some((signal, thread)) = notes.lines().find_map(noted) else { return Vec::new() };
    let calls = std::fs::read(state.join("open-calls")).unwrap_or_default();
    let open = calls.chunks(SLOT).filter_map(|slot| serde_json::from_slice::<OpenCall>(slot.trim_ascii()).ok());
    open.filter(|open| open.thread == thread)
        .map(|open| Death {
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
