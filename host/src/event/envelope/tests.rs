use super::super::{Catalogue, Draft};
use super::*;

fn whole() -> Value {
    json!({"specversion": "1.0", "id": "7", "source": "/elsewhere", "type": "com.example.door", "subject": "front",
        "time": "2026-01-31T12:00:00Z", "datacontenttype": "application/json", "data": {"open": true, "count": 9007199254740993_u64}})
}

fn with(key: &str, value: Value) -> Value {
    let mut all = whole();
    all[key] = value;
    all
}

fn without(key: &str) -> Value {
    let mut all = whole();
    all.as_object_mut().unwrap().remove(key);
    all
}

fn read(event: Value) -> Result<Event, EventError> {
    let catalogue = Catalogue::default();
    let draft = Draft::of_json(&catalogue, event, false)?;
    let words = catalogue.words(draft.kind());
    draft.finish(Timestamp::now(), words, None, None, None, || unreachable!("it has an id"))
}

#[test]
fn a_foreign_one_passes_as_it_is() {
    let odd = with("comexampleext", json!("x"));
    assert_eq!(read(odd.clone()).unwrap().to_json(), odd);
    assert_eq!(read(whole()).unwrap().to_json()["data"]["count"], json!(9007199254740993_u64), "not as a float");
    let text = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t.t", "subject": "o",
        "time": "2026-01-31T12:00:00Z", "datacontenttype": "text/plain", "data": "hello"});
    assert_eq!(read(text.clone()).unwrap().to_json(), text);
    let binary = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t.t", "subject": "o",
        "time": "2026-01-31T12:00:00Z", "datacontenttype": "image/png", "dataschema": "https://example.com/s", "data_base64": "AAEC"});
    assert_eq!(read(binary.clone()).unwrap().to_json(), binary);
    let of_itself = read(without("subject")).unwrap();
    assert_eq!((&*of_itself.origin, of_itself.to_json()), ("/elsewhere", without("subject")));
    assert_eq!((of_itself.field("origin"), of_itself.field("subject")), (Some(json!("/elsewhere")), None));
    assert!(read(without("time")).unwrap().time <= Timestamp::now());
}

#[test]
fn integers_of_extensions_have_32_bits() {
    for (given, kept) in [
        (json!(2147483647), json!(2147483647)),
        (json!(2147483648_u32), json!("2147483648")),
        (json!(-2147483649_i64), json!("-2147483649")),
        (json!(1.5), json!("1.5")),
        (json!(true), json!(true)),
    ] {
        assert_eq!(read(with("ext", given)).unwrap().to_json()["ext"], kept);
    }
}

#[test]
fn what_is_none_is_told_why() {
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let cases = [
        (json!([]), "it is no CloudEvent: it is not an object"),
        (without("id"), "it is no CloudEvent: \"id\" is missing"),
        (with("id", json!("")), "it is no CloudEvent: \"id\" must be a text that is not empty"),
        (with("source", json!(1)), "it is no CloudEvent: \"source\" must be a text that is not empty"),
        (with("specversion", json!("0.3")), "it is no CloudEvent: its \"specversion\" is \"0.3\", and must be \"1.0\""),
        (with("time", json!("noon")), "it is no CloudEvent: \"time\" is \"noon\": write 2026-01-31T12:00:00Z"),
        (
            with("dataContentType", json!("x")),
            "it is no CloudEvent: \"dataContentType\" can't be an attribute, did you mean \"datacontenttype\"?: extensions have 1 to 20 small letters and digits",
        ),
        (with("ext", json!([1])), "it is no CloudEvent: attribute \"ext\" must be a text, a number or true or false"),
        (with("data_base64", json!("AA==")), "it is no CloudEvent: it has both \"data\" and \"data_base64\""),
        (
            with("datacontenttype", json!("text/plain")),
            "it is no CloudEvent: its \"data\" is JSON, and \"datacontenttype\" is not",
        ),
        (with("data", deep), "the event's data is nested deeper than 32 levels: say it flatter, or as text"),
        (
            with("data", json!("x".repeat(MAX_EVENT))),
            "the event has 262338 bytes, and may have 262144: send where the rest is to be had",
        ),
        (with("subject", json!("a\nb")), "it is no CloudEvent: \"subject\" has control characters"),
        (
            with("type", json!("a ".repeat(100))),
            "it is no CloudEvent: its \"type\" is too long: it may have 255 bytes as a word of a topic",
        ),
        (
            with("time", json!("-000001-12-31T23:59:59Z")),
            "it is no CloudEvent: \"time\" is \"-000001-12-31T23:59:59Z\": it is to be of the years 0000 to 9999",
        ),
        (
            with("time", json!("0000-01-01T00:00:00+01:00")),
            "it is no CloudEvent: \"time\" is \"0000-01-01T00:00:00+01:00\": it is to be of the years 0000 to 9999",
        ),
        (
            with("type", json!("busway.ScheduleEvent")),
            "event type \"busway.ScheduleEvent\": there is no field \"open\"; there is no field \"count\" (its fields are: task_id, payload)",
        ),
        (
            with("type", json!("busway.DatasetStreamingEvent")),
            "event type \"busway.DatasetStreamingEvent\" can't be published: what comes of it is in no envelope; it can be subscribed to",
        ),
        (
            with("type", json!("busway.TriggerEvent")),
            "event type \"busway.TriggerEvent\" can't be published: it is a base, publish one of the types that are of it",
        ),
    ];
    for (event, text) in cases {
        assert_eq!(read(event).unwrap_err().to_string(), text);
    }
    let mut typed = with("type", json!("busway.ScheduleEvent"));
    typed["data"] = json!({"task_id": "t", "user_id": "me"});
    let both =
        "\"user_id\" is given in both the envelope and the data: give it in the envelope, where all events have it";
    assert_eq!(read(typed).unwrap_err().to_string(), both);
    let strict = Draft::of_json(&Catalogue::default(), whole(), true).unwrap_err().to_string();
    assert_eq!(strict, "there is no event type \"com.example.door\": busway event types lists them");
}

#[test]
fn a_time_is_one_that_can_be_written() {
    let first = json!("0000-01-01T00:00:00Z");
    assert_eq!(read(with("time", first.clone())).unwrap().to_json()["time"], first);
    let made = |datetime: Value| {
        let fields = json!({"datetime": datetime}).as_object().unwrap().clone();
        Draft::create(&Catalogue::default(), "ScheduleEvent", fields).map(|draft| draft.get("datetime").unwrap())
    };
    assert_eq!(made(json!(-62167219200_i64)), Ok(first));
    for (beyond, shown) in [
        (json!(-62167219201_i64), "-62167219201"),
        (json!("-000001-01-01T00:00:00Z"), "\"-000001-01-01T00:00:00Z\""),
        (json!(1e12), "1000000000000.0"),
    ] {
        let text = format!(
            "event type \"busway.ScheduleEvent\": \"datetime\" is {shown}, and must be a time of the years 0000 to 9999"
        );
        assert_eq!(made(beyond).unwrap_err().to_string(), text);
    }
}

/// All that CloudEvents lets subjects and sources be comes back as it was; in a topic it is words.
#[test]
fn whatever_another_system_calls_its_things_passes() {
    let long = format!("/blobs/{}", "x".repeat(400));
    let cut = format!("/blobs/{}~", "x".repeat(231));
    for (subject, origin) in [
        ("front door", "front%20door"),
        ("a#b", "a%23b"),
        ("https://example.com/a%20b?c=*#top", "https://example.com/a%20b?c=%2A%23top"),
        ("../x", "%2E%2E/x"),
        ("a..b", "a%2E%2Eb"),
        ("a.b", "a.b"),
        ("#", "%23"),
        ("\u{a0}", "%C2%A0"),
        ("unknown", "/elsewhere"),
    ] {
        let event = read(with("subject", json!(subject))).unwrap();
        assert_eq!(&*event.origin, origin);
        super::super::check_origin(&event.origin).unwrap();
        assert_eq!(event.to_json(), with("subject", json!(subject)));
        // Its source is to what it happened, then.
        let back = if subject == "unknown" { "/elsewhere" } else { subject };
        assert_eq!(event.field("origin"), Some(json!(back)));
    }
    let event = read(with("subject", json!(long))).unwrap();
    assert!(event.origin.starts_with(&cut) && event.origin.len() <= 255, "{}", event.origin);
    assert_ne!(read(with("subject", json!(format!("{long}y")))).unwrap().origin, event.origin);
    assert_eq!(event.to_json()["subject"], json!(long));
    let mut source = with("source", json!("my host #7"));
    source.as_object_mut().unwrap().remove("subject");
    let event = read(source).unwrap();
    assert_eq!((&*event.origin, event.to_json()["source"].clone()), ("my%20host%20%237", json!("my host #7")));
    let typed =
        json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "busway.ScheduleEvent", "subject": "my rack"});
    assert_eq!(read(typed).unwrap().to_json()["subject"], "my rack");
}
