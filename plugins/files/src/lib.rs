//! Driver `files`: a directory of CSV, NDJSON and Parquet files, each a live table named after it.
//!
//! # Which files
//!
//! `.csv`, `.tsv`, `.ndjson`, `.jsonl` and `.parquet`, in capitals too, directly in the directory; links are followed. All else is
//! ignored: hidden files, subdirectories, and what editors leave beside a file (`a.csv~`, `.a.csv.swp`, `a.csv.tmp`,
//! `#a.csv#`, `~$a.csv`). The table's name is the file's without its ending, with `_` for all but `A-Z a-z 0-9 _ -`. Two
//! files of one name are an error of that table, and neither is read.
//!
//! # What happens when
//!
//! | a file | its table |
//! |---|---|
//! | appears | appears |
//! | changes | has the new rows, all at once |
//! | is touched, or written anew as it was | is unchanged |
//! | vanishes | is gone |
//! | is malformed, unreadable, too large | stays as it was, with an error that names file and line |
//! | is empty, or an NDJSON or Parquet file lacks its end | stays as it was, with an error: it is probably being written |
//! | changes while it is read | stays as it was, with an error; the next poll reads it again |
//!
//! A CSV file that is being written can't be told from a whole one when it happens to end with a whole row: write it
//! under another name and rename it. When the directory is missing, all tables stay as they were until it is back.
//!
//! # Columns
//!
//! A column has the first of these types that fits all its values in the whole file; a column without values is text.
//!
//! * CSV: `Int64`, `Float64`, `Boolean` (`true` and `false`), `Date32` (`2026-01-31`), `Timestamp` in microseconds, or
//!   in nanoseconds when a value needs them (ISO 8601; in UTC when every value has an offset, without a zone when none
//!   has), `Utf8`. What a number would lose stays text: `007`, whole numbers beyond 64 bits. An empty cell is null,
//!   quoted or not. Lines without any character are skipped.
//! * NDJSON: `Int64`, `Float64`, `Boolean`, `Utf8`, lists and structs of them; nothing is guessed from texts. Whole
//!   numbers beyond 64 bits are floats. A key that is missing is null; one that has values of two types is an error.
//! * Parquet: as the file says (what Arrow's writers note of their own memory is left aside: dictionaries and views are
//!   text). Compressed by Snappy, zstd, LZ4 or gzip. Its rows may take four times `max_file_bytes` in memory.
//!
//! # Declared types
//!
//! What is found out changes with the values, and with it the table's columns. Option `types` says what they are:
//!
//! ```toml
//! [datasource.sales.options]
//! path = "/srv/sales"
//! types.orders = { id = "int64", total = "decimal(12,2)", code = "text", at = "timestamp" }
//! ```
//!
//! Columns that are not named are found out as before. A value that does not fit is the table's error, with file, line,
//! column, value and type. In CSV and in texts of NDJSON: digits for whole numbers, as many digits behind a decimal's point
//! as it has at most, ISO 8601 for dates and times (a `timestamp` without offset is in UTC, a `local_timestamp` has none),
//! hexadecimal digits for `binary`; in CSV `true`, `false`, `1`, `0` for `bool`. Lists are NDJSON's alone. A named column
//! that a CSV or Parquet file lacks is an error, in NDJSON it is null. A Parquet file's own types must be those declared.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test may panic"))]

mod content;
mod csv;
mod declared;
mod directory;
mod input;
mod key;
mod ndjson;
mod options;
mod parquet;
mod shape;
mod source;
mod table;
mod types;

#[cfg(test)]
mod tests;

use busway_plugin_api::prelude::*;
use options::Options;
use source::FilesSource;

/// The driver.
struct Files;

impl Driver for Files {
    const ID: &'static str = "files";
    const DESCRIPTION: &'static str = "A directory of CSV, NDJSON and Parquet files, each a live table";
    type Options = Options;
    type Source = FilesSource;

    fn open(options: Options, context: Context) -> Result<FilesSource, Error> {
        FilesSource::open(options.check()?, context)
    }
}

export_driver!(Files);
