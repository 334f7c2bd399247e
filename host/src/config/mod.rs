//! The host's configuration: one typed whole, read in one place. File, then environment and flags over it.

mod datasource;
mod duration;
mod events;
mod plugins;
mod vet;

pub use datasource::{Datasource, NameError, check_name};
pub(crate) use duration::read_duration;
pub use events::{Events, TypeOfEvents};
pub use plugins::{OnConflict, OnRemove, Plugins, TrustPolicy};
pub use vet::Vet;

use crate::bus::is_service_name;
use crate::logging::{Format, parse_filter};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a host is to do. See the README for a file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name on the bus; else the machine's.
    pub node: Option<String>,
    /// What sets this system apart from others: nodes of one bus id may talk; else `busway`.
    pub bus_id: Option<String>,
    /// Where the host keeps what it must remember; one host at a time.
    pub state_dir: Option<PathBuf>,
    /// Where drivers come from.
    #[serde(default)]
    pub plugins: Plugins,
    /// Where clients come in.
    #[serde(default)]
    pub listen: Listen,
    /// What is written to the log.
    #[serde(default)]
    pub log: Log,
    /// How events are kept and told.
    #[serde(default)]
    pub events: Events,
    /// The datasources, by name.
    #[serde(default)]
    pub datasource: BTreeMap<String, Datasource>,
    /// The file that it was read from; it can be read again.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// Where clients come in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// A TCP address for HTTP; none: no TCP. Port 0 takes a free one.
    pub tcp: Option<SocketAddr>,
    /// A unix socket for HTTP; readable by its owner alone.
    pub socket: Option<PathBuf>,
    /// Names under which clients may ask over TCP, besides loopback addresses.
    pub hosts: Vec<String>,
    /// A file with the token that allows writes over TCP.
    pub token_file: Option<PathBuf>,
    /// Whether writes over TCP on a loopback address need no token: every user and program of this machine may change
    /// everything then. Web pages may not.
    pub open_writes: bool,
}

/// What is written to the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A default level and `target=level` pairs.
    pub filter: String,
    /// Text or JSON.
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Text }
    }
}

/// What is wrong with a configuration. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML of this form.
    #[error("the configuration {}, line {line}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Values that can't be.
    #[error("the configuration: {0}")]
    Value(String),
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it can't be read, holds an unknown key or a value of another kind: with the line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads a text; `path` is for errors, and relative paths in it are taken from its folder.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text[..at.min(text.len())].matches('\n').count() + 1;
            ConfigError::Parse { path: path.to_owned(), line, message: error.message().to_owned() }
        })?;
        config.file = Some(path.to_owned());
        let folder = path.parent().unwrap_or(Path::new("."));
        let absolute = |path: &mut PathBuf| *path = folder.join(&path);
        config.plugins.directories.iter_mut().for_each(absolute);
        config.plugins.files.values_mut().for_each(absolute);
        config.events.paths().for_each(absolute);
        let Listen { socket, token_file, .. } = &mut config.listen;
        let program = &mut config.plugins.vet.program;
        [&mut config.state_dir, program, socket, token_file].into_iter().flatten().for_each(absolute);
        Ok(config)
    }

    /// Checks what types can't.
    ///
    /// # Errors
    ///
    /// The first value that can't be, and why.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Value(text));
        if let Some(node) = self.node.as_ref().filter(|node| !is_service_name(node)) {
            return refuse(format!("node {node:?}: a name is words of A-Z a-z 0-9 _ - joined by dots"));
        }
        if let Some(bus_id) = self.bus_id.as_ref().filter(|id| !is_service_name(id) || id.contains('.')) {
            return refuse(format!("bus_id {bus_id:?}: it is one word of A-Z a-z 0-9 _ -"));
        }
        parse_filter(&self.log.filter).map_err(ConfigError::Value)?;
        if self.plugins.scan_interval < Duration::from_millis(100) {
            return refuse("plugins.scan_interval is less than 100 ms".to_owned());
        }
        if let Some(problem) = self.plugins.vet.problem() {
            return refuse(problem);
        }
        if let Some(address) = self.listen.tcp.filter(|a| !a.ip().is_loopback() && self.listen.token_file.is_none()) {
            return refuse(format!(
                "listen.tcp is {address}, which other machines reach: name a token with listen.token_file, or listen on \
                 127.0.0.1"
            ));
        }
        if self.listen.open_writes {
            if let Some(address) = self.listen.tcp.filter(|a| !a.ip().is_loopback()) {
                return refuse(format!(
                    "listen.open_writes lets everybody who reaches listen.tcp change everything, and other machines reach \
                     {address}: listen on 127.0.0.1, or leave it out"
                ));
            }
            if self.listen.token_file.is_some() {
                return refuse(
                    "listen.open_writes makes a token meaningless, and listen.token_file names one: leave one of them out"
                        .to_owned(),
                );
            }
        }
        self.events.types().map_err(ConfigError::Value)?;
        for (name, datasource) in &self.datasource {
            let bad_name = check_name(name).err().map(|e| e.to_string());
            let problem = bad_name.or_else(|| datasource.problem().map(|why| format!("datasource {name:?}: {why}")));
            problem.map_or(Ok(()), refuse)?;
        }
        Ok(())
    }

    /// The node's name, if the configuration does not say.
    #[must_use]
    pub fn node_name(&self) -> String {
        let machine = || {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
            Some(name).filter(|name| is_service_name(name))
        };
        self.node.clone().or_else(machine).unwrap_or_else(|| "node".to_owned())
    }

    /// What sets this system apart, if the configuration does not say.
    #[must_use]
    pub fn bus_id(&self) -> &str {
        self.bus_id.as_deref().unwrap_or("busway")
    }

    /// Where the host keeps what it must remember, if the configuration does not say.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| match (rustix::process::geteuid().is_root(), home("XDG_STATE_HOME")) {
            (true, _) => PathBuf::from("/var/lib/busway"),
            (false, Some(state)) => state.join("busway"),
            (false, None) => home("HOME").unwrap_or_else(std::env::temp_dir).join(".local/state/busway"),
        })
    }

    /// The unix socket, if the configuration does not say.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let runtime = || home("XDG_RUNTIME_DIR").map(|dir| dir.join("busway.sock"));
        self.listen.socket.clone().or_else(runtime).unwrap_or_else(|| PathBuf::from("/run/busway/busway.sock"))
    }
}

fn home(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Limits;

    fn error(text: &str) -> String {
        let parsed = Config::parse(text, Path::new("/etc/busway/busway.toml"));
        parsed.and_then(|config| config.check()).unwrap_err().to_string()
    }

    #[test]
    fn a_node_has_a_name() {
        assert_eq!(
            error("node = 'a b'"),
            "the configuration: node \"a b\": a name is words of A-Z a-z 0-9 _ - joined by dots"
        );
        let named = Config { node: Some("alpha".to_owned()), ..Config::default() };
        assert_eq!(named.node_name(), "alpha");
        assert!(is_service_name(&Config::default().node_name()));
    }

    #[test]
    fn a_whole_file() {
        let config = Config::parse(
            "state_dir = 'state'\n[plugins]\ndirectories = ['drivers', '/opt/drivers']\nscan_interval = 2\n[listen]\ntcp = \
             '127.0.0.1:1789'\n[datasource.web]\ndriver = 'files'\npoll = '1m 30s'\nmax_rows = 1000\n[datasource.web.options]\npath = \
             '/srv'\n",
            Path::new("/etc/busway/busway.toml"),
        )
        .unwrap();
        config.check().unwrap();
        assert_eq!(config.state_dir(), Path::new("/etc/busway/state"));
        assert_eq!(config.plugins.directories, [Path::new("/etc/busway/drivers"), Path::new("/opt/drivers")]);
        assert_eq!(config.plugins.scan_interval, Duration::from_secs(2));
        let web = &config.datasource["web"];
        assert_eq!(
            (web.poll, web.enabled, web.options["path"].as_str()),
            (Duration::from_secs(90), true, Some("/srv"))
        );
        assert_eq!(web.limits(), Limits { rows: 1000, ..Limits::default() });
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(
            error("[plugins]\ndirectorys = []\n"),
            "the configuration /etc/busway/busway.toml, line 2: unknown field `directorys`, expected one of `directories`, \
             `scan_interval`, `on_conflict`, `on_remove`, `files`, `probation`, `drain`, `most_state`, `cold_start`, \
             `retired_budget`, `trust`, `vet`"
        );
        assert_eq!(
            error("[datasource.web]\ndriver = 'files'\npoll = 'often'\n"),
            "the configuration /etc/busway/busway.toml, line 3: \"often\" is no duration like \"10s\" or \"1m 30s\": \
             expected number at 0"
        );
        assert_eq!(
            error("[datasource.'a b']\ndriver = 'files'\n"),
            "the configuration: datasource \"a b\": a name is words of A-Z a-z 0-9 _ - joined by dots, begins with no \
             underscore, has 255 characters at most and is no uuid"
        );
        assert_eq!(
            error("[datasource.web]\ndriver = 'files'\nmax_rows = 0\n"),
            "the configuration: datasource \"web\": a limit of zero leaves no room for a table's rows"
        );
        assert_eq!(
            error("[events.types.'acme.door']\nschema = {type = 'array'}\n"),
            "the configuration: events.types.\"acme.door\": the schema must be an object with \"type\": \"object\" and \
             \"properties\""
        );
        assert_eq!(
            error("[events.types.'acme.door']\nbase = 'acme.hatch'\n"),
            "the configuration: events.types: event type \"acme.door\" can't be of \"acme.hatch\": there is no such type"
        );
        assert_eq!(
            error("[events.types.'acme.door']\nschema_file = 'door.json'\n"),
            "the configuration: events.types.\"acme.door\": schema_file /etc/busway/door.json: No such file or directory (os \
             error 2)"
        );
        assert_eq!(
            error("[events.types.door]\nbass = 'Event'\n"),
            "the configuration /etc/busway/busway.toml, line 2: unknown field `bass`, expected one of `about`, `base`, `id`, \
             `origin`, `schema`, `schema_file`"
        );
        assert_eq!(
            error("[listen]\ntcp = '0.0.0.0:1789'\ntoken_file = 't'\nopen_writes = true\n"),
            "the configuration: listen.open_writes lets everybody who reaches listen.tcp change everything, and other machines \
             reach 0.0.0.0:1789: listen on 127.0.0.1, or leave it out"
        );
        assert_eq!(
            error("[listen]\ntcp = '127.0.0.1:1789'\ntoken_file = 't'\nopen_writes = true\n"),
            "the configuration: listen.open_writes makes a token meaningless, and listen.token_file names one: leave one of \
             them out"
        );
        assert_eq!(
            error("[plugins.vet]\nmemory = 1000\n"),
            "the configuration: plugins.vet: a child process itself needs 64 MiB of memory, 32 files and 16 processes"
        );
        let text = error("[log]\nfilter = 'a=b=c'\n");
        // What exactly is wrong is the filter's library's to say.
        assert!(text.starts_with("the configuration: log filter \"a=b=c\": "), "{text}");
        assert!(text.ends_with("; it is a level and target=level pairs: info,busway=debug"), "{text}");
    }
}
