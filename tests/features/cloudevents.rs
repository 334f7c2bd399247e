//! The CloudEvents project's own SDK publishes and reads an event of every type.

use busway_tests::host::Bed;
use busway_tests::python::installed;
use busway_tests::workspace::root;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn every_type_goes_through_the_sdk_and_back() {
    let host = Bed::new().start("open_writes = true\n");
    let (_, types) = host.get("/v1/events/types");
    let of = |role: &str| {
        let types = types["results"].as_array().unwrap().iter().filter(|one| one["role"] == role);
        types.map(|one| one["type"].clone()).collect::<Vec<Value>>()
    };
    let python = installed("cloudevents", "the CloudEvents project's SDK for Python, cloudevents").join("bin/python");
    let mut command = Command::new(python);
    command.arg(root().join("tests/cloudevents/walk.py")).arg(host.url()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("python starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let mut done: Value = serde_json::from_str(&out).unwrap();
    let mut refused: Vec<Value> = done["refused"].take().as_array().unwrap().clone();
    let mut bases = [of("base"), of("raw")].concat();
    for names in [&mut refused, &mut bases] {
        names.sort_by_key(|name| name.as_str().unwrap().to_owned());
    }
    assert_eq!(refused, bases);
    let count = of("event").len();
    assert!(count >= 20, "{count}");
    assert_eq!(done, json!({"published": 3 * count, "types": count, "refused": null, "foreign": 6}));
}
