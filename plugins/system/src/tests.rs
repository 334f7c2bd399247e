//! The driver as a host sees it, on the machine that the tests run on.
#![allow(clippy::unwrap_used)]

use super::System;
use crate::interfaces::Interface;
use crate::listeners::Listener;
use crate::load::Load;
use crate::memory::Memory;
use crate::mounts::Mount;
use crate::processes::Process;
use busway_plugin_api::arrow_schema::{DataType, TimeUnit};
use busway_plugin_api::serde_json::{Map, Value, json};
use busway_plugin_api::testing::{Polled, TestHost, TestSource};
use std::collections::HashSet;
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

fn open(options: Value) -> TestSource {
    TestHost::new().open::<System>(options).unwrap()
}

/// Polls until `found` finds something.
fn until<T>(source: &TestSource, found: impl Fn(&Polled) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found(&source.poll().unwrap()) {
            return found;
        }
        assert!(Instant::now() < deadline, "not seen before the deadline");
    }
}

fn process(polled: &Polled, pid: u32) -> Option<Process> {
    let rows: Vec<Process> = polled.rows("processes").unwrap();
    rows.into_iter().find(|row| u32::try_from(row.pid) == Ok(pid))
}

/// Ends its process in any case.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn its_description_keeps_the_rules() {
    let info = TestHost::describe::<System>().unwrap();
    let options: Vec<(&str, &Value)> = info.options.iter().map(|o| (o.name.as_str(), &o.default)).collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(
        options,
        [
            ("all_mounts", &no),
            ("stat_network_mounts", &no),
            ("processes", &yes),
            ("command_lines", &yes),
            ("signals", &yes)
        ]
    );
    assert!(info.options.iter().all(|option| !option.description.is_empty()));
    let events: Vec<&str> = info.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((events, info.events[0].problems()), (vec!["system.process.signalled"], vec![]));

    let tables = open(json!({})).tables().unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["mounts", "interfaces", "listeners", "load", "memory", "processes"]);
    assert_eq!(info.tables, tables[..5]);
    for table in &tables {
        assert_eq!(table.problems(), Vec::<String>::new());
        assert!(!table.description.is_empty() && !table.key.is_empty(), "{}", table.name);
    }
}

#[test]
fn keys_are_unique_in_every_table() {
    let source = open(json!({"all_mounts": true}));
    let polled = source.poll().unwrap();
    for table in source.tables().unwrap() {
        let rows: Vec<Map<String, Value>> = polled.rows(&table.name).unwrap();
        let mut keys = HashSet::new();
        for row in &rows {
            let key: Vec<String> = table.key.iter().map(|column| row[column].to_string()).collect();
            assert!(keys.insert(key.clone()), "{key:?} twice in {}", table.name);
        }
        assert!(!rows.is_empty() || table.name == "listeners", "{} is empty", table.name);
    }
}

#[test]
fn this_very_process() {
    let source = open(json!({}));
    let pid = std::process::id();
    let first = source.poll().unwrap();
    let own = process(&first, pid).unwrap();
    assert_eq!(own.name, std::fs::read_to_string("/proc/self/comm").unwrap().trim_end());
    let program: String = std::env::args().next().unwrap().chars().take(100).collect();
    assert!(own.command.as_ref().unwrap().starts_with(&program), "{own:?}");
    assert_eq!(u32::try_from(own.parent_pid), Ok(std::os::unix::process::parent_id()));
    assert!(own.memory_bytes > 0 && !own.user.is_empty());
    assert_eq!(own.cpu_percent, None, "nothing to compare with yet");

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let age = i64::try_from(now).unwrap() - own.started_at;
    assert!((-2_000..3_600_000).contains(&age), "started {age} ms ago");
    let batches = first.batches("processes").unwrap();
    let field = batches.schema.field_with_name("started_at").unwrap();
    assert_eq!(field.data_type(), &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));

    // The polls themselves are work enough to be seen.
    let later = until(&source, |polled| process(polled, pid).filter(|own| own.cpu_percent.is_some_and(|p| p > 0.0)));
    assert_eq!(later.started_at, own.started_at);
}

#[test]
fn a_child_comes_idles_and_goes() {
    let source = open(json!({}));
    source.poll().unwrap();
    let mut child = Ended(Command::new("sleep").arg("600").spawn().unwrap());
    let pid = child.0.id();
    // Between fork and exec it still has this process's name.
    let row = until(&source, |polled| process(polled, pid).filter(|row| row.name == "sleep"));
    assert_eq!(row.command.as_deref(), Some("sleep 600"));
    assert_eq!(row.parent_pid, i32::try_from(std::process::id()).unwrap());

    // One that does nothing is the same at each poll.
    let idle =
        |polled: &Polled| process(polled, pid).filter(|row| row.cpu_percent == Some(0.0) && row.state == "sleeping");
    let row = until(&source, idle);
    assert_eq!(idle(&source.poll().unwrap()), Some(row));

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert_eq!(process(&source.poll().unwrap(), pid), None);
}

#[test]
fn options_hide_command_lines_and_processes() {
    let source = open(json!({"command_lines": false}));
    let rows: Vec<Process> = source.poll().unwrap().rows("processes").unwrap();
    assert!(rows.iter().all(|row| row.command.is_none()));
    let source = open(json!({"processes": false}));
    assert!(source.poll().unwrap().rows::<Process>("processes").is_err());
}

#[test]
fn listeners_appear_with_their_process_and_go() {
    let source = open(json!({}));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets = [("tcp", tcp.local_addr().unwrap().port()), ("udp", udp.local_addr().unwrap().port())];
    let find = |(protocol, port): (&str, u16)| {
        let rows: Vec<Listener> = source.poll().unwrap().rows("listeners").unwrap();
        rows.into_iter().find(|row| (row.protocol.as_str(), row.port) == (protocol, port))
    };
    for socket in sockets {
        let row = find(socket).unwrap();
        assert_eq!(row.address, "127.0.0.1");
        assert_eq!(row.pid, i32::try_from(std::process::id()).ok());
        assert_eq!(row.process.as_deref(), Some(std::fs::read_to_string("/proc/self/comm").unwrap().trim_end()));
    }
    // Other tests fork: a child holds the sockets too until it has become another program.
    drop((tcp, udp));
    let gone = |polled: &Polled| {
        let rows: Vec<Listener> = polled.rows("listeners").unwrap();
        let left = rows.iter().any(|row| sockets.contains(&(row.protocol.as_str(), row.port)));
        (!left).then_some(())
    };
    until(&source, gone);
}

#[test]
fn mounts_with_their_use() {
    let rows: Vec<Mount> = open(json!({})).poll().unwrap().rows("mounts").unwrap();
    assert!(rows.iter().any(|row| row.total_bytes.is_some_and(|bytes| bytes > 0)), "{rows:?}");
    assert!(!rows.iter().any(|row| row.filesystem == "proc"));
    let rows: Vec<Mount> = open(json!({"all_mounts": true})).poll().unwrap().rows("mounts").unwrap();
    let proc = rows.iter().find(|row| row.path == "/proc").unwrap();
    assert_eq!((proc.filesystem.as_str(), proc.total_bytes), ("proc", None));
}

#[test]
fn the_loopback_is_an_interface() {
    let rows: Vec<Interface> = open(json!({})).poll().unwrap().rows("interfaces").unwrap();
    let lo = rows.iter().find(|row| row.name == "lo").unwrap();
    assert_eq!(lo.up, Some(true));
    assert!(lo.addresses.as_ref().unwrap().contains(&"127.0.0.1".to_owned()), "{lo:?}");
}

#[test]
fn one_row_of_load_and_of_memory() {
    let source = open(json!({}));
    let memory: Vec<Memory> = source.poll().unwrap().rows("memory").unwrap();
    assert!(matches!(&memory[..], [one] if one.total_bytes > 0), "{memory:?}");
    let busy = until(&source, |polled| {
        let load: Vec<Load> = polled.rows("load").unwrap();
        assert_eq!(load.len(), 1);
        load[0].cpu_percent
    });
    assert!((0.0..=100.0).contains(&busy));
}
