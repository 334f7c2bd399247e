//! Subscribers begin anew from a snapshot: because an operator says so, or because one could not apply what it got.

use super::Bus;
use super::queue::Queue;
use super::slot::Slot;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// One who can't apply what it gets asks for a snapshot of a table no more often.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// Whose copies are not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resync {
    /// All subscriptions'.
    All,
    /// Those of one service.
    Service(String),
    /// One subscription's.
    Subscription(Uuid),
}

impl Bus {
    /// Serves subscribers a snapshot of each of their tables next; answers how many subscriptions that are.
    pub fn resync(&self, whose: &Resync) -> usize {
        let followers: Vec<_> = (self.registry().followers())
            .filter(|follower| match whose {
                Resync::All => true,
                Resync::Service(name) => follower.owner.as_ref() == Some(name),
                Resync::Subscription(id) => follower.id == *id,
            })
            .cloned()
            .collect();
        followers.iter().for_each(|follower| follower.queue.resync(None));
        followers.len()
    }

    /// As [`resync`](Self::resync) of one table of one subscription, but not sooner than [`PAUSE`] after the last.
    pub(super) fn resync_later(&self, queue: &Arc<Queue>, slot: &Arc<Slot>) {
        let now = Instant::now();
        let Some(when) = queue.resync_due(slot, now) else { return };
        if when <= now {
            queue.resync(Some(slot));
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return queue.resync_at(slot, when) };
        let (queue, slot) = (Arc::downgrade(queue), Arc::clone(slot));
        runtime.spawn(async move {
            tokio::time::sleep_until(when).await;
            if let Some(queue) = queue.upgrade() {
                queue.resync(Some(&slot));
            }
        });
    }
}
