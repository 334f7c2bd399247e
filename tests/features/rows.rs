//! Rows over HTTP: pages, choices, orders, formats, what a client has already, and waiting for news; by both faces.

use arrow_ipc::reader::StreamReader;
use busway::bus::{Mask, Policy, View};
use busway::config::Config;
use busway::node::Node;
use busway::table::rows_json;
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use busway_tests::session::Session;
use busway_tests::{DEADLINE, wait_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ORDERS: &str = "/v1/services/shop/tables/orders/rows";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// What a host answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A column of its rows.
    fn column(&self, name: &str) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["rows"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    }
}

fn ask(url: &str, headers: &[(&str, &str)]) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.call().expect("the host answers");
    let text = |(name, value): (&_, &_)| (ToString::to_string(name), value_of(value));
    let headers = answer.headers().iter().map(text).collect();
    Answer { status: answer.status().as_u16(), headers, body: answer.body_mut().read_to_vec().unwrap() }
}

fn value_of(value: &ureq::http::HeaderValue) -> String {
    value.to_str().unwrap().to_owned()
}

fn get(host: &Host, path: &str) -> Answer {
    ask(&format!("{}{path}", host.url()), &[])
}

/// A host, and a service whose table `orders` has three rows.
fn shop() -> (Host, Session) {
    let host = Bed::new().start("");
    let session = Session::open(&host, "shop", &json!({"tables": ["orders"]})).unwrap();
    publish(&host, &session, &three());
    (host, session)
}

fn three() -> Value {
    json!([
        {"id": 3, "customer": "Bob, \"the\" builder", "total": "7.50", "limit": null},
        {"id": 1, "customer": "Ada", "total": "12.50", "limit": 5},
        {"id": 2, "customer": null, "total": "7.50", "limit": 6},
    ])
}

fn publish(host: &Host, session: &Session, rows: &Value) {
    let column = |name: &str, kind: &str, nullable: bool| json!({"name": name, "type": kind, "nullable": nullable});
    let columns = [
        column("id", "int64", false),
        column("customer", "text", true),
        column("total", "decimal(12,2)", true),
        column("limit", "int64", true),
    ];
    session.done(host, "PUT", "tables/orders", &json!({"columns": columns, "key": ["id"], "rows": rows}));
}

fn many(count: u64) -> Value {
    (0..count).map(|id| json!({"id": id, "customer": null, "total": (id % 7).to_string(), "limit": null})).collect()
}

#[test]
fn pages_are_the_table_and_each_names_the_next() {
    let (host, session) = shop();
    publish(&host, &session, &many(25));
    for (order, wanted) in [
        ("", (0..25).collect::<Vec<u64>>()),
        ("&order=-id", (0..25).rev().collect()),
        ("&order=-total", {
            let mut ids: Vec<u64> = (0..25).collect();
            ids.sort_by_key(|id| (6 - id % 7, *id));
            ids
        }),
        ("&total=3&total=5", (0..25).filter(|id| [3, 5].contains(&(id % 7))).collect()),
    ] {
        let (mut seen, mut pages) = (Vec::new(), 0);
        let mut path = format!("{ORDERS}?limit=4{order}");
        loop {
            let page = get(&host, &path);
            seen.extend(page.column("id").iter().map(|id| id.as_u64().unwrap()));
            pages += 1;
            let body = page.json();
            assert_eq!(body["total_rows"], wanted.len());
            let link = page.header("link");
            let Some(next) = body["next"].as_str() else {
                assert_eq!((&body["next"], link), (&Value::Null, ""));
                break;
            };
            // Both ways lead on.
            let by_hand = format!("{ORDERS}?limit=4{order}&cursor={next}");
            path = link.strip_prefix('<').and_then(|l| l.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
            assert_eq!(get(&host, &path).body, get(&host, &by_hand).body);
        }
        assert_eq!((seen, pages), (wanted.clone(), wanted.len().div_ceil(4)), "{order}");
    }
    // Without a limit all of them.
    assert_eq!(get(&host, ORDERS).column("id").len(), 25);
}

#[test]
fn a_cursor_ends_with_its_state() {
    let (host, session) = shop();
    publish(&host, &session, &many(5));
    let first = get(&host, &format!("{ORDERS}?limit=2&order=id")).json();
    let (epoch, to, next) = (&first["epoch"], &first["to"], first["next"].as_str().unwrap());
    let other = get(&host, &format!("{ORDERS}?limit=2&order=-id&cursor={next}"));
    assert_eq!(
        (other.status, other.json()["error"]["message"].as_str().unwrap()),
        (
            400,
            "that cursor is of another query: repeat the order and the filters that it came with, or begin without it"
        )
    );
    // Pages may be of any size.
    assert_eq!(get(&host, &format!("{ORDERS}?limit=1&order=id&cursor={next}")).column("id"), [2]);
    publish(&host, &session, &many(6));
    let gone = get(&host, &format!("{ORDERS}?limit=2&order=id&cursor={next}"));
    let now = to.as_u64().unwrap() + 1;
    assert_eq!(gone.status, 410);
    assert_eq!(
        gone.json(),
        json!({"error": {
            "message": format!("the cursor is of state {epoch}:{to} of shop/orders, which is at {epoch}:{now} by now: \
                begin again without it, or ask for all rows at once, which are of one state, by leaving limit out"),
            "error_code": 410, "error_data": {"kind": "CursorExpired"},
        }})
    );
}

#[test]
fn rows_are_chosen_and_ordered_by_typed_values() {
    let (host, _session) = shop();
    for (query, ids) in [
        ("order=total", json!([2, 3, 1])),
        ("order=-total", json!([1, 2, 3])),
        // Nulls are last either way.
        ("order=customer", json!([1, 3, 2])),
        ("order=-customer", json!([3, 1, 2])),
        ("order=total,-id", json!([3, 2, 1])),
        ("customer=Ada", json!([1])),
        ("customer=Ada&customer=Bob,%20%22the%22%20builder&order=id", json!([1, 3])),
        // As numbers, not as text.
        ("total=7.5&order=id", json!([2, 3])),
        ("total=7.5&customer=Ada", json!([])),
        ("where.limit=6", json!([2])),
        ("where.limit=6&where.limit=5&order=-id&limit=1", json!([2])),
        // What has no value; any of several; what has one.
        ("null.customer=true", json!([2])),
        ("null.limit=true", json!([3])),
        ("null.customer=true&customer=Ada&order=id", json!([1, 2])),
        ("null.customer=false&order=id", json!([1, 3])),
        ("null.customer=false&total=7.5", json!([3])),
        ("null.customer=true&null.limit=true", json!([])),
    ] {
        assert_eq!(json!(get(&host, &format!("{ORDERS}?{query}")).column("id")), ids, "{query}");
    }
    let some = get(&host, &format!("{ORDERS}?columns=total,id&limit=1")).json();
    // A column with a parameter's name is not the parameter.
    assert_eq!(serde_json::to_string(&some["rows"]).unwrap(), "[{\"total\":\"7.50\",\"id\":3}]");
    let names: Vec<&str> = some["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!((names, &some["key"]), (vec!["total", "id"], &json!(["id"])));
}

#[test]
fn one_table_in_three_formats() {
    let (host, session) = shop();
    let url = format!("{}{ORDERS}", host.url());
    let csv = ask(&url, &[("accept", "text/csv")]);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(
        csv.text(),
        "id,customer,total,limit\r\n3,\"Bob, \"\"the\"\" builder\",7.50,\r\n1,Ada,12.50,5\r\n2,,7.50,6\r\n"
    );
    assert_eq!(get(&host, &format!("{ORDERS}?format=csv&columns=id&order=id&limit=1")).text(), "id\r\n1\r\n");

    publish(&host, &session, &many(1234));
    let arrow = ask(&url, &[("accept", ARROW)]);
    assert_eq!(arrow.header("content-type"), ARROW);
    let batches: Vec<_> = StreamReader::try_new(&arrow.body[..], None).unwrap().map(Result::unwrap).collect();
    let rows: Value = serde_json::from_str(rows_json(&batches).unwrap().get()).unwrap();
    let json = get(&host, ORDERS).json();
    assert_eq!((batches.len() > 1, rows.as_array().unwrap().len()), (true, 1234));
    assert_eq!(rows, json["rows"]);
    assert_eq!(get(&host, &format!("{ORDERS}?format=csv")).text().lines().count(), 1235);
    // None at all is a table, too.
    publish(&host, &session, &json!([]));
    assert_eq!(get(&host, ORDERS).json()["rows"], json!([]));
    assert_eq!(ask(&url, &[("accept", "text/csv")]).text(), "id,customer,total,limit\r\n");
    let none = ask(&url, &[("accept", ARROW)]);
    let none = StreamReader::try_new(&none.body[..], None).unwrap();
    assert_eq!((none.schema().fields().len(), none.count()), (4, 0));
}

#[test]
fn what_a_client_has_is_not_told_again() {
    let (host, session) = shop();
    let url = format!("{}{ORDERS}", host.url());
    let first = get(&host, ORDERS);
    let etag = first.header("etag").to_owned();
    let body = first.json();
    assert_eq!(first.header("x-busway-epoch"), body["epoch"].to_string());
    assert_eq!(first.header("x-busway-seq"), body["to"].to_string());
    assert_eq!(first.header("x-busway-as-of"), body["as_of"]);
    assert_eq!((first.header("x-busway-stale"), &body["stale"]), ("false", &json!(false)));
    assert_eq!((first.header("cache-control"), first.header("vary")), ("no-cache", "accept"));

    // Read again, and the same rows: that is known, and when.
    publish(&host, &session, &three());
    let known = ask(&url, &[("if-none-match", &etag)]);
    assert_eq!((known.status, known.text(), known.header("etag")), (304, "", etag.as_str()));
    assert!(known.header("x-busway-as-of") > first.header("x-busway-as-of"), "{known:?}");
    // Another page, another format, another face.
    for path in [format!("{ORDERS}?limit=2"), format!("{ORDERS}?format=csv"), format!("{ORDERS}?customer=Ada")] {
        let other = ask(&format!("{}{path}", host.url()), &[("if-none-match", &etag)]);
        assert_eq!(other.status, 200, "{path}");
    }
    publish(&host, &session, &many(2));
    let news = ask(&url, &[("if-none-match", &etag)]);
    assert_eq!((news.status, news.json()["total_rows"].as_u64()), (200, Some(2)));
    assert_ne!(news.header("etag"), etag);
}

#[test]
fn who_waits_hears_at_once() {
    let (mut host, session) = shop();
    let first = get(&host, ORDERS).json();
    let (epoch, to) = (first["epoch"].as_u64().unwrap(), first["to"].as_u64().unwrap());
    let url = format!("{}{ORDERS}", host.url());
    // There is news already.
    for after in [format!("{}", to - 1), format!("{}:{}", epoch - 1, to + 9)] {
        assert_eq!(ask(&format!("{url}?after={after}&wait=60"), &[]).json()["to"], to);
    }
    // There is none.
    for query in [format!("after={to}"), format!("after={epoch}:{to}"), format!("after={to}&wait=0.05")] {
        let none = ask(&format!("{url}?{query}"), &[]);
        assert_eq!((none.status, none.text(), none.header("x-busway-seq")), (204, "", to.to_string().as_str()));
    }
    let wait = |query: String| {
        let url = format!("{url}?{query}");
        let waiting = std::thread::spawn(move || ask(&url, &[]));
        wait_for("a client to wait", || {
            let (_, all) = host.get("/v1/subscriptions");
            let waits = all["results"].as_array().unwrap().iter().any(|s| s["tables"] == "shop/orders");
            if waits { Ok(()) } else { Err(all.to_string()) }
        });
        waiting
    };
    let waiting = wait(format!("after={to}&wait=60&limit=1"));
    publish(&host, &session, &many(2));
    let news = waiting.join().unwrap().json();
    assert_eq!((&news["to"], &news["total_rows"], &news["next"].is_string()), (&json!(to + 1), &json!(2), &true));
    // A table that goes is no news to wait for any longer.
    let waiting = wait(format!("after={}&wait=60", to + 1));
    session.done(&host, "DELETE", "tables/orders", &json!({}));
    assert_eq!(waiting.join().unwrap().status, 404);
    publish(&host, &session, &many(3));
    // A new life of the table is news, whatever its numbers.
    let (now, seq) = (get(&host, ORDERS).json(), to + 1);
    assert_ne!(now["epoch"], epoch);
    assert_eq!(ask(&format!("{url}?after={epoch}:{seq}&wait=60"), &[]).json()["total_rows"], 3);
    // Nobody waits for a host that stops.
    let waiting = wait(format!("after={}:{}&wait=60", now["epoch"], now["to"]));
    let began = std::time::Instant::now();
    host.terminate();
    assert_eq!(waiting.join().unwrap().status, 204);
    assert!(began.elapsed() < DEADLINE);
}

#[test]
fn a_table_that_can_t_be_read_any_more_is_stale() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(
        "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '20ms'\noptions = {fault = 'table_error', after = 3}\n",
    );
    let path = "/v1/services/one/tables/ticks/rows";
    let stale = wait_for("the table to be stale", || {
        let answer = get(&host, path);
        if answer.header("x-busway-stale") == "true" { Ok(answer) } else { Err(answer.text().to_owned()) }
    });
    let body = stale.json();
    assert_eq!(
        (&body["stale"], body["rows"].as_array().unwrap().len(), body["error"].is_string()),
        (&json!(true), 1, true)
    );
    // What it was when it was true is still what it was.
    let known = ask(&format!("{}{path}", host.url()), &[("if-none-match", stale.header("etag"))]);
    assert_eq!((known.status, known.header("x-busway-stale")), (304, "true"));
    assert_eq!(get(&host, "/v1/data-sources/one/tables/ticks/rows").json()["stale"], true);
}

#[test]
fn the_predecessor_s_face_has_it_all_in_its_own_form() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\noptions = {rows = 12000}\n");
    host.wait_datasource("one", "running");
    let id = get(&host, "/v1/data-sources/one").json()["id"].as_str().unwrap().to_owned();
    let rows = format!("/v1/data-sources/{id}/tables/numbers/rows");
    let all = get(&host, &rows);
    // In parts, as it is written.
    assert_eq!((all.header("transfer-encoding"), all.header("content-length")), ("chunked", ""));
    let all = all.json();
    let expected: Vec<Value> = (0..12_000).map(|id| json!({"data": [id, 1]})).collect();
    assert_eq!(all["results"], json!(expected));
    let (_, same) = host.get("/v1/services/one/tables/numbers/rows");
    assert_eq!(
        (&all["epoch"], &all["to"], &all["total_rows"], &all["next"], &all["stale"]),
        (&same["epoch"], &same["to"], &json!(12_000), &Value::Null, &json!(false))
    );
    let page = get(&host, &format!("{rows}?limit=2&order=-id&columns=revision,id"));
    assert_eq!(page.json()["results"], json!([{"data": [1, 11_999]}, {"data": [1, 11_998]}]));
    let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert!(next.starts_with(&rows), "{next}");
    assert_eq!(get(&host, &next).json()["results"], json!([{"data": [1, 11_997]}, {"data": [1, 11_996]}]));
    assert_eq!(get(&host, &format!("{rows}?id=7&format=csv")).text(), "id,revision\r\n7,1\r\n");
}

#[test]
fn what_can_t_be_asked_for_is_said() {
    let (host, _session) = shop();
    for (query, status, data, text) in [
        (
            "limit=none",
            400,
            json!({"kind": "BadParameter"}),
            "limit is a whole number from 1 to 100000, not \"none\": for all rows leave it out",
        ),
        (
            "custoner=Ada",
            400,
            json!({"kind": "NoColumn", "column": "custoner", "columns": ["id", "customer", "total", "limit"]}),
            "there is no parameter and no column \"custoner\": did you mean \"customer\"?",
        ),
        (
            "id=Ada",
            400,
            json!({"kind": "BadParameter"}),
            "the column \"id\" holds Int64, and \"Ada\" is no such value: give a whole number within its bounds",
        ),
        (
            "null.custoner=true",
            400,
            json!({"kind": "NoColumn", "column": "custoner", "columns": ["id", "customer", "total", "limit"]}),
            "there is no parameter and no column \"custoner\": did you mean \"customer\"?",
        ),
        (
            "null.customer=yes",
            400,
            json!({"kind": "BadParameter"}),
            "null.customer is true, for rows without a value, or false, for rows that have one; not \"yes\"",
        ),
        ("format=xml", 400, json!({"kind": "BadParameter"}), "\"xml\" is no format: there are json, csv, arrow"),
    ] {
        let answer = get(&host, &format!("{ORDERS}?{query}"));
        let expected = json!({"error": {"message": text, "error_code": status, "error_data": data}});
        assert_eq!((answer.status, answer.json()), (status, expected), "{query}");
    }
    let html = ask(&format!("{}{ORDERS}", host.url()), &[("accept", "text/html")]);
    assert_eq!(
        (html.status, html.json()["error"]["message"].as_str().unwrap()),
        (
            406,
            "rows can be had as application/json, text/csv, application/vnd.apache.arrow.stream: name one in Accept, or \
             by format=json, csv, arrow"
        )
    );
    // Before anything else: what is not there is not there.
    let none = get(&host, "/v1/services/shop/tables/order/rows?order=nothing&after=1&wait=60");
    assert_eq!(
        (none.status, none.json()["error"]["message"].as_str().unwrap()),
        (404, "no table \"order\": service \"shop\" has orders")
    );
}

#[derive(Serialize, Deserialize)]
struct Port {
    id: u32,
    mac: String,
}

#[test]
fn what_a_publisher_hides_can_t_be_asked_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let mut config = Config { state_dir: Some(folder.path().join("state")), ..Config::default() };
    config.plugins.vet.program = Some(busway_tests::workspace::program());
    config.plugins.directories = vec![folder.path().join("plugins")];
    config.listen.tcp = Some("127.0.0.1:0".parse().unwrap());
    let node = runtime.block_on(Node::start(&config)).unwrap();
    let net = node.bus().register("net").unwrap();
    let spec = busway_plugin_api::TableSpec::of::<Port>("ports").key(["id"]);
    let ports = [(1, "aa"), (2, "bb")].map(|(id, mac)| Port { id, mac: mac.to_owned() });
    net.publish(&spec, &ports).unwrap();
    let url = format!("http://{}/v1/services/net/tables/ports/rows", node.tcp().unwrap());
    let open = ask(&url, &[]);
    net.show("ports", Policy::new().to("#".parse().unwrap(), View::default().mask("mac", Mask::Null))).unwrap();
    // The same state, and it looks different: not what the client has.
    let masked = ask(&url, &[("if-none-match", open.header("etag"))]);
    assert_eq!(masked.column("mac"), [Value::Null, Value::Null]);
    assert_eq!(ask(&format!("{url}?mac=aa"), &[]).column("id"), Vec::<Value>::new());
    assert_eq!(ask(&format!("{url}?order=-mac"), &[]).column("id"), [1, 2]);
    drop(net);
    runtime.block_on(node.stop());
}
