//! The child: limits itself, maps the plugin, puts it through what a host would, and says what came of it.

use super::super::conformance::{self, Assignment};
use super::super::load::load;
use super::traces::{Left, Traces};
use super::wire::{Answer, Line, PROTOCOL, Stage, Task, Tried};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::SelfTestRequest;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_current_process_group, kill_process};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Threads that end by themselves get so long for it.
const ENDING: Duration = Duration::from_millis(100);

/// The exit code of a child that could not do its work.
pub(super) const UNABLE: i32 = 98;

/// Does all that this process is there for. Never returns.
pub(super) fn main() -> ! {
    let Err(error) = run();
    // Nobody who calls the marker by hand has a socket for standard input.
    eprintln!("this is started by a Busway host, to try a plugin: {error}");
    end(UNABLE)
}

#[allow(clippy::disallowed_methods, reason = "nothing is open here, and main must not go on")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

fn run() -> io::Result<std::convert::Infallible> {
    let channel = Channel::take()?;
    let mut from_host = BufReader::new(channel.stream.try_clone()?);
    channel.say(&Line::Hello(PROTOCOL))?;
    let mut task = String::new();
    from_host.read_line(&mut task)?;
    let task: Task = serde_json::from_str(&task)?;
    // Whoever is started by what is started here stays this process's child, though its parent ends.
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
    task.confines.enter();
    // The host has nothing more to say: what comes is its end, and then nobody needs this process any more.
    std::thread::Builder::new().name("busway-watch".to_owned()).spawn(move || {
        let mut nothing = [0; 64];
        while from_host.read(&mut nothing).is_ok_and(|read| read > 0) {}
        let _ = kill_current_process_group(Signal::KILL);
    })?;
    // A thread like those that the host calls drivers on, with as small a stack.
    let trying = channel.clone()?;
    let thread = std::thread::Builder::new().name("drv-tried".to_owned());
    let answer = thread
        .spawn(move || match task.check {
            Some(assignment) => trying.check(&task.staged, assignment),
            None => trying.put_through(&task.staged),
        })?
        .join();
    let answer = answer.map_err(|_| io::Error::other("its own code panicked"))??;
    channel.say(&Line::Answer(answer))?;
    // The host ends this process: no handler of the plugin's runs any more.
    loop {
        std::thread::park();
    }
}

/// The way to the host, which no descriptor of the first three is.
struct Channel {
    stream: UnixStream,
    owner: Pid,
}

impl Channel {
    /// Takes it from standard input. What the plugin writes to standard output goes where its errors go.
    fn take() -> io::Result<Self> {
        let stream = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 10)?);
        // Any other kind of file has none.
        stream.peer_addr()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        Ok(Self { stream, owner: getpid() })
    }

    fn clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, owner: self.owner })
    }

    fn say(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&self.stream).write_all(&text)
    }

    fn begin(&self, stage: Stage) -> io::Result<()> {
        self.only_the_original();
        self.say(&Line::Stage(stage))
    }

    /// A copy of this process that the plugin made runs the same code: it must neither answer nor stay.
    fn only_the_original(&self) {
        while getpid() != self.owner {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }

    /// Puts it through one check of the conformance suite.
    fn check(&self, staged: &Path, assignment: Assignment) -> io::Result<Answer> {
        self.begin(Stage::Map)?;
        let driver = match load(staged) {
            Ok(driver) => driver,
            Err(error) => return Ok(error.into()),
        };
        self.begin(Stage::Check)?;
        // Were the host gone, so would this process be.
        let step = |when: &str| drop(self.say(&Line::Step(when.to_owned())));
        let finding = conformance::perform(&driver, &assignment, &step);
        self.only_the_original();
        end_children();
        Ok(Answer::Checked(finding))
    }

    fn put_through(&self, staged: &Path) -> io::Result<Answer> {
        let before = Traces::look();
        self.begin(Stage::Map)?;
        let driver = match load(staged) {
            Ok(driver) => driver,
            Err(error) => {
                self.only_the_original();
                return Ok(error.into());
            }
        };
        self.begin(Stage::Describe)?;
        let described = driver.describe();
        self.only_the_original();
        let info = match described {
            Ok(info) => info,
            Err(error) => return Ok(Answer::Description(error.to_string())),
        };
        self.begin(Stage::SelfTest)?;
        let guard = match driver.self_test(&SelfTestRequest { panic: true }) {
            Err(error) if error.status == Status::PANICKED => None,
            Err(error) => Some(format!("it answered {error} (status {})", error.status.0)),
            Ok(()) => Some("it answered that all is well".to_owned()),
        };
        self.begin(Stage::Leave)?;
        let left = left(&before);
        let processes = has_children();
        end_children();
        Ok(Answer::Tried(Box::new(Tried { info, guard, processes, left })))
    }
}

/// What is different now, when what ends by itself has ended.
fn left(before: &Traces) -> Left {
    let mut after = Traces::look();
    let begun = std::time::Instant::now();
    while after.has_more_threads_than(before) && begun.elapsed() < ENDING {
        std::thread::park_timeout(Duration::from_millis(2));
        after = Traces::look();
    }
    after.since(before)
}

/// Whether there is a process, ended or not, that this one or one of its descendants started.
fn has_children() -> bool {
    // No children at all is an error.
    rustix::process::wait(WaitOptions::NOHANG).is_ok()
}

/// Those that left the process group are out of the host's reach, not out of this process's.
fn end_children() {
    let children = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = children.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    for number in children.flat_map(|text| text.split_whitespace().flat_map(str::parse).collect::<Vec<i32>>()) {
        if let Some(pid) = Pid::from_raw(number) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
