//! A datasource ends while its source is opened, polled beside another, or does not heed.

use super::{Bed, LONG};
use crate::config::Datasource;
use crate::datasource::open::Open;
use crate::datasource::record::{ManagedBy, Record};
use crate::datasource::runner::Shared;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[tokio::test]
async fn a_source_that_is_being_opened_is_cancelled_when_its_datasource_goes() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.hold("open web 1.0");
    bed.create("web", json!({})).await;
    bed.script.saw("open web 1.0").await;
    bed.all.remove("web", None).await.unwrap();
    assert_eq!(bed.ending(), 0, "it still waits for the driver");
    assert_eq!(bed.script.log(), ["open web 1.0"]);
}

#[tokio::test]
async fn a_source_that_is_being_opened_is_cancelled_when_the_host_stops() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.hold("open web 1.0");
    bed.create("web", json!({})).await;
    bed.script.saw("open web 1.0").await;
    let stopped = tokio::time::timeout(LONG, bed.all.stop(2 * LONG)).await;
    assert!(stopped.is_ok(), "the host waits for a source that it does not want");
}

#[tokio::test]
async fn one_that_opened_all_the_same_is_closed_and_asked_nothing_else() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.hold_deaf("open web 1.0");
    bed.create("web", json!({})).await;
    bed.script.saw("open web 1.0").await;
    let removed = {
        let all = bed.all.clone();
        tokio::spawn(async move { all.remove("web", None).await })
    };
    while bed.all.get("web").is_some() {
        tokio::task::yield_now().await;
    }
    bed.script.free("open web 1.0");
    removed.await.unwrap().unwrap();
    assert_eq!(bed.script.log(), ["open web 1.0", "close web 1.0"]);
}

#[tokio::test]
async fn none_is_opened_any_more_for_one_that_ends() {
    let bed = Bed::new(&[("t", false)]).await;
    let service = Arc::new(bed.bus.register("web").unwrap());
    let record = Arc::new(Record::new("web", Datasource::new("fake"), ManagedBy::Api, BTreeSet::new()));
    let shared = Shared::new(watch::Sender::new(0));
    shared.end();
    let open = Open::new(&record, &service, bed.script.generation(1), &shared).await;
    assert_eq!(open.unwrap_err().to_string(), "the source is being closed");
    assert!(bed.script.log().is_empty(), "{:?}", bed.script.log());
}

#[tokio::test]
async fn a_source_that_is_polled_beside_another_is_cancelled_when_its_datasource_is_disabled() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    bed.script.hold("poll web 1.1");
    bed.change("web", json!({"config": {"n": 1}})).await;
    bed.script.saw("poll web 1.1").await;
    bed.change("web", json!({"enabled": false})).await;
    assert_eq!(bed.ending(), 0, "it still waits for the driver");
    assert!(bed.script.has("close web 1.0") && bed.script.has("close web 1.1"), "{:?}", bed.script.log());
    assert!(!bed.script.has("activate web 1.1"));
}

#[tokio::test]
async fn an_open_that_never_comes_back_ends_by_its_deadline() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.script.hold_deaf("open web 1.0");
    bed.create("web", json!({})).await;
    bed.script.saw("open web 1.0").await;
    // From here on only times that pass end anything.
    tokio::time::pause();
    bed.all.remove("web", None).await.unwrap();
    assert!(!bed.bus.has_service("web"));
    assert_eq!(bed.ending(), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bed.ending(), 0);
    bed.script.free("open web 1.0");
}

#[tokio::test]
async fn one_that_goes_has_no_say_in_a_reload() {
    let bed = Bed::new(&[("t", false)]).await;
    for name in ["stays", "goes"] {
        bed.create(name, json!({})).await;
        bed.script.saw(&format!("activate {name} 1.0")).await;
    }
    bed.script.hold("poll goes 2.0");
    let reload = bed.reload(2);
    bed.script.saw("poll goes 2.0").await;
    bed.all.remove("goes", None).await.unwrap();
    reload.await.unwrap().unwrap();
    bed.script.saw("activate stays 2.0").await;
}

#[tokio::test]
async fn many_sources_are_cancelled_on_few_threads() {
    let bed = Bed::new(&[]).await;
    let of = |step: &str| (0..40).map(|number| format!("{step} s{number} 1.0")).collect::<Vec<_>>();
    for (number, active) in of("activate").iter().enumerate() {
        bed.create(&format!("s{number}"), json!({})).await;
        bed.script.saw(active).await;
    }
    let held = [of("cancel"), of("close")].concat();
    held.iter().for_each(|step| bed.script.hold_deaf(step));
    let stop = {
        let all = bed.all.clone();
        tokio::spawn(async move { all.stop(2 * LONG).await })
    };
    let cancelled = |log: &Vec<String>| log.iter().filter(|step| step.starts_with("cancel ")).count();
    bed.script.until("8 told", |log| cancelled(log) >= 8).await;
    // Longer than they are waited for, shorter than those that close are.
    tokio::time::pause();
    tokio::time::sleep(LONG / 2).await;
    tokio::time::resume();
    held.iter().for_each(|step| bed.script.free(step));
    stop.await.unwrap();
    // Threads that hang are replaced, a few.
    let told = cancelled(&bed.script.log());
    assert!((8..=12).contains(&told), "{told}");
}

#[tokio::test]
async fn who_could_not_be_told_in_time_is_told_no_more() {
    let bed = Bed::new(&[]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    // Until it is closed it could be told.
    bed.script.hold_deaf("close web 1.0");
    let cancels = bed.all.find("web").unwrap().shared().open().unwrap().generation.cancels.clone();
    let gate = Arc::new(std::sync::Barrier::new(9));
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let (cancels, gate) = (cancels.clone(), Arc::clone(&gate));
            tokio::spawn(async move { cancels.run(100 * LONG, || (), move || gate.wait().is_leader()).await })
        })
        .collect();
    super::settle().await;
    tokio::time::pause();
    bed.all.remove("web", None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    tokio::time::resume();
    tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    for one in busy {
        one.await.unwrap().unwrap();
    }
    cancels.run(LONG, || (), || ()).await.unwrap();
    assert!(!bed.script.has("cancel web 1.0"));
    bed.script.free("close web 1.0");
}

#[tokio::test]
async fn the_host_waits_for_the_end_of_a_source_that_was_replaced() {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({})).await;
    bed.script.saw("activate web 1.0").await;
    bed.script.hold_deaf("close web 1.0");
    bed.reload(2).await.unwrap().unwrap();
    bed.script.saw("close web 1.0").await;
    let mut stopping = tokio::spawn({
        let all = bed.all.clone();
        async move { all.stop(2 * LONG).await }
    });
    bed.script.saw("close web 2.0").await;
    let early = tokio::time::timeout(Duration::from_millis(100), &mut stopping).await;
    assert!(early.is_err(), "the former source is being closed");
    bed.script.free("close web 1.0");
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
}
