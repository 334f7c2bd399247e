//! The predecessor's HTTP API, path by path: the same where a client relies on it, right where it was wrong. Tests that
//! begin with `fault` carry the number that the fault has in the list of the predecessor's faults.

use busway::bus::{Address, SubscribeOptions};
use busway::config::{Config, Datasource};
use busway::node::Node;
use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::workspace::driver;
use busway_tests::{DEADLINE, wait_for};
use serde_json::{Value, json};
use std::time::Duration;

fn start(config: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    for name in ["push", "files"] {
        std::fs::copy(driver(name), bed.plugin(&format!("lib{name}.so"))).unwrap();
    }
    let host = bed.start(config);
    for file in ["libfixture.so", "libpush.so", "libfiles.so"] {
        host.wait_plugin(file, "serving");
    }
    host
}

fn draft(name: &str, driver: &str, config: Value) -> Value {
    json!({"name": name, "driver": driver, "config": config})
}

fn create(host: &Host, name: &str, driver: &str, config: Value) -> Value {
    let (status, body) = host.post("/v1/data-sources", &draft(name, driver, config));
    assert_eq!(status, 201, "{body}");
    body
}

/// One that runs.
fn running(host: &Host, name: &str, driver: &str, config: Value) -> Value {
    let made = create(host, name, driver, config);
    host.wait_datasource(name, "running");
    made
}

fn said((status, body): (u16, Value)) -> (u16, String) {
    assert!(body["error"].get("error_code").is_some() && body["error"].get("error_data").is_some(), "{body}");
    (status, body["error"]["message"].as_str().unwrap().to_owned())
}

fn got(host: &Host, path: &str) -> Value {
    let (status, body) = host.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

#[test]
fn versions_say_where_they_are_as_the_client_names_the_host() {
    let host = start("");
    let v1 = |at: &str| {
        let links = json!([{"rel": "self", "href": format!("{at}/v1/")}]);
        json!({"id": "v1", "status": "CURRENT", "updated": "2013-08-12T17:42:13Z", "links": links})
    };
    assert_eq!(host.get("/"), (200, json!({"versions": [v1(host.url())]})));
    for path in ["/v1", "/v1/"] {
        assert_eq!(host.get(path), (200, json!({"version": v1(host.url())})));
    }
    let still = ureq::Agent::config_builder().max_redirects(0).max_redirects_will_error(false).build();
    let other = ureq::Agent::from(still).get(format!("{}/v2/data-sources", host.url())).call().unwrap();
    assert_eq!(other.status().as_u16(), 300);
    let body: Value = serde_json::from_str(&other.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(body, json!({"choices": [v1(host.url())]}));
    let named = agent().get(format!("{}/", host.url())).header("host", "localhost:99").call().unwrap();
    let body: Value = serde_json::from_str(&named.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(body, json!({"versions": [v1("http://localhost:99")]}));
}

#[test]
fn errors_have_the_predecessor_s_form_and_numbers() {
    let host = start("open_writes = true\n");
    running(&host, "web", ID, json!({}));
    let raw = |body: &str| {
        let request = agent().post(format!("{}/v1/data-sources", host.url()));
        let answer = request.header("content-type", "application/json").send(body).unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str::<Value>(&answer.into_body().read_to_string().unwrap()).unwrap())
    };
    let (status, text) = said(raw("{\"name\": "));
    assert_eq!(status, 400);
    assert!(text.starts_with("Failed to parse body as application/json: EOF"), "{text}");
    let form = agent().post(format!("{}/v1/data-sources", host.url())).send_form([("name", "web")]).unwrap();
    assert_eq!(form.status().as_u16(), 400);
    let text = form.into_body().read_to_string().unwrap();
    assert!(text.contains("Unsupported Content-Type; must be 'application/json'"), "{text}");
    // Over the socket, whose owner alone asks, the type does not matter.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(host.send("POST", "/v1/data-sources", &form, &draft("form", ID, json!({}))).0, 201);

    let web = "/v1/data-sources/web";
    let arguments = "Incorrect argument syntax. Requires: {'positional': [<args>], 'named': {<key>:<value>,}}: invalid \
                     type: string \"hi\", expected struct Args";
    for (method, path, body, status, code, text) in [
        (
            "GET",
            "/v1/nothing".to_owned(),
            Value::Null,
            404,
            404,
            "The resource could not be found: there is nothing at /v1/nothing",
        ),
        ("PUT", web.to_owned(), json!({}), 405, 405, "Method not supported: PUT at /v1/data-sources/web"),
        (
            "DELETE",
            "/v1/system/drivers".to_owned(),
            Value::Null,
            405,
            405,
            "Method not supported: DELETE at /v1/system/drivers",
        ),
        ("POST", web.to_owned(), json!({}), 400, 400, "Missing required action parameter."),
        ("POST", format!("{web}?action=dance"), json!({}), 501, 501, "Method not supported: action \"dance\""),
        ("POST", format!("{web}?action=execute"), json!({"name": "echo", "args": "hi"}), 400, 1018, arguments),
        (
            "POST",
            format!("{web}/webhook"),
            json!({}),
            400,
            400,
            "Method process_webhook_notification not supported for datasource web",
        ),
    ] {
        let (found, body) = host.send(method, &path, &[], &body);
        let error = &body["error"];
        assert_eq!(
            (found, &error["error_code"], &error["message"]),
            (status, &json!(code), &json!(text)),
            "{method} {path}"
        );
    }
}

#[test]
fn drivers_are_described() {
    let host = start("");
    let drivers = got(&host, "/v1/system/drivers");
    let ids: Vec<&Value> = drivers["results"].as_array().unwrap().iter().map(|driver| &driver["id"]).collect();
    assert_eq!(ids, ["files", ID, "push"]);
    let files = got(&host, "/v1/system/drivers/files");
    assert_eq!((&files["config"]["path"], &files["config"]["delimiter"]), (&json!("required"), &json!("(optional)")));
    assert_eq!((&files["config"]["poll_time"], &files["secret"]), (&json!("(optional)"), &json!([])));
    // The client removes this key without looking whether it is there.
    assert_eq!(files["tables"], json!([]));
    let (status, text) = said(host.get("/v1/system/drivers/fils"));
    assert_eq!((status, &*text), (404, "Driver not found fils: no driver \"fils\" is loaded: did you mean \"files\"?"));
}

#[test]
fn values_are_the_predecessor_s_and_a_written_table_counts_what_is_written() {
    let host = start("");
    let columns = json!(["host", {"name": "level", "type": "int64"}, {"name": "up", "type": "bool"}]);
    running(&host, "alarms", "push", json!({"columns": columns}));
    let rows = "/v1/data-sources/alarms/tables/data/rows";
    let status = || got(&host, "/v1/data-sources/alarms/status");
    assert_eq!(got(&host, rows)["results"], json!([]));
    assert_eq!((&status()["number_of_updates"], &status()["last_updated"]), (&json!("0"), &json!("None")));
    assert_eq!(host.put(rows, &json!([["web1", 3, true], ["web2", null, false]])).0, 200);
    assert_eq!(
        got(&host, rows)["results"],
        json!([{"data": ["web1", 3, "True"]}, {"data": ["web2", "None", "False"]}])
    );
    let after = status();
    assert_eq!((&after["number_of_updates"], &after["rows"], &after["tables"]), (&json!("1"), &json!(2), &json!(1)));
    assert_ne!(after["last_updated"], "None");
}

#[test]
fn a_lazy_table_is_listed_and_described_and_its_rows_are_not_there_yet() {
    let host = start("");
    running(&host, "web", ID, json!({"lazy": true}));
    let tables = "/v1/data-sources/web/tables";
    assert_eq!(got(&host, tables), json!({"results": [{"id": "lazy"}, {"id": "numbers"}, {"id": "ticks"}]}));
    assert_eq!(got(&host, &format!("{tables}/lazy")), json!({"id": "lazy"}));
    let spec = json!({"table_id": "lazy", "columns": [
        {"name": "id", "description": "None"}, {"name": "polls", "description": "None"}]});
    assert_eq!(got(&host, &format!("{tables}/lazy/spec")), spec);
    assert_eq!(got(&host, "/v1/data-sources/web/schema")["tables"][0], spec);
    let (status, text) = said(host.get(&format!("{tables}/lazy/rows")));
    assert_eq!((status, &*text), (400, "table lazy is a lazy table and is not subscribed."));
    for path in ["", "/spec", "/rows"] {
        let (status, text) = said(host.get(&format!("{tables}/lazi{path}")));
        assert_eq!((status, &*text), (404, "Not Found::tablename 'lazi' does not exist"), "{path}");
    }
}

#[test]
fn fault08_fault14_what_is_broken_breaks_nothing_else() {
    let host = start("[datasource.gone]\ndriver = 'gone'\n");
    create(&host, "a-broken", ID, json!({"fault": "open_error"}));
    create(&host, "b-panics", ID, json!({"fault": "open_panic"}));
    running(&host, "c-good", ID, json!({}));
    host.wait_datasource("a-broken", "failed");
    host.wait_datasource("b-panics", "failed");
    let list = got(&host, "/v1/data-sources");
    let states: Vec<(&str, &str)> = list["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [("a-broken", "failed"), ("b-panics", "failed"), ("c-good", "running"), ("gone", "waiting for driver")]
    );
    for name in ["a-broken", "gone"] {
        for (path, empty) in [("tables", json!({"results": []})), ("schema", json!({"tables": []}))] {
            assert_eq!(got(&host, &format!("/v1/data-sources/{name}/{path}")), empty, "{name}");
        }
        let status = got(&host, &format!("/v1/data-sources/{name}/status"));
        assert_eq!((&status["initialized"], &status["number_of_updates"]), (&json!("False"), &json!("0")));
        assert_ne!(status["last_error"], "None");
    }
    // That is not "no such table": nobody can say.
    let (status, text) = said(host.get("/v1/data-sources/gone/tables/numbers/rows"));
    assert_eq!((status, &*text), (503, "datasource \"gone\" is waiting for driver: no driver \"gone\" is loaded"));
}

#[test]
fn fault09_what_cannot_open_is_shown_as_failed_and_can_be_put_right() {
    let host = start("");
    let (status, text) = said(host.post("/v1/data-sources", &draft("web", ID, json!({"poll_time": "abc"}))));
    assert_eq!(status, 400);
    assert!(text.starts_with("Invalid driver options: option \"poll_time\": \"abc\" is no duration"), "{text}");
    assert_eq!(host.get("/v1/data-sources/web").0, 404, "nothing was kept");
    create(&host, "web", ID, json!({"fault": "open_error"}));
    host.wait_datasource("web", "failed");
    let error = got(&host, "/v1/data-sources/web")["error"].clone();
    assert!(error.as_str().unwrap().starts_with("fixture fails on purpose"), "{error}");
    assert_eq!(got(&host, "/v1/data-sources/web/status")["last_error"], error);
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"config": {"fault": null}})).0, 200);
    host.wait_datasource("web", "running");
    assert_eq!(got(&host, "/v1/data-sources/web/status")["last_error"], "None");
}

#[test]
fn fault10_a_disabled_one_is_created_and_enabled_and_its_configuration_changes() {
    let host = start("");
    let mut off = draft("web", ID, json!({"rows": "2"}));
    off["enabled"] = json!(false);
    let (status, made) = host.post("/v1/data-sources", &off);
    assert_eq!((status, &made["enabled"], &made["state"]), (201, &json!(false), &json!("disabled")));
    let (status, text) = said(host.get("/v1/data-sources/web/tables/numbers/rows"));
    assert_eq!((status, &*text), (503, "datasource \"web\" is disabled"));
    let on = json!({"enabled": true, "config": {"rows": 4}, "description": "on"});
    let (status, changed) = host.patch("/v1/data-sources/web", &on);
    assert_eq!((status, &changed["config"]["rows"], &changed["description"]), (200, &json!(4), &json!("on")));
    wait_for("its rows", || match host.get("/v1/data-sources/web/tables/numbers/rows") {
        (200, body) if body["results"].as_array().unwrap().len() == 4 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn fault11_what_was_a_500_is_an_answer() {
    let host = start("");
    // An optional secret that is left out.
    running(&host, "web", ID, json!({}));
    let refusals = [
        (
            draft("x", ID, json!({"password": 7})),
            "Invalid driver options: option \"password\" takes a string, got <hidden>",
        ),
        (json!({"driver": ID}), "Invalid datasource: name is missing"),
        (json!({"name": "x"}), "Invalid datasource: driver is missing"),
        (json!({"name": 7, "driver": ID}), "Invalid datasource: name is a text, not 7"),
        (draft("x", "files", json!({})), "Missing required config options: missing option \"path\""),
        (json!([]), "Invalid datasource: the body is a JSON object with name, driver, "),
    ];
    for (body, begins) in refusals {
        let (status, text) = said(host.post("/v1/data-sources", &body));
        assert!(status == 400 && text.starts_with(begins), "{body}: {status} {text}");
    }
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"description": "the web"})).0, 200);
    running(&host, "alarms", "push", json!({"columns": ["host"]}));
    assert_eq!(got(&host, "/v1/data-sources/alarms/actions"), json!({"results": []}));
    let (_, list) = host.get("/v1/data-sources?fields=name");
    assert_eq!(list, json!({"results": [{"name": "alarms"}, {"name": "web"}]}));
}

#[test]
fn fault12_no_answer_shows_a_secret() {
    const SECRET: &str = "s3cret-in-clear";
    let host = start("");
    let config = json!({"password": SECRET});
    let mut answers = vec![
        host.post("/v1/data-sources", &draft("web", ID, config.clone())),
        host.post("/v1/data-sources", &draft("web", ID, config.clone())),
        host.post("/v1/data-sources", &draft("other", "none", config.clone())),
        host.post("/v1/data-sources", &draft("a b", ID, config.clone())),
        host.post("/v1/data-sources", &draft("other", ID, json!({"password": SECRET, "pasword": SECRET}))),
        host.patch("/v1/data-sources/web", &json!({"config": config})),
        host.get("/v1/data-sources"),
        host.get("/v1/data-sources/web"),
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.0).collect();
    assert_eq!(statuses, [201, 409, 400, 400, 400, 200, 200, 200]);
    assert!(answers.iter().all(|(_, body)| !body.to_string().contains(SECRET)), "{answers:#?}");
    assert_eq!(answers.pop().unwrap().1["config"]["password"], "<hidden>");
}

#[test]
fn fault13_a_bad_name_is_named_and_removing_what_is_not_there_is_a_404() {
    let host = start("");
    for name in ["a:r(1), b", "", "_web", "a b", "a..b"] {
        let (status, text) = said(host.post("/v1/data-sources", &draft(name, ID, json!({}))));
        assert_eq!(status, 400, "{name:?}");
        assert!(text.starts_with(&format!("datasource {name:?}: a name is ")), "{text}");
    }
    let answer = host.delete("/v1/data-sources/none");
    assert_eq!(answer.1["error"]["error_code"], 404);
    assert_eq!(said(answer), (404, "Datasource not found none".to_owned()));
}

#[test]
fn fault15_an_unknown_datasource_is_a_404_everywhere() {
    let host = start("");
    let none = "/v1/data-sources/none";
    let action = json!({"name": "echo", "args": {"positional": [], "named": {}}});
    for (method, path, body) in [
        ("GET", "", Value::Null),
        ("DELETE", "", Value::Null),
        ("PATCH", "", json!({"enabled": false})),
        ("GET", "/status", Value::Null),
        ("GET", "/actions", Value::Null),
        ("GET", "/schema", Value::Null),
        ("GET", "/tables", Value::Null),
        ("GET", "/tables/t", Value::Null),
        ("GET", "/tables/t/spec", Value::Null),
        ("GET", "/tables/t/rows", Value::Null),
        ("PUT", "/tables/t/rows", json!([])),
        ("PATCH", "/tables/t/rows", json!({"added": []})),
        ("POST", "/webhook", json!({})),
        ("POST", "/tables/t/webhook", json!({})),
        ("POST", "?action=request-refresh", json!({})),
        ("POST", "?action=execute", action),
    ] {
        let (status, body) = host.send(method, &format!("{none}{path}"), &[], &body);
        let kind = body["error"]["error_data"]["kind"].clone();
        assert_eq!((status, kind), (404, json!("DatasourceNotFound")), "{method} {path}");
        assert_eq!(said((status, body)).1, "Datasource not found none", "{method} {path}");
    }
}

#[test]
fn fault16_bad_rows_are_refused_with_their_place_and_change_nothing() {
    let host = start("");
    let columns = json!(["host", {"name": "level", "type": "int64", "nullable": false}]);
    running(&host, "alarms", "push", json!({"columns": columns}));
    running(&host, "web", ID, json!({}));
    let rows = |table: &str| format!("/v1/data-sources/alarms/tables/{table}/rows");
    assert_eq!(host.put(&rows("data"), &json!([["a", 1]])).0, 200);
    for (body, place, text) in [
        (json!([["a", 1], ["b"]]), (json!(2), Value::Null), "row 2 has 1 values for 2 columns: host, level"),
        (json!([["a", 1], ["b", "high"]]), (json!(2), json!("level")), "row 2, column \"level\": "),
        (json!([["a", null]]), (json!(1), json!("level")), "row 1, column \"level\": "),
        (json!({"a": 1}), (Value::Null, Value::Null), "the body is a list of rows: "),
        (json!([7]), (json!(1), Value::Null), "row 1"),
    ] {
        let answer = host.put(&rows("data"), &body);
        let data = answer.1["error"]["error_data"].clone();
        let (status, said) = said(answer);
        assert!(status == 400 && said.starts_with(text), "{body}: {status} {said}");
        assert_eq!((data["row"].clone(), data["column"].clone()), place, "{body}: {said}");
    }
    let (status, text) = said(host.put(&rows("other"), &json!([["x", 1]])));
    let refused = "table \"other\" of datasource alarms is not written by clients: data may be";
    assert_eq!((status, &*text), (400, refused));
    let polled = host.put("/v1/data-sources/web/tables/numbers/rows", &json!([[1, 2]]));
    let refused = format!(
        "Method replace_entire_table_data not supported for datasource web: clients write no table of driver {ID}"
    );
    assert_eq!(said(polled), (400, refused));
    assert_eq!(got(&host, &rows("data"))["results"], json!([{"data": ["a", 1]}]), "nothing was changed");
}

#[test]
fn fault17_a_failed_poll_is_no_update() {
    let host = start("");
    let other = "fixture-driver-bb";
    Fixture::new().id(other).fault("poll", "error").rename_into(&host.plugin("libother.so"));
    host.wait_plugin("libother.so", "serving");
    // Of one no table can ever be read, of the other one can.
    let config = json!({"fault": "table_error", "poll_time": "50ms"});
    create(&host, "none", other, config.clone());
    create(&host, "half", ID, config);
    let status = |name: &str| got(&host, &format!("/v1/data-sources/{name}/status"));
    let none = wait_for("failed polls", || match status("none") {
        none if none["failed_polls"].as_u64().unwrap() >= 3 => Ok(none),
        none => Err(none.to_string()),
    });
    assert_eq!(
        [&none["number_of_updates"], &none["initialized"], &none["last_updated"], &none["state"]],
        ["0", "False", "None", "degraded"]
    );
    assert!(none["last_error"].as_str().unwrap().contains("fixture fails on purpose"), "{none}");
    let half = wait_for("polls", || match status("half") {
        half if half["number_of_updates"] != "0" => Ok(half),
        half => Err(half.to_string()),
    });
    assert_eq!(
        (&half["failed_polls"], &half["initialized"], &half["state"]),
        (&json!(0), &json!("True"), &json!("degraded"))
    );
    assert!(half["last_error"].as_str().unwrap().contains("row 7 is no row"), "{half}");
}

#[test]
fn fault18_who_asks_hears_what_an_action_answered() {
    let host = start("");
    running(&host, "web", ID, json!({}));
    let act = |query: &str, name: &str, args: Value| {
        host.post(&format!("/v1/data-sources/web?action=execute{query}"), &json!({"name": name, "args": args}))
    };
    let hi = || json!({"positional": ["hi"], "named": {}});
    // The predecessor's form: the answer comes before the action's end.
    assert_eq!(act("", "echo", hi()), (200, json!({})));
    assert_eq!(act("", "wait", json!({"positional": [], "named": {}})), (200, json!({})));
    assert_eq!(act("&wait=true", "echo", hi()), (200, json!({"result": "hi"})));
    assert_eq!(act("&wait=true", "echo", json!({"named": {"text": "ho"}})), (200, json!({"result": "ho"})));
    let (status, text) = said(act("&wait=true", "leak", json!({})));
    assert!(status == 400 && text.starts_with("it leaks nothing"), "{status} {text}");
}

#[test]
fn fault22_an_id_never_means_another_datasource_of_the_same_name() {
    let host = start("");
    let old = running(&host, "web", ID, json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(host.delete(&format!("/v1/data-sources/{old}")), (200, Value::Null));
    let new = running(&host, "web", ID, json!({}))["id"].clone();
    for (method, path) in [("GET", "/status"), ("POST", "?action=request-refresh"), ("DELETE", "")] {
        let (status, text) = said(host.send(method, &format!("/v1/data-sources/{old}{path}"), &[], &json!({})));
        assert_eq!((status, text), (404, format!("Datasource not found {old}")), "{method} {path}");
    }
    assert_eq!(got(&host, "/v1/data-sources/web")["id"], new);
}

#[test]
fn fault23_who_follows_whom_and_what_there_is_to_ask_is_known() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, follows()).await }).expect("all of it in time");
}

async fn follows() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    Fixture::new().rename_into(&plugins.join("libfixture.so"));
    let mut config = Config { state_dir: Some(folder.path().join("state")), ..Config::default() };
    config.plugins.vet.program = Some(busway_tests::workspace::program());
    config.plugins.directories = vec![plugins];
    config.listen.socket = Some(folder.path().join("bus.sock"));
    config.listen.tcp = Some("127.0.0.1:0".parse().unwrap());
    config.datasource.insert("one".to_owned(), Datasource::new(ID).poll(Duration::from_millis(50)));
    let node = Node::start(&config).await.unwrap();
    let url = format!("http://{}", node.tcp().unwrap());
    let get = async |path: &str| {
        let url = format!("{url}{path}");
        let text = tokio::task::spawn_blocking(move || agent().get(url).call().unwrap().into_body().read_to_string());
        serde_json::from_str::<Value>(&text.await.unwrap().unwrap()).unwrap()
    };
    let before = get("/v1/data-sources/one/status").await;
    assert_eq!((&before["subscribers"], &before["followers"]), (&json!([]), &json!(0)));
    let _policy = node.bus().register("policy").unwrap();
    let address: Address = "one/numbers".parse().unwrap();
    let options = || SubscribeOptions { owner: Some("policy".to_owned()), ..SubscribeOptions::default() };
    let follow = |address: &Address| node.bus().subscribe_with(address, options()).unwrap();
    let mut numbers = follow(&address);
    let again = follow(&address);
    let mut nobody = node.bus().subscribe("one/ticks".parse::<Address>().unwrap());
    for followed in [&mut numbers, &mut nobody] {
        followed.wait_for(|_| true, DEADLINE).await.unwrap();
    }
    let status = get("/v1/data-sources/one/status").await;
    assert_eq!(
        (&status["subscribers"], &status["followed_tables"], &status["followers"], &status["subscriptions"]),
        (&json!(["policy"]), &json!(["numbers", "ticks"]), &json!(3), &json!([]))
    );
    let one = node.bus().call("one", "info", json!({})).await.unwrap();
    assert_eq!(one["published_tables"], json!(["numbers", "ticks"]));
    assert!(one["rpc_endpoints_info"].as_array().unwrap().contains(&json!("echo")), "{one}");
    let info = node.bus().call("policy", "info", json!({})).await.unwrap();
    assert_eq!(info["subscribed_tables"], json!([["one", "numbers"]]));
    drop((numbers, again, nobody));
    let after = get("/v1/data-sources/one/status").await;
    assert_eq!((&after["subscribers"], &after["followers"]), (&json!([]), &json!(0)));
    node.stop().await;
}

#[test]
fn status_is_flat_and_its_old_keys_are_texts() {
    let host = start("");
    running(&host, "web", ID, json!({"poll_time": 3600}));
    let status = wait_for("its first poll", || match got(&host, "/v1/data-sources/web/status") {
        status if status["initialized"] == "True" => Ok(status),
        status => Err(status.to_string()),
    });
    let keys: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    let old = ["last_updated", "last_error", "number_of_updates", "initialized", "subscriptions", "subscribers"];
    let own = [
        "state",
        "since",
        "generation",
        "polls",
        "failed_polls",
        "writes",
        "tables",
        "rows",
        "followed_tables",
        "followers",
        "text",
    ];
    let mut expected = [&old[..], &own].concat();
    expected.sort_unstable();
    assert_eq!(
        {
            let mut keys = keys;
            keys.sort_unstable();
            keys
        },
        expected
    );
    assert!(old[..4].iter().all(|key| status[*key].is_string()) && status["subscriptions"].is_array(), "{status}");
    assert_eq!(
        (&status["state"], &status["failed_polls"], &status["tables"], &status["rows"]),
        (&json!("running"), &json!(0), &json!(2), &json!(4))
    );
    assert!(status["generation"].is_u64(), "{status}");
    assert_eq!(host.post("/v1/data-sources/web?action=request-refresh", &json!({})), (200, Value::Null));
    wait_for("the refresh", || match got(&host, "/v1/data-sources/web/status")["number_of_updates"].clone() {
        now if now == "2" => Ok(()),
        now => Err(now.to_string()),
    });
}
