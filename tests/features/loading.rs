//! Which files become drivers, and what is said of those that don't.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use serde_json::{Value, json};
use std::fs;

pub(crate) const ONE: &str = "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '100ms'\n";

fn numbers(revision: u32) -> Value {
    json!((0..3).map(|id| json!({"id": id, "revision": revision})).collect::<Vec<_>>())
}

/// Why a file is not served.
pub(crate) fn reason(host: &Host, file: &str, state: &str) -> String {
    host.wait_plugin(file, state)["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_driver_in_the_directory_becomes_live_tables() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(ONE);
    host.wait_datasource("one", "running");
    assert_eq!(json!(host.rows("one", "numbers").unwrap()), numbers(1));
    let plugin = host.wait_plugin("libfixture.so", "serving");
    assert_eq!(plugin["driver"], ID);
    assert_eq!(plugin["reason"], Value::Null);
    assert_eq!(plugin["generation"], 1);
}

#[test]
fn a_driver_that_comes_later_is_taken_up() {
    let host = Bed::new().start(ONE);
    let waiting = host.wait_datasource("one", "waiting for driver");
    assert_eq!(waiting["error"], "no driver \"fixture-driver-aa\" is loaded");
    Fixture::new().copy_over(&host.plugin("late.so"));
    host.wait_datasource("one", "running");
}

#[test]
fn inv04_a_conflict_ends_the_start_where_it_is_told_to() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("a.so"));
    Fixture::new().revision(2).rename_into(&bed.plugin("b.so"));
    bed.configure("");
    let file = bed.path("busway.toml");
    let text = fs::read_to_string(&file).unwrap().replace("[plugins]", "[plugins]\non_conflict = 'fail'");
    fs::write(file, text).unwrap();
    let said = bed.run(&["run", "--log-format", "json"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    let last = said.err.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        "error: BadConfig: there is a driver loaded already with the driver name of fixture-driver-aa: plugins/a.so, \
         plugins/b.so"
    );
}

#[test]
fn inv04_two_files_of_one_id_are_both_named_and_neither_is_loaded() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("a.so"));
    Fixture::new().revision(2).rename_into(&bed.plugin("b.so"));
    Fixture::new().id("fixture-driver-bb").rename_into(&bed.plugin("other.so"));
    let host = bed.start(&format!("{ONE}[datasource.two]\ndriver = 'fixture-driver-bb'\n"));
    let text = reason(&host, "a.so", "conflict");
    assert!(text.starts_with("driver id \"fixture-driver-aa\" is claimed by ") && text.contains("b.so"), "{text}");
    let text = reason(&host, "b.so", "conflict");
    assert!(text.contains("a.so") && text.ends_with(" too: remove one"), "{text}");
    host.wait_datasource("two", "running");
    host.wait_datasource("one", "waiting for driver");
    // Resolved: the other is taken up.
    fs::remove_file(host.plugin("a.so")).unwrap();
    host.wait_datasource("one", "running");
    assert_eq!(json!(host.rows("one", "numbers").unwrap()), numbers(2));
    // The one that serves stays, also over a restart.
    Fixture::new().rename_into(&host.plugin("a.so"));
    reason(&host, "a.so", "conflict");
    let host = host.restart(ONE);
    host.wait_datasource("one", "running");
    assert_eq!(json!(host.rows("one", "numbers").unwrap()), numbers(2));
    reason(&host, "a.so", "conflict");
}

#[test]
fn every_bad_file_gets_one_clear_error_and_the_others_serve() {
    let bed = Bed::new();
    let good = Fixture::new();
    let bytes = good.bytes();
    good.rename_into(&bed.plugin("good.so"));
    let put = |name: &str, bytes: &[u8]| fs::write(bed.plugin(name), bytes).unwrap();
    put("empty.so", b"");
    put("text.so", b"this is no library\n");
    put("half.so", &bytes[..bytes.len() / 2]);
    put("headless.so", &bytes[..100]);
    let mut arm = bytes.to_vec();
    arm[18..20].copy_from_slice(&183_u16.to_le_bytes());
    put("arm.so", &arm);
    let other = |name: &str| Fixture::new().id(name);
    put("noteless.so", other("fixture-driver-nn").replace("\0.busway\0", "\0.nobody\0").bytes());
    put("newer.so", other("fixture-driver-cc").replace("\"contract\":\"1.0.0\"", "\"contract\":\"2.0.0\"").bytes());
    put("needs.so", other("fixture-driver-dd").replace("libc.so.6", "libq.so.6").bytes());
    put("abort.so", other("fixture-driver-ee").replace("\"panic\":\"unwind\"", "\"panic\":\"abort!\"").bytes());
    put("describe.so", other("fixture-driver-ff").fault("describe", "panic").bytes());
    put("rules.so", other("fixture-driver-gg").fault("describe", "rules").bytes());
    put("libc-copy.so", &fs::read(libc()).unwrap());
    fs::create_dir(bed.plugin("folder.so")).unwrap();
    std::os::unix::fs::symlink("gone-away.so", bed.plugin("dangling.so")).unwrap();
    put(".hidden.so", b"ignored");
    put("backup.so~", b"ignored");
    let mut host = bed.start(ONE);
    host.wait_datasource("one", "running");
    for (file, text) in [
        ("text.so", "it is no shared library: it is text"),
        ("arm.so", "it is built for linux aarch64, this host runs on linux x86_64: build it for this machine"),
        ("noteless.so", "it is no Busway driver: it has no section .busway; export one with export_driver!"),
        ("libc-copy.so", "it is no Busway driver: it has no section .busway; export one with export_driver!"),
        ("newer.so", "it speaks contract 2.0.0, this host 1.0.0: use a newer host"),
        (
            "needs.so",
            "it needs libq.so.6, which this system does not have; link it statically or install it system-wide",
        ),
        ("folder.so", "it is a directory, not a file"),
        ("dangling.so", "it is a link to gone-away.so, which is not there"),
    ] {
        assert_eq!(reason(&host, file, "refused"), text, "{file}");
    }
    for (file, text) in
        [("empty.so", "the file is empty"), ("half.so", "it is cut short: "), ("headless.so", "it is cut short: ")]
    {
        // Incomplete while it may be a copy that goes on, then refused.
        let row =
            host.wait_row("_host", "plugins", file, |row| row["file"].as_str().is_some_and(|f| f.ends_with(file)));
        assert!(row["reason"].as_str().is_some_and(|reason| reason.starts_with(text)), "{row}");
        assert!(["incomplete", "refused"].contains(&row["state"].as_str().unwrap_or_default()), "{row}");
    }
    for (file, text) in [
        (
            "describe.so",
            "its description failed: panicked: fixture panics in describe (at tests/fixtures/driver/src/lib.rs:",
        ),
        ("rules.so", "its description breaks the rules: table \"numbers\" is declared twice; key column \"nope\" of "),
    ] {
        let reason = reason(&host, file, "refused");
        assert!(reason.starts_with(text), "{file}: {reason}");
    }
    let files = host.rows("_host", "plugins").unwrap();
    assert!(
        files.iter().all(|f| !f["file"].to_string().contains("ignored") && !f["file"].to_string().contains(".hidden"))
    );
    assert!(host.is_alive());
    assert_eq!(json!(host.rows("one", "numbers").unwrap()), numbers(1));
}

fn libc() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("libc.so")).expect("a test is linked with libc");
    line.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn a_note_that_lies_is_found_out() {
    let bed = Bed::new();
    // The version in the note alone: what `describe` answers stays.
    let fixture = Fixture::new().replace("\"version\":\"0.1.0\"", "\"version\":\"0.1.9\"");
    fixture.rename_into(&bed.plugin("liar.so"));
    let host = bed.start(ONE);
    assert_eq!(
        reason(&host, "liar.so", "refused"),
        "its note says fixture-driver-aa 0.1.9, its description fixture-driver-aa 0.1.0"
    );
}

#[test]
fn a_plugin_directory_that_is_missing_is_said_and_taken_up_when_it_comes() {
    let bed = Bed::new();
    fs::remove_dir(bed.path("plugins")).unwrap();
    let host = bed.start(ONE);
    let said = host.log().into_iter().find(|l| l["level"] == "ERROR").expect("an error in the log");
    let text = said["message"].as_str().unwrap();
    assert!(
        text.starts_with("the plugin directory ") && text.contains("does not exist: make it, or name another"),
        "{text}"
    );
    fs::create_dir(host.path("plugins")).unwrap();
    Fixture::new().rename_into(&host.plugin("libfixture.so"));
    host.wait_datasource("one", "running");
}

#[test]
fn a_file_that_goes_serves_on_as_missing() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let mut host = bed.start(ONE);
    host.wait_datasource("one", "running");
    fs::remove_file(host.plugin("libfixture.so")).unwrap();
    assert_eq!(reason(&host, "libfixture.so", "missing"), "the file is gone; what was loaded of it serves on");
    let polls = |row: &Value| row["polls"].as_u64().unwrap();
    let before = polls(&host.wait_datasource("one", "running"));
    host.wait_row("_host", "datasources", "more polls", |row| row["name"] == "one" && polls(row) > before + 2);
    assert!(host.is_alive());
}
