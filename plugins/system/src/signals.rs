//! Action `signal_process`.
//!
//! A number of a process may be used again at any moment. So the process is taken hold of first, by a descriptor that
//! stays with it; then it is looked at; then the signal goes through the descriptor. One that ended meanwhile gets
//! nothing, and neither does who has its number now.

use crate::processes::{kernel_boot, started_at};
use arrow_cast::parse::string_to_datetime;
use busway_plugin_api::abi::Status;
use busway_plugin_api::arrow_array::temporal_conversions::timestamp_ms_to_datetime;
use busway_plugin_api::arrow_array::timezone::Tz;
use busway_plugin_api::message::ErrorBody;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Value, json};
use busway_plugin_api::tracing;
use procfs::ProcError;
use procfs::process::{Process, Stat, StatFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use std::io::Read as _;

/// The action's name.
pub(crate) const NAME: &str = "signal_process";
/// The kernel's time of boot is in seconds, so times made of it differ by one; a number is not used again so soon.
const SAME_START_MS: i64 = 2000;
/// More generations than any tree of processes has: a chain that is longer changed under way.
const MOST_PARENTS: usize = 1000;

const SIGNALS: [(&str, Signal); 30] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("VTALRM", Signal::VTALARM),
    ("PROF", Signal::PROF),
    ("WINCH", Signal::WINCH),
    ("IO", Signal::IO),
    ("PWR", Signal::POWER),
    ("SYS", Signal::SYS),
];

/// The action's declaration.
pub(crate) fn info() -> ActionInfo {
    ActionInfo::new(NAME, "Sends a signal to a process of the user that the host runs as")
        .arg("pid", "The process; neither 1, nor the host, nor a process that the host was started by")
        .arg("signal", "By name or number: TERM, SIGTERM, 15")
        .optional_arg("name", "Only if this is its name in table processes")
        .optional_arg("started_at", "Only if it was started then, as table processes tells")
}

/// The type of the event that tells of a signal.
const SIGNALLED: &str = "system.process.signalled";

/// What it says.
#[derive(Debug, Serialize, JsonSchema)]
struct Signalled {
    /// The process.
    pid: i32,
    /// Its name, as in table processes; `name` itself is a field that all events have.
    process: String,
    /// The signal, by name.
    signal: String,
}

/// The declaration of that type. Its origin is the datasource, as of all that do not say another.
pub(crate) fn event() -> EventTypeInfo {
    EventTypeInfo::of::<Signalled>(SIGNALLED, "A signal was sent to a process").origin("the datasource that sent it")
}

/// What an argument may be: the predecessor's clients send all of them as texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(i64),
    Text(String),
}

/// What is asked for.
#[derive(Debug)]
struct Request {
    pid: Pid,
    signal: (&'static str, Signal),
    name: Option<String>,
    /// In milliseconds.
    started_at: Option<i64>,
}

impl Request {
    /// All that is wrong, at once.
    fn of(args: &Args) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let mut keep = |problem| problems.push(problem);
        let pid = pid(args.require("pid")?).map_err(&mut keep).ok();
        let signal = signal(args.require("signal")?).map_err(&mut keep).ok();
        let started_at =
            args.get::<Option<Scalar>>("started_at")?.flatten().map(time).transpose().map_err(&mut keep).ok();
        let name = args.get::<Option<String>>("name")?.flatten();
        match (pid, signal, started_at) {
            (Some(pid), Some(signal), Some(started_at)) => Ok(Self { pid, signal, name, started_at }),
            _ => Err(Error::invalid(format!("the arguments of {NAME:?} are wrong")).problems(problems)),
        }
    }
}

fn pid(given: Scalar) -> Result<Pid, String> {
    let number = match &given {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(text) => text.parse().ok(),
    };
    let fits = number.and_then(|number| i32::try_from(number).ok()).filter(|&pid| pid > 1);
    fits.and_then(Pid::from_raw).ok_or_else(|| match given {
        // To the kernel these are the machine's first process, a group, and everybody.
        Scalar::Number(number) => format!("argument \"pid\" takes the number of one process, above 1, got {number}"),
        Scalar::Text(text) => format!("argument \"pid\" takes the number of one process, above 1, got {text:?}"),
    })
}

fn signal(given: Scalar) -> Result<(&'static str, Signal), String> {
    let text = match given {
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => text,
    };
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number: Option<i32> = text.parse().ok();
    let found = SIGNALS.into_iter().find(|(known, signal)| *known == name || number == Some(signal.as_raw()));
    found.ok_or_else(|| {
        let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
        format!("argument \"signal\": {text:?} is no signal: there are {}, and their numbers", names.join(", "))
    })
}

fn time(given: Scalar) -> Result<i64, String> {
    match given {
        Scalar::Number(milliseconds) => Ok(milliseconds),
        Scalar::Text(text) => {
            let utc: Option<Tz> = "+00:00".parse().ok();
            let read = utc.and_then(|utc| string_to_datetime(&utc, &text).ok()).map(|time| time.timestamp_millis());
            let form = "takes a time like \"2026-01-31T10:00:00.25Z\", or milliseconds since 1970";
            read.ok_or_else(|| format!("argument \"started_at\" {form}, got {text:?}"))
        }
    }
}

/// Runs the action, if the datasource's options let it.
pub(crate) fn send(allowed: bool, context: &Context, args: &Args) -> Result<Value, Error> {
    if !allowed {
        return Err(refused(
            "switched_off",
            "option \"signals\" of this datasource is false: nothing was sent".to_owned(),
        ));
    }
    let request = Request::of(args)?;
    let held = hold(request.pid)?;
    let target = Target::look(request.pid)?;
    target.check(&request, &Own::look()?)?;
    let (signal, number) = (request.signal.0, request.signal.1.as_raw());
    pidfd_send_signal(&held, request.signal.1).map_err(|errno| match errno {
        Errno::SRCH => no_process(request.pid),
        errno => refused("refused", format!("the kernel does not let SIG{signal} go to {}: {errno}", target.label())),
    })?;
    let pid = target.stat.pid;
    tracing::info!(pid, name = target.stat.comm, signal, "signal sent");
    let said = Signalled { pid, process: target.stat.comm.clone(), signal: signal.to_owned() };
    // It was sent, whether that can be told or not.
    if let Err(error) = context.emit(&EventBody::new(SIGNALLED).body(said)) {
        tracing::warn!(pid, signal, %error, "that a signal was sent can't be told");
    }
    let started_at = shown(target.started_at);
    Ok(json!({"pid": pid, "name": target.stat.comm, "started_at": started_at, "signal": signal, "number": number}))
}

/// As table `processes` shows times.
fn shown(milliseconds: i64) -> String {
    let time = timestamp_ms_to_datetime(milliseconds).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string());
    time.unwrap_or_else(|| milliseconds.to_string())
}

fn refused(code: &str, why: String) -> Error {
    Error::from_parts(Status::REFUSED, ErrorBody::new(why)).code(code)
}

fn no_process(pid: Pid) -> Error {
    let why = format!("there is no process {}", pid.as_raw_pid());
    Error::from_parts(Status::NOT_FOUND, ErrorBody::new(why)).code("no_process")
}

/// What stays with the process, whoever has its number later.
fn hold(pid: Pid) -> Result<OwnedFd, Error> {
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| match errno {
        // The latter two: a thread's number, in older kernels and newer ones.
        Errno::SRCH | Errno::INVAL | Errno::NOENT => no_process(pid),
        Errno::NOSYS => {
            Error::with_status(Status::NOT_IMPLEMENTED, "this kernel can't hold a process: Linux 5.3 and later can")
        }
        errno => Error::new(format!("process {} can't be held: {errno}", pid.as_raw_pid())),
    })
}

/// Who would get the signal.
#[derive(Debug)]
struct Target {
    stat: Stat,
    /// Real, effective and saved.
    users: Vec<u32>,
    /// In milliseconds.
    started_at: i64,
}

/// Who sends it.
#[derive(Debug)]
struct Own {
    user: u32,
    /// The host, and all that it was started by.
    line: Vec<i32>,
}

impl Target {
    fn look(pid: Pid) -> Result<Self, Error> {
        let gone = |error: ProcError| match error {
            ProcError::NotFound(_) => no_process(pid),
            // Hidden, as some machines hide the processes of others.
            ProcError::PermissionDenied(_) => other_user(&format!("process {}", pid.as_raw_pid())),
            error => error.into(),
        };
        let process = Process::new(pid.as_raw_pid()).map_err(gone)?;
        let stat = process.stat().map_err(gone)?;
        let mut status = Vec::new();
        process.open_relative("status").map_err(gone)?.read_to_end(&mut status)?;
        let started_at = started_at(&stat, kernel_boot()?);
        Ok(Self { users: users(&String::from_utf8_lossy(&status)), started_at, stat })
    }

    /// Whether it may get the signal, and is who was meant.
    fn check(&self, request: &Request, own: &Own) -> Result<(), Error> {
        let label = self.label();
        let pid = self.stat.pid;
        if let Some(place) = own.line.iter().position(|&own| own == pid) {
            let what = if place == 0 { "is the host itself" } else { "started the host, or what started it" };
            return Err(refused("own_process", format!("{label} {what}: it gets no signals from here")));
        }
        // To some other user's process with this one's real number, `sudo` say, the kernel would let it go.
        if self.users.is_empty() || self.users.iter().any(|user| *user != own.user) {
            return Err(other_user(&label));
        }
        if StatFlags::from_bits_retain(self.stat.flags).contains(StatFlags::PF_KTHREAD) {
            return Err(refused("kernel_thread", format!("{label} is a thread of the kernel: it takes no signals")));
        }
        if matches!(self.stat.state, 'Z' | 'X' | 'x') {
            let why = format!("{label} has ended already; it is listed until its parent takes note");
            return Err(refused("ended", why));
        }
        if let Some(name) = request.name.as_ref().filter(|name| **name != self.stat.comm) {
            return Err(refused("not_the_process", format!("{label} is not {name:?}: nothing was sent")));
        }
        if let Some(meant) = request.started_at
            && meant.abs_diff(self.started_at) > SAME_START_MS.unsigned_abs()
        {
            let (found, meant) = (shown(self.started_at), shown(meant));
            let why = format!("{label} was started at {found}, not at {meant}: nothing was sent");
            return Err(refused("not_the_process", why));
        }
        Ok(())
    }

    fn label(&self) -> String {
        format!("process {} ({})", self.stat.pid, self.stat.comm)
    }
}

fn other_user(label: &str) -> Error {
    refused("other_user", format!("{label} has another user's rights: only the host's own user's get signals"))
}

/// The first three numbers of the line `Uid:`, in a process's `status`.
fn users(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().take(3).filter_map(|uid| uid.parse().ok()).collect()
}

impl Own {
    fn look() -> Result<Self, Error> {
        let unknown = |parent: i32, error: &ProcError| {
            let why = format!("it can't be told what started the host: process {parent} can't be looked at: {error}");
            Error::transient(format!("{why}; nothing was sent")).code("unknown_parents")
        };
        let mut line = vec![i32::try_from(std::process::id())?];
        let mut parent = i32::try_from(std::os::unix::process::parent_id())?;
        // 0 is what a process sees of a parent outside its container.
        while parent > 1 && line.len() < MOST_PARENTS {
            line.push(parent);
            let stat = Process::new(parent).and_then(|process| process.stat());
            parent = stat.map_err(|error| unknown(parent, &error))?.ppid;
        }
        Ok(Self { user: geteuid().as_raw(), line })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
