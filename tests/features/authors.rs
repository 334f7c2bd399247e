//! What authors have: a crate to begin with, and a suite that tells what is wrong with a driver. Each of its checks is seen to
//! fail.

use crate::cli::{fails, json_of, out};
use busway_tests::animal::Animal;
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Said};
use busway_tests::workspace::{cargo, driver, root, target};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const NAMES: [&str; 29] = [
    "bytes",
    "note",
    "load",
    "contract",
    "describe",
    "panic_guard",
    "process",
    "describe_again",
    "options_unknown",
    "options_missing",
    "options_type",
    "open_close",
    "poll_twice",
    "cancel_in_poll",
    "standby",
    "full_queue",
    "pause_resume",
    "reload_in_poll",
    "state_round_trip",
    "state_garbage",
    "action_unknown",
    "action_arguments",
    "action_bare",
    "cancel_in_action",
    "webhook_garbage",
    "drop_order",
    "thread_leak",
    "descriptor_leak",
    "process_in_use",
];

/// Puts a file through the suite, or some checks of it.
fn test(bed: &Bed, file: &Path, more: &[&str]) -> Said {
    bed.run(&[&["plugin", "test", file.to_str().unwrap(), "-o", "json"], more].concat())
}

fn checks(said: &Said) -> Vec<Value> {
    let document: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    document["checks"].as_array().unwrap().clone()
}

fn outcome_of<'a>(checks: &'a [Value], name: &str) -> (&'a str, &'a str) {
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {checks:?}"));
    (check["outcome"].as_str().unwrap(), check["reason"].as_str().unwrap_or_default())
}

/// Without the line of the driver's source: that changes.
fn placeless(reason: &str) -> String {
    let Some((before, rest)) = reason.split_once(" (at ") else { return reason.to_owned() };
    let (place, after) = rest.split_once(')').unwrap();
    assert!(place.starts_with("tests/fixtures/careless/src/lib.rs:"), "{place}");
    format!("{before}{after}")
}

/// A check fails of a mistake, says why, and without the mistake it does not.
fn seen_to_fail(fault: &str, check: &str, reason: &str) {
    let bed = Bed::new();
    let fault = format!("fault={fault}");
    let said = test(
        &bed,
        &driver("careless"),
        &["--option", "name=x", "--option", &fault, "--check", check, "--timeout", "3s"],
    );
    let found = checks(&said);
    let (outcome, why) = outcome_of(&found, check);
    assert_eq!((outcome, placeless(why).as_str()), ("failed", reason), "{fault}");
    let file = driver("careless").display().to_string();
    assert_eq!((said.code, said.err), (Some(6), format!("error: {file} failed {check}\n")));
}

#[test]
fn a_driver_without_a_mistake_passes_all_checks() {
    let bed = Bed::new();
    let file = driver("careless");
    let junit = bed.path("report.xml");
    let options = ["--option", "name=x", "--option", "fault=patient", "--junit", junit.to_str().unwrap()];
    let said = test(&bed, &file, &options);
    let found = checks(&said);
    let names: Vec<&str> = found.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    for check in &found {
        assert_eq!(check["outcome"], "passed", "{check}");
        let is_noted = check["name"].as_str().is_some_and(|name| name.starts_with("cancel_in_"));
        assert!(check["reason"].is_null() || is_noted, "{check}");
    }
    assert!(outcome_of(&found, "cancel_in_poll").1.ends_with("cancelled after it, the next one was well"), "{found:?}");
    assert_eq!(outcome_of(&found, "cancel_in_action").1, "over before it could be cancelled: \"count\"");
    let whole = json_of(said);
    assert_eq!((&whole["driver"], &whole["version"]), (&json!("careless"), &json!("0.1.0")));
    let junit = fs::read_to_string(junit).unwrap();
    assert!(
        junit.contains("<testsuite name=\"careless 0.1.0\" tests=\"29\" failures=\"0\" errors=\"0\" skipped=\"0\"")
    );
    // As people read it; and a poll that is cancelled in its middle.
    for (fault, check) in [("fault=slow", "cancel_in_poll"), ("fault=busy", "cancel_in_action")] {
        let arguments = ["--option", "name=x", "--option", fault, "--check", check];
        let text = out(bed.run(&[&["plugin", "test", file.to_str().unwrap()], &arguments[..]].concat()));
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words[..6], ["check", "outcome", "ms", "reason", check, "passed"], "{text}");
        assert_eq!(words[7], "-");
    }
}

#[test]
fn a_driver_that_ships_passes() {
    let bed = Bed::new();
    let said = test(&bed, &driver("push"), &["--option", "columns=a,b"]);
    let found = checks(&said);
    let failed: Vec<&Value> = found.iter().filter(|check| check["outcome"] == "failed").collect();
    assert_eq!((failed, said.code), (vec![], Some(0)));
    assert_eq!(outcome_of(&found, "state_garbage"), ("skipped", "it hands over no state"));
    assert_eq!(outcome_of(&found, "options_missing"), ("skipped", "it requires no option"));
    assert_eq!(outcome_of(&found, "action_bare"), ("skipped", "it has no action"));
    assert_eq!(outcome_of(&found, "webhook_garbage"), ("skipped", "it takes no webhooks"));
}

#[test]
fn options_are_given_as_to_a_datasource() {
    let bed = Bed::new();
    fs::write(bed.path("options.json"), "{\"name\": \"from the file\", \"fault\": \"slow\"}").unwrap();
    fs::write(bed.path("secret"), "hunter2\n").unwrap();
    let secret = format!("password=${{file:{}}}", bed.path("secret").display());
    let opens = ["--check", "open_close"];
    let all = ["--config-json", "@options.json", "--option", "fault=none", "--option", &secret];
    let said = test(&bed, &driver("careless"), &[&all[..], &opens].concat());
    assert_eq!((outcome_of(&checks(&said), "open_close"), said.code), (("passed", ""), Some(0)));
    let refused = |arguments: &[&str], what: &str| {
        let file = driver("careless").display().to_string();
        let said = bed.run(&[&["plugin", "test", &file], arguments].concat());
        let remedy = format!("try: `busway plugin inspect {file}` and the driver's documentation");
        fails(&said, 2, &format!("error: Invalid driver options: {what}\n  {remedy}\n"));
    };
    // Of a type that a text can't be, and a file that is not there.
    refused(&["--config-json", "{\"name\": [1]}"], "option \"name\" takes a string, got [1]");
    let why = "/name: the file /nowhere can't be read: No such file or directory (os error 2)";
    refused(&["--option", "name=${file:/nowhere}"], why);
}

#[test]
fn without_options_it_says_what_to_give() {
    let bed = Bed::new();
    let file = driver("careless");
    let said = test(&bed, &file, &[]);
    let found = checks(&said);
    assert_eq!(outcome_of(&found, "options_missing"), ("passed", ""));
    for name in &NAMES[11..] {
        assert_eq!(outcome_of(&found, name), ("skipped", "a source needs options: give --option name=VALUE"));
    }
    assert_eq!(said.code, Some(0));
    let path = file.display();
    let wrong = "error: Invalid driver options: ";
    let said = test(&bed, &file, &["--option", "name=x", "--option", "nmae=y"]);
    assert!(said.err.starts_with(wrong) && said.err.contains("unknown option \"nmae\""), "{}", said.err);
    assert!(said.err.ends_with(&format!("try: `busway plugin inspect {path}` and the driver's documentation\n")));
    assert_eq!(said.code, Some(2));
    let said = test(&bed, Path::new("none.so"), &[]);
    assert_eq!((said.code, said.err.starts_with("error: none.so: ")), (Some(1), true), "{}", said.err);
}

/// The checks that a host makes as well: what failed, what passed before it, and nothing behind it was done.
fn stopped_at(name: &str, make: impl FnOnce(&Path)) {
    let bed = Bed::new();
    let file = bed.plugin("bad.so");
    make(&file);
    let said = test(&bed, &file, &["--timeout", "3s"]);
    let found = checks(&said);
    assert_eq!(said.code, Some(6));
    let at = NAMES.iter().position(|known| *known == name).unwrap();
    for (index, check) in found.iter().enumerate() {
        let expected = match index {
            before if before < at => "passed",
            here if here == at => "failed",
            _ => "skipped",
        };
        assert_eq!(check["outcome"], expected, "{name}: {check}");
    }
    assert_eq!(found.len(), NAMES.len());
}

#[test]
fn each_check_before_loading_is_seen_to_fail() {
    stopped_at("bytes", |file| fs::write(file, "no library").unwrap());
    stopped_at("note", |file| Animal::constructed("bad", "").noteless().put(file));
    stopped_at("load", |file| Animal::constructed("bad", "abort();").put(file));
    stopped_at("contract", |file| Animal::constructed("bad", "").put(file));
    stopped_at("describe", |file| Fixture::new().fault("describe", "panic").rename_into(file));
    stopped_at("panic_guard", |file| {
        Fixture::new().replace("\"panic\":\"unwind\"", "\"panic\":\"abort\" ").rename_into(file)
    });
    stopped_at("process", |file| Fixture::new().fault("load", "chdir").rename_into(file));
}

#[test]
fn a_description_that_changes_is_seen_to_fail() {
    let bed = Bed::new();
    let bytes = fs::read(driver("careless")).unwrap();
    let marker = b"CARELESS;describe=good.";
    let at = memchr::memmem::find(&bytes, marker).unwrap();
    let again = [&bytes[..at], b"CARELESS;describe=again", &bytes[at + marker.len()..]].concat();
    fs::write(bed.plugin("again.so"), again).unwrap();
    let said = test(&bed, &bed.plugin("again.so"), &["--check", "describe_again"]);
    let found = checks(&said);
    let (outcome, reason) = outcome_of(&found, "describe_again");
    assert_eq!((outcome, said.code), ("failed", Some(6)));
    assert!(reason.starts_with("it describes itself otherwise when asked again: tables was [{"), "{reason}");
}

#[test]
fn checks_of_running_sources_are_seen_to_fail() {
    seen_to_fail("close_error", "open_close", "it can't be closed: the lock file is gone");
    seen_to_fail("one_poll", "poll_twice", "a poll fails: the cursor is at its end");
    seen_to_fail(
        "abort",
        "poll_twice",
        "tried in a child process, it was killed by SIGABRT while it was polled, and would have taken the host with it",
    );
    seen_to_fail(
        "hang",
        "poll_twice",
        "tried in a child process, it was not done within 3s: it stopped while it was polled; if it only needs longer, raise \
         --timeout",
    );
    seen_to_fail(
        "deaf",
        "cancel_in_poll",
        "a poll goes on for more than 2 s after it was cancelled: ask Context::cancelled in long loops, and sleep with \
         Context::sleep",
    );
    seen_to_fail(
        "eager",
        "standby",
        "it publishes in standby (1 times, before it was activated): until then another source may serve the tables",
    );
    seen_to_fail("paused", "pause_resume", "after it was resumed, a poll fails: it is paused");
    seen_to_fail(
        "restless",
        "pause_resume",
        "it publishes while it is paused: another source may serve the tables then",
    );
}

#[test]
fn checks_of_moving_sources_are_seen_to_fail() {
    seen_to_fail(
        "alone",
        "reload_in_poll",
        "beside an open source of the same datasource, it does not open: port 514 is taken; if only one can be open, say so: \
         Driver::OVERLAP",
    );
    seen_to_fail(
        "forgetful",
        "state_round_trip",
        "a state does not survive being handed over twice without a poll between: given {\"polls\":1}, it hands over \
         {\"polls\":0}",
    );
    seen_to_fail("wellread", "state_garbage", "it takes a state of version 4294967295, which it does not read");
    seen_to_fail(
        "clinging",
        "drop_order",
        "something of it still holds its host 1 s after it was closed and dropped: a thread, or a static",
    );
    seen_to_fail(
        "thread",
        "thread_leak",
        "4 sources that were closed left threads: 4 (\"careless\", \"careless\", \"careless\", \"careless\"); end and join them \
         in close",
    );
    seen_to_fail(
        "file",
        "descriptor_leak",
        "4 sources that were closed left files open: 4 (/dev/zero, /dev/zero, /dev/zero, /dev/zero); close them in close",
    );
    seen_to_fail(
        "folder",
        "process_in_use",
        "in use it changes the folder that the process runs in, to /proc: a driver shares the host's process and leaves it as \
         it is",
    );
}

#[test]
fn checks_of_what_it_is_asked_are_seen_to_fail() {
    seen_to_fail("obliging", "action_unknown", "it takes an action that it does not declare for well");
    seen_to_fail(
        "stuck",
        "action_bare",
        "tried in a child process, it was not done within 3s: it stopped while action \"count\" ran; if it only needs longer, \
         raise --timeout",
    );
    seen_to_fail(
        "stuck",
        "cancel_in_action",
        "action \"count\" goes on for more than 2 s after it was cancelled: ask Context::cancelled in long loops, and sleep with \
         Context::sleep",
    );
    let panicked = |text: &str| format!("as its code panicked: panicked: {text}");
    seen_to_fail(
        "brittle",
        "action_arguments",
        &format!("it does not bear null as an argument of action \"rename\", {}", panicked("careless expects a text")),
    );
    seen_to_fail(
        "touchy",
        "action_bare",
        &format!("action \"count\" fails without arguments, {}", panicked("careless was touched")),
    );
    seen_to_fail(
        "credulous",
        "webhook_garbage",
        &format!("it does not refuse the webhook null, {}", panicked("careless expects an event")),
    );
    seen_to_fail(
        "boastful",
        "webhook_garbage",
        "it says that the webhook null updated table \"everything\", which is none of its tables",
    );
}

#[test]
fn panics_and_what_comes_too_late_are_seen_to_fail() {
    let begins = |fault: &str, check: &str, begin: &str| {
        let bed = Bed::new();
        let fault = format!("fault={fault}");
        let said = test(&bed, &driver("careless"), &["--option", "name=x", "--option", &fault, "--check", check]);
        let found = checks(&said);
        let (outcome, reason) = outcome_of(&found, check);
        assert_eq!((outcome, said.code), ("failed", Some(6)), "{fault}: {reason}");
        assert!(reason.starts_with(begin), "{reason}");
    };
    begins("impatient", "full_queue", "it does not bear subscribers, as its code panicked: ");
    begins("trusting", "state_garbage", "it does not refuse the state null of version 1, as its code panicked: ");
    begins("late", "drop_order", "it publishes after it was closed (");
}

#[test]
fn a_new_crate_builds_tests_and_loads() {
    let bed = Bed::new();
    let sdk = root().join("plugin-api");
    let text = out(bed.run(&["plugin", "new", "web-shop", "--path", "made/shop", "--sdk", sdk.to_str().unwrap()]));
    assert_eq!(
        text,
        "made made/shop: driver web-shop, with a table, options, an action and tests\nnext:\n  cd made/shop\n  busway dev\n  \
         cargo test\n  cargo build --release\n  busway plugin test target/release/libweb_shop.so --option name=Ada\n  busway run --plugins \
         target/release\n"
    );
    let folder = bed.path("made/shop");
    // Nothing is fetched: the versions are those of this workspace, and so is what is built of them.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let same =
        ["--config", "profile.dev.debug=\"line-tables-only\"", "--config", "profile.dev.package.\"*\".debug=false"];
    cargo(&folder, &[&["test", "--quiet"][..], &same].concat());
    cargo(&folder, &[&["build", "--quiet"][..], &same].concat());
    let library = target().join("debug/libweb_shop.so");
    let said = test(&bed, &library, &["--option", "name=Ada"]);
    let found = checks(&said);
    let failed: Vec<&Value> = found.iter().filter(|check| check["outcome"] == "failed").collect();
    assert_eq!((failed, said.code), (vec![], Some(0)));
    fs::copy(&library, bed.plugin("libweb_shop.so")).unwrap();
    let host =
        bed.start("[datasource.shop]\ndriver = 'web-shop'\npoll = '1s'\noptions = { name = 'Ada', count = 1 }\n");
    let row = host.wait_row("shop", "greetings", "a greeting", |_| true);
    assert_eq!(row, json!({"id": 1, "text": "Hello, Ada!", "protected": false}));
}

#[test]
fn a_new_crate_takes_nothing_s_place() {
    let bed = Bed::new();
    fs::create_dir(bed.path("taken")).unwrap();
    let there = "it is there already, and nothing in it was changed: name another directory with --path";
    fails(&bed.run(&["plugin", "new", "taken"]), 1, &format!("error: taken: {there}\n"));
    assert_eq!(fs::read_dir(bed.path("taken")).unwrap().count(), 0);
    let id = "a lower-case letter, then at most 63 of a-z, 0-9, - and _";
    let said = bed.run(&["plugin", "new", "Web Shop"]);
    fails(&said, 2, &format!("error: \"Web Shop\" can't be a driver's id\n  try: {id}\n"));
    assert!(!bed.path("Web Shop").exists());
    let said = bed.run(&["plugin", "new", "shop", "--sdk", "taken"]);
    let why = "these are not the sources of busway-plugin-api: name its directory, plugin-api";
    fails(&said, 1, &format!("error: taken: {why}\n"));
    assert!(!bed.path("shop").exists());
    assert_eq!(
        json_of(bed.run(&["plugin", "new", "shop", "-o", "json"])),
        json!({
            "schema_version": 1, "driver": "shop", "path": "shop",
            "files": ["Cargo.toml", "src/lib.rs", "README.md", ".gitignore"],
        })
    );
}
