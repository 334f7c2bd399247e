use super::*;
use crate::System;
use busway_plugin_api::testing::{TestHost, TestSource};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

fn open(options: Value) -> TestSource {
    TestHost::new().open::<System>(options).unwrap()
}

/// A process that does nothing, ended in any case.
struct Idle(Child);

impl Idle {
    fn new() -> Self {
        // Who runs the tests may have it that signals are ignored, as nohup does.
        Self::run(Command::new("env").args(["--default-signal", "sleep"]))
    }

    /// Waits until it is the other program.
    fn run(command: &mut Command) -> Self {
        let child = Self(command.arg("600").stdin(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::fs::read_to_string(format!("/proc/{}/comm", child.0.id())).unwrap().trim_end() != "sleep" {
            assert!(Instant::now() < deadline, "it never began");
            std::thread::yield_now();
        }
        child
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// Waits for its end, with a deadline.
    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::yield_now();
        }
    }

    /// Whether it goes on, and would have ended if the test's signal had come.
    fn untouched(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn refusal(source: &TestSource, args: Value) -> (Status, String) {
    let refused = source.execute(NAME, args.clone()).map(|sent| panic!("{args}: {sent}")).unwrap_err();
    (refused.status(), refused.to_string())
}

fn table_row(source: &TestSource, pid: i32) -> crate::processes::Process {
    let rows: Vec<crate::processes::Process> = source.poll().unwrap().rows("processes").unwrap();
    rows.into_iter().find(|row| row.pid == pid).unwrap()
}

#[test]
fn a_signal_by_name_or_number_reaches_its_process() {
    let source = open(json!({}));
    for (signal, name, number) in
        [(json!("TERM"), "TERM", 15), (json!("sigint"), "INT", 2), (json!(9), "KILL", 9), (json!("1"), "HUP", 1)]
    {
        let (mut idle, mut other) = (Idle::new(), Idle::new());
        let row = table_row(&source, idle.pid());
        let mut sent = source.execute(NAME, json!({"pid": idle.pid(), "signal": signal})).unwrap();
        let started_at = sent["started_at"].take();
        let started_at = time(Scalar::Text(started_at.as_str().unwrap().to_owned())).unwrap();
        assert!(started_at.abs_diff(row.started_at) <= SAME_START_MS.unsigned_abs());
        let expected =
            json!({"pid": idle.pid(), "name": "sleep", "started_at": null, "signal": name, "number": number});
        assert_eq!(sent, expected);
        assert_eq!(idle.ended().signal(), Some(number));
        assert!(other.untouched());
    }
}

#[test]
fn one_that_is_described_otherwise_is_left_alone() {
    let source = open(json!({}));
    let mut idle = Idle::new();
    let pid = idle.pid();
    let started = Target::look(Pid::from_raw(pid).unwrap()).unwrap().started_at;
    let refused = |args: Value| refusal(&source, args);
    let hour = 3_600_000;
    assert_eq!(
        refused(json!({"pid": pid, "signal": "KILL", "name": "slee"})),
        (Status::REFUSED, format!("process {pid} (sleep) is not \"slee\": nothing was sent"))
    );
    let why = format!("was started at {}, not at {}: nothing was sent", shown(started), shown(started - hour));
    for earlier in [json!(started - hour), json!(shown(started - hour))] {
        assert_eq!(
            refused(json!({"pid": pid, "signal": "KILL", "started_at": earlier})),
            (Status::REFUSED, format!("process {pid} (sleep) {why}"))
        );
    }
    assert!(idle.untouched());
    let exact = json!({"pid": pid.to_string(), "signal": "KILL", "name": "sleep", "started_at": shown(table_row(&source, pid).started_at)});
    assert_eq!(source.execute(NAME, exact).unwrap()["pid"], pid);
    assert_eq!(idle.ended().signal(), Some(9));
}

#[test]
fn the_host_and_what_started_it_are_left_alone() {
    let source = open(json!({}));
    // A signal that would do nothing, were it sent.
    let refused = |pid: u32| refusal(&source, json!({"pid": pid, "signal": "WINCH"}));
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end().to_owned();
    let (own, parent) = (std::process::id(), std::os::unix::process::parent_id());
    let why = format!("process {own} ({}) is the host itself: it gets no signals from here", name(own));
    assert_eq!(refused(own), (Status::REFUSED, why));
    let why = "started the host, or what started it: it gets no signals from here";
    assert_eq!(refused(parent), (Status::REFUSED, format!("process {parent} ({}) {why}", name(parent))));
    let line = Own::look().unwrap().line;
    let of = |pid: i32| Process::new(pid).unwrap().stat().unwrap().ppid;
    assert!(line.windows(2).all(|two| of(two[0]) == two[1]), "{line:?}");
    assert!(of(line[line.len() - 1]) <= 1, "{line:?} ends at the top");
}

#[test]
fn what_is_not_there_or_ended_is_told_so() {
    let source = open(json!({}));
    let mut idle = Idle::new();
    let pid = idle.pid();
    idle.0.kill().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let ended = format!("process {pid} (sleep) has ended already; it is listed until its parent takes note");
    // Nobody has waited for it; it may take a moment to die.
    while refusal_or_sent(&source, pid) != Err((Status::REFUSED, ended.clone())) {
        assert!(Instant::now() < deadline, "it goes on");
    }
    idle.0.wait().unwrap();
    let args = json!({"pid": pid, "signal": "CONT"});
    assert_eq!(refusal(&source, args), (Status::NOT_FOUND, format!("there is no process {pid}")));
    // A thread's number is no process's.
    let (told, hears) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        told.send(rustix::thread::gettid().as_raw_pid()).unwrap();
        ends.recv()
    });
    let tid = hears.recv().unwrap();
    let args = json!({"pid": tid, "signal": "CONT"});
    assert_eq!(refusal(&source, args), (Status::NOT_FOUND, format!("there is no process {tid}")));
    drop(end);
    assert!(thread.join().unwrap().is_err());
}

fn refusal_or_sent(source: &TestSource, pid: i32) -> Result<Value, (Status, String)> {
    source.execute(NAME, json!({"pid": pid, "signal": "CONT"})).map_err(|e| (e.status(), e.to_string()))
}

#[test]
fn wrong_arguments_are_all_named_at_once() {
    let source = open(json!({}));
    let (status, text) = refusal(&source, json!({"pid": 1, "signal": "TREM", "started_at": "noon"}));
    let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
    let expected = format!(
        "the arguments of \"signal_process\" are wrong: argument \"pid\" takes the number of one process, above 1, got 1; \
         argument \"signal\": \"TREM\" is no signal: there are {}, and their numbers; argument \"started_at\" takes a time \
         like \"2026-01-31T10:00:00.25Z\", or milliseconds since 1970, got \"noon\"",
        names.join(", ")
    );
    assert_eq!((status, text), (Status::INVALID, expected));
    for pid in [json!(0), json!(-1), json!(-77), json!(1_i64 << 40), json!("self"), json!("")] {
        let (status, text) = refusal(&source, json!({"pid": pid, "signal": "TERM"}));
        let expected = format!("takes the number of one process, above 1, got {pid}");
        assert!(status == Status::INVALID && text.ends_with(&expected), "{text}");
    }
    for signal in [json!(0), json!(65), json!(-9), json!("")] {
        assert_eq!(refusal(&source, json!({"pid": 77, "signal": signal})).0, Status::INVALID);
    }
}

#[test]
fn every_signal_has_one_name_and_one_number() {
    for (name, known) in SIGNALS {
        for form in [Scalar::Text(format!("SIG{name}")), Scalar::Number(known.as_raw().into())] {
            assert_eq!(signal(form), Ok((name, known)));
        }
    }
}

#[test]
fn the_action_can_be_switched_off() {
    let mut idle = Idle::new();
    let off = open(json!({"signals": false}));
    let why = "option \"signals\" of this datasource is false: nothing was sent";
    assert_eq!(refusal(&off, json!({"pid": idle.pid(), "signal": "KILL"})), (Status::REFUSED, why.to_owned()));
    assert!(idle.untouched());
}

/// What it looks like when it belongs to somebody else, or to the kernel.
#[test]
fn others_processes_are_left_alone() {
    let idle = Idle::new();
    let pid = Pid::from_raw(idle.pid()).unwrap();
    let request = Request { pid, signal: ("TERM", Signal::TERM), name: None, started_at: None };
    let own = Own::look().unwrap();
    let said = |change: &dyn Fn(&mut Target)| {
        let mut target = Target::look(pid).unwrap();
        change(&mut target);
        target.check(&request, &own).map_err(|refused| refused.to_string())
    };
    assert_eq!(said(&|_| {}), Ok(()));
    let pid = idle.pid();
    let other = format!("process {pid} (sleep) has another user's rights: only the host's own user's get signals");
    for users in [vec![], vec![own.user + 1; 3], vec![own.user, own.user + 1, own.user], vec![own.user + 1, own.user]] {
        assert_eq!(said(&|target| target.users.clone_from(&users)), Err(other.clone()), "{users:?}");
    }
    let kernel = format!("process {pid} (sleep) is a thread of the kernel: it takes no signals");
    assert_eq!(said(&|target| target.stat.flags |= StatFlags::PF_KTHREAD.bits()), Err(kernel));
    assert_eq!(users("Name:\tx\nUid:\t1000\t0\t7\t1\n"), [1000, 0, 7]);

    // Only the first user may become another.
    if own.user == 0 {
        let mut idle = Idle::run(Command::new("sleep").uid(65534).gid(65534));
        let pid = idle.pid();
        let why = format!("process {pid} (sleep) has another user's rights: only the host's own user's get signals");
        assert_eq!(refusal(&open(json!({})), json!({"pid": pid, "signal": "KILL"})), (Status::REFUSED, why));
        assert!(idle.untouched());
    }
}

#[test]
fn that_one_was_sent_is_told_and_what_was_not_is_not() {
    let host = TestHost::new();
    let source = host.open::<System>(json!({})).unwrap();
    // Nothing is told in standby.
    source.activate().unwrap();
    let mut idle = Idle::new();
    refusal(&source, json!({"pid": idle.pid(), "signal": "TERM", "name": "other"}));
    assert!(host.events().is_empty());
    source.execute(NAME, json!({"pid": idle.pid(), "signal": "TERM"})).unwrap();
    assert_eq!(idle.ended().signal(), Some(15));
    let said = json!({"pid": idle.pid(), "process": "sleep", "signal": "TERM"});
    assert_eq!(host.events(), [EventBody::new("system.process.signalled").body(said)]);
}
