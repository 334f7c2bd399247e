//! Events on the command line: live, of late, published, and their types. Whole texts, exit codes.

use crate::cli::{fails, json_of, lines_of, out};
use busway_tests::host::{Bed, Host};
use busway_tests::proxy::Proxy;
use busway_tests::running::Running;
use busway_tests::stream::events;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const TIME: &str = "2026-01-31T12:00:00Z";

fn start() -> Host {
    Bed::new().start("")
}

fn command(host: &Host, arguments: &[&str]) -> Command {
    let mut command = host.command(arguments);
    command.env("TZ", "UTC");
    command
}

fn run(host: &Host, arguments: &[&str]) -> String {
    out(Running::start(command(host, arguments)).end())
}

fn publish(host: &Host, origin: &str, task: &str) {
    let body = json!({"type": "ScheduleEvent", "origin": origin, "datetime": TIME, "data": {"task_id": task}});
    assert_eq!(host.post("/v1/events", &body).0, 202);
}

fn line(origin: &str, task: &str) -> String {
    format!("2026-01-31 12:00:00  ScheduleEvent           {origin:<12}  task_id={task}")
}

#[test]
fn what_happened_of_late() {
    let host = start();
    for n in 0..12 {
        publish(&host, ["a", "b"][n % 2], &n.to_string());
    }
    let body = json!({"type": "ErrorLoggingEvent", "origin": "shop.till", "datetime": TIME, "status": "ERROR",
        "description": "no paper"});
    assert_eq!(host.post("/v1/events", &body).0, 202);
    let only = |more: &[&str]| run(&host, &[&["events", "--no-follow", "--type", "2001"], more].concat());
    let lines = |tasks: std::ops::Range<usize>| {
        tasks.map(|n| line(["a", "b"][n % 2], &n.to_string()) + "\n").collect::<String>()
    };
    assert_eq!(only(&[]), lines(0..12));
    assert_eq!(only(&["-n", "3"]), lines(9..12));
    assert_eq!(only(&["-n", "0"]), "");
    assert_eq!(only(&["--origin", "b", "--where", "task_id=1|3"]), lines(1..2) + &lines(3..4));
    // The time is when it happened, and that is some time ago.
    assert_eq!(only(&["--since", "1m"]), "");
    assert_eq!(only(&["--since", "2026-01-31T00:00:00Z", "--count", "2"]), lines(0..2));
    assert_eq!(
        run(&host, &["events", "--no-follow", "--family", "LoggingEvent", "--origin", "shop.#"]),
        "2026-01-31 12:00:00  ErrorLoggingEvent       shop.till     no paper status=ERROR\n"
    );
    let document = json_of(host.run(&["events", "--no-follow", "--type", "2001", "-n", "1", "-o", "json"]));
    let (_, page) = host.get("/v1/events?type=2001&latest=true&limit=1");
    assert_eq!(document, json!({"schema_version": 1, "events": page["events"]}));
    let at = document["events"][0]["buswayposition"].as_str().unwrap();
    let before = |more: &[&str]| run(&host, &[&["events", "--type", "2001", "--before", at], more].concat());
    assert_eq!((before(&[]), before(&["-n", "2"])), (lines(0..11), lines(9..11)));
    let said = run(&host, &["events", "--no-follow", "--pattern", "2001.b", "-o", "jsonl"]);
    assert_eq!(lines_of(&said).len(), 6);
}

#[test]
fn what_happens_follows_what_happened() {
    let host = start();
    for n in 0..12 {
        publish(&host, "o", &n.to_string());
    }
    let mut live = Running::start(command(&host, &["events", "--type", "ScheduleEvent", "--count", "12"]));
    for n in 2..12 {
        assert_eq!(live.line(), line("o", &n.to_string()));
    }
    publish(&host, "o", "12");
    assert_eq!(live.line(), line("o", "12"));
    publish(&host, "o", "13");
    assert_eq!(out(live.end()), line("o", "13") + "\n");

    let mut live = Running::start(command(&host, &["events", "-f", "-n", "1", "--type", "2001", "-o", "jsonl"]));
    let event: Value = serde_json::from_str(&live.line()).unwrap();
    assert_eq!((&event["specversion"], &event["data"]["task_id"]), (&json!("1.0"), &json!("13")));
    live.interrupt();
    let said = live.end();
    assert_eq!((said.out.as_str(), said.err.as_str(), said.code), ("", "", Some(130)));
}

#[test]
fn a_connection_that_breaks_costs_nothing_and_a_restart_is_said() {
    let host = start();
    let proxy = Proxy::new(host.url());
    let arguments = ["events", "--type", "2001", "--host", proxy.url(), "--count", "4"];
    publish(&host, "o", "1");
    let mut live = Running::start(command(&host, &arguments));
    assert_eq!(live.line(), line("o", "1"));
    publish(&host, "o", "2");
    assert_eq!(live.line(), line("o", "2"));
    proxy.cut();
    publish(&host, "o", "3");
    assert_eq!(live.line(), line("o", "3"));
    publish(&host, "o", "4");
    let said = live.end();
    assert_eq!((said.out, said.code), (line("o", "4") + "\n", Some(0)));
    let lost = said.err.lines().next().unwrap();
    assert!(
        lost.starts_with("the host went away: ") && lost.ends_with("; trying again in 250ms, then ever more slowly")
    );
    assert_eq!(said.err.lines().skip(1).collect::<Vec<_>>(), ["back"]);

    let mut live = Running::start(command(&host, &["events", "--type", "2001", "-n", "1", "--count", "2"]));
    assert_eq!(live.line(), line("o", "4"));
    let host = host.restart("");
    publish(&host, "o", "5");
    assert_eq!(live.line(), line("o", "5"));
    let said = live.end();
    let last = said.err.lines().last().unwrap();
    assert!(
        last.starts_with("events may be lost: ")
            && last.ends_with(" is of a run of the host that is over: what it did not keep of its end is lost"),
        "{}",
        said.err
    );
}

#[test]
fn publish_says_what_became_of_it() {
    let host = start();
    let said = run(
        &host,
        &["event", "publish", "ResourceLifecycleEvent", "--origin", "rack.7", "state=2", "name=a rack", "status=ERROR"],
    );
    let (_, page) = host.get("/v1/events?origin=rack.7");
    let event = &page["events"][0];
    assert_eq!(said, format!("published {}: nobody listens\n", event["id"].as_str().unwrap()));
    assert_eq!(
        (&event["data"], &event["resourcename"], &event["eventstatus"]),
        (&json!({"state": "READY"}), &json!("a rack"), &json!("ERROR"))
    );
    let listens = events(&format!("{}/v1/events/stream?type=1076", host.url()), None);
    let names = ["event", "publish", "busway.ContainerStartupEvent", "--origin", "alpha", "startup_names=web,mail"];
    let receipt = json_of(host.run(&[&names[..], &["--mandatory", "-o", "json"]].concat()));
    let heard = listens.recv_timeout(busway_tests::DEADLINE).unwrap().data;
    assert_eq!(heard["data"], json!({"startup_names": ["web", "mail"]}));
    assert_eq!(
        receipt,
        json!({"schema_version": 1, "id": heard["id"], "position": heard["buswayposition"], "listeners": 1})
    );
    // Data from a pipe, and CloudEvents.
    let piped = |arguments: &[&str], text: &str| {
        let mut child = command(&host, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let said = piped(
        &["event", "publish", "1075", "--origin", "till", "--data", "-", "state=STOPPED"],
        "{\"app_name\": \"x\"}",
    );
    assert!(said.ends_with(": nobody listens\n"), "{said}");
    let (_, page) = host.get("/v1/events?origin=till");
    assert_eq!(page["events"][0]["data"], json!({"app_name": "x", "state": "STOPPED"}));
    let door = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/x", "type": "com.example.door", "subject": "front"});
    let said = piped(&["event", "publish", "--cloudevent", "-"], &json!([door("e1"), door("e2")]).to_string());
    assert_eq!(said, "published e1: nobody listens\npublished e2: nobody listens\n");
    std::fs::write(host.path("door.json"), door("e3").to_string()).unwrap();
    assert_eq!(run(&host, &["event", "publish", "--cloudevent", "door.json"]), "published e3: nobody listens\n");
}

#[test]
fn what_can_t_be_published_is_told_why() {
    let host = start();
    for (arguments, code, error) in [
        (
            &["ScheduelEvent", "--origin", "o"][..],
            4,
            "error: there is no event type \"ScheduelEvent\", did you mean \"ScheduleEvent\"?: busway event types lists \
             them\n  why: the host answered with HTTP status 404, EventTypeNotFound\n",
        ),
        (
            &["ResourceLifecycleEvent", "--origin", "o", "state=REDY"],
            1,
            "error: event type \"busway.ResourceLifecycleEvent\": \"state\" can't be \"REDY\": it is one of NEW (1), READY \
             (2), ACTIVE (3), TERMINATED (4), ERROR (5); did you mean READY?\n  why: the host answered with HTTP status \
             400, BadField\n",
        ),
        (
            &["ScheduleEvent", "--origin", "o", "--mandatory"],
            1,
            "error: nobody listens to \"busway/ScheduleEvent.o\", and it was to be published only if somebody does\n  why: \
             the host answered with HTTP status 409, NobodyListens\n",
        ),
        (
            &["ScheduleEvent", "--origin", "o", "task_id"],
            2,
            "error: \"task_id\" is no field\n  try: NAME=VALUE, such as state=READY\n",
        ),
        (
            &["ScheduleEvent", "--origin", "o", "task_id=1", "task_id=2"],
            2,
            "error: \"task_id\" is given twice\n  try: give it once\n",
        ),
        (
            &["ScheduleEvent", "--origin", "o", "--data", "[]"],
            2,
            "error: the data is no JSON object: it is something else\n  try: '{\"field\": \"value\"}', or FIELD=VALUE \
             instead of --data\n",
        ),
        (&["--cloudevent", "none.json"], 1, "error: none.json: no such file or directory\n"),
    ] {
        fails(&host.run(&[&["event", "publish"], arguments].concat()), code, error);
    }
    let none = host.run(&["event", "publish", "ScheduleEvent"]);
    assert_eq!(none.code, Some(2), "an origin is needed: {}", none.err);
    let error = "error: there is no event type \"ErorLoggingEvent\", did you mean \"ErrorLoggingEvent\"?: busway event \
                 types lists them, and names of others' types have a domain, as in com.example.door\n  why: the host \
                 answered with HTTP status 404, EventTypeNotFound\n";
    fails(&host.run(&["events", "--type", "ErorLoggingEvent"]), 4, error);
}

#[test]
fn types_with_a_host_and_without() {
    let host = start();
    let tree = run(&host, &["event", "types"]);
    let begin = "Event                                        What every type goes back to.\n\
                 ├─ ResourceLifecycleEvent              1001  A resource came, went, or is in another place in its life.\n\
                 │  ├─ ContainerLifecycleEvent          1051  A container, which is a host, came or went.\n\
                 │  ├─ ProcessLifecycleEvent            1052  A process came or went.\n\
                 │  └─ DatasourceLifecycleEvent               A datasource was made, or removed.\n\
                 ├─ NewSubscriptionEvent                1201  Somebody follows something from now on.\n";
    assert!(tree.starts_with(begin), "{tree}");
    let one = run(&host, &["event", "types", "AppLoaderEvent"]);
    assert_eq!(
        one,
        "type     busway.AppLoaderEvent\n\
         number   1075\n\
         of       busway.InfrastructureEvent\n\
         message  2332\n\
         means    An application began or ended.\n\
         origin   the application's name\n\
         \n\
         fields:\n\
         field     says          is\n\
         app_name  Which one.    a text\n\
         state     What it did.  STARTED=1 STOPPED=2\n"
    );
    let schema: Value = serde_json::from_str(&run(&host, &["event", "types", "1075", "--schema"])).unwrap();
    let (_, described) = host.get("/v1/events/types/AppLoaderEvent");
    assert_eq!(schema, described["schema"]);
    let document = json_of(host.run(&["event", "types", "1075", "-o", "json"]));
    assert_eq!(document, json!({"schema_version": 1, "types": [described]}));
    assert_eq!(lines_of(&run(&host, &["event", "types", "4001", "-o", "jsonl"])).len(), 2);
    let page = run(&host, &["event", "types", "--markdown"]);
    assert!(page.starts_with("# Events\n") && page.contains("\n## busway.AppLoaderEvent (1075)\n"), "{page}");
    let error = host.run(&["event", "types", "AppLodaerEvent"]);
    assert_eq!(error.code, Some(4));
    assert!(error.err.starts_with("error: no event type AppLodaerEvent\n  why: the event types are "), "{}", error.err);
    assert!(error.err.ends_with("\n  try: AppLoaderEvent, which is a near name\n"), "{}", error.err);

    // What every host knows is known without one, unless a host was named.
    let alone = Bed::new();
    let mut command = alone.command(&["event", "types"]);
    command.env_remove("BUSWAY_HOST").env_remove("BUSWAY_CONFIG").env("XDG_RUNTIME_DIR", alone.path("none"));
    let said = Running::start(command).end();
    assert_eq!(
        (said.out, said.err.as_str(), said.code),
        (tree, "no host answers: these are the types that every host knows\n", Some(0))
    );
    let said = alone.run(&["event", "types"]);
    assert_eq!((said.out.as_str(), said.code), ("", Some(3)));
}
