//! Who gets which events, and from which queue.

use super::Events;
use super::envelope::Event;
use super::filter::Filter;
use super::heeding::Heeding;
use super::queue::{Bounds, Counters, Next, Queue, Told};
use super::topic::{Index, Topics, Words};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shared queue that nobody takes from any more is kept so long: who consumes may be back.
const LINGER: Duration = Duration::from_secs(60);

/// What somebody listens to, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listening {
    /// The topics; none: all.
    pub topics: Option<Topics>,
    /// What events must be besides.
    pub filters: Vec<Filter>,
    /// The queue that is shared with others of that name: each event is given to one of them. None: a queue of its own.
    pub queue: Option<String>,
    /// How much may wait.
    pub bounds: Bounds,
    /// Events are kept for others: that is not to listen, and an event that needs a listener has none by it.
    pub aside: bool,
}

#[derive(Debug)]
struct Interest {
    topics: Topics,
    filters: Vec<Filter>,
    queue: u64,
}

#[derive(Debug)]
struct Shared {
    number: u64,
    consumers: usize,
    /// Since when nobody takes from it.
    left: Option<Instant>,
}

/// All who listen.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    next: u64,
    index: Index,
    interests: HashMap<u64, Interest>,
    queues: BTreeMap<u64, Arc<Queue>>,
    shared: HashMap<String, Shared>,
    /// When the first of the shared queues was left that nobody takes from.
    left: Option<Instant>,
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

    fn add(&mut self, listening: &Listening, name: Option<&str>) -> (u64, Arc<Queue>) {
        self.forget_left();
        let queue = match name.and_then(|name| self.shared.get_mut(name)) {
            Some(shared) => {
                shared.consumers += 1;
                let number = shared.number;
                if shared.left.take().is_some() {
                    // Those who left it meant what is in it, not what comes.
                    self.drop_interests(number);
                }
                number
            }
            None => {
                let number = self.number();
                self.queues.insert(number, Arc::new(Queue::new(listening.bounds, listening.aside)));
                if let Some(name) = name {
                    self.shared.insert(name.to_owned(), Shared { number, consumers: 1, left: None });
                }
                number
            }
        };
        let topics = listening.topics.clone().unwrap_or_else(Topics::all);
        let interest = Interest { topics, filters: listening.filters.clone(), queue };
        let number = self.number();
        self.index.insert(&interest.topics, number);
        self.interests.insert(number, interest);
        (
            number,
            self.queues.get(&queue).cloned().unwrap_or_else(|| Arc::new(Queue::new(listening.bounds, listening.aside))),
        )
    }

    fn remove(&mut self, interest: u64, name: Option<&str>) {
        match name.and_then(|name| self.shared.get_mut(name)) {
            Some(shared) => {
                shared.consumers -= 1;
                // What it binds stays while somebody may come back.
                if shared.consumers > 0 {
                    self.drop_interest(interest);
                } else {
                    let now = Instant::now();
                    shared.left = Some(now);
                    self.left.get_or_insert(now);
                }
            }
            None => {
                if let Some(gone) = self.drop_interest(interest) {
                    self.drop_queue(gone.queue);
                }
            }
        }
        self.forget_left();
    }

    fn forget_left(&mut self) {
        // Most of the time there is none, and no clock is asked.
        if self.left.is_some() {
            self.forget_left_at(Instant::now());
        }
    }

    fn forget_left_at(&mut self, now: Instant) {
        let is_over = |left: Instant| now.saturating_duration_since(left) > LINGER;
        if !self.left.is_some_and(is_over) {
            return;
        }
        let over = |shared: &Shared| shared.left.is_some_and(is_over);
        let gone: Vec<u64> = self.shared.values().filter(|shared| over(shared)).map(|shared| shared.number).collect();
        self.shared.retain(|_, shared| !over(shared));
        for number in gone {
            self.drop_interests(number);
            self.drop_queue(number);
        }
        self.left = self.shared.values().filter_map(|shared| shared.left).min();
    }

    fn drop_interests(&mut self, queue: u64) {
        let gone: Vec<u64> =
            self.interests.iter().filter(|(_, i)| i.queue == queue).map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| drop(self.drop_interest(number)));
    }

    fn drop_interest(&mut self, number: u64) -> Option<Interest> {
        let gone = self.interests.remove(&number)?;
        self.index.remove(&gone.topics, number);
        Some(gone)
    }

    fn drop_queue(&mut self, number: u64) {
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

/// A subscription that goes on where another ended.
#[derive(Debug)]
pub struct Resumed {
    /// What happens from now on.
    pub subscription: Subscription,
    /// What the history has from in between.
    pub told: Vec<Told>,
    /// Whether that is all there was.
    pub whole: bool,
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
    /// Gets events from now on. A shared queue belongs to this system: its name is put behind the bus id, unless it begins
    /// with that and a dot.
    #[must_use]
    pub fn subscribe(&self, listening: &Listening) -> Subscription {
        self.listen(listening, None).subscription
    }

    /// The same, with what the history has of these topics after that position: nothing is missed between the two; and whether
    /// the history still had all of these.
    #[must_use]
    pub fn resume(&self, listening: &Listening, after: u64) -> Resumed {
        self.listen(listening, Some(after))
    }

    fn listen(&self, listening: &Listening, after: Option<u64>) -> Resumed {
        let prefix = format!("{}.", self.inner.settings.bus_id);
        let whole = |name: &String| match name.starts_with(&prefix) {
            true => name.clone(),
            false => format!("{prefix}{name}"),
        };
        let shared = listening.queue.as_ref().map(whole);
        let mut state = self.state();
        let (number, queue) = state.listeners.add(listening, shared.as_deref());
        let mut told = Vec::new();
        if let Some(mut next) = after {
            loop {
                let query = super::Query {
                    topics: listening.topics.clone(),
                    filters: listening.filters.clone(),
                    after: Some(next),
                    limit: Some(super::MAX_PAGE),
                    ..Default::default()
                };
                let page = state.history.page(&query);
                told.extend(page.events);
                match page.next {
                    Some(after) => next = after,
                    None => break,
                }
            }
        }
        let is_whole = |after| state.history.is_whole(listening.topics.as_ref(), after, state.position);
        let whole = after.is_none_or(is_whole);
        drop(state);
        Resumed {
            subscription: Subscription { events: self.clone(), number, queue, shared, heeding: Heeding::default() },
            told,
            whole,
        }
    }

    /// All subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        let state = self.state();
        let listeners = &state.listeners;
        let names: HashMap<u64, &String> =
            listeners.shared.iter().map(|(name, shared)| (shared.number, name)).collect();
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

    /// The shared queue's whole name.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        self.shared.as_deref()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.events.state().listeners.remove(self.number, self.shared.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::quiet;
    use super::super::{How, PublishError};
    use super::*;

    #[test]
    fn a_shared_queue_that_nobody_comes_back_to_is_no_listener() {
        let events = quiet();
        drop(events.subscribe(&Listening { queue: Some("q".to_owned()), ..Listening::default() }));
        let publisher = events.publisher("p").with_origin("o");
        let publish = || {
            let how = How { mandatory: true, ..How::default() };
            publisher.create_and_publish("ScheduleEvent", serde_json::Map::new(), how)
        };
        assert_eq!(publish().unwrap().listeners, 1, "who consumes may be back");
        let long_ago = Instant::now().checked_sub(2 * LINGER);
        {
            let mut state = events.state();
            state.listeners.left = long_ago;
            state.listeners.shared.values_mut().for_each(|shared| shared.left = long_ago);
        }
        assert!(matches!(publish(), Err(PublishError::NobodyListens { .. })));
        assert!(events.subscriptions().is_empty());
        assert_eq!(events.state().listeners.left, None);
    }
}
