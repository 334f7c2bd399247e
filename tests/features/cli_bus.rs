//! The command line on the bus: calls, nodes, resync, tables by pattern. Whole texts, exit codes.

use crate::cli::{fails, json_of, lines_of, out};
use busway_tests::host::{Bed, Host};
use busway_tests::proxy::Proxy;
use busway_tests::running::Running;
use busway_tests::session::Session;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

fn orders(ids: &[u64]) -> Value {
    let rows: Vec<Value> = ids.iter().map(|id| json!({"id": id, "total": 1.5})).collect();
    let columns = json!([{"name": "id", "type": "int64"}, {"name": "total", "type": "float64"}]);
    json!({"columns": columns, "key": ["id"], "rows": rows})
}

fn adder(host: &Host) -> Session {
    let body = json!({"addresses": ["sums"], "methods": [{"name": "add", "description": "adds two numbers"}]});
    Session::open(host, "web.north", &body).unwrap()
}

/// Answers the next call with that, meanwhile.
fn answering<T>(host: &Host, session: &mut Session, answer: &Value, ask: impl FnOnce() -> T + Send) -> (Value, T)
where
    T: Send,
{
    std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let call = session.expect("call");
        session.done(host, "POST", &format!("calls/{}/answer", call["id"]), answer);
        (call, asking.join().unwrap())
    })
}

#[test]
fn call_prints_what_a_service_answers() {
    let host = Bed::new().start("");
    let mut session = adder(&host);
    let args = ["call", "web.north", "add", "{\"a\": 1, \"b\": 2}"];
    let mut answered = |answer: Value, more: &[&str]| {
        let (call, said) =
            answering(&host, &mut session, &json!({"result": answer}), || host.run(&[&args[..], more].concat()));
        assert_eq!((&call["method"], &call["args"]), (&json!("add"), &json!({"a": 1, "b": 2})));
        out(said)
    };
    assert_eq!(answered(json!(3), &[]), "3\n");
    assert_eq!(answered(json!("three"), &[]), "three\n");
    assert_eq!(answered(json!({"sum": [3]}), &[]), "{\n  \"sum\": [\n    3\n  ]\n}\n");
    assert_eq!(answered(json!({"sum": 3}), &["-o", "jsonl"]), "{\"sum\":3}\n");
    let document: Value = serde_json::from_str(&answered(json!(3), &["-o", "json"])).unwrap();
    assert_eq!(document, json!({"schema_version": 1, "to": "web.north", "method": "add", "result": 3}));

    assert_eq!(out(host.run(&["call", "web.north", "ping"])), "{}\n");
    assert_eq!(out(host.run(&["call", "--any", "sums", "ping", "[7]", "-o", "jsonl"])), "[7]\n");
    let (_, nodes) = host.get("/v1/nodes");
    let node = nodes["results"][0]["node"].as_str().unwrap();
    let services = host.run(&["call", "--node", node, "services", "-o", "jsonl"]);
    assert_eq!(out(services), "[\"_host\",\"web.north\"]\n");
    // Arguments too long for a command line come from stdin.
    let mut command = host.command(&["call", "web.north", "ping", "-", "-o", "jsonl"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"long\": 1}").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"{\"long\":1}\n");
}

#[test]
fn a_call_that_fails_says_why_and_what_there_is() {
    let host = Bed::new().start("");
    let mut session = adder(&host);
    let fault = json!({"error": {"kind": "bad_sum", "message": "add takes a and b", "data": {"got": []}}});
    let (_, said) = answering(&host, &mut session, &fault, || host.run(&["call", "web.north", "add"]));
    let why = "  why: the service calls it bad_sum, and adds {\"got\":[]}\n";
    fails(&said, 1, &format!("error: add takes a and b\n{why}"));
    for (arguments, code, error) in [
        (
            &["web.nort", "add"][..],
            4,
            "error: no service web.nort\n  why: the services are web.north\n  try: web.north, which is a near name\n",
        ),
        (
            &["web.north", "ad"],
            4,
            "error: web.north has no method ad\n  why: its methods are add, get_last_published_data_with_seqnum, \
             get_snapshot, held, info, methods, ping, published, status, subscribers, subscriptions\n  try: add, which is \
             a near name\n",
        ),
        (
            &["web.north", "add", "{a}"],
            2,
            "error: the arguments are no JSON: key must be a string at line 1 column 2\n  try: an object of named \
             arguments: '{\"name\": \"value\"}'\n",
        ),
        (
            &["web.north", "add", "--deadline", "50ms"],
            1,
            "error: service \"web.north\" did not answer \"add\" within 50ms\n  why: the host answered with HTTP status \
             504, timed_out\n",
        ),
    ] {
        fails(&host.run(&[&["call"], arguments].concat()), code, error);
    }
    // Over TCP, it is refused without the token.
    let said = host.run(&["call", "web.north", "ping", "--host", host.url()]);
    let why = "  why: the host answered with HTTP status 403, Forbidden\n";
    let text = "over TCP this host answers reads only: use its unix socket, or set listen.token_file or \
                listen.open_writes";
    fails(&said, 1, &format!("error: {text}\n{why}"));
}

#[test]
fn with_the_token_a_call_goes_over_tcp() {
    let bed = Bed::new();
    std::fs::write(bed.path("token"), "hush\n").unwrap();
    let host = bed.start("token_file = 'token'\n");
    let mut command = host.command(&["call", "_host", "ping", "--host", host.url()]);
    command.env("BUSWAY_TOKEN", "hush");
    assert_eq!(out(Running::start(command).end()), "{}\n");
    let mut command = host.command(&["call", "_host", "ping", "--host", host.url()]);
    command.env("BUSWAY_TOKEN", "shout");
    let text = "error: this needs the token, as \"Authorization: Bearer …\" or \"X-Auth-Token: …\"\n  why: the host answered with HTTP status 401, Unauthorized\n";
    fails(&Running::start(command).end(), 1, text);
}

#[test]
fn nodes_and_resync() {
    let host = Bed::new().start("");
    let (_, nodes) = host.get("/v1/nodes");
    let node = &nodes["results"][0];
    let (name, process) = (node["node"].as_str().unwrap(), node["process"].as_str().unwrap());
    let width = name.len().max(4);
    let text = format!("{:<width$}  state  process\n{name:<width$}  here   {process}\n", "node");
    assert_eq!(out(host.run(&["nodes"])), text);
    assert_eq!(json_of(host.run(&["nodes", "-o", "json"])), json!({"schema_version": 1, "nodes": [node]}));
    assert_eq!(lines_of(&out(host.run(&["nodes", "-o", "jsonl"]))), std::slice::from_ref(node));

    assert_eq!(out(host.run(&["resync", "--all"])), "0 subscriptions begin anew\n");
    let session = adder(&host);
    session.done(&host, "PUT", "tables/orders", &orders(&[1]));
    host.wait_row("_host", "tables", "the table", |row| row["service"] == "web.north");
    let mut watch = Running::start(host.command(&["watch", "web.north/orders", "-o", "jsonl"]));
    assert!(watch.line().starts_with("{\"op\":\"snapshot\","));
    assert_eq!(out(host.run(&["resync", "--all"])), "1 subscription begins anew\n");
    let document = json!({"schema_version": 1, "subscriptions": 0});
    assert_eq!(json_of(host.run(&["resync", "--service", "web.north", "-o", "json"])), document);
    let text =
        "error: no service \"web\": there are web.north\n  why: the host answered with HTTP status 404, NotFound\n";
    fails(&host.run(&["resync", "--service", "web"]), 4, text);
    let said = host.run(&["resync"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("<--all|--service <SERVICE>|--subscription <ID>>"), "{}", said.err);
}

#[test]
fn watch_takes_patterns() {
    let host = Bed::new().start("");
    let session = adder(&host);
    session.done(&host, "PUT", "tables/orders", &orders(&[1]));
    host.wait_row("_host", "tables", "the table", |row| row["service"] == "web.north");
    let mut text = Running::start(host.command(&["watch", "web.*/orders", "--count", "4"]));
    let mut lines = Running::start(host.command(&["watch", "#/#", "--count", "4", "-o", "jsonl"]));
    assert_eq!(text.line(), "= web.north/orders: 1 row at step 1");
    let first: Value = serde_json::from_str(&lines.line()).unwrap();
    assert_eq!(
        (&first["op"], &first["service"], &first["table"]),
        (&json!("snapshot"), &json!("web.north"), &json!("orders"))
    );
    // A service that comes later.
    let south = Session::open(&host, "web.south", &json!({})).unwrap();
    south.done(&host, "PUT", "tables/orders", &orders(&[]));
    assert_eq!(text.line(), "= web.south/orders: 0 rows at step 1");
    assert_eq!(serde_json::from_str::<Value>(&lines.line()).unwrap()["service"], "web.south");
    south.done(&host, "PATCH", "tables/orders", &json!({"added": [{"id": 7, "total": 2}]}));
    assert_eq!(text.line(), "web.south/orders + id=7 total=2");
    session.done(&host, "PATCH", "tables/orders", &json!({"added": [{"id": 1, "total": 3}]}));
    assert_eq!(text.line(), "web.north/orders ~ id=1 total=1.5→3");
    session.done(&host, "PATCH", "tables/orders", &json!({"removed": [{"id": 1}]}));
    assert_eq!(text.line(), "web.north/orders - id=1 total=3");
    drop(session);
    assert_eq!(out(text.end()), "web.north/orders is gone; waiting for it\n");
    let lines = lines_of(&out(lines.end()));
    let ops: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["op"].as_str().unwrap(), line["service"].as_str().unwrap())).collect();
    let (north, south) = ("web.north", "web.south");
    assert_eq!(ops, [("add", south), ("update", north), ("remove", north), ("gone", north)]);

    let mut none = Running::start(host.command(&["watch", "mail.*/#", "--count", "1"]));
    let mail = Session::open(&host, "mail.out", &json!({})).unwrap();
    mail.done(&host, "PUT", "tables/orders", &orders(&[]));
    assert_eq!(none.line(), "= mail.out/orders: 0 rows at step 1");
    drop(mail);
    let said = none.end();
    assert_eq!(said.out, "mail.out/orders is gone; waiting for it\n");
    assert!(["", "no table meets mail.*/# yet; waiting for one\n"].contains(&said.err.as_str()), "{}", said.err);
    fails(
        &host.run(&["watch", "web..*/orders"]),
        2,
        &format!("error: {}\n", "web..*/orders".parse::<busway::bus::Selector>().unwrap_err()),
    );
}

#[test]
fn watch_goes_on_where_it_was_when_its_connection_breaks() {
    let host = Bed::new().start("");
    let session = adder(&host);
    session.done(&host, "PUT", "tables/orders", &orders(&[1]));
    host.wait_row("_host", "tables", "the table", |row| row["service"] == "web.north");
    let proxy = Proxy::new(host.url());
    let arguments = ["watch", "web.north/orders", "-o", "jsonl", "--count", "2", "--host", proxy.url()];
    let mut watch = Running::start(host.command(&arguments));
    assert!(watch.line().starts_with("{\"op\":\"snapshot\","));
    proxy.cut();
    session.done(&host, "PATCH", "tables/orders", &json!({"added": [{"id": 2, "total": 1}]}));
    session.done(&host, "PATCH", "tables/orders", &json!({"added": [{"id": 3, "total": 1}]}));
    let said = watch.end();
    // No second snapshot: the steps that were missed, and nothing else.
    let changes = lines_of(&said.out);
    let ids: Vec<&Value> = changes.iter().map(|change| &change["row"]["id"]).collect();
    assert_eq!((ids, said.code), (vec![&json!(2), &json!(3)], Some(0)), "{}", said.err);
    assert!(said.err.contains("web.north/orders: the host went away: "), "{}", said.err);
    assert!(said.err.ends_with("web.north/orders: back, at step 1\n"), "{}", said.err);
}
