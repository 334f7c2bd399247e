//! Streams of parts of tables: topics, columns, conditions, masks.

use busway_tests::DEADLINE;
use busway_tests::host::{Bed, Host};
use busway_tests::session::Session;
use busway_tests::stream::{Event, events};
use serde_json::{Value, json};
use std::sync::mpsc::Receiver;

fn port(id: u64, topic: Value, mac: &str) -> Value {
    json!({"id": id, "tenant": topic, "mac": mac})
}

fn start() -> (Host, Session) {
    let host = Bed::new().start("");
    let session = Session::open(&host, "net", &json!({})).unwrap();
    let columns = json!([
        {"name": "id", "type": "int64"}, {"name": "tenant", "type": "text"}, {"name": "mac", "type": "text"}]);
    let rows = json!([port(1, json!("a"), "m1"), port(2, json!("b"), "m2"), port(3, Value::Null, "m3")]);
    let body = json!({"columns": columns, "key": ["id"], "topic": "tenant", "rows": rows});
    session.done(&host, "PUT", "tables/ports", &body);
    (host, session)
}

fn follow(host: &Host, query: &str) -> Receiver<Event> {
    events(&format!("{}/v1/services/net/tables/ports/stream?{query}", host.url()), None)
}

fn next(events: &Receiver<Event>, kind: &str) -> Value {
    let event = events.recv_timeout(DEADLINE).unwrap();
    assert_eq!(event.event, kind, "{}", event.data);
    event.data
}

#[test]
fn a_row_that_changes_its_topic_goes_from_one_and_comes_to_the_other() {
    let (host, session) = start();
    let (a, b, both) = (follow(&host, "topic=a"), follow(&host, "topic=b"), follow(&host, "topic=a&topic=b"));
    // A row without a topic is everyone's.
    let (one, two, three) = (port(1, json!("a"), "m1"), port(2, json!("b"), "m2"), port(3, Value::Null, "m3"));
    assert_eq!(next(&a, "snapshot")["rows"], json!([one, three]));
    assert_eq!(next(&b, "snapshot")["rows"], json!([two, three]));
    assert_eq!(next(&both, "snapshot")["rows"], json!([one, two, three]));
    let moved = port(1, json!("b"), "m1");
    session.done(&host, "PATCH", "tables/ports", &json!({"added": [moved]}));
    let step = next(&a, "step");
    assert_eq!((&step["removed"], &step["added"], &step["updated"]), (&json!([one]), &json!([]), &json!([])));
    let step = next(&b, "step");
    assert_eq!((&step["removed"], &step["added"], &step["updated"]), (&json!([]), &json!([moved]), &json!([])));
    assert_eq!(next(&both, "step")["updated"], json!([{"old": one, "new": moved}]));
    // What is not a topic's moves it no further than the next that is.
    session.done(&host, "PATCH", "tables/ports", &json!({"added": [port(2, json!("b"), "m9")]}));
    session.done(&host, "PATCH", "tables/ports", &json!({"added": [port(4, json!("a"), "m4")]}));
    let step = next(&a, "step");
    assert_eq!((&step["from"], &step["to"], &step["added"][0]["id"]), (&json!(2), &json!(4), &json!(4)));
}

#[test]
fn columns_conditions_and_masks() {
    let (host, _session) = start();
    let some = next(&follow(&host, "columns=mac,id"), "snapshot");
    assert_eq!(some["rows"][0].to_string(), "{\"mac\":\"m1\",\"id\":1}");
    assert_eq!(some["columns"].as_array().unwrap().len(), 2);
    let view = "%7B%22only%22:%5B%7B%22column%22:%22id%22,%22operator%22:%22gt%22,%22value%22:1%7D%5D,\
                %22mask%22:%7B%22mac%22:%22null%22%7D%7D";
    let rows = next(&follow(&host, &format!("view={view}")), "snapshot")["rows"].clone();
    assert_eq!(rows, json!([{"id": 2, "tenant": "b", "mac": null}, {"id": 3, "tenant": null, "mac": null}]));
}

#[test]
fn a_view_that_can_t_be_is_refused_with_why() {
    let (host, _session) = start();
    let refused = |query: &str| {
        let (status, body) = host.get(&format!("/v1/services/net/tables/ports/stream?{query}"));
        assert_eq!(status, 400, "{body}");
        body["error"]["message"].as_str().unwrap().to_owned()
    };
    let text = refused("columns=id,mak");
    assert!(text.starts_with("net/ports can't be looked at in that way: ") && text.contains("\"mak\""), "{text}");
    let text = refused("view=%7B%22colums%22:%5B%5D%7D");
    assert!(text.starts_with("no such view: unknown field `colums`, expected one of "), "{text}");
}
