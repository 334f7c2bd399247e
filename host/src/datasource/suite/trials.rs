//! Probations: how they end, and what is left when nobody hears of that.

use super::{Bed, LONG, settle};
use crate::datasource::Phase;
use crate::plugin::{Lenience, Tenants, Terms};
use busway_plugin_api::TableSpec;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Row {
    by: String,
}

/// Switched to generation 2, whose sources do `step` badly when they are in charge.
async fn on_probation(terms: Terms, bad: impl FnOnce(&Bed)) -> Bed {
    let bed = Bed::two(|_| ()).await;
    bed.script.hold("pause one 1.0");
    let switched = bed.switch(2, terms);
    bed.script.saw("pause one 1.0").await;
    bad(&bed);
    bed.script.free("pause one 1.0");
    assert_eq!(switched.await.unwrap().unwrap().sources, 2);
    bed
}

#[tokio::test]
async fn inv05_a_probation_under_which_errors_are_accepted_comes_to_an_end() {
    let bed = on_probation(Terms { accept_errors: Lenience::new(true), ..Terms::default() }, |bed| {
        bed.script.fail("poll one 2.0")
    })
    .await;
    let proven = tokio::time::timeout(LONG, bed.all.probe("fake", Duration::from_millis(1))).await;
    assert_eq!(proven, Ok(Ok(())));
    bed.catalog.serve(bed.script.generation(2));
    bed.all.retire("fake", Duration::ZERO).await;
    assert_eq!(bed.until_phase("one", Phase::Degraded).await.error, "poll one 2.0 fails on purpose");
    // A fault of the code is none of them.
    let bed = on_probation(Terms { accept_errors: Lenience::new(true), ..Terms::default() }, |bed| {
        bed.script.panic("poll one 2.0")
    })
    .await;
    let fault = bed.all.probe("fake", LONG).await.unwrap_err();
    assert_eq!((fault.datasource.as_deref(), fault.step, fault.code_fault), (Some("one"), "be polled", true));
}

#[tokio::test]
async fn inv05_a_fault_on_probation_that_nobody_heard_is_its_sources_own() {
    for panics in [false, true] {
        let bed = on_probation(Terms::default(), |bed| match panics {
            true => bed.script.panic("poll one 2.0"),
            false => bed.script.fail("poll one 2.0"),
        })
        .await;
        bed.script
            .until("a poll in charge", |log| log.iter().filter(|step| *step == "poll one 2.0").count() >= 2)
            .await;
        settle().await;
        bed.catalog.serve(bed.script.generation(2));
        bed.all.retire("fake", Duration::ZERO).await;
        let phase = if panics { Phase::Failed } else { Phase::Degraded };
        assert_eq!(bed.until_phase("one", phase).await.error, "poll one 2.0 fails on purpose");
        bed.script.mend("poll one 2.0");
        if panics {
            bed.script.until("another", |log| log.iter().filter(|step| *step == "open one 2.0").count() == 2).await;
        } else {
            bed.all.refresh("one").unwrap();
        }
        bed.until_phase("one", Phase::Running).await;
        bed.all.webhook("one", Some("t".to_owned()), json!(1)).await.unwrap();
    }
}

#[tokio::test]
async fn inv05_one_that_could_not_be_activated_and_nobody_heard_is_opened_anew() {
    let bed = on_probation(Terms::default(), |bed| bed.script.fail("activate one 2.0")).await;
    bed.catalog.serve(bed.script.generation(2));
    bed.all.retire("fake", Duration::ZERO).await;
    assert_eq!(bed.until_phase("one", Phase::Failed).await.error, "activate one 2.0 fails on purpose");
    assert!(bed.script.has("close one 2.0"));
    bed.script.mend("activate one 2.0");
    bed.script.until("another", |log| log.iter().filter(|step| *step == "activate one 2.0").count() == 2).await;
    bed.until_phase("one", Phase::Running).await;
    bed.all.webhook("one", Some("t".to_owned()), json!(1)).await.unwrap();
}

#[tokio::test]
async fn inv05_what_clients_wrote_is_there_again_when_a_build_without_that_table_is_taken_back() {
    let bed = Bed::new(&[("t", false), ("w", false)]).await;
    bed.script.pushed("w");
    bed.script.without(2, "w");
    bed.catalog.serve(bed.script.generation(1));
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    bed.until_phase("web", Phase::Running).await;
    let written = bed.all.written("web", "w").await.unwrap();
    written.replace(TableSpec::of::<Row>("w").rows(&[Row { by: "a client".to_owned() }]).unwrap()).unwrap();
    assert_eq!(bed.by("web/w").as_deref(), Some("a client"));
    bed.switch(2, Terms::default()).await.unwrap().unwrap();
    assert_eq!(bed.by("web/w"), None);
    let ledger = bed.all.revert("fake").await;
    assert_eq!((ledger.gap, ledger.dup), (0, 0));
    assert_eq!(bed.by("web/w").as_deref(), Some("a client"));
    // And clients write on.
    let written = bed.all.written("web", "w").await.unwrap();
    written.replace(TableSpec::of::<Row>("w").rows(&[Row { by: "another".to_owned() }]).unwrap()).unwrap();
    assert_eq!(bed.by("web/w").as_deref(), Some("another"));
}

/// What the former source publishes as it goes on is newer than what it had when it was replaced.
#[tokio::test]
async fn inv05_what_a_source_publishes_as_it_goes_on_again_is_not_put_back() {
    let bed = Bed::new(&[("t", false), ("w", false)]).await;
    bed.script.pushed("w");
    bed.script.without(2, "w");
    bed.script.resuming("w");
    bed.catalog.serve(bed.script.generation(1));
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    bed.until_phase("web", Phase::Running).await;
    bed.all.webhook("web", Some("w".to_owned()), json!(1)).await.unwrap();
    bed.switch(2, Terms::default()).await.unwrap().unwrap();
    assert_eq!(bed.by("web/w"), None);
    bed.all.revert("fake").await;
    assert_eq!(bed.by("web/w").as_deref(), Some("web 1.0 again"));
}
