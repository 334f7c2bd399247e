//! Following events through lost connections and restarts of the host.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::cli::client::{Client, EventStream, part};
use crate::cli::failure::Failure;
use crate::cli::follow::{longer, read};
use crate::event::PLACE;

/// What a follower hears.
#[derive(Debug)]
pub(super) enum News {
    /// Something happened.
    Event(Value),
    /// Something may be missing: so much, if that is known, and why.
    Gap { lost: Option<u64>, reason: String },
    /// The connection is there again, and nothing was missed.
    Back,
    /// The connection is lost, or could not be made. The next call waits that long and tries anew.
    Lost { failure: Failure, wait: Duration },
}

/// Who follows events.
#[derive(Debug)]
pub(super) struct Follower {
    client: Client,
    /// What is followed, as a query.
    query: String,
    /// Behind which event it goes on.
    place: String,
    stream: Option<EventStream>,
    wait: Option<Duration>,
}

impl Follower {
    /// Follows what a query says, behind a place.
    pub(super) fn new(client: Client, query: &[(String, String)], place: String) -> Self {
        let one = |(name, value): &(String, String)| format!("{name}={}&", part(value));
        Self { client, query: query.iter().map(one).collect(), place, stream: None, wait: None }
    }

    /// What comes next: each event once. Nothing is lost if this is dropped while it waits.
    pub(super) async fn next(&mut self) -> News {
        loop {
            match self.hear().await {
                Ok(Some(news)) => return news,
                Ok(None) => {}
                Err(failure) => {
                    self.stream = None;
                    let wait = longer(self.wait);
                    self.wait = Some(wait);
                    return News::Lost { failure, wait };
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<Option<News>, Failure> {
        let Some(stream) = &mut self.stream else {
            if let Some(wait) = self.wait {
                sleep(wait).await;
            }
            let path = format!("/v1/events/stream?{}after={}", self.query, part(&self.place));
            self.stream = Some(self.client.events(&path).await?);
            return Ok(self.wait.take().map(|_| News::Back));
        };
        let event = stream.next().await?;
        let said: Value = read(&event)?;
        let reason = || said["reason"].as_str().unwrap_or("no reason given").to_owned();
        match event.event.as_str() {
            "event" => {
                if let Some(place) = said[PLACE].as_str() {
                    place.clone_into(&mut self.place);
                }
                Ok(Some(News::Event(said)))
            }
            "gap" => Ok(Some(News::Gap { lost: said["lost"].as_u64(), reason: reason() })),
            "reset" => {
                if let Some(place) = event.id {
                    self.place = place;
                }
                Ok(Some(News::Gap { lost: None, reason: reason() }))
            }
            // A newer host may say more than this program knows.
            _ => Ok(None),
        }
    }
}
