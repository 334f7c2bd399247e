//! A call over the contract beside a native `dyn` call.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod measure;
#[path = "../../tests/fixtures/bench-driver/src/steady.rs"]
#[allow(dead_code)]
mod steady;

use busway::plugin::{Call, CallError, HostCalls, load};
use busway_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use busway_plugin_api::abi::abi_stable::std_types::{RStr, RVec};
use busway_plugin_api::abi::object::Host_TO;
use busway_plugin_api::abi::{Host, HostObject, PollReply, Reply, Status, TableUpdate};
use busway_plugin_api::message::{
    CallHead, ExecuteRequest, Headed, LogRecord, OpenRequest, PollRequest, UpdateHeader, decode, encode,
};
use busway_plugin_api::{Error, Source, Update};
use measure::{judged, median, medians, rounds, time};
use serde_json::Map;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steady::Steady;

/// Short rounds, and many: most of them are not interrupted, however busy the machine.
const ROUNDS: usize = 1001;
const HEAD: CallHead = CallHead { call: 7, deadline_ms: 30_000 };

fn main() {
    let driver = load(&measure::driver()).unwrap();
    let request = OpenRequest { datasource: "bench".to_owned(), call: 1, generation: 1, options: Map::new() };
    let source = driver.open(&request, Arc::new(Flag(AtomicBool::new(false)))).unwrap();
    cancelled(source.as_ref());
    object();
    poll(source.as_ref());
}

/// The cheapest call there is: a loaded driver asks its host whether it was cancelled.
fn cancelled(source: &dyn busway::plugin::Source) {
    const CALLS: u32 = 100_000;
    let request = ExecuteRequest {
        action: "cancelled".to_owned(),
        named: Map::from_iter([("calls".to_owned(), CALLS.into())]),
        ..ExecuteRequest::default()
    };
    let (mut contract, mut native) = (Vec::new(), Vec::new());
    for _ in 0..rounds(ROUNDS) {
        // Interleaved by the driver.
        let times = source.execute(Call { head: HEAD, body: &request }).unwrap();
        contract.push(times["contract"].as_f64().unwrap());
        native.push(times["native"].as_f64().unwrap());
    }
    let (contract, native) = (median(contract), median(native));
    println!("Context::cancelled in a loaded driver, {CALLS} calls a round");
    println!("  over the contract {contract:.2} ns, native dyn {native:.2} ns: {}", ratio(contract, native));
}

/// The contract's trait object alone, without a library: what a call through it costs by itself.
fn object() {
    const CALLS: u32 = 100_000;
    let contract: HostObject = Host_TO::from_value(Bare::default(), TD_Opaque);
    let native: Box<dyn Native> = Box::new(Bare::default());
    let (contract, native) = (black_box(contract), black_box(native));
    let [contract, native] = medians(
        ROUNDS,
        [&mut || time(|| (0..CALLS).for_each(|_| _ = black_box(black_box(&contract).cancelled(7)))).0, &mut || {
            time(|| (0..CALLS).for_each(|_| _ = black_box(black_box(&native).cancelled(7)))).0
        }],
    )
    .map(|seconds| seconds * 1e9 / f64::from(CALLS));
    println!("Host::cancelled of the bare trait object, no library, {CALLS} calls a round");
    println!("  the contract's {contract:.2} ns, native dyn {native:.2} ns: {}", ratio(contract, native));
}

/// A call that carries something: a poll that answers one "unchanged". Beside it the same source as a `Box<dyn>`, once
/// with the same messages written and read, and once with arguments and results handed over as they are.
fn poll(source: &dyn busway::plugin::Source) {
    const CALLS: u32 = 1_000;
    let request = PollRequest::default();
    let messages: Box<dyn Messages> = Box::new(Texts(Steady::default()));
    let plain: Box<dyn Source> = Box::new(Steady::default());
    let (messages, plain) = (black_box(messages), black_box(plain));
    let contract = || source.poll(Call { head: HEAD, body: black_box(&request) }).unwrap();
    let messages = || {
        let asked = encode(&Headed { head: HEAD, body: black_box(&request).clone() });
        let answered = messages.poll(&asked);
        assert_eq!(answered.reply.status, Status::OK);
        let import = |update: TableUpdate| {
            black_box(decode::<UpdateHeader>(&update.header)).unwrap();
            Update::import(update).unwrap()
        };
        answered.updates.into_iter().map(import).collect::<Vec<_>>()
    };
    let plain = || plain.poll(black_box(&request)).unwrap();
    let round = |poll: &dyn Fn() -> Vec<Update>| time(|| (0..CALLS).for_each(|_| drop(black_box(poll())))).0;
    let [contract, messages, plain] =
        medians(ROUNDS, [&mut || round(&contract), &mut || round(&messages), &mut || round(&plain)])
            .map(|seconds| seconds * 1e9 / f64::from(CALLS));
    println!("Source::poll of a loaded driver, answering one \"unchanged\", {CALLS} calls a round");
    println!("  over the contract {contract:.0} ns");
    println!("  native dyn, same messages {messages:.0} ns: {}", ratio(contract, messages));
    println!(
        "  native dyn, no messages {plain:.0} ns: {:.1}x (no target: nothing is written or read)",
        contract / plain
    );
}

fn ratio(contract: f64, native: f64) -> String {
    let ratio = contract / native;
    judged(ratio, ratio <= 1.3, "at most 1.3x, aim 1.15x")
}

/// The host's part.
struct Flag(AtomicBool);

impl HostCalls for Flag {
    fn publish(&self, _: Update) -> Result<(), CallError> {
        Ok(())
    }
    fn request_poll(&self, _: PollRequest) -> Result<(), CallError> {
        Ok(())
    }
    fn status(&self, _: String) -> Status {
        Status::OK
    }
    fn log(&self, _: LogRecord) -> Status {
        Status::OK
    }
    fn cancelled(&self, _: u64) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One body behind both kinds of trait object.
#[derive(Clone, Default)]
struct Bare(Arc<AtomicBool>);

trait Native: Send + Sync {
    fn cancelled(&self, call: u64) -> bool;
}

impl Native for Bare {
    fn cancelled(&self, _: u64) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Host for Bare {
    fn publish(&self, _: TableUpdate, _: u64) -> Reply {
        Reply::ok()
    }
    fn emit(&self, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
    fn call(&self, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
    fn request_poll(&self, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
    fn status(&self, _: RStr<'_>) -> Status {
        Status::OK
    }
    fn log(&self, _: RStr<'_>) -> Status {
        Status::OK
    }
    fn cancelled(&self, _: u64) -> bool {
        self.0.load(Ordering::Acquire)
    }
    fn control(&self, _: RStr<'_>, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
}

/// The source behind texts, as the SDK serves it, without the contract's trait object.
trait Messages: Send + Sync {
    fn poll(&self, request: &str) -> PollReply;
}

struct Texts(Steady);

impl Messages for Texts {
    fn poll(&self, request: &str) -> PollReply {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Headed { head, body } = decode::<Headed<PollRequest>>(request).unwrap();
            black_box(head);
            let updates = self.0.poll(&body)?;
            updates.into_iter().map(|update| Ok(update.export()?)).collect::<Result<RVec<_>, Error>>()
        }));
        PollReply { reply: Reply::ok(), updates: polled.unwrap().unwrap() }
    }
}
