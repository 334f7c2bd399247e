//! `busway plugin inspect`: what a file is, and whether a host would load it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::Vet;
use crate::plugin::vet::{Examiner, Verdict, copy};
use crate::plugin::{Examined, Facts, Libraries, Note, Refusal, inspect as look_into};

use super::super::cell::{printable, shown};
use super::super::failure::Failure;
use super::super::output::{Format, Output};

/// Say what a file is, from its bytes alone: none of its code runs unless `--verbose` is given, and no host is needed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin inspect target/release/libbusway_system.so
  busway plugin inspect libfolder.so --verbose

JSON: {\"schema_version\":1,\"file\",\"sha256\",\"size_bytes\",\"note\":{\"id\",\"version\",…},\"needs\":[{\"library\",…}],…}
With --verbose also \"trial\":{\"verdict\",…}: what a host says when it has tried the file.")]
pub(crate) struct InspectArguments {
    /// The file
    file: PathBuf,
    /// Also try it in a child process, as a host does before it loads it; if it can't be loaded, say all that is known of
    /// why, of types that differ from the contract's the whole tree
    #[arg(long)]
    verbose: bool,
}

/// Reads a file's note.
pub(crate) fn inspect(arguments: &InspectArguments, output: &mut Output) -> Result<(), Failure> {
    let path = &arguments.file;
    let refuse = |why: Refusal| Failure::NoPlugin { path: path.clone(), why: why.to_string() };
    let libraries = Libraries::of_system();
    let Examined { bytes, facts, checksum } = look_into(path, &libraries).map_err(refuse)?;
    let size = bytes.bytes.len();
    let needs: Vec<Value> = facts.needs.libraries.iter().map(|name| need(&facts, &libraries, name)).collect();
    let trial = if arguments.verbose { Some(trial(path, &bytes.bytes, &facts.note)?) } else { None };
    let mut whole = json!({
        "file": path,
        "sha256": bytes.sha256,
        "checksum_file": checksum,
        "size_bytes": size,
        "note": facts.note,
        "needs": needs,
        "run_paths": facts.needs.run_paths,
        "glibc": facts.needs.glibc(),
        "go": facts.go,
        "build_id": facts.build_id,
    });
    if let Some(trial) = &trial {
        whole["trial"] = json!(trial);
    }
    match output.format() {
        Format::Json => output.json_document(&whole),
        Format::Jsonl => output.json_line(&whole),
        Format::Table => {
            let glibc = facts.needs.glibc().map(|version| format!("glibc {version} or newer"));
            let checked = if checksum { " (as its checksum file says)" } else { "" };
            let lines = [
                ("driver", Some(facts.note.id)),
                ("version", Some(facts.note.version)),
                ("contract", Some(facts.note.contract)),
                ("built with", Some(facts.note.sdk)),
                ("for", Some([Some(facts.note.target), glibc].into_iter().flatten().collect::<Vec<_>>().join(", "))),
                ("needs", Some(facts.needs.libraries.join(", ")).filter(|names| !names.is_empty())),
                ("looks in", Some(facts.needs.run_paths.join(", ")).filter(|paths| !paths.is_empty())),
                ("Go runtime", facts.go.map(|version| format!("{version}; two in one process are at odds"))),
                ("build id", facts.build_id),
                ("sha256", Some(format!("{}{checked}", bytes.sha256))),
                ("size", Some(shown("size_bytes", &json!(size)))),
            ];
            let said = lines.iter().filter_map(|(what, is)| Some((what, is.as_ref()?)));
            said.into_iter().try_for_each(|(what, is)| output.line(&format!("{what:<12}{}", printable(is))))?;
            trial.iter().try_for_each(|verdict| tell(verdict, output))
        }
    }?;
    match trial {
        Some(Verdict::Bad(bad)) => Err(Failure::NoPlugin { path: path.clone(), why: bad.reason }),
        _ => Ok(()),
    }
}

/// What a host would say of these bytes once it has tried them.
fn trial(path: &Path, bytes: &[u8], note: &Note) -> Result<Verdict, Failure> {
    let file = |why: String| Failure::File { path: path.to_owned(), why };
    let staged = copy(bytes).map_err(|error| file(error.to_string()))?;
    let limits = Vet::default();
    let examiner = Examiner::new(&limits, staged.to_path_buf(), note).map_err(|error| file(error.to_string()))?;
    examiner.try_as_host().map_err(|error| file(error.to_string()))
}

fn tell(verdict: &Verdict, output: &mut Output) -> Result<(), Failure> {
    let bad = match verdict {
        Verdict::Good(good) => {
            output.line(&format!("{:<12}it can be loaded", "tried"))?;
            return good.warnings.iter().try_for_each(|text| output.line(&format!("{:<12}{}", "", printable(text))));
        }
        Verdict::Bad(bad) => bad,
    };
    output.line(&format!("{:<12}it can't be loaded", "tried"))?;
    for text in [&bad.explanation, &bad.detail].into_iter().filter(|text| !text.is_empty()) {
        output.line("")?;
        text.lines().try_for_each(|line| output.line(&printable(line)))?;
    }
    Ok(())
}

/// A library that a plugin needs: where this system has it, and what of it is needed.
fn need(facts: &Facts, libraries: &Libraries, name: &str) -> Value {
    let versions = facts.needs.versions.iter().filter(|version| version.library == name);
    let versions: Vec<&str> = versions.map(|version| version.version.as_str()).collect();
    json!({"library": name, "path": libraries.find(name), "versions": versions})
}
