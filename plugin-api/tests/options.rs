//! Options: declared, checked and read by one definition.

use crate::support::open_driver;
use busway_plugin_api::abi::Status;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Value, json};
use busway_plugin_api::testing::TestHost;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize, JsonSchema)]
#[allow(dead_code, reason = "shown by Debug")]
struct Login {
    /// Who.
    user: String,
    /// The secret.
    password: Option<Secret<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Fast,
    VerySlow,
}

fn ten() -> u16 {
    10
}

#[derive(Debug, Deserialize, JsonSchema)]
#[allow(dead_code, reason = "shown by Debug")]
struct Options {
    /// Where it lies,
    /// and more.
    path: String,
    #[serde(default = "ten")]
    every: u16,
    mode: Option<Mode>,
    #[serde(flatten)]
    login: Login,
    #[serde(default)]
    pin: Option<Secret<u16>>,
    #[serde(default)]
    tokens: Vec<Secret<String>>,
    #[serde(default)]
    names: BTreeMap<String, i32>,
}

struct Files;

impl Driver for Files {
    const ID: &'static str = "files";
    type Options = Options;
    type Source = PollSource;
    fn open(options: Options, context: Context) -> Result<PollSource, Error> {
        Err(Error::new(format!("{options:?} of {} {}", context.datasource(), context.generation())))
    }
}

fn told(options: Value) -> (Status, String) {
    let error = open_driver::<Files>(&TestHost::new(), options).unwrap_err();
    (error.status(), error.to_string())
}

fn invalid(problems: &str) -> (Status, String) {
    (Status::INVALID, format!("the options of datasource \"test\" are wrong: {problems}"))
}

#[test]
fn what_is_not_set_has_its_default() {
    let given = json!({"path": "/", "user": "me", "every": null, "mode": null, "pin": null, "tokens": null});
    let expected = "Options { path: \"/\", every: 10, mode: None, login: Login { user: \"me\", password: None }, pin: None, \
                    tokens: [], names: {} } of test 1";
    assert_eq!(told(given), (Status::FAILED, expected.to_owned()));
    let given = json!({"path": "/", "user": "me", "mode": "very-slow", "password": "hunter2", "pin": 7, "tokens": ["t"],
        "names": {"a": 1}});
    let expected = "Options { path: \"/\", every: 10, mode: Some(VerySlow), login: Login { user: \"me\", password: \
                    Some(<hidden>) }, pin: Some(<hidden>), tokens: [<hidden>], names: {\"a\": 1} } of test 1";
    assert_eq!(told(given), (Status::FAILED, expected.to_owned()));
}

#[test]
fn all_problems_come_at_once() {
    assert_eq!(
        told(json!({"pth": "/", "every": "often", "user": 7, "zzzzzz": 1, "password": [1], "names": 2})),
        invalid(
            "unknown option \"pth\": did you mean \"path\"?; unknown option \"zzzzzz\": the driver has path, every, mode, \
             user, password, pin, tokens, names; missing option \"path\" (string): Where it lies, and more.; option \
             \"every\" takes a whole number, got \"often\"; option \"user\" takes a string, got 7; option \"password\" takes \
             a string, got <hidden>; option \"names\" takes a table, got 2"
        )
    );
}

#[test]
fn a_value_that_its_type_does_not_hold_is_named() {
    let with = |name: &str, value: Value| {
        let mut given = json!({"path": "/", "user": "me"});
        given[name] = value;
        told(given)
    };
    assert_eq!(with("every", json!(-1)), invalid("option \"every\": invalid value: integer `-1`, expected u16"));
    assert_eq!(
        with("mode", json!("medium")),
        invalid("option \"mode\": unknown variant `medium`, expected `fast` or `very-slow`")
    );
    assert_eq!(with("names", json!({"a": "x"})), invalid("option \"names\": invalid type: string \"x\", expected i32"));
    for (name, value) in [("pin", json!(99999)), ("tokens", json!(["t", 12345]))] {
        let (status, text) = with(name, value);
        assert_eq!((status, text), invalid(&format!("option {name:?} has an unfit value")));
    }
}

#[test]
fn options_without_any_or_with_one() {
    #[derive(Deserialize, JsonSchema)]
    struct None {}
    struct Plain;
    impl Driver for Plain {
        const ID: &'static str = "plain";
        type Options = None;
        type Source = PollSource;
        fn open(_: None, context: Context) -> Result<PollSource, Error> {
            Ok(PollSource::new(context))
        }
    }
    assert!(open_driver::<Plain>(&TestHost::new(), json!({})).is_ok());
    let refused = open_driver::<Plain>(&TestHost::new(), json!({"a": 1})).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the options of datasource \"test\" are wrong: unknown option \"a\": the driver has none"
    );
    assert_eq!(open_driver::<Plain>(&TestHost::new(), json!([])).unwrap_err().message(), "options are a JSON object");
}

#[test]
fn described_as_they_are_read() {
    let info = TestHost::describe::<Files>().unwrap();
    let told: Vec<String> = info
        .options
        .iter()
        .map(|o| format!("{} {} {} {} {} {}", o.name, o.kind, o.required, o.secret, o.default, o.description))
        .collect();
    let expected = [
        "path string true false null Where it lies, and more.",
        "every integer false false 10 ",
        "mode string false false null ",
        "user string true false null Who.",
        "password string false true null The secret.",
        "pin integer false true null ",
        "tokens array false true null ",
        "names object false false {} ",
    ];
    assert_eq!(told, expected);
    assert_eq!((info.id.as_str(), info.version.as_str()), ("files", "0.0.0"));
}
