//! Events as they happen: server-sent events, each a CloudEvent.

use super::asked::{Asked, OF_STREAMS};
use super::fault::Fault;
use crate::event::{Delivery, Events, Place, Resumed, Subscription, Taken, Told};
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
use std::time::Duration;
use tokio::sync::watch;

/// A comment says so often that the host is still there.
const BEAT: Duration = Duration::from_secs(15);

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
    let following = match (&asked.queue, after) {
        (Some(_), Some(_)) => return Err(Fault::QueueAndAfter.into()),
        (Some(_), None) => {
            let subscription = events.subscribe(&asked.listening());
            Following::of(events, subscription, state.stopping)
        }
        (None, after) => resumed(events, asked, after, state.stopping)?,
    };
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
    let Resumed { subscription, told, whole } = events.resume(&asked.listening(), position);
    let gap = (!whole).then(|| {
        let reason = format!("not all that came after {} is kept any more", events.place(position));
        gap(Value::Null, &reason)
    });
    let first = std::iter::once(first).chain(gap).collect();
    let following = Following::of(events, subscription, stopping);
    Ok(Following { first, told: told.into(), ids: true, ..following })
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
    /// What happened before it was asked for.
    told: VecDeque<Told>,
    subscription: Subscription,
    /// The event that is being sent: when the connection ends before that, another of a shared queue gets it.
    held: Option<Taken>,
    /// Whether an event's id is a place to come back to: those who share a queue have none of their own.
    ids: bool,
    stopping: watch::Receiver<bool>,
}

impl Following {
    fn of(events: Events, subscription: Subscription, stopping: watch::Receiver<bool>) -> Self {
        let (first, told) = (VecDeque::new(), VecDeque::new());
        Self { events, first, told, subscription, held: None, ids: false, stopping }
    }

    async fn next(&mut self) -> Option<Event> {
        // Who asks for the next one has sent it.
        if let Some(held) = self.held.take() {
            held.done();
        }
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        if let Some(told) = self.told.pop_front() {
            return Some(self.event(&told));
        }
        let delivery = tokio::select! {
            delivery = self.subscription.next() => delivery?,
            _ = self.stopping.wait_for(|stop| *stop) => return None,
        };
        match delivery {
            Delivery::Gap(lost) => Some(gap(lost.into(), "they came faster than this client took them")),
            Delivery::Event(taken) => {
                let event = self.event(taken.told());
                self.held = Some(taken);
                Some(event)
            }
        }
    }

    fn event(&self, told: &Told) -> Event {
        let event = Event::default().event("event").data(encode(&self.events.to_json(told)));
        if self.ids { event.id(self.events.place(told.position).to_string()) } else { event }
    }
}
