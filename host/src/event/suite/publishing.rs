//! How events are made and published; the predecessor's own tests (`test_events.py`) are among these.

use super::*;

#[test]
fn one_is_made_changed_and_published() {
    let events = quiet();
    let all = of(&events, "#");
    let publisher = events.publisher("keeper").with_origin("rack.7");
    let mut draft = publisher
        .create("ResourceLifecycleEvent", fields(json!({"name": "r", "state": "NEW", "status": 3, "user_id": "u"})))
        .unwrap();
    assert_eq!(draft.get("status"), Some(json!("ERROR")));
    draft.set("state", json!(3)).unwrap();
    assert_eq!(draft.get("state"), Some(json!("ACTIVE")));
    assert_eq!(
        draft.set("state", json!("ACTIV")).unwrap_err().to_string(),
        "event type \"busway.ResourceLifecycleEvent\": \"state\" can't be \"ACTIV\": it is one of NEW (1), READY (2), ACTIVE (3), \
         TERMINATED (4), ERROR (5); did you mean ACTIVE?"
    );
    assert_eq!(draft.get("state"), Some(json!("ACTIVE")), "nothing was changed");
    assert!(all.try_next().is_none(), "nothing is published yet");
    let receipt = publisher.publish(draft, How::default()).unwrap();
    let Some(Delivery::Event(taken)) = all.try_next() else { panic!() };
    let told = taken.event().to_json();
    let expected = json!({
        "specversion": "1.0", "id": receipt.id, "source": "/busway/node", "type": "busway.ResourceLifecycleEvent",
        "subject": "rack.7", "time": told["time"], "resourcename": "r", "eventstatus": "ERROR", "userid": "u", "sender": "keeper",
        "buswaybus": "busway", "buswaynode": "node", "datacontenttype": "application/json", "data": {"state": "ACTIVE"},
    });
    assert_eq!(told, expected);
}

#[test]
fn no_field_is_needed_and_none_is_made_up() {
    let events = quiet();
    let publisher = events.publisher("p");
    let empty = publisher.create("DatasourceUnavailableEvent", Map::new()).unwrap();
    assert_eq!(empty.get("title"), None);
    publisher.publish(empty.origin("d1"), How::default()).unwrap();
    let error = publisher.create("AppLoaderEvent", fields(json!({"app_nam": "x", "zzz": 1}))).unwrap_err().to_string();
    assert_eq!(
        error,
        "event type \"busway.AppLoaderEvent\": there is no field \"app_nam\", did you mean \"app_name\"?; there is no field \"zzz\" \
         (its fields are: app_name, state)"
    );
    let error = publisher.create("AppLoadrEvent", Map::new()).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no event type \"AppLoadrEvent\", did you mean \"AppLoaderEvent\"?: busway event types lists them"
    );
    let error = publisher.create("ErrorLoggingEvent", fields(json!({"datetime": "noon"}))).unwrap_err().to_string();
    assert_eq!(
        error,
        "event type \"busway.ErrorLoggingEvent\": \"datetime\" is \"noon\", and must be a time, such as 2026-01-31T12:00:00Z, or \
         seconds since 1970"
    );
    let timed = publisher.create("ErrorLoggingEvent", fields(json!({"datetime": 86400.5}))).unwrap();
    assert_eq!(timed.get("datetime"), Some(json!("1970-01-02T00:00:00.5Z")));
}

/// Whose origin is meant: the call's, else the event's, else the publisher's; without any it is not published.
#[test]
fn origins_by_their_rank() {
    let events = quiet();
    let origin = |publisher: &Publisher, fields: Value, how: Option<&str>| {
        let draft = publisher.create("ScheduleEvent", fields.as_object().unwrap().clone()).unwrap();
        publisher.publish(draft, How { origin: how, ..How::default() }).map(|_| {
            let query = Query { latest: true, limit: Some(1), ..Query::default() };
            events.history(&query).events[0].event.origin.to_string()
        })
    };
    let (plain, with) = (events.publisher("p"), events.publisher("p").with_origin("own"));
    assert_eq!(origin(&with, json!({}), None).unwrap(), "own");
    assert_eq!(origin(&with, json!({"origin": "said"}), None).unwrap(), "said");
    assert_eq!(origin(&with, json!({"origin": "said"}), Some("asked")).unwrap(), "asked");
    let before = events.position();
    let none = "an event has no origin: say to what it happened (\"unknown\" is none)";
    assert_eq!(origin(&plain, json!({}), None).unwrap_err().to_string(), none);
    assert_eq!(origin(&plain, json!({"origin": "unknown"}), None).unwrap_err().to_string(), none);
    assert!(origin(&plain, json!({}), Some("a.*")).is_err());
    assert_eq!(events.position(), before, "nothing was published");
}

#[test]
fn mandatory_needs_somebody_who_listens() {
    let events = quiet();
    let publisher = events.publisher("p");
    let publish =
        || publisher.create_and_publish("ScheduleEvent", Map::new(), How { origin: Some("1001"), mandatory: true });
    let others = of(&events, "ScheduleEvent.1002");
    assert_eq!(
        publish().unwrap_err().to_string(),
        "nobody listens to \"busway/ScheduleEvent.1001\", and it was to be published only if somebody does"
    );
    assert!(events.history(&Query::default()).events.is_empty());
    let _keeps = events.subscribe(&Listening { aside: true, ..Listening::default() });
    assert!(publish().is_err(), "who keeps events for others does not listen");
    let filtered = Listening { filters: vec!["task_id=7".parse().unwrap()], ..Listening::default() };
    let filtered = events.subscribe(&filtered);
    assert!(publish().is_err(), "who filters it out does not listen to it");
    let listens = of(&events, "2001.1001");
    assert_eq!(publish().unwrap().listeners, 1);
    assert_eq!(ids(&listens).len(), 1);
    assert!(ids(&others).is_empty() && ids(&filtered).is_empty());
}

#[test]
fn too_many_are_refused_and_others_are_not() {
    let events = quiet();
    let limit = Some((3, Duration::from_secs(3600)));
    let (busy, other) = (events.publisher("busy").with_limit(limit), events.publisher("other").with_limit(limit));
    let publish = |publisher: &Publisher| {
        publisher.create_and_publish("ScheduleEvent", Map::new(), How { origin: Some("o"), ..How::default() })
    };
    let said: Vec<bool> = (0..5).map(|_| publish(&busy).is_ok()).collect();
    assert_eq!(said, [true, true, true, false, false]);
    let text = publish(&busy).unwrap_err().to_string();
    assert!(text.starts_with("\"busy\" publishes more than 3 events in 1h: try again in 3"), "{text}");
    assert!(publish(&other).is_ok());
}

#[test]
fn several_are_published_together_or_not_at_all() {
    let events = quiet();
    let publisher = events.publisher("p").with_limit(Some((3, Duration::from_secs(3600))));
    let all = of(&events, "#");
    let draft = |origin: &str| publisher.create("ScheduleEvent", Map::new()).unwrap().origin(origin);
    let BatchError { at, error } = publisher.publish_all(vec![draft("a"), draft("b *")], How::default()).unwrap_err();
    let text = "\"b *\" can't be an origin: * and # are for those who subscribe, an event has one origin";
    assert_eq!((at, error.to_string().as_str()), (1, text));
    drop(all);
    let listens = of(&events, "*.a");
    let how = How { mandatory: true, ..How::default() };
    let publisher = events.publisher("p");
    let BatchError { at, error } = publisher.publish_all(vec![draft("a"), draft("b")], how).unwrap_err();
    assert_eq!((at, matches!(*error, PublishError::NobodyListens { .. })), (1, true));
    assert_eq!((events.position(), ids(&listens).len()), (0, 0), "nobody was told");
    let receipts = publisher.publish_all(vec![draft("a"), draft("a")], how).unwrap();
    assert_eq!(ids(&listens), receipts.into_iter().map(|receipt| receipt.id).collect::<Vec<_>>());
    let limited = events.publisher("p").with_limit(Some((3, Duration::from_secs(3600))));
    assert!(limited.publish_all(vec![draft("a"), draft("b")], How::default()).is_ok());
    let BatchError { error, .. } = limited.publish_all(vec![draft("a"), draft("b")], How::default()).unwrap_err();
    assert!(matches!(*error, PublishError::RateLimited { .. }), "{error}");
    assert!(limited.publish(draft("a"), How::default()).is_ok(), "those were not counted");
}

#[test]
fn ids_are_unique_and_say_which_process() {
    let events = quiet();
    let publisher = events.publisher("p").with_origin("o");
    let ids: std::collections::BTreeSet<String> = (0..100)
        .map(|_| publisher.create_and_publish("ScheduleEvent", Map::new(), How::default()).unwrap().id)
        .collect();
    assert_eq!(ids.len(), 100);
    let again = quiet().publisher("p").create_and_publish(
        "ScheduleEvent",
        Map::new(),
        How { origin: Some("o"), ..How::default() },
    );
    assert!(!ids.contains(&again.unwrap().id));
}

#[test]
fn a_foreign_one_keeps_its_id_and_is_told_by_its_topic() {
    let events = quiet();
    let (door, any, family) = (of(&events, "com/example/door.front"), of(&events, "*.front"), of(&events, "Event.#"));
    let event = json!({"specversion": "1.0", "id": "e1", "source": "/x", "type": "com.example.door", "subject": "front", "data": [1]});
    assert_eq!(events.publish_json(event.clone(), How::default()).unwrap().id, "e1");
    assert_eq!((ids(&door), ids(&any)), (vec!["e1".to_owned()], vec!["e1".to_owned()]));
    assert!(ids(&family).is_empty(), "it is of nothing that is known here");
    let strict = Events::new(Settings { strict: true, ..Settings::default() });
    assert!(strict.publish_json(event, How::default()).is_err());
}
