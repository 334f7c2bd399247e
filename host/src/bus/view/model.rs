//! Views against a plain model of what they mean, and the cases that matter by themselves.

use super::cells::hashed;
use super::*;
use crate::table::{Refused, Shape};
use arrow_array::types::{Int32Type, TimestampSecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch,
    StringArray, UInt32Array,
};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema};
use arrow_select::take::take_record_batch;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::sync::Arc;

const COLUMNS: [&str; 5] = ["id", "tenant", "n", "name", "load"];
const TENANTS: [&str; 3] = ["D", "Dev-tenant", "E"];
const NAMES: [&str; 3] = ["a", "aa", "b"];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: i64,
    /// In TENANTS.
    tenant: Option<usize>,
    n: Option<i64>,
    name: usize,
    /// Halves.
    load: Option<i64>,
}

fn load(halves: i64) -> f64 {
    halves as f64 / 2.0
}

fn shape(keyed: bool) -> Shape {
    let field = |(name, kind, nullable)| Field::new(name, kind, nullable);
    let fields = [
        ("id", DataType::Int64, false),
        ("tenant", DataType::Utf8, true),
        ("n", DataType::Int64, true),
        ("name", DataType::Utf8, false),
        ("load", DataType::Float64, true),
    ];
    let schema = Arc::new(Schema::new(fields.map(field).to_vec()));
    let key = if keyed { vec!["id".to_owned()] } else { Vec::new() };
    Shape { topic: Some("tenant".to_owned()), ..Shape::new(schema, key).unwrap() }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| Some(r.id)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.tenant.map(|t| TENANTS[t])).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.n).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(NAMES[r.name])).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.load.map(load)).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(shape(false).schema, columns).unwrap()
}

/// A row as texts, in order of columns.
type Cells = Vec<Option<String>>;

fn cells(batch: &RecordBatch) -> Vec<Cells> {
    let text = |c: &ArrayRef, row| (!c.is_null(row)).then(|| array_value_to_string(c, row).unwrap());
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| text(c, row)).collect()).collect()
}

/// A value of the row, as one of a column's type.
fn value(row: &Row, column: &str) -> Option<Constant> {
    match column {
        "id" => Some(row.id.into()),
        "tenant" => row.tenant.map(|t| TENANTS[t].into()),
        "n" => row.n.map(Into::into),
        "name" => Some(NAMES[row.name].into()),
        _ => row.load.map(|halves| load(halves).into()),
    }
}

/// Constants of one column's type have the order of their values here: small positive numbers, and texts.
fn holds(value: Option<&Constant>, is: &Comparison) -> bool {
    let Some(value) = value else { return *is == Comparison::IsNull };
    match is {
        Comparison::Eq(c) => value == c,
        Comparison::Ne(c) => value != c,
        Comparison::Lt(c) => value.cmp(c) == Ordering::Less,
        Comparison::Le(c) => value <= c,
        Comparison::Gt(c) => value.cmp(c) == Ordering::Greater,
        Comparison::Ge(c) => value >= c,
        Comparison::In(many) => many.contains(value),
        Comparison::IsNull => false,
        Comparison::NotNull => true,
    }
}

/// What the view shows of a row, as it is written down.
fn seen(view: &View, row: &Row) -> Option<Cells> {
    let tenant = row.tenant.map(|t| TENANTS[t].to_owned());
    if view.topics.as_ref().is_some_and(|topics| tenant.is_some_and(|t| !topics.contains(&t))) {
        return None;
    }
    if !view.only.iter().all(|c| holds(value(row, &c.column).as_ref(), &c.is)) {
        return None;
    }
    let whole = batch(std::slice::from_ref(row));
    let cell = |name: &str| {
        let column = whole.column_by_name(name).unwrap();
        let text = |c: &ArrayRef| (!c.is_null(0)).then(|| array_value_to_string(c, 0).unwrap());
        match view.mask.get(name) {
            None => text(column),
            Some(Mask::Null) => None,
            Some(Mask::Constant(constant)) => text(&constant.array(column.data_type()).unwrap()),
            Some(Mask::Hash) => text(&hashed(column).unwrap()),
        }
    };
    match &view.columns {
        Some(columns) => Some(columns.iter().map(|name| cell(name)).collect()),
        None => Some(COLUMNS.iter().map(|name| cell(name)).collect()),
    }
}

fn seen_of(view: &View, rows: &[Row]) -> BTreeSet<Cells> {
    rows.iter().filter_map(|row| seen(view, row)).collect()
}

fn a_row() -> impl Strategy<Value = Row> {
    let option = |count: i64| prop::option::weighted(0.8, 0..count);
    (0..6i64, option(3), option(3), 0..3usize, option(3)).prop_map(|(id, tenant, n, name, load)| Row {
        id,
        tenant: tenant.map(|t| t as usize),
        n,
        name,
        load,
    })
}

/// A constant of a column's type, most of them there.
fn constant(column: &str, i: i64) -> Constant {
    match column {
        "id" | "n" => i.into(),
        "tenant" => TENANTS.get(i as usize).copied().unwrap_or("Dev").into(),
        "name" => NAMES.get(i as usize).copied().unwrap_or("").into(),
        _ => load(i).into(),
    }
}

fn a_condition() -> impl Strategy<Value = Condition> {
    (0..5usize, 0..9, 0..4i64, 0..4i64).prop_map(|(column, operator, a, b)| {
        let column = COLUMNS[column];
        let [a, b] = [a, b].map(|i| constant(column, i));
        let is = match operator {
            0 => Comparison::Eq(a),
            1 => Comparison::Ne(a),
            2 => Comparison::Lt(a),
            3 => Comparison::Le(a),
            4 => Comparison::Gt(a),
            5 => Comparison::Ge(a),
            6 => Comparison::In([a, b].into()),
            7 => Comparison::IsNull,
            _ => Comparison::NotNull,
        };
        Condition { column: column.to_owned(), is }
    })
}

fn a_view(keyed: bool) -> impl Strategy<Value = View> {
    let topics =
        prop::option::of(prop::collection::btree_set(prop::sample::select(vec!["D", "Dev-tenant", "E", "x"]), 0..3));
    let columns =
        Just(COLUMNS.to_vec()).prop_shuffle().prop_flat_map(|all| (1..=5usize).prop_map(move |n| all[..n].to_vec()));
    let mask = prop::collection::btree_map(0..5usize, (0..3, 0..3i64), 0..3);
    let parts = (topics, prop::collection::vec(a_condition(), 0..3), prop::option::of(columns), mask);
    parts.prop_map(move |(topics, only, columns, masks)| {
        let mut view = View { only, ..View::default() };
        if let Some(topics) = topics {
            view = view.topics(topics);
        }
        if let Some(mut columns) = columns {
            if keyed && !columns.contains(&"id") {
                columns.push("id");
            }
            view = view.columns(columns);
        }
        for (column, (kind, i)) in masks {
            let column = COLUMNS[column];
            let mask = match kind {
                0 => Mask::Null,
                1 => Mask::Hash,
                _ => Mask::Constant(constant(column, i)),
            };
            if !keyed || column != "id" {
                view = view.mask(column, mask);
            }
        }
        view
    })
}

/// From one state to the next, as tables' steps are: pairs first, everything else in any order.
fn step(keyed: bool, old: &[Row], new: &[Row]) -> (Vec<Row>, Vec<Row>, usize) {
    let mut removed: Vec<Row> = old.iter().filter(|row| !new.contains(row)).cloned().collect();
    let mut added: Vec<Row> = new.iter().filter(|row| !old.contains(row)).cloned().collect();
    if !keyed {
        return (removed, added, 0);
    }
    let both: BTreeSet<i64> = removed.iter().map(|r| r.id).filter(|id| added.iter().any(|r| r.id == *id)).collect();
    let place = |row: &Row| both.iter().position(|id| *id == row.id).unwrap_or(usize::MAX);
    removed.sort_by_key(place);
    added.sort_by_key(place);
    (removed, added, both.len())
}

fn check(keyed: bool, view: &View, states: Vec<Vec<Row>>) {
    let states: Vec<Vec<Row>> = states
        .into_iter()
        .map(|mut rows| {
            let mut there = BTreeSet::new();
            rows.retain(|row| {
                there.insert(if keyed {
                    Row { id: row.id, tenant: None, n: None, name: 0, load: None }
                } else {
                    row.clone()
                })
            });
            rows
        })
        .collect();
    let mut bound = view.bind(&shape(keyed)).unwrap();
    let schema = bound.shape().schema.clone();
    let (front, back) = states[0].split_at(states[0].len() / 2);
    let mut held = BTreeSet::new();
    for part in bound.begin([batch(front), batch(back)].into_iter()).unwrap() {
        assert_eq!(part.schema(), schema);
        cells(&part).into_iter().for_each(|row| assert!(held.insert(row.clone()), "{row:?} twice"));
    }
    assert_eq!(held, seen_of(view, &states[0]), "the first state");
    let key = schema.index_of("id").ok().filter(|_| keyed);
    for pair in states.windows(2) {
        let (removed, added, updated) = step(keyed, &pair[0], &pair[1]);
        let (removed, added, updated) = bound.step(&batch(&removed), &batch(&added), updated).unwrap();
        assert_eq!((removed.schema(), added.schema()), (schema.clone(), schema.clone()));
        let (removed, added) = (cells(&removed), cells(&added));
        for (before, after) in removed.iter().zip(&added).take(updated) {
            assert_eq!(before[key.unwrap()], after[key.unwrap()], "a pair is one row");
            assert_ne!(before, after, "a pair that is no change");
        }
        let both = |key| removed[updated..].iter().any(|a| added[updated..].iter().any(|b: &Cells| a[key] == b[key]));
        assert!(!key.is_some_and(both), "an update that is no pair");
        for row in &removed {
            assert!(held.remove(row), "{row:?} is removed and was not there");
        }
        for row in &added {
            assert!(held.insert(row.clone()), "{row:?} is added and was there");
        }
        assert_eq!(held, seen_of(view, &pair[1]));
        let rows = cells(&bound.rows(&batch(&pair[1])).unwrap());
        assert_eq!(rows.len(), held.len());
        assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), held);
    }
}

fn states() -> impl Strategy<Value = Vec<Vec<Row>>> {
    prop::collection::vec(prop::collection::vec(a_row(), 0..14), 2..6)
}

proptest! {
    #[test]
    fn of_a_keyed_table_the_view_of_a_step_leads_to_the_view_of_the_state(view in a_view(true), states in states()) {
        check(true, &view, states);
    }

    #[test]
    fn of_a_set_the_view_of_a_step_leads_to_the_view_of_the_state(view in a_view(false), states in states()) {
        check(false, &view, states);
    }

    #[test]
    fn a_view_is_what_it_is_written_as(view in a_view(false)) {
        let written = serde_json::to_string(&view).unwrap();
        prop_assert_eq!(serde_json::from_str::<View>(&written).unwrap(), view);
    }
}

fn row(id: i64, tenant: Option<usize>) -> Row {
    Row { id, tenant, n: Some(0), name: 0, load: None }
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("id").unwrap().as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

/// Dragonflow's selective topology: there a subscriber of `D` received `Dev-tenant` too, for topics were prefixes.
#[test]
fn a_topic_is_no_prefix_and_null_is_for_everyone() {
    let rows = batch(&[row(1, Some(0)), row(2, Some(1)), row(3, Some(2)), row(4, None)]);
    let of = |topics: &[&str]| {
        let bound = View::everything().topics(topics.iter().copied()).bind(&shape(true)).unwrap();
        ids(&bound.rows(&rows).unwrap())
    };
    assert_eq!(of(&["D"]), [1, 4]);
    assert_eq!(of(&["Dev-tenant"]), [2, 4]);
    assert_eq!(of(&["Dev"]), [4]);
    assert_eq!(of(&["d"]), [4]);
    assert_eq!(of(&[]), [4]);
    assert_eq!(of(&["D", "E"]), [1, 3, 4]);
}

#[test]
fn a_row_that_changes_topic_goes_for_one_and_comes_for_the_other() {
    let (old, new) = ([row(1, Some(0)), row(2, Some(0))], [row(1, Some(2)), row(2, None)]);
    let moved = |topic: &str| {
        let mut bound = View::everything().topics([topic]).bind(&shape(true)).unwrap();
        bound.begin([batch(&old)].into_iter()).unwrap();
        let (removed, added, updated) = bound.step(&batch(&old), &batch(&new), 2).unwrap();
        (ids(&removed), ids(&added), updated)
    };
    assert_eq!(moved("D"), (vec![2, 1], vec![2], 1));
    assert_eq!(moved("E"), (vec![], vec![1, 2], 0));
    assert_eq!(moved("Dev-tenant"), (vec![], vec![2], 0));
}

#[test]
fn of_rows_that_look_the_same_the_first_comes_and_the_last_goes() {
    let view = View::everything().columns(["tenant"]);
    let mut bound = view.bind(&shape(false)).unwrap();
    let rows: Vec<Row> = (0..3).map(|id| row(id, Some(0))).collect();
    let begun = bound.begin([batch(&rows[..1]), batch(&rows[1..])].into_iter()).unwrap();
    assert_eq!(begun.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 0]);
    let mut step = |removed: &[Row], added: &[Row]| {
        let (removed, added, updated) = bound.step(&batch(removed), &batch(added), 0)?;
        assert_eq!(updated, 0);
        Ok::<_, Refused>((removed.num_rows(), added.num_rows()))
    };
    assert_eq!(step(&rows[..2], &[]), Ok((0, 0)));
    // The last goes as another comes.
    assert_eq!(step(&rows[2..], &[row(7, Some(0))]), Ok((0, 0)));
    let refused = step(&rows[..2], &[row(8, Some(1))]).unwrap_err();
    assert_eq!(refused, Refused::Inconsistent("it removes a row that is not there".to_owned()));
    // What was refused was not counted.
    assert_eq!(step(&[], &[row(8, Some(1))]), Ok((0, 1)));
    assert_eq!(step(&[row(7, Some(0))], &[]), Ok((1, 0)));
    assert_eq!(step(&[row(8, Some(1))], &[row(9, Some(0))]), Ok((1, 1)));
    let Bound { counts: Some(counts), .. } = &bound else { panic!("nothing is counted") };
    assert_eq!(counts.values().collect::<Vec<_>>(), [&1]);
}

#[test]
fn nothing_is_counted_where_rows_stay_apart() {
    let counts = |view: View, keyed| view.bind(&shape(keyed)).unwrap().counts.is_some();
    let everything = View::everything;
    assert!(!counts(everything(), false));
    assert!(!counts(everything().topics(["D"]).only("n", Comparison::IsNull), false));
    assert!(!counts(everything().columns(["load", "name", "n", "tenant", "id"]), false));
    assert!(!counts(everything().mask("name", Mask::Hash), false));
    assert!(counts(everything().mask("name", Mask::Null), false));
    assert!(counts(everything().mask("name", Mask::Constant("x".into())), false));
    assert!(counts(everything().columns(["id"]), false));
    assert!(!counts(everything().columns(["id"]).mask("name", Mask::Null), true));
}

#[test]
fn an_imposed_view_comes_first_and_hides_what_conditions_could_find_out() {
    let imposed = View::everything().columns(["id", "name"]).mask("name", Mask::Null).bind(&shape(true)).unwrap();
    assert!(imposed.shape().schema.field(1).is_nullable());
    assert_eq!(imposed.shape().topic, None);
    let own = View::everything().only("name", Comparison::NotNull).bind(imposed.shape()).unwrap();
    let rows = batch(&[row(1, None)]);
    assert_eq!(own.rows(&imposed.rows(&rows).unwrap()).unwrap().num_rows(), 0);
    let error = View::everything().only("load", Comparison::IsNull).bind(imposed.shape()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the view does not fit the table: only names the column \"load\", which is not there: the table has id, name"
    );
}

#[test]
fn hashes_tell_equal_values_and_nothing_else() {
    let bound = View::everything().mask("n", Mask::Hash).mask("load", Mask::Hash).bind(&shape(true)).unwrap();
    let rows = [(1, Some(5)), (2, Some(5)), (3, Some(6)), (4, None)].map(|(id, n)| Row { n, ..row(id, None) });
    let shown = bound.rows(&batch(&rows)).unwrap();
    assert_eq!(*shown.schema().field(2), Field::new("n", DataType::Utf8, true));
    let cells: Vec<Option<String>> = cells(&shown).into_iter().map(|row| row[2].clone()).collect();
    assert_eq!(cells[0], cells[1]);
    assert_ne!(cells[0], cells[2]);
    assert_eq!(cells[3], None);
    assert!(cells[..3].iter().flatten().all(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())));
}

#[test]
fn topics_and_conditions_of_other_types() {
    let names: DictionaryArray<Int32Type> = [Some("D"), Some("E"), None].into_iter().collect();
    let times = PrimitiveArray::<TimestampSecondType>::from(vec![Some(0), Some(86_400), None]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("name", Arc::new(names)),
        ("at", Arc::new(times)),
        ("up", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("load", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(-1.0), None]))),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, c)| (name, c, name != "id"))).unwrap();
    // As they are given: a table's own encodings are plainer.
    let shape = |topic: &str| Shape {
        schema: rows.schema(),
        topic: Some(topic.to_owned()),
        ..Shape::new(rows.schema(), vec!["id".to_owned()]).unwrap()
    };
    let of = |view: View, topic: &str| ids(&view.bind(&shape(topic)).unwrap().rows(&rows).unwrap());
    let everything = View::everything;
    assert_eq!(of(everything().topics(["D"]), "name"), [1, 3]);
    assert_eq!(of(everything().topics(["2"]), "id"), [2]);
    assert_eq!(of(everything().topics(["true"]), "up"), [1, 3]);
    assert_eq!(of(everything().topics(["1970-01-02T00:00:00Z"]), "at"), [2, 3]);
    assert_eq!(of(everything().only("name", Comparison::Ge("E".into())), "id"), [2]);
    assert_eq!(of(everything().only("name", Comparison::IsNull), "id"), [3]);
    assert_eq!(of(everything().only("name", Comparison::In(["D".into(), "x".into()].into())), "id"), [1]);
    assert_eq!(of(everything().only("at", Comparison::Lt("1970-01-01T23:00:00Z".into())), "id"), [1]);
    assert_eq!(of(everything().only("up", Comparison::Ne(true.into())), "id"), [2]);
    assert_eq!(of(everything().only("load", Comparison::Gt(5i64.into())), "id"), [1]);
    assert_eq!(of(everything().only("load", Comparison::Le((-1.0).into())), "id"), [2]);
    assert_eq!(
        of(everything().only("id", Comparison::Ne(2i64.into())).only("id", Comparison::Lt(3i64.into())), "id"),
        [1]
    );
    // Longer than what is encoded at a time.
    let many = take_record_batch(&rows, &(0..9000u32).map(|i| i % 3).collect::<UInt32Array>()).unwrap();
    let shown = everything().only("id", Comparison::Ge(2i64.into())).bind(&shape("id")).unwrap().rows(&many).unwrap();
    assert_eq!(shown.num_rows(), 6000);
    assert!(ids(&shown).iter().all(|id| *id >= 2));
}

#[test]
fn all_that_does_not_fit_is_named_at_once() {
    let raw: (&str, ArrayRef) = ("raw", Arc::new(BinaryArray::from(vec![b"x".as_slice()])));
    let columns = [
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("up", Arc::new(BooleanArray::from(vec![true]))),
        raw,
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let shape = Shape::new(rows.schema(), vec!["id".to_owned()]).unwrap();
    let view = View::everything()
        .topics(["a"])
        .only("idd", Comparison::IsNull)
        .only("raw", Comparison::Lt("x".into()))
        .only("up", Comparison::Gt(false.into()))
        .only("id", Comparison::In(["x".into(), 2i64.into(), 2.5.into()].into()))
        .columns(["up", "up", "zzzzzzzz"])
        .mask("id", Mask::Null)
        .mask("up", Mask::Constant("yes".into()));
    assert_eq!(
        view.bind(&shape).unwrap_err().to_string(),
        "the view does not fit the table: topics are asked for, and the table has no topic column: ask by a condition on \
         one of its columns; only names the column \"idd\", which is not there: did you mean \"id\"?; only asks lt of \
         column \"raw\", which holds Binary: is_null and not_null can be asked of it; only asks gt of column \"up\", which \
         holds Boolean: eq, ne, in, is_null and not_null can be asked of it; only gives 2.5 for column \"id\", which holds \
         Int64: give a whole number within its bounds; only gives \"x\" for column \"id\", which holds Int64: give a whole \
         number within its bounds; mask covers \"id\", which is in the table's key: with it different rows would be one; \
         mask gives \"yes\" for column \"up\", which holds Boolean: give true or false; columns leaves out \"id\", which is \
         in the table's key: without it different rows would be one; columns names \"up\" twice: name it once; columns \
         names the column \"zzzzzzzz\", which is not there: the table has id, up, raw"
    );
    let refused = |view: View, topic: &str| {
        let shape = Shape { topic: Some(topic.to_owned()), ..shape.clone() };
        view.bind(&shape).unwrap_err().to_string()
    };
    assert_eq!(
        refused(View::everything().topics(["a"]), "raw"),
        "the view does not fit the table: topics are asked for, and the topic column \"raw\" holds Binary, which has no \
         text to compare"
    );
    assert_eq!(
        refused(View::everything().columns(Vec::<String>::new()), "id"),
        "the view does not fit the table: columns is empty: name some, or leave it out for all"
    );
    let mut bound = View::everything().only("id", Comparison::NotNull).bind(&shape).unwrap();
    let other = batch(&[row(1, None)]);
    assert!(matches!(bound.rows(&other), Err(Refused::Columns(_))));
    assert!(matches!(bound.step(&rows, &other, 0), Err(Refused::Columns(_))));
    assert!(matches!(bound.step(&rows, &rows, 2), Err(Refused::Inconsistent(_))));
}
