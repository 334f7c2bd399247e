//! Services from outside: a program registers one over HTTP, answers calls, publishes tables, and is gone when its
//! connection is.

use busway_tests::host::{Bed, Host};
use busway_tests::running::Running;
use busway_tests::session::Session;
use busway_tests::stream::events;
use busway_tests::{DEADLINE, wait_for};
use serde_json::{Value, json};

fn orders(rows: &Value) -> Value {
    json!({
        "columns": [
            {"name": "id", "type": "int64", "description": "its number"},
            {"name": "customer", "type": "text"},
            {"name": "total", "type": "decimal(12,2)"},
        ],
        "key": ["id"],
        "topic": "customer",
        "description": "All orders",
        "rows": rows,
    })
}

fn order(id: u64, customer: &str, total: &str) -> Value {
    json!({"id": id, "customer": customer, "total": total})
}

fn error((status, body): (u16, Value)) -> (u16, String) {
    (status, body["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned())
}

fn services(host: &Host) -> Vec<String> {
    let (_, all) = host.get("/v1/services");
    all["results"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

fn wait_gone(host: &Host, service: &str) {
    wait_for("the service to be gone", || {
        let all = services(host);
        if all.iter().any(|name| name == service) { Err(format!("{all:?}")) } else { Ok(()) }
    });
}

#[test]
fn a_table_is_published_changed_and_ended() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    let rows = json!([order(1, "Ada", "12.50"), order(2, "Grace", "7.00")]);
    let published = session.done(&host, "PUT", "tables/orders", &orders(&rows));
    assert_eq!((&published["to"], &published["rows"], &published["changed"]), (&json!(1), &json!(2), &json!(true)));
    assert_eq!(session.done(&host, "PUT", "tables/orders", &orders(&rows))["changed"], false);
    let (_, whole) = host.get("/v1/services/shop/tables/orders/rows");
    assert_eq!((&whole["rows"], &whole["key"], &whole["topic"]), (&rows, &json!(["id"]), &json!("customer")));
    assert_eq!(
        whole["columns"],
        json!([
            {"name": "id", "type": "Int64", "nullable": false, "description": "its number"},
            {"name": "customer", "type": "Utf8", "nullable": true, "description": ""},
            {"name": "total", "type": "Decimal128(12, 2)", "nullable": true, "description": ""},
        ])
    );
    let stream = format!("{}/v1/services/shop/tables/orders/stream", host.url());
    let events = events(&stream, None);
    let next = || events.recv_timeout(DEADLINE).unwrap();
    assert_eq!(next().event, "snapshot");
    // A row that is there is replaced; a key is enough to remove one, and so is a whole row.
    let changes =
        json!({"added": [order(2, "Grace", "8.00"), order(3, "Alan", "1.00")], "removed": [{"id": 1}], "poll": 7});
    session.done(&host, "PATCH", "tables/orders", &changes);
    let step = next();
    let updated = json!([{"old": order(2, "Grace", "7.00"), "new": order(2, "Grace", "8.00")}]);
    assert_eq!((step.event.as_str(), &step.data["updated"]), ("step", &updated));
    assert_eq!((&step.data["from"], &step.data["to"], &step.data["poll"]), (&json!(1), &json!(2), &json!(7)));
    assert_eq!(step.data["removed"], json!([order(1, "Ada", "12.50")]));
    assert_eq!(step.data["added"], json!([order(3, "Alan", "1.00")]));
    session.done(&host, "PATCH", "tables/orders", &json!({"removed": [order(3, "Alan", "1.00")]}));
    assert_eq!(next().data["to"], 3);
    session.done(&host, "DELETE", "tables/orders", &Value::Null);
    let gone = next();
    assert_eq!((gone.event.as_str(), gone.data), ("gone", json!({"service": "shop", "table": "orders"})));
    // It may come again.
    session.done(&host, "PUT", "tables/orders", &orders(&rows));
    assert_eq!(next().event, "snapshot");
    drop(session);
    assert_eq!(next().event, "gone", "the table ends with its service");
    wait_gone(&host, "shop");
}

#[test]
fn calls_come_over_the_stream_and_answers_by_request() {
    let host = Bed::new().start("");
    let methods = json!({"methods": [{"name": "add", "description": "adds two numbers"}, {"name": "fail"}]});
    let mut session = Session::open(&host, "sums", &methods).unwrap();
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| host.post("/v1/services/sums/calls/add?deadline=20s", &json!({"a": 1, "b": 2})));
        let call = session.expect("call");
        assert_eq!((&call["method"], &call["args"]), (&json!("add"), &json!({"a": 1, "b": 2})));
        assert_eq!((&call["deadline_ms"], call["caller"]["node"].is_string()), (&json!(20_000), true));
        let answer = format!("calls/{}/answer", call["id"]);
        session.done(&host, "POST", &answer, &json!({"result": {"sum": 3}}));
        assert_eq!(calling.join().unwrap(), (200, json!({"result": {"sum": 3}})));
        let id = &call["id"];
        assert_eq!(
            error(session.send(&host, "POST", &answer, &json!({"result": 4}))),
            (
                404,
                format!(
                    "no call {id} of service \"sums\" waits for an answer: it was answered, or its caller waits no \
                     longer"
                )
            )
        );

        let calling = scope.spawn(|| host.post("/v1/services/sums/calls/fail", &json!({})));
        let call = session.expect("call");
        let answer = format!("calls/{}/answer", call["id"]);
        for wrong in [json!({}), json!({"result": 1, "error": {"kind": "a", "message": "b"}}), json!([])] {
            let (status, text) = error(session.send(&host, "POST", &answer, &wrong));
            let form = "the body is {\"result\": …} or {\"error\": {\"kind\", \"message\", \"data\"}}: ";
            assert!(status == 400 && text.starts_with(form), "{status} {text}");
        }
        let fault = json!({"error": {"kind": "not_today", "message": "it is Sunday", "data": {"day": 7}}});
        session.done(&host, "POST", &answer, &fault);
        let (status, body) = calling.join().unwrap();
        assert_eq!(
            (status, &body["error"]),
            (
                422,
                &json!({"message": "it is Sunday", "error_code": 422,
                    "error_data": {"kind": "not_today", "data": {"day": 7}}})
            )
        );
        // A result that is null is one.
        let calling = scope.spawn(|| host.post("/v1/services/sums/calls/add", &json!({})));
        let id = session.expect("call")["id"].clone();
        session.done(&host, "POST", &format!("calls/{id}/answer"), &json!({"result": null}));
        assert_eq!(calling.join().unwrap(), (200, json!({"result": null})));
    });
    let (_, methods) = host.post("/v1/services/sums/calls/methods", &json!({}));
    let add = json!({"name": "add", "description": "adds two numbers"});
    assert!(methods["result"].as_array().unwrap().contains(&add), "{methods}");
}

#[test]
fn a_caller_that_goes_is_told_to_the_service() {
    let host = Bed::new().start("");
    let mut session = Session::open(&host, "sums", &json!({"methods": [{"name": "add"}]})).unwrap();
    let mut caller = std::os::unix::net::UnixStream::connect(host.path("bus.sock")).unwrap();
    let request = "POST /v1/services/sums/calls/add HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    std::io::Write::write_all(&mut caller, request.as_bytes()).unwrap();
    let id = session.expect("call")["id"].clone();
    drop(caller);
    assert_eq!(session.expect("cancel"), json!({"id": id}));
}

#[test]
fn a_service_hears_which_of_its_tables_are_wanted() {
    let host = Bed::new().start("");
    let mut session = Session::open(&host, "shop", &json!({"tables": ["orders", "items"]})).unwrap();
    // Offered, not there: a pattern meets it all the same.
    let one = events(&format!("{}/v1/stream?tables=shop/%23&tables=shop/orders", host.url()), None);
    let mut wanted = [session.expect("wanted"), session.expect("wanted")];
    wanted.sort_by_key(Value::to_string);
    let is = |table: &str, wanted: bool| json!({"table": table, "wanted": wanted});
    assert_eq!(wanted, [is("items", true), is("orders", true)]);
    session.done(&host, "PUT", "tables/orders", &orders(&json!([])));
    let first = one.recv_timeout(DEADLINE).unwrap();
    assert_eq!((first.event.as_str(), &first.data["rows"]), ("snapshot", &json!([])));

    // When the last one goes, so does the wish.
    let mut session = Session::open(&host, "mall", &json!({"tables": ["orders"]})).unwrap();
    session.done(&host, "PUT", "tables/orders", &orders(&json!([])));
    host.wait_row("_host", "tables", "the table", |row| row["service"] == "mall");
    let mut watch = Running::start(host.command(&["watch", "mall/orders", "-o", "jsonl"]));
    assert!(watch.line().starts_with("{\"op\":\"snapshot\","));
    assert_eq!(session.expect("wanted"), is("orders", true));
    drop(watch);
    assert_eq!(session.expect("wanted"), is("orders", false));
}

#[test]
fn a_name_is_one_service_s_and_the_first_is_unharmed() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    session.done(&host, "PUT", "tables/orders", &orders(&json!([order(1, "Ada", "1.00")])));
    let refused = |name: &str, body: Value| Session::open(&host, name, &body).unwrap_err();
    assert_eq!(refused("shop", json!({})), (409, "a service named \"shop\" already exists".to_owned()));
    assert_eq!(refused("_host", json!({})).0, 409);
    assert_eq!(
        refused("a..b", json!({})),
        (
            400,
            "\"a..b\" can't name a service: use words of A-Z a-z 0-9 _ - joined by dots, 255 characters at most"
                .to_owned()
        )
    );
    let (status, text) = refused("other", json!({"metods": []}));
    assert_eq!(status, 400);
    assert!(
        text.starts_with(
            "the body is {\"addresses\": [], \"methods\": [{\"name\", \"description\"}], \"tables\": []}: "
        )
    );
    // Refused as a whole: nothing is left of it.
    assert_eq!(refused("other", json!({"addresses": ["a b"]})).0, 400);
    assert!(!services(&host).contains(&"other".to_owned()));
    assert_eq!(host.rows("shop", "orders").unwrap().len(), 1);
}

#[test]
fn nobody_writes_what_is_another_s() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    let path = "/v1/services/shop/tables/orders";
    let body = orders(&json!([]));
    assert_eq!(
        error(host.put(path, &body)),
        (400, "say which session this is of: the header x-busway-instance, as the event registered has it".to_owned())
    );
    let as_another = |name: &str, instance: &str| {
        error(host.send(
            "PUT",
            &format!("/v1/services/{name}/tables/orders"),
            &[("x-busway-instance", instance)],
            &body,
        ))
    };
    let other = "c5c8d8b0-0000-4000-8000-000000000000";
    assert_eq!(
        as_another("shop", other),
        (409, "service \"shop\" is another session's by now: this one's has ended".to_owned())
    );
    assert_eq!(
        as_another("_host", &session.instance),
        (
            403,
            "service \"_host\" can't be written from outside: it was not registered by POST /v1/services/NAME/session"
                .to_owned()
        )
    );
    assert_eq!(
        as_another("nobody", other),
        (
            404,
            "no service \"nobody\": register it by POST /v1/services/nobody/session, and keep that connection"
                .to_owned()
        )
    );
    // Whoever registers the name next is another.
    let old = session.instance.clone();
    drop(session);
    wait_gone(&host, "shop");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    assert_eq!(as_another("shop", &old).0, 409);
    session.done(&host, "PUT", "tables/orders", &body);
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    assert_eq!(
        error(session.send(&host, "PATCH", "tables/orders", &json!({"added": []}))),
        (404, "service \"shop\" publishes no table \"orders\": publish it whole first, by PUT".to_owned())
    );
    assert_eq!(error(session.send(&host, "DELETE", "tables/orders", &Value::Null)).0, 404);
    let good = json!([order(1, "Ada", "1.00")]);
    session.done(&host, "PUT", "tables/orders", &orders(&good));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = orders(&good);
        change(&mut body);
        error(session.send(&host, "PUT", "tables/orders", &body))
    };
    for ((status, said), text) in [
        (
            with(&|body| body["rows"] = json!([order(1, "Ada", "1.00"), order(2, "Grace", "1.005")])),
            "row 2, column \"total\": \"1.005\" is no decimal(12,2)",
        ),
        (
            with(&|body| body["rows"] = json!([{"customer": "Ada"}])),
            "row 1, column \"id\": a value is missing, and the column may not be null",
        ),
        (
            with(&|body| body["rows"][0]["size"] = json!(1)),
            "row 1 has \"size\", which is no column: there are id, customer, total",
        ),
        (
            with(&|body| body["columns"][0]["type"] = json!("number")),
            "column \"id\": \"number\" is no type: there are bool, int8, int16, int32, int64, uint8, uint16, uint32, \
             uint64, float32, float64, text, binary, date, timestamp, local_timestamp, decimal(P,S), list(T)",
        ),
        (with(&|body| body["columns"][1]["name"] = json!("id")), "there are two columns \"id\""),
        (with(&|body| body["key"] = json!(["di"])), "key column \"di\" is not one of the table's columns"),
        (with(&|body| body["topic"] = json!("what")), "topic column \"what\" is not one of the table's columns"),
        (with(&|body| body["columns"] = json!([])), "a table has one column at least"),
        (
            with(&|body| body["keys"] = json!([])),
            "the body is {\"columns\": [{\"name\", \"type\"}], \"key\": [], \"rows\": []}: unknown field `keys`, expected \
             one of `columns`, `key`, `topic`, `description`, `poll`, `rows` at line 1 column 258",
        ),
    ] {
        assert_eq!((status, said.as_str()), (400, text));
    }
    let patch = |body: Value| error(session.send(&host, "PATCH", "tables/orders", &body));
    assert_eq!(
        patch(json!({"added": [order(2, "Alan", "x")]})),
        (400, "row 1 of added, column \"total\": \"x\" is no decimal(12,2)".to_owned())
    );
    assert_eq!(
        patch(json!({"removed": [{"id": 1}, {"id": 9}]})),
        (400, "the delta contradicts the table: it removes a key that is not there".to_owned())
    );
    let (status, answer) = session.send(&host, "PATCH", "tables/orders", &json!({"removed": [{"id": true}]}));
    assert_eq!(
        (status, &answer["error"]["error_data"]),
        (400, &json!({"kind": "BadRequest", "row": 1, "column": "id"}))
    );
    let (_, whole) = host.get("/v1/services/shop/tables/orders/rows");
    assert_eq!((&whole["rows"], &whole["to"]), (&good, &json!(1)));
}

#[test]
fn a_session_ends_with_its_host_and_sessions_come_back() {
    let host = Bed::new().start("");
    let mut session = Session::open(&host, "shop", &json!({})).unwrap();
    let host = host.restart("");
    assert!(!services(&host).contains(&"shop".to_owned()));
    let again = Session::open(&host, "shop", &json!({})).unwrap();
    assert_ne!(again.instance, session.instance);
    session.instance.clone_from(&again.instance);
    session.done(&host, "PUT", "tables/orders", &orders(&json!([])));
}
