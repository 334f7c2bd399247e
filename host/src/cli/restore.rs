//! `busway restore`: the records of a backup in place of those of a host that does not run.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::cell::count_of_things;
use super::failure::Failure;
use super::host_arguments::HostArguments;
use super::output::{Format, Output, YELLOW};
use crate::datasource::secret::{Keyring, unsealable};
use crate::datasource::store::{Document, Restored, restore};
use crate::node::{Lock, NodeError};

/// Put the records of a backup in place of those in a state directory; its host must not run
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systemctl stop busway && busway restore /var/backups/busway-2026-11-22 --config /etc/busway/busway.toml
  busway restore today --state-dir /var/lib/busway

The former records are kept beside the new ones. The key that opens the records' options is not in a backup: put the file
`key` of the host that made it into the state directory, mode 600, before its host starts.

JSON: {\"schema_version\":1,\"state_dir\",\"datasources\",\"former\",\"unreadable\":[{\"name\",\"error\"}]}")]
pub(crate) struct RestoreArguments {
    /// The backup
    file: PathBuf,
    /// The configuration's file, which names the state directory
    #[arg(long, value_name = "FILE", env = "BUSWAY_CONFIG")]
    config: Option<PathBuf>,
    /// The state directory
    #[arg(long, value_name = "DIR", env = "BUSWAY_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

/// Restores, and says what of it can't be read with the key that is there.
pub(crate) fn run(arguments: &RestoreArguments, output: &mut Output) -> Result<(), Failure> {
    let RestoreArguments { file, config, state_dir } = arguments;
    let told = HostArguments { config: config.clone(), state_dir: state_dir.clone(), ..HostArguments::default() };
    let state = told.configuration()?.state_dir();
    let _lock = Lock::take(&state).map_err(NodeError::from)?;
    let Restored { documents, former } = restore(&state, file)?;
    let key = state.join("key");
    let unreadable = closed(&state, &key, &documents);
    match output.format() {
        Format::Json | Format::Jsonl => {
            let one = |(name, error): &(String, String)| json!({"name": name, "error": error});
            let unreadable: Vec<_> = unreadable.iter().map(one).collect();
            let whole =
                json!({"state_dir": state, "datasources": documents.len(), "former": former, "unreadable": unreadable});
            if output.format() == Format::Json { output.json_document(&whole) } else { output.json_line(&whole) }
        }
        Format::Table => {
            let count = count_of_things(documents.len(), "datasource");
            output.line(&format!("{count} restored into {}", state.display()))?;
            if let Some(former) = former {
                output.line(&format!("the former records are kept as {}", former.display()))?;
            }
            if !unreadable.is_empty() {
                let paint = output.paint();
                let text =
                    format!("{} of them can't be read with the key that is there, and won't run:", unreadable.len());
                output.line(&paint.put(YELLOW, &text))?;
                for (name, error) in &unreadable {
                    output.line(&format!("  {name}: {error}"))?;
                }
            }
            Ok(())
        }
    }
}

/// The records that the key does not open, and why. Makes no key: the right one is to come.
fn closed(state: &std::path::Path, key: &std::path::Path, documents: &[Document]) -> Vec<(String, String)> {
    let all = |why: String| documents.iter().map(|document| (document.name.clone(), why.clone())).collect();
    if std::fs::symlink_metadata(key).is_err() {
        return all(format!("there is no key file {}: put back the one that was there", key.display()));
    }
    match Keyring::open(state) {
        Ok(keys) => unsealable(&keys, documents).into_iter().map(|one| (one.name, one.error.to_string())).collect(),
        Err(error) => all(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::pages;
    use super::*;
    use crate::datasource::store::{MemoryStore, Store as _, backup};
    use std::fs;
    use std::path::Path;
    use uuid::Uuid;

    async fn made(folder: &Path, keys: &Keyring, names: &[&str]) -> PathBuf {
        let store = MemoryStore::new();
        for name in names {
            let id = Uuid::new_v4();
            let sealed = keys.seal(id.as_bytes(), b"{}").unwrap();
            let body = json!({"options": sealed}).to_string();
            store.create(Document { id, name: (*name).to_owned(), revision: 1, body }).await.unwrap();
        }
        let file = folder.join("backup");
        backup(&store, &file, true).await.unwrap();
        file
    }

    fn arguments(file: &Path, state: &Path) -> RestoreArguments {
        // A file of our own: the machine's is of no interest.
        let config = state.with_extension("toml");
        fs::write(&config, "").unwrap();
        RestoreArguments { file: file.to_owned(), config: Some(config), state_dir: Some(state.to_owned()) }
    }

    #[tokio::test]
    async fn what_was_restored_and_what_can_t_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (state, other) = (folder.path().join("state"), folder.path().join("other"));
        for directory in [&state, &other] {
            fs::create_dir(directory).unwrap();
        }
        let file = made(folder.path(), &Keyring::open(&other).unwrap(), &["db", "web"]).await;
        let restored = |file: &Path| {
            let (mut output, data, _) = pages(Format::Table, None);
            run(&arguments(file, &state), &mut output).map(|()| data.text())
        };
        let text = restored(&file).unwrap();
        let why = format!("there is no key file {}: put back the one that was there", state.join("key").display());
        assert_eq!(
            text,
            format!(
                "2 datasources restored into {}\n2 of them can't be read with the key that is there, and won't run:\n  \
                 db: {why}\n  web: {why}\n",
                state.display()
            )
        );
        assert!(!state.join("key").exists(), "the right one is to come");
        fs::copy(other.join("key"), state.join("key")).unwrap();
        let lines: Vec<String> = restored(&file).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let kept = format!("the former records are kept as {}/records.db.before-restore-", state.display());
        assert!(lines[1].starts_with(&kept), "{}", lines[1]);

        let held = Lock::take(&state).unwrap();
        let failure = restored(&file).unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            format!(
                "error: the state directory {} is in use by the host with process id {}: stop that one, or name another \
                 with --state-dir",
                state.display(),
                std::process::id()
            )
        );
        drop(held);
        fs::write(&file, "no backup").unwrap();
        assert_eq!(
            restored(&file).unwrap_err().report().unwrap(),
            format!(
                "error: nothing was restored: the backup {} can't be used: it is no file of Busway's records: no database",
                file.display()
            )
        );
    }
}
