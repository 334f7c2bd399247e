//! Tables that clients write, webhooks, tables that are read only while somebody wants them, tables kept on the disk.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::wait_for;
use busway_tests::workspace::driver;
use serde_json::{Value, json};

fn start(config: Value) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start("");
    host.wait_plugin("libfixture.so", "serving");
    let draft = json!({"name": "web", "driver": ID, "config": config});
    assert_eq!(host.post("/v1/data-sources", &draft).0, 201);
    host.wait_datasource("web", "running");
    host
}

const ROWS: &str = "/v1/data-sources/web/tables/written/rows";

fn message(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["message"].as_str().unwrap_or_default())
}

fn written(host: &Host) -> Vec<Value> {
    host.rows("web", "written").unwrap()
}

#[test]
fn clients_write_a_table_all_or_nothing() {
    let host = start(json!({"written": true}));
    wait_for("the table, empty", || match host.rows("web", "written")?.len() {
        0 => Ok(()),
        n => Err(n.to_string()),
    });
    // As the predecessor's client sends it.
    assert_eq!(host.put(ROWS, &json!([[1, 10], [2, 20]])).0, 200);
    assert_eq!(written(&host), [json!({"id": 1, "revision": 10}), json!({"id": 2, "revision": 20})]);
    assert_eq!(host.put(ROWS, &json!([{"id": 3, "revision": 30}, [4, 40]])).0, 200);
    let before = written(&host);
    assert_eq!(before.len(), 2);
    for (body, text) in [
        (json!([[5, 50], [6]]), "row 2 has 1 values for 2 columns: id, revision"),
        (json!([{"id": "x", "revision": 1}]), "row 1, column \"id\": "),
        (json!([{"id": 1, "revison": 1}]), "row 1"),
        (json!({"a": 1}), "the body is a list of rows: "),
        (json!([[2, 20], [1, 10], [1, 11]]), "rows 2 and 3 have the same key: id"),
    ] {
        let answer = host.put(ROWS, &body);
        let (status, said) = message(&answer);
        assert!(status == 400 && said.starts_with(text), "{body}: {status} {said}");
        assert_eq!(written(&host), before, "nothing was changed");
    }
    let change = json!({"added": [[4, 41], [5, 50]], "removed": [{"id": 3}]});
    assert_eq!(host.patch(ROWS, &change).0, 200);
    assert_eq!(written(&host), [json!({"id": 4, "revision": 41}), json!({"id": 5, "revision": 50})]);
    let absent = host.patch(ROWS, &json!({"added": [[9, 90]], "removed": [{"id": 7}]}));
    assert_eq!(absent.0, 400, "{absent:?}");
    assert_eq!(written(&host).len(), 2);
    let other = host.put("/v1/data-sources/web/tables/numbers/rows", &json!([]));
    assert_eq!(message(&other), (400, "table \"numbers\" of datasource web is not written by clients: written may be"));
    // Another configuration, and another build: the clients' rows go on.
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"config": {"rows": 5}})).0, 200);
    wait_for("the change", || match host.rows("web", "numbers")?.len() {
        5 => Ok(()),
        n => Err(n.to_string()),
    });
    assert_eq!(written(&host).len(), 2);
    assert_eq!(host.put(ROWS, &json!([[1, 1]])).0, 200);
}

#[test]
fn a_driver_that_has_no_such_tables_says_so() {
    let host = start(json!({}));
    let answer = host.put("/v1/data-sources/web/tables/numbers/rows", &json!([]));
    assert_eq!(
        message(&answer),
        (
            400,
            "Method replace_entire_table_data not supported for datasource web: clients write no table of driver \
             fixture-driver-aa"
        )
    );
    let answer = host.post("/v1/data-sources/web/webhook", &json!({"a": 1}));
    assert_eq!(message(&answer), (400, "Method process_webhook_notification not supported for datasource web"));
    let answer = host.post("/v1/data-sources/none/webhook", &json!({"a": 1}));
    assert_eq!(message(&answer), (404, "Datasource not found none"));
}

#[test]
fn a_webhook_is_handed_on() {
    let host = start(json!({"hooks": true}));
    let answer = host.post("/v1/data-sources/web/webhook", &json!({"a": 1}));
    assert_eq!(answer, (200, json!({"tables": ["hooked"]})));
    let answer = host.post("/v1/data-sources/web/tables/t/webhook", &json!([2]));
    assert_eq!(answer, (200, json!({"tables": ["hooked"]})));
    let rows = host.rows("web", "hooked").unwrap();
    assert!(rows.contains(&json!({"payload": "{\"a\":1}", "table": null})), "{rows:?}");
    assert!(rows.contains(&json!({"payload": "[2]", "table": "t"})), "{rows:?}");
    assert_eq!(host.post("/v1/data-sources/web/webhook", &json!("error")).0, 400);
}

#[test]
fn a_lazy_table_is_read_only_while_somebody_subscribes() {
    let host = start(json!({"lazy": true, "poll_time": "50ms"}));
    let rows = "/v1/data-sources/web/tables/lazy/rows";
    let answer = host.get(rows);
    assert_eq!(message(&answer), (400, "table lazy is a lazy table and is not subscribed."));
    let polls = |host: &Host| host.wait_datasource("web", "running")["polls"].as_u64().unwrap();
    let before = polls(&host);
    wait_for("more polls", || if polls(&host) > before + 3 { Ok(()) } else { Err("few".to_owned()) });
    assert_eq!(host.get(rows).0, 400);
    let mut stream = host.stream("web", "lazy");
    stream.follow("its rows", |_| {}, |rows| rows.is_some_and(|rows| rows[0]["polls"].as_u64() >= Some(3)));
    assert_eq!(host.get(rows).0, 200);
    drop(stream);
    wait_for("it to end", || match host.get(rows) {
        (400, _) => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
    host.wait_datasource("web", "running");
}

#[test]
fn a_change_of_the_configuration_reads_no_lazy_table_that_nobody_wants() {
    let host = start(json!({"lazy": true, "poll_time": 0}));
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"config": {"rows": 5}})).0, 200);
    wait_for("the change", || match host.rows("web", "numbers")?.len() {
        5 => Ok(()),
        n => Err(n.to_string()),
    });
    let answer = host.get("/v1/data-sources/web/tables/lazy/rows");
    assert_eq!(message(&answer), (400, "table lazy is a lazy table and is not subscribed."));
    let mut stream = host.stream("web", "lazy");
    stream.follow("its rows", |_| {}, |rows| rows.is_some());
}

#[test]
fn a_table_that_clients_write_has_the_columns_that_are_declared_now() {
    let bed = Bed::new();
    std::fs::copy(driver("push"), bed.plugin("libpush.so")).unwrap();
    let host = bed.start("");
    host.wait_plugin("libpush.so", "serving");
    let config = json!({"columns": ["a", "b"]});
    assert_eq!(host.post("/v1/data-sources", &json!({"name": "web", "driver": "push", "config": config})).0, 201);
    host.wait_datasource("web", "running");
    let rows = "/v1/data-sources/web/tables/data/rows";
    assert_eq!(host.put(rows, &json!([["1", "2"]])).0, 200);
    // Other words for the same columns: the rows go on.
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"config": {"description": "Said anew"}})).0, 200);
    wait_for("the description", || match host.get("/v1/services/web/tables/data/rows").1 {
        body if body["description"] == "Said anew" && body["total_rows"] == 1 => Ok(()),
        body => Err(body.to_string()),
    });
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"config": {"columns": ["a", "c", "d"]}})).0, 200);
    wait_for("the columns", || {
        let body = host.get("/v1/services/web/tables/data/rows").1;
        let names: Vec<_> = body["columns"].as_array().into_iter().flatten().map(|c| &c["name"]).collect();
        if names == ["a", "c", "d"] { Ok(()) } else { Err(body.to_string()) }
    });
    assert_eq!(host.rows("web", "data").unwrap().len(), 0);
    assert_eq!(host.patch(rows, &json!({"added": [["1", "2", "3"]]})).0, 200);
}

#[test]
fn inv14_kept_tables_are_served_as_stale_until_the_first_poll() {
    let host = start(json!({"written": true, "persist_data": "true", "rows": 4}));
    wait_for("the table", || host.rows("web", "written").map(drop));
    assert_eq!(host.put(ROWS, &json!([[7, 70]])).0, 200);
    let kept = host.path("state").join("tables");
    wait_for("all tables to be kept", || {
        let folders = std::fs::read_dir(&kept).map_err(|e| e.to_string())?;
        let files: usize = folders.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count()).sum();
        if files == 3 { Ok(()) } else { Err(files.to_string()) }
    });
    assert_eq!(host.put(ROWS, &json!([[8, 80]])).0, 200);
    // The driver is away: nothing can be read anew.
    std::fs::rename(host.plugin("libfixture.so"), host.path("away.so")).unwrap();
    let host = host.kill_and_start("");
    host.wait_datasource("web", "waiting for driver");
    wait_for("the kept rows", || match host.get("/v1/services/web/tables/numbers/rows").1 {
        body if body["stale"] == true && body["rows"].as_array().map(Vec::len) == Some(4) => Ok(()),
        body => Err(body.to_string()),
    });
    wait_for("the written rows", || host.rows("web", "written").map(drop));
    assert_eq!(written(&host), [json!({"id": 8, "revision": 80})], "an acknowledged write");
    std::fs::rename(host.path("away.so"), host.plugin("libfixture.so")).unwrap();
    host.wait_datasource("web", "running");
    for table in ["numbers", "written"] {
        wait_for("it to be fresh", || match host.get(&format!("/v1/services/web/tables/{table}/rows")).1 {
            body if body["stale"] == false => Ok(()),
            body => Err(body.to_string()),
        });
    }
    assert_eq!(written(&host), [json!({"id": 8, "revision": 80})]);
    assert_eq!(host.delete("/v1/data-sources/web").0, 200);
    wait_for("nothing to be kept", || match std::fs::read_dir(&kept).unwrap().count() {
        0 => Ok(()),
        n => Err(n.to_string()),
    });
}
