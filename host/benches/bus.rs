//! The bus beside bare tokio channels: one small change to many subscribers, calls, memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use busway::bus::{Address, Bus, Hub, Message, Selector, Service, Timing};
use busway::table::{Applied, Shape};
use busway_plugin_api::table::Batches;
use measure::{judged, median, rounds};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, mpsc, oneshot};

fn schema() -> Arc<Schema> {
    let field = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![field("id"), field("v")]))
}

fn batches(rows: impl Iterator<Item = (i64, i64)>) -> Batches {
    let (ids, values): (Vec<i64>, Vec<i64>) = rows.unzip();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(Int64Array::from(values))];
    Batches::from(RecordBatch::try_new(schema(), columns).unwrap())
}

fn nothing() -> Batches {
    let schema = Arc::new(schema().project(&[0]).unwrap());
    let ids: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
    Batches::from(RecordBatch::try_new(schema, vec![ids]).unwrap())
}

/// A keyed table of 1,000 rows.
fn published(bus: &Bus) -> Service {
    let service = bus.register("bench").unwrap();
    let shape = Shape::new(schema(), vec!["id".to_owned()]).unwrap();
    service.snapshot("t", shape, &batches((0..1000).map(|n| (n, 0))), 0).unwrap();
    service
}

/// What the subscribers measure: how long each message took, and how many came.
#[derive(Default)]
struct Tally {
    sent: Mutex<Option<Instant>>,
    took: Mutex<Vec<f64>>,
    came: AtomicUsize,
    all: Notify,
}

impl Tally {
    fn note(&self, sampled: bool, wanted: usize) {
        if sampled {
            let took = self.sent.lock().unwrap().unwrap().elapsed().as_secs_f64();
            self.took.lock().unwrap().push(took);
        }
        if (self.came.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(wanted) {
            self.all.notify_one();
        }
    }
}

/// One way of telling many.
struct Run {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Publishes and waits for all, again and again: once for latencies, once in bursts of 16 for the rate.
async fn run(subscribers: usize, tally: &Tally, mut publish: impl FnMut()) -> Run {
    let bursts = (2_000_000 / subscribers / 16).clamp(3, 400);
    let singles = (400_000 / subscribers).clamp(10, 2000);
    for _ in 0..singles {
        *tally.sent.lock().unwrap() = Some(Instant::now());
        publish();
        tally.all.notified().await;
    }
    let mut took = std::mem::take(&mut *tally.took.lock().unwrap());
    took.sort_by(f64::total_cmp);
    let begun = Instant::now();
    for _ in 0..bursts {
        let before = tally.came.load(Ordering::Acquire);
        (0..16).for_each(|_| publish());
        while tally.came.load(Ordering::Acquire) < before + 16 * subscribers {
            tally.all.notified().await;
        }
    }
    let rate = (bursts * 16 * subscribers) as f64 / begun.elapsed().as_secs_f64();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    Run { rate, p50: at(0.5), p99: at(0.99) }
}

async fn over_channels(subscribers: usize) -> Run {
    let bus = Bus::default();
    // The same change of the same table, which nobody follows there.
    let service = published(&bus);
    let (none, mut value) = (nothing(), 1);
    let tally = Arc::new(Tally::default());
    let sampled = subscribers.div_ceil(100);
    let senders: Vec<_> = (0..subscribers)
        .map(|n| {
            let (sender, mut receiver) = mpsc::channel::<Message>(64);
            let tally = Arc::clone(&tally);
            tokio::spawn(async move {
                while receiver.recv().await.is_some() {
                    tally.note(n % sampled == 0, subscribers);
                }
            });
            sender
        })
        .collect();
    run(subscribers, &tally, || {
        value += 1;
        let changed = service.delta("t", &batches([(value % 1000, value)].into_iter()), &none, 0).unwrap();
        let Applied::Stepped(step) = changed else { unreachable!() };
        senders.iter().for_each(|sender| sender.try_send(Message::Step(Arc::clone(&step))).unwrap());
    })
    .await
}

async fn over_bus(subscribers: usize) -> Run {
    let bus = Bus::default();
    let service = published(&bus);
    let address: Address = "bench/t".parse().unwrap();
    let tally = Arc::new(Tally::default());
    let sampled = subscribers.div_ceil(100);
    let tasks: Vec<_> = (0..subscribers)
        .map(|n| {
            let (mut subscription, tally) = (bus.subscribe(&address), Arc::clone(&tally));
            assert!(subscription.try_next().is_some());
            tokio::spawn(async move {
                loop {
                    let message = subscription.next().await.message;
                    assert!(matches!(message, Message::Step(_)));
                    tally.note(n % sampled == 0, subscribers);
                }
            })
        })
        .collect();
    let (none, mut value) = (nothing(), 1);
    let run = run(subscribers, &tally, || {
        value += 1;
        service.delta("t", &batches([(value % 1000, value)].into_iter()), &none, 0).unwrap();
    })
    .await;
    tasks.iter().for_each(|task| task.abort());
    run
}

async fn fan_out() {
    println!("A change of one row of 1,000 to many subscribers, beside a tokio mpsc channel for each");
    for (subscribers, target) in [(1, 0.6), (100, 0.7), (10_000, 0.7)] {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds(5) {
            theirs.push(over_channels(subscribers).await);
            ours.push(over_bus(subscribers).await);
            ratios.push(ours[ours.len() - 1].rate / theirs[theirs.len() - 1].rate);
        }
        let middle = |runs: &[Run], of: fn(&Run) -> f64| median(runs.iter().map(of).collect());
        let show = |runs: &[Run]| {
            format!(
                "p50 {:.0} us, p99 {:.0} us, {:.2} M deliveries/s",
                middle(runs, |r| r.p50) * 1e6,
                middle(runs, |r| r.p99) * 1e6,
                middle(runs, |r| r.rate) / 1e6
            )
        };
        let ratio = median(ratios);
        println!("  {subscribers:>6} subscribers: bus {}", show(&ours));
        println!("  {:>6}              channels {}", "", show(&theirs));
        println!("  {:>6}              {}", "", judged(ratio, ratio >= target, &format!("at least {target}x")));
    }
}

async fn calls() {
    println!("Calls of a service of this node, beside a channel to a task that answers over a oneshot");
    let bus = Bus::default();
    let service = bus.register("bench").unwrap();
    service.method("echo", "", |call| async move { Ok(call.args) });
    let (sender, mut receiver) = mpsc::channel::<(serde_json::Value, oneshot::Sender<serde_json::Value>)>(64);
    tokio::spawn(async move {
        while let Some((args, answer)) = receiver.recv().await {
            answer.send(args).unwrap();
        }
    });
    let count = 20_000;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds(5) {
        let begun = Instant::now();
        for n in 0..count {
            bus.call("bench", "echo", json!({"n": n})).await.unwrap();
        }
        ours.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for n in 0..count {
            let (answer, answered) = oneshot::channel();
            sender.send((json!({"n": n}), answer)).await.unwrap();
            answered.await.unwrap();
        }
        theirs.push(begun.elapsed().as_secs_f64());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let rate = |seconds: f64| f64::from(count) / seconds / 1e3;
    println!("  bus {:.0} k/s, channels {:.0} k/s: {:.2}x", rate(ours), rate(theirs), theirs / ours);
}

/// Bytes of this process's memory that are in use by it.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

fn memory() {
    println!("Memory, as the process's resident part grows");
    let count = if rounds(2) == 1 { 1000 } else { 50_000 };
    let bus = Bus::default();
    let _service = published(&bus);
    let address: Address = "bench/t".parse().unwrap();
    let before = resident();
    let subscriptions: Vec<_> = (0..count)
        .map(|_| {
            let mut subscription = bus.subscribe(&address);
            subscription.try_next().unwrap();
            subscription
        })
        .collect();
    let each = (resident() - before) / count as f64;
    println!(
        "  an idle subscription: {each:.0} bytes ({})",
        judged(each / 2048.0, each <= 2048.0, "at most 1x of 2 KiB")
    );
    // Those stay: their memory must not be what the services get.
    let before = resident();
    let services: Vec<Service> = (0..count).map(|n| bus.register(&format!("service-{n}")).unwrap()).collect();
    println!("  a service: {:.0} bytes", (resident() - before) / count as f64);
    drop((subscriptions, services));
}

fn subscribing() {
    println!("Subscribing and leaving, beside so many services and subscriptions");
    for count in [10, 1000, 10_000] {
        let bus = Bus::default();
        let services: Vec<Service> = (0..count).map(|n| bus.register(&format!("service-{n}")).unwrap()).collect();
        let all: Vec<_> =
            (0..count).map(|n| bus.subscribe(format!("service-{n}/t").parse::<Address>().unwrap())).collect();
        let address: Address = "service-3/t".parse().unwrap();
        let begun = Instant::now();
        let times = 100;
        (0..times).for_each(|_| drop(bus.subscribe(&address)));
        println!("  {count:>6}: {:.1} us", begun.elapsed().as_secs_f64() / f64::from(times) * 1e6);
        drop((services, all));
    }
}

/// As `GET /v2/services` does it: each service's tables.
fn listed(bus: &Bus) -> usize {
    let names = bus.services(true);
    names.iter().map(|name| bus.slots_of(name).iter().filter(|slot| slot.is_there()).count()).sum()
}

/// Many services of two small tables each, with one subscriber to all of them; joined with a second node if asked, which
/// learns of each and follows none.
async fn crowd(count: usize, joined: bool) {
    let bus = Bus::new("a");
    let (other, hub) = (Bus::new("b"), Hub::default());
    if joined {
        bus.join(Arc::new(hub.join("a")), Timing::default()).unwrap();
        other.join(Arc::new(hub.join("b")), Timing::default()).unwrap();
    }
    let mut all = bus.subscribe("#/#".parse::<Selector>().unwrap());
    let shape = Shape::new(schema(), vec!["id".to_owned()]).unwrap();
    let before = resident();
    let begun = Instant::now();
    let services: Vec<Service> = (0..count).map(|n| bus.register(&format!("service-{n}")).unwrap()).collect();
    let registered = begun.elapsed().as_secs_f64();
    for service in &services {
        for table in ["t", "u"] {
            service.snapshot(table, shape.clone(), &batches([(1, 1)].into_iter()), 0).unwrap();
        }
    }
    let published = begun.elapsed().as_secs_f64() - registered;
    let heard = Instant::now();
    let mut came = 0;
    while all.try_next().is_some() {
        came += 1;
    }
    assert_eq!(came, 2 * count);
    let heard = heard.elapsed().as_secs_f64();
    let learned = if joined {
        let knows = || other.services(false).len() == count;
        while !knows() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        format!(", known on the other node {:.0} ms after the first began", begun.elapsed().as_secs_f64() * 1e3)
    } else {
        String::new()
    };
    let each = (resident() - before) / count as f64;
    let list = Instant::now();
    assert_eq!(listed(&bus), 2 * count);
    let list = list.elapsed().as_secs_f64();
    let gone = Instant::now();
    drop(services);
    while all.try_next().is_some() {}
    let gone = gone.elapsed().as_secs_f64();
    let us = |seconds: f64| seconds * 1e6 / count as f64;
    println!(
        "  {count:>6}{}: register {:.1} us, publish {:.1} us, hear {:.1} us, list {:.2} us, leave {:.1} us, {each:.0} bytes \
         each{learned}",
        if joined { ", joined" } else { "" },
        us(registered),
        us(published),
        us(heard),
        us(list),
        us(gone)
    );
}

async fn crowds() {
    println!("So many services of two tables each and one subscriber to all: the time of each");
    let counts: &[usize] = if rounds(2) == 1 { &[100] } else { &[1000, 3000, 10_000] };
    for joined in [false, true] {
        for count in counts {
            crowd(*count, joined).await;
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == "crowds") {
        return runtime.block_on(async { tokio::spawn(crowds()).await.unwrap() });
    }
    // First: later it would be given what others left.
    memory();
    runtime.block_on(async {
        // On a worker, as the rest.
        tokio::spawn(async {
            fan_out().await;
            calls().await;
            crowds().await;
        })
        .await
        .unwrap();
    });
    drop(runtime);
    subscribing();
}
