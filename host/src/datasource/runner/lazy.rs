//! Tables that are polled only while somebody subscribes to them.

use super::Open;
use crate::bus::Service;
use busway_plugin_api::message::PollRequest;
use std::collections::BTreeSet;

/// The tables to poll, when some are polled only while somebody subscribes to them: those that nobody does subscribe to
/// are left out, and what is left of them ends.
pub(super) async fn without_idle(service: &Service, open: &Open, request: PollRequest) -> PollRequest {
    if let Err(error) = open.learn_tables().await {
        tracing::debug!(datasource = service.name(), %error, "the source does not say which tables it has");
    }
    for table in idle(service, open).iter().filter(|table| service.has(table)) {
        open.ingest.expect_none(table);
        service.end(table);
    }
    // Who came in the meantime was not told of what ended: it is polled.
    offer_idle(service, open);
    awake(service, open, request)
}

/// The tables that are polled only while somebody subscribes to them, and that nobody does.
fn idle(service: &Service, open: &Open) -> BTreeSet<String> {
    let declared = open.tables().into_iter();
    declared.filter(|t| t.lazy && !service.is_wanted(&t.name)).map(|t| t.name).collect()
}

/// Patterns meet such a table before anybody reads it.
pub(super) fn offer_idle(service: &Service, open: &Open) {
    for table in idle(service, open) {
        if let Err(error) = service.offer(&table) {
            tracing::warn!(datasource = service.name(), %error, "a table that can't be one");
        }
    }
}

/// A poll of all tables but those.
pub(super) fn awake(service: &Service, open: &Open, request: PollRequest) -> PollRequest {
    let idle = idle(service, open);
    let declared = open.tables().into_iter().map(|t| t.name);
    let all: BTreeSet<String> = declared.chain(service.tables()).filter(|t| !idle.contains(t)).collect();
    PollRequest { tables: Some(all.into_iter().collect()), ..request }
}
