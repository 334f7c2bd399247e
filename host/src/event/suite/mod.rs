//! The room as a whole: what is published is told to whom it concerns, and to nobody else.

mod catalogue;
mod history;
mod publishing;
mod subscribing;

use super::*;
use jiff::Timestamp;
use serde_json::{Map, json};

pub(super) fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(super) fn quiet() -> Events {
    Events::new(Settings { rate: None, ..Settings::default() })
}

fn of(events: &Events, pattern: &str) -> Subscription {
    let topics = Topics::matching(events.catalogue(), pattern).unwrap();
    events.subscribe(&Listening { topics: Some(topics), ..Listening::default() })
}

/// All that waits, by id; gaps are a fault.
fn ids(subscription: &Subscription) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(delivery) = subscription.try_next() {
        let Delivery::Event(taken) = delivery else { panic!("{delivery:?}") };
        ids.push(taken.event().id.clone());
        taken.done();
    }
    ids
}

/// Waits for what is to be so.
pub(super) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(tokio::time::Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
