//! Events that outlive the process: a SQLite file of their own, written in batches.
//!
//! An event is no acknowledged write: a power cut may cost the last batch. Who writes is a subscriber as any other, with a
//! bounded queue; what it can't keep up with is lost to the archive, counted, and said in the log.

mod reading;

pub use reading::Archived;

use super::Events;
use super::queue::{Bounds, Told};
use super::subscription::{Delivery, Listening, Subscription};
use jiff::Timestamp;
use reading::Readers;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The file's name in the state directory.
pub const FILE: &str = "events.db";

/// "BSWE": tells our files from those of other programs.
const APPLICATION: i32 = 0x4253_5745;
const VERSION: i64 = 1;

/// So many events share a transaction, and so long the first of them waits for the others.
const BATCH: usize = 1000;
const PAUSE: Duration = Duration::from_millis(200);

/// So much waits for the disk.
const WAITING: Bounds = Bounds { events: 20_000, bytes: 64 << 20 };

const TABLES: &str = "CREATE TABLE event (
    row INTEGER PRIMARY KEY,
    told INTEGER NOT NULL,
    time INTEGER NOT NULL,
    words TEXT NOT NULL,
    origin TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX event_told ON event (told);";

/// Why there is no archive. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Another program's file.
    #[error("{} is no archive of Busway's events: move it away, or leave events.durable out", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later Busway made it.
    #[error("{} has version {found}, and this Busway knows version {VERSION}: start the newer one again, or move the file away", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// It can't be read or written.
    #[error("the archive of events {} can't be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How the archive is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveCounters {
    /// Events that were written since the start.
    pub written: u64,
    /// Events that came faster than they could be written, or that could not be.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

/// Events that outlive the process.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    readers: Readers,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    writing: Mutex<Option<JoinHandle<()>>>,
}

fn unusable(path: &Path, reason: impl ToString) -> ArchiveError {
    ArchiveError::Unusable { path: path.to_owned(), reason: reason.to_string() }
}

/// Opens the file; makes it when there is none. One that is damaged is moved aside, and a new one is made: what happened
/// once is not worth a host that does not start.
fn open(path: &Path) -> Result<Connection, ArchiveError> {
    match prepare(path) {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::DatabaseCorrupt => {
            let aside = path.with_extension(format!("damaged-{}", Timestamp::now().as_second()));
            std::fs::rename(path, &aside).map_err(|error| unusable(path, error))?;
            for log in ["db-wal", "db-shm"] {
                let _ = std::fs::remove_file(path.with_extension(log));
            }
            tracing::error!(file = %path.display(), moved_to = %aside.display(), "the archive of events is damaged: a new one begins");
            prepare(path).map_err(|error| unusable(path, error))?
        }
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::NotADatabase => {
            Err(ArchiveError::Foreign { path: path.to_owned() })
        }
        other => other.map_err(|error| unusable(path, error))?,
    }
}

fn prepare(path: &Path) -> rusqlite::Result<Result<Connection, ArchiveError>> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A batch may be lost with the machine's power, the file may not.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => {
            connection.execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
        }
        (application, VERSION) if application == i64::from(APPLICATION) => {}
        (application, found) if application == i64::from(APPLICATION) => {
            return Ok(Err(ArchiveError::Newer { path: path.to_owned(), found }));
        }
        _ => return Ok(Err(ArchiveError::Foreign { path: path.to_owned() })),
    }
    Ok(Ok(connection))
}

impl Archive {
    /// Opens the archive of a state directory, and writes down what happens from now on; keeps the last `most` events. Within a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// The file can't be used, or is another's.
    pub fn start(events: &Events, state_dir: &Path, most: u64) -> Result<Self, ArchiveError> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = state_dir.join(FILE);
        let writer = open(&path)?;
        let told = writer.query_row("SELECT max(told) FROM event", [], |row| row.get::<_, Option<i64>>(0));
        let told = told.ok().flatten().unwrap_or(i64::MIN);
        // What is said in an event is nobody's but the operator's.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(|e| unusable(&path, e))?;
        let (counts, stop) = (Arc::<Counts>::default(), watch::Sender::new(false));
        let subscription = events.subscribe(&Listening { bounds: WAITING, aside: true, ..Listening::default() });
        let work = Work { counts: Arc::clone(&counts), path: path.clone(), most, told, failing: false };
        let writing = tokio::spawn(write(subscription, writer, work, stop.subscribe()));
        Ok(Self { readers: Readers::of(&path), path, counts, stop, writing: Mutex::new(Some(writing)) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is.
    #[must_use]
    pub fn counters(&self) -> ArchiveCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ArchiveCounters { written: read(&self.counts.written), lost: read(&self.counts.lost) }
    }

    /// Writes down what has come, and no more.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writing) = writing {
            let _ = writing.await;
        }
    }
}

struct Work {
    counts: Arc<Counts>,
    path: PathBuf,
    most: u64,
    /// When the last one was told: the clock may have been set back since the run before, rows stay in order.
    told: i64,
    /// The last batch could not be written: the log has one line for an outage's begin, and one for its end.
    failing: bool,
}

async fn write(
    subscription: Subscription,
    mut connection: Connection,
    mut work: Work,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let first = tokio::select! {
            first = subscription.next() => first,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let is_over = first.is_none();
        let mut batch = Vec::new();
        work.take(first, &mut batch);
        if !is_over {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        loop {
            while batch.len() < BATCH
                && let Some(delivery) = subscription.try_next()
            {
                work.take(Some(delivery), &mut batch);
            }
            let is_full = batch.len() >= BATCH;
            let given = std::mem::take(&mut batch);
            let written = tokio::task::spawn_blocking(move || {
                work.write(&mut connection, &given);
                (work, connection)
            });
            match written.await {
                Ok(back) => (work, connection) = back,
                Err(panic) => return tracing::error!(%panic, "events are archived no more"),
            }
            if !is_full {
                break;
            }
        }
        if is_over {
            return;
        }
    }
}

impl Work {
    fn take(&self, delivery: Option<Delivery>, batch: &mut Vec<Told>) {
        match delivery {
            Some(Delivery::Event(taken)) => {
                batch.push(taken.told().clone());
                taken.done();
            }
            Some(Delivery::Gap(lost)) => {
                self.counts.lost.fetch_add(lost, Ordering::Relaxed);
                tracing::warn!(lost, "events came faster than they could be archived");
            }
            None => {}
        }
    }

    fn write(&mut self, connection: &mut Connection, batch: &[Told]) {
        if batch.is_empty() {
            return;
        }
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match self.insert(connection, batch) {
            Ok(()) => {
                self.counts.written.fetch_add(count, Ordering::Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::warn!(file = %self.path.display(), "events are archived again");
                }
            }
            Err(error) => {
                self.counts.lost.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(file = %self.path.display(), %error, "events can't be archived: what happens meanwhile is lost to the archive");
                }
            }
        }
    }

    fn insert(&mut self, connection: &mut Connection, batch: &[Told]) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO event (told, time, words, origin, body) VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for told in batch {
                let (event, words) = (&told.event, told.event.words.joined());
                self.told = self.told.max(told.at.as_microsecond());
                insert.execute(params![
                    self.told,
                    event.time.as_microsecond(),
                    words,
                    &*event.origin,
                    event.to_json().to_string()
                ])?;
            }
            let most = i64::try_from(self.most).unwrap_or(i64::MAX);
            let mut prune =
                transaction.prepare_cached("DELETE FROM event WHERE row <= (SELECT max(row) FROM event) - ?1")?;
            prune.execute(params![most])?;
        }
        transaction.commit()
    }
}

#[cfg(test)]
mod tests;
