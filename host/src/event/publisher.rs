//! Who says that something happened.

use super::Events;
use super::catalogue::Typed;
use super::draft::Draft;
use super::envelope::EventError;
use super::limiter::RateLimiter;
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why an event was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It is none.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It was to be told to somebody.
    #[error("nobody listens to {topic:?}, and it was to be published only if somebody does")]
    NobodyListens {
        /// Where it would have been told.
        topic: String,
    },
    /// There were too many.
    #[error(
        "{publisher:?} publishes more than {most} events in {}: try again in {} ms", humantime::format_duration(*per),
        wait.as_millis() + 1
    )]
    RateLimited {
        /// Who.
        publisher: String,
        /// How many are let through.
        most: usize,
        /// In what time.
        per: Duration,
        /// When the next one is.
        wait: Duration,
    },
}

/// Why none of several events was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {} of the batch: {error}", at + 1)]
pub struct BatchError {
    /// Which one is at fault, counted from 0; of too many the first.
    pub at: usize,
    /// What is wrong with it.
    pub error: Box<PublishError>,
}

impl BatchError {
    pub(super) fn new(at: usize, error: impl Into<PublishError>) -> Self {
        Self { at, error: Box::new(error.into()) }
    }
}

/// How an event is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How<'a> {
    /// To what it happened; none: what the event, else the publisher says.
    pub origin: Option<&'a str>,
    /// Only if somebody listens.
    pub mandatory: bool,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: String,
    /// Its place among all that were published here.
    pub position: u64,
    /// How many queues it was put into.
    pub listeners: usize,
}

/// Who says that something happened. It neither knows nor needs anybody who listens.
#[derive(Debug)]
pub struct Publisher {
    events: Events,
    name: String,
    origin: Option<String>,
    limit: Option<(usize, Duration, Mutex<RateLimiter>)>,
}

impl Publisher {
    pub(super) fn new(events: Events, name: &str) -> Self {
        let limit = events.inner.settings.rate;
        let limit = limit.map(|(most, per)| (most, per, Mutex::new(RateLimiter::new(most, per))));
        Self { events, name: name.to_owned(), origin: None, limit }
    }

    /// To what it happens, unless an event says otherwise.
    #[must_use]
    pub fn with_origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    /// At most so many events in a time; none: as many as there are.
    #[must_use]
    pub fn with_limit(mut self, limit: Option<(usize, Duration)>) -> Self {
        self.limit = limit.map(|(most, per)| (most, per, Mutex::new(RateLimiter::new(most, per))));
        self
    }

    /// Who says it: the events' `sender`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An event in the making, of a type by its name or its number. Nothing is published yet.
    ///
    /// # Errors
    ///
    /// There is no such type, or a field is none of its.
    pub fn create(&self, of: &str, fields: Map<String, Value>) -> Result<Draft, EventError> {
        Draft::create(&self.events.inner.catalogue, of, fields)
    }

    /// Publishes it to who listens; nobody has to.
    ///
    /// # Errors
    ///
    /// It is not complete, or one too many, or it was to have listeners and has none. Nobody was told.
    pub fn publish(&self, draft: Draft, how: How<'_>) -> Result<Receipt, PublishError> {
        self.pass(1)?;
        self.events.publish(draft, how, self.origin.as_deref(), Some(&self.name))
    }

    /// Publishes all of them, one after the other with nothing between, or none.
    ///
    /// # Errors
    ///
    /// One of them can't be published: which, and why. Nobody was told of any.
    pub fn publish_all(&self, drafts: Vec<Draft>, how: How<'_>) -> Result<Vec<Receipt>, BatchError> {
        self.pass(drafts.len()).map_err(|error| BatchError::new(0, error))?;
        self.events.publish_all(drafts, how, self.origin.as_deref(), Some(&self.name))
    }

    /// Both at once.
    ///
    /// # Errors
    ///
    /// As both.
    pub fn create_and_publish(
        &self,
        of: &str,
        fields: Map<String, Value>,
        how: How<'_>,
    ) -> Result<Receipt, PublishError> {
        self.publish(self.create(of, fields)?, how)
    }

    /// Publishes an event of the catalogue's own Rust type.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn tell<T: Typed>(&self, origin: &str, data: &T::Data) -> Result<Receipt, PublishError> {
        self.tell_with::<T>(origin, data, Map::new())
    }

    /// The same, with fields that all events have.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn tell_with<T: Typed>(
        &self,
        origin: &str,
        data: &T::Data,
        more: Map<String, Value>,
    ) -> Result<Receipt, PublishError> {
        let mut fields = match serde_json::to_value(data) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => Map::new(),
            Err(error) => return Err(EventError::Malformed(error.to_string()).into()),
        };
        fields.extend(more);
        self.create_and_publish(T::NAME, fields, How { origin: Some(origin), ..How::default() })
    }

    fn pass(&self, events: usize) -> Result<(), PublishError> {
        let Some((most, per, limiter)) = &self.limit else { return Ok(()) };
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let limited = if events == 1 { limiter.is_limited(now) } else { limiter.are_limited(events, now) };
        if limited {
            let (publisher, wait) = (self.name.clone(), limiter.wait_for(events, now));
            return Err(PublishError::RateLimited { publisher, most: *most, per: *per, wait });
        }
        Ok(())
    }
}
