//! What a poll answers for each table.

use crate::support::{Mock, Recorder, error, open, try_open};
use busway_plugin_api::abi::{PollReply, Status};
use busway_plugin_api::arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use busway_plugin_api::arrow_schema::DataType;
use busway_plugin_api::message::PollRequest;
use busway_plugin_api::prelude::*;
use busway_plugin_api::table::schema;
use busway_plugin_api::testing::TestHost;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    n: u8,
}

fn spec(name: &str) -> TableSpec {
    TableSpec::of::<Row>(name)
}

fn told(reply: PollReply) -> Vec<String> {
    assert_eq!(reply.reply.status, Status::OK, "{:?}", reply.reply);
    let line = |update| {
        let update = Update::import(update).unwrap();
        let what = match update.change {
            Change::Snapshot(rows) => {
                format!("{:?}", rows.to_vec::<Row>().unwrap().iter().map(|r| r.n).collect::<Vec<_>>())
            }
            Change::Failed(error) => error.message,
            other => format!("{other:?}"),
        };
        format!("{}: {what}", update.table)
    };
    reply.updates.into_iter().map(line).collect()
}

#[test]
fn one_tables_error_is_its_own() {
    let host = TestHost::new();
    let line = line!() + 3;
    let source = open(&host, |context| {
        PollSource::new(context)
            .table(spec("bad"), |_| -> Result<Vec<Row>, Error> { Err(Error::transient("no luck").code("luck")) })
            .table(spec("good"), |_| Ok(vec![Row { n: 1 }]))
    });
    let polled = source.poll().unwrap();
    assert_eq!(polled.rows::<Row>("good").unwrap(), [Row { n: 1 }]);
    let error = polled.rows::<Row>("bad").unwrap_err();
    assert_eq!((error.message(), error.is_transient()), ("no luck", true));
    assert!(error.place().unwrap().starts_with(&format!("{}:{line}:", file!())));
    assert_eq!(polled.rows::<Row>("nope").unwrap_err().message(), "no table \"nope\"");
}

#[test]
fn what_is_not_asked_for_is_not_read() {
    let (host, reads) = (TestHost::new(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&reads);
    let source = open(&host, |context| {
        PollSource::new(context)
            .table(spec("cheap"), |_| Ok(vec![Row { n: 1 }]))
            .table(spec("dear").lazy(), move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(vec![Row { n: 2 }])
            })
            .changes(spec("written").pushed(), |_| Ok(Change::Published))
    });
    let listed = source.tables().unwrap();
    let said: Vec<_> = listed.iter().map(|table| (table.name.as_str(), table.lazy, table.pushed)).collect();
    assert_eq!(said, [("cheap", false, false), ("dear", true, false), ("written", false, true)]);
    let polled = |names: &[&str]| {
        let tables = Some(names.iter().map(|name| (*name).to_owned()).collect());
        let polled = source.poll_with(&PollRequest { tables, snapshot: true }).unwrap();
        polled.updates.iter().map(|update| update.table.clone()).collect::<Vec<_>>()
    };
    assert_eq!(polled(&["cheap", "written"]), ["cheap", "written"]);
    assert_eq!(reads.load(Ordering::Relaxed), 0);
    assert_eq!(polled(&["dear"]), ["dear"]);
    assert_eq!(polled(&[]), [""; 0]);
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert_eq!(source.poll().unwrap().updates.len(), 3, "hosts that don't know the word want all");
}

#[test]
fn rows_that_can_not_cross_are_their_tables_error() {
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    let null = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let long = schema([("n", DataType::Int64, false)]);
    let source = Recorder::default()
        .open(move |_| {
            let poll = move || {
                let rows = |batches| Change::Snapshot(Batches { schema: Arc::clone(&long), batches });
                let zero = Batches::empty(schema([("a\0b", DataType::Int64, false)]));
                let mut updates = vec![
                    Update::bare("type", rows(vec![other.clone()])),
                    Update::bare("null", rows(vec![null.clone()])),
                    Update::bare("count", rows(vec![RecordBatch::new_empty(schema([]))])),
                    Update::bare("name", Change::Snapshot(zero.clone())),
                    Update::bare("delta", Change::Delta { added: zero.clone(), removed: zero }),
                ];
                updates.push(spec("good").snapshot(spec("good").rows(&[Row { n: 1 }])?));
                Ok(updates)
            };
            Ok(Mock { poll: Some(Box::new(poll)), ..Mock::default() })
        })
        .unwrap();
    assert_eq!(
        told(source.poll("{}".into())),
        [
            "type: Schema error: column \"n\" of a batch is Int32, not Int64",
            "null: Schema error: column \"n\" of a batch has nulls, its schema none",
            "count: Schema error: a batch has 0 columns, its schema 1",
            "name: C Data interface error: Null byte at position 1 not allowed in name",
            "delta: changes are published, a poll answers all rows",
            "good: [1]",
        ]
    );
}

#[test]
fn all_tables_or_those_asked_for() {
    let source = Recorder::default()
        .open(|context| {
            Ok(PollSource::new(context)
                .table(spec("a"), |_| Ok(vec![Row { n: 1 }]))
                .table(spec("b"), |_| Ok(vec![Row { n: 2 }])))
        })
        .unwrap();
    assert_eq!(told(source.poll("{}".into())), ["a: [1]", "b: [2]"]);
    assert_eq!(told(source.poll(r#"{"tables": ["b"]}"#.into())), ["b: [2]"]);
    assert_eq!(told(source.poll(r#"{"tables": ["c", "a"]}"#.into())), ["c: Gone", "a: [1]"], "each has an answer");
    assert_eq!(told(source.poll(r#"{"tables": []}"#.into())), [""; 0]);
    assert_eq!(error(&source.poll(r#"{"tables": 5}"#.into()).reply).0, Status::INVALID);
}

#[test]
fn unchanged_is_no_answer_when_a_snapshot_is_wanted() {
    let step = Arc::new(AtomicUsize::new(0));
    let steps = Arc::clone(&step);
    let source = Recorder::default()
        .open(move |context| {
            Ok(PollSource::new(context).changes(spec("t"), move |_| match steps.load(Ordering::SeqCst) {
                0 => Ok(Change::Unchanged),
                1 => Ok(Change::Snapshot(spec("t").rows(&[Row { n: 1 }])?)),
                2 => Err(Error::new("no luck")),
                3 => Ok(Change::Unchanged),
                _ => Ok(Change::Gone),
            }))
        })
        .unwrap();
    let poll = |at, request: &str| {
        step.store(at, Ordering::SeqCst);
        told(source.poll(request.into())).remove(0)
    };
    let snapshot = r#"{"snapshot": true}"#;
    assert_eq!(poll(0, "{}"), "t: unchanged, but it never gave rows");
    assert_eq!(poll(0, snapshot), "t: unchanged, but it never gave rows");
    assert_eq!(poll(1, "{}"), "t: [1]");
    assert_eq!(poll(3, "{}"), "t: Unchanged");
    assert_eq!(poll(2, "{}"), "t: no luck");
    assert_eq!(poll(3, snapshot), "t: [1]", "the rows it gave last");
    assert_eq!(poll(4, "{}"), "t: Gone");
    assert_eq!(poll(3, snapshot), "t: unchanged, but it never gave rows");
}

#[test]
fn a_poll_that_fails_as_a_whole_answers_no_table() {
    let host = TestHost::new();
    let source = try_open(&host, |_| {
        Ok(Mock { poll: Some(Box::new(|| Err(Error::transient("no such host")))), ..Mock::default() })
    });
    let error = source.unwrap().poll().unwrap_err();
    assert!(error.is_transient() && error.message() == "no such host");
}

#[test]
fn tables_are_the_sources_or_the_drivers() {
    let host = TestHost::new();
    let own =
        open(&host, |context| PollSource::new(context).table(spec("own").describe("Mine"), |_| Ok(Vec::<Row>::new())));
    let names = |tables: Vec<busway_plugin_api::TableInfo>| tables.into_iter().map(|t| t.name).collect::<Vec<_>>();
    assert_eq!(names(own.tables().unwrap()), ["own"]);
    assert_eq!(names(open(&host, |_| Mock::default()).tables().unwrap()), [""; 0]);
}

#[test]
fn what_a_request_wants() {
    let some = PollRequest { tables: Some(vec!["a".into()]), snapshot: false };
    assert!(some.wants("a") && !some.wants("b") && PollRequest::default().wants("b"));
}
