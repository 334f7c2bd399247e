//! Which files of the directory are tables.

use crate::content::Stamp;
use busway_plugin_api::Error;
use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Cells between delimiters.
    Csv,
    /// Cells between tabs.
    Tsv,
    /// A JSON object on each line.
    Ndjson,
    /// Columns in bytes.
    Parquet,
}

/// A file that is a table.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name, for messages.
    pub(crate) name: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// How it is written.
    pub(crate) format: Format,
    /// As it was found, or why it can't be looked at.
    pub(crate) stamp: Result<Stamp, Error>,
}

/// The files by the name of their table: one each, or more that clash.
pub(crate) type Found = BTreeMap<String, Vec<File>>;

/// Looks through the directory.
pub(crate) fn scan(directory: &Path) -> io::Result<Found> {
    let mut found = Found::new();
    for entry in std::fs::read_dir(directory)? {
        if let Some((table, file)) = look(&entry?) {
            found.entry(table).or_default().push(file);
        }
    }
    for files in found.values_mut() {
        files.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(found)
}

fn look(entry: &DirEntry) -> Option<(String, File)> {
    let name = entry.file_name().to_string_lossy().into_owned();
    let (stem, format) = split(&name)?;
    let path = entry.path();
    let stamp = match std::fs::metadata(&path) {
        Ok(about) if about.is_dir() => return None,
        // Opening a pipe would wait for its writer.
        Ok(about) if !about.is_file() => Err(Error::new("it is no regular file").at(&name)),
        Ok(about) => Ok(Stamp::of(&about)),
        Err(error) => match std::fs::read_link(&path) {
            Ok(to) => Err(Error::new(format!("it is a link to {}, which can't be read: {error}", to.display()))),
            // It vanished after it was listed.
            Err(_) if error.kind() == ErrorKind::NotFound => return None,
            Err(_) => Err(Error::new(format!("it can't be read: {error}"))),
        }
        .map_err(|error| error.at(&name)),
    };
    Some((table_name(stem), File { format, path, stamp, name }))
}

/// A file's name without its ending, and what the ending says; none: it is no table. The endings alone rule out most of
/// what editors leave behind.
fn split(name: &str) -> Option<(&str, Format)> {
    let (stem, ending) = name.rsplit_once('.')?;
    let format = match ending.to_ascii_lowercase().as_str() {
        "csv" => Format::Csv,
        "tsv" => Format::Tsv,
        "ndjson" | "jsonl" => Format::Ndjson,
        "parquet" => Format::Parquet,
        _ => return None,
    };
    // Office programs lock `a.csv` by a file `~$a.csv`.
    let ignored = name.starts_with('.') || name.starts_with("~$") || stem.ends_with('~');
    (!ignored).then_some((stem, format))
}

/// The name of a table, as the bus may have it.
pub(crate) fn table_name(stem: &str) -> String {
    stem.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (file, table) in [
            ("sales.csv", "sales"),
            ("Sales-2026_1.TSV", "Sales-2026_1"),
            ("a.b c.ndjson", "a_b_c"),
            ("größe.jsonl", "gr__e"),
            ("Facts.Parquet", "Facts"),
            ("#a.csv", "_a"),
        ] {
            assert_eq!(split(file).map(|(stem, _)| table_name(stem)).as_deref(), Some(table), "{file}");
        }
        let ignored =
            "csv .csv .a.csv a.csv~ a~.csv .a.csv.swp a.csv.swp a.csv.tmp #a.csv# .#a.csv ~$a.csv a.txt a.json";
        for file in ignored.split(' ') {
            assert!(split(file).is_none(), "{file}");
        }
    }
}
