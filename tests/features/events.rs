//! Events over HTTP: published in every form, looked up, followed, shared, and what is refused.

use busway_tests::host::{Bed, Host};
use busway_tests::session::Session;
use busway_tests::stream::{Event, events};
use busway_tests::{DEADLINE, wait_for};
use serde_json::{Value, json};
use std::sync::mpsc::Receiver;

pub(crate) fn start(keys: &str) -> Host {
    Bed::new().start(&format!("open_writes = true\n{keys}"))
}

/// Posts over TCP; answers status, body, and when to try again.
fn post(host: &Host, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value, Option<u64>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("{}{path}", host.url()));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut answer = request.send(body).unwrap();
    let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)), retry)
}

/// Publishes something that happened to an origin; its id.
pub(crate) fn publish(host: &Host, origin: &str, task: &str) -> String {
    let (status, receipt) =
        host.post("/v1/events", &json!({"type": "ScheduleEvent", "origin": origin, "data": {"task_id": task}}));
    assert_eq!(status, 202, "{receipt}");
    receipt["id"].as_str().unwrap().to_owned()
}

pub(crate) fn looked_up(host: &Host, query: &str) -> Vec<Value> {
    let (status, answer) = host.get(&format!("/v1/events?{query}"));
    assert_eq!(status, 200, "{answer}");
    answer["events"].as_array().unwrap().clone()
}

pub(crate) fn tasks(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["data"]["task_id"].as_str().unwrap()).collect()
}

pub(crate) fn place(event: &Value) -> &str {
    event["buswayposition"].as_str().unwrap()
}

/// The next event of a stream that is of that kind.
pub(crate) fn next(events: &Receiver<Event>, kind: &str) -> Event {
    let event = events.recv_timeout(DEADLINE).unwrap();
    assert_eq!(event.event, kind, "{event:?}");
    event
}

pub(crate) fn refused((status, body): (u16, Value)) -> (u16, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (status, text(&body["error"]["error_data"]["kind"]), text(&body["error"]["message"]))
}

#[test]
fn one_is_published_and_looked_up() {
    let host = start("");
    let body = json!({
        "type": "ResourceLifecycleEvent", "origin": "rack.7", "name": "a rack", "status": 3, "user_id": "me",
        "datetime": 86400.5, "data": {"state": "ACTIVE"},
    });
    let (status, receipt) = host.post("/v1/events", &body);
    assert_eq!((status, &receipt["listeners"], &receipt["position"]), (202, &json!(0), &receipt["id"]));
    let (_, nodes) = host.get("/v1/nodes");
    let node = nodes["results"][0]["node"].as_str().unwrap();
    let (_, answer) = host.get("/v1/events?origin=rack.7");
    let event = json!({
        "specversion": "1.0", "id": receipt["id"], "source": format!("/busway/{node}"),
        "type": "busway.ResourceLifecycleEvent", "subject": "rack.7", "time": "1970-01-02T00:00:00.5Z",
        "resourcename": "a rack", "eventstatus": "ERROR", "userid": "me", "sender": "http", "buswaybus": "busway",
        "buswaynode": node, "buswayposition": receipt["position"], "datacontenttype": "application/json",
        "data": {"state": "ACTIVE"},
    });
    assert_eq!(answer["events"], json!([event]));
    assert_eq!((&answer["next"], &answer["gap"]), (&Value::Null, &json!(false)));
    // What is foreign and of nobody's type passes as it is.
    let foreign = json!({"specversion": "1.0", "id": "e1", "source": "/x", "type": "com.example.door", "subject": "front",
        "time": "2026-01-31T12:00:00Z", "datacontenttype": "application/json", "data": [1]});
    let kind = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let (status, receipt, _) = post(&host, "/v1/events", &kind, &foreign.to_string());
    assert_eq!((status, &receipt["id"]), (202, &json!("e1")));
    let binary = [("ce-specversion", "1.0"), ("ce-id", "e2"), ("ce-source", "/x"), ("ce-type", "com.example.door")];
    let (status, ..) = post(&host, "/v1/events", &[&binary[..], &[("content-type", "text/plain")]].concat(), "open");
    assert_eq!(status, 202);
    let mut found = looked_up(&host, "type=com.example.door");
    found.iter_mut().for_each(|event| drop(event.as_object_mut().unwrap().remove("buswayposition")));
    assert_eq!(found[0], foreign);
    assert_eq!((&found[1]["data"], &found[1]["datacontenttype"]), (&json!("open"), &json!("text/plain")));
}

#[test]
fn pages_choices_and_where_they_end() {
    let host = start("");
    for n in 0..7 {
        publish(&host, ["a", "b.c"][n % 2], &format!("t{n}"));
    }
    assert_eq!(tasks(&looked_up(&host, "type=2001")), ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    assert_eq!(tasks(&looked_up(&host, "family=TriggerEvent&origin=b.*")), ["t1", "t3", "t5"]);
    assert_eq!(tasks(&looked_up(&host, "pattern=2001.%23.c&where=task_id=t1|t5&where=origin^=b")), ["t1", "t5"]);
    assert_eq!(tasks(&looked_up(&host, "type=ScheduleEvent&latest=true&limit=2")), ["t5", "t6"]);
    assert_eq!(tasks(&looked_up(&host, "type=ScheduleEvent&since=1h&limit=1")), ["t0"]);
    assert!(looked_up(&host, "type=ScheduleEvent&since=2100-01-01T00:00:00Z").is_empty());
    // Backwards, from the end on.
    let (mut all, mut before) = (Vec::new(), Some(String::new()));
    while let Some(end) = before {
        let (_, answer) = host.get(&format!("/v1/events?type=ScheduleEvent&latest=true&limit=3{end}"));
        all.splice(0..0, answer["events"].as_array().unwrap().clone());
        before = answer["previous"].as_str().map(|previous| format!("&before={previous}"));
        assert_eq!((&answer["next"], &answer["cut"]), (&Value::Null, &json!(false)));
    }
    assert_eq!(tasks(&all), ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    let between = format!("after={}&before={}", place(&all[1]), place(&all[4]));
    assert_eq!(tasks(&looked_up(&host, &format!("type=ScheduleEvent&{between}"))), ["t2", "t3"]);
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let (_, answer) = host.get(&format!("/v1/events?type=ScheduleEvent&limit=3{after}"));
        all.extend(answer["events"].as_array().unwrap().clone());
        match answer["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => {
                after = format!("&after={}", answer["position"].as_str().unwrap());
                break;
            }
        }
    }
    assert_eq!(tasks(&all), ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    // Who asks again from there gets what came since.
    publish(&host, "a", "t7");
    assert_eq!(tasks(&looked_up(&host, &format!("type=ScheduleEvent{after}"))), ["t7"]);
}

#[test]
fn a_batch_is_published_whole_or_not_at_all() {
    let host = start("[events]\nrate = 50\n");
    let one = |task: &str| json!({"type": "ScheduleEvent", "origin": "batch", "data": {"task_id": task}});
    let (status, answer) = host.post("/v1/events", &json!([one("a"), one("b")]));
    assert_eq!((status, answer["results"].as_array().unwrap().len()), (202, 2));
    let mut bad = one("d");
    bad["data"]["task"] = json!(1);
    assert_eq!(
        refused(host.post("/v1/events", &json!([one("c"), bad]))),
        (
            400,
            "BadField".to_owned(),
            "event 2 of 2: event type \"busway.ScheduleEvent\": there is no field \"task\" (its fields are: task_id, \
             payload)"
                .to_owned()
        )
    );
    let lost = json!({"type": "ScheduleEvent", "data": {"task_id": "e"}});
    let (status, body) = host.post("/v1/events", &json!([one("c"), lost]));
    assert_eq!(
        (status, &body["error"]),
        (
            400,
            &json!({"message": "event 2 of 2: an event has no origin: say to what it happened (\"unknown\" is none)",
                "error_code": 400, "error_data": {"kind": "BadOrigin", "event": 2}})
        )
    );
    let many: Vec<Value> = (0..51).map(|n| one(&n.to_string())).collect();
    assert_eq!(
        refused(host.post("/v1/events", &json!(many))),
        (413, "TooLarge".to_owned(), "the batch has 51 events, and may have 50: send several".to_owned())
    );
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let (status, body, _) = post(&host, "/v1/events", &batch, &json!([one("c")]).to_string());
    assert_eq!(
        refused((status, body)),
        (400, "BadEvent".to_owned(), "event 1 of 1: it is no CloudEvent: \"specversion\" is missing".to_owned())
    );
    assert_eq!(tasks(&looked_up(&host, "origin=batch")), ["a", "b"]);
}

#[test]
fn what_can_t_be_published_is_told_why() {
    let host = start("");
    let with = |key: &str, value: Value| {
        let mut event = json!({"type": "ScheduleEvent", "origin": "o"});
        event[key] = value;
        event
    };
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (body, status, kind, text) in [
        (
            with("type", json!("ScheduelEvent")),
            404,
            "EventTypeNotFound",
            "there is no event type \"ScheduelEvent\", did you mean \"ScheduleEvent\"?: busway event types lists them",
        ),
        (
            with("type", json!(4001)),
            400,
            "AmbiguousType",
            "4001 is the number of several event types: say which of busway.DataBlockEvent, \
             busway.InstrumentSampleDataEvent",
        ),
        (
            with("type", json!("TriggerEvent")),
            400,
            "NotPublished",
            "event type \"busway.TriggerEvent\" can't be published: it is a base, publish one of the types that are of it",
        ),
        (
            with("origin", json!("a.*")),
            400,
            "BadOrigin",
            "\"a.*\" can't be an origin: * and # are for those who subscribe, an event has one origin",
        ),
        (
            with("status", json!("EROR")),
            400,
            "BadField",
            "event type \"busway.ScheduleEvent\": \"status\" can't be \"EROR\": it is one of IN_PROGRESS (1), CACHED (2), \
             ERROR (3), NO_CACHE (4); did you mean ERROR?",
        ),
        (
            with("data", json!({"user_id": "me"})),
            400,
            "BadField",
            "\"user_id\" is given in both the envelope and the data: give it in the envelope, where all events have it",
        ),
        (
            with("task_id", json!("7")),
            400,
            "BadEvent",
            "there is no field \"task_id\" beside \"data\": an event's own fields are in its \"data\"",
        ),
        (with("data", json!(7)), 400, "BadEvent", "\"data\" is an object of the type's own fields"),
        (json!({"origin": "o"}), 400, "BadEvent", "\"type\" is missing: it says which event this is"),
        (with("source", json!("/x")), 400, "BadEvent", "it is no CloudEvent: \"specversion\" is missing"),
        (
            json!(7),
            400,
            "BadBody",
            "the body is an event, {\"type\": …, \"origin\": …, \"data\": {…}}, a CloudEvent, or a list of them",
        ),
        (
            with("data", json!({"payload": deep})),
            400,
            "BadEvent",
            "the event's data is nested deeper than 32 levels: say it flatter, or as text",
        ),
        (
            with("body", json!("x".repeat(300_000))),
            413,
            "TooLarge",
            "the event has 300219 bytes, and may have 262144: send where the rest is to be had",
        ),
    ] {
        assert_eq!(refused(host.post("/v1/events", &body)), (status, kind.to_owned(), text.to_owned()));
    }
    for (kind, body, status, text) in [
        // Without a token only what no form of a web page can send is let in.
        ("application/cloudevents+xml", "<event/>", 400, "Unsupported Content-Type; must be 'application/json'"),
        ("application/cloudevents+json", "[]", 400, "the body is a CloudEvent in JSON"),
        (
            "application/json",
            "{\"type\": \"a\", \"type\": \"b\"}",
            400,
            "the body is an event, {\"type\": …, \"origin\": …, \"data\": {…}}, a CloudEvent, or a list of them: the key \
             \"type\" stands twice in one object at line 1 column 20",
        ),
    ] {
        let (answered, body, _) = post(&host, "/v1/events", &[("content-type", kind)], body);
        assert_eq!((answered, body["error"]["message"].as_str()), (status, Some(text)), "{kind}");
    }
    let raw = host.raw("POST", "/v1/events", &[("ce-data", "x")], b"");
    let text =
        "it is no CloudEvent: there is no header ce-data: the body is the data, and Content-Type says what it is";
    assert_eq!((raw.status, raw.json()["error"]["message"].as_str()), (400, Some(text)));
    let (status, body) = host.post("/v1/events?mandatory=perhaps", &with("name", json!("x")));
    assert_eq!((status, &body["error"]["error_data"]["kind"]), (400, &json!("BadQuery")));
    assert!(looked_up(&host, "origin=o").is_empty(), "nothing was published");
}

/// In the short form as in a CloudEvent.
#[test]
fn a_type_that_nobody_described_passes_unless_the_host_is_strict() {
    let made = json!({"type": "com.example.made", "origin": "o", "data": {"n": [1]}, "description": "x"});
    let host = start("");
    let (status, receipt) = host.post("/v1/events", &made);
    assert_eq!(status, 202, "{receipt}");
    let events = looked_up(&host, "type=com.example.made");
    let event = &events[0];
    assert_eq!(
        (&event["data"], &event["description"], &event["id"]),
        (&json!({"n": [1]}), &json!("x"), &receipt["id"])
    );
    assert_eq!((&event["sender"], &event["subject"]), (&json!("http"), &json!("o")));
    let typo = json!({"type": "busway.ScheduelEvent", "origin": "o"});
    assert_eq!(refused(host.post("/v1/events", &typo)).1, "EventTypeNotFound", "the host's names are the host's");
    let both = json!({"type": "com.example.made", "origin": "o", "data": {"user_id": "me"}});
    assert_eq!(refused(host.post("/v1/events", &both)).1, "BadField");
    let said = host.run(&["event", "publish", "com.example.made", "--origin", "cli", "n=7"]);
    assert!(said.code == Some(0) && said.out.ends_with(": nobody listens\n"), "{} {}", said.out, said.err);
    assert_eq!(looked_up(&host, "origin=cli")[0]["data"], json!({"n": 7}));
    let strict = host.restart("open_writes = true\n[events]\nstrict = true\n");
    let text = "there is no event type \"com.example.made\": busway event types lists them";
    assert_eq!(refused(strict.post("/v1/events", &made)), (404, "EventTypeNotFound".to_owned(), text.to_owned()));
}

#[test]
fn nobody_else_is_the_host() {
    let host = start("");
    let event = |more: Value| {
        let mut event =
            json!({"specversion": "1.0", "id": "1", "type": "com.example.door", "source": "/x", "subject": "o"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    publish(&host, "own", "1");
    let source = looked_up(&host, "origin=own")[0]["source"].clone();
    for (more, kind) in [(json!({"source": source}), "NotTheHost"), (json!({"buswaybus": "theirs"}), "OtherBus")] {
        let (status, found, _) = refused(host.post("/v1/events", &event(more)));
        assert_eq!((status, found.as_str()), (403, kind));
    }
    assert!(looked_up(&host, "origin=o").is_empty(), "nothing was published");
}

#[test]
fn what_can_t_be_asked_for_is_told_why() {
    let host = start("");
    let missing = "busway event types lists them, and names of others' types have a domain, as in com.example.door";
    for (path, status, text) in [
        (
            "/v1/events?typ=x",
            400,
            "there is no parameter \"typ\": did you mean \"type\"?".to_owned(),
        ),
        (
            "/v1/events/stream?zzz=1",
            400,
            "there is no parameter \"zzz\": there are type, origin, pattern, family, where, queue, confirm, after".to_owned(),
        ),
        (
            "/v1/events?type=ErorLoggingEvent",
            404,
            format!("there is no event type \"ErorLoggingEvent\", did you mean \"ErrorLoggingEvent\"?: {missing}"),
        ),
        ("/v1/events?type=1001&type=1002", 400, "type is given twice: give it once".to_owned()),
        (
            "/v1/events?pattern=%23&origin=x",
            400,
            "a pattern says itself which types and origins: leave type, family and origin out, or pattern".to_owned(),
        ),
        (
            "/v1/events?type=1001&family=1001",
            400,
            "a family is a type and all that are of it: give family or type".to_owned(),
        ),
        (
            "/v1/events?pattern=1001",
            400,
            "\"1001\" can match nothing: an event's topic is TYPE.ORIGIN, so say \"1001.#\"".to_owned(),
        ),
        (
            "/v1/events?where=state",
            400,
            "\"state\" is no filter: write FIELD=VALUE, FIELD^=START, or FIELD=A|B for one of several".to_owned(),
        ),
        (
            "/v1/events?since=yesterday",
            400,
            "\"yesterday\" is no time: write 2026-01-31T12:00:00Z, or how long ago, such as 10m".to_owned(),
        ),
        ("/v1/events?limit=0", 400, "limit is a whole number from 1 to 1000, not \"0\"".to_owned()),
        ("/v1/events?archived=no", 400, "archived is true or false, not \"no\"".to_owned()),
        ("/v1/events?latest=yes", 400, "latest is true or false, not \"yes\"".to_owned()),
        (
            "/v1/events?after=7",
            400,
            "\"7\" is no place among events: give the \"buswayposition\" of one, or the \"next\" or \"position\" of an \
             answer, as it is"
                .to_owned(),
        ),
        (
            "/v1/events?after=0123456789abcdef-7",
            410,
            "0123456789abcdef-7 is a place of a run of the host that is over, and positions began anew: begin again \
             without it, with since for what is later than a time"
                .to_owned(),
        ),
        (
            "/v1/events?before=0123456789abcdef-7",
            410,
            "0123456789abcdef-7 is a place of a run of the host that is over, and positions began anew: begin again \
             without it, with since for what is later than a time"
                .to_owned(),
        ),
        (
            "/v1/events/stream?before=7",
            400,
            "there is no parameter \"before\": there are type, origin, pattern, family, where, queue, confirm, after"
                .to_owned(),
        ),
        (
            "/v1/events/stream?confirm=1",
            400,
            "confirm is for those who share a queue: name one with queue, or leave it out".to_owned(),
        ),
        (
            "/v1/events/stream?queue=a&confirm=0",
            400,
            "confirm is how many events may be on their way unconfirmed, a whole number from 1 to 1000, not \"0\"".to_owned(),
        ),
        (
            "/v1/events/stream?queue=a%20b",
            400,
            "\"a b\" can't be the name of a queue: it has 1 to 100 letters, digits, or characters of - _ . and /"
                .to_owned(),
        ),
        (
            "/v1/events/stream?queue=a&after=0123456789abcdef-7",
            400,
            "those who share a queue share its place, too: leave after and Last-Event-ID out, or queue".to_owned(),
        ),
    ] {
        let (answered, body) = host.get(path);
        assert_eq!((answered, body["error"]["message"].as_str()), (status, Some(&*text)), "{path}");
    }
    let (_, answer) = host.get("/v1/events");
    let here = answer["position"].as_str().unwrap();
    let (process, position) = here.split_once('-').unwrap();
    let ahead = format!("{process}-{}", position.parse::<u64>().unwrap() + 1000);
    let text = format!("there is nothing at {ahead} yet: the last event is at {here}");
    for path in ["/v1/events", "/v1/events/stream"] {
        let (status, body) = host.get(&format!("{path}?after={ahead}"));
        assert_eq!((status, body["error"]["message"].as_str()), (400, Some(&*text)));
    }
}

#[test]
fn too_many_are_refused_with_when_to_try_again() {
    let host = start("[events]\nrate = 20\n");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    let one = |n: usize| json!({"type": "ScheduleEvent", "origin": "flood", "data": {"task_id": n.to_string()}});
    let all: Vec<Value> = (0..20).map(one).collect();
    // As many as may be in a second; the very next one is too many, whatever the machine does meanwhile.
    let answer = wait_for("a refusal", || {
        // A second passes, and it is full again.
        let _ = host.post("/v1/events", &json!(all));
        let said = post(&host, "/v1/events", &[("content-type", "application/json")], &one(20).to_string());
        if said.0 == 429 { Ok(said) } else { Err(format!("{said:?}")) }
    });
    let (_, body, retry) = answer;
    assert_eq!((&body["error"]["error_data"]["kind"], retry), (&json!("RateLimited"), Some(1)));
    let text = body["error"]["message"].as_str().unwrap();
    assert!(text.starts_with("\"http\" publishes more than 20 events in 1s: try again in "), "{text}");
    // Another client, which has a name, is not held up by that; and its events say whose they are.
    let instance = session.instance.clone();
    let headers = [("x-busway-instance", instance.as_str())];
    let body = json!({"type": "ScheduleEvent", "origin": "shop"});
    assert_eq!(host.send("POST", "/v1/events", &headers, &body).0, 202);
    assert_eq!(looked_up(&host, "origin=shop")[0]["sender"], "shop");
    drop(session);
    wait_for("the session's end", || {
        let (status, body) = host.send("POST", "/v1/events", &headers, &body);
        let text = "the session that x-busway-instance names has ended, or never was";
        if status == 409 && body["error"]["message"] == text { Ok(()) } else { Err(body.to_string()) }
    });
}

#[test]
fn mandatory_needs_somebody_who_listens() {
    let host = start("");
    let body = json!({"type": "ScheduleEvent", "origin": "1001"});
    let text = "nobody listens to \"busway/ScheduleEvent.1001\", and it was to be published only if somebody does";
    assert_eq!(
        refused(host.post("/v1/events?mandatory=true", &body)),
        (409, "NobodyListens".to_owned(), text.to_owned())
    );
    let listens = events(&format!("{}/v1/events/stream?family=TriggerEvent&where=origin=1001", host.url()), None);
    let (status, receipt) = host.post("/v1/events?mandatory=true", &body);
    assert_eq!((status, &receipt["listeners"]), (202, &json!(1)));
    assert_eq!(next(&listens, "event").data["id"], receipt["id"]);
    let (_, all) = host.get("/v1/events/subscriptions");
    let ours = |one: &&Value| one["topics"] == "busway/TriggerEvent+.#";
    let one = all["results"].as_array().unwrap().iter().find(ours).unwrap();
    assert_eq!(
        *one,
        json!({"topics": "busway/TriggerEvent+.#", "queue": null, "waiting": {"events": 0, "bytes": 0}, "delivered": 1,
            "dropped": 0, "redelivered": 0, "given_up": 0})
    );
}

/// Publishes so many large events, in batches.
pub(crate) fn publish_large(host: &Host, tasks: std::ops::Range<usize>) {
    let payload = "x".repeat(200_000);
    let one = |task: usize| json!({"type": "ScheduleEvent", "origin": "o", "data": {"task_id": task.to_string(), "payload": payload}});
    let tasks: Vec<usize> = tasks.collect();
    for tasks in tasks.chunks(8) {
        let batch: Vec<Value> = tasks.iter().map(|task| one(*task)).collect();
        let (status, answer) = host.post("/v1/events", &json!(batch));
        assert_eq!(status, 202, "{answer}");
    }
}

#[test]
fn a_page_of_large_events_is_cut_and_says_so() {
    let host = start("");
    publish_large(&host, 0..60);
    let (_, first) = host.get("/v1/events?type=ScheduleEvent");
    let found = first["events"].as_array().unwrap();
    assert!((10..60).contains(&found.len()) && first["cut"] == true && first["previous"].is_null());
    assert_eq!(first["next"], *place(found.last().unwrap()));
    let (_, latest) = host.get("/v1/events?type=ScheduleEvent&latest=true");
    let found = latest["events"].as_array().unwrap();
    assert!((10..60).contains(&found.len()) && latest["cut"] == true && latest["next"].is_null());
    assert_eq!(
        (found.last().unwrap()["data"]["task_id"].as_str(), &latest["previous"]),
        (Some("59"), &found[0]["buswayposition"])
    );
    // Those of the command line get what they asked for.
    let said = host.run(&["events", "--no-follow", "--type", "2001", "-n", "55", "-o", "jsonl"]);
    let tasks: Vec<String> = said
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["task_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tasks, (5..60).map(|task: usize| task.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_happened_before_a_restart_is_in_the_archive() {
    let host = start("");
    let text = "events are not kept over restarts here: set events.durable in the configuration";
    assert_eq!(refused(host.get("/v1/events?archived=true")), (404, "NoArchive".to_owned(), text.to_owned()));
    let keys = "open_writes = true\n[events]\ndurable = true\n";
    let host = host.restart(keys);
    (0..3).for_each(|task| drop(publish(&host, "o", &task.to_string())));
    let host = host.restart(keys);
    publish(&host, "o", "3");
    wait_for("the last to be written", || {
        let found = looked_up(&host, "archived=true&type=2001");
        if tasks(&found) == ["0", "1", "2", "3"] { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert_eq!(tasks(&looked_up(&host, "archived=true&type=2001&where=task_id=1|3")), ["1", "3"]);
    let (_, page) = host.get("/v1/events?archived=true&type=2001&limit=3");
    let next = page["next"].as_str().unwrap();
    assert_eq!(tasks(&looked_up(&host, &format!("archived=true&type=2001&after={next}"))), ["3"]);
    let text = "the archive is read forwards only: leave before out, or archived";
    assert_eq!(refused(host.get("/v1/events?archived=true&before=ab-1")).2, text);
    let text = "\"ab-1\" is no place in the archive: give the \"next\" of an answer, as it is";
    assert_eq!(refused(host.get("/v1/events?archived=true&after=ab-1")).2, text);
    let said = host.run(&["events", "--archived", "--type", "2001", "-o", "jsonl"]);
    assert_eq!((said.out.lines().count(), said.code), (4, Some(0)), "{}", said.err);
}

#[test]
fn types_are_described() {
    let host = start("");
    let (status, one) = host.get("/v1/events/types/AppLoaderEvent");
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:busway:event:busway.AppLoaderEvent",
        "title": "busway.AppLoaderEvent", "description": "An application began or ended.", "type": "object",
        "properties": {
            "app_name": {"type": "string", "description": "Which one."},
            "state": {"type": "string", "enum": ["STARTED", "STOPPED"], "description": "What it did."},
        },
        "additionalProperties": false,
    });
    let fields = json!([
        {"name": "app_name", "kind": "text", "required": false, "about": "Which one."},
        {"name": "state", "kind": "one_of", "values": {"STARTED": 1, "STOPPED": 2}, "required": false,
            "about": "What it did."},
    ]);
    assert_eq!(
        (status, &one),
        (
            200,
            &json!({"type": "busway.AppLoaderEvent", "id": 1075, "base": "busway.InfrastructureEvent", "message": 2332,
                "role": "event", "about": "An application began or ended.", "origin": "the application's name",
                "owner": {"kind": "host"}, "fields": fields, "schema": schema})
        )
    );
    assert_eq!(host.get("/v1/events/types/1075").1, one);
    let (_, all) = host.get("/v1/events/types");
    assert!(all["results"].as_array().unwrap().contains(&one));
    assert_eq!(refused(host.get("/v1/events/types/4001")).1, "AmbiguousType");
    assert_eq!(
        refused(host.get("/v1/events/types/AppLodaerEvent")),
        (
            404,
            "EventTypeNotFound".to_owned(),
            "there is no event type \"AppLodaerEvent\", did you mean \"AppLoaderEvent\"?: busway event types lists them"
                .to_owned()
        )
    );
}
