//! Many datasources of a trivial driver in one host: how long until all were polled, memory each, threads, how evenly polls
//! come, listing them, creating and removing one more.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use measure::{median, rounds, time};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DRIVER: &str = "bench-driver-number-000-of-a-lot";
/// A library that changed more recently may still be on its way, and is looked at twice.
const OLD: Duration = Duration::from_millis(2500);
const FEW: usize = 10;

struct Host {
    child: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_busway"));
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BUSWAY_")) {
            command.env_remove(name);
        }
        Self { child: command.spawn().unwrap() }
    }

    /// A number of `/proc/PID/status`.
    fn said(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let length = body.len();
    let head = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
    stream.write_all(format!("{method} {path} {head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The answer without the marks of its parts' lengths, as JSON.
fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let mut whole = String::new();
        let mut rest = text;
        while let Some((length, after)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).ok().filter(|l| *l > 0)?;
            whole.push_str(after.get(..length)?);
            rest = after.get(length + 2..)?;
            if rest.starts_with("0\r\n") {
                break;
            }
        }
        serde_json::from_str(&whole).ok()
    })
}

fn host_rows(socket: &Path) -> Option<Vec<Value>> {
    let text = ask(socket, "GET", "/v1/services/_host/tables/datasources/rows?columns=name,state,polls", "")?;
    json(&text)?["rows"].as_array().cloned()
}

fn wait_all(socket: &Path, count: usize) -> Duration {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(300), "not all run");
        // The last of them first: it costs the host nothing while it is busy.
        let last = ask(socket, "GET", &format!("/v1/data-sources/d{}", count - 1), "").unwrap_or_default();
        if last.contains("\"state\":\"running\"") {
            let rows = host_rows(socket).unwrap_or_default();
            if rows.len() >= count && rows.iter().all(|row| row["state"] == "running") {
                return began.elapsed();
            }
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn config(folder: &Path, plugins: &Path, count: usize) -> (std::path::PathBuf, std::path::PathBuf) {
    let state = folder.join(format!("state-{count}"));
    fs::create_dir_all(&state).unwrap();
    let (config, socket) = (state.join("busway.toml"), state.join("socket"));
    let mut text = format!(
        "state_dir = {state:?}\n[plugins]\ndirectories = [{plugins:?}]\n[listen]\nsocket = {socket:?}\n[log]\nfilter = \
         \"warn\"\n"
    );
    for number in 0..count {
        writeln!(text, "[datasource.d{number}]\ndriver = {DRIVER:?}\npoll = \"10s\"").unwrap();
    }
    fs::write(&config, text).unwrap();
    (config, socket)
}

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(measure::driver(), plugins.join("bench.so")).unwrap();
    pass(OLD);
    let mut base = 0;
    for count in if measured { vec![FEW, 1000, 3000, 10_000] } else { vec![FEW] } {
        let (config, socket) = config(folder.path(), &plugins, count);
        let (first, host) = time(|| {
            let host = Host::start(&config);
            wait_all(&socket, count);
            host
        });
        drop(host);
        let (again, host) = time(|| {
            let host = Host::start(&config);
            wait_all(&socket, count);
            host
        });
        let memory = host.said("VmRSS:");
        let threads = host.said("Threads:");
        if count == FEW {
            base = memory;
        }
        let each = memory.saturating_sub(base) as f64 / (count - FEW).max(1) as f64;
        let list =
            (0..rounds(9)).map(|_| time(|| ask(&socket, "GET", "/v1/data-sources", "").unwrap()).0.as_secs_f64());
        let list = median(list.collect()) * 1e3;
        let (mut create, mut remove) = (Vec::new(), Vec::new());
        for number in 0..rounds(15) {
            let body = json!({"name": format!("extra{number}"), "driver": DRIVER}).to_string();
            create.push(time(|| ask(&socket, "POST", "/v1/data-sources", &body).unwrap()).0.as_secs_f64());
            let path = format!("/v1/data-sources/extra{number}");
            remove.push(time(|| ask(&socket, "DELETE", &path, "").unwrap()).0.as_secs_f64());
        }
        println!(
            "  {count:>6}: all polled after {:.2} s at first, {:.2} s again; {each:.1} KiB each; {threads} threads; list {list:.1} \
             ms; create {:.2} ms, remove {:.2} ms",
            first.as_secs_f64(),
            again.as_secs_f64(),
            median(create) * 1e3,
            median(remove) * 1e3
        );
        if measured && count >= 1000 {
            println!("          {}", evenness(&socket, count));
        }
    }
}

/// Lets time pass.
fn pass(time: Duration) {
    let began = Instant::now();
    while let Some(left) = time.checked_sub(began.elapsed()) {
        std::thread::park_timeout(left);
    }
}

/// How many polls came in each second of two intervals.
fn evenness(socket: &Path, count: usize) -> String {
    let polls = || host_rows(socket).unwrap().iter().filter_map(|row| row["polls"].as_u64()).sum::<u64>();
    let mut before = polls();
    let mut each = Vec::new();
    for _ in 0..10 {
        pass(Duration::from_secs(2));
        let now = polls();
        each.push((now - before) / 2);
        before = now;
    }
    let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
    format!("polls a second: {least} to {most}, where {} are due", count / 10)
}
