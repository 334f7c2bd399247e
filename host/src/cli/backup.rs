//! `busway backup`: all records of datasources in one file, from a host that runs.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tempfile::NamedTempFile;

use super::cell::{bytes, count_of_things};
use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Output};
use crate::datasource::store::{self, RestoreError};

/// Write all records of a running host's datasources to one file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway backup /var/backups/busway-$(date +%F)
  busway backup today --force              replaces the file that is there

The host goes on meanwhile. The file is its owner's alone, and whole or not there. Options are sealed in it with the key
in the state directory's file `key`, which is not in it: keep a copy of that apart. `busway restore FILE` is the way back.
Over TCP the host wants its token, in BUSWAY_TOKEN.

JSON: {\"schema_version\":1,\"file\",\"size_bytes\",\"datasources\"}")]
pub(crate) struct BackupArguments {
    /// The file to write
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Fetches the backup, looks it through, and puts it in place.
pub(crate) async fn run(client: &Client, arguments: &BackupArguments, output: &mut Output) -> Result<(), Failure> {
    let BackupArguments { file, force } = arguments;
    if !force && fs::symlink_metadata(file).is_ok() {
        return Err(Failure::InTheWay(file.clone()));
    }
    let content = client.download("/v1/backup").await?;
    let written = write(file, &content, *force)?;
    let size = content.len();
    let whole = json!({"file": file, "size_bytes": size, "datasources": written});
    match output.format() {
        Format::Json => output.json_document(&whole),
        Format::Jsonl => output.json_line(&whole),
        Format::Table => {
            #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
            let size = bytes(size as f64);
            let count = count_of_things(written, "datasource");
            output.line(&format!("{}: {count}, {size}", file.display()))?;
            if output.is_terminal() {
                output.note(
                    "the key that opens their options is not in it: keep a copy of the state directory's file `key`",
                );
            }
            Ok(())
        }
    }
}

/// Whole or not at all; answers how many records there are in it.
fn write(file: &Path, content: &[u8], force: bool) -> Result<usize, Failure> {
    let fault = |error: io::Error| Failure::File { path: file.to_owned(), why: super::client::reason(&error) };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its owner's alone from the beginning.
    let mut made = NamedTempFile::new_in(folder).map_err(fault)?;
    made.write_all(content).map_err(fault)?;
    made.as_file().sync_all().map_err(fault)?;
    let records = store::read(made.path()).map_err(|error| match error {
        RestoreError::Backup { what, .. } => Failure::Unreadable(what),
        other => Failure::Unreadable(other.to_string()),
    })?;
    let placed = match force {
        true => made.persist(file),
        false => made.persist_noclobber(file),
    };
    placed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Failure::InTheWay(file.to_owned()),
        _ => fault(error.error),
    })?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
    Ok(records.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::store::{Document, MemoryStore, Store as _};
    use std::os::unix::fs::PermissionsExt as _;
    use uuid::Uuid;

    async fn content(folder: &Path) -> Vec<u8> {
        let store = MemoryStore::new();
        let document =
            Document { id: Uuid::new_v4(), name: "web".to_owned(), revision: 1, body: "{\"name\":\"web\"}".to_owned() };
        store.create(document).await.unwrap();
        store::backup(&store, &folder.join("made"), false).await.unwrap();
        fs::read(folder.join("made")).unwrap()
    }

    #[tokio::test]
    async fn a_backup_is_whole_its_owners_alone_and_takes_nobodys_place() {
        let folder = tempfile::tempdir().unwrap();
        let (file, content) = (folder.path().join("backup"), content(folder.path()).await);
        assert_eq!(write(&file, &content, false).unwrap(), 1);
        assert_eq!(fs::read(&file).unwrap(), content);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let failure = write(&file, &content, false).unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            format!("error: {} is there already\n  try: another name, or --force to replace it", file.display())
        );
        fs::write(&file, "mine").unwrap();
        assert_eq!(write(&file, &content, true).unwrap(), 1);
        assert_eq!(fs::read(&file).unwrap(), content);
        // Cut short on the way: what is there stays.
        let failure = write(&file, &content[..100], true).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "the host's answer could not be read: it is damaged: database disk image is malformed"
        );
        assert_eq!(fs::read(&file).unwrap(), content);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a passing file is left");
        let nowhere = folder.path().join("no/where");
        let failure = write(&nowhere, &content, false).unwrap_err();
        assert_eq!(failure.report().unwrap(), format!("error: {}: no such file or directory", nowhere.display()));
    }
}
