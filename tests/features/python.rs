//! The example in Python follows a table as it should: over cut connections, restarts, and a table's end.

use busway_tests::host::{Bed, Host};
use busway_tests::proxy::Proxy;
use busway_tests::running::Running;
use busway_tests::session::Session;
use busway_tests::workspace::root;
use serde_json::{Value, json};
use std::process::Command;

fn python3() -> Command {
    let there = Command::new("python3").arg("--version").output();
    let is_there = there.is_ok_and(|output| output.status.success());
    assert!(is_there, "host/examples/follow.py is tested with python3: install it (Debian: apt-get install python3)");
    Command::new("python3")
}

fn table(rows: std::ops::Range<u64>) -> Value {
    let rows: Vec<Value> = rows.map(|id| json!({"id": id, "name": format!("row {id}")})).collect();
    let columns = json!([{"name": "id", "type": "int64"}, {"name": "name", "type": "text"}]);
    json!({"columns": columns, "key": ["id"], "rows": rows})
}

fn sorted(state: &Value) -> Option<Vec<Value>> {
    let mut rows = state.as_array()?.clone();
    rows.sort_by_key(|row| row["id"].as_u64());
    Some(rows)
}

/// Reads states until one is what the host has.
fn catches_up(follower: &mut Running, host: &Host) -> usize {
    let wanted = sorted(&json!(host.rows("shop", "orders").unwrap()));
    for states in 1.. {
        let state: Value = serde_json::from_str(&follower.line()).unwrap();
        if sorted(&state) == wanted {
            return states;
        }
    }
    unreachable!()
}

#[test]
fn the_example_follows_a_table_over_everything() {
    let host = Bed::new().start("");
    let session = Session::open(&host, "shop", &json!({})).unwrap();
    // Several parts.
    session.done(&host, "PUT", "tables/orders", &table(0..6000));
    let proxy = Proxy::new(host.url());
    let mut command = python3();
    command.arg(root().join("host/examples/follow.py")).args([proxy.url(), "shop", "orders"]);
    let mut follower = Running::start(command);
    assert_eq!(catches_up(&mut follower, &host), 1);

    let change = |session: &Session, host: &Host, added: u64, removed: u64| {
        let added = json!([{"id": added, "name": "new"}, {"id": removed + 1, "name": "renamed"}]);
        let changes = json!({"added": added, "removed": [{"id": removed}]});
        session.done(host, "PATCH", "tables/orders", &changes);
    };
    change(&session, &host, 6001, 0);
    assert_eq!(catches_up(&mut follower, &host), 1, "a step");
    // Cut off, it misses some, and gets them all when it is back: one state each, no snapshot between.
    for round in 1..4 {
        proxy.cut();
        change(&session, &host, 6001 + 10 * round, 10 * round);
        change(&session, &host, 6002 + 10 * round, 10 * round + 2);
        assert_eq!(catches_up(&mut follower, &host), 2, "two steps");
    }
    // The table goes, and comes back with another epoch and fewer rows.
    session.done(&host, "DELETE", "tables/orders", &Value::Null);
    assert_eq!(follower.line(), "null");
    session.done(&host, "PUT", "tables/orders", &table(3..8));
    assert_eq!(catches_up(&mut follower, &host), 1);
    // The host is another; what the follower held is void, and it is told so.
    let other = Bed::new().start("");
    let session = Session::open(&other, "shop", &json!({})).unwrap();
    session.done(&other, "PUT", "tables/orders", &table(5..7));
    proxy.lead_to(other.url());
    assert_eq!(catches_up(&mut follower, &other), 1);
    change(&session, &other, 9, 5);
    assert_eq!(catches_up(&mut follower, &other), 1);
}
