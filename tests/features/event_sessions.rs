//! Events over HTTP for those who ask from time to time, and an archive beside those who listen.

use crate::events::{publish, refused, start, tasks};
use serde_json::json;

#[test]
fn a_session_collects_for_who_asks_from_time_to_time() {
    let host = start("");
    let session = "/v1/events/sessions/me";
    publish(&host, "before", "t0");
    let (status, first) = host.post(session, &json!({"type": "ScheduleEvent", "origin": "rack.*"}));
    assert_eq!((status, &first["topics"]), (200, &json!("busway/ScheduleEvent.rack.*")));
    let (status, other) = host.post(session, &json!({"pattern": "ErrorLoggingEvent.#"}));
    assert_eq!(status, 200, "{other}");
    let id = publish(&host, "rack.7", "t1");
    publish(&host, "shelf.7", "t2");
    let collected = |query: &str| {
        let (status, answer) = host.get(&format!("{session}{query}"));
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().unwrap().clone();
        let of_first = results.iter().find(|one| one["subscription"] == first["subscription"]).unwrap().clone();
        of_first["events"].as_array().unwrap().clone()
    };
    let events = collected("");
    assert_eq!((tasks(&events), &events[0]["id"]), (vec!["t1"], &json!(id)));
    assert!(events[0]["buswayposition"].as_str().is_some_and(|place| place.contains('-')));
    assert!(collected("").is_empty(), "it was given");
    assert_eq!(tasks(&collected("?since=2020-01-01T00:00:00Z")), ["t1"]);
    let gone = format!("{session}/{}", other["subscription"].as_str().unwrap());
    assert_eq!(host.delete(&gone).0, 204);
    assert_eq!(
        refused(host.delete(&gone)),
        (
            404,
            "SubscriptionNotFound".to_owned(),
            format!("session \"me\" has no subscription {}", other["subscription"])
        )
    );
    assert_eq!(host.delete(session).0, 204);
    assert_eq!(host.get(session).1["results"], json!([]));
    let missing = host.post(session, &json!({"type": "ScheduelEvent"}));
    assert_eq!((missing.0, &missing.1["error"]["error_data"]["kind"]), (404, &json!("EventTypeNotFound")));
    let both = host.post(session, &json!({"type": "ScheduleEvent", "pattern": "#"}));
    assert_eq!(both.0, 400, "{}", both.1);
}

#[test]
fn an_archive_is_no_listener() {
    let host = start("[events]\ndurable = true\n");
    let event = json!({"type": "ScheduleEvent", "origin": "o"});
    assert_eq!(host.post("/v1/events?mandatory=true", &event).0, 409);
    let (status, receipt) = host.post("/v1/events", &event);
    assert_eq!((status, &receipt["listeners"]), (202, &json!(0)));
}
