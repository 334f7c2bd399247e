//! From a new build in the plugin directory until a subscriber has its rows; how long no source was in charge; what memory
//! a retired generation holds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use measure::{median, rounds};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The driver's build in its file; others have other digits.
const BUILD: &str = "BENCH-DRIVER-BUILD001";
/// A file that nobody wrote to for so long is read: what comes after it counts.
const SETTLED: Duration = Duration::from_millis(150);
const LIMIT: f64 = 0.05;
/// Nothing takes longer.
const LONG: Duration = Duration::from_secs(30);

fn main() {
    let library = fs::read(measure::driver()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    println!("one driver whose polls cost nothing, one datasource; the library has {} KiB", library.len() / 1024);
    let (serving, mut phases) = known(&library, &folder.path().join("known"));
    let judged = if median(serving.clone()) <= LIMIT { "at most 50 ms: met" } else { "at most 50 ms: MISSED" };
    println!(
        "  known bytes, from the end of the stability window until a subscriber has the new rows: {} ({judged})",
        spread(serving)
    );
    for (what, times) in ["loading", "opening, handing over, polling", "no source in charge"].iter().zip(&mut phases) {
        println!("    of that, {what}: {}", spread(std::mem::take(times)));
    }
    memory(&library, &folder.path().join("memory"));
}

/// Times in seconds, said in milliseconds.
fn spread(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times[(times.len() - 1) * part / 100] * 1e3;
    format!("p50 {:.1} ms, p95 {:.1} ms, at most {:.1} ms", at(50), at(95), at(100))
}

/// The library as another build.
fn build(library: &[u8], number: usize) -> Vec<u8> {
    let (mut built, name) = (library.to_vec(), format!("BENCH-DRIVER-BUILD{number:03}"));
    let at = built.windows(BUILD.len()).position(|bytes| bytes == BUILD.as_bytes()).expect("the build's number");
    built[at..at + name.len()].copy_from_slice(name.as_bytes());
    built
}

/// Two builds in turns. Both were seen before the first that counts.
fn known(library: &[u8], folder: &Path) -> (Vec<f64>, [Vec<f64>; 3]) {
    let builds = [build(library, 1), build(library, 2)];
    let host = Host::start(folder, &builds[0]);
    let mut stream = host.stream();
    let (mut serving, mut phases) = (Vec::new(), [const { Vec::new() }; 3]);
    for round in 1..=rounds(41) + 2 {
        let began = host.put(&builds[round % 2]);
        until_step(&mut stream);
        let took = began.elapsed();
        let report = host.report(round);
        if round > 2 {
            serving.push(took.saturating_sub(SETTLED).as_secs_f64());
            for (key, times) in ["load_us", "prepare_us", "pause_us"].iter().zip(&mut phases) {
                times.push(number(&report, key) / 1e6);
            }
        }
    }
    (serving, phases)
}

/// Builds of which each has bytes of its own: each stays mapped.
fn memory(library: &[u8], folder: &Path) {
    let count = rounds(100);
    let host = Host::start(folder, &build(library, 1));
    let mut stream = host.stream();
    let mut before = 0.0;
    let warm = 5;
    for round in 1..=count + warm {
        host.put(&build(library, round + 1));
        until_step(&mut stream);
        host.report(round);
        if round == warm {
            before = host.resident();
        }
    }
    let each = (host.resident() - before) / f64::from(u32::try_from(count).unwrap());
    println!("  memory of a retired generation, over {count} with bytes of their own: {each:.0} KiB");
}

struct Host {
    process: Child,
    plugins: PathBuf,
    socket: PathBuf,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Host {
    fn start(folder: &Path, library: &[u8]) -> Self {
        let (plugins, socket, config) = (folder.join("plugins"), folder.join("socket"), folder.join("busway.toml"));
        fs::create_dir_all(&plugins).unwrap();
        fs::write(plugins.join("bench.so"), library).unwrap();
        let text = format!(
            "state_dir = {folder:?}\n[plugins]\ndirectories = [{plugins:?}]\nprobation = \"20ms\"\n[listen]\nsocket = \
             {socket:?}\n[log]\nfilter = \"warn\"\n[datasource.d]\ndriver = \"bench-driver-number-000-of-a-lot\"\npoll = \
             \"1h\"\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_busway"));
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BUSWAY_")) {
            command.env_remove(name);
        }
        let host = Self { process: command.spawn().unwrap(), plugins, socket };
        host.wait(|host| host.get("/v1/services").filter(|answer| answer.contains("\"steady\"")));
        host
    }

    /// Puts a build in place; answers when that was done.
    fn put(&self, library: &[u8]) -> Instant {
        let beside = self.plugins.join("bench.new");
        fs::write(&beside, library).unwrap();
        let began = Instant::now();
        fs::rename(beside, self.plugins.join("bench.so")).unwrap();
        began
    }

    /// Waits for the end of a reload and answers its report; that many were before it.
    fn report(&self, before: usize) -> String {
        let to = format!("\"to\":{}", before + 1);
        self.wait(|host| {
            let history = host.get("/v1/plugins/history?limit=1")?;
            (history.contains("\"outcome\":\"committed\"") && history.contains(&to)).then_some(history)
        })
    }

    fn wait<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(began.elapsed() < LONG, "{:?}", self.get("/v1/plugins/history?limit=3"));
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn ask(&self, path: &str) -> Option<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        Some(stream)
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut answer = String::new();
        self.ask(path)?.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Follows the table; it stands where it is now.
    fn stream(&self) -> BufReader<UnixStream> {
        let mut stream = BufReader::new(self.ask("/v1/services/d/tables/steady/stream").unwrap());
        until(&mut stream, "event: snapshot");
        stream
    }

    /// What is in memory of it, in KiB.
    fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    }
}

fn until_step(stream: &mut BufReader<UnixStream>) {
    until(stream, "event: step");
}

fn until(stream: &mut BufReader<UnixStream>, what: &str) {
    stream.get_ref().set_read_timeout(Some(LONG)).unwrap();
    let mut line = String::new();
    while line.trim_end() != what {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an event in time") > 0, "the stream ended");
    }
}

/// A number of a JSON object, by its key.
fn number(json: &str, key: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{key}\":")).expect("it is there");
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().unwrap()
}
