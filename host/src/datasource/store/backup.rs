//! A copy of all records in one file, and the way back.
//!
//! A backup is a file of records like the store's own, made anew from what the store holds at one moment: it works for every
//! store, holds up nobody who writes, and carries nothing that was removed. The key that secrets are sealed with is not in
//! it: whoever has only one of the two has no secret. Keep a copy of the key file apart from the backups, with care: without
//! it the secrets in them are lost.

use super::{Document, OpenError, Store, StoreError, place, schema};
use rusqlite::{Connection, ErrorCode};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

/// Why no backup was made. A file that was there is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file is there.
    #[error("{} is there already: name another file, or say that it is to be overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is a host's own.
    #[error("{} has the name of a host's own file: name another", path.display())]
    Own {
        /// The file.
        path: PathBuf,
    },
    /// The store gave no records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be written.
    #[error("no backup was made: {0}")]
    Write(OpenError),
}

/// Why nothing was restored. The records are as they were, except as [`Place`](Self::Place) says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup is none, or none that can be used.
    #[error("nothing was restored: the backup {} can't be used: {what}", path.display())]
    Backup {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A host runs.
    #[error("nothing was restored: {} is in use: stop the host first", path.display())]
    Held {
        /// The file of records.
        path: PathBuf,
    },
    /// It can't be put in place.
    #[error("{} can't be put in place: {source}; the former records are there or beside it, as {}", path.display(), former.display())]
    Place {
        /// The file of records.
        path: PathBuf,
        /// Where the former ones may be.
        former: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The new file can't be written.
    #[error("nothing was restored: {0}")]
    Write(OpenError),
}

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// What there is now; for a look whether the key that is there opens their secrets.
    pub documents: Vec<Document>,
    /// Where the former records are kept; none: there were none.
    pub former: Option<PathBuf>,
}

/// Writes all records of a store, as they are at one moment, to a file that only its owner reads: whole or not at all.
/// Answers how many. The disk's part has a thread of its own.
///
/// # Errors
///
/// When the file is there and not to be overwritten, or can't be written, or the store can't be read.
pub async fn backup(store: &dyn Store, file: &Path, overwrite: bool) -> Result<usize, BackupError> {
    let documents = store.all().await?;
    let path = file.to_owned();
    let (reply, answer) = oneshot::channel();
    let work = move || drop(reply.send(write(&documents, &path, overwrite).map(|()| documents.len())));
    let unusable = |reason: String| BackupError::Write(OpenError::unusable(file, reason));
    std::thread::Builder::new().name("backup".to_owned()).spawn(work).map_err(|error| unusable(error.to_string()))?;
    answer.await.unwrap_or_else(|_| Err(unusable("the thread that wrote it ended".to_owned())))
}

fn write(documents: &[Document], path: &Path, overwrite: bool) -> Result<(), BackupError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.strip_prefix(schema::FILE).is_some_and(|rest| matches!(rest, "" | "-wal" | "-journal" | "-shm")) {
        return Err(BackupError::Own { path: path.to_owned() });
    }
    let unusable = |error: io::Error| BackupError::Write(OpenError::unusable(path, error));
    if !overwrite && fs::symlink_metadata(path).is_ok() {
        return Err(BackupError::Exists { path: path.to_owned() });
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = schema::write(directory, documents).map_err(BackupError::Write)?;
    if overwrite {
        made.persist(path).map_err(|error| unusable(error.error))?;
    } else {
        made.persist_noclobber(path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: path.to_owned() },
            _ => unusable(error.error),
        })?;
    }
    schema::sync(directory).map_err(unusable)
}

/// Reads a backup, looks it through and leaves it as it is. Waits for the disk.
///
/// # Errors
///
/// When it can't be read, is no file of records, is damaged, or a newer version made it.
pub fn read(file: &Path) -> Result<Vec<Document>, RestoreError> {
    let refuse = |what: String| RestoreError::Backup { path: file.to_owned(), what };
    let read = || {
        // Opening a database writes beside it and to it.
        let folder = tempfile::tempdir()?;
        let copy = folder.path().join(schema::FILE);
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        fs::copy(file, &copy)?;
        // Somebody may have copied a store by hand, with its log.
        if fs::exists(&log)? {
            fs::copy(&log, folder.path().join(format!("{}-wal", schema::FILE)))?;
        }
        Ok((folder, copy))
    };
    let (_folder, copy) = read().map_err(|error: io::Error| refuse(error.to_string()))?;
    schema::open_file(&copy, schema::MIGRATIONS).map(|(_, documents)| documents).map_err(|error| refuse(error.what()))
}

/// Puts the records of a backup in place of a state directory's. The host must not run: the caller has the directory's
/// lock. The former records stay beside the new ones, and the key file is not touched. Waits for the disk.
///
/// # Errors
///
/// When the backup can't be used, a host runs, or something can't be written.
pub fn restore(state_dir: &Path, file: &Path) -> Result<Restored, RestoreError> {
    let documents = read(file)?;
    if let Some(kind) = place::network_of(state_dir) {
        return Err(RestoreError::Write(OpenError::Network { path: state_dir.to_owned(), kind }));
    }
    let path = state_dir.join(schema::FILE);
    let log = state_dir.join(format!("{}-wal", schema::FILE));
    if fs::symlink_metadata(&path).is_ok() && !gather(&path) {
        return Err(RestoreError::Held { path });
    }
    let made = schema::write(state_dir, &documents).map_err(RestoreError::Write)?;
    let former = free_name(state_dir);
    let place = || {
        let mut kept = false;
        // A second name for the former file, so that there is never none. Its log must be away before the new one has the
        // name: SQLite would read it as the new one's. A sound one's is gone by now.
        if fs::symlink_metadata(&path).is_ok() {
            fs::hard_link(&path, &former).or_else(|_| fs::copy(&path, &former).map(drop))?;
            schema::sync(state_dir)?;
            kept = true;
        }
        if fs::symlink_metadata(&log).is_ok() {
            let mut name = former.clone().into_os_string();
            name.push("-wal");
            fs::rename(&log, name)?;
        }
        made.persist(&path).map_err(|error| error.error)?;
        schema::sync(state_dir)?;
        Ok(kept)
    };
    match place() {
        Ok(kept) => Ok(Restored { documents, former: kept.then_some(former) }),
        Err(source) => Err(RestoreError::Place { path, former, source }),
    }
}

/// Brings what is in the log into the file, and the log away. False: another program has it open. One that is broken stays as
/// it is.
fn gather(path: &Path) -> bool {
    let gathered = Connection::open(path).and_then(|connection| {
        connection.pragma_update(None, "locking_mode", "exclusive")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    });
    let code = gathered.err().and_then(|error| error.sqlite_error_code());
    !matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn free_name(state_dir: &Path) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |number: u32| match number {
        1 => state_dir.join(format!("{}.before-restore-{now}", schema::FILE)),
        _ => state_dir.join(format!("{}.before-restore-{now}-{number}", schema::FILE)),
    };
    (1..).map(name).find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_else(|| name(0))
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryStore, SqliteStore};
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use uuid::Uuid;

    fn documents(names: &[&str]) -> Vec<Document> {
        let one = |name: &&str| Document {
            id: Uuid::new_v4(),
            name: (*name).to_owned(),
            revision: 1,
            body: format!("{{\"name\":\"{name}\"}}"),
        };
        names.iter().map(one).collect()
    }

    async fn filled<T: Store>(store: T, documents: &[Document]) -> T {
        for document in documents {
            store.create(document.clone()).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("backup"));
        fs::create_dir(&state).unwrap();
        let old = documents(&["a", "b"]);
        let store = filled(SqliteStore::open(&state).unwrap(), &old).await;
        assert_eq!(backup(&store, &file, false).await.unwrap(), 2);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let more = documents(&["c"]);
        let store = filled(store, &more).await;
        let text = restore(&state, &file).unwrap_err().to_string();
        let records = state.join("records.db");
        assert_eq!(text, format!("nothing was restored: {} is in use: stop the host first", records.display()));
        assert_eq!(store.all().await.unwrap().len(), 3);
        drop(store);

        let restored = restore(&state, &file).unwrap();
        assert_eq!(restored.documents, old);
        let former = restored.former.unwrap();
        assert!(former.display().to_string().starts_with(&format!("{}.before-restore-2", records.display())));
        assert_eq!(read(&former).unwrap(), [old.clone(), more].concat());
        assert_eq!(SqliteStore::open(&state).unwrap().all().await.unwrap(), old);
        // Once more in the same second: the first one's is kept, too.
        let again = restore(&state, &file).unwrap().former.unwrap();
        assert_ne!(again, former);
        let left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[tokio::test]
    async fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let store = filled(MemoryStore::new(), &documents(&["a"])).await;
        fs::write(&file, "mine").unwrap();
        let text = backup(&store, &file, false).await.unwrap_err().to_string();
        assert_eq!(
            text,
            format!("{} is there already: name another file, or say that it is to be overwritten", file.display())
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(backup(&store, &file, true).await.unwrap(), 1);
        assert_eq!(read(&file).unwrap(), store.all().await.unwrap());
        let own = folder.path().join("records.db");
        let text = backup(&store, &own, true).await.unwrap_err().to_string();
        assert_eq!(text, format!("{} has the name of a host's own file: name another", own.display()));
        let nowhere = folder.path().join("no/where");
        let text = backup(&store, &nowhere, false).await.unwrap_err().to_string();
        assert!(text.starts_with("no backup was made: "), "{text}");
        assert!(text.contains("No such file or directory"), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a passing file is left");
    }

    #[tokio::test]
    async fn what_is_no_backup_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("backup"));
        fs::create_dir(&state).unwrap();
        let old = documents(&["a"]);
        drop(filled(SqliteStore::open(&state).unwrap(), &old).await);
        fs::write(&file, "no backup at all, but long enough to be looked at as one, if only it began as they do")
            .unwrap();
        let text = restore(&state, &file).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "nothing was restored: the backup {} can't be used: it is no file of Busway's records: no database",
                file.display()
            )
        );
        assert_eq!(SqliteStore::open(&state).unwrap().all().await.unwrap(), old);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn damaged_records_are_kept_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (state, file) = (folder.path().join("state"), folder.path().join("backup"));
        fs::create_dir(&state).unwrap();
        let old = documents(&["a"]);
        backup(&filled(MemoryStore::new(), &old).await, &file, false).await.unwrap();
        fs::write(state.join("records.db"), "broken").unwrap();
        fs::write(state.join("records.db-wal"), "of the broken one").unwrap();
        let former = restore(&state, &file).unwrap().former.unwrap();
        assert_eq!(fs::read_to_string(&former).unwrap(), "broken");
        assert_eq!(SqliteStore::open(&state).unwrap().all().await.unwrap(), old);
        assert!(!fs::exists(state.join("records.db-wal")).unwrap());
        let none = folder.path().join("none");
        fs::create_dir(&none).unwrap();
        assert_eq!(restore(&none, &file).unwrap().former, None);
    }
}
