//! Random histories of publishers, subscribers and network against a plain model: every state that a subscriber shows is,
//! at its position, the one its publisher had; in the end all show the last. Then the same with faults put in on purpose:
//! each must be seen.
//!
//! `BUSWAY_CASES=2000 cargo test -p busway --lib bus::suite::model` runs longer.

use super::*;
use crate::bus::link::sequencer::Mutant;
use crate::bus::{Mode, Position, Selector, SubscribeOptions, View};

use arrow_array::Array;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeSet;

/// A row: id, value, topic.
type Row = (i64, i64, Option<String>);
type Set = BTreeSet<Row>;

const SERVICES: [&str; 2] = ["s.a", "s.b"];
const TABLES: [&str; 2] = ["t", "u"];
const SELECTORS: [&str; 5] = ["s.a/t", "s.b/u", "s.*/t", "#/#", "shared/t"];
const TOPICS: [Option<&str>; 4] = [None, Some("x"), Some("y"), Some("xy")];

#[derive(Debug, Clone)]
enum Op {
    /// All rows of a table, by id: value and topic.
    Publish {
        service: usize,
        table: usize,
        rows: Vec<(i64, i64, usize)>,
    },
    /// Rows to put and ids to take, of a keyed table; of a set those that make sense.
    Delta {
        service: usize,
        table: usize,
        put: Vec<(i64, i64, usize)>,
        take: Vec<i64>,
    },
    /// Rows put one by one, each a step; of a table that begins anew, if so said.
    Burst {
        service: usize,
        table: usize,
        fresh: bool,
        put: Vec<(i64, i64, usize)>,
    },
    /// With a key, or without.
    Columns {
        service: usize,
        table: usize,
    },
    End {
        service: usize,
        table: usize,
    },
    Restart {
        service: usize,
        node: usize,
    },
    Listen {
        service: usize,
        listen: bool,
    },
    Subscribe {
        node: usize,
        selector: usize,
        topic: usize,
        mode: usize,
        narrow: bool,
    },
    Unsubscribe {
        consumer: usize,
    },
    Read {
        consumer: usize,
    },
    Wait {
        ms: u64,
    },
    Cut {
        from: usize,
        to: usize,
    },
    Heal,
    Storm {
        on: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (0..2usize, 0..2usize);
    let rows = || prop::collection::vec((0..6i64, 0..4i64, 0..4usize), 0..6);
    prop_oneof![
        8 => (place(), rows()).prop_map(|((service, table), rows)| Op::Publish { service, table, rows }),
        12 => (place(), rows(), prop::collection::vec(0..6i64, 0..2))
            .prop_map(|((service, table), put, take)| Op::Delta { service, table, put, take }),
        8 => (place(), any::<bool>(), prop::collection::vec((0..6i64, 0..4i64, 0..4usize), 1..8))
            .prop_map(|((service, table), fresh, put)| Op::Burst { service, table, fresh, put }),
        1 => place().prop_map(|(service, table)| Op::Columns { service, table }),
        1 => place().prop_map(|(service, table)| Op::End { service, table }),
        1 => (0..2usize, 0..3usize).prop_map(|(service, node)| Op::Restart { service, node }),
        1 => (0..2usize, any::<bool>()).prop_map(|(service, listen)| Op::Listen { service, listen }),
        4 => (0..3usize, 0..5usize, 0..4usize, 0..3usize, any::<bool>()).prop_map(
            |(node, selector, topic, mode, narrow)| Op::Subscribe { node, selector, topic, mode, narrow }
        ),
        1 => (0..8usize).prop_map(|consumer| Op::Unsubscribe { consumer }),
        8 => (0..8usize).prop_map(|consumer| Op::Read { consumer }),
        10 => (0..300u64).prop_map(|ms| Op::Wait { ms }),
        1 => (0..3usize, 0..3usize).prop_map(|(from, to)| Op::Cut { from, to }),
        1 => Just(Op::Heal),
        1 => any::<bool>().prop_map(|on| Op::Storm { on }),
    ]
}

fn read(batch: &RecordBatch) -> Vec<Row> {
    let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values();
    let topics = batch.column(2).as_string::<i32>();
    let topic = |i: usize| (!topics.is_null(i)).then(|| topics.value(i).to_owned());
    (0..batch.num_rows()).map(|i| (column(0)[i], column(1)[i], topic(i))).collect()
}

fn whole(view: &TableView) -> Set {
    view.rows.batches().flat_map(|batch| read(&batch)).collect()
}

fn arrow(rows: &[(i64, i64, usize)]) -> (Shape, Batches) {
    topical(&rows.iter().map(|(id, v, topic)| (*id, TOPICS[*topic], *v)).collect::<Vec<_>>())
}

/// What a consumer holds of one table.
#[derive(Debug, Default)]
struct Copy {
    at: Option<Position>,
    rows: Set,
}

struct Reader {
    node: usize,
    selector: Selector,
    topic: Option<&'static str>,
    subscription: Subscription,
    held: BTreeMap<Arc<Address>, Copy>,
}

struct Model {
    world: World,
    services: Vec<Option<Service>>,
    /// Whether a table has a key.
    keyed: BTreeMap<(usize, usize), bool>,
    listening: [bool; 2],
    readers: Vec<Reader>,
    /// Every state that any publisher had.
    history: BTreeMap<(String, Position), Set>,
    now: BTreeMap<String, Position>,
}

type Outcome = Result<(), String>;

impl Model {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        // Half of them with lagging feeds and no patience: snapshots and wide steps cross on the way.
        let lagging = seed.is_multiple_of(2);
        let soon = Duration::from_millis(30);
        let timing = match lagging {
            true => Timing { retry: soon, patience: soon, ..Timing::default() },
            false => Timing::default(),
        };
        let world = World::joined(seed, 3, timing);
        for node in &world.nodes {
            let link = node.link().unwrap();
            *link.mutant.lock().unwrap() = mutant;
            *link.slow.lock().unwrap() = lagging;
        }
        let (keyed, readers, listening) = (BTreeMap::new(), Vec::new(), [false; 2]);
        let (history, now) = (BTreeMap::new(), BTreeMap::new());
        let mut model = Self { world, services: vec![None, None], keyed, listening, readers, history, now };
        model.services = SERVICES.iter().zip(&model.world.nodes).map(|(name, node)| node.register(name).ok()).collect();
        model
    }

    /// Writes down what a table is now.
    fn note(&mut self, service: usize, table: usize) {
        let Some(publisher) = &self.services[service] else { return };
        let name = format!("{}/{}", SERVICES[service], TABLES[table]);
        match publisher.bus().table(&address(&name)) {
            Some(view) => {
                self.now.insert(name.clone(), (view.epoch, view.to));
                self.history.insert((name, (view.epoch, view.to)), whole(&view));
            }
            None => drop(self.now.remove(&name)),
        }
    }

    async fn apply(&mut self, op: Op) -> Outcome {
        match op {
            Op::Publish { service, table, rows } => {
                let keyed = *self.keyed.entry((service, table)).or_insert(true);
                if let Some(publisher) = &self.services[service] {
                    let (mut shape, rows) = arrow(&rows);
                    if !keyed {
                        shape.key.clear();
                    }
                    // A name that was lost publishes nothing.
                    let _ = publisher.snapshot(TABLES[table], shape, &rows, 0);
                }
                self.note(service, table);
            }
            Op::Delta { service, table, put, take } => {
                let keyed = *self.keyed.entry((service, table)).or_insert(true);
                let mut ids = BTreeSet::new();
                let put: Vec<_> = put.into_iter().filter(|(id, ..)| ids.insert(*id)).collect();
                if let Some(publisher) = self.services[service].as_ref().filter(|_| keyed) {
                    let take = take.into_iter().filter(|id| ids.insert(*id));
                    // One that contradicts the table changes nothing.
                    let _ = publisher.delta(TABLES[table], &arrow(&put).1, &keys(take), 0);
                }
                self.note(service, table);
            }
            Op::Burst { service, table, fresh, put } => {
                if fresh {
                    self.keyed.insert((service, table), true);
                    if let Some(publisher) = &self.services[service] {
                        publisher.end(TABLES[table]);
                        let (shape, rows) = arrow(&[]);
                        let _ = publisher.snapshot(TABLES[table], shape, &rows, 0);
                    }
                }
                self.note(service, table);
                for row in put {
                    if let Some(publisher) =
                        self.services[service].as_ref().filter(|_| self.keyed.get(&(service, table)) == Some(&true))
                    {
                        let _ = publisher.delta(TABLES[table], &arrow(&[row]).1, &keys([]), 0);
                    }
                    self.note(service, table);
                }
            }
            Op::Columns { service, table } => {
                let keyed = self.keyed.entry((service, table)).or_insert(true);
                *keyed = !*keyed;
            }
            Op::End { service, table } => {
                if let Some(publisher) = &self.services[service] {
                    publisher.end(TABLES[table]);
                }
                self.note(service, table);
            }
            Op::Restart { service, node } => {
                self.services[service] = None;
                for table in TABLES {
                    self.now.remove(&format!("{}/{table}", SERVICES[service]));
                }
                // Elsewhere the name is free when word of it has come.
                for _ in 0..400 {
                    if let Ok(again) = self.world.nodes[node].register(SERVICES[service]) {
                        if self.listening[service] {
                            again.listen("shared").map_err(|e| e.to_string())?;
                        }
                        self.services[service] = Some(again);
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Op::Listen { service, listen } => {
                self.listening[service] = listen;
                if let Some(publisher) = &self.services[service] {
                    if listen {
                        publisher.listen("shared").map_err(|e| e.to_string())?;
                    } else {
                        publisher.unlisten("shared");
                    }
                }
            }
            Op::Subscribe { node, selector, topic, mode, narrow } => {
                if self.readers.len() < 8 {
                    self.subscribe(node, selector, topic, mode, narrow)?;
                }
            }
            Op::Unsubscribe { consumer } => {
                if consumer < self.readers.len() {
                    self.readers.swap_remove(consumer);
                }
            }
            Op::Read { consumer } => {
                if consumer < self.readers.len() {
                    self.read(consumer)?;
                }
            }
            Op::Wait { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Op::Cut { from, to } => self.world.hub.cut(&format!("n{from}"), &format!("n{to}")),
            Op::Heal => self.heal(),
            Op::Storm { on } => {
                let lose = if on { 0.5 } else { Faults::default().lose };
                self.world.hub.set(Faults { lose, ..Faults::default() });
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, node: usize, selector: usize, topic: usize, mode: usize, narrow: bool) -> Outcome {
        let selector: Selector = SELECTORS[selector].parse().map_err(|e| format!("{e}"))?;
        let topic = TOPICS[topic];
        let bounds = if narrow { Bounds { messages: 2, bytes: 1 << 20 } } else { Bounds::default() };
        let options = SubscribeOptions {
            view: topic.map_or_else(View::default, |topic| View::default().topics([topic])),
            mode: [Mode::Steps, Mode::States, Mode::Pull][mode],
            bounds,
            ..SubscribeOptions::default()
        };
        let subscription =
            self.world.nodes[node].subscribe_with(selector.clone(), options).map_err(|e| e.to_string())?;
        self.readers.push(Reader { node, selector, topic, subscription, held: BTreeMap::new() });
        Ok(())
    }

    fn heal(&self) {
        for from in 0..3 {
            (0..3).for_each(|to| self.world.hub.heal(&format!("n{from}"), &format!("n{to}")));
        }
    }

    /// Takes what a reader is told, and compares each state it comes to with what its publisher had.
    fn read(&mut self, reader: usize) -> Outcome {
        let reader = &mut self.readers[reader];
        while let Some(Delivery { address, message }) = reader.subscription.try_next() {
            let copy = reader.held.entry(Arc::clone(&address)).or_default();
            let said = format!("{address} on n{}: {message:?}", reader.node);
            match message {
                Message::Snapshot(view) => {
                    *copy = Copy { at: Some((view.epoch, view.to)), rows: whole(&view) };
                }
                Message::Step(step) => {
                    if copy.at != Some((step.epoch, step.from)) {
                        return Err(format!("a step from elsewhere than {:?}: {said}", copy.at));
                    }
                    if !read(&step.removed).into_iter().all(|row| copy.rows.remove(&row)) {
                        return Err(format!("it removes what is not there: {said}"));
                    }
                    if !read(&step.added).into_iter().all(|row| copy.rows.insert(row)) {
                        return Err(format!("it adds what is there: {said}"));
                    }
                    copy.at = Some((step.epoch, step.to));
                }
                Message::Gone => *copy = Copy::default(),
            }
            let Some(at) = copy.at else { continue };
            let Some(had) = self.history.get(&(address.to_string(), at)) else {
                return Err(format!("no publisher ever stood at {at:?}: {said}"));
            };
            if seen(had, reader.topic) != copy.rows {
                return Err(format!("at {at:?} it holds {:?}, the publisher had {had:?}: {said}", copy.rows));
            }
        }
        Ok(())
    }

    /// The network is well again, and nothing more happens: everyone comes to the last states.
    async fn settle(&mut self) -> Outcome {
        self.heal();
        self.world.hub.calm();
        let mut why = String::new();
        for _ in 0..1200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // A service that lost its name has no tables.
            for (service, table) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                self.note(service, table);
            }
            for reader in 0..self.readers.len() {
                self.read(reader)?;
            }
            match self.differs() {
                None => return Ok(()),
                Some(reason) => why = reason,
            }
        }
        Err(why)
    }

    fn differs(&self) -> Option<String> {
        for reader in &self.readers {
            let listens = |service: usize| {
                reader.selector.has_service(SERVICES[service])
                    || (self.listening[service] && reader.selector.has_service("shared"))
            };
            for (service, table) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let name = format!("{}/{}", SERVICES[service], TABLES[table]);
                let meant = listens(service) && reader.selector.has_table(TABLES[table]);
                let had = self.now.get(&name).filter(|_| meant).map(|at| &self.history[&(name.clone(), *at)]);
                let had = had.map(|rows| seen(rows, reader.topic));
                let copy = reader.held.iter().find(|(address, _)| address.to_string() == name);
                let holds = copy.filter(|(_, copy)| copy.at.is_some()).map(|(_, copy)| copy.rows.clone());
                if had != holds {
                    return Some(format!("{name} on n{}: {holds:?}, not {had:?}", reader.node));
                }
            }
        }
        None
    }
}

fn seen(rows: &Set, topic: Option<&str>) -> Set {
    let shown = |row: &&Row| topic.is_none() || row.2.is_none() || row.2.as_deref() == topic;
    rows.iter().filter(shown).cloned().collect()
}

fn run(seed: u64, ops: &[Op], mutant: Option<Mutant>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        let mut model = Model::new(seed, mutant);
        for op in ops {
            model.apply(op.clone()).await?;
        }
        model.settle().await
    })
}

fn runner(cases: u32, seed: u8) -> TestRunner {
    let config = Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

fn histories() -> impl Strategy<Value = (u64, Vec<Op>)> {
    (any::<u64>(), prop::collection::vec(op(), 1..60))
}

#[test]
fn inv09_every_state_shown_is_one_that_its_publisher_had() {
    let cases = std::env::var("BUSWAY_CASES").ok().and_then(|text| text.parse().ok());
    let mut runner = match cases {
        // As many as fit into a few seconds, always the same.
        None => runner(300, 7),
        Some(cases) => TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() }),
    };
    let outcome = runner.run(&histories(), |(seed, ops)| run(seed, &ops, None).map_err(TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Histories of one table in a hurry, followed from another node whose feed lags.
fn hurried() -> impl Strategy<Value = (u64, Vec<Op>)> {
    // Few rows of few values: much that changes changes back.
    let put = || prop::collection::vec((0..4i64, 0..2i64, 0..1usize), 1..4);
    let op = prop_oneof![
        8 => (prop::bool::weighted(0.2), put())
            .prop_map(|(fresh, put)| Op::Burst { service: 0, table: 0, fresh, put }),
        8 => (0..25u64).prop_map(|ms| Op::Wait { ms }),
        4 => Just(Op::Read { consumer: 0 }),
        1 => any::<bool>().prop_map(|on| Op::Storm { on }),
    ];
    (any::<u64>(), prop::collection::vec(op, 40..120)).prop_map(|(seed, mut ops)| {
        let begin = [
            Op::Burst { service: 0, table: 0, fresh: true, put: vec![] },
            Op::Subscribe { node: 2, selector: 0, topic: 0, mode: 0, narrow: false },
            Op::Wait { ms: 200 },
            Op::Storm { on: true },
        ];
        ops.splice(0..0, begin);
        (seed & !1, ops)
    })
}

/// Whether random histories show that the fault is there: the first that does ends the search.
fn is_caught(mutant: Mutant) -> bool {
    let mut runner = runner(1500, 9);
    (0..1500).any(|n| {
        let drawn = if n % 8 == 0 { histories().boxed() } else { hurried().boxed() };
        let (seed, ops) = drawn.new_tree(&mut runner).unwrap().current();
        run(seed, &ops, Some(mutant)).is_err()
    })
}

#[test]
fn inv09_a_table_in_a_hurry_is_followed_without_a_wrong_state() {
    let mut runner = runner(150, 3);
    let outcome = runner.run(&hurried(), |(seed, ops)| run(seed, &ops, None).map_err(TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_bus_that_does_not_see_gaps_is_caught() {
    assert!(is_caught(Mutant::NoGapCheck));
}

#[test]
fn a_bus_that_mixes_epochs_is_caught() {
    assert!(is_caught(Mutant::NoEpoch));
}

#[test]
fn a_bus_that_applies_overlaps_is_caught() {
    assert!(is_caught(Mutant::WrongOverlap));
}

#[test]
fn a_bus_that_misses_the_last_message_is_caught() {
    assert!(is_caught(Mutant::LostLast));
}
