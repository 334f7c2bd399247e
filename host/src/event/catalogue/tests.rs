use super::super::topic::Topics;
use super::*;
use serde_json::{Value, json};

fn of(name: &str, base: Option<&str>, owner: Owner) -> EventType {
    let (about, origin) = (String::new(), String::new());
    let (name, base) = (name.into(), base.map(Into::into));
    EventType { name, id: None, base, message: None, role: Role::Event, fields: Vec::new(), origin, about, owner }
}

fn driver(id: &str) -> Owner {
    Owner::Driver(id.to_owned())
}

#[test]
fn the_predecessor_s_numbers_are_all_there() {
    let all = Catalogue::default().all();
    let mut numbers: Vec<u32> = all.iter().filter_map(|one| one.id).collect();
    numbers.sort_unstable();
    let ours = [
        1001, 1051, 1052, 1075, 1076, 1101, 1102, 1111, 1112, 1113, 1114, 1115, 1116, 1201, 1202, 2001, 3001, 3002,
        3003, 4001, 4001,
    ];
    assert_eq!(numbers, ours);
    let named = |name: &str| all.iter().find(|one| &*one.name == name).unwrap().clone();
    assert_eq!(named("busway.InstrumentSampleDataEvent").base.as_deref(), Some("busway.DataBlockEvent"));
    assert_eq!(named("busway.InstrumentSampleDataEvent").message, Some(4303));
    assert_eq!(named("busway.DatasetStreamingEvent").role, Role::Raw);
    assert_eq!(named("busway.TriggerEvent").role, Role::Base);
    let Kind::OneOf(states) = &named("busway.AppLoaderEvent").fields[1].kind else { panic!() };
    assert_eq!(*states, [("STARTED".to_owned(), 1), ("STOPPED".to_owned(), 2)]);
}

#[test]
fn found_by_name_by_short_name_by_word_and_by_number() {
    let catalogue = Catalogue::default();
    let whole = catalogue.get("busway.ScheduleEvent").unwrap();
    for name in ["ScheduleEvent", "busway/ScheduleEvent"] {
        assert_eq!(catalogue.get(name), Some(Arc::clone(&whole)));
    }
    assert_eq!(catalogue.find("2001"), [whole]);
    let shared: Vec<String> = catalogue.find("4001").iter().map(|one| one.name.to_string()).collect();
    assert_eq!(shared, ["busway.DataBlockEvent", "busway.InstrumentSampleDataEvent"]);
    assert!(catalogue.find("4002").is_empty());
    assert_eq!(catalogue.nearest("ScheduelEvent").as_deref(), Some("ScheduleEvent"));
    let family: Vec<String> = catalogue.family("4001").iter().map(|one| one.name.to_string()).collect();
    assert!(family.is_empty(), "a number is no name");
    let family: Vec<String> =
        catalogue.family("InstrumentSampleDataEvent").iter().map(|one| one.name.to_string()).collect();
    let names = ["InstrumentSampleDataEvent", "DataBlockEvent", "DataEvent", "Event"];
    assert_eq!(family, names.map(|name| format!("busway.{name}")));
}

#[test]
fn who_had_a_name_first_keeps_it() {
    let catalogue = Catalogue::default();
    let add = |one: EventType| catalogue.add(one).map_err(|error| error.to_string());
    add(of("acme.door", None, driver("doors"))).unwrap();
    // Its own may be told anew, with another base.
    add(of("acme.door", Some("TriggerEvent"), driver("doors"))).unwrap();
    assert_eq!(catalogue.get("acme.door").unwrap().base.as_deref(), Some("busway.TriggerEvent"));
    let refused = [
        (
            of("acme.door", None, driver("gates")),
            "event type \"acme.door\" is driver \"doors\"'s: choose another name, such as one that begins with your own domain",
        ),
        (
            of("acme/door", None, driver("doors")),
            "event type \"acme/door\" is driver \"doors\"'s: choose another name, such as one that begins with your own domain",
        ),
        (
            of("busway.ScheduleEvent", None, Owner::Operator),
            "event type \"busway.ScheduleEvent\" is the host's: choose another name, such as one that begins with your own domain",
        ),
        (
            of("acme.gate", Some("TrigerEvent"), driver("gates")),
            "event type \"acme.gate\" can't be of \"TrigerEvent\": there is no such type; did you mean \"TriggerEvent\"?",
        ),
        (
            of("4711", None, driver("gates")),
            "\"4711\" can't be the name of an event type: it has 1 to 100 letters, digits, or characters of - _ . and /, in words that are not empty, and is no number",
        ),
        (
            of("acme..gate", None, driver("gates")),
            "\"acme..gate\" can't be the name of an event type: it has 1 to 100 letters, digits, or characters of - _ . and /, in words that are not empty, and is no number",
        ),
    ];
    for (one, text) in refused {
        assert_eq!(add(one).unwrap_err(), text);
    }
    let fields = vec![Field::new("origin", Kind::Text, "")];
    assert_eq!(
        add(EventType { fields, ..of("acme.gate", None, driver("gates")) }).unwrap_err(),
        "event type \"acme.gate\" can't have a field \"origin\": all events have one of that name, outside their data"
    );
    // Nothing is of itself, not even by way of another.
    add(of("acme.child", Some("acme.door"), driver("doors"))).unwrap();
    assert!(add(of("acme.door", Some("acme.child"), driver("doors"))).is_err());
    assert!(add(of("acme.door", Some("acme.door"), driver("doors"))).is_err());
    assert_eq!(catalogue.family("acme.child").len(), 4);
}

#[test]
fn what_a_driver_brought_goes_with_it() {
    let catalogue = Catalogue::default();
    catalogue.add(EventType { id: Some(9001), ..of("acme.door", Some("TriggerEvent"), driver("doors")) }).unwrap();
    catalogue.add(of("other.door", Some("acme.door"), driver("other"))).unwrap();
    assert_eq!(catalogue.find("9001").len(), 1);
    catalogue.remove_of(&driver("doors"));
    assert!(catalogue.get("acme.door").is_none());
    assert!(catalogue.find("9001").is_empty());
    assert_eq!(catalogue.get("other.door").unwrap().base.as_deref(), Some("busway.TriggerEvent"));
    assert!(Topics::new(&catalogue, Some("9001"), None).is_err());
}

#[test]
fn fields_by_their_kinds() {
    let names = Kind::OneOf(vec![("NEW".to_owned(), 1), ("READY".to_owned(), 2)]);
    let field = |kind: &Kind| Field::new("state", kind.clone(), "");
    let good = [
        (&names, json!("READY"), json!("READY")),
        (&names, json!(2), json!("READY")),
        (&Kind::Integer, json!(3.0), json!(3)),
        (&Kind::Integer, json!(u64::MAX), json!(u64::MAX)),
        (&Kind::Number, json!(3), json!(3)),
        (&Kind::Texts, json!([]), json!([])),
        (&Kind::Json, json!({"a": [1]}), json!({"a": [1]})),
        (&Kind::Boolean, json!(false), json!(false)),
    ];
    for (kind, given, kept) in good {
        assert_eq!(field(kind).read(given), Ok(kept));
    }
    let bad = [
        (&names, json!("REDY"), "\"state\" can't be \"REDY\": it is one of NEW (1), READY (2); did you mean READY?"),
        (&names, json!("ready"), "\"state\" can't be \"ready\": it is one of NEW (1), READY (2); did you mean READY?"),
        (&names, json!(3), "\"state\" can't be 3: it is one of NEW (1), READY (2)"),
        (&names, json!([1]), "\"state\" is a list, and must be one of NEW (1), READY (2)"),
        (&Kind::Text, json!(1), "\"state\" is 1, and must be a text"),
        (&Kind::Text, Value::Null, "\"state\" is null, and must be a text"),
        (&Kind::Integer, json!(1.5), "\"state\" is 1.5, and must be a whole number"),
        (&Kind::Texts, json!(["a", 1]), "\"state\" is a list, and must be a list of texts"),
        (&Kind::Number, json!({"a": 1}), "\"state\" is an object, and must be a number"),
    ];
    for (kind, given, text) in bad {
        assert_eq!(field(kind).read(given).unwrap_err().to_string(), text);
    }
}

#[test]
fn every_schema_is_understood_again() {
    for one in Catalogue::default().all() {
        let fields = fields_of(&schema_of(&one)).unwrap();
        let numbered = |fields: &[Field]| -> Vec<(String, String, bool)> {
            fields.iter().map(|f| (f.name.clone(), f.kind.to_string(), f.required)).collect()
        };
        assert_eq!(numbered(&fields), numbered(&one.fields), "{}", one.name);
    }
}

#[test]
fn a_rule_that_is_not_heeded_is_refused() {
    let of = |property: Value| json!({"type": "object", "properties": {"a": property}});
    let cases = [
        (json!([]), "the schema must be an object with \"type\": \"object\" and \"properties\""),
        (json!({"type": "string"}), "the schema must be an object with \"type\": \"object\" and \"properties\""),
        (of(json!({"type": "string", "pattern": "^a"})), "property \"a\" says \"pattern\""),
        (of(json!({"type": "object"})), "property \"a\" says \"type\""),
        (of(json!({"enum": [1, 2]})), "property \"a\" says \"enum\""),
        (
            json!({"type": "object", "properties": {}, "required": ["b"]}),
            "\"required\" names \"b\", which is not among the properties",
        ),
        (json!({"type": "object", "properties": {}, "oneOf": []}), "the schema says \"oneOf\""),
        (
            json!({"type": "object", "properties": {}, "additionalProperties": true}),
            "the schema says \"additionalProperties\"",
        ),
    ];
    for (schema, text) in cases {
        let error = fields_of(&schema).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let schema = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": ["string", "null"], "enum": ["x", "y", null]}, "b": true, "c": {"type": "array", "items": {"type": "string"}}}});
    let fields = fields_of(&schema).unwrap();
    assert_eq!(fields[0].kind, Kind::OneOf(vec![("x".to_owned(), 1), ("y".to_owned(), 2)]));
    assert!(fields[0].required && !fields[1].required);
    assert_eq!((&fields[1].kind, &fields[2].kind), (&Kind::Json, &Kind::Texts));
}
