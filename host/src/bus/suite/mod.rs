//! The bus's suite: each test runs on one node directly, and on three nodes joined by a pipe that loses, doubles, delays
//! and reorders. `congress_NN`: a fault of the predecessor, by its number in the project's research.

mod breaks;
mod calls;
mod locks;
mod model;
mod nodes;
mod queues;
mod services;
mod subscriptions;
mod tables;
mod views;

use super::{
    Address, Bounds, Bus, Delivery, Faults, FaultyHub, Hub, Message, Service, Subscription, TableView, Timing,
};
use crate::table::{Applied, Shape};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use busway_plugin_api::table::Batches;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The nodes of a test. Publishers are on the first, subscribers on the last: on one node these are the same.
pub(super) struct World {
    pub(super) nodes: Vec<Bus>,
    /// The pipe between them.
    pub(super) hub: FaultyHub,
}

impl World {
    pub(super) fn one() -> Self {
        Self { nodes: vec![Bus::new("n0")], hub: FaultyHub::new(0, Faults::NONE) }
    }

    /// Three nodes that know each other.
    pub(super) async fn three(seed: u64) -> Self {
        let world = Self::joined(seed, 3, Timing::default());
        until(|| world.nodes.iter().all(|node| node.nodes().len() == 3)).await;
        world
    }

    /// So many nodes that have just joined. The pipe is narrow: what is large goes in parts.
    pub(super) fn joined(seed: u64, nodes: usize, timing: Timing) -> Self {
        let bounds = Bounds { messages: 4096, bytes: 64 << 20 };
        let hub = FaultyHub::over(Hub::with(bounds, 64 << 10), seed, Faults::default());
        let nodes = (0..nodes).map(|n| Bus::new(&format!("n{n}"))).collect();
        let world = Self { nodes, hub };
        for node in &world.nodes {
            world.join_in(node, timing);
        }
        world
    }

    pub(super) fn join(&self, node: &Bus) {
        self.join_in(node, Timing::default());
    }

    fn join_in(&self, node: &Bus, timing: Timing) {
        node.join(Arc::new(self.hub.join(node.node())), timing).unwrap();
    }

    pub(super) fn first(&self) -> &Bus {
        &self.nodes[0]
    }

    pub(super) fn last(&self) -> &Bus {
        &self.nodes[self.nodes.len() - 1]
    }

    /// Cuts a node off from all others.
    pub(super) fn part(&self, node: &str) {
        for other in &self.nodes {
            self.hub.cut(node, other.node());
            self.hub.cut(other.node(), node);
        }
    }

    /// Joins it with them again.
    pub(super) fn mend(&self, node: &str) {
        for other in &self.nodes {
            self.hub.heal(node, other.node());
            self.hub.heal(other.node(), node);
        }
    }

    /// A service on the first node that the last knows.
    pub(super) async fn service(&self, name: &str) -> Service {
        let service = self.first().register(name).unwrap();
        until(|| self.last().has_service(name)).await;
        service
    }
}

/// Each of these tests in both worlds.
macro_rules! in_both_worlds {
    ($($(#[$about:meta])* $name:ident)*) => {
        mod one_node {
            $(#[tokio::test(start_paused = true)] async fn $name() { super::$name(super::super::World::one()).await; })*
        }
        mod three_nodes {
            $(#[tokio::test(start_paused = true)] async fn $name() {
                for seed in 0..3 {
                    super::$name(super::super::World::three(seed).await).await;
                }
            })*
        }
    };
}
pub(super) use in_both_worlds;

/// Waits, two minutes of the test's time at most.
#[track_caller]
pub(super) fn until(condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let mut condition = condition;
    async move {
        for _ in 0..2400 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain at {place}");
    }
}

pub(super) type Rows = BTreeMap<i64, i64>;

fn schema() -> Arc<Schema> {
    let field = |name: &str, kind, null| Field::new(name, kind, null);
    Arc::new(Schema::new(vec![field("id", DataType::Int64, false), field("v", DataType::Int64, false)]))
}

/// Columns `id` and `v`; keyed by `id` if asked.
pub(super) fn shape(keyed: bool) -> Shape {
    Shape::new(schema(), if keyed { vec!["id".to_owned()] } else { vec![] }).unwrap()
}

pub(super) fn batches(rows: impl IntoIterator<Item = (i64, i64)>) -> Batches {
    let (ids, values): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(Int64Array::from(values))];
    Batches::from(RecordBatch::try_new(schema(), columns).unwrap())
}

pub(super) fn keys(ids: impl IntoIterator<Item = i64>) -> Batches {
    let schema = Arc::new(schema().project(&[0]).unwrap());
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    Batches::from(RecordBatch::try_new(schema, vec![ids]).unwrap())
}

/// Publishes a keyed table's whole state.
pub(super) fn publish(service: &Service, table: &str, rows: &[(i64, i64)]) -> Applied {
    service.snapshot(table, shape(true), &batches(rows.iter().copied()), 0).unwrap()
}

pub(super) fn read(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values().to_vec();
    column(0).into_iter().zip(column(1)).collect()
}

pub(super) fn rows(view: &TableView) -> Rows {
    view.rows.batches().flat_map(|batch| read(&batch)).collect()
}

pub(super) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// What a careful consumer holds: it applies what it is told, and would notice a step that does not fit.
#[derive(Debug, Default, PartialEq, Clone)]
pub(super) struct Held {
    pub(super) at: Option<(u64, u64)>,
    pub(super) rows: Rows,
    pub(super) snapshots: usize,
    pub(super) steps: usize,
    pub(super) gone: usize,
}

impl Held {
    pub(super) fn take(&mut self, message: &Message) {
        match message {
            Message::Snapshot(view) => {
                self.snapshots += 1;
                self.rows = rows(view);
                self.at = Some((view.epoch.0, view.to));
            }
            Message::Step(step) => {
                self.steps += 1;
                assert_eq!(self.at, Some((step.epoch.0, step.from)), "a step from where the subscriber stands");
                for (id, value) in read(&step.removed) {
                    assert_eq!(self.rows.remove(&id), Some(value), "what is removed was there");
                }
                for (id, value) in read(&step.added) {
                    assert_eq!(self.rows.insert(id, value), None, "what is added was not there");
                }
                self.at = Some((step.epoch.0, step.to));
            }
            Message::Gone => {
                self.gone += 1;
                self.rows.clear();
                self.at = None;
            }
        }
    }
}

/// What a subscription holds, by table.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) subscription: Subscription,
    pub(super) held: BTreeMap<String, Held>,
}

impl Consumer {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription, held: BTreeMap::new() }
    }

    pub(super) fn to(bus: &Bus, tables: &str) -> Self {
        Self::new(bus.subscribe(tables.parse::<super::Selector>().unwrap()))
    }

    /// Takes all that is there.
    pub(super) fn drain(&mut self) {
        while let Some(Delivery { address, message }) = self.subscription.try_next() {
            self.held.entry(address.to_string()).or_default().take(&message);
        }
    }

    pub(super) fn of(&mut self, table: &str) -> Held {
        self.drain();
        self.held.get(table).cloned().unwrap_or_default()
    }

    /// Waits until a table is as said.
    #[track_caller]
    pub(super) fn sees<'a>(&'a mut self, table: &'a str, wanted: &[(i64, i64)]) -> impl Future<Output = ()> + 'a {
        let wanted: Rows = wanted.iter().copied().collect();
        until(move || {
            let held = self.of(table);
            held.at.is_some() && held.rows == wanted
        })
    }

    /// Waits until a table is no more.
    #[track_caller]
    pub(super) fn loses<'a>(&'a mut self, table: &'a str) -> impl Future<Output = ()> + 'a {
        until(move || self.of(table).at.is_none() && self.held.contains_key(table))
    }
}

/// Columns `id`, `topic` and `v`, keyed, with `topic` as the topic.
pub(super) fn topical(rows: &[(i64, Option<&str>, i64)]) -> (Shape, Batches) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::Int64, false),
        Field::new("topic", DataType::Utf8, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
    ];
    let shape =
        Shape { topic: Some("topic".to_owned()), ..Shape::new(Arc::clone(&schema), vec!["id".to_owned()]).unwrap() };
    (shape, Batches::from(RecordBatch::try_new(schema, columns).unwrap()))
}

/// Publishes a whole state of `t` with topics.
pub(super) fn put(service: &Service, rows: &[(i64, Option<&str>, i64)]) {
    let (shape, rows) = topical(rows);
    service.snapshot("t", shape, &rows, 0).unwrap();
}
