//! Every type of the catalogue is published, and told to those who mean it.

use super::*;

/// A value for each kind of field.
fn sample(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!("some text"),
        Kind::Integer => json!(-7),
        Kind::Number => json!(1.25),
        Kind::Boolean => json!(true),
        Kind::Texts => json!(["a", "b"]),
        // By its number; it is kept by its name.
        Kind::OneOf(names) => json!(names[0].1),
        Kind::Json => json!({"any": [1, null]}),
    }
}

#[test]
fn each_is_told_to_who_means_it_and_to_nobody_else() {
    let events = quiet();
    let publisher = events.publisher("walker");
    let all = events.catalogue().all();
    let short = |one: &EventType| one.name.trim_start_matches(PREFIX).to_owned();
    // Everybody there can be: of each type, of each family, of each number, of an origin, of everything.
    let mut patterns: Vec<String> = all
        .iter()
        .flat_map(|one| {
            let name = short(one);
            let number = one.id.map(|id| format!("{id}.#"));
            [
                Some(format!("{name}.#")),
                Some(format!("{name}+.#")),
                Some(format!("{name}.rack.7")),
                Some(format!("{name}.rack.8")),
                number,
            ]
        })
        .flatten()
        .collect();
    patterns.extend(["#", "*.#", "*.rack.7", "*.rack.*", "*.rack", "*.rack.8", "#.7", "#.8"].map(str::to_owned));
    patterns.sort();
    patterns.dedup();
    let everybody: Vec<(String, Subscription)> =
        patterns.into_iter().map(|pattern| (pattern.clone(), of(&events, &pattern))).collect();

    let published: Vec<_> = all.iter().filter(|one| one.role == Role::Event).collect();
    assert_eq!(published.len(), 23, "20 of the predecessor's, two of which share a number, and three of our own");
    for one in published {
        let given: Map<String, Value> = one.fields.iter().map(|f| (f.name.clone(), sample(&f.kind))).collect();
        let receipt =
            publisher.create_and_publish(&one.name, given.clone(), How { origin: Some("rack.7"), mandatory: true });
        let receipt = receipt.unwrap_or_else(|error| panic!("{}: {error}", one.name));

        let family: Vec<String> = events.catalogue().family(&one.name).iter().map(|of| short(of)).collect();
        let mut expected: Vec<String> = ["#", "*.#", "*.rack.7", "*.rack.*", "#.7"].map(str::to_owned).to_vec();
        expected.extend([format!("{}.#", family[0]), format!("{}.rack.7", family[0])]);
        expected.extend(one.id.map(|id| format!("{id}.#")));
        for of in events.catalogue().family(&one.name) {
            expected.push(format!("{}+.#", short(&of)));
            if of.role == Role::Base {
                // A base's name means all that are of it.
                expected.extend([format!("{}.#", short(&of)), format!("{}.rack.7", short(&of))]);
            }
        }
        expected.sort();
        let told: Vec<(&str, Vec<String>)> = everybody.iter().map(|(p, s)| (p.as_str(), ids(s))).collect();
        let told: Vec<&str> = told
            .iter()
            .filter(|(_, ids)| {
                assert!(ids.is_empty() || *ids == [receipt.id.clone()], "once, and nothing else");
                !ids.is_empty()
            })
            .map(|(pattern, _)| *pattern)
            .collect();
        assert_eq!(told, expected, "{}", one.name);
        assert_eq!(receipt.listeners, told.len());

        // Written for others and read again it is the same.
        let told = events.history(&Query { latest: true, limit: Some(1), ..Query::default() }).events.remove(0);
        let written = told.event.to_json();
        assert_eq!(written["type"], *one.name);
        let read = Draft::of_json(events.catalogue(), written.clone(), true).unwrap();
        let words = events.catalogue().words(read.kind());
        let read = read.finish(Timestamp::now(), words, None, None, None, || unreachable!("it has an id")).unwrap();
        assert_eq!(read.to_json(), written);
        for field in &one.fields {
            let kept = &written["data"][&field.name];
            match &field.kind {
                Kind::OneOf(names) => assert_eq!(*kept, names[0].0),
                _ => assert_eq!(*kept, given[&field.name]),
            }
        }
    }
}

#[test]
fn a_number_of_two_types_means_both() {
    let events = quiet();
    let (both, one) = (of(&events, "4001.#"), of(&events, "InstrumentSampleDataEvent.#"));
    let publisher = events.publisher("ctd");
    let block =
        publisher.tell::<DataBlockEvent>("p1", &DataBlock { data_block: Some("x".to_owned()), ..DataBlock::default() });
    let sample = InstrumentSample { temperature: Some(4.5), ..InstrumentSample::default() };
    let sample = publisher.tell::<InstrumentSampleDataEvent>("p1", &sample).unwrap();
    assert_eq!(ids(&both), [block.unwrap().id, sample.id.clone()]);
    assert_eq!(ids(&one), [sample.id]);
}

#[test]
fn raw_messages_are_subscribed_to_and_never_published() {
    let events = quiet();
    let _raw = of(&events, "1116.#");
    let error = events.publisher("p").create("1116", Map::new()).unwrap_err().to_string();
    assert_eq!(
        error,
        "event type \"busway.DatasetStreamingEvent\" can't be published: what comes of it is in no envelope; it can be \
         subscribed to"
    );
}

#[test]
fn a_type_that_comes_later_is_told_to_who_listens_to_its_base() {
    let events = quiet();
    let listens = of(&events, "TriggerEvent.#");
    let mut door = (*events.catalogue().get("ScheduleEvent").unwrap()).clone();
    (door.name, door.id, door.owner) = ("acme.door".into(), None, Owner::Driver("doors".to_owned()));
    events.catalogue().add(door).unwrap();
    let receipt = events.publisher("doors").create_and_publish(
        "acme.door",
        Map::new(),
        How { origin: Some("front"), ..How::default() },
    );
    assert_eq!(ids(&listens), [receipt.unwrap().id]);
}

/// `BUSWAY_WRITE=1` writes it anew.
#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/event/events.md");
    let page = page(&Catalogue::default());
    if std::env::var_os("BUSWAY_WRITE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(include_str!("../events.md"), page, "run this test with BUSWAY_WRITE=1, and again");
}
