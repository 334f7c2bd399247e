//! What went wrong with the file, for a person: what, and what to do.

use rusqlite::{Error, ErrorCode, ffi};
use std::io::{self, Write};
use std::path::Path;

/// The reason of an error, and what to do. `path`: the file, or the directory it is made in.
pub(super) fn reason(error: &Error, path: &Path) -> String {
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let ask = matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen));
    explain(error, path, ask.then(|| probe(directory)).flatten())
}

/// Was it perhaps written all the same? When a transaction ends, its pages are written and then made to reach the disk; if
/// only the latter fails, they may still be found there after a restart.
pub(super) fn is_ambiguous(error: &Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|e| matches!(e.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// SQLite says of most errors of the system that they were some: what does the system say now?
fn probe(directory: &Path) -> Option<io::ErrorKind> {
    let attempt = || {
        let mut file = tempfile::tempfile_in(directory)?;
        file.write_all(&[1; 4096])?;
        file.sync_data()
    };
    attempt().err().map(|error: io::Error| error.kind())
}

fn explain(error: &Error, path: &Path, found: Option<io::ErrorKind>) -> String {
    let path = path.display();
    match (error.sqlite_error_code(), found) {
        (Some(ErrorCode::DiskFull), _) | (_, Some(io::ErrorKind::StorageFull)) => {
            format!("the disk of {path} is full: make room on it")
        }
        (_, Some(io::ErrorKind::QuotaExceeded)) => {
            format!("the quota on the disk of {path} is used up: make room, or have it raised")
        }
        (_, Some(io::ErrorKind::ReadOnlyFilesystem)) => format!(
            "the file system of {path} is read-only now: the system's log says why; when it is sound, mount it for writing \
             again and restart the host"
        ),
        (Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied), _) | (_, Some(io::ErrorKind::PermissionDenied)) => {
            format!("{path} may not be written: look at its owner, its mode and its mount")
        }
        (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => {
            format!("another program has {path} open: end it")
        }
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => {
            format!("{path} is damaged ({error}): stop the host and restore a backup with `busway restore FILE`")
        }
        _ => format!("{path}: {error}{}; the system's log may say more of the disk", number(error)),
    }
}

fn number(error: &Error) -> String {
    error.sqlite_error().map_or(String::new(), |error| format!(" (SQLite's error {})", error.extended_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_to_do() {
        let of = |code, found| explain(&Error::SqliteFailure(ffi::Error::new(code), None), Path::new("/s/r.db"), found);
        assert_eq!(of(ffi::SQLITE_FULL, None), "the disk of /s/r.db is full: make room on it");
        let write = ffi::SQLITE_IOERR_WRITE;
        assert_eq!(of(write, Some(io::ErrorKind::StorageFull)), "the disk of /s/r.db is full: make room on it");
        assert_eq!(
            of(write, Some(io::ErrorKind::QuotaExceeded)),
            "the quota on the disk of /s/r.db is used up: make room, or have it raised"
        );
        assert_eq!(
            of(write, Some(io::ErrorKind::ReadOnlyFilesystem)),
            "the file system of /s/r.db is read-only now: the system's log says why; when it is sound, mount it for writing \
             again and restart the host"
        );
        assert_eq!(
            of(write, None),
            "/s/r.db: Error code 778: disk I/O error (SQLite's error 778); the system's log may say more of the \
             disk"
        );
        assert_eq!(
            of(ffi::SQLITE_READONLY, None),
            "/s/r.db may not be written: look at its owner, its mode and its mount"
        );
        assert_eq!(of(ffi::SQLITE_BUSY, None), "another program has /s/r.db open: end it");
        let ambiguous = |code| is_ambiguous(&Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!([write, ffi::SQLITE_FULL, ffi::SQLITE_IOERR_FSYNC].map(ambiguous), [false, false, true]);
    }
}
