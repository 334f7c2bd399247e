//! Queries, and how they fit a table's columns.

use super::asked::{After, Asked, Fitted};
use super::cursor::Cursor;
use super::fault::Fault;
use super::format::Format;
use crate::bus::View;
use crate::http::error::Error;
use crate::table::{Epoch, Only, Order, Shape, Wanted};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

fn shape() -> Shape {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = |name: &str, kind| Field::new(name, kind, name != "id");
    let schema = Schema::new(vec![
        column("id", DataType::Int64),
        column("customer", DataType::Utf8),
        column("total", DataType::Float64),
        column("limit", DataType::Boolean),
        column("at", at),
        column("tags", DataType::new_list(DataType::Utf8, true)),
    ]);
    Shape::new(Arc::new(schema), vec!["id".to_owned()]).unwrap()
}

fn read(query: &str) -> Asked {
    Asked::read(query).unwrap()
}

#[test]
fn a_query_is_fitted_to_the_table_s_columns() {
    let fitted =
        read("order=-total,customer&columns=customer,%20id&customer=Ada&customer=Bob&limit=5").fit(&shape()).unwrap();
    let order = |column, descending| Order { column, descending };
    // The key tells apart what is equal.
    assert_eq!(fitted.order, [order(2, true), order(1, false), order(0, false)]);
    assert_eq!(fitted.columns, [1, 0]);
    let wanted = |fitted: &Fitted| {
        let one = |only: &Only| match &only.wanted {
            Wanted::AnyOf { values, null } => (only.column, Some(values.len()), *null),
            Wanted::Value => (only.column, None, false),
        };
        fitted.only.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(wanted(&fitted), [(1, Some(2), false)]);
    // Null is a value among others, or none may be.
    let nulls = "null.customer=true&customer=Ada&null.limit=true&null.total=false&null.where.at=true";
    let nulls = read(nulls).fit(&shape());
    assert_eq!(
        nulls.unwrap_err().to_string().split(':').next(),
        Some("there is no parameter and no column \"where.at\"")
    );
    let nulls = read("null.customer=true&customer=Ada&null.limit=true&null.total=false&null.at=true").fit(&shape());
    let expected = [(1, Some(1), true), (4, Some(0), true), (3, Some(0), true), (2, None, false)];
    assert_eq!(wanted(&nulls.unwrap()), expected);
    // A column of such a name is asked for as one of a parameter's name is.
    let text = read("where.null.at=true").fit(&shape()).unwrap_err().to_string();
    assert!(text.starts_with("there is no parameter and no column \"null.at\": "), "{text}");
    let fitted = read("order=id,-at").fit(&shape()).unwrap();
    assert_eq!(fitted.order, [order(0, false), order(4, true)]);
    let whole = read("").fit(&shape()).unwrap();
    assert_eq!((whole.columns, whole.order.len(), whole.only.len()), ((0..6).collect(), 0, 0));
    let escaped = read("where.limit=true&where.customer=&limit=1").fit(&shape()).unwrap();
    assert_eq!(escaped.only.iter().map(|only| only.column).collect::<Vec<_>>(), [1, 3]);
    for (column, value) in [("id", "-5"), ("total", "2.5"), ("total", "NaN"), ("at", "2024-05-06T07:08:09Z")] {
        assert_eq!(read(&format!("{column}={value}")).fit(&shape()).unwrap().only.len(), 1, "{column}={value}");
    }
}

#[test]
fn after_and_wait() {
    let asked = read("after=17&wait=1.5");
    assert_eq!((asked.after, asked.wait), (Some(After { epoch: None, seq: 17 }), Duration::from_millis(1500)));
    assert_eq!(read("after=3:17").after, Some(After { epoch: Some(Epoch(3)), seq: 17 }));
    assert_eq!(read("after=3:17&wait=60").wait.as_secs(), 60);
}

#[test]
fn marks_tell_apart_what_differs_and_nothing_else() {
    let (one, everything) = (Uuid::from_u128(1), View::default().mark());
    let mark = |query: &str| read(query).mark(everything);
    assert_eq!(mark("a=1&a=2&b=3&limit=5&columns=a"), mark("b=3&a=2&a=1&a=1&where.a=2"));
    let different = [
        "",
        "a=1",
        "a=2",
        "b=1",
        "null.a=true",
        "null.a=false",
        "null.b=true",
        "a=true",
        "order=a",
        "order=-a",
        "order=a,b",
    ];
    let shape = |query: &str, face| read(query).shape((one, everything), face, Format::Json);
    for (i, one) in different.iter().enumerate() {
        assert_ne!(mark(one), read(one).mark(1), "{one}, seen through another view");
        for other in &different[..i] {
            assert_ne!(mark(one), mark(other), "{one} and {other}");
            assert_ne!(shape(one, "service"), shape(other, "service"), "{one} and {other}");
        }
    }
    assert_ne!(shape("", "service"), shape("", "predecessor"));
    let another = read("").shape((Uuid::from_u128(2), everything), "service", Format::Json);
    assert_ne!(shape("", "service"), another, "another registration's table of the same epoch and state");
    assert_ne!(shape("", "service"), shape("limit=5", "service"));
    assert_ne!(shape("", "service"), shape("columns=a", "service"));
    assert_ne!(shape("", "service"), read("").shape((one, everything), "service", Format::Csv));
    let at = |at| Cursor { of: (Epoch(1), 2), at, mark: 3 }.to_string();
    assert_ne!(shape(&format!("cursor={}", at(5)), "service"), shape(&format!("cursor={}", at(6)), "service"));
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let kinds: &[(&str, &str)] = &[
        ("limit=0", "limit is a whole number from 1 to 100000, not \"0\": for all rows leave it out"),
        ("limit=100001", "limit is a whole number from 1 to 100000, not \"100001\": for all rows leave it out"),
        ("limit=ten", "limit is a whole number from 1 to 100000, not \"ten\": for all rows leave it out"),
        ("limit=1&limit=2", "limit is given twice: give it once"),
        ("order=", "order names no column: write order=COLUMN,COLUMN"),
        ("columns=,", "columns names no column: write columns=COLUMN,COLUMN"),
        ("order=id,-id", "order names the column \"id\" twice: name it once"),
        ("columns=id,id", "columns names the column \"id\" twice: name it once"),
        ("order=-custmer", "order names the column \"custmer\", which is not there: did you mean \"customer\"?"),
        (
            "columns=zzzzzz",
            "columns names the column \"zzzzzz\", which is not there: the table has id, customer, total, limit, at, tags",
        ),
        ("custmer=x", "there is no parameter and no column \"custmer\": did you mean \"customer\"?"),
        ("where.custmer=x", "there is no parameter and no column \"custmer\": did you mean \"customer\"?"),
        ("cursr=x", "there is no parameter and no column \"cursr\": did you mean \"cursor\"?"),
        (
            "zzzzzz=x",
            "there is no parameter and no column \"zzzzzz\": the table has id, customer, total, limit, at, tags, the \
             parameters are limit, cursor, order, columns, format, after, wait",
        ),
        (
            "id=1.5",
            "the column \"id\" holds Int64, and \"1.5\" is no such value: give a whole number within its bounds",
        ),
        ("total=much", "the column \"total\" holds Float64, and \"much\" is no such value: give a number"),
        ("where.limit=yes", "the column \"limit\" holds Boolean, and \"yes\" is no such value: give true or false"),
        (
            "at=yesterday",
            "the column \"at\" holds Timestamp(µs, \"UTC\"), and \"yesterday\" is no such value: give a text such as \
             \"2024-05-06T07:08:09Z\", no finer than the column",
        ),
        ("tags=a", "the column \"tags\" holds List(Utf8), and \"a\" is no such value: no value can be given for it"),
        ("null.total=no", "null.total is true, for rows without a value, or false, for rows that have one; not \"no\""),
        ("null.total=true&null.total=true", "null.total is given twice: give it once"),
        ("null.custmer=true", "there is no parameter and no column \"custmer\": did you mean \"customer\"?"),
        ("format=xml", "\"xml\" is no format: there are json, csv, arrow"),
        ("wait=5", "wait needs to know what is no news: give the state that you have as after=EPOCH:SEQ"),
        ("wait=61&after=1", "wait is a number of seconds from 0 to 60, not \"61\""),
        ("wait=-1&after=1", "wait is a number of seconds from 0 to 60, not \"-1\""),
        ("wait=NaN&after=1", "wait is a number of seconds from 0 to 60, not \"NaN\""),
        ("after=now", "\"now\" is no state: give the seq of an answer, or both of its numbers as EPOCH:SEQ"),
        ("after=1:2:3", "\"1:2:3\" is no state: give the seq of an answer, or both of its numbers as EPOCH:SEQ"),
        ("cursor=1-2-3-4&after=1", "a cursor is of one state: leave after and wait out"),
    ];
    for (query, text) in kinds {
        let fault = Asked::read(query).and_then(|asked| asked.fit(&shape()).map(drop)).unwrap_err();
        assert_eq!(fault.to_string(), *text, "{query}");
    }
}

#[test]
fn programs_are_told_which_columns_there_are() {
    let fault = Fault::NoColumn { parameter: "order", column: "x".to_owned(), columns: vec!["a".to_owned()] };
    let text = fault.to_string();
    let expected =
        Error::bad_request(text).with(serde_json::json!({"kind": "NoColumn", "column": "x", "columns": ["a"]}));
    assert_eq!(Error::from(fault), expected);
}
