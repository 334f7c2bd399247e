//! Nodes in one process, joined by a pipe that loses, doubles, delays and reorders, by seed: for tests.

use super::direct::{Direct, Hub};
use super::{Received, To, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a pipe does to the messages on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// How likely a message is lost: 0 never, 1 always.
    pub lose: f64,
    /// How likely it comes twice, each of them with its own delay.
    pub double: f64,
    /// How long it takes, evenly spread; messages of different delays overtake each other. An empty range: its start.
    pub delay: Range<Duration>,
}

impl Faults {
    /// None: every message comes once, at once, in order.
    pub const NONE: Self = Self { lose: 0.0, double: 0.0, delay: Duration::ZERO..Duration::ZERO };
}

impl Default for Faults {
    /// Bad, but not hopeless: one in ten is lost, one in ten comes twice, each takes up to 50 ms.
    fn default() -> Self {
        Self { lose: 0.1, double: 0.1, delay: Duration::ZERO..Duration::from_millis(50) }
    }
}

/// What became of the messages so far. One to three ends counts three times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// That came on their way, doubles not counted.
    pub sent: u64,
    /// Of those, lost by chance.
    pub lost: u64,
    /// Of those, lost because the way was cut.
    pub cut: u64,
    /// Of those, doubled.
    pub doubled: u64,
    /// Of them and their doubles, that took time.
    pub delayed: u64,
    /// Of them and their doubles, lost because who receives had no room.
    pub full: u64,
}

/// The way from one node to another, by their names.
type Way = (String, String);

#[derive(Debug)]
struct Weather {
    seed: u64,
    faults: Faults,
    cut: BTreeSet<Way>,
    chances: BTreeMap<Way, Chance>,
    counters: FaultCounters,
}

/// Where the ends of a faulty pipe in memory meet. Clones are the same hub.
///
/// What happens on the way from one node to another depends on the seed, their names and what was sent there before, on
/// nothing else; under `tokio::time::pause` on one thread a test runs the same way each time. Faults can be changed while
/// messages flow; a message already on its way comes when it was to come.
///
/// ```
/// use busway::bus::{Faults, FaultyHub, To, Transport};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let hub = FaultyHub::new(7, Faults::default());
/// let (a, b) = (hub.join("a"), hub.join("b"));
/// hub.cut("a", "b");
/// a.send(To::All, b"never comes".as_slice().into());
/// hub.calm();
/// a.send(To::All, b"comes".as_slice().into());
/// assert_eq!(&*b.receive().await.unwrap().message, b"comes".as_slice());
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct FaultyHub {
    hub: Hub,
    weather: Arc<Mutex<Weather>>,
}

impl FaultyHub {
    /// One over a new [`Hub`].
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::over(Hub::new(), seed, faults)
    }

    /// One over a hub that is there: with other limits, say. Ends that join that hub itself are met without faults only on
    /// what they send.
    #[must_use]
    pub fn over(hub: Hub, seed: u64, faults: Faults) -> Self {
        let (cut, chances, counters) = (BTreeSet::new(), BTreeMap::new(), FaultCounters::default());
        Self { hub, weather: Arc::new(Mutex::new(Weather { seed, faults, cut, chances, counters })) }
    }

    /// A new end, of the node of that name. There may be several of one name.
    #[must_use]
    pub fn join(&self, node: &str) -> Faulty {
        Faulty { end: self.hub.join(node), weather: Arc::clone(&self.weather) }
    }

    /// The hub beneath.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Other faults from now on. What is cut stays so.
    pub fn set(&self, faults: Faults) {
        lock(&self.weather).faults = faults;
    }

    /// No faults from now on, and nothing cut: what is on its way comes, and all that is sent.
    pub fn calm(&self) {
        let mut weather = lock(&self.weather);
        weather.faults = Faults::NONE;
        weather.cut.clear();
    }

    /// Nothing that node `from` sends reaches node `to`, until healed. The other direction is as it was.
    pub fn cut(&self, from: &str, to: &str) {
        lock(&self.weather).cut.insert((from.to_owned(), to.to_owned()));
    }

    /// What node `from` sends to node `to` gets through again.
    pub fn heal(&self, from: &str, to: &str) {
        lock(&self.weather).cut.remove(&(from.to_owned(), to.to_owned()));
    }

    /// What became of the messages so far.
    #[must_use]
    pub fn counters(&self) -> FaultCounters {
        lock(&self.weather).counters
    }
}

/// One end of a faulty pipe in memory. Dropping it closes it.
#[derive(Debug)]
pub struct Faulty {
    end: Direct,
    weather: Arc<Mutex<Weather>>,
}

impl Faulty {
    /// The end beneath: its name, what it lost, closing it.
    #[must_use]
    pub fn end(&self) -> &Direct {
        &self.end
    }
}

impl Transport for Faulty {
    fn send(&self, to: To<'_>, message: Arc<[u8]>) {
        let meant = self.end.meant(to, &message);
        if meant.is_empty() {
            return;
        }
        let mut weather = lock(&self.weather);
        let now = Instant::now();
        for end in meant {
            for delay in weather.copies(self.end.node(), &end.name).into_iter().flatten() {
                let late = !delay.is_zero();
                weather.counters.delayed += u64::from(late);
                let had_room = end.put(self.end.node(), &message, late.then(|| now + delay));
                weather.counters.full += u64::from(!had_room);
            }
        }
    }

    fn max_message(&self) -> usize {
        self.end.max_message()
    }

    fn receive(&self) -> Pin<Box<dyn Future<Output = Option<Received>> + Send + '_>> {
        self.end.receive()
    }
}

impl Weather {
    /// The delays of those that get through: of none, one or two.
    fn copies(&mut self, from: &str, to: &str) -> [Option<Duration>; 2] {
        let way = (from.to_owned(), to.to_owned());
        let cut = self.cut.contains(&way);
        let seed = self.seed;
        let chance = self.chances.entry(way).or_insert_with_key(|(from, to)| Chance::of(seed, from, to));
        // Always as many numbers a message: one fault that is changed leaves the others where they fell.
        let [lose, double] = [chance.unit(), chance.unit()];
        let delays = [chance.within(&self.faults.delay), chance.within(&self.faults.delay)];
        self.counters.sent += 1;
        if cut {
            self.counters.cut += 1;
        } else if lose < self.faults.lose {
            self.counters.lost += 1;
        } else if double < self.faults.double {
            self.counters.doubled += 1;
            return delays.map(Some);
        } else {
            return [Some(delays[0]), None];
        }
        [None, None]
    }
}

/// A sequence of numbers that look like chance and are the same for the same seed: splitmix64.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// The one of a way.
    fn of(seed: u64, from: &str, to: &str) -> Self {
        let mut chance = Self(seed);
        // A name has no byte 255: "a", "bc" is not "ab", "c".
        for byte in from.bytes().chain([255]).chain(to.bytes()) {
            chance.0 = chance.next() ^ u64::from(byte);
        }
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to just below 1.
    fn unit(&mut self) -> f64 {
        // The 53 bits that a float holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn within(&mut self, range: &Range<Duration>) -> Duration {
        let part = self.unit();
        range.start + range.end.saturating_sub(range.start).mul_f64(part)
    }
}

fn lock(weather: &Mutex<Weather>) -> MutexGuard<'_, Weather> {
    weather.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn send(end: &Faulty, to: &str, numbers: Range<u32>) {
        for number in numbers {
            end.send(To::Node(to), number.to_be_bytes().as_slice().into());
        }
    }

    fn number(received: &Received) -> u32 {
        u32::from_be_bytes((*received.message).try_into().unwrap())
    }

    /// All that comes within ten seconds, and when.
    async fn all(end: &Faulty) -> Vec<(u32, Duration)> {
        let (mut got, start) = (Vec::new(), Instant::now());
        while let Ok(received) = tokio::time::timeout(MS(10_000), end.receive()).await {
            got.push((number(&received.unwrap()), start.elapsed()));
        }
        got
    }

    async fn run(seed: u64) -> (Vec<(u32, Duration)>, FaultCounters) {
        let hub = FaultyHub::new(seed, Faults { lose: 0.2, double: 0.3, delay: MS(5)..MS(20) });
        let (a, b) = (hub.join("a"), hub.join("b"));
        send(&a, "b", 0..200);
        (all(&b).await, hub.counters())
    }

    #[tokio::test(start_paused = true)]
    async fn a_seed_says_what_happens() {
        let (first, counters) = run(7).await;
        assert_eq!((first.clone(), counters), run(7).await);
        assert_ne!(first, run(8).await.0);
        let came = u64::try_from(first.len()).unwrap();
        assert_eq!((counters.sent, counters.cut, counters.full), (200, 0, 0));
        assert!((20..60).contains(&counters.lost), "{counters:?}");
        assert!((30..70).contains(&counters.doubled), "{counters:?}");
        assert_eq!(came, counters.sent - counters.lost + counters.doubled);
        assert_eq!(came, counters.delayed);
        assert!(!first.is_sorted_by_key(|(number, _)| *number), "some overtake others");
        // The clock of timers goes in whole milliseconds.
        assert!(first.iter().all(|(_, after)| (MS(5)..=MS(21)).contains(after)), "{first:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_way_has_its_own_chances() {
        let hub = FaultyHub::new(7, Faults { lose: 0.5, ..Faults::NONE });
        let (a, b, c) = (hub.join("a"), hub.join("b"), hub.join("c"));
        send(&a, "b", 0..50);
        send(&a, "c", 0..50);
        let (to_b, to_c) = (all(&b).await, all(&c).await);
        assert_ne!(to_b, to_c);
        // What goes elsewhere changes nothing.
        let hub = FaultyHub::new(7, Faults { lose: 0.5, ..Faults::NONE });
        let (a, b) = (hub.join("a"), hub.join("b"));
        send(&a, "b", 0..50);
        assert_eq!(all(&b).await, to_b);
        let b_to_a = Chance::of(7, "b", "a").next();
        assert_ne!(Chance::of(7, "a", "b").next(), b_to_a);
        assert_ne!(Chance::of(7, "a", "bc").next(), Chance::of(7, "ab", "c").next());
    }

    #[tokio::test(start_paused = true)]
    async fn all_faults_can_be_turned_off_and_on() {
        let hub = FaultyHub::new(7, Faults { lose: 1.0, ..Faults::NONE });
        let (a, b) = (hub.join("a"), hub.join("b"));
        send(&a, "b", 0..10);
        hub.set(Faults { delay: MS(50)..MS(50), ..Faults::NONE });
        send(&a, "b", 10..11);
        hub.cut("a", "b");
        hub.calm();
        // What was on its way still comes when it was to come: after what is sent now.
        send(&a, "b", 11..14);
        let numbers: Vec<u32> = all(&b).await.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [11, 12, 13, 10]);
        hub.set(Faults { double: 1.0, ..Faults::NONE });
        send(&a, "b", 14..15);
        let numbers: Vec<u32> = all(&b).await.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [14, 14]);
        let counters = FaultCounters { sent: 15, lost: 10, doubled: 1, delayed: 1, ..FaultCounters::default() };
        assert_eq!(hub.counters(), counters);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_one_way_and_heals() {
        let hub = FaultyHub::new(7, Faults::NONE);
        let (a, b, c) = (hub.join("a"), hub.join("b"), hub.join("c"));
        hub.cut("a", "b");
        a.send(To::All, 1_u32.to_be_bytes().as_slice().into());
        send(&b, "a", 2..3);
        assert!(b.receive().now_or_never().is_none());
        assert_eq!(number(&c.receive().await.unwrap()), 1);
        assert_eq!(number(&a.receive().await.unwrap()), 2);
        hub.heal("a", "b");
        send(&a, "b", 3..4);
        assert_eq!(number(&b.receive().await.unwrap()), 3);
        assert_eq!(hub.counters().cut, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_is_bounded_too() {
        let hub = Hub::with(crate::bus::Bounds { messages: 3, bytes: 1000 }, 100);
        let hub = FaultyHub::over(hub, 7, Faults { delay: MS(10)..MS(20), ..Faults::NONE });
        let (a, b) = (hub.join("a"), hub.join("b"));
        send(&a, "b", 0..5);
        assert_eq!(all(&b).await.len(), 3);
        assert_eq!((hub.counters().full, b.end().lost()), (2, 2));
        b.end().close();
        assert_eq!(b.receive().now_or_never(), Some(None));
    }
}
