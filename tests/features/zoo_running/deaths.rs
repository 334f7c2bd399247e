//! A driver that takes the host with it.

use super::{FILE, datasources, runs_on};
use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::DirEntry;
use std::os::unix::process::ExitStatusExt;

const OTHER: &str = "fixture-driver-bb";

/// Beside another driver's datasource.
fn with_other(options: &str) -> String {
    format!("{}[datasource.other]\ndriver = '{OTHER}'\npoll = '50ms'\n", datasources(options))
}

/// Holds each source at its second poll until it is lit: a host has started by then, however slow the machine is.
struct Fuse(tempfile::TempDir);

impl Fuse {
    fn new() -> Self {
        let fuse = Self(tempfile::tempdir().unwrap());
        std::fs::write(fuse.0.path().join("end-1"), "").unwrap();
        fuse
    }

    /// What a source has to have, to do so at that poll.
    fn deadly(&self, fault: &str) -> String {
        with_other(&format!("after = 1\ngate = '{}'\nfault = {fault}", self.0.path().display()))
    }

    /// The host dies of it, of that signal; the next one is held again.
    fn light(&self, host: &mut Host, signal: i32) {
        let second = self.0.path().join("end-2");
        std::fs::write(&second, "").unwrap();
        assert_eq!(host.wait_end().signal(), Some(signal));
        std::fs::remove_file(second).unwrap();
    }
}

/// What the log says of a death.
fn told(host: &Host) -> Value {
    let said = "an earlier host died in a driver: the host died in its poll of datasource \"one\", by SIGABRT";
    let line = host.log().into_iter().find(|line| line["message"] == said);
    line.unwrap_or_else(|| panic!("no {said:?}"))
}

#[test]
fn inv08_a_death_is_named_at_the_next_start_and_the_second_keeps_its_bytes_out() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin(FILE));
    Fixture::new().id(OTHER).rename_into(&bed.plugin("libother.so"));
    let fuse = Fuse::new();
    let deadly = fuse.deadly("'poll_abort'");
    let mut host = bed.start(&deadly);
    fuse.light(&mut host, 6);
    // Once may be chance.
    let host = host.kill_and_start(&with_other(""));
    let death = told(&host);
    assert_eq!((&death["driver"], &death["version"], &death["deaths"]), (&ID.into(), &"0.1.0".into(), &1.into()));
    let hash = host.wait_plugin(FILE, "serving")["sha256"].as_str().unwrap().to_owned();
    assert_eq!(death["sha256"], *hash);
    runs_on(&host, 1);
    let history = host.run(&["plugin", "history", ID]);
    let said = format!("the host died in {ID} 0.1.0: in its poll of datasource \"one\", by SIGABRT");
    assert_eq!(history.out.lines().filter(|line| line.ends_with(&said)).count(), 1, "{history:?}");
    // Who is told to stop accuses nobody.
    let mut host = host.restart(&deadly);
    assert!(!host.log_text().contains("an earlier host died"));
    fuse.light(&mut host, 6);
    let host = host.kill_and_start(&deadly);
    assert_eq!(told(&host)["deaths"], 2);
    let held = host.wait_plugin(FILE, "refused");
    let reason = "the host died in its poll of datasource \"one\", by SIGABRT, for the 2. time";
    assert_eq!((&held["sha256"], &held["reason"]), (&hash.as_str().into(), &reason.into()));
    let waits = host.wait_datasource("one", "waiting for driver");
    assert_eq!(waits["error"], format!("no driver {ID:?} is loaded: plugins/{FILE} is refused: {reason}"));
    let (_, quarantine) = host.get("/v1/plugins/quarantine");
    assert_eq!((&quarantine["results"][0]["by"], &quarantine["results"][0]["sha256"]), (&"crash".into(), &hash.into()));
    // The other driver serves, and a good build is let in.
    host.wait_datasource("other", "running");
    let host = host.restart(&with_other(""));
    Fixture::new().revision(2).rename_into(&host.plugin(FILE));
    runs_on(&host, 2);
}

#[test]
fn inv08_after_two_deaths_in_a_new_build_the_kept_copy_of_the_one_before_serves() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin(FILE));
    Fixture::new().id(OTHER).rename_into(&bed.plugin("libother.so"));
    let deadly = with_other("fault = 'poll_abort'\nfault_of = 2\nafter = 10");
    let mut host = bed.start(&deadly);
    runs_on(&host, 1);
    // It serves well, until it does not.
    Fixture::new().revision(2).rename_into(&host.plugin(FILE));
    assert_eq!(host.wait_end().signal(), Some(6));
    let fuse = Fuse::new();
    let mut host = host.kill_and_start(&fuse.deadly("'poll_abort'\nfault_of = 2"));
    fuse.light(&mut host, 6);
    let host = host.kill_and_start(&deadly);
    runs_on(&host, 1);
    host.wait_plugin(FILE, "held back");
    host.wait_datasource("other", "running");
    let (_, quarantine) = host.get("/v1/plugins/quarantine");
    assert_eq!(quarantine["results"][0]["by"], "crash");
}

#[test]
fn inv07_a_death_in_a_thread_that_a_driver_started_is_named_and_the_second_keeps_its_bytes_out() {
    for (fault, number, signal) in [("thread_abort", 6, "SIGABRT"), ("thread_crash", 11, "SIGSEGV")] {
        let bed = Bed::new();
        Fixture::new().rename_into(&bed.plugin(FILE));
        Fixture::new().id(OTHER).rename_into(&bed.plugin("libother.so"));
        let fuse = Fuse::new();
        let deadly = fuse.deadly(&format!("'{fault}'"));
        let place = format!("a thread that it started itself, by {signal}");
        let told = |host: &Host, deaths: u32| {
            let said = format!("an earlier host died in a driver: the host died in {place}");
            let lines: Vec<_> = host.log().into_iter().filter(|line| line["message"] == said).collect();
            assert_eq!(lines.len(), 1, "{}", host.log_text());
            assert_eq!((&lines[0]["driver"], &lines[0]["deaths"]), (&ID.into(), &deaths.into()));
            lines[0]["sha256"].as_str().unwrap().to_owned()
        };
        let mut host = bed.start(&deadly);
        fuse.light(&mut host, number);
        let mut host = host.kill_and_start(&deadly);
        let hash = told(&host, 1);
        fuse.light(&mut host, number);
        let host = host.kill_and_start(&deadly);
        assert_eq!(told(&host, 2), hash);
        let held = host.wait_plugin(FILE, "refused");
        let reason = format!("the host died in {place}, for the 2. time");
        assert_eq!((&held["sha256"], &held["reason"]), (&hash.as_str().into(), &reason.as_str().into()));
        let history = host.run(&["plugin", "history", ID]);
        let said = format!("the host died in {ID} 0.1.0: in {place}");
        assert_eq!(history.out.lines().filter(|line| line.ends_with(&said)).count(), 2, "{history:?}");
        let explained = host.run(&["plugin", "explain", ID]).out;
        let brief = &hash[..12];
        let said = format!("plugins/{FILE} holds version 0.1.0 ({brief}), which is held back: {reason}");
        assert!(explained.lines().any(|line| line == said), "{explained}");
        let kept = host.run(&["plugin", "quarantine"]).out;
        assert!(kept.starts_with(brief) && kept.trim_end().ends_with(&format!(" by crash: {reason}")), "{kept}");
        host.wait_datasource("other", "running");
    }
}

#[test]
fn inv07_a_host_that_somebody_else_ends_accuses_nobody() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin(FILE));
    let mut host = bed.start(&datasources("fault = 'thread_abort'\nafter = 1000000"));
    runs_on(&host, 1);
    // As a watchdog does, and even when it comes to a thread that a driver started.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().map(|task| task.unwrap());
    // Others may end meanwhile.
    let of_driver = |task: &DirEntry| std::fs::read(task.path().join("comm")).is_ok_and(|comm| comm == b"falls\n");
    let thread = tasks.into_iter().find(of_driver).unwrap().file_name().into_string().unwrap();
    kill_process(Pid::from_raw(thread.parse().unwrap()).unwrap(), Signal::ABORT).unwrap();
    assert_eq!(host.wait_end().signal(), Some(6));
    let host = host.kill_and_start(&datasources(""));
    runs_on(&host, 1);
    assert!(!host.log_text().contains("an earlier host died"), "{}", host.log_text());
}
