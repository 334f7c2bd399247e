//! The drivers that ship with the host, each on real input: this machine, a folder of files, declarations.

use busway_tests::host::{Bed, Host};
use busway_tests::wait_for;
use busway_tests::workspace::driver;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

fn load(bed: &Bed, name: &str) {
    fs::copy(driver(name), bed.plugin(&format!("libbusway_{name}.so"))).unwrap();
}

fn system() -> Host {
    let bed = Bed::new();
    load(&bed, "system");
    let host = bed.start("[datasource.system]\ndriver = 'system'\npoll = '100ms'\n");
    host.wait_datasource("system", "running");
    host
}

/// The names of a service's tables.
fn tables(host: &Host, service: &str) -> Vec<String> {
    let (status, body) = host.get(&format!("/v1/services/{service}/tables"));
    assert_eq!(status, 200, "{body}");
    body["results"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn system_shows_processes_that_come_and_go() {
    let host = system();
    let me = host.wait_row("system", "processes", "this test", |row| row["pid"] == std::process::id());
    assert_eq!(me["name"], fs::read_to_string("/proc/self/comm").unwrap().trim());
    assert_eq!(me["parent_pid"], std::os::unix::process::parent_id());
    assert!(me["memory_bytes"].as_u64().unwrap() > 1 << 20 && me["threads"].as_u64().unwrap() > 1, "{me}");

    let mut stream = host.stream("system", "processes");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let of_child = |rows: Option<&[Value]>| rows.unwrap().iter().find(|row| row["pid"] == pid).cloned();
    // It has the test's name until it has become the other program.
    stream.follow("the child", |_| {}, |rows| of_child(rows).is_some_and(|row| row["name"] == "sleep"));
    let row = of_child(stream.rows()).unwrap();
    assert_eq!((&row["command"], &row["parent_pid"]), (&json!("sleep 600"), &json!(std::process::id())));
    child.kill().unwrap();
    child.wait().unwrap();
    stream.follow("the child's end", |_| {}, |rows| of_child(rows).is_none());
    assert_eq!(stream.snapshots(), 1, "steps, not snapshots");
}

#[test]
fn system_has_all_its_tables_and_shows_who_listens() {
    let host = system();
    let all = ["interfaces", "listeners", "load", "memory", "mounts", "processes"];
    assert_eq!(tables(&host, "system"), all);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let row = host.wait_row("system", "listeners", "this test's port", |row| row["port"] == port);
    assert_eq!(
        (&row["protocol"], &row["address"], &row["pid"]),
        (&json!("tcp"), &json!("127.0.0.1"), &json!(std::process::id()))
    );
    for table in all {
        assert_ne!(host.rows("system", table).unwrap(), Vec::<Value>::new(), "{table}");
    }
    drop(listener);
    wait_for("the port to be free", || {
        let rows = host.rows("system", "listeners")?;
        if rows.iter().any(|row| row["port"] == port) { Err(format!("{rows:#?}")) } else { Ok(()) }
    });
}

/// What `busway call` says of a signal.
fn signal(host: &Host, args: &Value) -> Result<Value, String> {
    let said = host.run(&["--output", "json", "call", "system", "signal_process", &args.to_string()]);
    if said.code == Some(0) { Ok(serde_json::from_str(&said.out).unwrap()) } else { Err(said.err) }
}

#[test]
fn system_signals_a_process_but_not_the_host_or_what_started_it() {
    let host = system();
    let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let row =
        host.wait_row("system", "processes", "the child", |row| row["pid"] == child.id() && row["name"] == "sleep");
    for (pid, why) in [(host.pid(), "is the host itself"), (std::process::id(), "started the host, or what started it")]
    {
        let refused = signal(&host, &json!({"pid": pid, "signal": "KILL"})).unwrap_err();
        assert!(refused.contains(&format!("process {pid} (")) && refused.contains(why), "{refused}");
    }
    let refused = signal(&host, &json!({"pid": child.id(), "signal": "KILL", "name": "other"})).unwrap_err();
    assert!(refused.contains("is not \"other\": nothing was sent"), "{refused}");
    let args = json!({"pid": child.id(), "signal": "TERM", "name": row["name"], "started_at": row["started_at"]});
    let sent = signal(&host, &args).unwrap();
    assert_eq!((&sent["result"]["pid"], &sent["result"]["signal"]), (&json!(child.id()), &json!("TERM")), "{sent}");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(15));
    let (_, told) = host.get("/v1/events?type=system.process.signalled&origin=system");
    let said: Vec<&Value> = told["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    assert_eq!(
        said,
        [&json!({"pid": child.id(), "process": "sleep", "signal": "TERM"})],
        "and of those refused nothing"
    );
}

#[test]
fn declared_types_hold_when_the_values_change() {
    let datasource = format!("{FILES}types = {{orders = {{id = 'text', total = 'decimal(8,2)'}}}}\n");
    let host = files(&datasource, &[("orders.csv", "id,total,n\n7,10.5,1\n")]);
    host.wait_datasource("files", "running");
    let mut stream = host.stream("files", "orders");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    assert_eq!(stream.rows().unwrap(), [json!({"id": "7", "total": "10.50", "n": 1})]);
    let at = stream.position();
    put(&host, "orders.csv", "id,total,n\n7,x,1\n");
    wait_error(&host, "orders", &json!("column \"total\": \"x\" is no decimal(8,2) (at orders.csv:2)"));
    put(&host, "orders.csv", "id,total,n\nA7,11,1\n");
    stream.follow("the new rows", |_| {}, |rows| rows.unwrap()[0]["id"] == "A7");
    assert_eq!(stream.rows().unwrap(), [json!({"id": "A7", "total": "11.00", "n": 1})]);
    assert_eq!(stream.position(), (at.0, at.1 + 1), "the columns are the same, so it is the same life");
}

#[test]
fn push_declares_its_tables_or_says_what_is_wrong() {
    let bed = Bed::new();
    load(&bed, "push");
    let host = bed.start(
        "[datasource.good]\ndriver = 'push'\noptions.tables.machines = {columns = ['serial', {name = 'price', type = \
         'decimal(12,2)'}], key = ['serial']}\n[datasource.old]\ndriver = 'push'\noptions = {columns = ['a', \
         'b'], description = 'As before'}\n[datasource.bad]\ndriver = 'push'\noptions.columns = ['a', 'a']\n",
    );
    assert_eq!(host.wait_datasource("good", "running")["error"], Value::Null);
    assert_eq!(host.wait_datasource("old", "running")["error"], Value::Null);
    assert_eq!(
        host.wait_datasource("bad", "failed")["error"],
        "the options of the push driver are wrong: table \"data\": column 2: the name \"a\" is taken"
    );
}

const FILES: &str = "[datasource.files]\ndriver = 'files'\npoll = '100ms'\n[datasource.files.options]\npath = \
                     'data'\nkey = {orders = ['id']}\n";

/// A host that follows the folder `data`, which holds these files.
fn files(datasource: &str, files: &[(&str, &str)]) -> Host {
    let bed = Bed::new();
    load(&bed, "files");
    fs::create_dir(bed.path("data")).unwrap();
    files.iter().for_each(|(name, text)| fs::write(bed.path("data").join(name), text).unwrap());
    bed.start(datasource)
}

/// Puts a file there as programs should: whole at every moment.
fn put(host: &Host, name: &str, text: &str) {
    let beside = host.path("data").join(".new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, host.path("data").join(name)).unwrap();
}

fn wait_tables(host: &Host, expected: &[&str]) {
    wait_for("the tables", || match tables(host, "files") {
        now if now == expected => Ok(()),
        now => Err(format!("{now:?}")),
    });
}

/// Waits until a table's error is this one.
fn wait_error(host: &Host, table: &str, error: &Value) {
    host.wait_row("_host", "tables", &format!("table {table} to say {error}"), |row| {
        row["service"] == "files" && row["table"] == table && row["error"] == *error
    });
}

#[test]
fn files_come_change_and_vanish_as_tables() {
    let host = files(FILES, &[]);
    host.wait_datasource("files", "running");
    assert_eq!(tables(&host, "files"), [""; 0]);
    let mut stream = host.stream("files", "orders");
    put(&host, "orders.csv", "id,customer,total\n1,Ada,10.5\n2,Grace,7\n");
    stream.follow("the table", |_| {}, |rows| rows.is_some());
    let [ada, grace] =
        [json!({"id": 1, "customer": "Ada", "total": 10.5}), json!({"id": 2, "customer": "Grace", "total": 7.0})];
    assert_eq!(stream.rows().unwrap(), [ada.clone(), grace]);
    let (epoch, first) = stream.position();

    put(&host, "orders.csv", "id,customer,total\n1,Ada,10.5\n2,Grace,8\n3,Alan,1.25\n");
    let [changed, alan] =
        [json!({"id": 2, "customer": "Grace", "total": 8.0}), json!({"id": 3, "customer": "Alan", "total": 1.25})];
    stream.follow("the change", |_| {}, |rows| rows.unwrap().len() == 3);
    assert_eq!(stream.rows().unwrap(), [ada, alan, changed], "one row stayed, one came, one changed");
    assert_eq!(stream.position(), (epoch, first + 1), "all in one step");

    put(&host, "people.ndjson", "{\"name\": \"Ada\", \"born\": 1815}\n");
    wait_tables(&host, &["orders", "people"]);
    assert_eq!(host.rows("files", "people").unwrap(), [json!({"name": "Ada", "born": 1815})]);

    fs::remove_file(host.path("data/orders.csv")).unwrap();
    stream.follow("the table to go", |_| {}, |rows| rows.is_none());
    wait_tables(&host, &["people"]);
    put(&host, "orders.csv", "id\n4\n");
    stream.follow("the table to come back", |_| {}, |rows| rows.is_some());
    assert_eq!(stream.rows().unwrap(), [json!({"id": 4})]);
    assert!(stream.position().0 > epoch, "another life");
}

#[test]
fn a_malformed_file_is_its_table_s_error_and_the_others_go_on() {
    let good = [("orders.csv", "id,customer\n1,Ada\n2,Grace\n"), ("people.ndjson", "{\"name\":\"Ada\"}\n")];
    let host = files(FILES, &good);
    host.wait_datasource("files", "running");
    let before = host.rows("files", "orders").unwrap();
    let mut stream = host.stream("files", "orders");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    let at = stream.position();

    put(&host, "orders.csv", "id,customer\n1,Ada\n2\n3,Alan\n");
    let error = "a row of 1 cells, where there are 2 columns (at orders.csv:3)";
    wait_error(&host, "orders", &json!(error));
    let datasource = host.wait_datasource("files", "degraded");
    assert_eq!(datasource["error"], format!("table \"orders\": {error}"));
    assert_eq!(host.rows("files", "orders").unwrap(), before, "the last good rows stay");

    put(&host, "people.ndjson", "{\"name\":\"Ada\"}\n{\"name\":\"Alan\"}\n");
    host.wait_row("files", "people", "the other's change", |row| row["name"] == "Alan");
    wait_error(&host, "people", &Value::Null);

    put(&host, "people.ndjson", "{\"name\":\"Ada\"}\n{\"name\"}\n");
    wait_error(&host, "people", &json!("not JSON: expected `:` (column 8) (at people.ndjson:2)"));

    put(&host, "people.ndjson", good[1].1);
    put(&host, "orders.csv", "id,customer\n1,Ada\n2,Grace\n3,Alan\n");
    stream.follow("the repaired file", |_| {}, |rows| rows.unwrap().len() == 3);
    assert_eq!(stream.position(), (at.0, at.1 + 1), "the next step, in the same life");
    assert_eq!(host.wait_datasource("files", "running")["error"], Value::Null);
    wait_error(&host, "orders", &Value::Null);
}

#[test]
fn a_file_that_was_never_good_is_a_table_with_nothing_but_its_error() {
    let host = files(FILES, &[("good.csv", "id\n1\n"), ("bad.csv", "id\n1,2\n")]);
    let error = "a row of 2 cells, where there are 1 columns (at bad.csv:2)";
    wait_error(&host, "bad", &json!(error));
    assert_eq!(host.wait_datasource("files", "degraded")["error"], format!("table \"bad\": {error}"));
    assert_eq!(tables(&host, "files"), ["good"]);
    let said = host.run(&["rows", "files/bad"]);
    let text = format!("error: table files/bad could not be read yet: {error}\n");
    assert_eq!((said.err, said.code), (text + "  why: the host answered with HTTP status 503, Unavailable\n", Some(1)));
    put(&host, "bad.csv", "id\n1\n");
    host.wait_row("files", "bad", "the repaired file's row", |row| row["id"] == 1);
    wait_error(&host, "bad", &Value::Null);
}

#[test]
fn two_files_of_one_name_are_both_named_and_neither_is_read() {
    let host = files(FILES, &[("a.csv", "id\n1\n"), ("b.csv", "id\n1\n")]);
    host.wait_datasource("files", "running");
    put(&host, "a.tsv", "id\n2\n");
    let error = "a.csv and a.tsv are all table \"a\": rename all but one (at a.csv, a.tsv)";
    wait_error(&host, "a", &json!(error));
    assert_eq!(host.wait_datasource("files", "degraded")["error"], format!("table \"a\": {error}"));
    assert_eq!(host.rows("files", "a").unwrap(), [json!({"id": 1})], "the rows from before stay");
    fs::remove_file(host.path("data/a.csv")).unwrap();
    host.wait_row("files", "a", "the other file's rows", |row| row["id"] == 2);
    host.wait_datasource("files", "running");
}

/// The same driver as other bytes: one more at the end, which nobody reads.
fn rebuild(host: &Host, times: usize) {
    let mut bytes = fs::read(driver("files")).unwrap();
    bytes.extend(vec![b'\n'; times]);
    let beside = host.path("driver.new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, host.plugin("libbusway_files.so")).unwrap();
}

fn generation(host: &Host) -> u64 {
    host.rows("_host", "datasources").unwrap()[0]["generation"].as_u64().unwrap()
}

#[test]
fn the_driver_is_replaced_while_its_files_change() {
    let text = |version: u64| {
        let rows: String = (0..20).map(|id| format!("{id},{version}\n")).collect();
        format!("id,version\n{rows}")
    };
    let host = files(&FILES.replace("100ms", "20ms"), &[("orders.csv", &text(1))]);
    host.wait_datasource("files", "running");
    let mut stream = host.stream("files", "orders");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    let (epoch, _) = stream.position();
    let mut last = 1;
    let next = |rows: Option<&[Value]>, last: &mut u64| {
        let rows = rows.expect("the table is there at every moment");
        assert_eq!(rows.len(), 20, "every row is there at every moment");
        let version = rows[0]["version"].as_u64().unwrap();
        assert!(rows.iter().all(|row| row["version"] == version), "no state is of two files: {rows:?}");
        assert!(version > *last, "it never goes back");
        *last = version;
        // As fast as it is read, and no faster.
        put(&host, "orders.csv", &text(version + 1));
    };
    put(&host, "orders.csv", &text(2));
    for (times, reached) in [(1, 2), (2, 3)] {
        rebuild(&host, times);
        stream.follow("another generation", |rows| next(rows, &mut last), |_| generation(&host) == reached);
        let further = last + 5;
        let reached = |rows: Option<&[Value]>| rows.unwrap()[0]["version"].as_u64().unwrap() >= further;
        stream.follow("more of its rows", |rows| next(rows, &mut last), reached);
    }
    assert_eq!((stream.position().0, stream.snapshots()), (epoch, 1), "one epoch, and steps over all generations");
    assert_eq!(host.wait_datasource("files", "running")["error"], Value::Null);
}

#[test]
fn inv05_a_build_that_can_not_read_what_the_old_one_could_is_held_back() {
    let host = files(&FILES.replace("100ms", "1h"), &[("orders.csv", "id\n1\n")]);
    host.wait_datasource("files", "running");
    put(&host, "orders.csv", "id\n1,2\n");
    rebuild(&host, 1);
    let held = host.wait_row("_host", "plugins", "the new build to be held back", |row| row["state"] == "held back");
    assert_eq!(
        held["reason"],
        "datasource \"files\" could not be polled with it: table \"orders\": a row of 2 cells, where there are 1 columns \
         (at orders.csv:2); the bytes before serve on"
    );
    assert_eq!(host.wait_datasource("files", "running")["generation"], 1);
    assert_eq!(host.rows("files", "orders").unwrap(), [json!({"id": 1})]);
}
