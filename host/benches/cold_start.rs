//! From the start of `busway run` until the first rows of every datasource are there, with 1, 10 and 50 plugins.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use measure::{median, rounds, time};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The driver's id in its file; copies get other digits.
const ID: &str = "bench-driver-number-000-of-a-lot";
/// A library that changed more recently may still be on its way, and is looked at twice.
const OLD: Duration = Duration::from_millis(10_500);
const MOST: usize = 50;
const LIMIT: f64 = 0.3;

fn id(number: usize) -> String {
    ID.replace("000", &format!("{number:03}"))
}

fn main() {
    let library = fs::read(measure::driver()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for count in [1, 10, MOST] {
        let plugins = folder.path().join(format!("plugins-{count}"));
        fs::create_dir(&plugins).unwrap();
        for number in 0..count {
            let mut file = fs::File::create(plugins.join(format!("{number}.so"))).unwrap();
            file.write_all(&renamed(&library, &id(number))).unwrap();
            // Nothing is to be written in the background later.
            file.sync_all().unwrap();
        }
    }
    let made = Instant::now();
    while let Some(left) = OLD.checked_sub(made.elapsed()) {
        std::thread::park_timeout(left);
    }
    println!("`busway run` until every datasource was polled; each driver's library has {} KiB", library.len() / 1024);
    for count in [1, 10, MOST] {
        let plugins = folder.path().join(format!("plugins-{count}"));
        let (mut served, mut polled) = (Vec::new(), Vec::new());
        let state = folder.path().join(format!("state-{count}"));
        // On a state directory that knows none of them: each is tried in a child process first.
        let (_, first) = start(&plugins, &state, count);
        for _ in 0..rounds(9) {
            let (answered, done) = start(&plugins, &state, count);
            served.push(answered.as_secs_f64());
            polled.push(done.as_secs_f64());
        }
        let (served, polled) = (median(served), median(polled));
        let judged = match count {
            MOST if polled <= LIMIT => "at most 300 ms: met",
            MOST => "at most 300 ms: MISSED",
            _ => "",
        };
        println!(
            "  {count:>2} plugins: first answer {:.0} ms, all polled {:.0} ms {judged}; never seen before: {:.0} ms",
            served * 1e3,
            polled * 1e3,
            first.as_secs_f64() * 1e3
        );
    }
}

/// The library as that of another driver.
fn renamed(library: &[u8], id: &str) -> Vec<u8> {
    let mut renamed = library.to_vec();
    let mut at = 0;
    while let Some(found) = renamed[at..].windows(ID.len()).position(|bytes| bytes == ID.as_bytes()) {
        let end = at + found + ID.len();
        renamed[at + found..end].copy_from_slice(id.as_bytes());
        at = end;
    }
    renamed
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a host; how long until its first answer, and until all tables are there.
fn start(plugins: &Path, state: &Path, count: usize) -> (Duration, Duration) {
    fs::create_dir_all(state).unwrap();
    let (config, socket) = (state.join("busway.toml"), state.join("socket"));
    let mut text = format!(
        "state_dir = {state:?}\n[plugins]\ndirectories = [{plugins:?}]\n[listen]\nsocket = {socket:?}\n[log]\nfilter = \
         \"warn\"\n"
    );
    for number in 0..count {
        writeln!(text, "[datasource.d{number}]\ndriver = {:?}\npoll = \"1h\"", id(number)).unwrap();
    }
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_busway"));
    command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BUSWAY_")) {
        command.env_remove(name);
    }
    let mut answered = None;
    let (done, _host) = time(|| {
        let began = Instant::now();
        let mut host = Running(command.spawn().unwrap());
        loop {
            assert_eq!(host.0.try_wait().unwrap(), None, "the host ended");
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", services(&socket));
            if let Some(answer) = services(&socket) {
                answered.get_or_insert(began.elapsed());
                if answer.matches("\"steady\"").count() == count {
                    return host;
                }
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    (answered.unwrap(), done)
}

/// All services with their tables, as soon as the host answers.
fn services(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /v1/services HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
