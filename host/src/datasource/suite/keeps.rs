//! Kept tables at an end.

use super::{Bed, LONG, pass};
use serde_json::json;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// One whose table is about to be kept for the first time.
async fn bed() -> (Bed, Uuid) {
    let bed = Bed::new(&[("t", false)]).await;
    bed.create("web", json!({"persist_data": true})).await;
    bed.script.saw("activate web 1.0").await;
    let id = bed.all.get("web").unwrap().record.id;
    (bed, id)
}

/// Waits until what is kept is as `is` says.
async fn kept(bed: &Bed, id: Uuid, tables: usize) {
    let until = Instant::now() + LONG;
    while bed.all.inner.keep.place(id).load().len() != tables {
        assert!(Instant::now() < until, "not {tables} kept");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_kept_is_there_after_an_end_and_served_until_the_source_is_read() {
    let (mut bed, id) = bed().await;
    pass(Duration::from_secs(2)).await;
    kept(&bed, id, 1).await;
    bed.script.hold("open web 1.0");
    bed.restart().await;
    bed.script.until("the second", |log| log.iter().filter(|step| *step == "open web 1.0").count() == 2).await;
    assert_eq!(bed.by("web/t").as_deref(), Some("web 1.0"));
    bed.script.free("open web 1.0");
}

#[tokio::test]
async fn a_table_that_waits_to_be_kept_when_the_host_stops_takes_nothing_away() {
    let (bed, id) = bed().await;
    pass(Duration::from_secs(2)).await;
    kept(&bed, id, 1).await;
    // Another life of the table, which waits for its turn while the host stops.
    bed.change("web", json!({"config": {"n": 1}})).await;
    bed.script.saw("activate web 1.1").await;
    let place = bed.all.find("web").unwrap().place();
    let others = Arc::strong_count(&place);
    let (begin, begun) = oneshot::channel();
    let (free, freed) = mpsc::channel::<()>();
    let holder = std::thread::spawn({
        let place = Arc::clone(&place);
        move || {
            let _held = place.turn.lock().unwrap();
            begin.send(()).unwrap();
            let _ = freed.recv();
        }
    });
    begun.await.unwrap();
    pass(Duration::from_secs(20)).await;
    let until = Instant::now() + LONG;
    // Those that were there, who holds it, who waits.
    while Arc::strong_count(&place) < others + 2 {
        assert!(Instant::now() < until, "nobody keeps anything");
        tokio::task::yield_now().await;
    }
    let stop = {
        let all = bed.all.clone();
        tokio::spawn(async move { all.stop(2 * LONG).await })
    };
    while bed.bus.has_service("web") {
        tokio::task::yield_now().await;
    }
    drop(free);
    holder.join().unwrap();
    stop.await.unwrap();
    assert_eq!(bed.all.inner.keep.place(id).load().len(), 1);
}
