//! Random histories beside a plain model: whatever a table takes, its rows are the model's, and those who follow its steps
//! have the same.

use super::*;
use arrow_array::RecordBatch;
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::Batches;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u8,
    text: Option<String>,
    value: f64,
    list: Vec<Option<f32>>,
}

/// What the values of a row come from: a few, so that histories come back to where they were.
type Plain = (u8, u8);

fn row((id, value): Plain) -> Row {
    Row {
        id,
        text: (value != 0).then(|| "text".repeat(usize::from(value))),
        value: if value == 0 { f64::NAN } else { f64::from(value) },
        list: vec![(value != 1).then_some(f32::from(value)); usize::from(value)],
    }
}

fn spec(keyed: bool) -> TableSpec {
    TableSpec::of::<Row>("t").key(keyed.then_some("id"))
}

/// Of sets the whole row is the key.
type Model = BTreeMap<Plain, u8>;

fn identity(keyed: bool, row: Plain) -> Plain {
    if keyed { (row.0, 0) } else { row }
}

fn model(keyed: bool, rows: &[Plain]) -> Model {
    rows.iter().map(|row| (identity(keyed, *row), row.1)).collect()
}

fn rows_of(keyed: bool, model: &Model) -> Vec<Plain> {
    model.iter().map(|((id, own), value)| (*id, if keyed { *value } else { *own })).collect()
}

/// In some batches, as drivers do.
fn batches(rows: &[Plain], keyed: bool) -> Batches {
    let spec = spec(keyed);
    let mut all = Batches::empty(Arc::clone(&spec.schema));
    for part in rows.chunks(7) {
        let rows: Vec<Row> = part.iter().copied().map(row).collect();
        all.batches.extend(spec.rows(&rows).unwrap().batches);
    }
    all
}

fn keys(rows: &[Plain], keyed: bool) -> Batches {
    #[derive(Serialize, Deserialize)]
    struct Key {
        id: u8,
    }
    match keyed {
        true => TableSpec::of::<Key>("t").rows(&rows.iter().map(|row| Key { id: row.0 }).collect::<Vec<_>>()).unwrap(),
        false => batches(rows, false),
    }
}

fn plain(batch: &RecordBatch) -> Vec<Plain> {
    let rows: Vec<Row> = Batches::from(batch.clone()).to_vec().unwrap();
    let value = |row: &Row| row.text.as_ref().map_or(0, |text| text.len() as u8 / 4);
    rows.iter().map(|row| (row.id, value(row))).collect()
}

fn held(state: &TableState, keyed: bool) -> Model {
    let mut count = 0;
    let mut rows = Vec::new();
    for batch in state.rows().batches() {
        assert!(batch.num_rows() > 0);
        count += batch.num_rows();
        rows.extend(plain(&batch));
    }
    assert_eq!((count, state.rows().is_empty()), (state.rows().num_rows(), count == 0));
    let model = model(keyed, &rows);
    assert_eq!(model.len(), count, "no row is there twice");
    model
}

/// The step as its definition has it: what it removes is there, what it adds is not, pairs are of one key.
fn follow(model: &mut Model, step: &Step, keyed: bool) {
    let (removed, added) = (plain(&step.removed), plain(&step.added));
    for (old, new) in removed.iter().zip(&added).take(step.updated) {
        assert!(keyed && old.0 == new.0 && old.1 != new.1);
    }
    for row in removed {
        assert_eq!(model.remove(&identity(keyed, row)), Some(row.1));
    }
    for row in added {
        assert_eq!(model.insert(identity(keyed, row), row.1), None);
    }
}

#[derive(Debug, Clone)]
enum Move {
    Snapshot(Vec<Plain>),
    /// Of the present rows, with some changed: in order.
    Edit(Vec<(prop::sample::Index, u8)>),
    /// Rows that come, rows that go: not always possible.
    Delta(Vec<Plain>, Vec<Plain>),
    Compact,
    /// A copy is made of the whole state.
    Resync,
    /// A copy is given what it missed as one step.
    Catch,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let rows = |most| prop::collection::vec((0u8..24, 0u8..4), 0..most);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 0..4);
    let one = prop_oneof![
        2 => rows(30).prop_map(Move::Snapshot),
        2 => edits.prop_map(Move::Edit),
        6 => (rows(5), rows(3)).prop_map(|(added, removed)| Move::Delta(added, removed)),
        1 => Just(Move::Compact),
        1 => Just(Move::Resync),
        2 => Just(Move::Catch),
    ];
    prop::collection::vec(one, 1..24)
}

/// What a delta should lead to; `None`: it contradicts the rows.
fn after(model: &Model, added: &[Plain], removed: &[Plain], keyed: bool) -> Option<Model> {
    let mut next = model.clone();
    let mut named: Vec<Plain> = added.iter().chain(removed).map(|row| identity(keyed, *row)).collect();
    named.sort_unstable();
    if named.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    for row in removed {
        next.remove(&identity(keyed, *row))?;
    }
    for row in added {
        let before = next.insert(identity(keyed, *row), row.1);
        if before.is_some() && !keyed {
            return None;
        }
    }
    Some(next)
}

/// One history.
fn run(keyed: bool, moves: Vec<Move>) {
    let spec = spec(keyed);
    let shape = Shape::new(Arc::clone(&spec.schema), spec.key.clone()).unwrap();
    let limits = Limits::default();
    let mut state = TableState::begin(shape.clone(), &batches(&[], keyed), limits).unwrap();
    let copy = |state: &TableState, rows: &Rows| {
        let rows = Batches { schema: Arc::clone(rows.schema()), batches: rows.batches().collect() };
        TableState::begin_at(state.shape().clone(), &rows, limits, state.epoch(), state.to()).unwrap()
    };
    let (mut follower, mut late) = (copy(&state, &state.rows()), copy(&state, &state.rows()));
    let (mut model, mut missed) = (Model::new(), Vec::new());
    for (poll, one) in (1..).zip(moves) {
        let (before, reader, seen) = (state.to(), state.rows(), model.clone());
        let snap = |state: &mut TableState, rows: &[Plain]| snapshot(state, rows, keyed, poll);
        let (applied, next) = match one {
            Move::Snapshot(rows) => (snap(&mut state, &rows), self::model(keyed, &rows)),
            Move::Edit(edits) => {
                let mut rows: Vec<Plain> = reader.batches().flat_map(|batch| plain(&batch)).collect();
                for (place, value) in edits {
                    match value {
                        _ if rows.is_empty() => {}
                        0 => drop(rows.remove(place.index(rows.len()))),
                        value => {
                            let at = place.index(rows.len());
                            rows[at].1 = value;
                        }
                    }
                }
                (snap(&mut state, &rows), self::model(keyed, &rows))
            }
            Move::Delta(added, removed) => {
                // Half of the time what is asked for is made possible.
                let there = rows_of(keyed, &model);
                let removed: Vec<Plain> = match poll % 2 {
                    0 => removed,
                    _ => removed.iter().filter_map(|row| there.iter().find(|r| r.0 == row.0)).copied().collect(),
                };
                let applied = state.delta(&batches(&added, keyed), &keys(&removed, keyed), poll);
                match (after(&model, &added, &removed, keyed), applied) {
                    (Some(next), Ok(applied)) => (applied, next),
                    (None, Err(Refused::Inconsistent(_))) => (Applied::Unchanged, model.clone()),
                    (expected, applied) => panic!("{expected:?}, but {applied:?}"),
                }
            }
            Move::Compact => {
                state.compact();
                assert!(!state.needs_compaction());
                (Applied::Unchanged, model.clone())
            }
            Move::Resync => {
                let rows = Batches { schema: Arc::clone(reader.schema()), batches: reader.batches().collect() };
                let mut learned = held(&late, keyed);
                let from = late.to();
                match late.resync(shape.clone(), &rows, state.epoch(), state.to(), 0).unwrap() {
                    Applied::Stepped(step) => {
                        assert_eq!((step.from, step.to), (from, state.to()));
                        follow(&mut learned, &step, keyed);
                    }
                    Applied::Unchanged => {}
                    Applied::Begun => panic!(),
                }
                assert_eq!((late.to(), &learned), (state.to(), &model));
                missed.clear();
                (Applied::Unchanged, model.clone())
            }
            Move::Catch if missed.is_empty() => (Applied::Unchanged, model.clone()),
            Move::Catch => {
                let step = Step::coalesce(&shape, &missed).unwrap();
                let mut learned = held(&late, keyed);
                follow(&mut learned, &step, keyed);
                assert_eq!(learned, model);
                late.apply(&step).unwrap();
                assert!(late.apply(&step).is_err());
                missed.clear();
                (Applied::Unchanged, model.clone())
            }
        };
        match &applied {
            Applied::Stepped(step) => {
                assert_eq!((step.from, step.to, step.poll, state.to()), (before, before + 1, poll, before + 1));
                follow(&mut model, step, keyed);
                let took = follower.apply(step).unwrap();
                assert_eq!((took.from, took.to, took.updated, took.poll), (step.from, step.to, step.updated, poll));
                missed.push(Arc::clone(step));
            }
            Applied::Unchanged => assert_eq!(state.to(), before),
            Applied::Begun => panic!(),
        }
        assert_eq!(model, next);
        assert_eq!(held(&state, keyed), model);
        assert_eq!((held(&follower, keyed), follower.to()), (model.clone(), state.to()));
        // Readers keep what they hold.
        assert_eq!(self::model(keyed, &reader.batches().flat_map(|batch| plain(&batch)).collect::<Vec<_>>()), seen);
    }
    if let Ok(step) = Step::coalesce(&shape, &missed) {
        late.apply(&step).unwrap();
    }
    assert_eq!((held(&late, keyed), late.to()), (model, state.to()));
}

fn snapshot(state: &mut TableState, rows: &[Plain], keyed: bool, poll: u64) -> Applied {
    let before = state.duplicates();
    let applied = state.snapshot(state.shape().clone(), &batches(rows, keyed), poll).unwrap();
    assert_eq!(state.duplicates() - before, (rows.len() - model(keyed, rows).len()) as u64);
    applied
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_set_and_those_who_follow_it(moves in moves()) {
        run(false, moves);
    }

    #[test]
    fn a_keyed_table_and_those_who_follow_it(moves in moves()) {
        run(true, moves);
    }
}
