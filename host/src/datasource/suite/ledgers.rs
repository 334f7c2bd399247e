//! The books of a reload, with something in the room that is not in them.

use super::{Bed, settle};
use crate::datasource::entry::Entry;
use crate::plugin::{Ledger, Tenants, Terms};
use busway_plugin_api::TableSpec;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Row {
    by: String,
}

/// A reload; `on_probation` happens while the former source waits.
async fn balance(on_probation: impl FnOnce(&Arc<Entry>)) -> Ledger {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    let to = bed.script.generation(2);
    bed.all.switch(Arc::clone(&to), Terms::default()).await.unwrap();
    let polls = |log: &Vec<String>| log.iter().filter(|step| *step == "polled web 2.0 [t]").count();
    // What it is read for once more, in charge, is the same.
    bed.script.until("a poll in charge", |log| polls(log) == 2).await;
    settle().await;
    on_probation(&bed.all.find("web").unwrap());
    bed.catalog.serve(to);
    bed.all.retire("fake", Duration::ZERO).await
}

const GOOD: Ledger = Ledger { tables: 1, produced: 1, accepted: 1, delivered: 1, gap: 0, dup: 0 };

#[tokio::test]
async fn books_of_a_good_reload_balance() {
    assert_eq!(balance(|_| {}).await, GOOD);
}

#[tokio::test]
async fn a_state_that_no_source_made_is_found_out() {
    let ledger = balance(|entry| {
        let rows = [Row { by: "nobody".to_owned() }];
        entry.service().publish(&TableSpec::of::<Row>("t"), &rows).unwrap();
    })
    .await;
    assert_eq!(ledger, Ledger { accepted: 2, delivered: 2, dup: 1, ..GOOD });
}

#[tokio::test]
async fn a_state_that_a_source_made_and_nobody_was_given_is_found_out() {
    let ledger = balance(|entry| entry.shared().open().unwrap().ingest.swallow("t")).await;
    assert_eq!(ledger, Ledger { produced: 2, gap: 1, ..GOOD });
}
