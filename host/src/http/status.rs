//! How a datasource is: the predecessor's six keys, and what it did not say.

use super::State;
use super::error::Error;
use super::extract::Path;
use super::predecessor::find;
use crate::datasource::View;
use axum::Json;
use axum::extract::State as Extract;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The predecessor's are texts, as Python writes them; its clients print every key there is. Ours have types.
pub(super) async fn of_datasource(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
) -> Result<Json<Value>, Error> {
    let View { record, status } = find(&state, &ds)?;
    let name = &record.name;
    let tables = state.datasources.tables(name).unwrap_or_default();
    // Of a source that has nothing to read, polls are no updates: what clients write is.
    let is_read = tables.is_empty() || tables.iter().any(|table| !table.pushed);
    let (polls, polled) = if is_read { (status.polls, status.last_poll) } else { (0, None) };
    let updates = polls + status.writes;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "None".to_owned());
    let subscribers = state.bus.subscribers_of(name);
    // Who is no service, a reader of a stream perhaps, has no name to be listed by.
    let named: BTreeSet<&str> = subscribers.iter().filter_map(|s| s["service"].as_str()).collect();
    let followed: BTreeSet<&str> = subscribers.iter().filter_map(|s| s["table"].as_str()).collect();
    let slots = state.bus.slots_of(name);
    let views = || slots.iter().filter_map(|slot| slot.view());
    Ok(Json(json!({
        "last_updated": or_none(polled.max(status.last_write).map(|time| time.to_string())),
        "last_error": or_none(Some(status.error).filter(|error| !error.is_empty())),
        "number_of_updates": updates.to_string(),
        "initialized": if status.polls + status.writes > 0 { "True" } else { "False" },
        "subscriptions": state.bus.subscribed_by(name),
        "subscribers": named,
        "state": status.phase.as_str(),
        "since": status.since.to_string(),
        "generation": status.generation,
        "polls": status.polls,
        "failed_polls": status.failures,
        "writes": status.writes,
        "tables": views().count(),
        "rows": views().map(|view| view.rows.num_rows()).sum::<usize>(),
        "followed_tables": followed,
        "followers": subscribers.len(),
        "text": Some(status.text).filter(|text| !text.is_empty()),
    })))
}
