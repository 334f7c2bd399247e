//! Events: published, looked up, followed, and what types there are.

mod asked;
mod consumer;
mod fault;
mod incoming;
mod live;

pub(super) use consumer::{Consumers, confirm};
pub(super) use incoming::publish;
pub(super) use live::{Streams, stream};

use super::State;
use super::error::Error;
use super::extract::Path;
use super::json::{written, written_in_turn};
use crate::event::{Archive, EventError, Place, SubscriptionView, describe};
use asked::{Asked, OF_PAGES};
use axum::Json;
use axum::extract::{RawQuery, State as Extract};
use axum::response::Response;
pub(in crate::http) use fault::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// So many look into the archive, or wait for its readers; more wait without a thread.
static OF_ARCHIVE: Semaphore = Semaphore::const_new(16);

/// What happened lately, in the order in which it was published.
pub(super) async fn list(Extract(state): Extract<State>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let events = state.happenings.events;
    let asked = Asked::read(events.catalogue(), query.as_deref(), &OF_PAGES)?;
    if asked.archived {
        let archive = state.happenings.archive.ok_or(Fault::NoArchive)?;
        return archived(archive, asked).await;
    }
    let after = match &asked.place()? {
        None => None,
        Some(place) => match events.position_of(place) {
            Some(position) if position > events.position() => {
                let last = events.place(events.position());
                return Err(Fault::Ahead { place: place.clone(), last }.into());
            }
            Some(position) => Some(position),
            None => return Err(Fault::OtherRun(place.clone()).into()),
        },
    };
    let end = |place: Place| events.position_of(&place).ok_or(Fault::OtherRun(place));
    let before = asked.end()?.map(end).transpose()?;
    let query = asked.query(after, before);
    // Looks at many events, and writes them.
    written(move || {
        let read = events.read(&query);
        let told: Vec<Value> = read.page.events.iter().map(|told| events.to_json(told)).collect();
        let place = |position: u64| events.place(position).to_string();
        let gap = query.after.is_some() && !read.whole;
        let (next, previous) = (read.page.next.map(place), read.page.previous.map(place));
        Ok(json!({
            "events": told, "next": next, "previous": previous, "position": place(read.position), "gap": gap,
            "cut": read.page.cut,
        }))
    })
    .await
}

/// The same, over restarts.
async fn archived(archive: Arc<Archive>, asked: Asked) -> Result<Response, Error> {
    let after = asked.archived_place()?;
    let query = asked.query(after, None);
    written_in_turn(&OF_ARCHIVE, move || {
        let page = archive.page(&query).map_err(|error| Error::internal(&error))?;
        let next = page.next.map(|next| next.to_string());
        let events: Vec<Value> = page.events.into_iter().map(|(_, event)| event).collect();
        Ok(json!({"events": events, "next": next, "cut": page.cut, "unreadable": page.unreadable}))
    })
    .await
}

/// What can happen.
pub(super) async fn types(Extract(state): Extract<State>) -> Json<Value> {
    let all = state.happenings.events.catalogue().all();
    Json(json!({"results": all.iter().map(|one| describe(one)).collect::<Vec<_>>()}))
}

/// One of these, by its name or its number.
pub(super) async fn one_type(Extract(state): Extract<State>, Path(name): Path<String>) -> Result<Json<Value>, Error> {
    let catalogue = state.happenings.events.catalogue();
    match catalogue.find(&name).as_slice() {
        [one] => Ok(Json(describe(one))),
        [] => Err(EventError::NoType { nearest: catalogue.nearest(&name), name }.into()),
        several => {
            let names = several.iter().map(|one| one.name.to_string()).collect();
            Err(EventError::Ambiguous { id: name.parse().unwrap_or_default(), names }.into())
        }
    }
}

/// Who listens.
pub(super) async fn subscriptions(Extract(state): Extract<State>) -> Json<Value> {
    let one = |SubscriptionView { topics, queue, counters }| {
        json!({
            "topics": topics, "queue": queue, "waiting": {"events": counters.waiting, "bytes": counters.bytes},
            "delivered": counters.delivered, "dropped": counters.dropped, "redelivered": counters.redelivered,
            "given_up": counters.given_up,
        })
    };
    Json(json!({"results": state.happenings.events.subscriptions().into_iter().map(one).collect::<Vec<_>>()}))
}
