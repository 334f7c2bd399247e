//! What happened to plugins, in order: for people who want to know why, and to plan the same again from the same.

use super::super::marker::Death;
use super::super::news::News;
use super::super::plan::{Inputs, Step};
use super::super::reload::Report;
use super::By;
use super::writer::Writer;
use crate::happenings::Happenings;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A journal that grows beyond this is begun anew; the one before is kept.
const MOST_BYTES: u64 = 4 << 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// The host started.
    Started {
        /// Its version.
        version: String,
    },
    /// An earlier host died in a driver.
    Died(Death),
    /// From these inputs followed these steps.
    Planned {
        /// What was known.
        inputs: Box<Inputs>,
        /// What was to be done.
        steps: Vec<Step>,
    },
    /// A file is no driver for this host.
    Refused {
        /// The file.
        path: PathBuf,
        /// Its bytes, if they could be read.
        sha256: Option<String>,
        /// The driver id that it claims, if it has one.
        driver: Option<String>,
        /// Why.
        reason: String,
    },
    /// A driver was loaded, or its sources were moved, or were to be.
    Transaction(Box<Report>),
    /// Bytes are not loaded any more.
    Quarantined {
        /// Which.
        sha256: String,
        /// The driver id that they claim.
        driver: String,
        /// Why.
        reason: String,
        /// Who says so.
        by: By,
    },
    /// Bytes may be loaded again.
    Released {
        /// Which.
        sha256: String,
        /// The driver id that they claim.
        driver: String,
    },
    /// A driver serves no more: its file is gone.
    Stopped {
        /// Its id.
        driver: String,
    },
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// Whether it concerns a driver.
    #[must_use]
    pub fn is_of(&self, id: &str) -> bool {
        match &self.event {
            Event::Started { .. } => true,
            Event::Died(death) => death.driver == id,
            Event::Planned { steps, .. } => steps.iter().any(|step| step.id() == id),
            Event::Refused { driver, .. } => driver.as_deref() == Some(id),
            Event::Transaction(report) => report.driver == id,
            Event::Quarantined { driver, .. } | Event::Released { driver, .. } | Event::Stopped { driver } => {
                driver == id
            }
        }
    }
}

/// A file of one JSON object a line.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// None: nothing is written.
    writer: Option<Mutex<Writer<Arc<Entry>>>>,
    /// Where it is told what is written.
    news: Option<Arc<Happenings<News>>>,
}

/// What writes it.
struct Pen {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens it to write on.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let file = Pen::append(path);
        if let Err(error) = &file {
            tracing::warn!(file = %path.display(), %error, "what happens to plugins can't be written down");
        }
        let pen = file.ok().map(|file| Pen { path: path.to_owned(), file });
        let writer =
            pen.map(|mut pen| Writer::new("what happens to plugins", false, move |next: Arc<Entry>| pen.write(&next)));
        Self { path: path.to_owned(), writer: writer.map(Mutex::new), news: None }
    }

    /// One that is read at most.
    #[must_use]
    pub fn closed(path: &Path) -> Self {
        Self { path: path.to_owned(), writer: None, news: None }
    }

    /// What is written is told there, too.
    #[must_use]
    pub(crate) fn telling(self, news: &Arc<Happenings<News>>) -> Self {
        Self { news: Some(Arc::clone(news)), ..self }
    }

    /// Writes down what happens now. It is on the disk when this returns; but one that gives no answer is not waited for.
    pub fn write(&self, event: Event) {
        let entry = Arc::new(Entry { at: Timestamp::now(), event });
        // One at a time: what is told is told in the order in which it is written.
        let writer = self.writer.as_ref().map(|writer| writer.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(writer) = &writer {
            writer.put(Arc::clone(&entry));
        }
        if let Some(news) = &self.news {
            news.tell(|| News::Written(entry));
        }
    }

    /// What happened, the oldest first. Lines that a dying host left half are left out.
    #[must_use]
    pub fn read(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for path in [former(&self.path), self.path.clone()] {
            let Ok(file) = File::open(path) else { continue };
            let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
            entries.extend(lines.filter_map(|line| serde_json::from_slice::<Entry>(&line).ok()));
        }
        entries
    }
}

/// Where the one before is kept.
fn former(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

impl Pen {
    fn append(path: &Path) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    }

    fn write(&mut self, entry: &Entry) {
        let written = serde_json::to_vec(entry).map_err(io::Error::from);
        let written = written.and_then(|mut line| {
            line.push(b'\n');
            if self.is_torn() {
                // Half a line of a host that died, or of a disk that was full, takes no other with it.
                line.insert(0, b'\n');
            }
            self.file.write_all(&line)?;
            if self.file.metadata()?.len() > MOST_BYTES {
                std::fs::rename(&self.path, former(&self.path))?;
                self.file = Self::append(&self.path)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "what happened to a plugin could not be written down");
        }
    }

    /// Whether the last line has no end.
    fn is_torn(&self) -> bool {
        let last = || -> io::Result<u8> {
            let mut file = File::open(&self.path)?;
            let mut last = [b'\n'];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            Ok(last[0])
        };
        last().is_ok_and(|last| last != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(driver: &str) -> Event {
        Event::Stopped { driver: driver.to_owned() }
    }

    #[test]
    fn what_was_written_is_read_and_half_a_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let journal = Journal::open(&path);
        journal.write(stopped("a"));
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"at\":\"20").unwrap();
        journal.write(stopped("b"));
        let events: Vec<Event> = Journal::closed(&path).read().into_iter().map(|entry| entry.event).collect();
        assert_eq!(events, [stopped("a"), stopped("b")]);
        assert!(journal.read()[0].is_of("a") && !journal.read()[0].is_of("b"));
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let journal = Journal::open(&path);
        let long = "x".repeat(1 << 20);
        for _ in 0..12 {
            journal.write(stopped(&long));
        }
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
        assert!(size(&path) < MOST_BYTES && size(&former(&path)) < 2 * MOST_BYTES);
        assert!(journal.read().len() >= 4);
    }
}
