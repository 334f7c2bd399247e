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
    assert_eq!(&*read(without("subject")).unwrap().origin, "/elsewhere");
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
        (with("subject", json!("a b")), "\"a b\" can't be an origin: it has white space or control characters"),
        (with("type", json!("a *")), "there is no event type \"a *\": busway event types lists them"),
        (
            with("type", json!("busway.ScheduleEvent")),
            "event type \"busway.ScheduleEvent\": there is no field \"open\"; there is no field \"count\" (its fields are: task_id, payload)",
        ),
        (
            with("type", json!("1116")),
            "event type \"busway.DatasetStreamingEvent\" can't be published: what comes of it is in no envelope; it can be subscribed to",
        ),
        (
            with("type", json!("TriggerEvent")),
            "event type \"busway.TriggerEvent\" can't be published: it is a base, publish one of the types that are of it",
        ),
        (
            with("type", json!("4001")),
            "4001 is the number of several event types: say which of busway.DataBlockEvent, busway.InstrumentSampleDataEvent",
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
