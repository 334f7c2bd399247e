//! Builds that are bad from the beginning, when nothing served before.

use super::{placeless, polls, quarantined};
use busway_tests::fixture::Fixture;
use busway_tests::host::Bed;
use serde_json::json;

#[test]
fn inv07_a_build_that_can_not_be_described_is_refused_and_the_others_serve() {
    let bed = Bed::new();
    let animals = [
        ("fixture-driver-pa", "describe", "panic", "its description failed: panicked: fixture panics in describe"),
        (
            "fixture-driver-ju",
            "describe",
            "junk",
            "its description failed: the driver breaks the contract: not the JSON that was expected: expected ident at line 1 \
             column 2",
        ),
        (
            "fixture-driver-ru",
            "describe",
            "rules",
            "its description breaks the rules: table \"numbers\" is declared twice; key column \"nope\" of table \"numbers\" \
             is not one of its columns",
        ),
        (
            "fixture-driver-at",
            "attach",
            "error",
            "it refused to be attached: not the JSON that was expected: a request is an object",
        ),
    ];
    Fixture::new().rename_into(&bed.plugin("good.so"));
    let mut datasources = "[datasource.good]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\n".to_owned();
    for (id, step, fault, _) in animals {
        Fixture::new().id(id).fault(step, fault).rename_into(&bed.plugin(&format!("{id}.so")));
        datasources += &format!("[datasource.{id}]\ndriver = '{id}'\n");
    }
    let mut host = bed.start(&datasources);
    for (id, _, _, reason) in animals {
        let file = format!("{id}.so");
        let refused = host.wait_plugin(&file, "refused");
        assert_eq!(placeless(refused["reason"].as_str().unwrap()), reason);
        let waits = host.wait_row("_host", "datasources", "why it waits", |row| {
            row["name"] == id && row["error"].as_str().is_some_and(|error| error.contains("is refused"))
        });
        let error = format!("no driver {id:?} is loaded: plugins/{file} is refused: {reason}");
        assert_eq!(
            (&waits["state"], placeless(waits["error"].as_str().unwrap())),
            (&json!("waiting for driver"), error)
        );
        // It is refused by its bytes each time: nothing is to be released.
        assert_eq!(quarantined(&host, &refused), None);
        // The next build is taken.
        Fixture::new().id(id).rename_into(&host.plugin(&file));
        host.wait_datasource(id, "running");
    }
    let before = polls(&host.wait_datasource("good", "running"));
    host.wait_row("_host", "datasources", "further polls", |row| row["name"] == "good" && polls(row) > before);
    assert!(host.is_alive());
}
