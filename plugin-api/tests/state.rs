//! State that the next generation goes on from.

use crate::support::{Recorder, error, open};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::StateBody;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::json;
use busway_plugin_api::testing::{TestHost, TestSource};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    count: u64,
    names: BTreeMap<String, f64>,
}

type Kept = Arc<Mutex<Seen>>;

fn source(kept: &Kept) -> TestSource {
    let (export, import) = (Arc::clone(kept), Arc::clone(kept));
    open(&TestHost::new(), move |context| {
        PollSource::new(context).state(
            2,
            move || export.lock().unwrap().clone(),
            move |seen| *import.lock().unwrap() = seen,
        )
    })
}

#[test]
fn it_goes_over_to_the_next_one() {
    let names = [("a".to_owned(), 0.1), ("ü\n\"".to_owned(), -1e300)].into();
    let old = Kept::new(Mutex::new(Seen { count: (1 << 53) - 1, names }));
    let state = source(&old).export_state().unwrap().unwrap();
    assert_eq!(state.version, 2);
    let new = Kept::default();
    source(&new).import_state(&state).unwrap();
    assert_eq!(*new.lock().unwrap(), *old.lock().unwrap());
}

#[test]
fn another_version_and_another_shape_change_nothing() {
    let before = Seen { count: 7, names: BTreeMap::new() };
    let kept = Kept::new(Mutex::new(before.clone()));
    let source = source(&kept);
    let good = json!({"count": 9, "names": {}});
    for (version, state, text) in [
        (1, good.clone(), "state of version 1, this driver reads 2"),
        (3, good, "state of version 3, this driver reads 2"),
        (2, json!({"count": "many"}), "unreadable state: invalid type: string \"many\", expected u64"),
        (2, json!(null), "unreadable state: invalid type: null, expected struct Seen"),
    ] {
        let error = source.import_state(&StateBody { version, state }).unwrap_err();
        assert_eq!((error.status(), error.message()), (Status::INVALID, text));
        assert_eq!(*kept.lock().unwrap(), before);
    }
}

#[test]
fn a_source_without_state_gives_none_and_takes_none() {
    let host = TestHost::new();
    let state = StateBody { version: 1, state: json!(1) };
    let source = open(&host, PollSource::new);
    assert_eq!(source.export_state().unwrap(), None);
    let refused = source.import_state(&state).unwrap_err();
    assert_eq!((refused.status(), refused.message()), (Status::INVALID, "this source takes no state"));
    let bare = open(&host, |_| crate::support::Mock::default());
    assert_eq!(bare.export_state().unwrap(), None);
}

#[test]
fn no_state_is_an_empty_body() {
    let source = Recorder::default().open(|context| Ok(PollSource::new(context))).unwrap();
    let reply = source.export_state(r#"{"call": 1, "reads": [1, 2]}"#.into());
    assert_eq!((reply.status, reply.body.as_str()), (Status::OK, ""));
    let (status, _) = error(&source.import_state(r#"{"version": -1}"#.into()));
    assert_eq!(status, Status::INVALID);
}
