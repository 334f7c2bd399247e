//! The books of a reload, with something in the room that is not in them.

use super::{Bed, settle};
use crate::datasource::entry::Entry;
use crate::plugin::HostCalls;
use crate::plugin::{Ledger, Tenants, Terms};
use busway_plugin_api::TableSpec;
use busway_plugin_api::table::{Change, Update};
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
async fn a_publication_that_is_lost_on_its_way_to_the_table_is_found_out() {
    let ledger = balance(|entry| {
        let ingest = Arc::clone(&entry.shared().open().unwrap().ingest);
        ingest.lose("t");
        let rows = TableSpec::of::<Row>("t").rows(&[Row { by: "somebody".to_owned() }]).unwrap();
        ingest.publish(Update::bare("t", Change::Snapshot(rows))).unwrap();
    })
    .await;
    assert_eq!(ledger, Ledger { produced: 2, gap: 1, ..GOOD });
}

#[tokio::test]
async fn what_a_poll_gave_and_no_table_got_is_found_out() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.vary();
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    let to = bed.script.generation(2);
    bed.all.switch(Arc::clone(&to), Terms::default()).await.unwrap();
    let polled = |rounds: usize| {
        let polls = move |log: &Vec<String>| log.iter().filter(|step| *step == "polled web 2.0 [t]").count();
        bed.script.until("a poll", move |log| polls(log) == rounds)
    };
    polled(2).await;
    let entry = bed.all.find("web").unwrap();
    while bed.by("web/t").as_deref() != Some("web 2.0 2") {
        tokio::task::yield_now().await;
    }
    entry.shared().open().unwrap().ingest.lose("t");
    bed.all.refreshed("web").await.unwrap();
    polled(3).await;
    bed.catalog.serve(to);
    let ledger = bed.all.retire("fake", Duration::ZERO).await;
    assert_eq!(ledger, Ledger { tables: 1, produced: 3, accepted: 2, delivered: 2, gap: 1, dup: 0 });
}
