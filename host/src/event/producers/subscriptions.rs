//! Who follows tables, and who does no more.

use super::super::catalogue::{DelSubscription, DelSubscriptionEvent, NewSubscription, NewSubscriptionEvent};
use super::super::{Publisher, RateLimiter};
use super::{next, tell};
use crate::bus::Followed;
use crate::happenings::Receiver;
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::time::Duration;

/// So many in such a time are told one by one; what is more is told together.
const ALONE: usize = 100;
const PER: Duration = Duration::from_secs(1);
/// So many patterns are told of together; what is more is only counted.
const PATTERNS: usize = 100;

/// Tells of subscriptions that begin and end.
pub(super) async fn run(publisher: Publisher, mut followed: Receiver<Followed>) {
    let (mut lost, mut limiter) = (0, RateLimiter::new(ALONE, PER));
    let mut many = Many::default();
    loop {
        let came = match many.is_empty() && lost == 0 {
            true => next(&mut followed, &mut lost).await,
            // Given up when there is nothing: what is lost is in `lost` already.
            false => match tokio::time::timeout(PER, next(&mut followed, &mut lost)).await {
                Ok(came) => came,
                Err(_) => {
                    many.tell(&publisher, std::mem::take(&mut lost));
                    continue;
                }
            },
        };
        let Some(came) = came else { return };
        match limiter.is_limited(Instant::now()) {
            false => one(&publisher, &came),
            true => many.add(&came),
        }
        if many.is_old() {
            many.tell(&publisher, std::mem::take(&mut lost));
        }
    }
}

fn one(publisher: &Publisher, came: &Followed) {
    let who = came.owner.clone().unwrap_or_else(|| came.id.to_string());
    say(publisher, &who, &came.selector, came.begins, "", &came.id.to_string());
}

fn say(publisher: &Publisher, origin: &str, selector: &str, begins: bool, description: &str, id: &str) {
    let (workflow, more) = (Some(selector.to_owned()), [("description", description), ("data_resource_id", id)]);
    if begins {
        let data = NewSubscription { dispatcher_workflow: workflow };
        tell::<NewSubscriptionEvent>(publisher, origin, &data, &more);
    } else {
        let data = DelSubscription { dispatcher_workflow: workflow };
        tell::<DelSubscriptionEvent>(publisher, origin, &data, &more);
    }
}

/// Those that are told together: how many of each pattern.
#[derive(Debug, Default)]
struct Many {
    since: Option<Instant>,
    count: BTreeMap<(String, bool), u64>,
}

impl Many {
    fn is_empty(&self) -> bool {
        self.count.is_empty()
    }

    fn is_old(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > PER)
    }

    fn add(&mut self, came: &Followed) {
        self.since.get_or_insert_with(Instant::now);
        let known = self.count.contains_key(&(came.selector.clone(), came.begins));
        // A pattern of its own for each: they are of all.
        let selector = if known || self.count.len() < PATTERNS { came.selector.as_str() } else { "#" };
        *self.count.entry((selector.to_owned(), came.begins)).or_default() += 1;
    }

    /// Who they are is not said: the node says it for them.
    fn tell(&mut self, publisher: &Publisher, lost: u64) {
        self.since = None;
        for ((selector, begins), count) in std::mem::take(&mut self.count) {
            say(publisher, publisher.name(), &selector, begins, &format!("{count} subscriptions"), "");
        }
        if lost > 0 {
            let text = format!("{lost} more subscriptions began or ended");
            say(publisher, publisher.name(), "#", true, &text, "");
        }
    }
}
