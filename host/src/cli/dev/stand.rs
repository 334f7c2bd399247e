//! The host that the driver is tried on: its own folder, one datasource, and what becomes of each build.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::Told;
use super::build::file_name;
use crate::cli::address::HostAddress;
use crate::cli::client::{ANSWER, Client, part};
use crate::cli::failure::Failure;
use crate::cli::follow::{Follower, News};
use crate::cli::followers::Followers;
use crate::cli::table_name::TableName;
use crate::config::{Config, ConfigError, OnRemove};
use crate::node::Node;
use crate::plugin::{Catalog, Control, Libraries, Outcome, inspect};

/// How the driver is run.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// How often it is polled.
    pub(super) poll: Duration,
    /// How long a poll may take.
    pub(super) deadline: Duration,
    /// How long what was replaced is kept ready.
    pub(super) probation: Duration,
    /// What the driver logs.
    pub(super) log: String,
}

/// A host's configuration in a folder of its own.
pub(super) fn config(folder: &Path, terms: &Terms) -> Result<Config, Failure> {
    let plugins = folder.join("plugins");
    // Whatever the umask: a directory that others may write to is refused.
    fs::DirBuilder::new().mode(0o700).create(&plugins)?;
    let mut config = Config { state_dir: Some(folder.join("state")), ..Config::default() };
    config.plugins.directories = vec![plugins];
    config.plugins.on_remove = OnRemove::Stop;
    config.plugins.probation = terms.probation;
    config.listen.socket = Some(folder.join("sock"));
    config.listen.tcp = Some(([127, 0, 0, 1], 0).into());
    config.log.filter = terms.log.clone();
    config.check().map_err(|error| match error {
        ConfigError::Value(what) => Failure::Usage { what, remedy: "--log info,my_driver=debug".to_owned() },
        other => other.into(),
    })?;
    Ok(config)
}

/// The driver's place on the host.
pub(super) struct Stand {
    plugins: PathBuf,
    client: Client,
    control: Control,
    catalog: Arc<Catalog>,
    terms: Terms,
    sender: Sender<Told>,
    /// What lies there: the driver's id, the hash of the bytes, and whether they came to serve.
    placed: Option<(String, String, bool)>,
    /// The datasource that was made, and of what options.
    source: Option<(String, Map<String, Value>)>,
    following: JoinSet<()>,
}

impl Stand {
    /// On a host that was started with that configuration.
    pub(super) fn new(node: &Node, config: &Config, terms: Terms, sender: Sender<Told>) -> Self {
        Self {
            plugins: config.plugins.directories[0].clone(),
            client: Client::new(HostAddress::Socket(config.socket())),
            control: node.plugins().clone(),
            catalog: Arc::clone(node.catalog()),
            terms,
            sender,
            placed: None,
            source: None,
            following: JoinSet::new(),
        }
    }

    async fn tell(&self, told: Told) {
        // Nobody hears it any more: the program ends.
        let _ = self.sender.send(told).await;
    }

    /// Puts a build before the host, and tells what came of it. Whether it serves.
    pub(super) async fn take(&mut self, library: &Path, options: &Map<String, Value>) -> bool {
        let examined = match inspect(library, &Libraries::of_system()) {
            Ok(examined) => examined,
            // As the host would, but the old file stays.
            Err(refusal) => {
                let reason = refusal.to_string();
                self.tell(Told::Refused { file: file_name(library), reason, serving: self.serving() }).await;
                return false;
            }
        };
        let (id, sha256) = (examined.facts.note.id, examined.bytes.sha256);
        if self.placed.as_ref() == Some(&(id.clone(), sha256.clone(), true)) {
            self.tell(Told::Unchanged).await;
            self.open(&id, options).await;
            return false;
        }
        self.placed = None;
        if let Err(error) = self.put(library, &examined.bytes.bytes) {
            let reason = format!("it can't be copied to {}: {error}", self.plugins.display());
            self.tell(Told::Refused { file: file_name(library), reason, serving: self.serving() }).await;
            return false;
        }
        // Whoever saves again what was refused wants it tried again.
        let _ = self.control.release(&sha256).await;
        let Ok(answer) = self.control.reload(None, false).await else { return false };
        let (mut good, tried) = (false, !answer.reports.is_empty());
        for report in answer.reports {
            good |= report.outcome.is_good();
            let serving = self.catalog.serving(&report.driver).map(|generation| generation.number);
            self.tell(Told::Moved { report: Box::new(report), serving }).await;
        }
        // A trial says itself how it ended; what did not come to one stands among the troubles.
        if !tried {
            for trouble in answer.troubles {
                let (file, reason) = (file_name(library), trouble.reason);
                self.tell(Told::Refused { file, reason, serving: self.serving() }).await;
            }
        }
        self.placed = Some((id.clone(), sha256, good));
        if good || self.source.is_none() {
            self.open(&id, options).await;
        }
        good
    }

    /// The generation that serves.
    pub(super) fn serving(&self) -> Option<u64> {
        let (id, _) = self.source.as_ref()?;
        self.catalog.serving(id).map(|generation| generation.number)
    }

    /// As tools do: another file, renamed.
    fn put(&self, library: &Path, bytes: &[u8]) -> io::Result<()> {
        let (hidden, name) = (self.plugins.join(".new"), file_name(library));
        fs::write(&hidden, bytes)?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700))?;
        fs::rename(&hidden, self.plugins.join(&name))?;
        // A library that is called otherwise now.
        for entry in fs::read_dir(&self.plugins)? {
            let entry = entry?;
            if entry.file_name() != name.as_str() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the datasource, or changes it, so that it is the driver's and has these options.
    async fn open(&mut self, id: &str, options: &Map<String, Value>) {
        if self.catalog.serving(id).is_none() {
            return;
        }
        let path = |name: &str| format!("/v1/data-sources/{}", part(name));
        let done = match &self.source {
            Some((name, before)) if name == id && before == options => return,
            Some((name, _)) if name == id => {
                self.client.change(Method::PATCH, &path(id), &json!({"config": options}), None).await
            }
            other => {
                if let Some((name, _)) = other {
                    let _ = self.client.change(Method::DELETE, &path(name), &Value::Null, None).await;
                    self.following.abort_all();
                }
                self.source = None;
                let time = |time: Duration| humantime::format_duration(time).to_string();
                let (poll, deadline) = (time(self.terms.poll), time(self.terms.deadline));
                let body = json!({"name": id, "driver": id, "config": options, "poll": poll, "deadline": deadline});
                let done = self.client.post("/v1/data-sources", &body, ANSWER).await;
                if done.is_ok() {
                    self.follow(id);
                }
                done
            }
        };
        match done {
            Ok(_) => self.source = Some((id.to_owned(), options.clone())),
            Err(failure) => self.tell(Told::NoSource { driver: id.to_owned(), failure: Box::new(failure) }).await,
        }
    }

    /// Begins to tell what happens to the driver's tables, and how the datasource is.
    fn follow(&mut self, id: &str) {
        let (client, sender, pattern) = (self.client.clone(), self.sender.clone(), format!("{id}/#"));
        self.following.spawn(async move {
            let mut tables = Followers::new(client, pattern);
            loop {
                // A connection that is lost is made anew.
                if let (Some(name), news) = tables.next().await
                    && sender.send(Told::News(name, news)).await.is_err()
                {
                    return;
                }
            }
        });
        for table in ["datasources", "tables"] {
            let (client, sender, name) = (self.client.clone(), self.sender.clone(), TableName::of_host(table));
            self.following.spawn(async move {
                let mut follower = Follower::new(client, name.clone());
                loop {
                    let news = follower.next().await;
                    if !matches!(news, News::Lost { .. }) && sender.send(Told::News(name.clone(), news)).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    }
}

/// The word for what came of a build, and whether that is good.
pub(super) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Loaded => "Loaded",
        Outcome::Committed => "Reloaded",
        Outcome::RolledBack => "Taken back",
        Outcome::Refused => "Refused",
        Outcome::Inconclusive => "Held back",
    }
}
