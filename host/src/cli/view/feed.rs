//! Every table of a host, followed at once.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};

use crate::cli::client::Client;
use crate::cli::follow::{Follower, News};
use crate::cli::replica::Replica;
use crate::cli::snapshot::{Snapshot, Step};
use crate::cli::table_name::TableName;

/// More tables than this are listed, but not followed: each takes a connection.
const MOST_FOLLOWED: usize = 100;
/// Tables with more rows than this are listed, but not followed: a view holds what it follows.
const MOST_ROWS: u64 = 100_000;
/// What may wait to be shown. What is beyond waits at the host, which folds it.
const WAITING: usize = 256;

/// What a host's tables do.
#[derive(Debug)]
pub(crate) enum FeedEvent {
    /// A whole table.
    Snapshot(TableName, Snapshot),
    /// A step of one.
    Step(TableName, Step),
    /// A table is no longer.
    Gone(TableName),
    /// The host is there.
    Connected,
    /// It is not, for that reason.
    Away(String),
}

/// Follows all tables for as long as the receiver lives and the future is polled.
pub(crate) fn feed(client: Client) -> (Receiver<FeedEvent>, impl Future<Output = ()> + Send) {
    let (sender, receiver) = channel(WAITING);
    (receiver, follow_all(client, sender))
}

async fn follow_all(client: Client, sender: Sender<FeedEvent>) {
    let list = TableName::of_host("tables");
    let mut follower = Follower::new(client.clone(), list.clone());
    let mut tables: Option<Replica> = None;
    // Dropped with this future, and all that it follows with it.
    let mut tasks = JoinSet::new();
    let mut followed: BTreeMap<TableName, AbortHandle> = BTreeMap::new();
    let mut connected = false;
    loop {
        let event = match follower.next().await {
            News::Resumed { .. } => FeedEvent::Connected,
            News::Snapshot(snapshot) => {
                tables = Some(Replica::new(snapshot.clone()));
                FeedEvent::Snapshot(list.clone(), snapshot)
            }
            News::Step(step) => {
                if let Some(tables) = &mut tables {
                    tables.apply(step.clone());
                }
                FeedEvent::Step(list.clone(), step)
            }
            News::Gone => {
                tables = None;
                FeedEvent::Gone(list.clone())
            }
            News::Lost { failure, .. } => FeedEvent::Away(failure.to_string()),
        };
        let here = !matches!(event, FeedEvent::Away(_));
        if here
            && !connected
            && !matches!(event, FeedEvent::Connected)
            && sender.send(FeedEvent::Connected).await.is_err()
        {
            return;
        }
        connected = here;
        if sender.send(event).await.is_err() {
            return;
        }
        if !connected {
            continue;
        }
        let wanted = tables.as_ref().map(worth_following).unwrap_or_default();
        let unwanted: Vec<TableName> = followed.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in unwanted {
            if let Some(task) = followed.remove(&name) {
                task.abort();
            }
            if sender.send(FeedEvent::Gone(name)).await.is_err() {
                return;
            }
        }
        for name in wanted {
            followed
                .entry(name)
                .or_insert_with_key(|name| tasks.spawn(follow_one(client.clone(), name.clone(), sender.clone())));
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// The tables in the list that a view can follow, but for the list itself.
fn worth_following(tables: &Replica) -> Vec<TableName> {
    let wanted = tables.rows().filter_map(|row| {
        let name = TableName::new(row.get("service")?.as_str()?, row.get("table")?.as_str()?);
        let rows = row.get("rows").and_then(Value::as_u64).unwrap_or_default();
        (rows <= MOST_ROWS && name != TableName::of_host("tables")).then_some(name)
    });
    wanted.take(MOST_FOLLOWED).collect()
}

async fn follow_one(client: Client, name: TableName, sender: Sender<FeedEvent>) {
    let mut follower = Follower::new(client, name.clone());
    loop {
        let event = match follower.next().await {
            News::Snapshot(snapshot) => FeedEvent::Snapshot(name.clone(), snapshot),
            News::Step(step) => FeedEvent::Step(name.clone(), step),
            News::Gone => FeedEvent::Gone(name.clone()),
            // Whether the host is away, the list's follower tells.
            News::Lost { .. } | News::Resumed { .. } => continue,
        };
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::mock::MockHost;
    use serde_json::json;

    async fn until(receiver: &mut Receiver<FeedEvent>, wanted: impl Fn(&FeedEvent) -> bool) {
        let found = async { while !wanted(&receiver.recv().await.unwrap()) {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), found).await.unwrap();
    }

    #[tokio::test]
    async fn tables_are_followed_as_they_come_and_dropped_as_they_go() {
        let host = MockHost::start().await;
        let (mut receiver, work) = feed(Client::new(host.socket()));
        let task = tokio::spawn(work);
        let orders = TableName::new("files", "orders");
        until(&mut receiver, |event| matches!(event, FeedEvent::Connected)).await;
        until(&mut receiver, |event| matches!(event, FeedEvent::Snapshot(name, _) if *name == orders)).await;
        host.put(json!({"service":"files","table":"late","epoch":1,"to":1,"rows":[]}));
        let row = |table: &str| json!({"service":"files","table":table,"rows":0});
        let step = json!({"epoch":1,"from":7,"to":8,"added":[row("late")],"removed":[row("orders")]});
        host.send(&TableName::of_host("tables"), "step", &step);
        until(&mut receiver, |event| matches!(event, FeedEvent::Gone(name) if *name == orders)).await;
        until(&mut receiver, |event| matches!(event, FeedEvent::Snapshot(name, _) if name.table == "late")).await;
        task.abort();
    }

    #[test]
    fn what_is_too_large_is_left() {
        let rows = json!([{"service":"a","table":"small","rows":1},{"service":"a","table":"large","rows":9_000_000},
            {"service":"_host","table":"tables","rows":3},{"odd":1}]);
        let snapshot =
            json!({"service":"_host","table":"tables","epoch":1,"to":1,"key":["service","table"],"rows":rows});
        let replica = Replica::new(serde_json::from_value(snapshot).unwrap());
        assert_eq!(worth_following(&replica), [TableName::new("a", "small")]);
    }
}
