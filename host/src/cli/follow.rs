//! Following a table through lost connections and restarts of the host.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::client::{Client, EventStream};
use super::event_stream::StreamEvent;
use super::failure::Failure;
use super::snapshot::{Snapshot, Step};
use super::table_name::TableName;

/// The wait before the first new attempt; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a follower hears.
#[derive(Debug)]
pub(crate) enum News {
    /// The whole table: forget what was before.
    Snapshot(Snapshot),
    /// What happened since.
    Step(Step),
    /// The connection is back, and the host goes on from where the follower stands: what is held still holds.
    Resumed {
        /// The number of the state that is held.
        to: u64,
    },
    /// The table is no longer; it may come back as a snapshot.
    Gone,
    /// The connection is lost, or could not be made. The next call waits that long and tries anew.
    Lost {
        /// Why.
        failure: Failure,
        /// The wait to come.
        wait: Duration,
    },
}

/// Who follows a table.
#[derive(Debug)]
pub(crate) struct Follower {
    client: Client,
    name: TableName,
    stream: Option<EventStream>,
    /// Epoch and number of the state that was reached, on this stream or an earlier one.
    position: Option<(u64, u64)>,
    /// A snapshot of which more is to come.
    parts: Option<Snapshot>,
    wait: Option<Duration>,
}

impl Follower {
    /// Follows that table from the next call of [`Follower::next`] on.
    pub(crate) fn new(client: Client, name: TableName) -> Self {
        Self { client, name, stream: None, position: None, parts: None, wait: None }
    }

    /// What comes next. Steps come without a gap and none twice.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            match self.hear().await {
                Ok(Some(news)) => {
                    self.wait = None;
                    return news;
                }
                Ok(None) => {}
                Err(failure) => {
                    self.stream = None;
                    self.parts = None;
                    let wait = longer(self.wait);
                    self.wait = Some(wait);
                    return News::Lost { failure, wait };
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<Option<News>, Failure> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                if let Some(wait) = self.wait {
                    sleep(wait).await;
                }
                empty.insert(self.client.stream(&self.name, self.position).await?)
            }
        };
        let event = stream.next().await?;
        match event.event.as_str() {
            "snapshot" => {
                let whole = join(self.parts.take(), read(&event)?);
                if whole.more {
                    self.parts = Some(whole);
                    return Ok(None);
                }
                self.position = Some((whole.epoch, whole.to));
                Ok(Some(News::Snapshot(whole)))
            }
            "resumed" => Ok(self.position.map(|(_, to)| News::Resumed { to })),
            // It can't go on from there: a snapshot comes.
            "reset" => {
                self.position = None;
                Ok(None)
            }
            "step" => self.place(read(&event)?),
            // The host has the table, but can't give it.
            "error" => {
                self.position = None;
                Err(Failure::Refused { status: 500, message: message_of(&event.data), data: serde_json::Value::Null })
            }
            "gone" => {
                self.position = None;
                Ok(Some(News::Gone))
            }
            // A newer host may say more than this program knows.
            _ => Ok(None),
        }
    }

    /// A step that continues where this follower stands is news; one that is behind it is not; any other shows a gap,
    /// which a new stream heals.
    fn place(&mut self, step: Step) -> Result<Option<News>, Failure> {
        match self.position {
            Some((epoch, to)) if epoch == step.epoch && step.to <= to => Ok(None),
            Some((epoch, to)) if epoch == step.epoch && step.from == to => {
                self.position = Some((epoch, step.to));
                Ok(Some(News::Step(step)))
            }
            _ => {
                self.position = None;
                Err(Failure::Lost("steps are missing, so the table is read anew".to_owned()))
            }
        }
    }
}

/// The wait after one that was in vain.
pub(super) fn longer(wait: Option<Duration>) -> Duration {
    wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT))
}

/// A part of a snapshot, and what came of it before.
pub(super) fn join(before: Option<Snapshot>, part: Snapshot) -> Snapshot {
    match before {
        Some(mut whole) => {
            whole.rows.extend(part.rows);
            Snapshot { more: part.more, ..whole }
        }
        None => part,
    }
}

pub(super) fn message_of(data: &str) -> String {
    let said = serde_json::from_str::<serde_json::Value>(data).ok();
    let message = said.as_ref().and_then(|said| said.get("message")).and_then(serde_json::Value::as_str);
    message.unwrap_or(data).to_owned()
}

pub(super) fn read<T: DeserializeOwned>(event: &StreamEvent) -> Result<T, Failure> {
    serde_json::from_str(&event.data).map_err(|error| Failure::Unreadable(format!("event {}: {error}", event.event)))
}

#[cfg(test)]
mod tests {
    use super::super::mock::MockHost;
    use super::*;
    use serde_json::json;

    fn orders() -> TableName {
        TableName::new("files", "orders")
    }

    fn step(from: u64, to: u64) -> serde_json::Value {
        json!({"epoch":1,"from":from,"to":to,"added":[],"removed":[],"updated":[]})
    }

    #[tokio::test]
    async fn steps_come_once_and_in_order() {
        let host = MockHost::start().await;
        let mut follower = Follower::new(Client::new(host.socket()), orders());
        assert!(matches!(follower.next().await, News::Snapshot(snapshot) if snapshot.to == 7));
        host.send(&orders(), "step", &step(6, 7));
        host.send(&orders(), "novelty", &json!({}));
        host.send(&orders(), "step", &step(7, 9));
        assert!(matches!(follower.next().await, News::Step(step) if step.to == 9));
        host.send(&orders(), "gone", &json!({}));
        assert!(matches!(follower.next().await, News::Gone));
    }

    #[tokio::test]
    async fn an_error_of_the_stream_is_told() {
        let host = MockHost::start().await;
        let mut follower = Follower::new(Client::new(host.socket()), orders());
        assert!(matches!(follower.next().await, News::Snapshot(_)));
        host.send(&orders(), "error", &json!({"message": "no such encoding"}));
        let News::Lost { failure, .. } = follower.next().await else { panic!("the stream failed") };
        assert_eq!(failure.to_string(), "no such encoding");
    }

    #[tokio::test]
    async fn a_gap_is_healed_by_a_snapshot() {
        let host = MockHost::start().await;
        let mut follower = Follower::new(Client::new(host.socket()), orders());
        assert!(matches!(follower.next().await, News::Snapshot(_)));
        host.send(&orders(), "step", &step(8, 9));
        assert!(matches!(follower.next().await, News::Lost { .. }));
        assert!(matches!(follower.next().await, News::Snapshot(_)));
    }

    #[tokio::test]
    async fn a_host_that_went_away_is_found_again() {
        let mut host = MockHost::start().await;
        let mut follower = Follower::new(Client::new(host.socket()), orders());
        assert!(matches!(follower.next().await, News::Snapshot(_)));
        host.stop().await;
        let mut waits = Vec::new();
        for _ in 0..2 {
            let News::Lost { wait, .. } = follower.next().await else { panic!("the host is away") };
            waits.push(wait);
        }
        assert_eq!(waits, [FIRST_WAIT, FIRST_WAIT * 2]);
        host.restart().await;
        assert!(matches!(follower.next().await, News::Resumed { to: 7 }));
        assert_eq!(follower.wait, None);
        // Another epoch: what is held is void.
        host.stop().await;
        host.put(json!({"service":"files","table":"orders","epoch":2,"to":1,"key":["id"],"rows":[{"id":1}]}));
        assert!(matches!(follower.next().await, News::Lost { .. }));
        host.restart().await;
        assert!(matches!(follower.next().await, News::Snapshot(snapshot) if snapshot.epoch == 2));
    }

    #[tokio::test]
    async fn a_snapshot_in_parts_is_one() {
        let host = MockHost::start().await;
        let mut follower = Follower::new(Client::new(host.socket()), orders());
        assert!(matches!(follower.next().await, News::Snapshot(_)));
        let part = |ids: [u64; 2], more: bool| {
            let rows: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
            json!({"service":"files","table":"orders","epoch":1,"to":9,"rows":rows,"more":more})
        };
        host.send(&orders(), "snapshot", &part([1, 2], true));
        host.send(&orders(), "snapshot", &part([3, 4], true));
        host.send(&orders(), "snapshot", &part([5, 6], false));
        host.send(&orders(), "step", &step(9, 10));
        let News::Snapshot(whole) = follower.next().await else { panic!("a snapshot") };
        assert_eq!((whole.to, whole.rows.len(), whole.more), (9, 6, false));
        assert!(matches!(follower.next().await, News::Step(step) if step.to == 10));
    }
}
