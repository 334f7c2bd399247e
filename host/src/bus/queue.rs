//! What waits for a subscriber: bounded, and never in the publisher's way.
//!
//! A queue that is full is emptied, and its tables are *late*: when the subscriber comes, each is served one step that is
//! the sum of those it missed, from the table's ring, or a snapshot when the ring has lost them.

use super::resync::PAUSE;
use super::slot::Slot;
use super::subscription::Delivery;
use super::table_view::TableView;
use crate::table::{Epoch, Step};
use futures_util::task::AtomicWaker;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use tokio::time::Instant;
use uuid::Uuid;

/// Where a table or its subscriber stands: the epoch, and the state's number in it.
pub type Position = (Epoch, u64);

/// Where one stands whose copy leads nowhere.
const NOWHERE: Position = (Epoch(0), 0);

/// What a subscriber hears of a table.
#[derive(Debug, Clone)]
pub enum Message {
    /// The table's whole state: the first message, after a table's return, a change of its columns, or when the
    /// subscriber fell too far behind. It replaces what was held.
    Snapshot(Arc<TableView>),
    /// A step from the state that the last message led to.
    Step(Arc<Step>),
    /// The table is no more. It may come back, as a snapshot.
    Gone,
}

/// How a subscription is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A snapshot, then each step.
    #[default]
    Steps,
    /// The present state whenever it changed; what lies between two looks is skipped.
    States,
    /// Nothing is kept for it: when it asks, one step that is the sum of all since, or a snapshot.
    Pull,
}

/// How much may wait for one subscription, over all its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub messages: usize,
    /// Bytes of the steps among them.
    pub bytes: usize,
}

impl Default for Bounds {
    /// 128 messages, 4 MiB: half of what a table's ring keeps, so that one who overflows is mostly served a step.
    fn default() -> Self {
        Self { messages: 128, bytes: 4 << 20 }
    }
}

/// What became of a subscription's messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that wait now.
    pub held: usize,
    /// Bytes of the steps among them.
    pub bytes: usize,
    /// Tables that are late now.
    pub late: usize,
    /// Steps that were not delivered one by one.
    pub dropped: u64,
    /// Sums of steps delivered in their place.
    pub coalesced: u64,
    /// Snapshots delivered in their place, or because somebody asked.
    pub resynced: u64,
}

/// One table's place in a queue.
#[derive(Debug)]
struct Feed {
    number: u32,
    /// None: it is no more.
    slot: Option<Arc<Slot>>,
    /// Where the subscriber stands.
    at: Option<Position>,
    late: bool,
    /// When the subscriber may have its next snapshot for the asking.
    due: Option<Instant>,
    /// It has left the bus or the subscription: one last word, then the place goes.
    leaving: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whose, how many bytes of its own, and what.
    messages: VecDeque<(u32, usize, Message)>,
    bytes: usize,
    /// In the order of their numbers; those that are no more go when they are half.
    feeds: Vec<Feed>,
    ended: usize,
    /// Feeds by their tables' places (addresses in memory, which stay theirs while the feed is there), when they are many.
    index: HashMap<usize, u32>,
    /// Feeds to be caught up, in the order in which they became late.
    late: VecDeque<u32>,
    /// Feeds that have a last word to say, and perhaps some that had one.
    leavers: VecDeque<u32>,
    leaving: usize,
    /// Feeds that are to be resynced when that is due, as whoever comes finds out.
    asked: VecDeque<(Instant, u32)>,
    next: u32,
    dropped: u64,
    coalesced: u64,
    resynced: u64,
}

#[derive(Debug)]
pub(crate) struct Queue {
    id: Uuid,
    mode: Mode,
    bounds: Bounds,
    waiting: Mutex<Waiting>,
    /// There is one who waits: the subscriber.
    waker: AtomicWaker,
}

/// What is to be done for a late table.
pub(crate) enum CatchUp {
    Message(Message),
    /// The sum of these.
    Sum(Vec<Arc<Step>>),
    Nothing,
}

impl Message {
    /// What it keeps in memory by itself. Costs a look at each column: asked for once, however many it goes to.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Step(step) => step.bytes(),
            // Shared with the table.
            Self::Snapshot(_) | Self::Gone => 0,
        }
    }
}

/// So many feeds are looked through; more are found by their index.
const FEW: usize = 8;

fn place(slot: &Slot) -> usize {
    std::ptr::from_ref(slot).addr()
}

impl Feed {
    fn is_of(&self, slot: &Slot) -> bool {
        self.slot.as_ref().is_some_and(|own| std::ptr::eq(Arc::as_ptr(own), slot))
    }
}

impl Waiting {
    fn feed(&mut self, number: u32) -> Option<&mut Feed> {
        // Numbers only grow.
        let at = self.feeds.binary_search_by_key(&number, |feed| feed.number).ok()?;
        self.feeds.get_mut(at).filter(|feed| feed.slot.is_some())
    }

    /// The feed of a place, leaving or not.
    fn feed_of(&mut self, slot: &Slot) -> Option<&mut Feed> {
        if self.feeds.len() <= FEW {
            return self.feeds.iter_mut().find(|feed| feed.is_of(slot));
        }
        let number = *self.index.get(&place(slot))?;
        self.feed(number)
    }

    fn begin(&mut self, slot: &Arc<Slot>, at: Option<Position>) -> u32 {
        let number = self.next;
        self.next += 1;
        let slot = Some(Arc::clone(slot));
        self.feeds.push(Feed { number, slot, at, late: false, due: None, leaving: false });
        if self.feeds.len() > FEW {
            // All of them when it begins, then each.
            let from = if self.index.is_empty() { 0 } else { self.feeds.len() - 1 };
            let new = self.feeds[from..].iter();
            self.index.extend(new.filter_map(|feed| Some((place(feed.slot.as_ref()?), feed.number))));
        }
        number
    }

    /// The next feed that has a last word to say ends: its table, and where its subscriber stood.
    fn end(&mut self) -> Option<(Arc<Slot>, Option<Position>)> {
        while let Some(number) = self.leavers.pop_front() {
            let Some(feed) = self.feed(number).filter(|feed| feed.leaving) else { continue };
            let (slot, at) = (feed.slot.take()?, feed.at);
            self.leaving -= 1;
            self.ended += 1;
            self.index.remove(&place(&slot));
            if self.ended * 2 > self.feeds.len() {
                self.feeds.retain(|feed| feed.slot.is_some());
                self.ended = 0;
                if self.feeds.len() <= FEW {
                    self.index = HashMap::new();
                    self.feeds.shrink_to(FEW);
                }
            }
            return Some((slot, at));
        }
        None
    }

    fn mark_late(&mut self, number: u32) {
        if let Some(feed) = self.feed(number)
            && !feed.late
        {
            feed.late = true;
            self.late.push_back(number);
        }
    }

    fn forget(&mut self, number: u32) {
        self.messages.retain(|(of, ..)| *of != number);
        self.bytes = self.messages.iter().map(|(_, bytes, _)| bytes).sum();
    }

    /// The subscriber's copy is worth nothing: the next word is a snapshot.
    fn distrust(&mut self, number: u32) {
        self.forget(number);
        if let Some(feed) = self.feed(number) {
            // Something to replace, but no place from which a step could lead.
            feed.at = feed.at.and(Some(NOWHERE));
        }
        self.mark_late(number);
    }

    /// All that waits goes; whose it was is late.
    fn overflow(&mut self) {
        let all = std::mem::take(&mut self.messages);
        self.bytes = 0;
        for (number, _, message) in all {
            self.dropped += u64::from(matches!(message, Message::Step(_)));
            self.mark_late(number);
        }
    }
}

impl Queue {
    pub(crate) fn new(id: Uuid, mode: Mode, bounds: Bounds) -> Self {
        Self { id, mode, bounds, waiting: Mutex::default(), waker: AtomicWaker::new() }
    }

    /// The subscription's identity.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// A place for a table. The caller holds the table still. `None`: it has one already.
    pub(crate) fn join(&self, slot: &Arc<Slot>, at: Option<Position>) -> Option<u32> {
        let mut waiting = self.waiting();
        if let Some(feed) = waiting.feed_of(slot) {
            // It left and came back before anybody looked.
            let (left, number) = (std::mem::take(&mut feed.leaving), feed.number);
            waiting.leaving -= usize::from(left);
            return left.then_some(number);
        }
        Some(waiting.begin(slot, at))
    }

    /// The table is the subscription's no longer.
    pub(crate) fn leave(&self, number: u32) {
        let mut waiting = self.waiting();
        waiting.forget(number);
        if let Some(feed) = waiting.feed(number).filter(|feed| !feed.leaving) {
            feed.leaving = true;
            waiting.leaving += 1;
            waiting.leavers.push_back(number);
            waiting.mark_late(number);
        }
        drop(waiting);
        self.waker.wake();
    }

    /// Never blocks: a full queue is emptied, and its tables are late.
    /// `bytes`: the message's.
    pub(crate) fn push(&self, number: u32, message: Message, bytes: usize) {
        let mut waiting = self.waiting();
        let step = matches!(message, Message::Step(_));
        let Some(feed) = waiting.feed(number) else { return };
        if !step {
            // What it held is moot, even if what it holds next stands at the same place.
            feed.at = feed.at.and(Some(NOWHERE));
        }
        if feed.late {
            waiting.dropped += u64::from(step && self.mode == Mode::Steps);
            return;
        }
        if self.mode == Mode::Steps {
            if !step {
                // A whole state, or none, makes all before it moot.
                waiting.forget(number);
            }
            waiting.bytes += bytes;
            waiting.messages.push_back((number, bytes, message));
            if waiting.messages.len() > self.bounds.messages || waiting.bytes > self.bounds.bytes {
                waiting.overflow();
            }
        } else {
            waiting.mark_late(number);
        }
        drop(waiting);
        self.waker.wake();
    }

    /// The subscriber's copy is not to be trusted: the next word is a snapshot. `slot`: of that table only.
    pub(crate) fn resync(&self, slot: Option<&Slot>) {
        let mut waiting = self.waiting();
        let numbers: Vec<u32> = match slot {
            Some(slot) => waiting.feed_of(slot).map(|feed| feed.number).into_iter().collect(),
            None => waiting.feeds.iter().map(|feed| feed.number).collect(),
        };
        numbers.into_iter().for_each(|number| waiting.distrust(number));
        drop(waiting);
        self.waker.wake();
    }

    /// When a snapshot of a table that its subscriber asks for is due; `None`: one is on its way already.
    pub(crate) fn resync_due(&self, slot: &Slot, now: Instant) -> Option<Instant> {
        let mut waiting = self.waiting();
        let feed = waiting.feed_of(slot).filter(|feed| !feed.leaving)?;
        let when = feed.due.map_or(now, |due| due.max(now));
        if feed.due.is_some_and(|due| due > now + PAUSE) {
            return None;
        }
        feed.due = Some(when + PAUSE);
        Some(when)
    }

    /// As [`resync`](Self::resync) of one table, when the subscriber comes at that time or later: where nothing can ring.
    pub(crate) fn resync_at(&self, slot: &Slot, when: Instant) {
        let mut waiting = self.waiting();
        if let Some(number) = waiting.feed_of(slot).map(|feed| feed.number) {
            waiting.asked.push_back((when, number));
        }
    }

    /// What was asked for and is due now.
    fn asked(&self) {
        let mut waiting = self.waiting();
        if waiting.asked.is_empty() {
            return;
        }
        let now = Instant::now();
        // Each is due one pause after it was asked for: the first is the first.
        while let Some((_, number)) = waiting.asked.front().copied().filter(|(when, _)| *when <= now) {
            waiting.asked.pop_front();
            waiting.distrust(number);
        }
    }

    /// The next message and whose it is, if there is one.
    pub(crate) fn pop(&self) -> Option<Delivery> {
        self.pop_at().map(|(delivery, _)| delivery)
    }

    fn pop_at(&self) -> Option<(Delivery, Arc<Slot>)> {
        self.asked();
        loop {
            let mut waiting = self.waiting();
            // First the last words: the table may be here again already, in another place.
            if waiting.leaving > 0
                && let Some((slot, at)) = waiting.end()
            {
                if at.is_some() {
                    return Some((Delivery { address: Arc::clone(slot.address()), message: Message::Gone }, slot));
                }
                continue;
            }
            if let Some((number, bytes, message)) = waiting.messages.pop_front() {
                waiting.bytes -= bytes;
                let Some(feed) = waiting.feed(number) else { continue };
                feed.at = position(&message);
                let Some(slot) = feed.slot.clone() else { continue };
                return Some((Delivery { address: Arc::clone(slot.address()), message }, slot));
            }
            let number = waiting.late.pop_front()?;
            let Some(slot) = waiting.feed(number).and_then(|feed| feed.slot.clone()) else { continue };
            drop(waiting);
            if let Some(message) = self.catch_up(&slot, number) {
                return Some((Delivery { address: Arc::clone(slot.address()), message }, slot));
            }
        }
    }

    fn catch_up(&self, slot: &Slot, number: u32) -> Option<Message> {
        match slot.catch_up(self, number, self.mode == Mode::States) {
            CatchUp::Message(message) => {
                self.waiting().resynced +=
                    u64::from(matches!(message, Message::Snapshot(_)) && self.mode == Mode::Steps);
                Some(message)
            }
            CatchUp::Sum(steps) => match slot.sum(&steps) {
                Some(step) => {
                    self.waiting().coalesced += 1;
                    Some(Message::Step(Arc::new(step)))
                }
                None => {
                    self.resync(Some(slot));
                    None
                }
            },
            CatchUp::Nothing => None,
        }
    }

    /// Puts a late feed in line again; the caller holds the table still, says where it stands now, and is told where the
    /// subscriber stands.
    pub(crate) fn on_time(&self, number: u32, now: Option<Position>) -> Option<Position> {
        let mut waiting = self.waiting();
        let feed = waiting.feed(number)?;
        feed.late = false;
        std::mem::replace(&mut feed.at, now)
    }

    /// The next message; waits for it. One waits at a time.
    pub(crate) async fn next(&self) -> Delivery {
        self.next_at().await.0
    }

    /// The next message, and the place of its table.
    pub(crate) async fn next_at(&self) -> (Delivery, Arc<Slot>) {
        poll_fn(|context| {
            let next = self.pop_at().or_else(|| {
                self.waker.register(context.waker());
                // One that came before the waker was there.
                self.pop_at()
            });
            next.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits until there may be a message. One waits at a time.
    pub(crate) async fn rung(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            let waiting = self.waiting();
            let any = !waiting.messages.is_empty() || !waiting.late.is_empty() || waiting.leaving > 0;
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The tables it has places for.
    pub(crate) fn slots(&self) -> Vec<(Arc<Slot>, Option<Position>)> {
        let waiting = self.waiting();
        waiting.feeds.iter().filter(|f| !f.leaving).filter_map(|f| Some((f.slot.clone()?, f.at))).collect()
    }

    /// Its first table, if it has one.
    pub(crate) fn first(&self) -> Option<Arc<Slot>> {
        let waiting = self.waiting();
        waiting.feeds.iter().filter(|feed| !feed.leaving).find_map(|feed| feed.slot.clone())
    }

    /// The number of a table's place.
    pub(crate) fn number_of(&self, slot: &Slot) -> Option<u32> {
        self.waiting().feed_of(slot).filter(|feed| !feed.leaving).map(|feed| feed.number)
    }

    pub(crate) fn counters(&self) -> Counters {
        let waiting = self.waiting();
        Counters {
            held: waiting.messages.len(),
            bytes: waiting.bytes,
            late: waiting.late.len(),
            dropped: waiting.dropped,
            coalesced: waiting.coalesced,
            resynced: waiting.resynced,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position(message: &Message) -> Option<Position> {
    match message {
        Message::Snapshot(view) => Some((view.epoch, view.to)),
        Message::Step(step) => Some((step.epoch, step.to)),
        Message::Gone => None,
    }
}
