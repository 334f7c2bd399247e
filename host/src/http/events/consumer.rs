//! Who takes from a shared queue over HTTP and confirms what went well: what was not confirmed when the connection ends, is
//! given to another.

use super::fault::Fault;
use crate::event::{Place, Taken};
use crate::http::State;
use crate::http::error::{Error, MOST_BYTES as MOST_BODY, parsed, unread};
use crate::http::extract::Path;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::extract::rejection::BytesRejection;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use uuid::Uuid;

/// So many events at most are on their way to one that has not confirmed them.
pub(super) const MOST_UNCONFIRMED: usize = 1000;

/// And no more bytes of them, about, but at least one event.
const MOST_BYTES: usize = 8 << 20;

/// Those who confirm, by their ids.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Consumers {
    all: Arc<Mutex<HashMap<String, Arc<Window>>>>,
}

/// What may be on its way to one.
#[derive(Debug)]
struct Window {
    most: usize,
    /// None: it ended.
    held: Mutex<Option<Held>>,
    room: Notify,
}

impl Window {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one was given and has not confirmed.
#[derive(Debug, Default)]
struct Held {
    by_position: BTreeMap<u64, Taken>,
    bytes: usize,
}

impl Held {
    fn put(&mut self, taken: Taken) {
        self.bytes += taken.told().bytes;
        self.by_position.insert(taken.told().position, taken);
    }

    fn take(&mut self, position: u64) -> Option<Taken> {
        let taken = self.by_position.remove(&position)?;
        self.bytes -= taken.told().bytes;
        Some(taken)
    }
}

/// One of them, for as long as its connection is there.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: String,
    window: Arc<Window>,
    consumers: Consumers,
}

impl Consumers {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Window>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another one, who may have so many that he has not confirmed.
    pub(super) fn enter(&self, most: usize) -> Consumer {
        let id = Uuid::new_v4().simple().to_string();
        let window = Arc::new(Window { most, held: Mutex::new(Some(Held::default())), room: Notify::new() });
        self.all().insert(id.clone(), Arc::clone(&window));
        Consumer { id, window, consumers: self.clone() }
    }
}

impl Consumer {
    /// Waits until he may have another.
    pub(super) async fn room(&self) {
        loop {
            let rung = self.window.room.notified();
            let has_room = |held: &Held| held.by_position.len() < self.window.most && held.bytes < MOST_BYTES;
            if self.window.held().as_ref().is_none_or(has_room) {
                return;
            }
            rung.await;
        }
    }

    /// He was given it.
    pub(super) fn hold(&self, taken: Taken) {
        if let Some(held) = self.window.held().as_mut() {
            held.put(taken);
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.consumers.all().remove(&self.id);
        // The last first: each is put before all that wait.
        let held = self.window.held().take().unwrap_or_default();
        held.by_position.into_values().rev().for_each(drop);
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object")]
struct Confirmation {
    done: Vec<String>,
}

/// These went well: nobody else gets them.
pub(in crate::http) async fn confirm(
    Extract(state): Extract<State>,
    Path(consumer): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let form = "the body is {\"done\": [PLACE, …]}, the \"buswayposition\" of each event that went well";
    let body = body.map_err(|rejection| unread(&rejection, MOST_BODY, ", which is the most that is read here"))?;
    let Confirmation { done } = parsed(&body, form)?;
    let events = &state.happenings.events;
    let places: Vec<Place> = done.iter().map(|place| place.parse()).collect::<Result<_, _>>().map_err(Fault::from)?;
    let window = state.consumers.all().get(&consumer).cloned().ok_or(Fault::NoConsumer)?;
    let (confirmed, unconfirmed) = {
        let mut held = window.held();
        let held = held.as_mut().ok_or(Fault::NoConsumer)?;
        let positions = places.iter().filter_map(|place| events.position_of(place));
        // What was confirmed before, or was not his, does not count.
        let theirs: Vec<Taken> = positions.filter_map(|position| held.take(position)).collect();
        let count = theirs.len();
        theirs.into_iter().for_each(Taken::done);
        (count, held.by_position.len())
    };
    window.room.notify_one();
    Ok(Json(json!({"confirmed": confirmed, "unconfirmed": unconfirmed})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Bounds, Delivery, Events, How, Listening};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Whoever confirms nothing holds little.
    #[test]
    fn large_events_take_more_room() {
        let events = Events::default();
        let bounds = Bounds { events: 1000, bytes: 64 << 20 };
        let subscription = events.share("q", &Listening { bounds, ..Listening::default() }).unwrap();
        let publisher = events.publisher("p").with_origin("o");
        for _ in 0..100 {
            let fields = serde_json::Map::from_iter([("task_id".to_owned(), "x".repeat(200_000).into())]);
            publisher.create_and_publish("ScheduleEvent", fields, How::default()).unwrap();
        }
        let consumer = Consumers::default().enter(MOST_UNCONFIRMED);
        let has_room = || pin!(consumer.room()).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(());
        let mut bytes = 0;
        while has_room() {
            let Some(Delivery::Event(taken)) = subscription.try_next() else { panic!("it has room for all") };
            bytes += taken.told().bytes;
            consumer.hold(taken);
        }
        assert!((MOST_BYTES..MOST_BYTES + 250_000).contains(&bytes), "{bytes}");
        consumer.window.held().as_mut().unwrap().take(1).unwrap().done();
        assert!(has_room());
        drop(consumer);
        assert_eq!(subscription.counters().redelivered, 41, "all but the one that went well");
    }
}
