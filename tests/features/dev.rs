//! `busway dev`: what an author sees who edits a driver's source.

use crate::cli::{fails, json_of, out};
use busway_tests::host::Bed;
use busway_tests::running::Running;
use busway_tests::workspace::{root, target};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A new crate that builds with what is there already: nothing is fetched, and the dependencies are this workspace's.
fn author(bed: &Bed, name: &str) -> PathBuf {
    let sdk = root().join("plugin-api");
    out(bed.run(&["plugin", "new", name, "--sdk", sdk.to_str().unwrap()]));
    let folder = bed.path(name);
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    fs::create_dir(folder.join(".cargo")).unwrap();
    let profile = "[profile.dev]\ndebug = 'line-tables-only'\n[profile.dev.package.'*']\ndebug = false\n";
    fs::write(folder.join(".cargo/config.toml"), format!("[net]\noffline = true\n{profile}")).unwrap();
    folder
}

fn dev(bed: &Bed, folder: &Path, more: &[&str]) -> Command {
    let mut command = bed.command(&[&["dev", "--poll", "100ms", "--probation", "300ms"], more].concat());
    // A folder of its own for what it leaves.
    let temporary = bed.path("temporary");
    fs::create_dir_all(&temporary).unwrap();
    command.current_dir(folder).env("CARGO_TARGET_DIR", target()).env_remove("RUSTFLAGS").env("TMPDIR", temporary);
    command
}

/// Its lines up to one that begins so.
fn until(dev: &mut Running, begin: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = dev.line();
        lines.push(line.clone());
        assert!(lines.len() < 100, "no {begin:?}: {lines:#?}");
        if line.starts_with(begin) {
            return lines;
        }
    }
}

/// Saves the source with something else in it.
fn edit(folder: &Path, original: &str, from: &str, to: &str) {
    assert!(original.contains(from), "{from}");
    fs::write(folder.join("src/lib.rs"), original.replace(from, to)).unwrap();
}

fn is_nothing_left(bed: &Bed) -> bool {
    fs::read_dir(bed.path("temporary")).unwrap().count() == 0
}

#[test]
fn a_saved_source_is_a_reload_and_what_is_bad_changes_nothing() {
    let bed = Bed::new();
    let folder = author(&bed, "dev-shop");
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let mut dev = Running::start(dev(&bed, &folder, &[]));
    let serving = dev.line();
    let (url, rest) = serving.strip_prefix("Serving ").unwrap().split_once(", busway --host ").unwrap();
    let socket = rest.strip_suffix(" tables").unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{serving}");
    let row = |id: u32, text: &str| format!("+ greetings id={id} text=\"{text}\" protected=false");
    let lines = until(&mut dev, &row(3, "Hello, Ada!"));
    assert_eq!((lines[0].as_str(), lines[1].split(" in ").next()), ("Building dev-shop", Some("Built libdev_shop.so")));
    assert_eq!(
        lines[2..],
        ["Loaded dev-shop 0.1.0, generation 1", &row(1, "Hello, Ada!"), &row(2, "Hello, Ada!"), &row(3, "Hello, Ada!")]
    );

    edit(&folder, &source, "\"Hello, {}!\", options", "\"Good day, {}!\", options");
    assert_eq!(dev.line(), "Saved src/lib.rs");
    let lines = until(&mut dev, "Reloaded ");
    let changed = |id: u32| format!("~ greetings id={id} text=\"Hello, Ada!\"→\"Good day, Ada!\"");
    assert_eq!(lines[2..5], [changed(1), changed(2), changed(3)]);
    let reloaded = lines[5].strip_prefix("Reloaded dev-shop 0.1.0, generation 2 after 1, paused ").unwrap();
    assert!(reloaded.ends_with(" ms, gap=0 dup=0"), "{reloaded}");

    // What does not build is told by cargo, and the rows are those of before.
    edit(&folder, &source, "fn three() -> u32 {", "fn three() -> u32 { misspelt();");
    let lines = until(&mut dev, "Broken ");
    assert_eq!(lines, ["Saved src/lib.rs", "Building dev-shop", "Broken it does not build; generation 2 serves on"]);
    let polls = |what: &str| {
        let all = json_of(bed.run(&["--host", &socket, what, "_host/datasources", "-o", "json"]));
        (all["rows"][0]["polls"].as_u64().unwrap(), all["rows"][0]["generation"].clone())
    };
    let before = polls("rows").0;
    busway_tests::wait_for("polls to go on", || match polls("rows") {
        (polls, generation) if polls > before && generation == json!(2) => Ok(()),
        other => Err(format!("{other:?} after {before}")),
    });

    // What panics when it serves is taken back.
    let counted = "static POLLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);\n\
                   assert!(POLLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0, \"one is enough\");\n\
                   let mut rows = Vec::new();";
    edit(&folder, &source, "let mut rows = Vec::new();", counted);
    let lines = until(&mut dev, "Taken back ");
    let why = "Taken back dev-shop 0.1.0, generation 3 after 2: datasource \"dev-shop\" could not be polled with it: panicked: \
               one is enough (at src/lib.rs:";
    let last = lines.last().unwrap();
    assert!(last.starts_with(why) && last.ends_with("); generation 2 serves on"), "{lines:#?}");
    let rows = json_of(bed.run(&["--host", url, "rows", "dev-shop/greetings", "-o", "json"]));
    assert_eq!(rows["rows"][0], json!({"id": 1, "text": "Good day, Ada!", "protected": false}));

    dev.interrupt();
    let said = dev.end();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("error[E0425]: cannot find function `misspelt`"), "{}", said.err);
    assert!(said.err.contains("error panic: panicked: one is enough"), "{}", said.err);
    assert!(is_nothing_left(&bed));
}

#[test]
fn options_that_are_missing_are_named_and_may_come_later() {
    let bed = Bed::new();
    let folder = author(&bed, "dev-options");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let without = manifest.replace("options = { name = \"Ada\" }", "");
    fs::write(folder.join("Cargo.toml"), &without).unwrap();
    let mut dev = Running::start(dev(&bed, &folder, &["--option", "count=1", "-o", "jsonl"]));
    let mut next = |kind: &str| {
        let lines = until(&mut dev, &format!("{{\"kind\":\"{kind}\""));
        serde_json::from_str::<Value>(lines.last().unwrap()).unwrap()
    };
    let refused = next("refused");
    assert_eq!(refused["reason"], "dev-options: Missing required config options");
    assert_eq!(
        refused["why"],
        json!([
            "why: missing option \"name\" (string): Whom to greet.",
            "try: busway dev --option name=VALUE, or in Cargo.toml: [package.metadata.busway-dev] options = { name = … }"
        ])
    );
    fs::write(folder.join("Cargo.toml"), &manifest).unwrap();
    let row = next("rows");
    assert_eq!((&row["op"], &row["row"]["text"]), (&json!("add"), &json!("Hello, Ada!")));
    fs::write(folder.join("Cargo.toml"), manifest.replace("\"Ada\"", "\"Grace\"")).unwrap();
    let row = next("rows");
    assert_eq!((&row["op"], &row["new"]["text"]), (&json!("update"), &json!("Hello, Grace!")));
    dev.interrupt();
    assert_eq!(dev.end().code, Some(0));
    assert!(is_nothing_left(&bed));
}

/// A cargo whose builds never end; it notes which process it waits for. Answers where.
fn endless_cargo(bed: &Bed) -> (PathBuf, PathBuf) {
    let (script, noted) = (bed.path("cargo.sh"), bed.path("compiler"));
    let real = option_env!("CARGO").unwrap_or("cargo");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = build ] || exec {real} \"$@\"\nsleep 100 &\necho $! > {0}.next\nmv {0}.next {0}\nwait\n",
        noted.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    (script, noted)
}

/// The process that was noted.
fn compiler(noted: &Path) -> Pid {
    let pid = busway_tests::wait_for("a build", || fs::read_to_string(noted).map_err(|error| error.to_string()));
    fs::remove_file(noted).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
}

/// Whether a process does something still; one that nobody has waited for does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn whoever_ends_it_ends_the_build_too() {
    let bed = Bed::new();
    let folder = author(&bed, "dev-ended");
    let (cargo, noted) = endless_cargo(&bed);
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = dev(&bed, &folder, &[]);
        command.env("CARGO", &cargo);
        let dev = Running::start(command);
        let compiler = compiler(&noted);
        assert!(runs(compiler));
        dev.signal(signal);
        busway_tests::wait_for("the compiler to end", || {
            if runs(compiler) { Err(format!("{compiler:?} runs on")) } else { Ok(()) }
        });
        assert_eq!(dev.end().code, Some(0));
        assert!(is_nothing_left(&bed));
    }
}

#[test]
fn what_a_killed_one_left_goes_with_the_next_start_and_what_others_hold_stays() {
    let bed = Bed::new();
    let folder = author(&bed, "dev-killed");
    let (cargo, noted) = endless_cargo(&bed);
    let start = || {
        let mut command = dev(&bed, &folder, &[]);
        command.env("CARGO", &cargo);
        let mut dev = Running::start(command);
        assert!(dev.line().starts_with("Serving "));
        (dev, compiler(&noted))
    };
    let folders = || {
        let entries = fs::read_dir(bed.path("temporary")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<BTreeSet<_>>()
    };
    let (killed, orphan) = start();
    let left = folders();
    assert_eq!(left.len(), 1);
    killed.signal(Signal::KILL);
    // It could not do that itself; and as long as that runs, its standard error is open.
    kill_process(orphan, Signal::KILL).unwrap();
    assert_eq!(killed.end().code, None);
    assert_eq!(folders(), left);
    let (held, _) = start();
    assert!(folders().is_disjoint(&left) && folders().len() == 1, "{left:?} {:?}", folders());
    let holding = folders();
    let (other, _) = start();
    assert!(folders().is_superset(&holding) && folders().len() == 2);
    for dev in [held, other] {
        dev.interrupt();
        assert_eq!(dev.end().code, Some(0));
    }
    assert!(is_nothing_left(&bed));
}

#[test]
fn where_nothing_is_to_be_built_it_says_so_and_ends() {
    let bed = Bed::new();
    let folder = bed.path("plugins");
    let said = bed.run(&["dev", "plugins"]);
    let shown = fs::canonicalize(folder).unwrap();
    let what =
        format!("error: {} is no crate: there is no Cargo.toml in it, nor in a directory above it\n", shown.display());
    let remedy = "  try: `busway plugin new NAME` makes a crate; or name the directory of yours: busway dev DIR\n";
    fails(&said, 1, &(what + remedy));
    fails(&bed.run(&["dev", "nowhere"]), 1, "error: nowhere: no such file or directory\n");
}
