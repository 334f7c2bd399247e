//! The command line, as people and scripts use it: whole texts, exit codes.

use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host, Said};
use busway_tests::running::Running;
use busway_tests::workspace::root;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Polled once, and at each reload: what it shows stands still.
const ONE: &str = "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\n";

pub(crate) fn start(datasources: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(datasources);
    host.wait_row("_host", "tables", "table one/ticks", |row| row["table"] == "ticks");
    host.wait_plugin("libfixture.so", "serving");
    host
}

/// What a command that succeeds prints.
pub(crate) fn out(said: Said) -> String {
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
    said.out
}

pub(crate) fn json_of(said: Said) -> Value {
    serde_json::from_str(&out(said)).unwrap()
}

pub(crate) fn lines_of(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A command that fails says nothing but why.
pub(crate) fn fails(said: &Said, code: i32, error: &str) {
    assert_eq!((said.out.as_str(), said.err.as_str(), said.code), ("", error, Some(code)));
}

#[test]
fn tables_lists_what_there_is() {
    let host = start(ONE);
    let all = host.rows("_host", "tables").unwrap();
    let (own, shown): (Vec<Value>, Vec<Value>) = all.iter().cloned().partition(|row| row["service"] == "_host");
    let time = shown[0]["as_of"].as_str().unwrap();
    let text = out(host.run(&["tables"]));
    assert_eq!(
        text,
        format!(
            "table        rows  step  key  {:<width$}  description\none/numbers     3     1  id   {time}  Numbers of a \
             revision\none/ticks       1     1  id   {}\n",
            "as_of",
            shown[1]["as_of"].as_str().unwrap(),
            width = time.len()
        )
    );
    assert_eq!(json_of(host.run(&["tables", "--output", "json"])), json!({"schema_version": 1, "tables": shown}));
    assert_eq!(lines_of(&out(host.run(&["tables", "--output", "jsonl"]))), shown);
    // The host's own are hidden.
    let names: Vec<&str> = own.iter().map(|row| row["table"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasources", "generations", "plugins", "subscriptions", "tables"]);
    assert_eq!(lines_of(&out(host.run(&["tables", "--all", "-o", "jsonl"]))), all);
    let listed = out(host.run(&["tables", "--all"]));
    assert_eq!(listed.lines().filter(|line| line.starts_with("_host/")).count(), 5, "{listed}");
}

#[test]
fn rows_prints_a_table() {
    let host = start(ONE);
    let all = "id  revision\n 0         1\n 1         1\n 2         1\n";
    assert_eq!(out(host.run(&["rows", "one/numbers"])), all);
    assert_eq!(out(host.run(&["rows", "numbers"])), all, "only one service has a table of that name");
    let some = ["rows", "one/numbers", "--columns", "revision,id", "--limit", "2"];
    assert_eq!(out(host.run(&some)), "revision  id\n       1   0\n       1   1\n");
    let line = "{\"revision\":1,\"id\":0}\n{\"revision\":1,\"id\":1}\n";
    assert_eq!(out(host.run(&[&some[..], &["-o", "jsonl"]].concat())), line, "in the order that was asked for");
    let (_, whole) = host.get("/v1/services/one/tables/numbers/rows");
    let column = |name: &str| json!({"name": name, "type": "UInt32", "nullable": false, "description": ""});
    assert_eq!(
        json_of(host.run(&["rows", "one/numbers", "--limit", "1", "--output", "json"])),
        json!({
            "schema_version": 1, "service": "one", "table": "numbers", "epoch": whole["epoch"], "to": 1,
            "as_of": whole["as_of"], "key": ["id"], "columns": [column("id"), column("revision")], "total_rows": 3,
            "rows": [{"id": 0, "revision": 1}],
        })
    );
}

#[test]
fn names_that_are_not_there_are_answered_with_the_nearest() {
    let host = start(&format!("{ONE}[datasource.two]\ndriver = 'fixture-driver-aa'\npoll = 0\n"));
    host.wait_row("_host", "tables", "table two/ticks", |row| row["service"] == "two" && row["table"] == "ticks");
    for (arguments, error) in [
        (&["rows", "one/nmbers"][..], "error: no table one/nmbers\n  try: one/numbers, which is a near name\n"),
        (&["rows", "tiks"], "error: no table tiks\n  try: one/ticks, which is a near name\n"),
        (&["rows", "three/ticks"], "error: no table three/ticks\n  try: one/ticks, which is a near name\n"),
        (&["watch", "one/tick"], "error: no table one/tick\n  try: one/ticks, which is a near name\n"),
        (&["rows", "unheard-of"], "error: no table unheard-of\n  try: `busway tables --all` lists what there is\n"),
        (&["rows", "ticks"], "error: 2 services have a table ticks\n  why: they are one, two\n  try: one/ticks\n"),
        (
            &["rows", "one/ticks", "--columns", "id,pols"],
            "error: one/ticks has no column pols\n  why: its columns are id, polls\n  try: polls, which is a near name\n",
        ),
    ] {
        fails(&host.run(arguments), 4, error);
    }
}

#[test]
fn watch_prints_a_table_and_then_its_changes() {
    let host = start(&format!("{ONE}options = {{rows = 2}}\n"));
    let mut lines = Running::start(host.command(&["watch", "one/numbers", "--output", "jsonl", "--count", "2"]));
    let mut text = Running::start(host.command(&["watch", "one/numbers", "--count", "1"]));
    let snapshot: Value = serde_json::from_str(&lines.line()).unwrap();
    assert_eq!((&snapshot["op"], &snapshot["to"], &snapshot["key"]), (&json!("snapshot"), &json!(1), &json!(["id"])));
    assert_eq!(snapshot["rows"], json!([{"id": 0, "revision": 1}, {"id": 1, "revision": 1}]));
    let printed = [text.line(), text.line(), text.line()];
    assert_eq!(printed, ["id  revision", " 0         1", " 1         1"]);

    Fixture::new().revision(2).rename_into(&host.plugin("libfixture.so"));
    let update = |id: u32| {
        let row = |revision: u32| json!({"id": id, "revision": revision});
        json!({"op": "update", "epoch": snapshot["epoch"], "to": 2, "old": row(1), "new": row(2)})
    };
    assert_eq!(lines_of(&out(lines.end())), [update(0), update(1)]);
    let said = text.end();
    assert_eq!((said.out.as_str(), said.code), ("~ id=0 revision=1→2\n", Some(0)));
    assert_eq!(said.err, "one/numbers: 2 rows at step 1; changes follow\n");

    // A host's own table: a row that comes.
    host.wait_row("_host", "generations", "generation 2", |row| row["generation"] == 2);
    let mut added = Running::start(host.command(&["watch", "_host/generations", "-o", "jsonl"]));
    assert!(added.line().starts_with("{\"op\":\"snapshot\","));
    Fixture::new().revision(3).rename_into(&host.plugin("libfixture.so"));
    let mut changes = std::iter::repeat_with(|| serde_json::from_str::<Value>(&added.line()).unwrap());
    let add = changes.find(|change| change["op"] == "add").unwrap();
    assert_eq!(add["row"]["generation"], 3);
    // It has to prove itself first, for a moment.
    assert!(["on probation", "serving"].contains(&add["row"]["state"].as_str().unwrap()), "{add}");
}

#[test]
fn watch_ends_with_an_interrupt() {
    let host = start(ONE);
    let mut watch = Running::start(host.command(&["watch", "one/ticks", "-o", "jsonl"]));
    assert!(watch.line().starts_with("{\"op\":\"snapshot\","));
    watch.interrupt();
    let said = watch.end();
    assert_eq!((said.out.as_str(), said.err.as_str(), said.code), ("", "", Some(130)));
}

#[test]
fn a_host_that_does_not_answer_is_reported_with_all_that_was_tried() {
    const LAST: &str = "/run/busway/busway.sock";
    const SYSTEM: &str = "/etc/busway/busway.toml";
    let bed = Bed::new();
    let at = |name: &str| bed.path(name).display().to_string();
    let asked = "  try: check the address, or start a host with `busway run`\n";
    let (socket, here) = (at("nobody.sock"), at(""));
    let said = bed.run(&["tables", "--host", &socket]);
    fails(&said, 3, &format!("error: no host answers\n  why: {socket} (--host): there is no such socket\n{asked}"));
    let said = bed.run(&["tables", "--host", "http://127.0.0.1:1"]);
    let text = "error: no host answers\n  why: http://127.0.0.1:1 (--host): connection refused\n";
    fails(&said, 3, &format!("{text}{asked}"));
    let said = bed.run(&["tables"]);
    let socket = at("bus.sock");
    fails(
        &said,
        3,
        &format!("error: no host answers\n  why: {socket} (BUSWAY_HOST): there is no such socket\n{asked}"),
    );
    fails(
        &bed.run(&["tables", "--host", "https://gateway"]),
        2,
        "error: \"https://gateway\" is not a host's address: a host speaks plain HTTP; put a proxy or an ssh tunnel before \
         it\n  try: a socket's path (/run/busway/busway.sock) or an URL (http://127.0.0.1:1789)\n",
    );
    if Path::new(LAST).exists() || Path::new(SYSTEM).exists() {
        // This machine has a host of its own: the rest would find it.
        return;
    }
    bed.configure("");
    let nothing_named = |configured: bool| {
        let mut command = bed.command(&["tables"]);
        command.env_remove("BUSWAY_HOST").env("XDG_RUNTIME_DIR", &here).env("XDG_CONFIG_HOME", &here);
        if !configured {
            command.env_remove("BUSWAY_CONFIG");
        }
        Running::start(command).end()
    };
    let tried = format!(
        "  why: {here}busway.sock: there is no such socket\n  why: {LAST}: there is no such socket\n  try: start a host with \
         `busway run`, or name one: --host URL|PATH, or BUSWAY_HOST\n"
    );
    fails(&nothing_named(false), 3, &format!("error: no host answers\n{tried}"));
    let configured = "  why: bus.sock (the configuration): there is no such socket\n";
    fails(&nothing_named(true), 3, &format!("error: no host answers\n{configured}{tried}"));
    // It listens where its configuration says, and is found there.
    let host = bed.start("");
    let mut command = host.command(&["tables"]);
    command.env_remove("BUSWAY_HOST").env("BUSWAY_CONFIG", "busway.toml");
    assert_eq!(out(Running::start(command).end()), "table  rows  step  key\n");
}

#[test]
fn the_host_may_be_named_by_an_url() {
    let host = start(ONE);
    let named = |command: &mut Command, url: &str| command.env("BUSWAY_HOST", url).output().unwrap().stdout;
    let expected = b"id  polls\n 1      1\n";
    assert_eq!(named(&mut host.command(&["rows", "ticks"]), host.url()), expected);
    // What is asked for on the command line goes first.
    assert_eq!(named(&mut host.command(&["rows", "ticks", "--host", host.url()]), "nobody.sock"), expected);
}

#[test]
fn colour_is_there_only_when_asked_for() {
    let host = start(ONE);
    let coloured = |arguments: &[&str], variable: &str| {
        let mut command = host.command(&[&["tables"], arguments].concat());
        command.env_remove("NO_COLOR").env(variable, "1");
        out(Running::start(command).end()).contains('\u{1b}')
    };
    assert!(!coloured(&[], "UNSET"), "a pipe");
    assert!(!coloured(&[], "NO_COLOR"));
    assert!(coloured(&[], "CLICOLOR_FORCE"));
    assert!(coloured(&["--color", "always"], "NO_COLOR"));
    assert!(!coloured(&["--color", "never"], "CLICOLOR_FORCE"));
    let said = host.run(&["rows", "tiks", "--color", "always"]);
    assert_eq!(said.err, "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m no table tiks\n  try: one/ticks, which is a near name\n");
}

#[test]
fn version_and_help_say_what_scripts_and_authors_need() {
    let bed = Bed::new();
    let manifest = fs::read_to_string(root().join("plugin-api/abi/Cargo.toml")).unwrap();
    let contract = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"')).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(out(bed.run(&["--version"])), format!("busway {version} (driver contract {contract})\n"));
    let help = out(bed.run(&["--help"]));
    let codes = "\
Exit codes:
  0    done (also when a pipe's reader left early)
  1    failed
  2    the command line could not be understood
  3    no host answered
  4    the host has no such service, method, table, column or type of events
  5    the configuration is invalid
  6    a plugin was refused (check, plugin inspect, plugin reload, plugin test)
  7    a new build was taken back on probation (plugin reload)
  8    a new build is not in charge yet: tried again, or still being written (plugin reload)
  130  interrupted
";
    assert!(help.ends_with(codes), "{help}");
    let said = bed.run(&["tabels"]);
    assert_eq!((said.out.as_str(), said.code), ("", Some(2)));
    assert!(said.err.starts_with("error: unrecognized subcommand 'tabels'\n"), "{}", said.err);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let host = start(&format!("{ONE}options = {{rows = 5000}}\n"));
    for arguments in [
        &["rows", "one/numbers"][..],
        &["rows", "one/numbers", "-o", "json"],
        &["rows", "one/numbers", "-o", "jsonl"],
        &["watch", "one/numbers", "-o", "jsonl"],
        &["tables"],
        &["plugin", "list"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = host.command(arguments).stdout(writer).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((error.as_str(), output.status.code()), ("", Some(0)), "{arguments:?}");
    }
}

/// The demonstration, with a folder of its own for what it leaves.
fn demo(bed: &Bed, arguments: &[&str]) -> Command {
    fs::create_dir(bed.path("tmp")).unwrap();
    let mut command = bed.command(&[&["demo"], arguments].concat());
    command.env("TMPDIR", bed.path("tmp"));
    command
}

fn left_behind(bed: &Bed) -> Vec<String> {
    let entries = fs::read_dir(bed.path("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn demo_shows_this_machine_and_files_and_leaves_nothing() {
    let bed = Bed::new();
    let said = Running::start(demo(&bed, &["--for", "3s"])).end();
    let text = out(said);
    // A time stands before each.
    let news: Vec<&str> = text.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest)).collect();
    assert!(text.starts_with("busway demo · "), "{text}");
    assert!(news.contains(&"= files/orders 8 rows"), "{text}");
    assert!(news.contains(&"= files/sensors 4 rows"), "{text}");
    let processes = news.iter().find_map(|line| line.strip_prefix("= system/processes ")?.strip_suffix(" rows"));
    assert!(processes.is_some_and(|count| count.parse::<u32>().unwrap() > 1), "{text}");
    assert!(news.iter().any(|line| line.starts_with("~ files/") || line.starts_with("+ files/")), "{text}");
    assert_eq!(left_behind(&bed), [""; 0]);
}

#[test]
fn demo_that_is_interrupted_leaves_nothing_either() {
    let bed = Bed::new();
    let mut demo = Running::start(demo(&bed, &[]));
    assert!(demo.line().starts_with("busway demo · "));
    assert_eq!(left_behind(&bed).len(), 1);
    demo.interrupt();
    assert_eq!(demo.end().code, Some(130));
    assert_eq!(left_behind(&bed), [""; 0]);
}

#[test]
fn demo_without_drivers_says_where_it_looked() {
    let bed = Bed::new();
    let plugins = bed.path("plugins").display().to_string();
    fails(
        &bed.run(&["demo", "--plugins", &plugins]),
        1,
        &format!(
            "error: the driver system is not in {plugins}\n  try: `cargo build --release`, or name their directory: \
             --plugins DIR\n"
        ),
    );
}
