//! `busway plugin trust`: the list of plugins that the host may load.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::cell::printable;
use super::failure::Failure;
use super::host_arguments::HostArguments;
use super::output::{Format, Output};
use super::sheet::{grid, plain};
use super::snapshot::Row;
use crate::config::TrustPolicy;
use crate::plugin::{Bytes, Libraries, Refusal, TRUST_LIST, TrustList, Trusted, inspect};

/// So much of a hash names a plugin.
const SHORT: usize = 8;

/// Trust plugins' bytes, or no longer: with plugins.trust = "listed" a host loads no others
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway plugin trust /usr/lib/busway/drivers/*.so
  busway plugin trust --list
  busway plugin trust --remove libfoo.so
  busway plugin trust --remove 0123456789ab

Bytes are trusted, not names: a new build is to be trusted anew. The list is plugins.lock in the state directory; a running
host reads it within plugins.scan_interval. What it has loaded already serves on. No host is asked.

JSON: {\"schema_version\":1,\"list\",\"plugins\":[{\"sha256\",\"file\",\"id\",\"version\",\"trusted\",\"by\",\"change\"}]}
JSON lines: one plugin's object a line")]
pub(crate) struct TrustArguments {
    /// The plugins; with --remove also hashes, or how they begin
    #[arg(value_name = "FILE", required_unless_present = "list")]
    files: Vec<PathBuf>,
    /// Trust them no longer
    #[arg(long)]
    remove: bool,
    /// Show who is trusted
    #[arg(long, conflicts_with_all = ["files", "remove"])]
    list: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// Does what the arguments say.
pub(crate) fn run(arguments: &TrustArguments, output: &mut Output) -> Result<(), Failure> {
    let config = arguments.host.configuration()?;
    let list = config.state_dir().join(TRUST_LIST);
    let all = if arguments.list {
        TrustList::read(&list)?.plugins.into_iter().map(|plugin| (plugin, "none")).collect()
    } else if arguments.remove {
        remove(&arguments.files, &list)?
    } else {
        add(&arguments.files, &list)?
    };
    match output.format() {
        Format::Json => {
            output.json_document(&json!({"list": list, "plugins": all.iter().map(told).collect::<Vec<_>>()}))
        }
        Format::Jsonl => all.iter().try_for_each(|one| output.json_line(&told(one))),
        Format::Table if arguments.list => table(&all, output),
        Format::Table => all.iter().try_for_each(|(plugin, change)| {
            let Trusted { sha256, file, id, version, .. } = plugin;
            let text = match *change {
                "added" => "is trusted now",
                "removed" => "is trusted no longer",
                _ => "was trusted already",
            };
            output.line(&printable(&format!("{file} ({id} {version}, SHA-256 {sha256}) {text}")))
        }),
    }?;
    if config.plugins.trust == TrustPolicy::Any {
        output.note("the configuration trusts all plugins: with plugins.trust = \"listed\" only these are loaded");
    }
    Ok(())
}

type Change = (Trusted, &'static str);

fn told((plugin, change): &Change) -> Value {
    let mut told = json!(plugin);
    if *change != "none" {
        told["change"] = (*change).into();
    }
    told
}

fn table(all: &[Change], output: &mut Output) -> Result<(), Failure> {
    let row = |(plugin, _): &Change| {
        let texts = [
            ("id", plugin.id.clone()),
            ("version", plugin.version.clone()),
            ("file", plugin.file.clone()),
            ("trusted", plugin.trusted.map(|at| at.to_string()).unwrap_or_default()),
            ("by", plugin.by.clone()),
            ("sha256", plugin.sha256.clone()),
        ];
        texts.into_iter().map(|(column, text)| (column.to_owned(), Value::from(text))).collect()
    };
    let rows: Vec<Row> = all.iter().map(row).collect();
    grid(&["id", "version", "file", "trusted", "by", "sha256"], &rows, &plain, output)?;
    if all.is_empty() && output.is_terminal() {
        output.note("no plugin is trusted yet: `busway plugin trust FILE`");
    }
    Ok(())
}

/// All of them, or none: each must be a plugin.
fn add(files: &[PathBuf], list: &Path) -> Result<Vec<Change>, Failure> {
    let libraries = Libraries::of_system();
    let by =
        ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let by = by.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()));
    let read = |path: &PathBuf| {
        let refuse = |why: Refusal| Failure::NoPlugin { path: path.clone(), why: why.to_string() };
        let examined = inspect(path, &libraries).map_err(refuse)?;
        Ok(Trusted {
            sha256: examined.bytes.sha256,
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            id: examined.facts.note.id,
            version: examined.facts.note.version,
            trusted: Some(Timestamp::now().round(jiff::Unit::Second).unwrap_or_default()),
            by: by.clone(),
        })
    };
    let plugins = files.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let changes = TrustList::change(list, |list| {
        let add = |plugin: Trusted| {
            if list.has(&plugin.sha256) {
                return (plugin, "already");
            }
            list.plugins.push(plugin.clone());
            (plugin, "added")
        };
        plugins.into_iter().map(add).collect()
    })?;
    Ok(changes)
}

/// All of them, or none: each must be on the list.
fn remove(named: &[PathBuf], list: &Path) -> Result<Vec<Change>, Failure> {
    let mut hashes = Vec::new();
    for name in named {
        let text = name.to_string_lossy().to_ascii_lowercase();
        let is_hash = text.len() >= SHORT && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        // A file that is gone can't be hashed, but may be known by its name.
        let hash = if is_hash { text } else { Bytes::read(name).map(|bytes| bytes.sha256).unwrap_or_default() };
        hashes.push((name, hash));
    }
    let known = TrustList::read(list)?.plugins;
    let is_meant = |plugin: &Trusted, name: &Path, hash: &str| {
        let of_name = hash.is_empty() && name.file_name().is_some_and(|name| name.to_str() == Some(&plugin.file));
        of_name || (!hash.is_empty() && plugin.sha256.starts_with(hash))
    };
    for (name, hash) in &hashes {
        if !known.iter().any(|plugin| is_meant(plugin, name, hash)) {
            let known = known.iter().map(|plugin| plugin.file.clone()).collect();
            return Err(Failure::Unknown { what: "trusted plugin", name: name.display().to_string(), known });
        }
    }
    let removed = TrustList::change(list, |list| {
        let (gone, kept) = std::mem::take(&mut list.plugins)
            .into_iter()
            .partition(|plugin| hashes.iter().any(|(name, hash)| is_meant(plugin, name, hash)));
        list.plugins = kept;
        gone
    })?;
    Ok(removed.into_iter().map(|plugin| (plugin, "removed")).collect())
}
