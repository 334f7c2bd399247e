//! What the API refuses: always in one form, with one sentence, whatever was sent.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host, Raw};
use busway_tests::session::Session;
use serde_json::{Value, json};

fn start() -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start("");
    host.wait_plugin("libfixture.so", "serving");
    let (status, body) =
        host.post("/v1/data-sources", &json!({"name": "web", "driver": ID, "config": {"written": true}}));
    assert_eq!(status, 201, "{body}");
    host.wait_datasource("web", "running");
    host
}

/// The status, the kind and the sentence of a refusal, which has the one form.
fn refused(answer: &Raw) -> (u16, String, String) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    let error = &body["error"];
    assert_eq!(error["error_code"], answer.status, "{body}");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    (answer.status, text(&error["error_data"]["kind"]), text(&error["message"]))
}

fn expect(status: u16, kind: &str, text: &str) -> (u16, String, String) {
    (status, kind.to_owned(), text.to_owned())
}

#[test]
fn a_path_or_query_that_cannot_be_read_is_refused_in_the_one_form() {
    let host = start();
    let ds = "the path can't be read: its part \"ds\" is no UTF-8";
    let service = "the path can't be read: its part \"service\" is no UTF-8";
    for (method, path, kind, text) in [
        ("GET", "/v1/data-sources/%FF", "BadPath", ds),
        ("PATCH", "/v1/data-sources/%FF", "BadPath", ds),
        ("DELETE", "/v1/data-sources/%FF", "BadPath", ds),
        ("POST", "/v1/data-sources/%FF?action=request-refresh", "BadPath", ds),
        ("GET", "/v1/data-sources/%FF/status", "BadPath", ds),
        ("GET", "/v1/data-sources/%FF/tables/t/rows", "BadPath", ds),
        ("PUT", "/v1/data-sources/%FF/tables/t/rows", "BadPath", ds),
        ("GET", "/v1/system/drivers/%FF", "BadPath", "the path can't be read: its part \"driver\" is no UTF-8"),
        ("GET", "/v1/services/%FF/tables", "BadPath", service),
        ("GET", "/v1/services/%FF/tables/t/rows", "BadPath", service),
        ("GET", "/v1/services/%FF/tables/t/stream", "BadPath", service),
        ("PUT", "/v1/services/%FF/tables/t", "BadPath", service),
        ("POST", "/v1/services/%FF/session", "BadPath", service),
        ("POST", "/v1/services/%FF/calls/ping", "BadPath", service),
        (
            "GET",
            "/v1/data-sources?fields=id&fields=name",
            "BadQuery",
            "the query can't be read: duplicate field `fields`",
        ),
        (
            "GET",
            "/v1/data-sources/web?feilds=id",
            "BadQuery",
            "the query can't be read: unknown field `feilds`, expected `fields`",
        ),
        (
            "POST",
            "/v1/data-sources/web?action=execute&action=request-refresh",
            "BadQuery",
            "the query can't be read: duplicate field `action`",
        ),
        (
            "POST",
            "/v1/services/web/calls/ping?deadlin=5s",
            "BadQuery",
            "the query can't be read: unknown field `deadlin`, expected `deadline`",
        ),
    ] {
        assert_eq!(refused(&host.raw(method, path, &[], b"{}")), expect(400, kind, text), "{method} {path}");
    }
}

#[test]
fn what_is_not_there_and_what_cannot_be_done_there() {
    let host = start();
    let there = host.raw("GET", "/v1/nothing", &[], b"");
    let text = "The resource could not be found: there is nothing at /v1/nothing";
    assert_eq!(refused(&there), expect(404, "NotFound", text));
    for (method, path, allowed) in [
        ("PUT", "/v1/data-sources/web", "GET,HEAD,PATCH,DELETE,POST"),
        ("DELETE", "/v1/system/drivers", "GET,HEAD"),
        ("OPTIONS", "/v1/config/reload", "POST"),
    ] {
        let answer = host.raw(method, path, &[], b"{}");
        assert_eq!(
            refused(&answer),
            expect(405, "MethodNotAllowed", &format!("Method not supported: {method} at {path}")),
        );
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    // One that is none of HTTP's: no path has it.
    let unknown = host.raw("FROB", "/v1/data-sources/web", &[], b"");
    let text = "Method not supported: FROB at /v1/data-sources/web";
    assert_eq!(refused(&unknown), expect(501, "NotImplemented", text));
}

#[test]
fn a_body_that_cannot_be_read_is_refused_with_its_place() {
    let host = start();
    let _session = Session::open(&host, "shop", &json!({"tables": ["orders"]})).unwrap();
    let large = format!("\"{}\"", "x".repeat(3 << 20));
    let post = |body: &str| refused(&host.raw("POST", "/v1/data-sources", &[], body.as_bytes()));
    assert_eq!(
        post(&large),
        expect(413, "TooLarge", "the body is larger than 2 MiB, which is the most that is read here")
    );
    let failed = "Failed to parse body as application/json";
    assert_eq!(
        post("{\"name\": \"a\",\n \"driver\" \"x\"}"),
        expect(400, "BadBody", &format!("{failed}: expected `:` at line 2 column 11"))
    );
    assert_eq!(post("{\"name\": \"a\"} x").0, 400);
    let rows = host.raw("PUT", "/v1/data-sources/web/tables/written/rows", &[], b"[[1, 2],\n [3 4]]");
    assert_eq!(
        refused(&rows),
        expect(400, "BadBody", "the body is a list of rows: expected `,` or `]` at line 2 column 5")
    );
    let rows = host.raw("PUT", "/v1/data-sources/web/tables/written/rows", &[], &vec![b' '; (32 << 20) + 1]);
    let text = "the body is larger than 32 MiB: publish fewer rows, then add the others by PATCH";
    assert_eq!(refused(&rows), expect(413, "TooLarge", text));
}

#[test]
fn a_key_that_stands_twice_is_named_and_nothing_is_done() {
    let host = start();
    let _session = Session::open(&host, "shop", &json!({"tables": ["orders"]})).unwrap();
    let failed = "Failed to parse body as application/json";
    let written = "/v1/data-sources/web/tables/written/rows";
    for (method, path, body, text) in [
        (
            "POST",
            "/v1/data-sources",
            "{\"name\": \"two\", \"driver\": \"x\",\n \"name\": \"other\"}",
            format!("{failed}: the key \"name\" stands twice in one object at line 2 column 7"),
        ),
        (
            "PATCH",
            "/v1/data-sources/web",
            "{\"config\": {\"rows\": 7, \"rows\": 8}}",
            format!("{failed}: the key \"rows\" stands twice in one object at line 1 column 29"),
        ),
        (
            "POST",
            "/v1/data-sources/web?action=execute&wait=true",
            "{\"name\": \"echo\", \"args\": {\"named\": {\"text\": 1, \"text\": 2}}}",
            format!("{failed}: the key \"text\" stands twice in one object at line 1 column 53"),
        ),
        (
            "PUT",
            written,
            "[{\"id\": 1, \"id\": 2, \"revision\": 1}]",
            "the body is a list of rows: the key \"id\" stands twice in one object at line 1 column 15".to_owned(),
        ),
        (
            "PATCH",
            written,
            "{\"added\": [{\"id\": 1, \"id\": 2, \"revision\": 1}]}",
            "the body is {\"added\": [rows], \"removed\": [rows or keys]}: the key \"id\" stands twice in one object at line 1 \
             column 25"
                .to_owned(),
        ),
        (
            "PATCH",
            written,
            "{\"added\": [], \"added\": [[1, 2]]}",
            "the body is {\"added\": [rows], \"removed\": [rows or keys]}: duplicate field `added` at line 1 column 21"
                .to_owned(),
        ),
    ] {
        let answer = host.raw(method, path, &[], body.as_bytes());
        assert_eq!(refused(&answer), expect(400, "BadBody", &text), "{body}");
    }
    let list = host.get("/v1/data-sources?fields=name,config").1;
    assert_eq!(list["results"].as_array().unwrap().len(), 1);
    assert_eq!(list["results"][0]["config"]["rows"], 3);
}

#[test]
fn an_etag_is_of_one_record_and_no_other_of_its_name() {
    let host = start();
    let get = || host.raw("GET", "/v1/data-sources/web", &[], b"");
    let old = get();
    let (id, tag) = (old.json()["id"].as_str().unwrap().to_owned(), old.header("etag").unwrap().to_owned());
    assert_eq!(tag, format!("\"{}-1\"", &id[..8]));
    assert_eq!(old.json()["etag"], tag.trim_matches('"'));
    let patch = |tags: &[(&str, &str)], text: &str| {
        let body = json!({"description": text}).to_string();
        host.raw("PATCH", "/v1/data-sources/web", tags, body.as_bytes())
    };
    // Any of a list, of several headers, or of a form that something between made weak; or whatever it is.
    let weak = format!("W/{tag}");
    assert_eq!(patch(&[("if-match", &weak)], "1").status, 200);
    let second = format!("\"{}-2\"", &id[..8]);
    assert_eq!(
        patch(&[("if-match", &format!("\"x-9\", {second}"))], "2").header("etag"),
        Some(&*second.replace("-2", "-3"))
    );
    assert_eq!(patch(&[("if-match", "\"x-9\""), ("if-match", &second.replace("-2", "-3"))], "3").status, 200);
    assert_eq!(patch(&[("if-match", "*")], "4").status, 200);
    let conflict = "Datasource web is at revision 5, not 1: read it again, and decide anew";
    assert_eq!(refused(&patch(&[("if-match", &tag)], "5")), expect(409, "DatasourceRevisionConflict", conflict));
    for (bad, shown) in [("3", "3"), ("\"3\"", "\"3\""), ("\"a-1\", 5", "5"), ("", ""), ("\"zz-1", "\"zz-1")] {
        let text = format!(
            "If-Match: {shown} is no ETag of a datasource: give the one that an answer had, as in If-Match: \"6ba7b810-3\""
        );
        assert_eq!(refused(&patch(&[("if-match", bad)], "6")), expect(400, "BadHeader", &text), "{bad}");
    }
    // Another of the same name, and of the same revision.
    assert_eq!(host.delete("/v1/data-sources/web").0, 200);
    let (status, made) = host.post("/v1/data-sources", &json!({"name": "web", "driver": ID}));
    assert_eq!(status, 201, "{made}");
    assert_ne!(get().header("etag"), Some(&*tag));
    let text = "Datasource web is another than the one that was read: that was removed, and this one made under its name; \
                read it again, and decide anew";
    assert_eq!(refused(&patch(&[("if-match", &tag)], "7")), expect(409, "DatasourceReplaced", text));
    let gone = host.raw("DELETE", "/v1/data-sources/web", &[("if-match", &tag)], b"");
    assert_eq!(refused(&gone), expect(409, "DatasourceReplaced", text));
    assert_eq!(get().json()["description"], "");
}

#[test]
fn a_request_id_that_was_used_is_not_answered_as_if_it_ran() {
    let host = start();
    let act = |id: &str, body: Value, more: &str| {
        let path = format!("/v1/data-sources/web?action=execute{more}");
        let answer = host.raw("POST", &path, &[("x-request-id", id)], body.to_string().as_bytes());
        let repeated = answer.header("x-busway-repeated").map(str::to_owned);
        (answer.status, answer.json(), repeated)
    };
    let echo = |text: &str| json!({"name": "echo", "args": {"positional": [text]}});
    let repeated = Some("true".to_owned());
    assert_eq!(act("one", echo("hi"), ""), (200, json!({}), None));
    // As the first time, and it is said that nothing was done.
    assert_eq!(act("one", echo("hi"), ""), (200, json!({}), repeated.clone()));
    assert_eq!(act("one", echo("hi"), "&wait=true"), (200, json!({"result": "hi"}), repeated.clone()));
    assert_eq!(act("two", echo("ho"), "&wait=true"), (200, json!({"result": "ho"}), None));
    assert_eq!(act("two", echo("ho"), ""), (200, json!({}), repeated.clone()));
    // Another request under the id is none that ran.
    for more in ["", "&wait=true"] {
        let (status, body, _) = act("one", echo("other"), more);
        assert_eq!(
            (status, &body["error"]["error_data"]["kind"], &body["error"]["message"]),
            (
                409,
                &json!("request_id_used"),
                &json!("request id \"one\" was used for another request: choose another id")
            ),
            "{more}"
        );
    }
    // Also when it could not begin any more.
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"enabled": false})).0, 200);
    assert_eq!(act("one", echo("hi"), ""), (200, json!({}), repeated));
    assert_eq!(act("three", echo("hi"), "").0, 503);
}

#[test]
fn what_the_host_itself_does_is_shown_among_the_options_as_it_was_set() {
    let host = start();
    let draft = json!({"name": "two", "driver": ID, "config": {"poll_time": "5", "persist_data": "true"}});
    let (status, made) = host.post("/v1/data-sources", &draft);
    assert_eq!(status, 201, "{made}");
    let of = |shown: &Value| {
        (shown["config"]["poll_time"].clone(), shown["config"]["persist_data"].clone(), shown["poll"].clone())
    };
    let five = (json!(5), json!(true), json!("5s"));
    assert_eq!(of(&made), five);
    assert_eq!(of(&host.get("/v1/data-sources/two").1), five);
    let list = host.get("/v1/data-sources").1;
    let listed: Vec<_> = list["results"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(listed, [five, (json!(10), json!(false), json!("10s"))]);
    // Who sends back what was shown, with another poll, means that.
    let mut back = host.get("/v1/data-sources/two").1;
    for key in ["name", "driver"] {
        back.as_object_mut().unwrap().remove(key);
    }
    back["poll"] = json!("1m");
    let (status, changed) = host.patch("/v1/data-sources/two", &back);
    assert_eq!((status, of(&changed)), (200, (json!(60), json!(true), json!("1m"))));
    let (status, changed) = host.patch("/v1/data-sources/two", &json!({"config": {"poll_time": 0.5}}));
    assert_eq!((status, of(&changed)), (200, (json!(0.5), json!(true), json!("500ms"))));
    let (status, both) = host.patch("/v1/data-sources/two", &json!({"poll": "7s", "config": {"poll_time": 8}}));
    let text = "Invalid datasource: poll is 7s and config's poll_time is 8s: set one of them";
    assert_eq!((status, &both["error"]["message"]), (400, &json!(text)));
}
