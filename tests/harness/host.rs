//! A host to drive from outside: the program, in a folder of its own.

use crate::stream::Stream;
use crate::wait_for;
use crate::workspace::program;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use tempfile::TempDir;

/// A running host. Dropping it kills it.
#[derive(Debug)]
pub struct Host {
    folder: TempDir,
    plugins: String,
    child: Child,
    url: String,
}

/// A folder for a host, not yet started: put plugins into `plugins`.
#[derive(Debug)]
pub struct Bed {
    folder: TempDir,
    plugins: String,
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}

impl Bed {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("plugins")).expect("a temporary folder is writable");
        Self { folder, plugins: "probation = '100ms'\n".to_owned() }
    }

    /// With these keys of `[plugins]`, beside what every test has, instead of a short probation.
    #[must_use]
    pub fn plugins(self, keys: &str) -> Self {
        Self { plugins: format!("{keys}\n"), ..self }
    }

    /// A path within.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the plugin directory.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.folder.path().join("plugins").join(name)
    }

    /// Writes the configuration: `datasources` behind the part that every test has.
    pub fn configure(&self, datasources: &str) {
        let head = format!(
            "state_dir = 'state'\n[plugins]\ndirectories = ['plugins']\nscan_interval = '500ms'\n{}[listen]\ntcp = \
             '127.0.0.1:0'\nsocket = 'bus.sock'\n",
            self.plugins
        );
        std::fs::write(self.path("busway.toml"), format!("{head}{datasources}")).expect("writable");
    }

    /// Starts the program on it, and waits until it serves.
    #[must_use]
    pub fn start(self, datasources: &str) -> Host {
        self.start_with(|_| {}, datasources)
    }

    /// As [`start`](Self::start), with the configuration changed before.
    #[must_use]
    pub fn start_with(self, change: impl FnOnce(&Self), datasources: &str) -> Host {
        self.configure(datasources);
        change(&self);
        let log = File::create(self.path("log")).expect("writable");
        let child = self.command(&["run", "--log-format", "json"]).stderr(log).spawn().expect("the program starts");
        let mut host = Host { folder: self.folder, plugins: self.plugins, child, url: String::new() };
        host.url = wait_for("the host to serve", || {
            let text = host.log_text();
            let serves = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
            let mut serves = serves.filter(|l| l["message"] == "busway serves");
            serves.find_map(|l| l["tcp"].as_str().map(str::to_owned)).ok_or(text)
        });
        host
    }

    /// The program with this folder's configuration.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        busway(self.folder.path(), arguments, true)
    }

    /// Runs the program to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().expect("the program starts"))
    }
}

fn busway(folder: &Path, arguments: &[&str], configured: bool) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    for variable in std::env::vars_os().map(|(name, _)| name).filter(|n| n.to_string_lossy().starts_with("BUSWAY_")) {
        command.env_remove(variable);
    }
    command.env("BUSWAY_HOST", folder.join("bus.sock")).env_remove("XDG_RUNTIME_DIR").env("NO_COLOR", "1");
    if configured {
        command.env("BUSWAY_CONFIG", "busway.toml");
    }
    command
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The exit code.
    pub code: Option<i32>,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
            code: output.status.code(),
        }
    }
}

/// What a host answered, as it came.
#[derive(Debug)]
pub struct Raw {
    /// The status.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// All else.
    pub body: String,
}

impl Raw {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body, which is JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Host {
    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in its plugin directory.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.path("plugins").join(name)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log, as it is.
    #[must_use]
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.path("log")).expect("the log is there")
    }

    /// Its log's records.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Asks for a path: status and body.
    #[must_use]
    pub fn get(&self, path: &str) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("{}{path}", self.url)).call().expect("the host answers");
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (answer.status().as_u16(), body)
    }

    /// A table's rows.
    ///
    /// # Errors
    ///
    /// What the host answered instead.
    pub fn rows(&self, service: &str, table: &str) -> Result<Vec<Value>, String> {
        match self.get(&format!("/v1/services/{service}/tables/{table}/rows")) {
            (200, body) => Ok(body["rows"].as_array().cloned().unwrap_or_default()),
            (status, body) => Err(format!("{status} {body}")),
        }
    }

    /// Waits until a row of a table satisfies `wanted`, and returns it.
    pub fn wait_row(&self, service: &str, table: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || {
            let rows = self.rows(service, table)?;
            rows.iter().find(|row| wanted(row)).cloned().ok_or_else(|| format!("{rows:#?}"))
        })
    }

    /// Waits until a datasource is in a state.
    pub fn wait_datasource(&self, name: &str, state: &str) -> Value {
        self.wait_row("_host", "datasources", &format!("datasource {name} to be {state}"), |row| {
            row["name"] == name && row["state"] == state
        })
    }

    /// Waits until a plugin file is in a state.
    pub fn wait_plugin(&self, file: &str, state: &str) -> Value {
        self.wait_row("_host", "plugins", &format!("plugin {file} to be {state}"), |row| {
            row["file"].as_str().is_some_and(|f| f.ends_with(file)) && row["state"] == state
        })
    }

    /// Follows a table.
    #[must_use]
    pub fn stream(&self, service: &str, table: &str) -> Stream {
        Stream::open(&format!("{}/v1/services/{service}/tables/{table}/stream", self.url))
    }

    /// Runs the program as this host's client.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().expect("the program starts"))
    }

    /// The program as this host's client.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        busway(self.folder.path(), arguments, false)
    }

    /// Sends a POST over the unix socket; answers status and body.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, &[], body)
    }

    /// Sends a PUT over the unix socket; answers status and body.
    #[must_use]
    pub fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("PUT", path, &[], body)
    }

    /// Sends a request over the unix socket; answers the status alone.
    ///
    /// # Errors
    ///
    /// When the host went away before it answered.
    pub fn try_send(&self, method: &str, path: &str, body: &Value) -> std::io::Result<u16> {
        use std::io::{Error, Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.path("bus.sock"))?;
        let (body, mut answer) = (body.to_string(), String::new());
        let head = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{method} {path} {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| Error::other("no answer"))
    }

    /// Sends a request over the unix socket; answers status and body.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let Raw { status, body, .. } = self.raw(method, path, headers, body.to_string().as_bytes());
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Sends any bytes as a request's body over the unix socket, and answers what came back, as it came.
    #[must_use]
    pub fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Raw {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.path("bus.sock")).expect("the socket is there");
        let length = body.len();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
             application/json\r\n{headers}content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the host listens");
        // A body that is refused may be cut short.
        let _ = stream.write_all(body);
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        assert!(read.is_ok() || !answer.is_empty(), "the host answers: {read:?}");
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        Raw { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Waits until it has ended by itself.
    pub fn wait_end(&mut self) -> ExitStatus {
        wait_for("the host to end", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err("it runs on".to_owned()),
        })
    }

    /// What happened to plugins: entries of one kind, the oldest first.
    #[must_use]
    pub fn history(&self, event: &str) -> Vec<Value> {
        let (status, history) = self.get("/v1/plugins/history");
        assert_eq!(status, 200, "{history}");
        let entries = history["results"].as_array().cloned().unwrap_or_default();
        entries.into_iter().filter(|entry| entry["event"] == event).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Tells it to stop, unless it has ended, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        if self.is_alive() {
            self.signal(rustix::process::Signal::TERM);
        }
        wait_for("the host to end", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err(format!("it runs on; its log:\n{}", self.log_text())),
        })
    }

    /// Kills it as nothing can be minded by, and starts another on the same folder.
    #[must_use]
    pub fn kill_and_start(mut self, datasources: &str) -> Self {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
        self.again(datasources)
    }

    fn again(mut self, datasources: &str) -> Self {
        let spare = tempfile::tempdir().expect("a temporary folder");
        let folder = std::mem::replace(&mut self.folder, spare);
        let plugins = std::mem::take(&mut self.plugins);
        drop(self);
        Bed { folder, plugins }.start(datasources)
    }

    /// Sends a DELETE over the unix socket; answers status and body.
    #[must_use]
    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, &[], &Value::Null)
    }

    /// Sends a PATCH over the unix socket; answers status and body.
    #[must_use]
    pub fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("PATCH", path, &[], body)
    }

    /// Stops it and starts another on the same folder.
    #[must_use]
    pub fn restart(mut self, datasources: &str) -> Self {
        self.terminate();
        self.again(datasources)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}", self.log_text());
        }
    }
}
