//! Calls over HTTP: what every service and node answers, and each way in which a call can fail.

use busway_tests::host::{Bed, Host};
use busway_tests::session::Session;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;

fn call(host: &Host, path: &str, args: &Value) -> (u16, Value) {
    host.post(&format!("/v1/{path}"), args)
}

/// Status, message and what programs read of an error.
fn error((status, body): (u16, Value)) -> (u16, String, Value) {
    let error = &body["error"];
    assert_eq!(error["error_code"], status, "{body}");
    (status, error["message"].as_str().unwrap().to_owned(), error["error_data"].clone())
}

#[test]
fn every_service_and_node_answers() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "web", &json!({"addresses": ["shops"]})).unwrap();
    let args = json!({"a": [1, null]});
    assert_eq!(call(&host, "services/web/calls/ping", &args), (200, json!({"result": args})));
    // No body is no arguments.
    assert_eq!(host.send("POST", "/v1/services/web/calls/ping", &[], &Value::Null), (200, json!({"result": {}})));
    assert_eq!(call(&host, "addresses/shops/calls/ping", &args), (200, json!({"result": args})));
    let (_, info) = call(&host, "services/web/calls/info", &json!({}));
    assert_eq!((&info["result"]["service_id"], &info["result"]["published_tables"]), (&json!("web"), &json!([])));
    let (_, nodes) = host.get("/v1/nodes");
    let node = nodes["results"][0]["node"].as_str().unwrap();
    assert_eq!(nodes["results"][0]["state"], "here");
    assert_eq!(call(&host, &format!("nodes/{node}/calls/ping"), &args), (200, json!({"result": args})));
    let (_, status) = call(&host, "services/web/calls/status", &json!({}));
    assert_eq!(
        (&status["result"]["state"], &status["result"]["instance"]),
        (&json!("running"), &json!(session.instance))
    );
}

#[test]
fn a_call_that_fails_says_how() {
    let host = Bed::new().start("");
    let methods = json!({"methods": [{"name": "work", "description": "takes its time"}]});
    let mut session = Session::open(&host, "web", &methods).unwrap();
    assert_eq!(
        error(call(&host, "services/wbe/calls/ping", &json!({}))),
        (404, "service \"wbe\" is not there: there are web".to_owned(), json!({"kind": "not_found", "there": ["web"]}))
    );
    let (status, text, data) = error(call(&host, "services/web/calls/wrk", &json!({})));
    assert_eq!((status, &data["kind"]), (404, &json!("unknown_method")));
    assert!(text.starts_with("service \"web\" has no method \"wrk\": it has get_last_"), "{text}");
    assert!(data["methods"].as_array().unwrap().contains(&json!("work")), "{data}");
    assert_eq!(
        error(call(&host, "services/web/calls/work?deadline=50ms", &json!({}))),
        (504, "service \"web\" did not answer \"work\" within 50ms".to_owned(), json!({"kind": "timed_out"}))
    );
    // The service is told that nobody waits any longer.
    let id = session.expect("call")["id"].clone();
    assert_eq!(session.expect("cancel"), json!({"id": id}));
    for (deadline, shown) in [("0s", "0s"), ("soon", "soon"), ("2h", "2h"), ("-1", "-1")] {
        let (status, text, _) = error(call(&host, &format!("services/web/calls/work?deadline={deadline}"), &json!({})));
        let expected = format!("{shown:?} is no deadline: write 5s, 500ms or 1m 30s, an hour at most");
        assert_eq!((status, text), (400, expected));
    }
    let (status, _, _) = error(call(&host, "services/web/calls/work?dedline=5s", &json!({})));
    assert_eq!(status, 400);
    // Over TCP, a call needs the token as any other write.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let refused = agent.post(format!("{}/v1/services/web/calls/ping", host.url())).send_empty().unwrap();
    assert_eq!(refused.status().as_u16(), 403);

    let waiting = std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&host, "services/web/calls/work", &json!({})));
        session.expect("call");
        drop(session);
        calling.join().unwrap()
    });
    assert_eq!(
        error(waiting),
        (
            503,
            "the service went away before it answered \"work\"".to_owned(),
            json!({"kind": "unreachable", "data": null})
        )
    );
}

#[test]
fn more_calls_than_a_service_may_run_are_refused_at_once() {
    let host = Bed::new().start("");
    let mut session = Session::open(&host, "web", &json!({"methods": [{"name": "work"}]})).unwrap();
    let request = b"POST /v1/services/web/calls/work HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let open: Vec<UnixStream> = (0..1024)
        .map(|_| {
            let mut stream = UnixStream::connect(host.path("bus.sock")).unwrap();
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    (0..1024).for_each(|_| drop(session.expect("call")));
    assert_eq!(
        error(call(&host, "services/web/calls/ping", &json!({}))),
        (
            429,
            "service \"web\" runs 1024 calls, as many as it may: try again later".to_owned(),
            json!({"kind": "busy"})
        )
    );
    // Who goes makes room.
    drop(open);
    (0..1024).for_each(|_| drop(session.expect("cancel")));
    assert_eq!(call(&host, "services/web/calls/ping", &json!({})).0, 200);
}

#[test]
fn subscribers_begin_anew_when_an_operator_says_so() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "web", &json!({})).unwrap();
    let orders = json!({"columns": [{"name": "id", "type": "int64"}], "rows": [{"id": 1}]});
    session.done(&host, "PUT", "tables/orders", &orders);
    let mut stream = host.stream("web", "orders");
    stream.follow("the table", |_| {}, |rows| rows.is_some());
    let (_, all) = host.get("/v1/subscriptions");
    let mine = &all["results"][0];
    assert_eq!((&mine["tables"], &mine["subscriber"]), (&json!("web/orders"), &Value::Null));
    assert_eq!(mine["holds"][0]["to"], 1);
    let id = mine["id"].clone();
    for body in [json!({"all": true}), json!({"subscription": id})] {
        let before = stream.snapshots();
        assert_eq!(host.post("/v1/resync", &body), (200, json!({"subscriptions": 1})));
        // A change is told as a snapshot, not as a step.
        session.done(&host, "PATCH", "tables/orders", &json!({"added": [{"id": before + 10}]}));
        let has = |rows: Option<&[Value]>| rows.is_some_and(|rows| rows.contains(&json!({"id": before + 10})));
        stream.follow("a row", |_| {}, has);
        assert_eq!(stream.snapshots(), before + 1, "{body}");
    }
    assert_eq!(host.post("/v1/resync", &json!({"service": "web"})), (200, json!({"subscriptions": 0})));
    for (body, status, text) in [
        (json!({"service": "wbe"}), 404, "no service \"wbe\": there are web"),
        (
            json!({"subscription": "c5c8d8b0-0000-4000-8000-000000000000"}),
            404,
            "no subscription c5c8d8b0-0000-4000-8000-000000000000: GET /v1/subscriptions lists those there are",
        ),
        (json!({}), 400, "the body is {\"all\": true}, {\"service\": NAME} or {\"subscription\": ID}: say one of them"),
        (
            json!({"all": true, "service": "web"}),
            400,
            "the body is {\"all\": true}, {\"service\": NAME} or {\"subscription\": ID}: say one of them",
        ),
    ] {
        let (found, said, _) = error(host.post("/v1/resync", &body));
        assert_eq!((found, said.as_str()), (status, text));
    }
}
