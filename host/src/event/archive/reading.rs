//! What the archive has, read by several at once: a writer holds up no reader, and no reader another.

use super::super::topic::Words;
use super::super::{MAX_PAGE, Query};
use super::{Archive, ArchiveError, unusable};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// So many read at once; more wait for one of them.
const READERS: usize = 4;

/// A step looks at no more events than this, and then lets others read.
const STEP: usize = 20_000;

/// A page has no more bytes of events, but at least one event.
const MOST_BYTES: usize = 8 << 20;

/// The latest are looked for among so many: further back is behind another page's `since`.
const FURTHEST: usize = 25 * STEP;

/// Some of the archive's events, in the order in which they were published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Archived {
    /// Each with its place, as a CloudEvent.
    pub events: Vec<(u64, Value)>,
    /// Where to go on, if there may be more.
    pub next: Option<u64>,
    /// It is shorter than it might be, since too many others had to be looked at.
    pub cut: bool,
    /// So many of those that were looked at can't be read, and were left out.
    pub unreadable: u64,
}

/// Connections of those who read.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    state: Mutex<Idle>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    busy: usize,
}

/// A connection that somebody reads with.
struct Reader<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.connections.extend(self.connection.take());
        state.busy -= 1;
        drop(state);
        self.readers.freed.notify_one();
    }
}

impl Readers {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), state: Mutex::default(), freed: Condvar::new() }
    }

    /// How many connections nobody reads with.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// Reads with a connection of its own.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ArchiveError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.freed.wait_while(state, |state| state.busy >= READERS);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.busy += 1;
        let mut reader = Reader { readers: self, connection: state.connections.pop() };
        drop(state);
        let open = |path: &Path| {
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            Ok(connection)
        };
        let connection = match reader.connection.take() {
            Some(idle) => Ok(idle),
            None => open(&self.path),
        };
        let read = connection.and_then(|connection| work(reader.connection.insert(connection)));
        read.map_err(|error| unusable(&self.path, error))
    }
}

/// Why an event that was archived is not shown.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Column(#[from] rusqlite::Error),
    #[error(transparent)]
    Text(#[from] rusqlite::types::FromSqlError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The event of a row and its bytes, if it is meant.
fn meant(row: &Row<'_>, query: &Query, since: i64) -> Result<Option<(Value, usize)>, Unreadable> {
    if row.get::<_, i64>(1)? < since {
        return Ok(None);
    }
    if let Some(topics) = &query.topics
        && !topics.mean(&Words::parse(row.get_ref(2)?.as_str()?), row.get_ref(3)?.as_str()?)
    {
        return Ok(None);
    }
    let text = row.get_ref(4)?.as_str()?;
    let body = serde_json::from_str(text)?;
    Ok(query.filters.iter().all(|filter| filter.wants_json(&body)).then_some((body, text.len())))
}

/// A page as it grows, and the rows that were not looked at.
struct Search<'a> {
    path: &'a Path,
    query: &'a Query,
    since: i64,
    limit: usize,
    /// Rows between these two, neither included.
    after: i64,
    before: i64,
    bytes: usize,
    page: Archived,
}

impl Search<'_> {
    /// Looks at the next rows. Whether there is nothing more to look for.
    fn step(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let order = if self.query.latest { "DESC" } else { "ASC" };
        let text = format!(
            "SELECT row, time, words, origin, body FROM event WHERE row > ?1 AND row < ?2 ORDER BY row {order} LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(&text)?;
        let mut rows = statement.query(params![self.after, self.before, i64::try_from(STEP).unwrap_or(i64::MAX)])?;
        let mut looked = 0;
        while let Some(row) = rows.next()? {
            if self.page.events.len() == self.limit {
                self.page.next = (!self.query.latest).then_some(self.after.cast_unsigned());
                return Ok(true);
            }
            let number: i64 = row.get(0)?;
            let found = meant(row, self.query, self.since);
            if let Ok(Some((_, bytes))) = &found
                && !self.page.events.is_empty()
                && self.bytes + bytes > MOST_BYTES
            {
                self.page.cut = true;
                self.page.next = (!self.query.latest).then_some(self.after.cast_unsigned());
                return Ok(true);
            }
            looked += 1;
            *(if self.query.latest { &mut self.before } else { &mut self.after }) = number;
            match found {
                Ok(Some((event, bytes))) => {
                    self.bytes += bytes;
                    self.page.events.push((number.cast_unsigned(), event));
                }
                Ok(None) => {}
                Err(error) => {
                    // One of them says what is wrong; a file with many would fill the log.
                    if self.page.unreadable == 0 {
                        tracing::warn!(file = %self.path.display(), row = number, %error, "an archived event can't be read, and is left out");
                    }
                    self.page.unreadable += 1;
                }
            }
        }
        Ok(looked < STEP)
    }
}

impl Archive {
    /// What happened, over restarts. Places are the archive's own; `since` is about when events were published, and when they
    /// happened. What can't be read is left out, and counted. Reads the disk.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn page(&self, query: &Query) -> Result<Archived, ArchiveError> {
        let since = query.since.map_or(i64::MIN, Timestamp::as_microsecond);
        let mut search = Search {
            path: &self.path,
            query,
            since,
            limit: query.limit.unwrap_or(100).min(MAX_PAGE),
            after: i64::try_from(query.after.unwrap_or_default()).unwrap_or(i64::MAX),
            before: i64::MAX,
            bytes: 0,
            page: Archived::default(),
        };
        if query.since.is_some() {
            // Rows are in the order of their telling: all before this one were told before.
            let from = self.readers.read(|reader| {
                let from = "SELECT row FROM event WHERE told >= ?1 ORDER BY told LIMIT 1";
                match reader.query_row(from, params![since], |row| row.get::<_, i64>(0)) {
                    Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
                    other => other.map(Some),
                }
            })?;
            match from {
                Some(from) => search.after = search.after.max(from - 1),
                None => return Ok(search.page),
            }
        }
        // Going forth there is a place where to go on; back from the end there is none.
        let steps = if query.latest { FURTHEST / STEP } else { 1 };
        let mut is_over = false;
        for _ in 0..steps {
            is_over = self.readers.read(|reader| search.step(reader))?;
            if is_over {
                break;
            }
        }
        let Search { mut page, after, .. } = search;
        if !is_over {
            page.cut = page.events.len() < search.limit;
            page.next = (!query.latest).then_some(after.cast_unsigned());
        }
        if query.latest {
            page.events.reverse();
        }
        Ok(page)
    }
}
