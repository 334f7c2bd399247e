//! Changes that meet: reloads, changed records, generations, subscribers.

use super::{Bed, LONG, address, settle};
use crate::config::Datasource;
use crate::datasource::Phase;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Two datasources, and a reload that has prepared `one` and waits for the poll of `two`.
async fn half_prepared() -> (Bed, tokio::task::JoinHandle<Result<(), crate::plugin::SwitchError>>) {
    let bed = Bed::new(&[("t", false)]).await;
    for name in ["one", "two"] {
        bed.create(name, json!({})).await;
        bed.script.saw(&format!("activate {name} 1.0")).await;
    }
    bed.script.hold("poll two 2.0");
    let reload = bed.reload(2);
    bed.script.saw("polled one 2.0 [t]").await;
    bed.script.saw("poll two 2.0").await;
    settle().await;
    (bed, reload)
}

#[tokio::test]
async fn a_record_that_changes_during_a_reload_is_followed_after_it() {
    let (bed, reload) = half_prepared().await;
    bed.change("one", json!({"config": {"n": 1}})).await;
    settle().await;
    bed.script.free("poll two 2.0");
    reload.await.unwrap().unwrap();
    bed.script.saw("activate one 2.1").await;
    bed.script.saw("close one 2.0").await;
    assert!(!bed.script.has("open one 1.1"), "it opened a source of the generation that was on its way out");
    assert_eq!(bed.by("one/t").as_deref(), Some("one 2.1"));
}

#[tokio::test]
async fn a_record_that_changes_during_a_reload_that_fails_is_followed_after_it() {
    let (bed, reload) = half_prepared().await;
    bed.change("one", json!({"config": {"n": 1}})).await;
    bed.script.fail("poll two 2.0");
    bed.script.free("poll two 2.0");
    assert_eq!(reload.await.unwrap().unwrap_err().datasource.as_deref(), Some("two"));
    bed.script.saw("activate one 1.1").await;
    assert_eq!(bed.by("one/t").as_deref(), Some("one 1.1"));
    assert_eq!(bed.by("two/t").as_deref(), Some("two 1.0"));
    assert_eq!(bed.all.get("two").unwrap().status.phase, Phase::Running);
}

#[tokio::test]
async fn a_configuration_file_that_is_read_anew_during_a_reload_is_followed_after_it() {
    let bed = Bed::new(&[("t", false)]).await;
    let file = |n: u64| {
        let one = |name: &str| (name.to_owned(), Datasource::new("fake").poll(Duration::ZERO).option("n", n));
        BTreeMap::from(["one", "two"].map(one))
    };
    bed.all.follow_file(&file(0)).await.unwrap();
    bed.script.saw("activate one 1.0").await;
    bed.script.saw("activate two 1.0").await;
    bed.script.hold("poll two 2.0");
    let reload = bed.reload(2);
    bed.script.saw("polled one 2.0 [t]").await;
    bed.script.saw("poll two 2.0").await;
    // Twice at once: the second finds done what the first did, or somebody else there first.
    let file = file(1);
    let (first, second) = tokio::join!(bed.all.follow_file(&file), bed.all.follow_file(&file));
    first.unwrap();
    assert!(second.as_ref().is_ok_and(Vec::is_empty) || second.is_err_and(|e| e.code() == 409));
    settle().await;
    bed.script.free("poll two 2.0");
    reload.await.unwrap().unwrap();
    for name in ["one", "two"] {
        bed.script.saw(&format!("activate {name} 2.1")).await;
        assert!(!bed.script.has(&format!("open {name} 1.1")));
    }
}

#[tokio::test]
async fn a_reload_that_comes_while_a_changed_record_is_applied_goes_on_from_that() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    bed.script.hold("open web 1.1");
    bed.change("web", json!({"config": {"n": 1}})).await;
    bed.script.saw("open web 1.1").await;
    let reload = bed.reload(2);
    settle().await;
    bed.script.free("open web 1.1");
    reload.await.unwrap().unwrap();
    bed.script.saw("activate web 2.1").await;
    bed.script.saw("close web 1.1").await;
    assert!(!bed.script.has("open web 2.0"), "it moved by the former record");
    assert_eq!(bed.by("web/t").as_deref(), Some("web 2.1"));
}

#[tokio::test]
async fn while_a_changed_record_cannot_be_applied_the_former_is_in_force_over_a_reload() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    ["open web 1.1", "open web 2.1"].iter().for_each(|step| bed.script.fail(step));
    bed.change("web", json!({"config": {"n": 1}})).await;
    bed.script.saw("open web 1.1").await;
    bed.reload(2).await.unwrap().unwrap();
    bed.script.saw("activate web 2.0").await;
    assert_eq!(bed.by("web/t").as_deref(), Some("web 2.0"));
    // It is said on over what went well since.
    bed.all.refresh("web").unwrap();
    bed.script.until("poll after it", |log| log.iter().filter(|step| *step == "poll web 2.0").count() >= 2).await;
    let status = bed.all.get("web").unwrap().status;
    assert_eq!(status.phase, Phase::Degraded);
    assert!(
        status.error.starts_with("the changed configuration is not in force, the former one is"),
        "{}",
        status.error
    );
}

#[tokio::test]
async fn the_former_record_has_its_say_in_a_reload_while_a_changed_one_cannot_be_applied() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    ["open web 1.1", "open web 2.0"].iter().for_each(|step| bed.script.fail(step));
    bed.change("web", json!({"config": {"n": 1}})).await;
    bed.script.saw("open web 1.1").await;
    let refused = bed.reload(2).await.unwrap().unwrap_err();
    assert_eq!((refused.step, refused.code_fault), ("open", false));
    bed.all.refresh("web").unwrap();
    bed.script.until("poll after it", |log| log.iter().filter(|step| *step == "poll web 1.0").count() >= 2).await;
    assert!(!bed.script.has("close web 1.0"), "its source was given up for nothing");
}

#[tokio::test]
async fn a_generation_that_serves_while_a_source_of_the_former_opens_is_followed() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.hold("open web 1.0");
    bed.create("web", json!({})).await;
    bed.script.saw("open web 1.0").await;
    // As when the datasource came after those to be moved were asked.
    bed.catalog.serve(bed.script.generation(2));
    settle().await;
    bed.script.free("open web 1.0");
    bed.script.saw("activate web 2.0").await;
    bed.script.saw("close web 1.0").await;
    assert_eq!(bed.by("web/t").as_deref(), Some("web 2.0"));
}

#[tokio::test]
async fn a_generation_that_serves_while_a_changed_record_is_applied_is_followed() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    bed.script.hold("open web 1.1");
    bed.change("web", json!({"config": {"n": 1}})).await;
    bed.script.saw("open web 1.1").await;
    bed.catalog.serve(bed.script.generation(2));
    settle().await;
    bed.script.free("open web 1.1");
    bed.script.saw("activate web 2.1").await;
    bed.script.saw("close web 1.1").await;
    assert_eq!(bed.by("web/t").as_deref(), Some("web 2.1"));
}

#[tokio::test]
async fn a_reload_that_comes_while_a_source_opens_waits_for_it() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.hold("open web 1.0");
    bed.create("web", json!({})).await;
    bed.script.saw("open web 1.0").await;
    let reload = bed.reload(2);
    settle().await;
    bed.script.free("open web 1.0");
    reload.await.unwrap().unwrap();
    bed.script.saw("activate web 2.0").await;
    bed.script.saw("close web 1.0").await;
    let opened = bed.script.log().iter().filter(|step| step.starts_with("open ")).count();
    assert_eq!(opened, 2, "{:?}", bed.script.log());
}

/// A datasource of lazy tables alone, on its way to generation 2, which is prepared.
async fn lazy(
    before: bool,
) -> (Bed, Option<crate::bus::Subscription>, tokio::task::JoinHandle<Result<(), crate::plugin::SwitchError>>) {
    let bed = Bed::new(&[("lazy", true)]).await;
    bed.create("web", json!({})).await;
    bed.create("zoo", json!({})).await;
    let subscription = before.then(|| bed.bus.subscribe(address("web/lazy")));
    for name in ["web", "zoo"] {
        bed.script.saw(&format!("activate {name} 1.0")).await;
    }
    if before {
        bed.script.saw("polled web 1.0 [lazy]").await;
        bed.script.saw("told web 1.0 [lazy]").await;
    }
    bed.script.hold("poll zoo 2.0");
    let reload = bed.reload(2);
    let polled = if before { "polled web 2.0 [lazy]" } else { "polled web 2.0 []" };
    bed.script.saw(polled).await;
    bed.script.saw("poll zoo 2.0").await;
    settle().await;
    (bed, subscription, reload)
}

#[tokio::test]
async fn who_comes_for_a_lazy_table_during_a_switch_is_served_by_the_new_source() {
    let (bed, _, reload) = lazy(false).await;
    let mut subscription = bed.bus.subscribe(address("web/lazy"));
    settle().await;
    bed.script.free("poll zoo 2.0");
    reload.await.unwrap().unwrap();
    bed.script.saw("polled web 2.0 [lazy]").await;
    subscription.wait_for(|view| view.rows.num_rows() == 1, LONG).await.unwrap();
    bed.until_by("web/lazy", "web 2.0").await;
    assert!(bed.script.has("told web 2.0 [lazy]"), "{:?}", bed.script.log());
}

/// The old source serves until the switch; nobody sees the table end there.
#[tokio::test]
async fn who_comes_for_a_lazy_table_before_a_switch_keeps_it() {
    let (bed, _, reload) = lazy(false).await;
    let mut subscription = bed.bus.subscribe(address("web/lazy"));
    subscription.wait_for(|view| view.rows.num_rows() == 1, LONG).await.unwrap();
    let epoch = bed.bus.table(&address("web/lazy")).unwrap().epoch;
    assert_eq!(bed.by("web/lazy").as_deref(), Some("web 1.0"));
    bed.script.free("poll zoo 2.0");
    reload.await.unwrap().unwrap();
    bed.script.saw("polled web 2.0 [lazy]").await;
    bed.until_by("web/lazy", "web 2.0").await;
    assert_eq!(bed.bus.table(&address("web/lazy")).unwrap().epoch, epoch);
    settle().await;
    assert_eq!(bed.all.get("web").unwrap().status.phase, Phase::Running);
}

#[tokio::test]
async fn who_comes_for_a_lazy_table_during_a_switch_that_fails_is_served_by_the_old_source() {
    let (bed, _, reload) = lazy(false).await;
    let mut subscription = bed.bus.subscribe(address("web/lazy"));
    bed.script.fail("poll zoo 2.0");
    bed.script.free("poll zoo 2.0");
    reload.await.unwrap().unwrap_err();
    subscription.wait_for(|view| view.rows.num_rows() == 1, LONG).await.unwrap();
    assert_eq!(bed.by("web/lazy").as_deref(), Some("web 1.0"));
}

#[tokio::test]
async fn who_leaves_a_lazy_table_during_a_switch_leaves_none_behind() {
    let (bed, subscription, reload) = lazy(true).await;
    drop(subscription);
    settle().await;
    bed.script.free("poll zoo 2.0");
    reload.await.unwrap().unwrap();
    bed.script.saw("told web 2.0 []").await;
    bed.all.refresh("web").unwrap();
    bed.script.saw("polled web 2.0 []").await;
    assert_eq!(bed.by("web/lazy"), None);
    // It can be had again.
    let mut subscription = bed.bus.subscribe(address("web/lazy"));
    subscription.wait_for(|view| view.rows.num_rows() == 1, LONG).await.unwrap();
}

#[tokio::test]
async fn who_leaves_a_lazy_table_and_comes_back_during_a_switch_has_its_rows() {
    let (bed, subscription, reload) = lazy(true).await;
    drop(subscription);
    settle().await;
    let mut subscription = bed.bus.subscribe(address("web/lazy"));
    bed.script.free("poll zoo 2.0");
    reload.await.unwrap().unwrap();
    subscription.wait_for(|view| view.rows.num_rows() == 1, LONG).await.unwrap();
    bed.script.saw("told web 2.0 [lazy]").await;
    settle().await;
    assert_eq!(bed.by("web/lazy").as_deref(), Some("web 2.0"));
    assert_eq!(bed.all.get("web").unwrap().status.phase, Phase::Running);
}

#[tokio::test]
async fn who_leaves_a_lazy_table_before_the_new_source_is_polled_and_comes_back_after_has_its_rows() {
    let bed = Bed::new(&[("lazy", true)]).await;
    for name in ["web", "zoo"] {
        bed.create(name, json!({})).await;
    }
    let subscription = bed.bus.subscribe(address("web/lazy"));
    bed.script.saw("polled web 1.0 [lazy]").await;
    bed.script.saw("activate zoo 1.0").await;
    ["open web 2.0", "poll zoo 2.0"].iter().for_each(|step| bed.script.hold(step));
    let reload = bed.reload(2);
    bed.script.saw("open web 2.0").await;
    drop(subscription);
    bed.script.free("open web 2.0");
    bed.script.saw("polled web 2.0 []").await;
    let mut subscription = bed.bus.subscribe(address("web/lazy"));
    bed.script.saw("poll zoo 2.0").await;
    bed.script.free("poll zoo 2.0");
    reload.await.unwrap().unwrap();
    bed.script.saw("polled web 2.0 [lazy]").await;
    subscription.wait_for(|view| view.rows.num_rows() == 1, LONG).await.unwrap();
    bed.until_by("web/lazy", "web 2.0").await;
    assert_eq!(bed.all.get("web").unwrap().status.phase, Phase::Running);
}
