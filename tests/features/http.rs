//! HTTP: the predecessor's reading paths, errors, and who is let in.

use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use serde_json::{Value, json};

fn start() -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(
        "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '100ms'\n[datasource.off]\ndriver = 'gone'\nenabled = \
         false\n[datasource.off.options]\nsecret = 'hunter2'\n",
    );
    host.wait_datasource("one", "running");
    host
}

fn error(answer: (u16, Value)) -> (u16, String) {
    let (status, body) = answer;
    assert_eq!(body["error"]["error_code"], status, "{body}");
    (status, body["error"]["message"].as_str().unwrap().to_owned())
}

#[test]
fn the_predecessor_s_reading_paths() {
    let host = start();
    assert_eq!(host.get("/").1["versions"][0]["id"], "v1");
    assert_eq!(host.get("/v1").1["version"]["status"], "CURRENT");
    assert_eq!(
        host.get("/v1/system/drivers").1,
        json!({"results": [{"id": "fixture-driver-aa", "description": "Misbehaves on request"}]})
    );
    let driver = host.get("/v1/system/drivers/fixture-driver-aa").1;
    assert_eq!(driver["config"]["password"], "(optional)");
    assert_eq!(driver["secret"], json!(["password"]));
    assert_eq!(
        driver["tables"][0],
        json!({"table_id": "numbers", "columns": [
        {"name": "id", "description": "None"}, {"name": "revision", "description": "None"}]})
    );
    let all = host.get("/v1/data-sources").1;
    assert_eq!(all["results"].as_array().unwrap().len(), 2);
    let off = &all["results"][0];
    // No driver says which of its options are secret: none is shown.
    assert_eq!(
        (&off["name"], &off["enabled"], &off["config"]["secret"], &off["type"]),
        (&json!("off"), &json!(false), &json!("<hidden>"), &Value::Null)
    );
    let one = host.get("/v1/data-sources/one").1;
    assert_eq!(host.get(&format!("/v1/data-sources/{}", one["id"].as_str().unwrap())).1, one);
    assert_eq!(host.get("/v1/data-sources/one/tables").1, json!({"results": [{"id": "numbers"}, {"id": "ticks"}]}));
    assert_eq!(host.get("/v1/data-sources/one/tables/numbers").1, json!({"id": "numbers"}));
    assert_eq!(host.get("/v1/data-sources/one/tables/numbers/spec").1, driver["tables"][0]);
    assert_eq!(host.get("/v1/data-sources/one/schema").1["tables"].as_array().unwrap().len(), 2);
    assert_eq!(
        host.get("/v1/data-sources/one/tables/numbers/rows").1["results"],
        json!([{"data": [0, 1]}, {"data": [1, 1]}, {"data": [2, 1]}])
    );
    let status = host.get("/v1/data-sources/one/status").1;
    assert_eq!((&status["initialized"], &status["last_error"]), (&json!("True"), &json!("None")));
    assert_eq!(
        host.get("/v1/data-sources/one/actions").1["results"][0]["args"],
        json!([{"name": "text", "description": "What to answer"}])
    );
}

#[test]
fn what_is_not_there_is_said_at_once() {
    let host = start();
    for (path, status, text) in [
        ("/v1/nothing", 404, "The resource could not be found: there is nothing at /v1/nothing"),
        ("/v1/data-sources/none", 404, "Datasource not found none"),
        ("/v1/data-sources/none/status", 404, "Datasource not found none"),
        ("/v1/system/drivers/none", 404, "Driver not found none: no driver \"none\" is loaded"),
        ("/v1/data-sources/one/tables/none/rows", 404, "Not Found::tablename 'none' does not exist"),
        ("/v1/services/none/tables/x/rows", 404, "no service \"none\": there are one"),
        ("/v1/services/none/tables/x/stream", 404, "no service \"none\": there are one"),
        ("/v1/services/one/tables/nmbers/rows", 404, "no table \"nmbers\": service \"one\" has numbers, ticks"),
    ] {
        assert_eq!(error(host.get(path)), (status, text.to_owned()), "{path}");
    }
    let (status, body) = host.post("/v1/data-sources/off?action=execute", &json!({"name": "x"}));
    assert_eq!(error((status, body)), (503, "datasource \"off\" is disabled".to_owned()));
}

#[test]
fn strangers_are_kept_out_of_tcp() {
    let host = start();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{}/v1/services", host.url());
    let status = |name: &str, value: &str| agent.get(&url).header(name, value).call().unwrap().status().as_u16();
    assert_eq!(status("accept", "application/json"), 200);
    assert_eq!(status("host", "evil.example"), 403);
    assert_eq!(status("origin", "https://evil.example"), 403);
    assert_eq!(status("origin", "http://localhost:3000"), 200);
    let written = agent.post(format!("{}/v1/data-sources/one?action=request-refresh", host.url())).send_empty();
    assert_eq!(written.unwrap().status().as_u16(), 403);
    // Over its socket, its owner may.
    assert_eq!(host.post("/v1/data-sources/one?action=request-refresh", &json!({})).0, 200);
}
