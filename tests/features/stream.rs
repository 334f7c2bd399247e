//! Streams over HTTP: parts of snapshots, coming back, many tables at once, and what a query may ask for.

use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use busway_tests::stream::events;
use busway_tests::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn start(datasources: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(datasources);
    host.wait_row("_host", "tables", "table one/ticks", |row| row["table"] == "ticks");
    host
}

fn position(host: &Host, table: &str) -> (u64, u64) {
    let (_, body) = host.get(&format!("/v1/services/one/tables/{table}/rows"));
    (body["epoch"].as_u64().unwrap(), body["to"].as_u64().unwrap())
}

#[test]
fn a_large_table_comes_in_parts_and_a_step_after_it_as_one() {
    let host = start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\noptions = {rows = 12000}\n");
    let mut numbers = host.stream("one", "numbers");
    numbers.follow("all rows", |_| {}, |rows| rows.is_some_and(|rows| rows.len() == 12_000));
    // 500 to see how long rows are, then 5,000 each.
    assert_eq!((numbers.last_parts(), numbers.snapshots()), (4, 1));
    assert_eq!(numbers.rows(), host.rows("one", "numbers").ok().as_deref());

    Fixture::new().revision(2).rename_into(&host.plugin("libfixture.so"));
    let second = |rows: Option<&[Value]>| rows.is_some_and(|rows| rows.iter().all(|row| row["revision"] == 2));
    numbers.follow("the new code's rows", |_| {}, second);
    assert_eq!((numbers.snapshots(), numbers.position().1), (1, 2));
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let host = start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '20ms'\n");
    let mut ticks = host.stream("one", "ticks");
    ticks.follow("a snapshot", |_| {}, |rows| rows.is_some());
    for times in 1..=3 {
        let held = ticks.position();
        wait_for("three steps meanwhile", || {
            let now = position(&host, "ticks");
            (now.1 >= held.1 + 3).then_some(()).ok_or(format!("{now:?}"))
        });
        ticks.reconnect();
        // Each step is compared with what is held: none is missing, none comes twice.
        let polls = |rows: Option<&[Value]>| rows.map_or(0, |rows| rows[0]["polls"].as_u64().unwrap());
        let before = polls(ticks.rows());
        ticks.follow("three steps", |_| {}, |rows| polls(rows) >= before + 3);
        assert_eq!((ticks.resumed(), ticks.snapshots(), ticks.resets().len()), (times, 1, 0));
    }
}

#[test]
fn who_comes_back_from_elsewhere_begins_anew_and_hears_why() {
    let host = start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\n");
    let (epoch, to) = position(&host, "numbers");
    let path = format!("{}/v1/services/one/tables/numbers/stream", host.url());
    let first_two = |url: &str, last: Option<&str>| {
        let events = events(url, last);
        (events.recv().unwrap(), events.recv().unwrap())
    };
    let (first, second) = first_two(&path, Some("77:3"));
    assert_eq!((first.event.as_str(), first.id), ("reset", None));
    let reason = format!("the table began anew: its epoch is {epoch}, not 77");
    assert_eq!(first.data, json!({"service": "one", "table": "numbers", "reason": reason}));
    assert_eq!((second.event.as_str(), second.id), ("snapshot", Some(format!("{epoch}:{to}"))));
    assert_eq!((&second.data["more"], &second.data["total_rows"]), (&json!(false), &json!(3)));
    assert_eq!((&second.data["key"], &second.data["poll"].is_u64()), (&json!(["id"]), &true));

    let (first, _) = first_two(&path, Some(&format!("{epoch}:{}", to + 9)));
    assert_eq!(first.data["reason"], format!("the table is at step {to}: it never was at {} of this epoch", to + 9));
    // In the address as well, for those who can't send headers.
    let (first, _) = first_two(&format!("{path}?from=77:3"), None);
    assert_eq!(first.event, "reset");
    let resumed = events(&format!("{path}?from={epoch}:{to}"), None).recv().unwrap();
    assert_eq!((resumed.event.as_str(), &resumed.data["to"]), ("resumed", &json!(to)));
    // A browser that reconnects has the address with which it began.
    let resumed = events(&format!("{path}?from=77:3"), Some(&format!("{epoch}:{to}"))).recv().unwrap();
    assert_eq!(resumed.event, "resumed");
    // A table that is not there yet.
    let path = format!("{}/v1/services/one/tables/late/stream", host.url());
    let reset = events(&path, Some("77:3")).recv().unwrap();
    assert_eq!(reset.data["reason"], "the table is not there now");
}

#[test]
fn steps_that_are_no_longer_kept_make_a_reset() {
    let host = start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '10ms'\n");
    let mut ticks = host.stream("one", "ticks");
    ticks.follow("a snapshot", |_| {}, |rows| rows.is_some());
    let held = ticks.position();
    wait_for("more steps than a ring has", || {
        let now = position(&host, "ticks");
        (now.1 > held.1 + 300).then_some(()).ok_or(format!("{now:?}"))
    });
    ticks.reconnect();
    ticks.follow("a snapshot", |_| {}, |rows| rows.is_some_and(|rows| rows[0]["polls"].as_u64() > Some(300)));
    let why = &ticks.resets()[0];
    assert!(why.starts_with(&format!("the steps from {} to ", held.1)) && why.ends_with(" are not all kept any more"));
    assert_eq!((ticks.resumed(), ticks.snapshots()), (0, 2));
}

#[test]
fn states_instead_of_steps() {
    let host = start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '20ms'\n");
    let events = events(&format!("{}/v1/services/one/tables/ticks/stream?mode=states", host.url()), None);
    let seen: Vec<u64> = (0..4)
        .map(|_| {
            let event = events.recv().unwrap();
            assert_eq!((event.event.as_str(), event.data["rows"].as_array().unwrap().len()), ("snapshot", 1));
            event.data["to"].as_u64().unwrap()
        })
        .collect();
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

#[test]
fn many_tables_in_one_stream() {
    let host = start(
        "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\n[datasource.'one.more']\ndriver = \
         'fixture-driver-aa'\npoll = '50ms'\n",
    );
    // Several patterns meet one table: it comes once.
    let url = format!("{}/v1/stream?tables=one.%23/numbers&tables=*/%23&tables=one.more/*", host.url());
    let events = events(&url, None);
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut at = BTreeMap::new();
    let all = ["one.more/numbers", "one.more/ticks", "one/numbers", "one/ticks"];
    while seen.len() < 4 || seen["one.more/ticks"].len() < 4 {
        let event = events.recv_timeout(busway_tests::DEADLINE).unwrap();
        assert_eq!(event.id, None, "there is no coming back to many tables");
        let text = |name: &str| event.data[name].as_str().unwrap().to_owned();
        let table = format!("{}/{}", text("service"), text("table"));
        if event.event == "step" {
            assert_eq!(event.data["from"], at[&table], "no step is missed, none comes twice");
        }
        at.insert(table.clone(), event.data["to"].clone());
        seen.entry(table).or_default().push(event.event);
    }
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), all);
    for (table, kinds) in &seen {
        assert_eq!(kinds.iter().filter(|kind| *kind == "snapshot").count(), 1, "{table}: {kinds:?}");
    }
}

#[test]
fn what_can_t_be_asked_for_is_said() {
    let host = start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = 0\n");
    let one = "/v1/services/one/tables/numbers/stream";
    for (path, text) in [
        (
            format!("{one}?from=yesterday"),
            "\"yesterday\" is no place in a stream: give an event's id, EPOCH:NUMBER, or none to begin anew",
        ),
        (format!("{one}?form=1:2"), "a stream has no parameter \"form\": it has topic, columns, view, mode, from"),
        (format!("{one}?mode=all"), "\"all\" is no mode: write steps or states"),
        (format!("{one}?topic=a&view=%7B%7D"), "write topics and columns into the view, or leave the view out"),
        (format!("{one}?view=everything"), "the view is no JSON object: expected value at line 1 column 1"),
        (
            "/v1/stream".to_owned(),
            "name tables by pattern, 64 at most: ?tables=web.*/orders, or ?tables=%23/%23 for all",
        ),
        (
            "/v1/stream?tables=web".to_owned(),
            "\"web\" selects no table: write service/table, where * is any word and # any number of words",
        ),
    ] {
        let (status, body) = host.get(&path);
        assert_eq!((status, body["error"]["message"].as_str()), (400, Some(text)), "{path}: {body}");
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.get(format!("{}{one}", host.url())).header("last-event-id", "12").call().unwrap();
    assert_eq!(answer.status().as_u16(), 400);
}
