//! What came from outside, handed to a source.

use crate::support::{Mock, Recorder, error, open};
use busway_plugin_api::abi::{SourceObject, Status};
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Value, json};
use busway_plugin_api::testing::TestHost;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    text: String,
}

/// Publishes the payload to the table that was named; panics when it is a number.
fn hooked(context: Context) -> PollSource {
    let table = |name: &str| TableSpec::of::<Row>(name);
    PollSource::new(context).changes(table("news"), |_| Ok(Change::Published)).webhook(move |context, request| {
        assert!(!request.payload.is_number(), "a number on purpose");
        let row = Row::deserialize(&request.payload).map_err(|e| Error::invalid(format!("the payload: {e}")))?;
        let name = request.table.clone().unwrap_or_else(|| "news".to_owned());
        context.publisher(table(&name)).add(&[row])?;
        Ok(vec![name])
    })
}

fn sent(source: &SourceObject, request: &Value) -> (Status, String) {
    let reply = source.control("webhook".into(), request.to_string().as_str().into());
    if reply.is_ok() { (reply.status, reply.body.into()) } else { (reply.status, error(&reply).1.message) }
}

#[test]
fn it_is_published_and_the_tables_are_named() {
    let host = TestHost::new();
    let source = open(&host, hooked);
    source.activate().unwrap();
    assert_eq!(source.webhook(None, json!({"text": "a"})).unwrap(), ["news"]);
    assert_eq!(source.webhook(Some("old"), json!({"text": "b"})).unwrap(), ["old"]);
    let told: Vec<String> = host.published().iter().map(|update| update.table.clone()).collect();
    assert_eq!(told, ["news", "old"]);
    let refused = source.webhook(None, json!("a")).unwrap_err();
    assert_eq!((refused.status(), host.published().len()), (Status::INVALID, 2));
    assert_eq!(refused.message(), "the payload: invalid type: string \"a\", expected struct Row");
}

#[test]
fn through_the_bare_contract() {
    let recorder = Recorder::default();
    let source = recorder.open(|context| Ok(hooked(context))).unwrap();
    assert!(source.activate(json!({"call": 1}).to_string().as_str().into()).is_ok());
    let call = json!({"call": 7, "deadline_ms": 500, "table": null, "payload": {"text": "a"}, "mood": "good"});
    assert_eq!(sent(&source, &call), (Status::OK, "[\"news\"]".to_owned()));
    let (status, text) = sent(&source, &json!([1]));
    assert_eq!((status, text.as_str()), (Status::INVALID, "not the JSON that was expected: a request is an object"));
    assert_eq!(sent(&source, &json!({"payload": 7})).0, Status::PANICKED);
    assert_eq!(sent(&source, &json!({"payload": {"text": "a"}})).0, Status::POISONED);
}

#[test]
fn who_takes_none_says_so() {
    let none = (Status::NOT_IMPLEMENTED, "this source takes no webhooks".to_owned());
    let mock = Recorder::default().open(|_| Ok(Mock::default())).unwrap();
    let poll = Recorder::default().open(|context| Ok(PollSource::new(context))).unwrap();
    for source in [mock, poll] {
        assert_eq!(sent(&source, &json!({"payload": 1})), none);
    }
}
