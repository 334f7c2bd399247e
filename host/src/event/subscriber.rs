//! One who hands what happens to a handler: initialized, then active, then terminated.

use super::queue::{Bounds, Counters};
use super::shared::SharedError;
use super::subscription::{Delivery, Listening, Subscription};
use super::{Events, Filter, Told, Topics};
use crate::logging::unheard;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// What is done with an event. An error, or a panic, means that it did not go well: in a shared queue another consumer gets
/// it. Handlers block nobody but the next event of their subscriber.
pub type Handler = Arc<dyn Fn(&Told) -> Result<(), String> + Send + Sync>;

/// Where a subscriber is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriberState {
    /// It gets nothing yet.
    Initialized,
    /// Its handler gets what happens.
    Active,
    /// It gets nothing any more.
    Terminated,
}

/// Why a subscriber does not do that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// It has no handler.
    #[error("the subscriber to {0:?} has no handler: set one before it is activated")]
    NoHandler(String),
    /// It has ended.
    #[error("the subscriber to {0:?} was terminated: make another one")]
    Terminated(String),
    /// The queue that it would share can't be had.
    #[error(transparent)]
    Shared(#[from] SharedError),
}

struct Shared {
    handler: Mutex<Option<Handler>>,
    failures: std::sync::atomic::AtomicU64,
}

/// One who hands what happens to a handler.
pub struct Subscriber {
    events: Events,
    listening: Listening,
    queue: Option<String>,
    shared: Arc<Shared>,
    state: SubscriberState,
    running: Option<(Arc<Subscription>, JoinHandle<()>)>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("listening", &self.listening)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Subscriber {
    /// One that gets nothing before it is activated.
    #[must_use]
    pub fn new(events: &Events, listening: Listening) -> Self {
        let shared = Shared { handler: Mutex::default(), failures: std::sync::atomic::AtomicU64::new(0) };
        let (shared, state) = (Arc::new(shared), SubscriberState::Initialized);
        Self { events: events.clone(), listening, queue: None, shared, state, running: None }
    }

    /// The queue that it shares with others from its next activation on.
    #[must_use]
    pub fn with_queue(mut self, name: &str) -> Self {
        self.queue = Some(name.to_owned());
        self
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> SubscriberState {
        self.state
    }

    /// Sets the handler, or another in its place: what comes from now on goes to this one.
    pub fn on_event(&self, handler: impl Fn(&Told) -> Result<(), String> + Send + Sync + 'static) {
        *self.shared.handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(handler));
    }

    fn topics(&self) -> String {
        self.listening.topics.as_ref().map_or("#", Topics::as_str).to_owned()
    }

    /// From now on the handler gets what happens. No effect when active.
    ///
    /// # Errors
    ///
    /// It has no handler, or has ended, or there is no room for the queue that it would share.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn activate(&mut self) -> Result<(), SubscriberError> {
        match self.state {
            SubscriberState::Terminated => return Err(SubscriberError::Terminated(self.topics())),
            SubscriberState::Active => return Ok(()),
            SubscriberState::Initialized => {}
        }
        if self.shared.handler.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(SubscriberError::NoHandler(self.topics()));
        }
        let subscription = match &self.queue {
            Some(name) => self.events.share(name, &self.listening)?,
            None => self.events.subscribe(&self.listening),
        };
        let subscription = Arc::new(subscription);
        let (gets, shared, topics) = (Arc::clone(&subscription), Arc::clone(&self.shared), self.topics());
        let task = tokio::spawn(async move {
            while let Some(delivery) = gets.next().await {
                match delivery {
                    Delivery::Gap(lost) => tracing::warn!(topics, lost, "a subscriber to events can't keep up"),
                    Delivery::Event(taken) => {
                        let handler = shared.handler.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        let Some(handler) = handler else { continue };
                        // A handler may take its time; and when this task is ended, what it has is put back.
                        let handled = tokio::task::spawn_blocking(move || {
                            // What it logs of an event of the log is no such event.
                            let said = unheard(|| catch_unwind(AssertUnwindSafe(|| handler(taken.told()))));
                            match said.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                                // At once: nobody may wait for this any more, and it went well all the same.
                                Ok(()) => {
                                    taken.done();
                                    Ok(())
                                }
                                Err(error) => Err((error, taken)),
                            }
                        });
                        match handled.await {
                            Ok(Ok(())) => {}
                            Ok(Err((error, taken))) => {
                                shared.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                                tracing::warn!(
                                    topics,
                                    id = taken.event().id,
                                    attempt = taken.attempt(),
                                    error,
                                    "a handler of events failed"
                                );
                            }
                            Err(_) => return,
                        }
                    }
                }
            }
        });
        self.running = Some((subscription, task));
        self.state = SubscriberState::Active;
        Ok(())
    }

    /// It gets nothing any more; what its handler is at is let end.
    pub fn terminate(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
        self.state = SubscriberState::Terminated;
    }

    /// How often a handler failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What became of what it got; none before it is active.
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        self.running.as_ref().map(|(subscription, _)| subscription.counters())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// Makes subscribers that are alike.
#[derive(Clone)]
pub struct SubscriberFactory {
    events: Events,
    handler: Option<Handler>,
    filters: Vec<Filter>,
    queue: Option<String>,
    bounds: Bounds,
}

impl fmt::Debug for SubscriberFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberFactory")
            .field("queue", &self.queue)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl SubscriberFactory {
    /// One whose subscribers have queues of their own and no handler yet.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        Self { events: events.clone(), handler: None, filters: Vec::new(), queue: None, bounds: Bounds::default() }
    }

    /// What all that are made from now on do with what they get.
    #[must_use]
    pub fn with_handler(mut self, handler: impl Fn(&Told) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    /// What events must be, for all that are made from now on.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The queue that all that are made from now on share.
    #[must_use]
    pub fn with_queue(mut self, name: &str) -> Self {
        self.queue = Some(name.to_owned());
        self
    }

    /// How much may wait for each that is made from now on.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// A subscriber to these topics; none: to all.
    #[must_use]
    pub fn build(&self, topics: Option<Topics>) -> Subscriber {
        let listening = Listening { topics, filters: self.filters.clone(), bounds: self.bounds, aside: false };
        let mut subscriber = Subscriber::new(&self.events, listening);
        subscriber.queue.clone_from(&self.queue);
        subscriber.shared.handler.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.handler);
        subscriber
    }
}
