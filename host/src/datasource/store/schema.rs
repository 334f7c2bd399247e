//! The file of records: how it is laid out, made, opened, brought up to date and looked through.

use super::{Document, fault, place};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use uuid::Uuid;

/// The file's name in the state directory.
pub(super) const FILE: &str = "records.db";

/// "BSWY": tells our databases from those of other programs.
const APPLICATION: i32 = 0x4253_5759;

/// The n-th brings a database of version n to n + 1. What is here was shipped: add, never change.
pub(super) const MIGRATIONS: &[&str] = &["CREATE TABLE record (
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    body TEXT NOT NULL
) STRICT;"];

/// Why the records can't be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory is on another machine's disk.
    #[error("the state directory {} is on a network file system ({kind}), which does not keep what it acknowledged: name one on a disk of this machine with --state-dir", path.display())]
    Network {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// Another program has the file.
    #[error("{} is open in another program: end that one (a host that runs, a database shell), then start again", path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no file of Busway's records ({what}): move it away and restore a backup with `busway restore FILE`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// It is ours, and broken.
    #[error("{} is damaged ({what}): restore a backup with `busway restore FILE`, which keeps the damaged file beside it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A later Busway made it.
    #[error("{} has version {found}, and this Busway knows versions up to {known}: start the newer one again, or restore a backup made before it with `busway restore FILE`", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// It can't be read or written.
    #[error("{} can't be used: {reason}", path.display())]
    Unusable {
        /// The file or the directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
}

impl OpenError {
    pub(super) fn unusable(path: &Path, reason: impl ToString) -> Self {
        Self::Unusable { path: path.to_owned(), reason: reason.to_string() }
    }

    /// What is wrong, without the place and what to do.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Network { kind, .. } => format!("it is on a network file system ({kind})"),
            Self::Held { .. } => "it is open in another program".to_owned(),
            Self::Foreign { what, .. } => format!("it is no file of Busway's records: {what}"),
            Self::Damaged { what, .. } => format!("it is damaged: {what}"),
            Self::Newer { found, known, .. } => {
                format!("it has version {found}, and this Busway knows versions up to {known}")
            }
            Self::Unusable { reason, .. } => reason.clone(),
        }
    }

    fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path, what: "no database".to_owned() },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, what: error.to_string() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held { path },
            _ => Self::Unusable { reason: fault::reason(error, &path), path },
        }
    }
}

/// Opens the records of a state directory; makes the file when there is none. Gives what is in it, too.
pub(super) fn open(directory: &Path) -> Result<(Connection, Vec<Document>), OpenError> {
    if let Some(kind) = place::network_of(directory) {
        return Err(OpenError::Network { path: directory.to_owned(), kind });
    }
    let path = directory.join(FILE);
    let unusable = |error: io::Error| OpenError::unusable(&path, error);
    if !fs::exists(&path).map_err(unusable)? {
        let made = write(directory, &[])?;
        // Whoever was faster made the same.
        let kept = made.persist_noclobber(&path).map(drop).map_err(|error| error.error);
        kept.or_else(|e| if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) }).map_err(unusable)?;
        sync(directory).map_err(unusable)?;
    }
    // Whatever the umask was or somebody did. SQLite gives its log beside it the same.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(unusable)?;
    open_file(&path, MIGRATIONS)
}

/// Opens a file that is there.
pub(super) fn open_file(path: &Path, migrations: &[&str]) -> Result<(Connection, Vec<Document>), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::of(path, &error);
    // SQLite takes an empty file for a new database. Ours are never empty: they get their name when they are whole.
    if fs::metadata(path).map_err(|error| OpenError::unusable(path, error))?.len() == 0 {
        return Err(OpenError::Damaged { path: path.to_owned(), what: "it is empty".to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_millis(500)).map_err(failed)?;
    // Before anything is read: then the log's index is in our memory, not in a mapped file, where a failing disk is a
    // fatal signal instead of an error.
    connection.pragma_update(None, "locking_mode", "exclusive").map_err(failed)?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application != i64::from(APPLICATION) {
        return Err(OpenError::Foreign { path: path.to_owned(), what: "another program's database".to_owned() });
    }
    let known = migrations.len();
    let Some(missing) = usize::try_from(version).ok().and_then(|version| migrations.get(version..)) else {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known: i64::try_from(known).unwrap_or(i64::MAX),
        });
    };
    durable(&connection).map_err(failed)?.map_err(|what| OpenError::unusable(path, what))?;
    let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), what: found.trim().replace('\n', "; ") });
    }
    migrate(&mut connection, missing, known).map_err(failed)?;
    let documents = load(&connection).map_err(failed)?;
    Ok((connection, documents))
}

/// Settings without which nothing is promised. They are read back: SQLite ignores in silence what it can't do.
fn durable(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Of use where `fsync` does not reach the disk's plates (macOS); no effect elsewhere.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    let is = (text("journal_mode")?, synchronous, text("locking_mode")?);
    let asked = ("wal".to_owned(), 2, "exclusive".to_owned());
    Ok(if is == asked {
        Ok(())
    } else {
        Err(format!("SQLite's journal_mode, synchronous and locking_mode are {is:?} where {asked:?} were asked"))
    })
}

/// All or nothing.
fn migrate(connection: &mut Connection, missing: &[&str], known: usize) -> rusqlite::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", i64::try_from(known).unwrap_or(i64::MAX))?;
    transaction.commit()
}

fn load(connection: &Connection) -> rusqlite::Result<Vec<Document>> {
    let mut all = connection.prepare("SELECT id, name, revision, body FROM record ORDER BY name")?;
    all.query_map([], document)?.collect()
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    let revision: i64 = row.get(2)?;
    Ok(Document {
        id: Uuid::from_bytes(row.get(0)?),
        name: row.get(1)?,
        revision: revision.unsigned_abs(),
        body: row.get(3)?,
    })
}

/// Adds a record, refused by the table when its id or name is there.
pub(super) fn insert(connection: &Connection, document: &Document) -> rusqlite::Result<usize> {
    let mut add = connection.prepare_cached("INSERT INTO record (id, name, revision, body) VALUES (?1, ?2, ?3, ?4)")?;
    add.execute(params![document.id.as_bytes(), document.name, revision(document.revision), document.body])
}

/// A revision as SQLite has it. One beyond its integers never comes about by counting from 1, and matches nothing.
pub(super) fn revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// Writes a new file of records under a passing name in `directory`, whole, on the disk, readable by its owner alone.
pub(super) fn write(directory: &Path, documents: &[Document]) -> Result<NamedTempFile, OpenError> {
    let unusable = |error: io::Error| OpenError::unusable(directory, error);
    let file = tempfile::Builder::new().prefix(".records-").tempfile_in(directory).map_err(unusable)?;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).map_err(unusable)?;
    let failed = |error: rusqlite::Error| OpenError::of(directory, &error);
    let mut connection = Connection::open_with_flags(file.path(), OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    // Nobody has the file yet: no journal, and it goes to the disk once, below.
    connection.pragma_update(None, "journal_mode", "off").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "off").map_err(failed)?;
    migrate(&mut connection, MIGRATIONS, MIGRATIONS.len()).map_err(failed)?;
    let fill = |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        for document in documents {
            insert(&transaction, document)?;
        }
        transaction.commit()
    };
    fill(&mut connection).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    file.as_file().sync_all().map_err(unusable)?;
    Ok(file)
}

/// A name that was given or taken in a directory is there after a crash, too.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(directory: &Path) -> String {
        let text = open(directory).unwrap_err().to_string();
        text.replace(&directory.display().to_string(), "STATE")
    }

    #[test]
    fn what_is_no_file_of_records_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "these are not the records you are looking for").unwrap();
        let text = "STATE/records.db is no file of Busway's records (no database): move it away and restore a backup with \
                    `busway restore FILE`";
        assert_eq!(refused(folder.path()), text);
        fs::write(&path, "").unwrap();
        let text = "STATE/records.db is damaged (it is empty): restore a backup with `busway restore FILE`, which keeps the \
                    damaged file beside it";
        assert_eq!(refused(folder.path()), text);
        fs::remove_file(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
        drop(other);
        let text = "STATE/records.db is no file of Busway's records (another program's database): move it away and restore a \
                    backup with `busway restore FILE`";
        assert_eq!(refused(folder.path()), text);
        assert_eq!(Connection::open(&path).unwrap().execute("INSERT INTO recipe VALUES ('soup')", []), Ok(1));
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = open(folder.path()).unwrap();
        connection.pragma_update(None, "user_version", 7).unwrap();
        drop(connection);
        let text = "STATE/records.db has version 7, and this Busway knows versions up to 1: start the newer one again, or \
                    restore a backup made before it with `busway restore FILE`";
        assert_eq!(refused(folder.path()), text);
    }

    #[test]
    fn an_older_one_is_brought_up_to_date_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let one = Document { id: Uuid::new_v4(), name: "a".to_owned(), revision: 3, body: "{}".to_owned() };
        let file = write(folder.path(), std::slice::from_ref(&one)).unwrap();
        let add = "ALTER TABLE record ADD COLUMN note TEXT NOT NULL DEFAULT 'none'";
        let broken = [MIGRATIONS[0], add, "CREATE TABLE nonsense"];
        open_file(file.path(), &broken).unwrap_err();
        let good = [MIGRATIONS[0], add, "CREATE TABLE more (x INTEGER) STRICT"];
        let (connection, documents) = open_file(file.path(), &good).unwrap();
        assert_eq!(documents, [one]);
        let note: String = connection.query_row("SELECT note FROM record", [], |row| row.get(0)).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!((note.as_str(), version), ("none", 3));
    }

    #[test]
    fn a_damaged_file_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let documents: Vec<Document> = (0..200)
            .map(|i| Document { id: Uuid::new_v4(), name: format!("n{i}"), revision: 1, body: "x".repeat(500) })
            .collect();
        write(folder.path(), &documents).unwrap().persist(folder.path().join(FILE)).unwrap();
        assert_eq!(open(folder.path()).unwrap().1.len(), 200);
        let path = folder.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        // The root of the table: with its beginning gone, nothing below is found.
        bytes[4096..4196].fill(0x5a);
        fs::write(&path, bytes).unwrap();
        let text = refused(folder.path());
        assert!(text.starts_with("STATE/records.db is damaged ("), "{text}");
        assert!(text.ends_with("restore a backup with `busway restore FILE`, which keeps the damaged file beside it"));
    }

    #[test]
    fn a_network_file_system_is_named() {
        let error = OpenError::Network { path: PathBuf::from("/srv/state"), kind: "nfs" };
        assert_eq!(
            error.to_string(),
            "the state directory /srv/state is on a network file system (nfs), which does not keep what it acknowledged: name \
             one on a disk of this machine with --state-dir"
        );
    }

    /// Another process, since the umask is the whole process's.
    #[test]
    fn the_umask_changes_nothing() {
        const FOLDER: &str = "BUSWAY_UMASK_FOLDER";
        if let Some(folder) = std::env::var_os(FOLDER) {
            let folder = PathBuf::from(folder);
            let (first, _) = open(&folder).unwrap();
            first.execute_batch("CREATE TABLE x (y)").unwrap();
            let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!([mode("records.db"), mode("records.db-wal")], [0o600, 0o600]);
            return;
        }
        for umask in ["000", "777"] {
            let folder = tempfile::tempdir().unwrap();
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "datasource::store::schema::tests::the_umask_changes_nothing"])
                .env(FOLDER, folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{umask}: {}", String::from_utf8_lossy(&output.stdout));
            assert!(fs::exists(folder.path().join(FILE)).unwrap(), "the test's name is another");
        }
    }

    #[test]
    fn one_program_at_a_time_and_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = open(folder.path()).unwrap();
        first.execute_batch("CREATE TABLE x (y)").unwrap();
        let text = "STATE/records.db is open in another program: end that one (a host that runs, a database shell), then \
                    start again";
        assert_eq!(refused(folder.path()), text);
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap()).collect();
        names.sort_by_key(|entry| entry.file_name());
        let modes: Vec<_> = names
            .iter()
            .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().permissions().mode() & 0o777))
            .collect();
        assert_eq!(modes, [("records.db".to_owned(), 0o600), ("records.db-wal".to_owned(), 0o600)]);
        drop(first);
        fs::set_permissions(folder.path().join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
        let _open = open(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
