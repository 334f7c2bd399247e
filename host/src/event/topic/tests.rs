use super::*;

#[test]
fn origins() {
    for good in ["a", "chan1.b2c9", "agent.4", "ucsd", "datasource/7", "é", "a:b", "1.2.3"] {
        assert_eq!(check_origin(good), Ok(()), "{good}");
    }
    let long = "x".repeat(256);
    let bad = [
        ("", "an event has no origin: say to what it happened (\"unknown\" is none)"),
        ("unknown", "an event has no origin: say to what it happened (\"unknown\" is none)"),
        ("a..b", "\"a..b\" can't be an origin: it has an empty word: take out the dot too many"),
        (".", "\".\" can't be an origin: it has an empty word: take out the dot too many"),
        ("a.*", "\"a.*\" can't be an origin: * and # are for those who subscribe, an event has one origin"),
        ("#", "\"#\" can't be an origin: * and # are for those who subscribe, an event has one origin"),
        ("a b", "\"a b\" can't be an origin: it has white space or control characters"),
        ("a\n", "\"a\\n\" can't be an origin: it has white space or control characters"),
    ];
    for (origin, text) in bad {
        assert_eq!(check_origin(origin).unwrap_err().to_string(), text);
    }
    assert!(check_origin(&long).unwrap_err().to_string().ends_with("it has more than 255 bytes"));
}

/// What a subscriber says, and as which pattern it is kept.
#[test]
fn the_grammar() {
    let catalogue = Catalogue::default();
    let cases = [
        (None, None, "*.#"),
        (Some("1001"), None, "1001.#"),
        (None, Some("ucsd"), "*.ucsd"),
        (Some("1001"), Some("ucsd"), "1001.ucsd"),
        (Some("4001"), Some("chan1.*"), "4001.chan1.*"),
        (Some("ScheduleEvent"), None, "busway/ScheduleEvent.#"),
        (Some("busway.ScheduleEvent"), Some("#.x"), "busway/ScheduleEvent.#.x"),
        // A base means all that are of it; so does any type, if asked.
        (Some("TriggerEvent"), None, "busway/TriggerEvent+.#"),
        (Some("ResourceLifecycleEvent"), None, "busway/ResourceLifecycleEvent.#"),
        (Some("ResourceLifecycleEvent+"), None, "busway/ResourceLifecycleEvent+.#"),
        (Some("com.example.door"), Some("front"), "com/example/door.front"),
        (Some("*"), Some("a.#.b"), "*.a.#.b"),
    ];
    for (of, origin, pattern) in cases {
        assert_eq!(Topics::new(&catalogue, of, origin).unwrap().as_str(), pattern);
    }
    for (given, pattern) in [
        ("#", "#"),
        ("#.ucsd", "#.ucsd"),
        ("*.a.*", "*.a.*"),
        ("1001.#", "1001.#"),
        ("TriggerEvent.x", "busway/TriggerEvent+.x"),
        ("busway/ScheduleEvent.#", "busway/ScheduleEvent.#"),
    ] {
        assert_eq!(Topics::matching(&catalogue, given).unwrap().as_str(), pattern);
    }
}

#[test]
fn what_can_match_nothing_is_refused() {
    let catalogue = Catalogue::default();
    let listed = "busway event types lists them, and names of others' types have a domain, as in com.example.door";
    let cases = [
        (
            Topics::new(&catalogue, Some("ScheduelEvent"), None),
            format!("there is no event type \"ScheduelEvent\", did you mean \"ScheduleEvent\"?: {listed}"),
        ),
        (Topics::new(&catalogue, Some("4002"), None), format!("there is no event type \"4002\": {listed}")),
        (Topics::new(&catalogue, Some(""), None), format!("there is no event type \"\": {listed}")),
        (
            Topics::matching(&catalogue, "1001"),
            "\"1001\" can match nothing: an event's topic is TYPE.ORIGIN, so say \"1001.#\"".to_owned(),
        ),
        (
            Topics::matching(&catalogue, "*"),
            "\"*\" can match nothing: an event's topic is TYPE.ORIGIN, so say \"*.#\"".to_owned(),
        ),
        (
            Topics::matching(&catalogue, "busway.ScheduleEvent"),
            "\"busway.ScheduleEvent\" can match nothing: an event's topic is TYPE.ORIGIN, so say \"busway/ScheduleEvent.#\""
                .to_owned(),
        ),
        (
            Topics::matching(&catalogue, "busway.ScheduleEvent.1001.*"),
            "\"busway.ScheduleEvent.1001.*\" can match nothing: an event's topic is TYPE.ORIGIN, so say \
             \"busway/ScheduleEvent.1001.*\""
                .to_owned(),
        ),
        (
            Topics::matching(&catalogue, "1001..x"),
            "\"1001..x\" is no pattern, it has an empty word: take out the dot too many, or say * for any one word"
                .to_owned(),
        ),
    ];
    for (said, text) in cases {
        assert_eq!(said.unwrap_err().to_string(), text);
    }
}

#[test]
fn who_means_an_event() {
    let catalogue = Catalogue::default();
    let patterns = [
        "#",
        "*.#",
        "1001.#",
        "1051.#",
        "*.rack.7",
        "*.rack.*",
        "*.rack",
        "#.7",
        "ContainerLifecycleEvent.rack.7",
        "ResourceLifecycleEvent.#",
        "ResourceLifecycleEvent+.#",
        "Event.#",
        "TriggerEvent.#",
        "#.rack.#",
    ];
    let topics: Vec<Topics> = patterns.iter().map(|p| Topics::matching(&catalogue, p).unwrap()).collect();
    let mut index = Index::default();
    topics.iter().zip(0..).for_each(|(topics, number)| index.insert(topics, number));
    let words = catalogue.words("busway.ContainerLifecycleEvent");
    let meant: Vec<&str> = index.matches(&words, "rack.7").iter().map(|n| patterns[*n as usize]).collect();
    let expected = [
        "#",
        "*.#",
        "1051.#",
        "*.rack.7",
        "*.rack.*",
        "#.7",
        "ContainerLifecycleEvent.rack.7",
        "ResourceLifecycleEvent+.#",
        "Event.#",
        "#.rack.#",
    ];
    assert_eq!(meant, expected);
    // One by one they say the same.
    let alone: Vec<&str> =
        patterns.iter().zip(&topics).filter(|(_, t)| t.mean(&words, "rack.7")).map(|(p, _)| *p).collect();
    assert_eq!(alone, expected);
    topics.iter().zip(0..).for_each(|(topics, number)| index.remove(topics, number));
    assert!(index.matches(&words, "rack.7").is_empty());
    assert!(index.named.is_empty());
}
