//! Streams of tables: server-sent events, of one table or of all that patterns meet.
//!
//! A table comes as one `snapshot` event or, when it is large, as several: only the last has an id. Then each `step` has
//! one. Who comes back with the last id goes on from there, when the table still has the steps.

use super::State;
use super::body::{self, Part, Parts};
use super::error::Error;
use super::extract::{Path, bad_query};
use super::json::Unique;
use super::services::{address, no_table};
use crate::bus::{
    Address, Delivery, Message, Mode, Position, Selector, SubscribeError, SubscribeOptions, Subscription, View,
};
use crate::table::{Epoch, Step};
use axum::extract::{RawQuery, State as Extract};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use busway_plugin_api::message::encode;
use futures_util::future::select_all;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A comment says so often that the host is still there.
const BEAT: Duration = Duration::from_secs(15);
/// Steps of fewer bytes are written at once.
const SMALL: usize = 16 << 10;
/// So many patterns at most are followed by one stream.
const PATTERNS: usize = 64;

type Events<S> = Sse<axum::response::sse::KeepAliveStream<S>>;

/// What a stream's query asks for.
#[derive(Debug, Default)]
struct Asked {
    tables: Vec<Selector>,
    view: View,
    mode: Mode,
    from: Option<Place>,
}

/// Where a client stands: a position, and the mark of the view in which it is one.
type Place = (Position, u64);

impl Asked {
    /// `keys`: what may be asked for here.
    fn read(query: Option<&str>, keys: &[&str]) -> Result<Self, Error> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default()).map_err(bad_query)?;
        let (mut asked, mut view, mut whole) = (Self::default(), serde_json::Map::new(), None);
        for (key, value) in pairs {
            if !keys.contains(&key.as_str()) {
                let keys = keys.join(", ");
                return Err(Error::bad_request(format!("a stream has no parameter {key:?}: it has {keys}")));
            }
            match key.as_str() {
                "tables" => asked.tables.push(value.parse().map_err(|e| Error::bad_request(format!("{e}")))?),
                "topic" => {
                    if let Value::Array(topics) = view.entry("topics").or_insert_with(|| json!([])) {
                        topics.push(value.into());
                    }
                }
                "columns" => {
                    view.insert("columns".to_owned(), value.split(',').map(str::trim).collect());
                }
                "view" => whole = Some(value),
                "mode" => {
                    asked.mode = match value.as_str() {
                        "steps" => Mode::Steps,
                        "states" => Mode::States,
                        _ => {
                            return Err(Error::bad_request(format!("{value:?} is no mode: write steps or states")));
                        }
                    }
                }
                _ => asked.from = Some(position(&value)?),
            }
        }
        let view = match whole {
            None => Value::Object(view),
            Some(text) if view.is_empty() => serde_json::from_str(&text)
                .map(|Unique(view)| view)
                .map_err(|e| Error::bad_request(format!("the view is no JSON object: {e}")))?,
            Some(_) => {
                return Err(Error::bad_request("write topics and columns into the view, or leave the view out"));
            }
        };
        asked.view = serde_json::from_value(view).map_err(|e| Error::bad_request(format!("no such view: {e}")))?;
        Ok(asked)
    }
}

/// An event's id.
fn position(text: &str) -> Result<Place, Error> {
    let mut words = text.split(':');
    let mut read = || -> Option<Place> {
        let at = (Epoch(words.next()?.parse().ok()?), words.next()?.parse().ok()?);
        let mark = words.next().map_or(Some(0), |mark| u64::from_str_radix(mark, 16).ok())?;
        words.next().is_none().then_some((at, mark))
    };
    read().ok_or_else(|| {
        let why = format!("{text:?} is no place in a stream: give an event's id, EPOCH:NUMBER, or none to begin anew");
        Error::bad_request(why)
    })
}

fn impossible(error: &SubscribeError) -> Error {
    Error::bad_request(error.to_string())
}

/// One table. A service that is there may get the table later; the stream waits for it.
pub(super) async fn one(
    Extract(state): Extract<State>,
    Path((service, table)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Events<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let address = address(&service, &table)?;
    let asked = Asked::read(query.as_deref(), &["topic", "columns", "view", "mode", "from"])?;
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()));
    let from = match last.as_deref().map(str::trim).filter(|id| !id.is_empty()) {
        // A browser that reconnects asks with the address it began with.
        Some(id) => Some(position(id)?),
        None => asked.from,
    };
    if !state.bus.has_service(&service) {
        return Err(no_table(&state, &service, &table));
    }
    let (resume, resume_mark) = (from.map(|(at, _)| at), from.map_or(0, |(_, mark)| mark));
    let options = SubscribeOptions { view: asked.view, mode: asked.mode, resume, resume_mark, ..Default::default() };
    let subscription = state.bus.subscribe_with(&address, options).map_err(|e| impossible(&e))?;
    let first = from.map(|(from, mark)| match subscription.resumed() {
        true => {
            let (service, table) = (address.service(), address.table());
            let data = json!({"service": service, "table": table, "epoch": from.0.0, "to": from.1});
            Event::default().event("resumed").data(encode(&data))
        }
        false => {
            let reason = match mark == subscription.mark() {
                true => why_not(&state, &address, from),
                false => "that was a place in another view of the table".to_owned(),
            };
            let data = json!({"service": address.service(), "table": address.table(), "reason": reason});
            Event::default().event("reset").data(encode(&data))
        }
    });
    Ok(events(Following { ids: true, first, ..Following::new(vec![subscription], &state) }))
}

/// Why a table can't go on from there.
fn why_not(state: &State, address: &Address, (epoch, to): Position) -> String {
    match state.bus.table(address).map(|table| (table.epoch, table.to)) {
        None => "the table is not there now".to_owned(),
        Some((now, _)) if now != epoch => format!("the table began anew: its epoch is {now}, not {epoch}"),
        Some((_, now)) if now < to => format!("the table is at step {now}: it never was at {to} of this epoch"),
        Some((_, now)) => format!("the steps from {to} to {now} are not all kept any more"),
    }
}

/// All tables that patterns meet, those that come later too.
pub(super) async fn many(
    Extract(state): Extract<State>,
    RawQuery(query): RawQuery,
) -> Result<Events<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let asked = Asked::read(query.as_deref(), &["tables", "topic", "columns", "view", "mode"])?;
    if asked.tables.is_empty() || asked.tables.len() > PATTERNS {
        let why =
            format!("name tables by pattern, {PATTERNS} at most: ?tables=web.*/orders, or ?tables=%23/%23 for all");
        return Err(Error::bad_request(why));
    }
    let begin = |tables: Selector| {
        let options = SubscribeOptions { view: asked.view.clone(), mode: asked.mode, ..SubscribeOptions::default() };
        state.bus.subscribe_with(tables, options).map_err(|e| impossible(&e))
    };
    let subscriptions = asked.tables.into_iter().map(begin).collect::<Result<Vec<_>, _>>()?;
    Ok(events(Following::new(subscriptions, &state)))
}

fn events(following: Following) -> Events<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(BEAT).text("keep-alive"))
}

/// A stream on its way to a client.
struct Following {
    subscriptions: Vec<Subscription>,
    /// Which of several subscriptions to one table is heard.
    heard: HashMap<Arc<Address>, usize>,
    /// What is said before anything else.
    first: Option<Event>,
    /// The snapshot that is being sent.
    parts: Option<Parts>,
    /// Whether an event's id is a place to come back to.
    ids: bool,
    stopping: watch::Receiver<bool>,
}

impl Following {
    fn new(subscriptions: Vec<Subscription>, state: &State) -> Self {
        let (heard, stopping) = (HashMap::new(), state.stopping.clone());
        Self { subscriptions, heard, first: None, parts: None, ids: false, stopping }
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            if let Some(parts) = self.parts.take() {
                return Some(self.part(parts).await);
            }
            let (delivery, from) = tokio::select! {
                delivery = heard(&mut self.subscriptions) => delivery,
                _ = self.stopping.wait_for(|stop| *stop) => return None,
            };
            let Some(Delivery { address, message }) = self.admit(delivery, from) else { continue };
            match message {
                Message::Snapshot(view) => self.parts = Some(Parts::of(view)),
                Message::Step(step) => return Some(self.step(address, step).await),
                Message::Gone => {
                    let data = json!({"service": address.service(), "table": address.table()});
                    return Some(Event::default().event("gone").data(encode(&data)));
                }
            }
        }
    }

    async fn part(&mut self, mut parts: Parts) -> Event {
        let address = Arc::clone(&parts.view().address);
        let id = (parts.view().epoch, parts.view().to);
        // A large table's text is no work for a thread that others wait for.
        let written = tokio::task::spawn_blocking(move || parts.next().map(|part| (part, parts))).await;
        match written.unwrap_or_else(|e| Err(Error::internal(&e))) {
            Ok((Part { text, more }, parts)) => {
                self.parts = more.then_some(parts);
                self.event("snapshot", (!more).then_some(id), text)
            }
            Err(error) => failed(&address, &error),
        }
    }

    async fn step(&self, address: Arc<Address>, step: Arc<Step>) -> Event {
        let id = (step.epoch, step.to);
        let written = if step.bytes() < SMALL {
            body::step(&address, &step)
        } else {
            let (address, step) = (Arc::clone(&address), Arc::clone(&step));
            let written = tokio::task::spawn_blocking(move || body::step(&address, &step)).await;
            written.unwrap_or_else(|e| Err(Error::internal(&e)))
        };
        match written {
            Ok(text) => self.event("step", Some(id), text),
            Err(error) => failed(&address, &error),
        }
    }

    fn event(&self, kind: &str, id: Option<Position>, text: String) -> Event {
        let event = Event::default().event(kind).data(text);
        match id.filter(|_| self.ids) {
            Some((epoch, to)) => event.id(match self.subscriptions.first().map_or(0, Subscription::mark) {
                0 => format!("{epoch}:{to}"),
                mark => format!("{epoch}:{to}:{mark:x}"),
            }),
            None => event,
        }
    }

    /// Of a table that several patterns meet, one subscription is heard; when that one leaves, the next.
    fn admit(&mut self, delivery: Delivery, from: usize) -> Option<Delivery> {
        if self.subscriptions.len() == 1 {
            return Some(delivery);
        }
        let heard = self.heard.get(&delivery.address).copied();
        match (&delivery.message, heard) {
            (_, Some(heard)) if heard != from => return None,
            (Message::Gone, Some(_)) => {
                self.heard.remove(&delivery.address);
                // Those that still meet it were not heard so far.
                self.subscriptions.iter().for_each(|other| {
                    other.resync(&delivery.address);
                });
            }
            (Message::Gone, None) => return None,
            (Message::Snapshot(_), None) => {
                self.heard.insert(Arc::clone(&delivery.address), from);
            }
            (Message::Step(_), None) => {
                self.subscriptions.get(from).map(|heard| heard.resync(&delivery.address));
                return None;
            }
            (_, Some(_)) => {}
        }
        Some(delivery)
    }
}

/// The next message of any, and whose it is.
async fn heard(subscriptions: &mut [Subscription]) -> (Delivery, usize) {
    if let [only] = subscriptions {
        return (only.next().await, 0);
    }
    let (delivery, from, _) = select_all(subscriptions.iter_mut().map(|one| Box::pin(one.next()))).await;
    (delivery, from)
}

fn failed(address: &Address, error: &Error) -> Event {
    let data = json!({"service": address.service(), "table": address.table(), "message": error.message()});
    Event::default().event("error").data(encode(&data))
}
