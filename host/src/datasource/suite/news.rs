//! What the room lets be followed, and what it does with what sources tell of.

use super::super::{Happening, Phase};
use super::{Bed, LONG};
use crate::happenings::Receiver;
use serde_json::json;

async fn moved(happenings: &mut Receiver<Happening>, to: Phase) -> String {
    moved_to(happenings, to, false).await
}

async fn moved_to(happenings: &mut Receiver<Happening>, to: Phase, but_unread: bool) -> String {
    loop {
        let next = tokio::time::timeout(LONG, happenings.recv()).await.unwrap().unwrap();
        if let Happening::Moved { name, phase, unread, error } = next
            && phase == to
            && unread == but_unread
        {
            assert_eq!(&*name, "web");
            return error;
        }
    }
}

#[tokio::test]
async fn who_follows_hears_where_a_datasource_is_and_which_tables_changed() {
    let bed = Bed::new(&[("t", false)]).await;
    let (mut happenings, updates) = (bed.all.happenings(), bed.all.updates());
    bed.script.fail("activate web 1.0");
    bed.create("web", json!({})).await;
    let next = tokio::time::timeout(LONG, happenings.recv()).await.unwrap().unwrap();
    assert!(matches!(next, Happening::Created(record) if record.name == "web"));
    assert_eq!(moved(&mut happenings, Phase::Failed).await, "activate web 1.0 fails on purpose");
    let updated = tokio::time::timeout(LONG, updates.take()).await.unwrap();
    assert_eq!(updated.into_keys().collect::<Vec<_>>(), ["web"]);
    bed.change("web", json!({"config": {"n": 1}})).await;
    assert_eq!(moved(&mut happenings, Phase::Running).await, "");
    bed.all.remove("web", None).await.unwrap();
    loop {
        let next = tokio::time::timeout(LONG, happenings.recv()).await.unwrap().unwrap();
        if let Happening::Removed(record) = next {
            assert_eq!(record.name, "web");
            break;
        }
    }
}

#[tokio::test]
async fn polls_of_which_nothing_comes_are_told_apart_from_some_tables_errors() {
    let bed = Bed::new(&[("t", false)]).await;
    let mut happenings = bed.all.happenings();
    bed.create("web", json!({"poll": 0.05})).await;
    assert_eq!(moved(&mut happenings, Phase::Running).await, "");
    bed.script.fail("poll web 1.0");
    assert_eq!(moved_to(&mut happenings, Phase::Degraded, true).await, "poll web 1.0 fails on purpose");
    bed.script.mend("poll web 1.0");
    assert_eq!(moved(&mut happenings, Phase::Running).await, "");
    assert!(happenings.try_recv().is_err(), "each turn is told once");
}
