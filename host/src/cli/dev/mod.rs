//! `busway dev`: an author's crate is built, loaded and polled on each save, on a host of its own.

mod build;
mod folder;
mod log;
mod project;
mod rows;
mod saves;
mod say;
mod stand;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};

use super::datasource::{options, pair};
use super::failure::Failure;
use super::follow::News;
use super::input::Input;
use super::output::{Format, Output};
use super::table_name::TableName;
use super::top::time;
use crate::config::Vet;
use crate::node::Node;
use crate::plugin::conformance::{Report as Suite, run as put_to_the_test};
use crate::plugin::{Catalog, Report};
use build::{Build, How, Voice, build, inputs};
use folder::Folder;
use project::Project;
pub(crate) use project::ProjectError;
use rows::Rows;
use saves::Saves;
use stand::{Stand, Terms};

/// Build a driver's crate on each save, load it, and print what happens to its rows
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway dev                               in the crate's directory
  busway dev drivers/web --option path=/srv --poll 5s
  busway dev --test --log debug            each build is put through the suite of `busway plugin test`, too

It needs no other host: one of its own runs in a temporary folder for as long as this does, on loopback alone. What it
prints first names it, for other commands: busway --host … tables, rows, datasource execute.

A build that does not compile, or that the host refuses, or that panics, changes nothing: the code before serves on. The
source's options may also stand in the crate's Cargo.toml; those given here are put over them:
  [package.metadata.busway-dev]
  options = { path = \"/srv\" }

Ctrl-C ends it, and is no failure.

JSON and JSON lines: one object a line, \"kind\" says what it is:
  serving, saved, building, built, failed (\"said\": by cargo), unchanged, loaded, reloaded, refused, rows (\"op\":
  add|remove|update|gone), state (of the datasource, or a table), log, tested")]
pub(crate) struct DevArguments {
    /// The crate's directory
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The package of a workspace, if several make a library
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
    /// With optimizations
    #[arg(long)]
    release: bool,
    /// An option of the driver; a text is read as the driver declares it
    #[arg(long = "option", value_name = "OPTION=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,
    /// Options as a JSON object, or @ and a file with it; those given one by one are put over it
    #[arg(long, value_name = "JSON|@FILE")]
    config_json: Option<String>,
    /// How often it is polled: seconds, or with a unit; 0: on request only
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    poll: Duration,
    /// How long a poll may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    deadline: Duration,
    /// How long what was replaced stands ready to take over again, should the new code fail
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    probation: Duration,
    /// What the driver logs: a level, or a filter such as `info,web::client=debug`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// Put each build that serves through the conformance suite, too
    #[arg(long)]
    test: bool,
    /// More for `cargo build`: -- --features fast
    #[arg(last = true, value_name = "CARGO")]
    cargo: Vec<String>,
}

/// What happens, for the one who prints.
#[derive(Debug)]
pub(crate) enum Told {
    /// The host is there.
    Serving { url: String, socket: PathBuf },
    /// Files were saved.
    Saved(BTreeSet<PathBuf>),
    /// Cargo runs.
    Building { package: String },
    /// Cargo is done.
    Built(Build),
    /// There is nothing to build any more.
    Trouble(ProjectError),
    /// The bytes are those that serve.
    Unchanged,
    /// The library did not come to be tried.
    Refused { file: String, reason: String, serving: Option<u64> },
    /// It was tried: how that ended, and which generation serves now.
    Moved { report: Box<Report>, serving: Option<u64> },
    /// The driver serves, but no source of it.
    NoSource { driver: String, failure: Box<Failure> },
    /// What the suite found.
    Tested(Result<Suite, String>),
    /// Something of a table.
    News(TableName, News),
    /// Something that the driver logs.
    Log(log::Record),
}

/// Where all of this is.
#[derive(Debug)]
struct Place {
    /// The crate's directory.
    folder: PathBuf,
    /// Whether cargo speaks for itself.
    loud: bool,
    catalog: Arc<Catalog>,
}

impl Place {
    /// The generation that serves.
    fn serving(&self) -> Option<u64> {
        self.catalog.generations().into_iter().filter(|one| one.state.as_str() == "serving").map(|one| one.number).max()
    }
}

/// What may wait to be printed; what is beyond waits where it comes from.
const WAITING: usize = 1024;

/// What is being done ends in this time, or is left alone.
const ENDING: Duration = Duration::from_secs(2);

/// Works until it is interrupted.
pub(crate) fn run(arguments: &DevArguments, output: &mut Output) -> Result<(), Failure> {
    let folder = std::fs::canonicalize(&arguments.directory)
        .map_err(|error| Failure::File { path: arguments.directory.clone(), why: super::client::reason(&error) })?;
    let given = options(arguments.config_json.as_deref(), &arguments.options, &mut Input::of_process())?;
    let project = Project::find(&folder, arguments.package.as_deref())?;
    let DevArguments { poll, deadline, probation, ref log, .. } = *arguments;
    let terms = Terms { poll, deadline, probation, log: log.clone() };
    let temporary = Folder::new()?;
    let config = stand::config(temporary.path(), &terms)?;
    let (sender, mut told) = channel(WAITING);
    log::start(sender.clone())?;
    let loud = output.format() == Format::Table && output.is_terminal() && std::io::stderr().is_terminal();
    let voice = match output.format() {
        Format::Table if loud => Voice::Loud,
        Format::Table => Voice::Quiet,
        Format::Json | Format::Jsonl => Voice::Kept,
    };
    let how = How { folder: folder.clone(), release: arguments.release, more: arguments.cargo.clone(), voice };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ended = async || {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} _ = hangup.recv() => {} }
        };
        let node = Node::start(&config).await?;
        let place = Place { folder, loud, catalog: Arc::clone(node.catalog()) };
        let url = node.tcp().map(|address| format!("http://{address}")).unwrap_or_default();
        let mut rows = Rows::default();
        say::tell(Told::Serving { url, socket: config.socket() }, &place, &mut rows, output)?;
        let work = Work {
            wanted: arguments.package.clone(),
            given,
            test: arguments.test,
            how,
            saves: Saves::of(&project),
            project,
            stand: Stand::new(&node, &config, terms, sender.clone()),
            sender,
        };
        output.flush()?;
        let working = tokio::spawn(work.go_on());
        let done = loop {
            tokio::select! {
                biased;
                () = ended() => break Ok(()),
                Some(happened) = told.recv() => {
                    let written = say::tell(happened, &place, &mut rows, output);
                    // One write for all that came at once.
                    let written = written.and_then(|()| if told.is_empty() { output.flush() } else { Ok(()) });
                    if written.is_err() {
                        break written;
                    }
                }
            }
        };
        working.abort();
        // Nobody prints any more: who wants to tell something must not wait for it.
        drop(told);
        // A build that runs is ended with it.
        let _ = tokio::time::timeout(ENDING, working).await;
        tokio::select! { () = node.stop() => {} () = ended() => {} }
        done
    });
    // A driver that hangs must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Builds, and puts what was built before the host.
struct Work {
    wanted: Option<String>,
    given: Map<String, Value>,
    test: bool,
    how: How,
    project: Project,
    saves: Saves,
    stand: Stand,
    sender: Sender<Told>,
}

impl Work {
    async fn go_on(mut self) {
        loop {
            self.build().await;
            let saved = self.saves.next().await;
            let manifest = saved.iter().any(|path| path.ends_with("Cargo.toml"));
            self.tell(Told::Saved(saved)).await;
            if manifest {
                self.look_again().await;
            }
        }
    }

    async fn tell(&self, told: Told) {
        // Nobody hears it any more: the program ends.
        let _ = self.sender.send(told).await;
    }

    /// The manifest was saved: what is built, and of what, may be otherwise.
    async fn look_again(&mut self) {
        let (folder, wanted) = (self.how.folder.clone(), self.wanted.clone());
        let found = tokio::task::spawn_blocking(move || Project::find(&folder, wanted.as_deref())).await;
        match found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(project) => {
                self.saves.follow(&project);
                self.project = project;
            }
            // Cargo will say as much when it is to build.
            Err(ProjectError::Manifest { .. }) => {}
            Err(error) => self.tell(Told::Trouble(error)).await,
        }
    }

    async fn build(&mut self) {
        self.tell(Told::Building { package: self.project.name.clone() }).await;
        let built = match build(&self.project, &self.how).await {
            Ok(built) => built,
            Err(error) => return self.tell(Told::Trouble(error)).await,
        };
        let library = if let Build::Done { library, .. } = &built { Some(library.clone()) } else { None };
        self.tell(Told::Built(built)).await;
        let Some(library) = library else { return };
        self.project.made_of(inputs(&library));
        self.saves.follow(&self.project);
        let mut options = self.project.options.clone();
        options.extend(self.given.clone());
        if self.stand.take(&library, &options).await && self.test {
            let report = test(&library, options).await;
            self.tell(Told::Tested(report)).await;
        }
    }
}

/// Puts a library through the suite.
async fn test(library: &Path, options: Map<String, Value>) -> Result<Suite, String> {
    let library = library.to_owned();
    let suite = move || put_to_the_test(&library, &options, &[], &Vet::default()).map_err(|error| error.to_string());
    tokio::task::spawn_blocking(suite).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
