//! Drivers that panic, fail, hang or break the contract at run time: the host lives, everything else runs on.

use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use serde_json::{Value, json};

/// A good source beside one with a fault.
fn beside(fault: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(&format!(
        "[datasource.good]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\n[datasource.bad]\ndriver = \
         'fixture-driver-aa'\npoll = '50ms'\ndeadline = '300ms'\n[datasource.bad.options]\npassword = 'hunter2'\n{fault}"
    ));
    host.wait_datasource("good", "running");
    host
}

fn error(row: &Value) -> String {
    row["error"].as_str().unwrap_or_default().to_owned()
}

/// The good source goes on being polled, and the host lives.
fn others_run_on(mut host: Host) {
    let polls = |row: &Value| row["polls"].as_u64().unwrap();
    let before = polls(&host.wait_datasource("good", "running"));
    host.wait_row("_host", "datasources", "further polls", |row| row["name"] == "good" && polls(row) > before + 2);
    assert!(host.is_alive());
    assert!(!host.log_text().contains("hunter2"), "a secret in the log");
    for path in ["/v1/data-sources", "/v1/data-sources/bad", "/v1/services/_host/tables/datasources/rows"] {
        let (status, body) = host.get(path);
        assert_eq!(status, 200);
        assert!(!body.to_string().contains("hunter2"), "a secret at {path}");
    }
    assert_eq!(host.get("/v1/data-sources/bad").1["config"]["password"], "<hidden>");
    assert!(host.terminate().success());
}

#[test]
fn inv07_panic_in_open() {
    let host = beside("fault = 'open_panic'\n");
    let text = error(&host.wait_datasource("bad", "failed"));
    assert!(text.starts_with("panicked: fixture panics on purpose (at tests/fixtures/driver/src/lib.rs:"), "{text}");
    others_run_on(host);
}

#[test]
fn error_in_open() {
    let host = beside("fault = 'open_error'\n");
    let text = error(&host.wait_datasource("bad", "failed"));
    assert!(text.starts_with("fixture fails on purpose (at tests/fixtures/driver/src/lib.rs:"), "{text}");
    others_run_on(host);
}

#[test]
fn inv07_panic_in_poll_is_that_source_s_and_another_is_opened() {
    let host = beside("fault = 'poll_panic'\nafter = 2\n");
    let text = error(&host.wait_datasource("bad", "failed"));
    assert!(text.starts_with("panicked: fixture panics on purpose"), "{text}");
    // Its table stays as it was, and says that it is old.
    assert_eq!(host.rows("bad", "numbers").unwrap().len(), 3);
    let table = host.wait_row("_host", "tables", "the table's error", |row| {
        row["service"] == "bad" && row["table"] == "numbers" && row["error"] != Value::Null
    });
    assert!(error(&table).starts_with("panicked: "), "{table}");
    // A new source polls well again, until it panics as well.
    let polls = |row: &Value| row["polls"].as_u64().unwrap();
    host.wait_row("_host", "datasources", "good polls of another source", |row| row["name"] == "bad" && polls(row) > 2);
    others_run_on(host);
}

#[test]
fn inv07_a_poll_that_hangs_costs_a_thread() {
    let host = beside("fault = 'poll_hang'\nafter = 1\n");
    assert_eq!(error(&host.wait_datasource("bad", "hung")), "no answer within 300ms");
    others_run_on(host);
}

#[test]
fn inv07_an_open_that_hangs() {
    // Its deadline is the host's own: only that everything else runs on is looked at.
    let host = beside("fault = 'open_hang'\n");
    host.wait_datasource("bad", "opening");
    others_run_on(host);
}

#[test]
fn inv07_panic_in_execute_is_answered_and_the_source_opened_anew() {
    let host = beside("");
    host.wait_datasource("bad", "running");
    let (status, body) = host.post(
        "/v1/data-sources/bad?action=execute&wait=true",
        &json!({"name": "echo", "args": {"positional": ["hi"]}}),
    );
    assert_eq!((status, &body["result"]), (200, &json!("hi")), "{body}");
    let (status, body) = host.post("/v1/data-sources/bad?action=execute&wait=true", &json!({"name": "panic"}));
    assert_eq!(status, 400);
    let text = body["error"]["message"].as_str().unwrap();
    assert!(text.starts_with("panicked: fixture panics in an action (at "), "{text}");
    host.wait_row("_host", "datasources", "the poisoned source to be given up", |row| {
        row["name"] == "bad" && row["failures"] != 0
    });
    host.wait_datasource("bad", "running");
    let (status, _) = host.post("/v1/services/bad/actions/echo", &json!({"text": "again"}));
    assert_eq!(status, 200);
    let (status, body) = host.post("/v1/services/bad/actions/echo", &json!({"txt": "again"}));
    assert_eq!(
        (status, body["error"]["message"].as_str()),
        (
            400,
            Some(
                "the arguments of \"echo\" are wrong: unknown argument \"txt\": it takes text; missing argument \"text\""
            )
        )
    );
    others_run_on(host);
}

#[test]
fn one_table_s_error_leaves_the_others() {
    let host = beside("fault = 'table_error'\nafter = 2\n");
    assert_eq!(error(&host.wait_datasource("bad", "degraded")), "table \"ticks\": row 7 is no row (at ticks.csv:7)");
    assert_eq!(host.rows("bad", "ticks").unwrap().len(), 1);
    let table =
        host.wait_row("_host", "tables", "table numbers", |row| row["service"] == "bad" && row["table"] == "numbers");
    assert_eq!(table["error"], Value::Null);
    others_run_on(host);
}

#[test]
fn a_table_that_outgrows_its_limit_keeps_its_last_good_rows() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(
        "[datasource.bad]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\nmax_rows = 4\n[datasource.bad.options]\nfault = \
         'twice_the_rows'\nafter = 2\n",
    );
    assert_eq!(
        error(&host.wait_datasource("bad", "degraded")),
        "table \"numbers\": it would have 6 rows, more than the limit of 4 rows a table: the last good rows stay"
    );
    assert_eq!(host.rows("bad", "numbers").unwrap().len(), 3);
    let table =
        host.wait_row("_host", "tables", "the other table", |row| row["service"] == "bad" && row["table"] == "ticks");
    assert_eq!(table["error"], Value::Null);
}

#[test]
fn a_poll_that_breaks_the_contract_is_refused() {
    let host = beside("fault = 'twice_the_table'\n");
    let text = error(&host.wait_datasource("bad", "failed"));
    assert_eq!(text, "the driver breaks the contract: it answered table \"ticks\" twice");
    others_run_on(host);
}

#[test]
fn wrong_and_missing_options_are_all_named() {
    let host = beside("rowz = 4\nafter = 'two'\n");
    let text = error(&host.wait_datasource("bad", "failed"));
    assert_eq!(
        text,
        "Invalid driver options: unknown option \"rowz\": did you mean \"rows\"?; option \"after\" \
         takes a whole number, got \"two\""
    );
    others_run_on(host);
}

#[test]
fn a_driver_s_log_arrives_with_who_said_it() {
    let host = beside("");
    let record = host.log().into_iter().find(|l| l["message"] == "fixture opens" && l["datasource"] == "bad");
    let record = record.expect("the fixture's record");
    assert_eq!(record["level"], "INFO");
    assert_eq!(record["target"], "driver");
    assert_eq!(record["from"], "busway_fixture");
    assert_eq!((&record["driver"], &record["generation"]), (&json!("fixture-driver-aa"), &json!(1)));
    let fields: Value = serde_json::from_str(record["fields"].as_str().unwrap()).unwrap();
    assert_eq!(fields, json!({"fault": "None", "password": "Some(<hidden>)"}));
    others_run_on(host);
}

#[test]
fn levels_change_while_a_driver_runs() {
    let mut host = beside("");
    let chatter = |host: &Host| host.log().iter().filter(|l| l["message"] == "fixture polls").count();
    assert_eq!(chatter(&host), 0, "debug records are filtered on the driver's side");
    let (status, body) = host.put("/v1/log-filter", &json!({"filter": "info,busway_fixture=debug"}));
    assert_eq!((status, &body["filter"]), (200, &json!("info,busway_fixture=debug")));
    busway_tests::wait_for("debug records", || if chatter(&host) > 1 { Ok(()) } else { Err("none".to_owned()) });
    let (status, body) = host.put("/v1/log-filter", &json!({"filter": "a=b=c"}));
    assert_eq!(status, 400, "{body}");
    assert!(host.is_alive());
}
