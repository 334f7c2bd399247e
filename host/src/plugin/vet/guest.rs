//! The host's side of a child: starts it, hears it out, and ends it and all that it started.

use super::last_words::LastWords;
use super::program::{MARKER, Program};
use super::wire::{Answer, Line, MOST, PROTOCOL, Stage, Task};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// What a child inherits: what the loader and the C library need to be the same as in the host.
const KEPT: [&str; 4] = ["LD_LIBRARY_PATH", "PATH", "TZ", "LANG"];

/// One that closed its channel gets so long to end.
const ENDING: Duration = Duration::from_secs(1);

/// So much noise is read at once, and so much a pipe holds.
const NOISE: usize = 4096;
const PIPE: usize = 1 << 16;

/// What came of a child.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trial {
    pub(super) ended: Ended,
    /// What it was at; none: it never came to the plugin.
    pub(super) stage: Option<Stage>,
    /// Of a check: when the last thing happened, as the end of a sentence.
    pub(super) step: Option<String>,
    pub(super) last_words: LastWords,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// It answered.
    Answered(Answer),
    /// By a signal.
    Killed(i32),
    /// By itself, without an answer.
    Left(Option<i32>),
    /// It closed its way to the host and went on.
    Mute,
    /// It was ended when its time was over.
    Overdue,
    /// It said what this host does not understand.
    Garbled(String),
}

/// Tries a plugin in a child process, and waits for its end; blocks that long. `scratch` is the child's own folder.
pub(super) fn try_in_child(program: &Program, task: &Task, timeout: Duration, scratch: &Path) -> io::Result<Trial> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program.path());
    command.arg0("busway-vet").arg(MARKER).arg(&task.staged).env_clear().current_dir(scratch).process_group(0);
    command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env("HOME", scratch).env("TMPDIR", scratch);
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // It holds the child's end of the channel.
    drop(command);
    let heard = Guest::new(&mut child, ours).and_then(|guest| {
        guest.tell(task)?;
        guest.hear_out(timeout)
    });
    end(&mut child, heard)
}

/// Whatever is left of the child ends here.
fn end(child: &mut Child, heard: io::Result<Heard>) -> io::Result<Trial> {
    // Before it is waited for: until then its number is nobody else's.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let status = child.wait();
    let Heard { why, stage, step, last_words } = heard?;
    let ended = match why {
        Why::Answer(answer) => Ended::Answered(answer),
        Why::Overdue => Ended::Overdue,
        Why::Mute => Ended::Mute,
        Why::Garbled(what) => Ended::Garbled(what),
        Why::Gone => {
            let status = status?;
            status.signal().map_or(Ended::Left(status.code()), Ended::Killed)
        }
    };
    Ok(Trial { ended, stage, step, last_words })
}

/// What was heard of a child until there was no more to wait for.
struct Heard {
    why: Why,
    stage: Option<Stage>,
    step: Option<String>,
    last_words: LastWords,
}

/// Why there is no more to wait for.
enum Why {
    Answer(Answer),
    /// Its process ended.
    Gone,
    Mute,
    Overdue,
    Garbled(String),
}

struct Guest {
    channel: UnixStream,
    noise: ChildStderr,
    /// Readable when the process has ended; copies of it may hold the channel open for longer.
    process: OwnedFd,
    read: Vec<u8>,
    greeted: bool,
    stage: Option<Stage>,
    step: Option<String>,
    last_words: LastWords,
}

impl Guest {
    fn new(child: &mut Child, channel: UnixStream) -> io::Result<Self> {
        let noise = child.stderr.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let process = Pid::from_child(child);
        // Linux before 5.3 has none, nor may a container's filter let it through.
        let process = pidfd_open(process, PidfdFlags::empty()).or_else(|_| when_ended(process))?;
        let (read, last_words) = (Vec::new(), LastWords::default());
        Ok(Self { channel, noise, process, read, greeted: false, stage: None, step: None, last_words })
    }

    fn tell(&self, task: &Task) -> io::Result<()> {
        let mut text = serde_json::to_vec(task)?;
        text.push(b'\n');
        match (&self.channel).write_all(&text) {
            // It has ended already: how is seen below.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            told => told,
        }
    }

    fn hear_out(mut self, timeout: Duration) -> io::Result<Heard> {
        let mut end = Instant::now() + timeout;
        let (mut channel_open, mut noise_open) = (true, true);
        let why = loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break if channel_open { Why::Overdue } else { Why::Mute };
            }
            // What is closed would be reported for ever.
            let process = self.process.as_fd();
            let channel = if channel_open { self.channel.as_fd() } else { process };
            let noise = if noise_open { self.noise.as_fd() } else { process };
            let mut fds = [process, channel, noise].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                done => done?,
            };
            let [gone, spoke, noisy] = fds.map(|fd| !fd.revents().is_empty());
            if noise_open && noisy {
                noise_open = self.hear_noise()?;
            }
            if channel_open && spoke {
                channel_open = self.hear_channel()?;
                if let Some(why) = self.understand() {
                    break why;
                }
                if !channel_open {
                    end = end.min(Instant::now() + ENDING);
                }
            } else if gone {
                // Nothing more of its own is on the way in the channel; of its noise, what fits into a pipe. Copies of it may
                // go on.
                for _ in 0..PIPE / NOISE {
                    noise_open = noise_open && ready(&self.noise)? && self.hear_noise()?;
                }
                break Why::Gone;
            }
        };
        Ok(Heard { why, stage: self.stage, step: self.step, last_words: self.last_words })
    }

    /// Reads what is there; false at its end.
    fn hear_noise(&mut self) -> io::Result<bool> {
        let mut buffer = [0; NOISE];
        let read = self.noise.read(&mut buffer)?;
        self.last_words.hear(&buffer[..read]);
        Ok(read > 0)
    }

    fn hear_channel(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 1 << 16];
        match self.channel.read(&mut buffer) {
            Ok(read) => {
                self.read.extend_from_slice(&buffer[..read]);
                Ok(read > 0)
            }
            // It ended with something of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes whole lines; answers why no more are needed, when they are not.
    fn understand(&mut self) -> Option<Why> {
        while let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=at).collect();
            match serde_json::from_slice(&line) {
                Ok(Line::Hello(PROTOCOL)) => self.greeted = true,
                Ok(Line::Hello(other)) => {
                    return Some(Why::Garbled(format!("it speaks protocol {other}, this host {PROTOCOL}")));
                }
                Ok(Line::Stage(stage)) => self.stage = Some(stage),
                Ok(Line::Step(step)) => self.step = Some(step),
                Ok(Line::Answer(answer)) if self.greeted => return Some(Why::Answer(answer)),
                Ok(Line::Answer(_)) => return Some(Why::Garbled("it answers before it greets".to_owned())),
                Err(error) => return Some(Why::Garbled(error.to_string())),
            }
        }
        (self.read.len() > MOST).then(|| Why::Garbled(format!("its answer is longer than {MOST} bytes")))
    }
}

/// What becomes readable when a child has ended, by a thread that waits for that; its status is left to whoever asks for it.
fn when_ended(child: Pid) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let wait = move || {
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        drop(theirs);
    };
    std::thread::Builder::new().name("vet-wait".to_owned()).spawn(wait)?;
    Ok(ours.into())
}

fn ready(fd: impl AsFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_systems_help_the_end_of_a_child_is_seen_too() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let ended = when_ended(Pid::from_child(&child)).unwrap();
        assert!(!ready(&ended).unwrap(), "it runs");
        drop(child.stdin.take());
        let mut fds = [PollFd::new(&ended, PollFlags::IN)];
        let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1);
        assert!(child.wait().unwrap().success(), "its status is still there");
    }
}
