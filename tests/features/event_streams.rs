//! Events followed over HTTP: by who comes back, by who does not read, and by several who share a queue.

use crate::events::{looked_up, next, place, publish, publish_large, refused, start, tasks};
use busway_tests::stream::{Event, events};
use busway_tests::{DEADLINE, wait_for};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::mpsc::Receiver;

#[test]
fn who_comes_back_misses_nothing_and_gets_nothing_twice() {
    let host = start("");
    let url = format!("{}/v1/events/stream?type=ScheduleEvent", host.url());
    let stream = events(&url, None);
    publish(&host, "o", "1");
    let first = next(&stream, "event");
    assert_eq!(
        (first.id.as_deref(), &first.data["data"]),
        (first.data["buswayposition"].as_str(), &json!({"task_id": "1"}))
    );
    drop(stream);
    publish(&host, "o", "2");
    assert_eq!(host.post("/v1/events", &json!({"type": "AppLoaderEvent", "origin": "o"})).0, 202);
    publish(&host, "o", "3");
    let stream = events(&url, first.id.as_deref());
    publish(&host, "o", "4");
    for task in ["2", "3", "4"] {
        assert_eq!(next(&stream, "event").data["data"]["task_id"], task);
    }
    // The header's is later than the address's.
    let old = events(&format!("{url}&after={}", first.id.as_deref().unwrap()), None);
    assert_eq!(next(&old, "event").data["data"]["task_id"], "2");
    // Another run of the host: it is said, and what that one has is told whole.
    let stale = first.id.clone().unwrap();
    let host = host.restart("open_writes = true\n");
    publish(&host, "o", "5");
    let stream = events(&format!("{}/v1/events/stream?type=ScheduleEvent", host.url()), Some(&stale));
    let reset = next(&stream, "reset");
    let reason = format!("{stale} is of a run of the host that is over: what it did not keep of its end is lost");
    assert_eq!(reset.data, json!({"reason": reason}));
    assert!(reset.id.is_some_and(|id| id.ends_with("-0") && !id.starts_with(&stale[..16])));
    assert_eq!(next(&stream, "event").data["data"]["task_id"], "5");
}

#[test]
fn what_is_not_kept_any_more_is_a_gap_and_not_silence() {
    let host = start("[events]\nhistory = 3\n");
    let url = format!("{}/v1/events/stream?type=ScheduleEvent", host.url());
    let stream = events(&url, None);
    publish(&host, "o", "0");
    let held = next(&stream, "event").id.unwrap();
    drop(stream);
    for task in 1..=5 {
        publish(&host, "o", &task.to_string());
    }
    let stream = events(&url, Some(&held));
    let gap = next(&stream, "gap").data;
    assert_eq!(gap, json!({"lost": null, "reason": format!("not all that came after {held} is kept any more")}));
    for task in ["3", "4", "5"] {
        assert_eq!(next(&stream, "event").data["data"]["task_id"], task);
    }
    let (_, answer) = host.get(&format!("/v1/events?type=ScheduleEvent&after={held}"));
    assert_eq!((tasks(answer["events"].as_array().unwrap()), &answer["gap"]), (vec!["3", "4", "5"], &json!(true)));
    // Of other types nothing is gone.
    let (_, answer) = host.get(&format!("/v1/events?type=AppLoaderEvent&after={held}"));
    assert_eq!(answer["gap"], false);
}

/// What it did not read is not held for it: what the history had to let go meanwhile is missing, and that is said.
#[test]
fn who_comes_back_and_does_not_read_holds_no_history() {
    let host = start("[events]\nhistory = 150\n");
    publish_large(&host, 0..150);
    let first = looked_up(&host, "type=ScheduleEvent&limit=1").remove(0);
    let url = format!("{}/v1/events/stream?type=ScheduleEvent&after={}", host.url(), place(&first));
    let answer = ureq::get(url).call().unwrap();
    publish_large(&host, 150..300);
    // From here on it reads.
    let (mut found, mut gaps) = (Vec::new(), 0);
    let stream = busway_tests::stream::read(answer);
    while found.last() != Some(&299) {
        let event = stream.recv_timeout(DEADLINE).unwrap();
        match event.event.as_str() {
            "gap" => {
                gaps += 1;
                assert_eq!(event.data["lost"], Value::Null, "{:?}", event.data);
            }
            _ => found.push(event.data["data"]["task_id"].as_str().unwrap().parse::<usize>().unwrap()),
        }
    }
    // More than one, if the host read on while they were published: each is told where it is found.
    assert!(found[0] == 1 && gaps >= 1, "{gaps} gaps in {found:?}");
    assert!(found.windows(2).all(|two| two[0] < two[1]), "{found:?}");
    // All that is still kept came, though it is far more than may wait for a client.
    assert!(found.ends_with(&(150..300).collect::<Vec<_>>()), "{found:?}");
    assert!(found.len() < 290, "it held the history: {found:?}");
}

#[test]
fn there_are_so_many_shared_queues_and_no_more() {
    let host = start("");
    let url = |name: &str| format!("{}/v1/events/stream?queue={name}", host.url());
    let _held: Vec<_> = (0..100).map(|n| ureq::get(url(&format!("q{n}"))).call().unwrap()).collect();
    let text = "there are 100 shared queues of events, and no room for another, \"busway.more\": take from one that is \
                there, or try again when one is gone, 1m after the last who took from it";
    let request = ureq::get(url("more")).config().http_status_as_error(false).build();
    assert_eq!(request.call().unwrap().status(), 503, "and no stream");
    assert_eq!(refused(host.get("/v1/events/stream?queue=more")), (503, "TooManyQueues".to_owned(), text.to_owned()));
    let _another = ureq::get(url("q7")).call().unwrap();
}

/// Two take from a queue, one of them is killed in mid-way: what it had and did not confirm, the other gets.
#[test]
fn what_was_not_confirmed_is_given_to_another() {
    const EVENTS: usize = 60;
    const WINDOW: usize = 4;
    let host = start("");
    let url = format!("{}/v1/events/stream?type=ScheduleEvent&queue=workers&confirm={WINDOW}", host.url());
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(socket, "GET /{path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let doomed = busway_tests::stream::lines(socket.try_clone().unwrap());
    let living = events(&url, None);
    let id = |stream: &Receiver<Event>| next(stream, "consumer").data["consumer"].as_str().unwrap().to_owned();
    let (first, second) = (id(&doomed), id(&living));
    let confirm = |consumer: &str, event: &Event| {
        let body = json!({"done": [event.data["buswayposition"]]});
        host.post(&format!("/v1/events/consumers/{consumer}"), &body)
    };
    let task = |event: &Event| event.data["data"]["task_id"].as_str().unwrap().parse::<usize>().unwrap();
    (0..EVENTS).for_each(|task| drop(publish(&host, "o", &task.to_string())));
    // It confirms some, has read more, and dies.
    let mut confirmed: Vec<usize> = Vec::new();
    for _ in 0..10 {
        let event = next(&doomed, "event");
        let (status, answer) = confirm(&first, &event);
        assert_eq!((status, &answer["confirmed"]), (200, &json!(1)));
        assert!(answer["unconfirmed"].as_u64().unwrap() < WINDOW as u64, "{answer}");
        confirmed.push(task(&event));
        // Once more: that was said.
        assert_eq!(confirm(&first, &event).1["confirmed"], 0);
    }
    let lost = task(&next(&doomed, "event"));
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    let mut got: Vec<usize> = Vec::new();
    while got.len() < EVENTS - 10 {
        let event = next(&living, "event");
        assert_eq!(confirm(&second, &event).0, 200);
        got.push(task(&event));
    }
    assert!(got.contains(&lost), "{lost} of {got:?}");
    confirmed.extend(got);
    confirmed.sort_unstable();
    assert_eq!(confirmed, (0..EVENTS).collect::<Vec<_>>(), "each went well once");
    let text = "there is no such consumer: its stream has ended, and others get what it has not confirmed; the id is in the \
                event consumer with which a stream begins that is asked for with confirm";
    let body = json!({"done": []});
    assert_eq!(
        refused(host.post(&format!("/v1/events/consumers/{first}"), &body)),
        (404, "ConsumerNotFound".to_owned(), text.to_owned())
    );
    let (_, all) = host.get("/v1/events/subscriptions");
    let shared = all["results"].as_array().unwrap().iter().find(|one| one["queue"] == "busway.workers").unwrap();
    assert_eq!((&shared["given_up"], &shared["dropped"]), (&json!(0), &json!(0)), "{shared}");
    assert!((1..=WINDOW as u64).contains(&shared["redelivered"].as_u64().unwrap()), "{shared}");
}

#[test]
fn those_who_share_a_queue_get_each_event_once() {
    let host = start("");
    let url = format!("{}/v1/events/stream?type=ScheduleEvent&queue=workers", host.url());
    let (one, two, alone) = (events(&url, None), events(&url, None), events(&url.replace("&queue=workers", ""), None));
    for task in 0..20 {
        publish(&host, "o", &task.to_string());
    }
    let mut got: Vec<u64> = Vec::new();
    wait_for("all of them", || {
        let more = one.try_iter().chain(two.try_iter());
        got.extend(more.map(|event| event.data["data"]["task_id"].as_str().unwrap().parse::<u64>().unwrap()));
        if got.len() >= 20 { Ok(()) } else { Err(format!("{got:?}")) }
    });
    got.sort_unstable();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
    (0..20).for_each(|_| drop(next(&alone, "event")));
    let (_, all) = host.get("/v1/events/subscriptions");
    let shared = all["results"].as_array().unwrap().iter().filter(|one| one["queue"] == "busway.workers");
    assert_eq!(shared.count(), 2);
}
