//! The operator's commands: datasources, the configuration, backups.

use crate::cli::{fails, json_of, lines_of, out};
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const DRIVER: &str = "fixture-driver-aa";
/// One of the configuration file's: polled on request only.
const FILED: &str = "[datasource.filed]\ndriver = 'fixture-driver-aa'\npoll = 0\n";

fn start(datasources: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(datasources);
    host.wait_plugin("libfixture.so", "serving");
    host
}

fn add(host: &Host, name: &str, more: &[&str]) -> String {
    out(host.run(&[&["datasource", "add", name, DRIVER, "--poll", "0"], more].concat()))
}

/// With something piped in.
fn piped(host: &Host, arguments: &[&str], text: &str) -> String {
    let mut command = host.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn a_datasource_lives_by_commands() {
    let host = start("");
    assert_eq!(
        add(&host, "web", &["--option", "rows=5", "--description", "The shop", "--address", "shops"]),
        "web added: running\n"
    );
    let shown = json_of(host.run(&["datasource", "show", "web", "-o", "json"]));
    assert_eq!(
        (&shown["config"]["rows"], &shown["addresses"], &shown["poll"], &shown["revision"]),
        (&json!(5), &json!(["shops"]), &json!("0s"), &json!(1))
    );
    // Whoever waits sees what a poll found.
    assert_eq!(out(host.run(&["datasource", "refresh", "web", "--wait"])), "web was polled: 6 rows\n");
    let listed = out(host.run(&["datasource", "list"]));
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["name", "driver", "state", "rows", "last", "poll", "description"]);
    assert_eq!(lines[1][..4], ["web", DRIVER, "running", "6"]);
    assert_eq!(lines[1][5..], ["ago", "The", "shop"]);

    let first = shown["etag"].as_str().unwrap();
    assert_eq!(
        out(host.run(&["datasource", "set", "web", "rows=2", "--if-revision", first])),
        "web changed: running\n"
    );
    let conflict = "error: Datasource web is at revision 2, not 1: read it again, and decide anew\n  why: the host answered \
                    with HTTP status 409, DatasourceRevisionConflict\n";
    fails(&host.run(&["datasource", "set", "web", "rows=3", "--if-revision", first]), 1, conflict);
    host.wait_row("_host", "tables", "2 numbers", |row| {
        row["service"] == "web" && row["table"] == "numbers" && row["rows"] == 2
    });

    let status = json_of(host.run(&["datasource", "status", "web", "-o", "json"]));
    let tables: Vec<(&Value, &Value)> =
        status["tables"].as_array().unwrap().iter().map(|table| (&table["table"], &table["rows"])).collect();
    assert_eq!(tables, [(&json!("numbers"), &json!(2)), (&json!("ticks"), &json!(1))]);
    assert_eq!((&status["state"], &status["failures"]), (&json!("running"), &json!(0)));

    assert_eq!(out(host.run(&["datasource", "execute", "web", "echo", "hi there"])), "hi there\n");
    assert_eq!(out(host.run(&["datasource", "execute", "web", "echo", "text=\"7\""])), "7\n");
    let once = ["datasource", "execute", "web", "echo", "a", "--request-id", "r", "-o", "jsonl"];
    assert_eq!([out(host.run(&once)), out(host.run(&once))], ["\"a\"\n", "\"a\"\n"]);
    let actions = out(host.run(&["datasource", "actions", "web"]));
    assert!(actions.starts_with("action                                     description\necho TEXT "), "{actions}");

    assert_eq!(out(host.run(&["datasource", "disable", "web"])), "web is disabled\n");
    assert_eq!(out(host.run(&["datasource", "enable", "web"])), "web enabled: running\n");
    fails(
        &host.run(&["datasource", "remove", "web"]),
        2,
        "error: removing web needs a yes, and stdin is no terminal to ask on\n  try: say it with --yes\n",
    );
    assert_eq!(out(host.run(&["datasource", "remove", "web", "--yes"])), "web removed\n");
    assert_eq!(
        json_of(host.run(&["datasource", "list", "-o", "json"])),
        json!({"schema_version": 1, "datasources": []})
    );
}

#[test]
fn refusals_name_what_is_near_and_everything_that_is_wrong() {
    let host = start(FILED);
    host.wait_datasource("filed", "running");
    let near = "error: no datasource fild\n  why: the datasources are filed\n  try: filed, which is a near name\n";
    for command in ["show", "status", "enable", "disable", "refresh", "actions"] {
        fails(&host.run(&["datasource", command, "fild"]), 4, near);
    }
    fails(&host.run(&["datasource", "remove", "fild", "--yes"]), 4, near);
    fails(&host.run(&["datasource", "set", "fild", "rows=1"]), 4, near);
    fails(&host.run(&["datasource", "execute", "fild", "echo"]), 4, near);
    let by_file = "error: Datasource filed is managed by the configuration file: change it there, and reload the file\n  \
                   why: the host answered with HTTP status 409, DatasourceManagedByFile\n";
    fails(&host.run(&["datasource", "set", "filed", "rows=1"]), 1, by_file);
    fails(&host.run(&["datasource", "remove", "filed", "--yes"]), 1, by_file);
    fails(
        &host.run(&["driver", "show", "fixture-driver-ab"]),
        4,
        "error: no driver fixture-driver-ab\n  why: the drivers are fixture-driver-aa\n  \
         try: fixture-driver-aa, which is a near name\n",
    );
    fails(
        &host.run(&["datasource", "add", "a", "fixture-driver-ab"]),
        1,
        "error: Invalid driver: fixture-driver-ab: no driver \"fixture-driver-ab\" is loaded: did you mean \
         \"fixture-driver-aa\"?\n  why: the host answered with HTTP status 400, InvalidDriver\n",
    );
    fails(
        &host.run(&["datasource", "add", "a", DRIVER, "--option", "row=1", "--option", "after=soon"]),
        1,
        "error: Invalid driver options\n  why: unknown option \"row\": did you mean \"rows\"?\n  \
         why: option \"after\" takes a whole number, got \"soon\"\n",
    );
    fails(
        &host.run(&["datasource", "execute", "filed", "ech"]),
        1,
        "error: no action \"ech\": did you mean \"echo\"?\n  why: the host answered with HTTP status 400, unknown_action\n",
    );
    fails(
        &host.run(&["datasource", "set", "filed"]),
        2,
        "error: nothing is to be changed\n  try: busway datasource set filed OPTION=VALUE, or see --help\n",
    );
}

#[test]
fn a_secret_is_piped_in_and_shown_nowhere() {
    let host = start("");
    let arguments = ["datasource", "add", "web", DRIVER, "--poll", "0", "--option", "password=-", "--output", "json"];
    let mut said = piped(&host, &arguments, "hunter2\n");
    for command in ["show", "status"] {
        said += &out(host.run(&["datasource", command, "web", "-o", "json"]));
    }
    said += &out(host.run(&["datasource", "show", "web"]));
    said += &out(host.run(&["datasource", "list", "-o", "jsonl"]));
    assert!(said.contains("<hidden>"), "{said}");
    assert!(!said.contains("hunter2") && !host.log_text().contains("hunter2"), "{said}");
}

#[test]
fn drivers_are_listed_and_shown() {
    let host = start(FILED);
    host.wait_datasource("filed", "running");
    let drivers = json_of(host.run(&["driver", "list", "-o", "json"]));
    assert_eq!(
        drivers["drivers"],
        json!([{"driver": DRIVER, "version": "0.1.0", "generation": 1, "datasources": 1,
            "file": "plugins/libfixture.so", "description": "Misbehaves on request"}])
    );
    let shown = json_of(host.run(&["driver", "show", DRIVER, "-o", "json"]));
    let password = shown["options"].as_array().unwrap().iter().find(|option| option["name"] == "password").unwrap();
    assert_eq!(
        (&password["type"], &password["secret"], &password["required"]),
        (&json!("string"), &json!(true), &json!(false))
    );
    let text = out(host.run(&["driver", "show", DRIVER]));
    for part in [
        "\n\noptions:\noption ",
        "\n\ntables:\ntable ",
        "\n\nactions:\naction ",
        "\npassword  string   secret  -        Must not",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn status_says_on_one_screen_what_is_not_well() {
    let host = start(FILED);
    host.wait_datasource("filed", "running");
    add(&host, "bad", &["--option", "fault=open_error"]);
    host.wait_datasource("bad", "failed");
    let whole = json_of(host.run(&["status", "-o", "json"]));
    assert_eq!((&whole["version"], &whole["pid"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(host.pid())));
    assert_eq!(whole["drivers"], json!([{"driver": DRIVER, "version": "0.1.0"}]));
    assert_eq!(
        (&whole["datasources"], &whole["plugins"]),
        (&json!({"failed": 1, "running": 1}), &json!({"serving": 1}))
    );
    assert_eq!((&whole["tables"], &whole["rows"]), (&json!(2), &json!(4)));
    let troubles = whole["not_well"].as_array().unwrap();
    assert_eq!((troubles.len(), &troubles[0]["name"], &troubles[0]["state"]), (1, &json!("bad"), &json!("failed")));
    let text = out(host.run(&["status"]));
    assert!(text.contains("\ndatasource bad is failed for "), "{text}");
    assert!(text.contains("\n  why: fixture fails on purpose"), "{text}");
}

#[test]
fn the_host_follows_its_file_when_told() {
    let host = start(&format!("{FILED}[datasource.goes]\ndriver = 'fixture-driver-aa'\npoll = 0\n"));
    host.wait_datasource("filed", "running");
    assert_eq!(out(host.run(&["config", "diff"])), "the host has what the file says\n");
    add(&host, "own", &[]);
    let config = fs::read_to_string(host.path("busway.toml")).unwrap();
    let (head, _) = config.split_once("[datasource.goes]").unwrap();
    let changed = head.replace("poll = 0", "poll = '1h'\noptions = {rows = 2}");
    let more =
        "[datasource.new]\ndriver = 'fixture-driver-aa'\npoll = 0\n[datasource.own]\ndriver = 'fixture-driver-aa'\n";
    fs::write(host.path("busway.toml"), changed + more).unwrap();
    let clash = "! own: a datasource of that name was made by command, and stays; rename one, or remove that one\n";
    let differences = format!("~ filed: poll, options.rows\n- goes\n+ new\n{clash}");
    assert_eq!(out(host.run(&["config", "diff"])), differences);
    assert_eq!(out(host.run(&["config", "reload"])), differences);
    assert_eq!(out(host.run(&["config", "diff"])), clash);
    let names: Vec<Value> = lines_of(&out(host.run(&["datasource", "list", "-o", "jsonl"])));
    let names: Vec<&str> = names.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["filed", "new", "own"]);
}

#[test]
fn the_configuration_says_where_each_value_comes_from() {
    let bed = Bed::new();
    bed.configure("[datasource.web]\ndriver = 'files'\noptions = {password = 'hunter2'}\n");
    let mut command = bed.command(&["config", "show", "--origin", "-o", "jsonl", "--log", "debug"]);
    let said = command.env("BUSWAY_STATE_DIR", "/elsewhere").output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let all = lines_of(&text);
    let of = |key: &str| all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key} in {text}")).clone();
    assert_eq!(
        of("listen.socket"),
        json!({"key": "listen.socket", "value": "bus.sock", "origin": {"kind": "file", "path": "busway.toml", "line": 8}})
    );
    assert_eq!(of("state_dir")["origin"], json!({"kind": "environment", "variable": "BUSWAY_STATE_DIR"}));
    assert_eq!(of("log.filter")["origin"], json!({"kind": "flag", "flag": "--log"}));
    assert_eq!(of("datasource.web.poll")["origin"], json!({"kind": "default"}));
    assert_eq!(of("datasource.web.options.password")["value"], "<hidden>");
    // Both names of it.
    let (long, short) = (bed.run(&["config", "check", "-o", "json"]), bed.run(&["check", "-o", "json"]));
    assert_eq!((long.code, &long.out), (short.code, &short.out));
}

#[test]
fn a_backup_is_restored_into_a_host_that_does_not_run() {
    let host = start(FILED);
    host.wait_datasource("filed", "running");
    add(&host, "web", &["--option", "rows=5", "--option", "password=hunter2"]);
    let size = |name: &str| fs::metadata(host.path(name)).unwrap();
    let made = json_of(host.run(&["backup", "kept", "-o", "json"]));
    assert_eq!(made, json!({"schema_version": 1, "file": "kept", "size_bytes": size("kept").len(), "datasources": 2}));
    assert_eq!(size("kept").permissions().mode() & 0o777, 0o600);
    assert!(!fs::read(host.path("kept")).unwrap().windows(7).any(|bytes| bytes == b"hunter2"));
    fails(
        &host.run(&["backup", "kept"]),
        1,
        "error: kept is there already\n  try: another name, or --force to replace it\n",
    );
    // Over TCP, only who may write has it.
    let (status, body) = host.get("/v1/backup");
    assert_eq!(status, 403, "{body}");

    let restore = ["restore", "kept", "--config", "busway.toml"];
    fails(
        &host.run(&restore),
        1,
        &format!(
            "error: the state directory state is in use by the host with process id {}: stop that one, or name another with \
             --state-dir\n",
            host.pid()
        ),
    );
    out(host.run(&["datasource", "remove", "web", "--yes"]));
    let mut host = host;
    host.terminate();
    let text = out(host.run(&restore));
    let (first, second) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(first, "2 datasources restored into state");
    assert!(second.starts_with("the former records are kept as state/records.db.before-restore-"), "{second}");
    let host = host.restart(FILED);
    host.wait_datasource("web", "running");
    assert_eq!(host.rows("web", "numbers").unwrap().len(), 5);
}

#[test]
fn those_whose_driver_is_gone_are_shown_and_removed() {
    let host = start("");
    add(&host, "web", &[]);
    let none = "every datasource's driver is there: nothing to remove\n";
    assert_eq!(out(host.run(&["datasource", "prune"])), none);
    fs::remove_file(host.plugin("libfixture.so")).unwrap();
    let host = host.restart("");
    host.wait_datasource("web", "waiting for driver");
    let changed =
        json_of(host.run(&["datasource", "show", "web", "-o", "json"]))["changed"].as_str().unwrap().to_owned();
    let shown =
        format!("name  driver             {:<width$}\n", "changed", width = changed.len()).trim_end().to_owned()
            + &format!("\nweb   {DRIVER}  {changed}\n");
    let said = host.run(&["datasource", "prune"]);
    assert_eq!((said.out.as_str(), said.code), (shown.as_str(), Some(2)));
    assert_eq!(
        said.err,
        "error: removing 1 datasource needs a yes, and stdin is no terminal to ask on\n  try: say it with --yes\n"
    );
    assert_eq!(out(host.run(&["datasource", "prune", "--yes"])), format!("{shown}1 datasource removed\n"));
    assert_eq!(out(host.run(&["datasource", "prune"])), none);
}

#[test]
fn shells_and_manuals_have_every_command() {
    let bed = Bed::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = out(bed.run(&["completions", shell]));
        assert!(script.contains("if-revision"), "{shell}");
    }
    let pages = out(bed.run(&["man", "pages"]));
    let count = fs::read_dir(bed.path("pages")).unwrap().count();
    assert_eq!(pages, format!("{count} pages in pages\n"));
    for page in ["busway.1", "busway-datasource-add.1", "busway-config-show.1", "busway-restore.1"] {
        assert!(bed.path("pages").join(page).is_file(), "{page}");
    }
}
