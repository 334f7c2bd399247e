//! Who gets which events, and from which queue.

use super::envelope::Event;
use super::filter::Filter;
use super::heeding::Heeding;
use super::queue::{Bounds, Counters, Next, Queue, Told};
use super::shared::Shared;
use super::topic::{Index, Topics, Words};
use super::{Events, State};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// What somebody listens to, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listening {
    /// The topics; none: all.
    pub topics: Option<Topics>,
    /// What events must be besides.
    pub filters: Vec<Filter>,
    /// How much may wait.
    pub bounds: Bounds,
    /// Events are kept for others: that is not to listen, and an event that needs a listener has none by it.
    pub aside: bool,
}

#[derive(Debug)]
pub(super) struct Interest {
    topics: Topics,
    filters: Vec<Filter>,
    queue: u64,
}

/// All who listen.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    next: u64,
    index: Index,
    interests: HashMap<u64, Interest>,
    pub(super) queues: BTreeMap<u64, Arc<Queue>>,
    pub(super) shared: HashMap<String, Shared>,
    /// When the first of the shared queues was left that nobody takes from.
    pub(super) left: Option<Instant>,
}

impl Listeners {
    /// The queues of those who want it, each once.
    pub(super) fn who(&mut self, words: &Words, event: &Event) -> Vec<Arc<Queue>> {
        self.forget_left();
        if self.interests.is_empty() {
            return Vec::new();
        }
        let found = self.index.matches(words, &event.origin);
        let interests = found.iter().filter_map(|number| self.interests.get(number));
        let wanted = interests.filter(|interest| interest.filters.iter().all(|filter| filter.wants(event)));
        let mut queues: Vec<u64> = wanted.map(|interest| interest.queue).collect();
        // Who listens to two of its topics gets it once.
        queues.sort_unstable();
        queues.dedup();
        queues.iter().filter_map(|number| self.queues.get(number).cloned()).collect()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, listening: &Listening) -> (u64, Arc<Queue>) {
        self.forget_left();
        let (number, queue) = self.add_queue(listening);
        (self.bind(listening, number), queue)
    }

    pub(super) fn add_queue(&mut self, listening: &Listening) -> (u64, Arc<Queue>) {
        let (number, queue) = (self.number(), Arc::new(Queue::new(listening.bounds, listening.aside)));
        self.queues.insert(number, Arc::clone(&queue));
        (number, queue)
    }

    /// What somebody listens to goes into that queue. Answers the interest's number.
    pub(super) fn bind(&mut self, listening: &Listening, queue: u64) -> u64 {
        let topics = listening.topics.clone().unwrap_or_else(Topics::all);
        let interest = Interest { topics, filters: listening.filters.clone(), queue };
        let number = self.number();
        self.index.insert(&interest.topics, number);
        self.interests.insert(number, interest);
        number
    }

    fn remove(&mut self, interest: u64) {
        if let Some(gone) = self.drop_interest(interest) {
            self.drop_queue(gone.queue);
        }
        self.forget_left();
    }

    pub(super) fn drop_interests(&mut self, queue: u64) {
        let gone: Vec<u64> =
            self.interests.iter().filter(|(_, i)| i.queue == queue).map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| drop(self.drop_interest(number)));
    }

    pub(super) fn drop_interest(&mut self, number: u64) -> Option<Interest> {
        let gone = self.interests.remove(&number)?;
        self.index.remove(&gone.topics, number);
        Some(gone)
    }

    pub(super) fn drop_queue(&mut self, number: u64) {
        if let Some(gone) = self.queues.remove(&number) {
            gone.close();
        }
    }
}

/// What comes from a subscription.
#[derive(Debug)]
pub enum Delivery {
    /// Something happened.
    Event(Taken),
    /// So many events are lost: they had to go for later ones, since nobody took them.
    Gap(u64),
}

/// An event that was taken from a queue. From a shared queue it is given to another consumer, a bounded number of times,
/// unless this one says that it is [`done`](Self::done).
#[derive(Debug)]
pub struct Taken {
    told: Told,
    attempt: u32,
    back: Option<Arc<Queue>>,
}

impl Taken {
    /// The event, with its position.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// What happened.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.told.event
    }

    /// For which time it is given: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// It went well: nobody else gets it.
    pub fn done(mut self) {
        self.back = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(queue) = self.back.take() {
            queue.put_back(self.told.clone(), self.attempt);
        }
    }
}

/// A subscription: ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    events: Events,
    number: u64,
    queue: Arc<Queue>,
    shared: Option<String>,
    heeding: Heeding,
}

/// A subscription as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionView {
    /// What it is subscribed to.
    pub topics: String,
    /// The shared queue it takes from.
    pub queue: Option<String>,
    /// What became of what it got.
    pub counters: Counters,
}

impl Events {
    /// Gets events from now on, from a queue of its own.
    #[must_use]
    pub fn subscribe(&self, listening: &Listening) -> Subscription {
        self.add(&mut self.state(), listening)
    }

    pub(super) fn add(&self, state: &mut State, listening: &Listening) -> Subscription {
        let (number, queue) = state.listeners.add(listening);
        self.subscription(number, queue, None)
    }

    pub(super) fn subscription(&self, number: u64, queue: Arc<Queue>, shared: Option<String>) -> Subscription {
        Subscription { events: self.clone(), number, queue, shared, heeding: Heeding::default() }
    }

    /// All subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        let state = self.state();
        let listeners = &state.listeners;
        let names: HashMap<u64, &String> =
            listeners.shared.iter().map(|(name, shared)| (shared.number(), name)).collect();
        let view = |interest: &Interest| SubscriptionView {
            topics: interest.topics.as_str().to_owned(),
            queue: names.get(&interest.queue).map(|name| (*name).clone()),
            counters: listeners.queues.get(&interest.queue).map(|queue| queue.counters()).unwrap_or_default(),
        };
        let mut all: Vec<(&u64, &Interest)> = listeners.interests.iter().collect();
        all.sort_by_key(|(number, _)| **number);
        all.into_iter().map(|(_, interest)| view(interest)).collect()
    }
}

impl Subscription {
    fn delivery(&self, next: Next) -> Option<Delivery> {
        match next {
            Next::Gap(lost) => Some(Delivery::Gap(lost)),
            Next::Event(told, attempt) => {
                self.heeding.take(&told.event);
                let back = self.shared.is_some().then(|| Arc::clone(&self.queue));
                Some(Delivery::Event(Taken { told, attempt, back }))
            }
            Next::Empty | Next::Closed => None,
        }
    }

    /// What is next, as soon as there is something. May be given up at any time: nothing is lost. What a task logs between
    /// an event of the log and the next one becomes no event: who listens to errors may log some.
    pub async fn next(&self) -> Option<Delivery> {
        self.heeding.end();
        let next = self.queue.wait().await;
        self.delivery(next)
    }

    /// What is next, if there is something now.
    #[must_use]
    pub fn try_next(&self) -> Option<Delivery> {
        self.heeding.end();
        self.delivery(self.queue.next())
    }

    /// What became of what it got.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.queue.counters()
    }

    pub(super) fn waiting(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// The shared queue's whole name.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        self.shared.as_deref()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.events.state();
        match &self.shared {
            Some(name) => state.listeners.leave(self.number, name),
            None => state.listeners.remove(self.number),
        }
    }
}
