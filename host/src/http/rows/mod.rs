//! Rows of a table as they are now: whole or by pages, chosen and ordered, as JSON, CSV or Arrow.
//!
//! | parameter | |
//! |---|---|
//! | `limit=N` | a page of so many rows, 100,000 at most. Without: all rows |
//! | `cursor=…` | the next page: what the last answer gave as `next`, with the same order and filters |
//! | `order=a,-b` | by `a`, then by `b` with the greatest first; nulls are last either way; then by the key |
//! | `COLUMN=value` | only rows that have it; of several values any, of several columns all. Null is no value |
//! | `null.COLUMN=true` | also, or only, rows without a value there; `false`: only those with one |
//! | `where.COLUMN=value` | the same, for a column with a parameter's name: `where.limit=5` |
//! | `columns=a,b` | only these, in this order |
//! | `format=json`, `csv`, `arrow` | otherwise `Accept` says it |
//! | `after=EPOCH:SEQ`, `after=SEQ` | only if the table is past that state; else 204 |
//! | `wait=SECONDS` | with `after`: until it is, 60 at most |
//!
//! All pages are of one state. The host keeps nothing for who reads them: when the table moved on meanwhile, the answer is a
//! 410 of the kind `CursorExpired`, and one begins again. Who needs a large table that changes often asks for it without
//! `limit`: however long that takes to read, it is one state.
//!
//! Every answer says in its headers which state it is of (`x-busway-epoch`, `x-busway-seq`), when that was last known to be
//! true (`x-busway-as-of`) and whether it may be out of date (`x-busway-stale`: the last attempt to read the table failed, or
//! its node is silent); JSON says it, too. The `ETag` is of the rows alone: with `If-None-Match` a table that was read again
//! and is what it was is a 304, whose headers have the new time.

mod arrow;
mod asked;
mod csv;
mod cursor;
mod fault;
mod format;
mod lists;
mod news;
mod page;
#[cfg(test)]
mod tests;
mod writing;

use super::State;
use super::error::Error;
use super::etag;
use super::extract::Path;
use super::predecessor;
use super::services::{address, no_table};
use crate::bus::{Address, TableView, View};
use asked::{After, Asked};
use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use cursor::Cursor;
use fault::Fault;
use format::Format;
use futures_util::stream;
use page::Page;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use writing::Writing;

/// Another node is asked for a table's rows for so long.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Whose paths a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    /// A service's.
    Service,
    /// A datasource's, as the predecessor has them.
    Predecessor,
}

/// Any service's table.
pub(super) async fn of_service(
    Extract(state): Extract<State>,
    Path(names): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    Request { state, face: Face::Service, names, uri, headers }.answer().await
}

/// A datasource's table; the datasource by name or id.
pub(super) async fn of_datasource(
    Extract(state): Extract<State>,
    Path(names): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    Request { state, face: Face::Predecessor, names, uri, headers }.answer().await
}

struct Request {
    state: State,
    face: Face,
    /// Of the service or datasource, and of the table.
    names: (String, String),
    uri: Uri,
    headers: HeaderMap,
}

impl Request {
    async fn answer(&self) -> Result<Response, Error> {
        let asked = Asked::read(self.uri.query().unwrap_or_default())?;
        let format = asked.format.map_or_else(|| Format::accepted(&self.headers), Ok)?;
        let mut view = self.look().await?;
        if let Some(after) = asked.after.filter(|after| !after.is_past(&view)) {
            let after = After { epoch: after.epoch.or(Some(view.epoch)), ..after };
            if !asked.wait.is_zero() {
                let came = news::come(&self.state, &view.address, after, asked.wait).await;
                view = match self.look().await {
                    Err(_) if !came => view,
                    seen => seen?,
                };
            }
            if !after.is_past(&view) {
                return Ok((StatusCode::NO_CONTENT, self.said_of(&view)).into_response());
            }
        }
        self.rows(asked, format, view).await
    }

    /// The table as it is now.
    async fn look(&self) -> Result<Arc<TableView>, Error> {
        let (state, (service, table)) = (&self.state, &self.names);
        if self.face == Face::Predecessor {
            return predecessor::view(state, service, table);
        }
        let address = address(service, table)?;
        let everything = View::default();
        let seen = state.bus.look(&address, None, &everything).map_err(|e| Error::bad_request(e.to_string()))?;
        let seen = match seen {
            Some(view) => Some(view),
            // One of another node, perhaps, that nobody here follows.
            None if state.bus.is_elsewhere(service) => {
                let asked = state.bus.request(&address, everything, ELSEWHERE).await;
                asked.ok().and_then(|replies| replies.into_iter().next()?.table)
            }
            None => None,
        };
        seen.ok_or_else(|| {
            let slots = state.bus.slots_of(service);
            let failed = slots.iter().find(|slot| **slot.address() == address).and_then(|slot| slot.error());
            match failed {
                Some(error) => Error::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("table {address} could not be read yet: {error}"),
                ),
                None => no_table(state, service, table),
            }
        })
    }

    /// Whether a table may be out of date.
    fn is_stale(&self, view: &TableView) -> bool {
        let node = &*view.publisher.node;
        let is_silent = || self.state.bus.nodes().iter().any(|n| n.node == node && n.state == "suspect");
        view.error.is_some() || (node != self.state.bus.node() && is_silent())
    }

    /// The headers that every answer has.
    fn said_of(&self, view: &TableView) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-busway-epoch", view.epoch.0.into());
        headers.insert("x-busway-seq", view.to.into());
        if let Some(as_of) = view.as_of.and_then(|t| HeaderValue::try_from(t.to_string()).ok()) {
            headers.insert("x-busway-as-of", as_of);
        }
        headers.insert("x-busway-stale", HeaderValue::from_static(if self.is_stale(view) { "true" } else { "false" }));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        // To be kept, but not to be used without asking whether it is still so.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers
    }

    async fn rows(&self, asked: Asked, format: Format, view: Arc<TableView>) -> Result<Response, Error> {
        let fitted = asked.fit(&view.shape)?;
        let shown = self.state.bus.mark_of(&view.address);
        let mark = asked.mark(shown);
        let position = (view.epoch, view.to);
        let from = match asked.cursor {
            None => 0,
            Some(cursor) if cursor.of != position => return Err(expired(&view.address, cursor, position)),
            Some(cursor) if cursor.mark != mark => return Err(Fault::CursorElsewhere.into()),
            Some(cursor) => cursor.at,
        };
        let mut headers = self.said_of(&view);
        let shape = asked.shape((view.publisher.instance, shown), self.face.name(), format);
        let etag = format!("\"{:x}-{:x}-{shape:x}\"", view.epoch.0, view.to);
        if let Ok(etag) = HeaderValue::try_from(&etag) {
            headers.insert(header::ETAG, etag);
        }
        if etag::is_known(&self.headers, &etag) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));

        let (stale, face, limit) = (self.is_stale(&view), self.face, asked.limit);
        let begin = move || {
            let columns = fitted.columns.clone();
            let page = Page::of(view.rows.clone(), fitted, from, limit)?;
            let next = page.next.map(|at| Cursor { of: position, at, mark }.to_string());
            let mut writing = Writing::of(&view, stale, &columns, page, next.clone(), (face, format))?;
            let first = writing.part()?;
            Ok::<_, arrow_schema::ArrowError>((first, next, writing))
        };
        let begun = tokio::task::spawn_blocking(begin).await.map_err(|e| Error::internal(&e))?;
        let (first, next, writing) = begun.map_err(|e| Error::internal(&e))?;
        if let Some(link) = next.and_then(|next| self.link(&next)) {
            headers.insert(header::LINK, link);
        }
        let body = if writing.is_done() { Body::from(first) } else { parts(first, writing) };
        Ok((headers, body).into_response())
    }

    /// Where the next page is.
    fn link(&self, next: &str) -> Option<HeaderValue> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(self.uri.query().unwrap_or_default()).ok()?;
        let others = pairs.iter().filter(|(name, _)| !["cursor", "after", "wait"].contains(&name.as_str()));
        let mut pairs: Vec<(&str, &str)> = others.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.push(("cursor", next));
        let query = serde_urlencoded::to_string(pairs).ok()?;
        HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", self.uri.path())).ok()
    }
}

impl Face {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Predecessor => "predecessor",
        }
    }
}

fn expired(address: &Address, cursor: Cursor, (epoch, to): crate::bus::Position) -> Error {
    let was = format!("{}:{}", cursor.of.0, cursor.of.1);
    Fault::CursorExpired { address: address.clone(), was, now: format!("{epoch}:{to}") }.into()
}

/// A large answer, written as it is read.
fn parts(first: Vec<u8>, writing: Writing) -> Body {
    let further = |writing: Option<Writing>| async move {
        let mut writing = writing.filter(|writing| !writing.is_done())?;
        let part = tokio::task::spawn_blocking(move || writing.part().map(|part| (part, writing))).await;
        match part {
            Ok(Ok((part, writing))) => Some((Ok(Bytes::from(part)), Some(writing))),
            // The answer ends in the middle: its reader sees that it is not whole.
            Ok(Err(error)) => Some((Err(io::Error::other(error)), None)),
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    };
    let first = stream::once(async { Ok::<_, io::Error>(Bytes::from(first)) });
    Body::from_stream(futures_util::StreamExt::chain(first, stream::unfold(Some(writing), further)))
}
