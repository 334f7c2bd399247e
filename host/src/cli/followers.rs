//! Following all tables that a pattern meets, through lost connections and restarts of the host.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use super::client::{Client, EventStream};
use super::failure::Failure;
use super::follow::{News, join, longer, message_of, read};
use super::snapshot::{Snapshot, Step};
use super::table_name::TableName;

/// Who follows all tables of a pattern. After a lost connection, each table comes anew.
#[derive(Debug)]
pub(crate) struct Followers {
    client: Client,
    pattern: String,
    stream: Option<EventStream>,
    /// Epoch and number of the states that were reached on this stream.
    positions: BTreeMap<TableName, (u64, u64)>,
    /// A snapshot of which more is to come.
    parts: Option<Snapshot>,
    wait: Option<Duration>,
}

/// What every event says.
#[derive(Deserialize)]
struct Named {
    service: String,
    table: String,
}

impl Followers {
    /// Follows the tables of that pattern from the next call of [`Followers::next`] on.
    pub(crate) fn new(client: Client, pattern: String) -> Self {
        Self { client, pattern, stream: None, positions: BTreeMap::new(), parts: None, wait: None }
    }

    /// What comes next, and of which table; of none when the connection is lost.
    pub(crate) async fn next(&mut self) -> (Option<TableName>, News) {
        loop {
            match self.hear().await {
                Ok(Some((name, news))) => {
                    self.wait = None;
                    return (Some(name), news);
                }
                Ok(None) => {}
                Err(failure) => {
                    self.stream = None;
                    self.parts = None;
                    self.positions.clear();
                    let wait = longer(self.wait);
                    self.wait = Some(wait);
                    return (None, News::Lost { failure, wait });
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<Option<(TableName, News)>, Failure> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                if let Some(wait) = self.wait {
                    sleep(wait).await;
                }
                empty.insert(self.client.stream_of(&self.pattern).await?)
            }
        };
        let event = stream.next().await?;
        if !["snapshot", "step", "gone", "error"].contains(&event.event.as_str()) {
            // A newer host may say more than this program knows.
            return Ok(None);
        }
        let Named { service, table } = read(&event)?;
        let name = TableName::new(service, table);
        let news = match event.event.as_str() {
            "snapshot" => {
                let whole = join(self.parts.take(), read(&event)?);
                if whole.more {
                    self.parts = Some(whole);
                    return Ok(None);
                }
                self.positions.insert(name.clone(), (whole.epoch, whole.to));
                News::Snapshot(whole)
            }
            "step" => {
                let step: Step = read(&event)?;
                if self.positions.get(&name) != Some(&(step.epoch, step.from)) {
                    return Err(Failure::Lost(format!("steps of {name} are missing, so all tables are read anew")));
                }
                self.positions.insert(name.clone(), (step.epoch, step.to));
                News::Step(step)
            }
            "gone" => {
                self.positions.remove(&name);
                News::Gone
            }
            _ => {
                let message = format!("{name}: {}", message_of(&event.data));
                return Err(Failure::Refused { status: 500, message, data: serde_json::Value::Null });
            }
        };
        Ok(Some((name, news)))
    }
}
