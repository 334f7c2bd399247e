//! The driver as its host sees it.

use crate::Push;
use busway_plugin_api::TableInfo;
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Value, json};
use busway_plugin_api::testing::{TestHost, TestSource};

fn open(options: Value) -> Result<TestSource, Error> {
    TestHost::new().open::<Push>(options)
}

fn problems(options: Value) -> Vec<String> {
    let refused = open(options).map(|source| panic!("opened: {:?}", source.tables())).unwrap_err();
    assert_eq!(refused.message(), "the options of the push driver are wrong");
    refused.body().problems.clone()
}

/// A line for each column: name, type, whether a row may lack it, what it says.
fn lines(table: &TableInfo) -> Vec<String> {
    table.columns.iter().map(|c| format!("{} {} {} {}", c.name, c.kind, c.nullable, c.description)).collect()
}

#[test]
fn it_describes_itself() {
    let info = TestHost::describe::<Push>().unwrap();
    let options: Vec<String> = info.options.iter().map(|o| format!("{} {} {}", o.name, o.kind, o.required)).collect();
    assert_eq!(
        options,
        [
            "tables object false",
            "columns array false",
            "key array false",
            "topic string false",
            "description string false"
        ]
    );
    assert!(info.options.iter().all(|option| !option.description.is_empty()));
}

#[test]
fn tables_as_declared() {
    let source = open(json!({"tables": {
        "machines": {
            "description": "What stands in the racks", "key": ["serial", "slot"], "topic": "site",
            "columns": [
                {"name": "serial", "type": "text"}, {"name": "slot", "type": "int32"},
                {"name": "site", "type": "text", "nullable": false}, "note",
                {"name": "price", "type": "decimal(12,2)", "description": "As bought"},
                {"name": "seen", "type": "timestamp"}, {"name": "tags", "type": "list(text)"},
            ],
        },
        "log": {"columns": ["line"]},
    }}))
    .unwrap();
    let tables = source.tables().unwrap();
    let [log, machines] = &tables[..] else { panic!("{tables:?}") };
    assert!(tables.iter().all(|table| table.pushed && !table.lazy && table.problems().is_empty()), "{tables:?}");
    assert_eq!((log.name.as_str(), log.description.as_str()), ("log", "Rows that clients write"));
    assert_eq!((&log.key, &log.topic, lines(log)), (&vec![], &None, vec!["line u true ".to_owned()]));
    assert_eq!((machines.name.as_str(), machines.description.as_str()), ("machines", "What stands in the racks"));
    assert_eq!(
        (&*machines.key, machines.topic.as_deref()),
        (&["serial".to_owned(), "slot".to_owned()][..], Some("site"))
    );
    assert_eq!(
        lines(machines),
        [
            "serial u false ",
            "slot i false ",
            "site u false ",
            "note u true ",
            "price d:12,2 true As bought",
            "seen tsu:UTC true ",
            "tags +l true ",
        ]
    );
}

#[test]
fn one_table_of_the_predecessors_kind() {
    let options =
        json!({"columns": ["a", {"name": "b", "type": "int64"}], "key": ["a"], "topic": "b", "description": "D"});
    let tables = open(options).unwrap().tables().unwrap();
    let [data] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!((data.name.as_str(), data.description.as_str(), data.pushed), ("data", "D", true));
    assert_eq!(
        (lines(data), data.topic.as_deref()),
        (vec!["a u false ".to_owned(), "b l true ".to_owned()], Some("b"))
    );
}

#[test]
fn polls_never_answer_rows() {
    let source = open(json!({"tables": {"a": {"columns": ["x"]}, "b": {"columns": ["x"]}}})).unwrap();
    let said = |request: &PollRequest| {
        let updates = source.poll_with(request).unwrap().updates;
        updates.iter().map(|update| format!("{}: {:?}", update.table, update.change)).collect::<Vec<_>>()
    };
    let all = ["a: Published", "b: Published"];
    assert_eq!(said(&PollRequest::default()), all);
    source.activate().unwrap();
    assert_eq!(said(&PollRequest { tables: None, snapshot: true }), all, "what clients wrote is the host's");
    assert_eq!(said(&PollRequest { tables: Some(vec!["b".to_owned()]), snapshot: false }), all[1..]);
    let hook = source.webhook(None, json!({})).unwrap_err();
    assert_eq!(hook.status(), busway_plugin_api::abi::Status::NOT_IMPLEMENTED);
}

#[test]
fn all_wrong_options_at_once() {
    let none =
        "there are no columns: set option \"columns\" to a list of names, or declare tables by option \"tables\"";
    assert_eq!(problems(json!({})), [none]);
    assert_eq!(problems(json!({"description": "x"})), [none]);
    assert_eq!(problems(json!({"tables": {}})), ["option \"tables\" names no table"]);
    assert_eq!(problems(json!({"columns": []})), ["table \"data\": it has no columns"]);
    let both = "options \"columns\", \"key\", \"topic\" and \"description\" are those of the one table of a datasource without \"tables\": say \
                them within \"tables\"";
    assert_eq!(problems(json!({"tables": {"t": {"columns": ["x"]}}, "key": ["x"]})), [both]);
    assert_eq!(problems(json!({"tables": {"t": {"columns": ["x"]}}, "description": "x"})), [both]);
    assert_eq!(
        problems(json!({"tables": {
            "a/b": {"columns": ["x"]},
            "c": {"columns": ["x", 7, {"name": "x"}, "", {"name": "y", "type": "string"}, {"name": "z", "tpye": "text"}]},
            "k": {"columns": ["n", {"name": "f", "type": "float64"}, {"name": "l", "type": "list(text)"},
                {"name": "o", "nullable": true}], "key": ["f", "l", "o", "p", "p"], "topic": "q"},
            "n": {"columns": "x"}, "s": 7, "t": {"colums": ["x"]},
        }})),
        [
            "option \"tables\": table \"a/b\": no table can be named so: a name is not empty, has no slash or control \
             character, and at most 255 bytes",
            "option \"tables\": table \"c\": column 2: it is a name or an object with name, type, nullable, description, not 7",
            "option \"tables\": table \"c\": column 3: the name \"x\" is taken",
            "option \"tables\": table \"c\": column 4: its name is empty or holds a zero byte",
            "option \"tables\": table \"c\": column 5: \"y\": \"string\" is no type: there are bool, int8, int16, int32, int64, \
             uint8, uint16, uint32, uint64, float32, float64, text, binary, date, timestamp, local_timestamp, decimal(P,S), \
             list(T)",
            "option \"tables\": table \"c\": column 6: unknown field `tpye`, expected one of `name`, `type`, `nullable`, \
             `description`",
            "option \"tables\": table \"k\": key column \"l\" is a list",
            "option \"tables\": table \"k\": key column \"p\" is named twice",
            "option \"tables\": table \"k\": key column \"f\" is a float",
            "option \"tables\": table \"k\": key column \"o\" is nullable",
            "option \"tables\": table \"k\": key column \"p\" is not one of its columns",
            "option \"tables\": table \"k\": key column \"p\" is not one of its columns",
            "option \"tables\": table \"k\": topic column \"q\" is not one of its columns",
            "option \"tables\": table \"n\": invalid type: string \"x\", expected a sequence",
            "option \"tables\": table \"s\": invalid type: integer `7`, expected struct Table",
            "option \"tables\": table \"t\": unknown field `colums`, expected one of `columns`, `key`, `topic`, `description`",
        ]
    );
}
