//! What happened: typed events on topics, told to whoever listens; nobody has to.
//!
//! `catalogue` says what can happen, `envelope` how it is written for others (CloudEvents 1.0), `draft` makes one, `topic`
//! says where it is told and who means it. A `publisher` tells, a `subscription` gets from a bounded `queue`, a `subscriber`
//! hands what it gets to a handler; several may share one (`shared`). `history` keeps the last ones, `reading` is how they are
//! looked up, and who goes on where it was gets the `past` before what happens.
//!
//! All publications have one order: an event's position, its place in the history and its place in every queue agree, so
//! that who reads the history and then listens misses nothing and gets nothing twice.
#![doc = include_str!("events.md")]

mod archive;
mod catalogue;
mod draft;
mod envelope;
mod filter;
mod foreign;
mod heeding;
mod history;
mod limiter;
mod monitor;
mod past;
mod place;
pub(crate) mod producers;
mod publisher;
mod queue;
mod reading;
mod shared;
mod subscriber;
mod subscription;
mod topic;

pub use archive::{Archive, ArchiveCounters, ArchiveError, Archived, FILE as ARCHIVE_FILE};
pub use catalogue::*;
pub use draft::Draft;
pub use envelope::{Data, Event, EventError, Home, MAX_DEPTH, MAX_EVENT, Subject};
pub use filter::{BadFilter, Filter, Test};
pub use history::Kept;
pub use limiter::RateLimiter;
pub use monitor::{Collected, Monitor, MonitorError, SessionLimits};
pub use past::{Past, PastPage, Resumed};
pub use place::{BadPlace, PLACE, Place};
pub use publisher::{BatchError, How, PublishError, Publisher, Receipt};
pub use queue::{ATTEMPTS, Bounds, Counters, Told};
pub use reading::{MAX_PAGE, Page, Query, Reading};
pub use shared::{MAX_SHARED, MAX_SHARED_BYTES, SharedError};
pub use subscriber::{Handler, Subscriber, SubscriberError, SubscriberFactory, SubscriberState};
pub use subscription::{Delivery, Listening, Subscription, SubscriptionView, Taken};
pub use topic::{BadOrigin, BadTopics, MAX_ORIGIN, Topics, check_origin};

use history::History;
use jiff::Timestamp;
use reading::Walk;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subscription::Listeners;
use uuid::Uuid;

/// How events are kept and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What sets this system apart from others on the same engine.
    pub bus_id: String,
    /// The host's name.
    pub node: String,
    /// What is kept of each type.
    pub kept: Kept,
    /// So many events in such a time each publisher may publish; none: as many as it has.
    pub rate: Option<(usize, Duration)>,
    /// Whether events of types that nobody described are refused.
    pub strict: bool,
    /// That a datasource's tables changed is told no more often than once in this time.
    pub updates: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let rate = Some((1000, Duration::from_secs(1)));
        Self {
            bus_id: "busway".to_owned(),
            node: "node".to_owned(),
            kept: Kept::default(),
            rate,
            strict: false,
            updates: Duration::from_secs(10),
        }
    }
}

/// All that happens on a node. Clones are the same.
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    catalogue: Catalogue,
    source: Arc<str>,
    home: Arc<Home>,
    /// This process: ids of two processes of a node never meet.
    process: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    position: u64,
    /// When the last one was published.
    at: Timestamp,
    history: History,
    listeners: Listeners,
}

/// An event that is complete but for its number.
#[derive(Debug)]
struct Ready {
    event: Event,
    now: Timestamp,
    bytes: usize,
}

impl Ready {
    fn nobody(&self) -> PublishError {
        PublishError::NobodyListens { topic: format!("{}.{}", topic::word(&self.event.kind), self.event.origin) }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Events {
    /// None yet, and nobody who listens.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let state = State {
            position: 0,
            at: Timestamp::MIN,
            history: History::new(settings.kept),
            listeners: Listeners::default(),
        };
        let inner = Inner {
            source: format!("/{}/{}", settings.bus_id, settings.node).into(),
            home: Arc::new(Home { bus_id: settings.bus_id.clone(), node: settings.node.clone() }),
            process: Uuid::new_v4().simple().to_string().split_off(16),
            catalogue: Catalogue::default(),
            state: Mutex::new(state),
            settings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What can happen.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.inner.catalogue
    }

    /// How they are kept and told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// One who tells; its name is the events' `sender`.
    #[must_use]
    pub fn publisher(&self, name: &str) -> Publisher {
        Publisher::new(self.clone(), name)
    }

    /// Publishes a CloudEvent in JSON as it came: of a foreign source under its own id.
    ///
    /// # Errors
    ///
    /// It is none, or not what its type says; nobody was told.
    pub fn publish_json(&self, event: Value, how: How<'_>) -> Result<Receipt, PublishError> {
        let draft = self.foreign(event)?;
        self.publish(draft, how, None, None)
    }

    fn publish(
        &self,
        draft: Draft,
        how: How<'_>,
        last: Option<&str>,
        sender: Option<&str>,
    ) -> Result<Receipt, PublishError> {
        let ready = self.ready(draft, how.origin, last, sender)?;
        let mut state = self.state();
        let listeners = state.listeners.who(&ready.event.words, &ready.event);
        if how.mandatory && !listeners.iter().any(|queue| queue.listens()) {
            return Err(ready.nobody());
        }
        Ok(self.put(&mut state, ready, listeners))
    }

    /// All of them, one after the other with nothing between, or none.
    fn publish_all(
        &self,
        drafts: Vec<Draft>,
        how: How<'_>,
        last: Option<&str>,
        sender: Option<&str>,
    ) -> Result<Vec<Receipt>, BatchError> {
        let ready = drafts.into_iter().enumerate();
        let ready =
            ready.map(|(at, draft)| self.ready(draft, how.origin, last, sender).map_err(|e| BatchError::new(at, e)));
        let ready = ready.collect::<Result<Vec<_>, _>>()?;
        let mut state = self.state();
        let who: Vec<_> = ready.iter().map(|ready| state.listeners.who(&ready.event.words, &ready.event)).collect();
        if how.mandatory
            && let Some(at) = who.iter().position(|queues| !queues.iter().any(|queue| queue.listens()))
        {
            return Err(BatchError::new(at, ready[at].nobody()));
        }
        Ok(ready.into_iter().zip(who).map(|(ready, listeners)| self.put(&mut state, ready, listeners)).collect())
    }

    fn ready(
        &self,
        draft: Draft,
        origin: Option<&str>,
        last: Option<&str>,
        sender: Option<&str>,
    ) -> Result<Ready, EventError> {
        let words = self.inner.catalogue.words(draft.kind());
        // Its number is taken when it is published: no two have one, and some may be of none.
        let now = Timestamp::now();
        let event =
            draft.finish(now, words, origin, last, sender, || (String::new(), Arc::clone(&self.inner.source)))?;
        Ok(Ready { bytes: event.bytes(), now, event })
    }

    fn put(&self, state: &mut State, ready: Ready, listeners: Vec<Arc<queue::Queue>>) -> Receipt {
        let Ready { mut event, now, bytes } = ready;
        // Clocks are set back, the order is not.
        state.at = state.at.max(now);
        state.position += 1;
        let position = state.position;
        if event.id.is_empty() {
            event.id = format!("{}-{position}", self.inner.process);
            event.home = Some(Arc::clone(&self.inner.home));
        }
        let count = listeners.iter().filter(|queue| queue.listens()).count();
        let receipt = Receipt { id: event.id.clone(), position, listeners: count };
        if listeners.is_empty() && !state.history.is_on() {
            return receipt;
        }
        let told = Told { position, at: state.at, event: Arc::new(event), bytes };
        for queue in listeners {
            queue.push(told.clone());
        }
        state.history.put(told);
        receipt
    }

    /// What happened lately. Looks at a bounded number of events, and blocks for some milliseconds at most: async code does
    /// it in `spawn_blocking`; those who publish meanwhile wait for less.
    #[must_use]
    pub fn history(&self, query: &Query) -> Page {
        self.read(query).page
    }

    /// The same, with where the last event of all stands, and whether all that were asked for are still kept.
    #[must_use]
    pub fn read(&self, query: &Query) -> Reading {
        let mut walk = Walk::new(query, 0);
        loop {
            let state = self.state();
            if walk.step(&state.history, state.position) {
                return walk.reading();
            }
            drop(state);
            // Those who publish come first.
            std::thread::yield_now();
        }
    }

    /// The position of the last event.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.state().position
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod suite;
