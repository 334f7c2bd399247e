use super::super::catalogue::{EventType, Owner};
use super::super::suite::{fields, quiet, until};
use super::super::{How, Query, Topics};
use super::*;
use serde_json::json;

fn publish(events: &Events, of: &str, origin: &str, task: &str) {
    let fields = match of {
        "ScheduleEvent" => fields(json!({"task_id": task})),
        _ => fields(json!({"description": task})),
    };
    let how = How { origin: Some(origin), ..How::default() };
    events.publisher("p").with_limit(None).create_and_publish(of, fields, how).unwrap();
}

fn tasks(page: &Archived) -> Vec<&str> {
    page.events.iter().map(|(_, event)| event["data"]["task_id"].as_str().unwrap_or("none")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..2 {
        let events = quiet();
        let archive = Archive::start(&events, folder.path(), 1_000_000).unwrap();
        for n in 0..3 {
            publish(&events, "ScheduleEvent", "o", &format!("{life}{n}"));
            publish(&events, "ErrorLoggingEvent", "x", "e");
        }
        archive.stop().await;
        assert_eq!(archive.counters(), ArchiveCounters { written: 6, lost: 0 });
    }
    let events = quiet();
    let archive = Archive::start(&events, folder.path(), 1_000_000).unwrap();
    let topics = |pattern: &str| Some(Topics::matching(events.catalogue(), pattern).unwrap());
    let page = archive.page(&Query { topics: topics("2001.o"), limit: Some(4), ..Query::default() }).unwrap();
    assert_eq!(tasks(&page), ["00", "01", "02", "10"]);
    let rest = archive.page(&Query { topics: topics("TriggerEvent.#"), after: page.next, ..Query::default() }).unwrap();
    assert_eq!((tasks(&rest), rest.next), (vec!["11", "12"], None));
    let latest =
        archive.page(&Query { topics: topics("*.o"), limit: Some(2), latest: true, ..Query::default() }).unwrap();
    assert_eq!(tasks(&latest), ["11", "12"]);
    let since = page.events[3].1["time"].as_str().unwrap().parse().unwrap();
    let since = archive.page(&Query { topics: topics("*.o"), since: Some(since), ..Query::default() }).unwrap();
    assert_eq!(tasks(&since), ["10", "11", "12"]);
    let future = Some(Timestamp::now() + jiff::SignedDuration::from_hours(1));
    assert_eq!(archive.page(&Query { since: future, ..Query::default() }).unwrap(), Archived::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_back_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for life in ["before", "after"] {
        let events = quiet();
        let archive = Archive::start(&events, folder.path(), 1000).unwrap();
        publish(&events, "ScheduleEvent", "o", life);
        archive.stop().await;
        if life == "before" {
            let hour = "UPDATE event SET told = told + 3600000000, time = time + 3600000000";
            Connection::open(archive.path()).unwrap().execute_batch(hour).unwrap();
        }
    }
    let archive = Archive::start(&quiet(), folder.path(), 1000).unwrap();
    let since = |minutes: i64| {
        let since = Some(Timestamp::now() + jiff::SignedDuration::from_mins(minutes));
        archive.page(&Query { since, ..Query::default() }).unwrap()
    };
    assert_eq!(tasks(&since(-5)), ["before", "after"]);
    assert_eq!(tasks(&since(5)), ["before"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_ones_are_kept() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let archive = Archive::start(&events, folder.path(), 5).unwrap();
    (0..12).for_each(|n| publish(&events, "ScheduleEvent", "o", &n.to_string()));
    until("all to be written", || archive.counters().written == 12).await;
    assert_eq!(tasks(&archive.page(&Query::default()).unwrap()), ["7", "8", "9", "10", "11"]);
    archive.stop().await;
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone_and_what_is_damaged_is_moved_aside() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let path = folder.path().join(FILE);
    let said = |path: &Path| {
        Archive::start(&events, folder.path(), 5)
            .map(drop)
            .map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE"))
    };
    std::fs::write(&path, "a text that is longer than a database's header".repeat(10)).unwrap();
    let foreign = "FILE is no archive of Busway's events: move it away, or leave events.durable out";
    assert_eq!(said(&path).unwrap_err(), foreign);
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    assert_eq!(said(&path).unwrap_err(), foreign);
    std::fs::remove_file(&path).unwrap();
    said(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
    assert_eq!(
        said(&path).unwrap_err(),
        "FILE has version 9, and this Busway knows version 1: start the newer one again, or move the file away"
    );
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    // Its first page is whole, the others are not.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    said(&path).unwrap();
    let aside = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"))
        .count();
    assert_eq!(aside, 1);
}

/// So many others, told under these words.
fn fill(archive: &Archive, count: usize) {
    let others = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO event (told, time, words, origin, body) SELECT 0, 0, 'other other+', 'o', '{{}}' FROM n"
    );
    Connection::open(archive.path()).unwrap().execute_batch(&others).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_of_what_its_type_was_of_when_it_was_published() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let schedule = events.catalogue().get("ScheduleEvent").unwrap();
    let door = |base: &str| EventType {
        name: "acme.door".into(),
        id: None,
        base: Some(format!("busway.{base}").into()),
        owner: Owner::Operator,
        ..(*schedule).clone()
    };
    let archive = Archive::start(&events, folder.path(), 1000).unwrap();
    for (base, task) in [("TriggerEvent", "before"), ("ResourceModifiedEvent", "after")] {
        events.catalogue().add(door(base)).unwrap();
        let how = How { origin: Some("o"), ..How::default() };
        let said = fields(json!({"task_id": task}));
        events.publisher("p").create_and_publish("acme.door", said, how).unwrap();
    }
    // All of it is written after both.
    archive.stop().await;
    for (family, task) in [("TriggerEvent.#", "before"), ("ResourceModifiedEvent.#", "after")] {
        let topics = Some(Topics::matching(events.catalogue(), family).unwrap());
        assert_eq!(tasks(&archive.page(&Query { topics, ..Query::default() }).unwrap()), [task], "{family}");
    }
}

#[tokio::test]
async fn the_latest_are_found_however_many_others_came_since() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let archive = Archive::start(&events, folder.path(), 10_000_000).unwrap();
    ["1", "2", "3"].iter().for_each(|task| publish(&events, "ScheduleEvent", "o", task));
    archive.stop().await;
    fill(&archive, 60_000);
    let topics = Some(Topics::matching(events.catalogue(), "2001.#").unwrap());
    let query = Query { topics, latest: true, limit: Some(2), ..Query::default() };
    let page = archive.page(&query).unwrap();
    assert_eq!((tasks(&page), page.cut, page.next), (vec!["2", "3"], false, None));
    // Going forth, a page says where to go on.
    let forth = Query { latest: false, after: page.events.last().map(|(place, _)| *place), ..query.clone() };
    let page = archive.page(&forth).unwrap();
    assert_eq!((page.events.len(), page.cut, page.next), (0, true, Some(20_003)));
    fill(&archive, 500_000);
    let page = archive.page(&query).unwrap();
    assert_eq!((page.events.len(), page.cut, page.next), (0, true, None), "it says that it looked no further");
}

#[tokio::test]
async fn what_can_t_be_read_is_left_out_and_counted() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let archive = Archive::start(&events, folder.path(), 1000).unwrap();
    ["1", "2", "3", "4"].iter().for_each(|task| publish(&events, "ScheduleEvent", "o", task));
    archive.stop().await;
    let spoil =
        "UPDATE event SET body = '{' WHERE row = 2; UPDATE event SET words = CAST(x'ff20' AS TEXT) WHERE row = 3";
    Connection::open(archive.path()).unwrap().execute_batch(spoil).unwrap();
    let topics = Some(Topics::matching(events.catalogue(), "2001.#").unwrap());
    for latest in [false, true] {
        let page = archive.page(&Query { topics: topics.clone(), latest, ..Query::default() }).unwrap();
        assert_eq!((tasks(&page), page.unreadable), (vec!["1", "4"], 2));
    }
}

#[tokio::test]
async fn a_page_has_so_many_bytes_and_says_where_to_go_on() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let archive = Archive::start(&events, folder.path(), 1000).unwrap();
    let long = "x".repeat(200_000);
    (0..100).for_each(|_| publish(&events, "ScheduleEvent", "o", &long));
    archive.stop().await;
    let first = archive.page(&Query::default()).unwrap();
    assert_eq!((first.events.len(), first.cut, first.next), (41, true, Some(41)));
    let second = archive.page(&Query { after: first.next, ..Query::default() }).unwrap();
    assert_eq!((second.events[0].0, second.next), (42, Some(82)));
    let latest = archive.page(&Query { latest: true, ..Query::default() }).unwrap();
    assert_eq!((latest.events.len(), latest.events[40].0, latest.cut), (41, 100, true));
}

/// One reader looks at a page for as long as it takes; others don't wait for it.
#[tokio::test]
async fn readers_do_not_wait_for_one_another() {
    let (folder, events) = (tempfile::tempdir().unwrap(), quiet());
    let archive = Archive::start(&events, folder.path(), 1000).unwrap();
    publish(&events, "ScheduleEvent", "o", "1");
    archive.stop().await;
    let archive = Arc::new(archive);
    let inner = archive.readers.read(|outer| {
        outer.execute_batch("BEGIN; SELECT count(*) FROM event")?;
        let (sends, page) = std::sync::mpsc::channel();
        let other = Arc::clone(&archive);
        std::thread::spawn(move || sends.send(other.page(&Query::default())));
        let page = page.recv_timeout(Duration::from_secs(20));
        outer.execute_batch("COMMIT")?;
        Ok(page)
    });
    let inner = inner.unwrap().expect("it waits for the other reader");
    assert_eq!(tasks(&inner.unwrap()), ["1"]);
    // Whoever reads gives its connection back.
    for _ in 0..20 {
        assert_eq!(archive.page(&Query::default()).unwrap().events.len(), 1);
    }
    assert!(archive.readers.idle() <= 2);
}
