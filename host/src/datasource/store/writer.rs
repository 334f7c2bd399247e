//! The one thread that writes. It takes all that waits into one transaction, so that many changes share one way to the
//! disk, and acknowledges after that.

use super::memory::MemoryStore;
use super::{Change, StoreError, fault, schema};
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, params};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// How many changes wait, and how many share a transaction, at most.
pub(super) const GROUP: usize = 256;

/// A change and who waits for it.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
}

type Outcome = Result<(), StoreError>;

/// Why a whole transaction came to nothing.
enum Failure {
    /// It did.
    Undone(Error),
    /// Its pages are in the file, and perhaps not on the disk.
    Ambiguous(Error),
}

/// Why a change was not made.
enum Refusal {
    /// For a reason of its own.
    Own(StoreError),
    /// The file's.
    Sql(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    /// What readers see.
    copy: Arc<MemoryStore>,
    /// The last one failed: so that the log has one line for an outage's begin, and one for its end.
    failing: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, path: PathBuf, copy: Arc<MemoryStore>) -> Self {
        Self { connection, path, copy, failing: false }
    }

    /// Until nobody can ask any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                group.push(job);
            }
            self.serve(group);
        }
    }

    fn serve(&mut self, mut group: Vec<Job>) {
        // Who has gone waits for nothing.
        group.retain(|job| !job.reply.is_closed());
        let changes: Vec<&Change> = group.iter().map(|job| &job.change).collect();
        match self.transact(&changes) {
            Ok(outcomes) => self.acknowledge(group, outcomes),
            // A small one may fit where all of them did not, and a removal makes room.
            Err(Failure::Undone(_)) if group.len() > 1 => group.into_iter().for_each(|job| self.serve(vec![job])),
            Err(failure) => self.refuse(group, failure),
        }
    }

    fn acknowledge(&mut self, group: Vec<Job>, outcomes: Vec<Outcome>) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(file = %self.path.display(), "records can be written again");
        }
        let (mut made, mut replies) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for (job, outcome) in group.into_iter().zip(outcomes) {
            if outcome.is_ok() {
                made.push(job.change);
            }
            replies.push((job.reply, outcome));
        }
        self.copy.make(made);
        // Now it is on the disk, and readers see it.
        replies.into_iter().for_each(|(reply, outcome)| drop(reply.send(outcome)));
    }

    fn refuse(&mut self, group: Vec<Job>, failure: Failure) {
        let (error, settled) = match failure {
            Failure::Undone(error) => (error, true),
            Failure::Ambiguous(error) => (error, self.settle()),
        };
        let reason = fault::reason(&error, &self.path);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%reason, "records can't be written");
        }
        let refusal = if settled { StoreError::Unavailable { reason } } else { StoreError::Unknown { reason } };
        group.into_iter().for_each(|job| drop(job.reply.send(Err(refusal.clone()))));
    }

    /// Writes something else over a transaction that may have reached the disk: then it did not.
    fn settle(&self) -> bool {
        let version = || self.connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        version().and_then(|version| self.connection.pragma_update(None, "user_version", version)).is_ok()
    }

    /// All changes in one transaction, each in a savepoint: one that is refused leaves no trace.
    fn transact(&self, changes: &[&Change]) -> Result<Vec<Outcome>, Failure> {
        let outcomes = self.begin(changes).map_err(|error| {
            self.undo();
            Failure::Undone(error)
        })?;
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => Ok(outcomes),
            Err(error) => {
                self.undo();
                Err(if fault::is_ambiguous(&error) { Failure::Ambiguous(error) } else { Failure::Undone(error) })
            }
        }
    }

    fn begin(&self, changes: &[&Change]) -> Result<Vec<Outcome>, Error> {
        self.run_cached("BEGIN IMMEDIATE")?;
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            self.run_cached("SAVEPOINT one")?;
            match self.make(change) {
                Ok(()) => outcomes.push(Ok(())),
                Err(Refusal::Own(refusal)) => {
                    self.run_cached("ROLLBACK TO one")?;
                    outcomes.push(Err(refusal));
                }
                Err(Refusal::Sql(error)) => return Err(error),
            }
            self.run_cached("RELEASE one")?;
        }
        Ok(outcomes)
    }

    fn run_cached(&self, sql: &str) -> Result<(), Error> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// SQLite undoes a transaction itself after some errors. If this fails too, the next `BEGIN` does, and says so.
    fn undo(&self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn make(&self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::Create(document) => {
                if let Some(found) = self.revision(document.id)? {
                    return Err(Refusal::Own(StoreError::Conflict { id: document.id, expected: 0, found }));
                }
                schema::insert(&self.connection, document).map_err(|error| taken(error, &document.name))?;
            }
            Change::Replace(document) => {
                self.expect(document.id, document.revision.saturating_sub(1))?;
                let mut set = self
                    .connection
                    .prepare_cached("UPDATE record SET name = ?2, revision = ?3, body = ?4 WHERE id = ?1")?;
                let revision = schema::revision(document.revision);
                set.execute(params![document.id.as_bytes(), document.name, revision, document.body])
                    .map_err(|error| taken(error, &document.name))?;
            }
            Change::Remove { id, revision } => {
                self.expect(*id, *revision)?;
                self.connection.prepare_cached("DELETE FROM record WHERE id = ?1")?.execute([id.as_bytes()])?;
            }
        }
        Ok(())
    }

    fn expect(&self, id: Uuid, expected: u64) -> Result<(), Refusal> {
        match self.revision(id)? {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(Refusal::Own(StoreError::Conflict { id, expected, found })),
            None => Err(Refusal::Own(StoreError::NotFound { id })),
        }
    }

    fn revision(&self, id: Uuid) -> Result<Option<u64>, Error> {
        let mut find = self.connection.prepare_cached("SELECT revision FROM record WHERE id = ?1")?;
        find.query_row([id.as_bytes()], |row| row.get::<_, i64>(0).map(i64::unsigned_abs)).optional()
    }
}

/// Of what the table forbids, only the name is left: the id was looked at, and the rest is ours.
fn taken(error: Error, name: &str) -> Refusal {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Refusal::Own(StoreError::NameInUse { name: name.to_owned() }),
        _ => Refusal::Sql(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settling_writes_over_what_may_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = schema::open(folder.path()).unwrap();
        let writer = Writer::new(connection, folder.path().join(schema::FILE), Arc::default());
        let log = || std::fs::metadata(folder.path().join("records.db-wal")).map_or(0, |log| log.len());
        let before = log();
        assert!(writer.settle());
        assert!(log() > before, "nothing was written");
        writer.connection.pragma_update(None, "query_only", true).unwrap();
        assert!(!writer.settle());
    }
}
