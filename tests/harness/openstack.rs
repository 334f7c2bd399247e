//! OpenStack's own client of the predecessor, unmodified: its program `openstack`, and the library under it.

use crate::host::Said;
use crate::python;
use crate::workspace::root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// How it logs in.
#[derive(Debug, Clone, Copy)]
pub enum Login<'a> {
    /// Not at all: `none`.
    None,
    /// With a token: `admin_token`.
    AdminToken(&'a str),
}

impl Login<'_> {
    fn flags(self, url: &str) -> Vec<String> {
        let with = |kind: &str| vec!["--os-auth-type".to_owned(), kind.to_owned(), "--os-endpoint".into(), url.into()];
        match self {
            Self::None => with("none"),
            Self::AdminToken(token) => [with("admin_token"), vec!["--os-token".to_owned(), token.to_owned()]].concat(),
        }
    }
}

/// Where it is; installed if need be.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| python::installed("congressclient", "OpenStack's own client, python-congressclient"))
}

fn scripts() -> PathBuf {
    root().join("tests/congressclient")
}

/// A program of it, which knows of this machine's owner nothing: neither clouds, nor logins, nor proxies.
fn program(name: &str) -> Command {
    let mut command = Command::new(installed().join("bin").join(name));
    let strange = |name: &str| name.starts_with("OS_") || name.to_ascii_lowercase().ends_with("_proxy");
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| strange(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    // It keeps there what it found out about its own parts.
    let home = installed().join("home");
    std::fs::create_dir_all(&home).expect("the target folder is writable");
    command.current_dir(&home).env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
    command.env("PYTHONWARNINGS", "ignore").env("LC_ALL", "C.UTF-8");
    command
}

/// Runs `openstack` in a process of its own. That takes seconds.
#[must_use]
pub fn openstack(url: &str, login: Login<'_>, arguments: &[&str]) -> Said {
    let output = program("openstack").args(login.flags(url)).args(arguments).stdin(Stdio::null()).output();
    Said::of(output.expect("the client starts"))
}

/// A process that answers a line of JSON to each line of JSON. Dropping it kills it.
#[derive(Debug)]
struct Lines {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Lines {
    fn start(script: &str, arguments: &[&str]) -> Self {
        let mut command = program("python");
        command.arg(scripts().join(script)).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the client starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.input, "{request}").expect("the client reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the client answers");
        serde_json::from_str(&line).expect("a line of JSON")
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The commands of `openstack`, in one process: only the first takes seconds.
#[derive(Debug)]
pub struct Shell {
    lines: Lines,
    flags: Vec<String>,
}

impl Shell {
    /// One that asks the host at `url`.
    #[must_use]
    pub fn new(url: &str, login: Login<'_>) -> Self {
        Self { lines: Lines::start("shell.py", &[]), flags: login.flags(url) }
    }

    /// Runs `openstack congress …`.
    pub fn run(&mut self, arguments: &[&str]) -> Said {
        let whole: Vec<&str> =
            self.flags.iter().map(String::as_str).chain(["congress"]).chain(arguments.iter().copied()).collect();
        let said = self.lines.ask(&json!(whole));
        let text = |key: &str| said[key].as_str().expect("a text").to_owned();
        let code = said["code"].as_i64().and_then(|code| i32::try_from(code).ok());
        Said { out: text("out"), err: text("err"), code }
    }

    /// What a command prints as JSON.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn json(&mut self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["-f", "json"]].concat());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&said.out).expect("JSON")
    }

    /// Runs a command that prints nothing.
    ///
    /// # Panics
    ///
    /// When it fails, or prints something.
    pub fn done(&mut self, arguments: &[&str]) {
        let said = self.run(arguments);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "{arguments:?}");
    }
}

/// The library under the commands.
#[derive(Debug)]
pub struct Library {
    lines: Lines,
}

impl Library {
    /// One that asks the host at `url`.
    #[must_use]
    pub fn new(url: &str, login: Login<'_>) -> Self {
        let arguments = match login {
            Login::None => vec![url],
            Login::AdminToken(token) => vec![url, token],
        };
        Self { lines: Lines::start("library.py", &arguments) }
    }

    /// Calls a method: its answer.
    ///
    /// # Errors
    ///
    /// The status and message of the error that the client raised.
    pub fn call(&mut self, method: &str, arguments: &[Value]) -> Result<Value, (u64, String)> {
        let request: Vec<Value> = std::iter::once(json!(method)).chain(arguments.iter().cloned()).collect();
        let mut said = self.lines.ask(&json!(request));
        match said["status"].as_u64() {
            Some(status) => Err((status, said["error"].as_str().unwrap_or_default().to_owned())),
            None => Ok(said["answer"].take()),
        }
    }
}
