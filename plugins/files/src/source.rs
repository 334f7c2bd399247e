//! The source: one directory.

use crate::directory::{Found, scan};
use crate::options::Settings;
use crate::table::{Look, Table};
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::{Change, Context, Error, Source, TableInfo, Update};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

/// The files of a directory as tables.
pub(crate) struct FilesSource {
    settings: Settings,
    context: Context,
    tables: Mutex<Tables>,
}

impl FilesSource {
    /// One whose directory is there.
    pub(crate) fn open(settings: Settings, context: Context) -> Result<Self, Error> {
        scan(&settings.path).map_err(|error| {
            let path = settings.path.display();
            let cause = if settings.path.is_file() { "it is a file".to_owned() } else { error.to_string() };
            let message =
                format!("directory {path} can't be read: {cause}; make it, or set option \"path\" to another");
            Error::new(message).code("no_directory")
        })?;
        Ok(Self { settings, context, tables: Mutex::default() })
    }

    fn scan(&self) -> Result<Found, Error> {
        scan(&self.settings.path).map_err(|error| self.missing(&error))
    }

    fn missing(&self, error: &io::Error) -> Error {
        let path = self.settings.path.display();
        let message = format!("directory {path} can't be read: {error}; its tables stay as they were until it is back");
        Error::transient(message).code("no_directory")
    }
}

impl Source for FilesSource {
    fn tables(&self) -> Result<Option<Vec<TableInfo>>, Error> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.scan()?;
        let cancelled = || self.context.cancelled();
        tables.list(&found, &Look { settings: &self.settings, snapshot: false, cancelled: &cancelled }).map(Some)
    }

    fn poll(&self, request: &PollRequest) -> Result<Vec<Update>, Error> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.scan()?;
        let cancelled = || self.context.cancelled();
        let look = Look { settings: &self.settings, snapshot: request.snapshot, cancelled: &cancelled };
        tables.poll(request.tables.as_deref(), &found, &look)
    }
}

impl fmt::Debug for FilesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSource").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The tables that the host was told of, and those it is about to be.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    known: BTreeMap<String, Table>,
}

impl Tables {
    /// Lists what is there; rows that had to be read for it wait for the next poll.
    fn list(&mut self, found: &Found, look: &Look<'_>) -> Result<Vec<TableInfo>, Error> {
        let mut listed = Vec::with_capacity(found.len());
        for (name, files) in found {
            let table = self.known.entry(name.clone()).or_default();
            table.refresh(name, files, look)?;
            listed.push(table.info(name));
        }
        Ok(listed)
    }

    /// One update for each table that is wanted.
    pub(crate) fn poll(
        &mut self,
        wanted: Option<&[String]>,
        found: &Found,
        look: &Look<'_>,
    ) -> Result<Vec<Update>, Error> {
        let wanted: BTreeSet<String> = match wanted {
            Some(names) => names.iter().cloned().collect(),
            None => found.keys().chain(self.known.keys()).cloned().collect(),
        };
        // First everything that may be cancelled, then what changes the state: nothing that was read is lost between.
        for name in &wanted {
            if (look.cancelled)() {
                return Err(Error::cancelled());
            }
            if let Some(files) = found.get(name) {
                let table = self.known.entry(name.clone()).or_default();
                table.refresh(name, files, look)?;
            }
        }
        let answer = |name: String| match self.known.get_mut(&name) {
            Some(table) if found.contains_key(&name) => table.answer(&name),
            _ => {
                self.known.remove(&name);
                Update::bare(name, Change::Gone)
            }
        };
        Ok(wanted.into_iter().map(answer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{age, said};
    use std::fs;

    #[test]
    fn requests_for_some_tables_for_snapshots_and_cancelled_ones() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.csv", "b.csv"] {
            fs::write(dir.path().join(name), "x\n1\n").unwrap();
            age(&dir.path().join(name));
        }
        let (path, key, types) = (dir.path().to_owned(), Default::default(), Default::default());
        let settings = Settings { path, delimiter: ',', header: true, key, types, max_file_bytes: 1000 };
        let mut tables = Tables::default();
        let mut poll = |wanted: Option<&[&str]>, snapshot: bool, cancelled: bool| {
            let wanted: Option<Vec<String>> = wanted.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let look = Look { settings: &settings, snapshot, cancelled: &|| cancelled };
            tables.poll(wanted.as_deref(), &scan(&settings.path).unwrap(), &look).map(|updates| said(&updates))
        };
        assert!(poll(None, false, true).is_err());
        assert_eq!(poll(Some(&["a", "unknown"]), false, false).unwrap(), ["a: 1 rows", "unknown: Gone"]);
        assert_eq!(poll(None, false, false).unwrap(), ["a: Unchanged", "b: 1 rows"]);
        assert_eq!(poll(Some(&["a"]), true, false).unwrap(), ["a: 1 rows"]);
        fs::remove_file(dir.path().join("b.csv")).unwrap();
        // Who did not ask for it is told later.
        assert_eq!(poll(Some(&["a"]), false, false).unwrap(), ["a: Unchanged"]);
        assert_eq!(poll(None, false, false).unwrap(), ["a: Unchanged", "b: Gone"]);
        assert_eq!(poll(None, false, false).unwrap(), ["a: Unchanged"]);
        assert!(poll(None, false, true).is_err());
    }
}
