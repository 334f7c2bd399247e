//! One run of `cargo build`, and what came of it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;

use super::project::{Project, ProjectError, cargo, no_cargo};

/// How it is built.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    /// Where cargo is started.
    pub(super) folder: PathBuf,
    /// With optimizations.
    pub(super) release: bool,
    /// What else cargo is told.
    pub(super) more: Vec<String>,
    /// What becomes of what cargo says.
    pub(super) voice: Voice,
}

/// What becomes of what cargo says on stderr: warnings, errors, progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Voice {
    /// It goes where the program's own stderr goes, with progress.
    Loud,
    /// The same, without progress.
    #[default]
    Quiet,
    /// It is kept, for the report.
    Kept,
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Build {
    /// A library.
    Done {
        /// The file.
        library: PathBuf,
        /// How long it took.
        took: Duration,
        /// What cargo said, if that was kept.
        said: String,
    },
    /// Cargo said why not.
    Failed {
        /// What it said, if that was kept.
        said: String,
    },
}

/// What cargo says on stdout, as far as it is of interest.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(default)]
    kind: Vec<String>,
}

/// The library that a message tells of, if it is that package's.
fn library(line: &str, id: &str) -> Option<PathBuf> {
    // Whatever else stands there is for others.
    let message: Message = serde_json::from_str(line).ok()?;
    let is_it = message.reason == "compiler-artifact"
        && message.package_id == id
        && message.target.kind.iter().any(|kind| kind == "cdylib");
    let is_a_library = |path: &PathBuf| path.to_string_lossy().ends_with(std::env::consts::DLL_SUFFIX);
    message.filenames.into_iter().find(|path| is_it && is_a_library(path))
}

/// A cargo that runs. Dropping it ends it, and all that it started.
#[derive(Debug)]
pub(super) struct Running {
    group: Pid,
    over: Arc<Mutex<bool>>,
}

impl Running {
    /// Of one that leads a group of its own.
    fn new(child: &Child) -> Self {
        Self { group: Pid::from_child(child), over: Arc::default() }
    }

    /// Waits for its end.
    fn wait(group: Pid, over: &Mutex<bool>, child: &mut Child) -> io::Result<ExitStatus> {
        // It keeps its number until it is waited for below: nobody else is ended in its stead.
        waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let mut over = over.lock().unwrap_or_else(PoisonError::into_inner);
        *over = true;
        child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if !*over {
            // The compilers and build scripts too. They may be ending just now.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// Builds the project.
///
/// # Errors
///
/// When cargo can't be started or heard.
pub(super) async fn build(project: &Project, how: &How) -> Result<Build, ProjectError> {
    let kept =
        if how.voice == Voice::Kept { Some(tempfile::tempfile().map_err(|error| no_cargo(&error))?) } else { None };
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics", "--lib", "--package", &project.id]);
    command.args(how.release.then_some("--release"));
    command.args((how.voice != Voice::Loud).then_some("--quiet")).args(&how.more);
    command.current_dir(&how.folder).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(kept) = &kept {
        command.stderr(kept.try_clone().map_err(|error| no_cargo(&error))?);
    }
    let begun = Instant::now();
    // So that all of it can be ended at once; Ctrl-C comes to this program alone.
    let mut child = command.process_group(0).spawn().map_err(|error| no_cargo(&error))?;
    let stdout = child.stdout.take();
    let running = Running::new(&child);
    let (group, over, id) = (running.group, Arc::clone(&running.over), project.id.clone());
    let heard = tokio::task::spawn_blocking(move || {
        let lines = stdout.map(|stdout| BufReader::new(stdout).lines()).into_iter().flatten();
        let library = lines.map_while(Result::ok).filter_map(|line| library(&line, &id)).last();
        let status = Running::wait(group, &over, &mut child)?;
        Ok::<_, io::Error>((library.filter(|_| status.success()), kept.map(read).transpose()?.unwrap_or_default()))
    });
    let heard = heard.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    drop(running);
    let (library, said) = heard.map_err(|error| no_cargo(&error))?;
    Ok(match library {
        Some(library) => Build::Done { library, took: begun.elapsed(), said },
        None => Build::Failed { said },
    })
}

fn read(mut file: File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All files that a library was made of, as cargo wrote them down beside it: what is included is among them, and what build
/// scripts read.
pub(super) fn inputs(library: &Path) -> Vec<PathBuf> {
    std::fs::read_to_string(library.with_extension("d")).map(|text| listed(&text)).unwrap_or_default()
}

/// The files in a rule as `make` reads it; spaces in names are escaped.
fn listed(rule: &str) -> Vec<PathBuf> {
    let Some((_, files)) = rule.lines().next().and_then(|line| line.split_once(": ")) else { return Vec::new() };
    let (mut found, mut name) = (Vec::new(), String::new());
    for part in files.split(' ') {
        match part.strip_suffix('\\') {
            Some(begin) => name += &format!("{begin} "),
            None => found.push(PathBuf::from(std::mem::take(&mut name) + part)),
        }
    }
    found.retain(|path| path.is_absolute());
    found
}

/// A library's name as people know it.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_library_is_made_of_is_read() {
        let rule = "/t/debug/libweb.so: /c/src/lib.rs /c/a\\ query.sql /c/README.md relative.rs\n";
        assert_eq!(listed(rule), ["/c/src/lib.rs", "/c/a query.sql", "/c/README.md"].map(PathBuf::from));
        assert_eq!(listed(""), Vec::<PathBuf>::new());
    }

    #[test]
    fn of_cargos_messages_the_packages_library_counts() {
        let file = format!("/t/debug/libweb{}", std::env::consts::DLL_SUFFIX);
        let message = |reason: &str, id: &str, kind: &str, files: &[&str]| {
            json!({"reason": reason, "package_id": id, "target": {"kind": [kind], "name": "web"}, "filenames": files, "fresh": true})
                .to_string()
        };
        let files = ["/t/debug/libweb.rlib", file.as_str(), "/t/debug/libweb.so.dwp"];
        assert_eq!(library(&message("compiler-artifact", "web", "cdylib", &files), "web"), Some(file.clone().into()));
        for other in [
            message("compiler-artifact", "sql", "cdylib", &files),
            message("compiler-artifact", "web", "lib", &files),
            message("build-script-executed", "web", "cdylib", &files),
            message("compiler-artifact", "web", "cdylib", &files[..1]),
            json!({"reason": "build-finished", "success": true}).to_string(),
            "a build script's own words".to_owned(),
            "{".to_owned(),
        ] {
            assert_eq!(library(&other, "web"), None, "{other}");
        }
    }
}
