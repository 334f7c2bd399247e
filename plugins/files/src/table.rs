//! What is known of one table between polls.

use crate::content::{Content, Stamp};
use crate::declared::Types;
use crate::directory::{File, Format};
use crate::input::{Input, Rows};
use crate::options::Settings;
use crate::{csv, key, ndjson, parquet};
use busway_plugin_api::abi::Status;
use busway_plugin_api::arrow_schema::Schema;
use busway_plugin_api::message::ErrorBody;
use busway_plugin_api::{Batches, Change, Error, TableInfo, TableSpec, Update, tracing};
use std::sync::Arc;

/// One table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The content that was read last, good or bad.
    read: Option<Read>,
    /// What the host has.
    given: Option<Given>,
    /// What was read and not given yet.
    waiting: Option<(TableSpec, Batches)>,
    /// Why it can't be read now.
    failure: Option<ErrorBody>,
}

#[derive(Debug)]
struct Read {
    file: String,
    stamp: Stamp,
    settled: bool,
    hash: u64,
}

/// The rows themselves are not kept: they would be in memory twice.
#[derive(Debug)]
struct Given {
    hash: u64,
    spec: TableSpec,
}

/// What a call that looks at files goes by.
pub(crate) struct Look<'a> {
    /// The source's options.
    pub(crate) settings: &'a Settings,
    /// Whether rows are wanted that the host has been given already.
    pub(crate) snapshot: bool,
    /// Whether the call was cancelled.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl Table {
    /// Looks at the table's file again, and reads it if need be: afterwards [`answer`](Self::answer) is right.
    ///
    /// # Errors
    ///
    /// When it was cancelled. All other errors are the table's.
    pub(crate) fn refresh(&mut self, name: &str, files: &[File], look: &Look<'_>) -> Result<(), Error> {
        let known = self.read.take();
        let refreshed = match files {
            [file] => self.refresh_one(name, file, known, look),
            several => Err(clash(name, several)),
        };
        match refreshed {
            Err(error) if error.status() != Status::CANCELLED => {
                self.failure = Some(error.body().clone());
                self.waiting = None;
                Ok(())
            }
            refreshed => refreshed,
        }
    }

    /// `self.read` is set again once it is known what was read: an error before that is one of the file, not of its
    /// content, and may pass without a trace on the file.
    fn refresh_one(&mut self, name: &str, file: &File, known: Option<Read>, look: &Look<'_>) -> Result<(), Error> {
        let stamp = file.stamp.clone()?;
        let same = |read: &Read| read.settled && read.stamp == stamp && read.file == file.name;
        if let Some(read) = known.as_ref().filter(|read| same(read))
            && self.serves(read.hash, look.snapshot)
        {
            self.read = known;
            return Ok(());
        }
        let content = Content::read(file, look.settings.max_file_bytes)?;
        let (settled, hash) = (content.settled, content.hash);
        let read = Read { file: file.name.clone(), stamp: content.stamp, settled, hash };
        if known.is_none_or(|known| known.hash != hash) {
            self.failure = None;
            self.waiting = None;
        }
        self.read = Some(read);
        if !self.serves(hash, look.snapshot) {
            self.waiting = Some(parse(name, file, &content, look)?);
        }
        Ok(())
    }

    /// Whether it can answer for this content without a look into it.
    fn serves(&self, hash: u64, snapshot: bool) -> bool {
        let given = self.given.as_ref().is_some_and(|given| given.hash == hash);
        self.failure.is_some() || self.waiting.is_some() || (given && !snapshot)
    }

    /// What a poll answers.
    pub(crate) fn answer(&mut self, name: &str) -> Update {
        if let (Some((spec, rows)), Some(read)) = (self.waiting.take(), &self.read) {
            let update = spec.snapshot(rows);
            self.given = Some(Given { hash: read.hash, spec });
            return update;
        }
        let change = self.failure.clone().map_or(Change::Unchanged, Change::Failed);
        match &self.given {
            Some(given) => given.spec.update(change),
            None => Update::bare(name, change),
        }
    }

    /// As it is listed; without columns as long as its file was never read well.
    pub(crate) fn info(&self, name: &str) -> TableInfo {
        let waiting = self.waiting.as_ref().map(|(spec, _)| spec);
        match waiting.or(self.given.as_ref().map(|given| &given.spec)) {
            Some(spec) => spec.info(),
            None => TableSpec::with_schema(name, Arc::new(Schema::empty())).info(),
        }
    }
}

fn parse(table: &str, file: &File, content: &Content, look: &Look<'_>) -> Result<(TableSpec, Batches), Error> {
    let settings = look.settings;
    let (none, cancelled) = (Types::new(), look.cancelled);
    let types = settings.types.get(table).unwrap_or(&none);
    let text = if file.format == Format::Parquet { "" } else { content.text(file)? };
    let input = Input { file: &file.name, text, cancelled };
    let mut rows: Rows = match file.format {
        Format::Csv => csv::read(&input, settings.delimiter, settings.header, types)?,
        Format::Tsv => csv::read(&input, '\t', settings.header, types)?,
        Format::Ndjson => ndjson::read(&input, types)?,
        Format::Parquet => {
            let most = settings.max_file_bytes.saturating_mul(parquet::EXPANSION);
            parquet::read(&input, &content.bytes, types, most)?
        }
    };
    let key = settings.key.get(table).map(Vec::as_slice).unwrap_or_default();
    if !key.is_empty() {
        rows = key::keyed(&input, rows, key)?;
    }
    tracing::debug!(file = file.name, rows = rows.places.len(), "read");
    let spec = TableSpec::with_schema(table, rows.schema.clone()).key(key).describe(format!("Rows of {}", file.name));
    Ok((spec, rows.into()))
}

fn clash(table: &str, files: &[File]) -> Error {
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let message = format!("{} are all table {table:?}: rename all but one", names.join(" and "));
    Error::new(message).code("name_clash").at(names.join(", "))
}
