//! What the command line says of files: plugins that lie in a directory, and the configuration.

use crate::cli::{fails, json_of, lines_of, out, start};
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host, Said};
use busway_tests::workspace::program;
use serde_json::{Value, json};
use std::fs;

const ONE: &str = "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\n";

#[test]
fn plugin_list_says_what_became_of_each_file() {
    let host = start(ONE);
    fs::write(host.plugin("text.so"), "this is no library\n").unwrap();
    host.wait_plugin("text.so", "refused");
    let rows = host.rows("_host", "plugins").unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(json_of(host.run(&["plugin", "list", "-o", "json"])), json!({"schema_version": 1, "plugins": rows}));
    assert_eq!(lines_of(&out(host.run(&["plugin", "list", "-o", "jsonl"]))), rows);
    let (hash, size) = (rows[0]["sha256"].as_str().unwrap(), mebibytes(Fixture::new().bytes().len()));
    assert_eq!(
        out(host.run(&["plugin", "list"])),
        format!(
            "file                   driver             version  state    generation  {:<64}  size_bytes  reason\n\
             plugins/libfixture.so  fixture-driver-aa  0.1.0    serving           1  {hash}  {size:>10}  -\n\
             plugins/text.so        -                  -        refused           -  {:<64}  {:>10}  it is no shared \
             library: it is text\n",
            "sha256", "-", "19 B"
        )
    );
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[test]
fn plugin_inspect_tells_what_a_file_is_without_a_host() {
    let bed = Bed::new();
    let fixture = Fixture::new();
    fixture.rename_into(&bed.plugin("libfixture.so"));
    let whole = json_of(bed.run(&["plugin", "inspect", "plugins/libfixture.so", "-o", "json"]));
    let hash = whole["sha256"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    let target = whole["note"]["target"].as_str().unwrap();
    let (glibc, build_id) = (whole["glibc"].as_str().unwrap(), whole["build_id"].as_str().unwrap());
    let needs = whole["needs"].as_array().unwrap();
    let libraries: Vec<&str> = needs.iter().map(|need| need["library"].as_str().unwrap()).collect();
    let libc = needs.iter().find(|need| need["library"] == "libc.so.6").unwrap();
    assert!(libc["path"].as_str().unwrap().ends_with("/libc.so.6"), "{libc}");
    assert!(libc["versions"].as_array().unwrap().contains(&json!(format!("GLIBC_{glibc}"))), "{libc}");
    assert_eq!(
        whole,
        json!({
            "schema_version": 1, "file": "plugins/libfixture.so", "sha256": hash, "checksum_file": false,
            "size_bytes": fixture.bytes().len(),
            "note": {
                "id": "fixture-driver-aa", "version": "0.1.0", "contract": "1.0.0", "sdk": "busway-plugin-api 0.1.0",
                "abi_stable": "0.11.3", "target": target, "panic": "unwind",
            },
            "needs": needs, "run_paths": [], "glibc": glibc, "go": null, "build_id": build_id,
        })
    );
    let (size, libraries) = (mebibytes(fixture.bytes().len()), libraries.join(", "));
    assert_eq!(
        out(bed.run(&["plugin", "inspect", "plugins/libfixture.so"])),
        format!(
            "driver      fixture-driver-aa\nversion     0.1.0\ncontract    1.0.0\nbuilt with  busway-plugin-api \
             0.1.0\nfor         {target}, glibc {glibc} or newer\nneeds       {libraries}\nbuild id    {build_id}\nsha256      \
             {hash}\nsize        {size}\n"
        )
    );
}

#[test]
fn plugin_inspect_says_of_every_bad_file_what_is_wrong() {
    let bed = Bed::new();
    let good = Fixture::new();
    let bytes = good.bytes();
    let put = |name: &str, bytes: &[u8]| fs::write(bed.plugin(name), bytes).unwrap();
    let changed = |name: &str, from: &str, to: &str| put(name, good.clone().replace(from, to).bytes());
    put("empty.so", b"");
    put("text.so", b"this is no library\n");
    put("half.so", &bytes[..bytes.len() / 2]);
    put("headless.so", &bytes[..100]);
    put("stub.so", &bytes[..20]);
    let mut arm = bytes.to_vec();
    arm[18..20].copy_from_slice(&183_u16.to_le_bytes());
    put("arm.so", &arm);
    changed("noteless.so", "\0.busway\0", "\0.nobody\0");
    changed("newer.so", "\"contract\":\"1.0.0\"", "\"contract\":\"2.0.0\"");
    changed("older.so", "\"contract\":\"1.0.0\"", "\"contract\":\"0.9.0\"");
    changed("needs.so", "libc.so.6", "libq.so.6");
    changed("abort.so", "\"panic\":\"unwind\"", "\"panic\":\"abort\" ");
    changed("other.so", "\"abi_stable\":\"0.11.3\"", "\"abi_stable\":\"0.11.9\"");
    changed("nameless.so", "\"id\":\"fixture-driver-aa\"", "\"id\":\"Fixture-Driver-aa\"");
    fs::copy(program(), bed.plugin("program.so")).unwrap();
    fs::create_dir(bed.plugin("folder.so")).unwrap();
    std::os::unix::fs::symlink("gone-away.so", bed.plugin("dangling.so")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, bed.plugin("pipe.so"), rustix::fs::Mode::RWXU).unwrap();
    let length = bytes.len();
    let short = |at: usize| {
        format!(
            "it is cut short: its table of sections ends at byte {length}, the file at {at}; copy it again, best under another \
             name and then renamed"
        )
    };
    for (file, error) in [
        ("empty.so", "the file is empty"),
        ("text.so", "it is no shared library: it is text"),
        ("half.so", &short(length / 2)),
        ("headless.so", &short(100)),
        (
            "stub.so",
            "it is cut short: its header ends at byte 64, the file at 20; copy it again, best under another name and then \
             renamed",
        ),
        ("arm.so", "it is built for linux aarch64, this host runs on linux x86_64: build it for this machine"),
        ("noteless.so", "it is no Busway driver: it has no section .busway; export one with export_driver!"),
        ("newer.so", "it speaks contract 2.0.0, this host 1.0.0: use a newer host"),
        ("older.so", "it speaks contract 0.9.0, this host 1.0.0: rebuild the driver with a newer busway-plugin-api"),
        (
            "needs.so",
            "it needs libq.so.6, which this system does not have; link it statically or install it system-wide",
        ),
        (
            "abort.so",
            "it is built with panic = \"abort\", so a panic in it would end the host: build it with panic = \"unwind\"",
        ),
        ("other.so", "it is built with abi_stable 0.11.9, the contract with 0.11.3: rebuild it with that version"),
        ("nameless.so", "its note is not valid: \"Fixture-Driver-aa\" is no driver id"),
        ("program.so", "it is no shared library: it is a program: build it with crate-type = [\"cdylib\"]"),
        ("folder.so", "it is a directory, not a file"),
        ("dangling.so", "it is a link to gone-away.so, which is not there"),
        ("pipe.so", "it is a pipe, socket or device, not a file"),
        ("missing.so", "it can't be read: No such file or directory (os error 2)"),
    ] {
        let file = format!("plugins/{file}");
        fails(&bed.run(&["plugin", "inspect", &file]), 6, &format!("error: {file}: {error}\n"));
    }
}

/// A configuration with the fixture in its plugin directory.
fn configured(datasources: &str) -> Bed {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    bed.configure(datasources);
    bed
}

const GOOD: &str = "\
what             name                   verdict
state directory  state                  ok
listen           127.0.0.1:0            ok
plugin           plugins/libfixture.so  ok
datasource       one                    ok
";

#[test]
fn check_of_what_would_run() {
    let bed = configured(&format!("{ONE}[datasource.off]\ndriver = 'nobody'\nenabled = false\n"));
    assert_eq!(out(bed.run(&["check"])), GOOD);
    let finding =
        |what: &str, name: &str, detail: &str| json!({"what": what, "name": name, "ok": true, "detail": detail});
    let findings = [
        finding("state directory", "state", "free"),
        finding("listen", "127.0.0.1:0", "free"),
        finding("plugin", "plugins/libfixture.so", "driver fixture-driver-aa 0.1.0"),
        finding("datasource", "one", "options fit"),
    ];
    assert_eq!(json_of(bed.run(&["check", "-o", "json"])), json!({"schema_version": 1, "findings": findings}));
    assert_eq!(lines_of(&out(bed.run(&["check", "-o", "jsonl"]))), findings);
    // It gives back all it took.
    assert!(!bed.path("bus.sock").exists());
    let _ = bed.start(ONE);
}

#[test]
fn check_of_what_would_not_run_names_all_of_it() {
    let bed = configured(&format!(
        "{ONE}[datasource.two]\ndriver = 'fixture-driver-aa'\noptions = {{rowz = 4, after = 'x'}}\n[datasource.web]\ndriver = \
         'nobody'\n"
    ));
    fs::write(bed.plugin("text.so"), "this is no library\n").unwrap();
    let said = bed.run(&["check"]);
    assert_eq!((said.err.as_str(), said.code), ("error: 3 of 7 would not run\n", Some(6)));
    assert_eq!(
        said.out,
        "\
what             name                   verdict
state directory  state                  ok
listen           127.0.0.1:0            ok
plugin           plugins/libfixture.so  ok
plugin           plugins/text.so        bad
datasource       one                    ok
datasource       two                    bad
datasource       web                    bad

plugin plugins/text.so:
  it is no shared library: it is text

datasource two:
  unknown option \"rowz\": did you mean \"rows\"?; option \"after\" takes a whole number, got \"x\"

datasource web:
  no driver \"nobody\" is loaded
"
    );
}

#[test]
fn check_of_a_directory_that_is_not_there() {
    let bed = Bed::new();
    bed.configure("");
    fs::remove_dir(bed.path("plugins")).unwrap();
    let said = bed.run(&["check"]);
    assert_eq!((said.err.as_str(), said.code), ("error: 1 of 3 would not run\n", Some(6)));
    assert_eq!(
        said.out,
        "\
what             name         verdict
state directory  state        ok
listen           127.0.0.1:0  ok
directory        plugins      bad

directory plugins:
  the plugin directory plugins does not exist: make it, or name another with --plugins
"
    );
}

#[test]
fn check_of_a_configuration_that_can_t_be_read() {
    let bed = configured("[datasource.one]\ndriver = 'fixture-driver-aa'\npool = 1\n");
    let keys = "`driver`, `description`, `enabled`, `addresses`, `poll`, `deadline`, `max_rows`, `max_bytes`, `persist_data`, `options`";
    fails(
        &bed.run(&["check"]),
        5,
        &format!("error: the configuration busway.toml, line 11: unknown field `pool`, expected one of {keys}\n"),
    );
}

#[test]
fn check_while_a_host_runs_on_the_same_state_directory() {
    let host = start(ONE);
    let check = |more: &[&str]| -> Said { host.run(&[&["check", "--config", "busway.toml"], more].concat()) };
    let listen = "listen           127.0.0.1:0            ok\n";
    assert_eq!(out(check(&[])), GOOD.replace(listen, ""), "its addresses are its own");
    let findings = json_of(check(&["-o", "json"]))["findings"].clone();
    assert_eq!(findings[0]["detail"], format!("in use by the running host {}", host.pid()));
    serves_on(host);
}

fn serves_on(mut host: Host) {
    assert_eq!(host.rows("one", "numbers").unwrap().len(), 3);
    assert_eq!(host.rows("_host", "datasources").unwrap()[0]["error"], Value::Null);
    assert!(host.is_alive());
}
