//! Events as they happen: server-sent events, each a CloudEvent.

use super::asked::{Asked, OF_STREAMS};
use super::consumer::Consumer;
use super::fault::Fault;
use crate::event::{Delivery, Events, Past, Place, Resumed, Subscription, Taken, Told};
use crate::http::State;
use crate::http::error::Error;
use axum::extract::{RawQuery, State as Extract};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use busway_plugin_api::message::encode;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A comment says so often that the host is still there.
const BEAT: Duration = Duration::from_secs(15);

/// So many streams of events there may be: each has a queue of its own, and holds a page of the past while it is behind.
const MOST_STREAMS: usize = 1000;

/// The streams of events that are open.
#[derive(Debug, Clone)]
pub(in crate::http) struct Streams {
    most: usize,
    free: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self::new(MOST_STREAMS)
    }
}

impl Streams {
    fn new(most: usize) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most)) }
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| Fault::Streams(self.most))
    }
}

/// What happens from now on, or since the event whose id is given as header `Last-Event-ID` or as `after`.
pub(in crate::http) async fn stream(
    Extract(state): Extract<State>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let events = state.happenings.events;
    let mut asked = Asked::read(events.catalogue(), query.as_deref(), &OF_STREAMS)?;
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).trim().to_owned());
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        // A browser that reconnects asks with the address it began with.
        asked.after = Some(last);
    }
    let after = asked.place()?;
    let place = state.streams.enter()?;
    let mut following = match (asked.queue.take(), after) {
        (Some(_), Some(_)) => return Err(Fault::QueueAndAfter.into()),
        (Some(queue), None) => {
            let consumer = asked.confirm.map(|most| state.consumers.enter(most));
            let subscription = events.share(&queue, &asked.listening())?;
            let said = consumer.as_ref().map(|consumer| json!({"consumer": consumer.id}));
            let first = said.map(|said| Event::default().event("consumer").data(encode(&said)));
            let following = Following::of(events, subscription, state.stopping);
            Following { first: first.into_iter().collect(), consumer, ..following }
        }
        (None, after) => resumed(events, asked, after, state.stopping)?,
    };
    following.place = Some(place);
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(BEAT).text("keep-alive")))
}

/// A stream that goes on from there, or from here; where it begins is said before anything else.
fn resumed(
    events: Events,
    asked: Asked,
    after: Option<Place>,
    stopping: watch::Receiver<bool>,
) -> Result<Following, Error> {
    let now = events.position();
    let (position, first) = match after {
        // Without data it is no event to a client, but it is a place to come back to.
        None => (now, Event::default().id(events.place(now).to_string())),
        Some(place) => match events.position_of(&place) {
            Some(position) if position > now => {
                return Err(Fault::Ahead { place, last: events.place(now) }.into());
            }
            Some(position) => (position, Event::default().id(place.to_string())),
            None => {
                let reason =
                    format!("{place} is of a run of the host that is over: what it did not keep of its end is lost");
                let begins = events.place(0).to_string();
                (0, Event::default().event("reset").id(begins).data(encode(&json!({"reason": reason}))))
            }
        },
    };
    let Resumed { subscription, past } = events.resume(&asked.listening(), position);
    let following = Following::of(events, subscription, stopping);
    Ok(Following { first: VecDeque::from([first]), past: Some(past), ids: true, ..following })
}

/// `lost`: how many; null: that is not known.
fn gap(lost: Value, reason: &str) -> Event {
    Event::default().event("gap").data(encode(&json!({"lost": lost, "reason": reason})))
}

/// A stream on its way to a client.
struct Following {
    events: Events,
    /// What is said before anything else.
    first: VecDeque<Event>,
    /// What happened before it was asked for: a page of it, and where there is more.
    told: VecDeque<Told>,
    past: Option<Past>,
    /// The event that is being sent: when the connection ends before that, another of a shared queue gets it.
    held: Option<Taken>,
    /// All that was sent, until it is confirmed, if that is wanted. Before the subscription: it is put back while somebody
    /// still takes from the queue.
    consumer: Option<Consumer>,
    subscription: Subscription,
    /// Whether an event's id is a place to come back to: those who share a queue have none of their own.
    ids: bool,
    stopping: watch::Receiver<bool>,
    /// Given back when it ends.
    place: Option<OwnedSemaphorePermit>,
}

impl Following {
    fn of(events: Events, subscription: Subscription, stopping: watch::Receiver<bool>) -> Self {
        let (first, told) = (VecDeque::new(), VecDeque::new());
        Self {
            events,
            first,
            told,
            past: None,
            held: None,
            consumer: None,
            subscription,
            ids: false,
            stopping,
            place: None,
        }
    }

    /// Another page of the past. A client that does not read holds one at most.
    async fn read_on(&mut self, mut past: Past) -> Option<()> {
        let read = tokio::task::spawn_blocking(move || (past.next(), past)).await;
        // It comes back with where it was.
        let (page, past) = read.ok()?;
        if let Some(page) = page {
            if !page.whole {
                let reason = format!("not all that came after {} is kept any more", self.events.place(page.after));
                self.first.push_back(gap(Value::Null, &reason));
            }
            self.told = page.events.into();
        }
        self.past = Some(past).filter(|past| !past.is_over());
        Some(())
    }

    async fn next(&mut self) -> Option<Event> {
        // Who asks for the next one has sent it.
        if let Some(held) = self.held.take() {
            held.done();
        }
        loop {
            if let Some(first) = self.first.pop_front() {
                return Some(first);
            }
            if let Some(told) = self.told.pop_front() {
                return Some(self.event(&told));
            }
            match self.past.take() {
                Some(_) if *self.stopping.borrow() => return None,
                Some(past) if !past.is_over() => self.read_on(past).await?,
                _ => break,
            }
        }
        let next = async {
            if let Some(consumer) = &self.consumer {
                consumer.room().await;
            }
            self.subscription.next().await
        };
        let delivery = tokio::select! {
            delivery = next => delivery?,
            _ = self.stopping.wait_for(|stop| *stop) => return None,
        };
        match delivery {
            Delivery::Gap(lost) => Some(gap(lost.into(), "they came faster than this client took them")),
            Delivery::Event(taken) => {
                let event = self.event(taken.told());
                match &self.consumer {
                    Some(consumer) => consumer.hold(taken),
                    None => self.held = Some(taken),
                }
                Some(event)
            }
        }
    }

    fn event(&self, told: &Told) -> Event {
        let event = Event::default().event("event").data(encode(&self.events.to_json(told)));
        if self.ids { event.id(self.events.place(told.position).to_string()) } else { event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    #[test]
    fn there_are_so_many_streams_and_no_more() {
        let streams = Streams::new(2);
        let (one, _two) = (streams.enter().unwrap(), streams.clone().enter().unwrap());
        let full = streams.enter().unwrap_err();
        let text = "2 streams of events are open here, and there may be no more: end one, or try again later";
        assert_eq!(full.to_string(), text);
        assert_eq!(Error::from(full).into_response().status().as_u16(), 503);
        drop(one);
        assert!(streams.enter().is_ok());
    }
}
