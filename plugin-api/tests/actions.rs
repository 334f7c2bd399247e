//! Actions and their arguments.

use crate::support::{Mock, Recorder, error, module};
use busway_plugin_api::abi::{SourceObject, Status};
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{self, Value, json};
use busway_plugin_api::testing::TestHost;

fn kill(_: &Context, args: &Args) -> Result<Value, Error> {
    let (pid, signal) = (args.require::<u32>("pid")?, args.get::<String>("signal")?);
    Ok(json!({"pid": pid, "signal": signal}))
}

fn source() -> SourceObject {
    Recorder::default().open(|context| Ok(PollSource::new(context).action("kill", kill))).unwrap()
}

fn execute(source: &SourceObject, request: Value) -> Result<Value, (Status, String)> {
    let reply = source.execute(request.to_string().as_str().into());
    if reply.is_ok() {
        return Ok(serde_json::from_str(&reply.body).unwrap());
    }
    let (status, error) = error(&reply);
    Err((status, Error::from_parts(status, error).to_string()))
}

#[test]
fn by_position_by_name_and_both() {
    let source = source();
    let both = json!({"pid": 7, "signal": "TERM"});
    for request in [
        json!({"action": "kill", "positional": [7, "TERM"]}),
        json!({"action": "kill", "named": {"signal": "TERM", "pid": 7}}),
        json!({"action": "kill", "positional": [7], "named": {"signal": "TERM"}, "request_id": "x"}),
    ] {
        assert_eq!(execute(&source, request), Ok(both.clone()));
    }
    let less = json!({"pid": 7, "signal": null});
    assert_eq!(execute(&source, json!({"action": "kill", "positional": [7]})), Ok(less));
}

#[test]
fn wrong_arguments_are_all_named_at_once() {
    let source = source();
    let refused = |request| execute(&source, request).unwrap_err();
    let invalid = |text: &str| (Status::INVALID, text.to_owned());
    assert_eq!(
        refused(json!({"action": "kill", "named": {"pdi": 7, "sig": 1}})),
        invalid(
            "the arguments of \"kill\" are wrong: unknown argument \"pdi\": it takes pid, signal; unknown argument \
             \"sig\": it takes pid, signal; missing argument \"pid\""
        )
    );
    assert_eq!(
        refused(json!({"action": "kill", "positional": [1, "A", 2], "named": {"pid": 7}})),
        invalid("the arguments of \"kill\" are wrong: 3 arguments given, 2 taken; argument \"pid\" is given twice")
    );
    assert_eq!(
        refused(json!({"action": "kill", "positional": ["x"]})),
        invalid("argument \"pid\": invalid type: string \"x\", expected u32")
    );
    assert_eq!(
        refused(json!({"action": "kill", "named": {"pid": 1, "signal": 9}})),
        invalid("argument \"signal\": invalid type: integer `9`, expected a string")
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let source = source();
    let missing = |text: &str| Err((Status::NOT_FOUND, text.to_owned()));
    assert_eq!(execute(&source, json!({"action": "dance"})), missing("no action \"dance\""));
    assert_eq!(execute(&source, json!({"action": "absent"})), missing("no action \"absent\""));
    // A source that has no actions says the same.
    struct Bare;
    impl Source for Bare {
        fn poll(&self, _: &busway_plugin_api::message::PollRequest) -> Result<Vec<Update>, Error> {
            Ok(Vec::new())
        }
    }
    let bare = Recorder::default().open(|_| Ok(Bare)).unwrap();
    assert_eq!(execute(&bare, json!({"action": "kill", "positional": [1]})), missing("no action \"kill\""));
}

#[test]
fn a_request_of_another_shape_is_invalid() {
    let source = source();
    assert_eq!(
        error(&source.execute("[\"kill\"]".into())).1.message,
        "not the JSON that was expected: a request is an object"
    );
    for text in ["", "null", "[]", "{", "{\"named\": {}}", "{\"action\": 5}", "{\"action\": \"kill\", \"call\": -1}"] {
        let (status, error) = error(&source.execute(text.into()));
        assert_eq!(status, Status::INVALID, "{text}: {error}");
        assert!(error.message.starts_with("not the JSON that was expected: "), "{text}: {error}");
    }
    // Unknown keys are a newer host's.
    assert!(execute(&source, json!({"action": "kill", "positional": [7], "mood": "good"})).is_ok());
}

#[test]
fn unknown_operations_are_not_implemented() {
    let source = source();
    for reply in [source.control("dance".into(), "no JSON".into()), module().control()("dance".into(), "".into())] {
        let (status, error) = error(&reply);
        assert_eq!((status, error.message.as_str()), (Status::NOT_IMPLEMENTED, "unknown operation \"dance\""));
    }
}

#[test]
fn an_action_may_answer_nothing_and_may_fail() {
    let host = TestHost::new();
    let source = crate::support::open(&host, |_| Mock {
        execute: Some(Box::new(|_, args| match args.get::<u32>("pid")? {
            Some(0) => Err(Error::transient("not now").code("busy")),
            _ => Ok(Value::Null),
        })),
        ..Mock::default()
    });
    assert_eq!(source.execute("kill", json!({"pid": 1})).unwrap(), Value::Null);
    let error = source.execute("kill", json!({"pid": 0})).unwrap_err();
    assert!(error.is_transient());
    assert_eq!((error.message(), error.body().code.as_deref()), ("not now", Some("busy")));
    assert!(error.place().unwrap().starts_with(file!()));
}
