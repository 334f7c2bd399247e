//! A subscriber's side.

use super::Bus;
use super::address::Address;
use super::queue::{Bounds, Counters, Message, Mode, Position, Queue};
use super::table_view::TableView;
use super::view::View;
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How a subscription is to be served. The default: whole tables, step by step, as nobody in particular.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    /// What of each table.
    pub view: View,
    /// Steps, states, or nothing until asked.
    pub mode: Mode,
    /// How much may wait.
    pub bounds: Bounds,
    /// The service that subscribes, for those who look after the bus.
    pub owner: Option<String>,
    /// Where the subscriber stands already, for a subscription to one table: it goes on from there when the table still
    /// has the steps, else it begins with a snapshot.
    pub resume: Option<Position>,
    /// Of what view that was the place, as [`Subscription::mark`] said then. Of another one than is seen now it is no place
    /// to go on from.
    pub resume_mark: u64,
}

/// Why a subscription can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} can't be looked at in that way: {why}")]
pub struct SubscribeError {
    /// The table.
    pub address: Address,
    /// What is wrong with the view.
    pub why: String,
}

/// A message and the table that it is about.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The table.
    pub address: Arc<Address>,
    /// What is said of it.
    pub message: Message,
}

/// What was waited for did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was waited for did not come within {0:?}")]
pub struct NotInTime(pub Duration);

/// A subscription, for those who look after the bus.
#[derive(Debug, Clone)]
pub struct SubscriptionView {
    /// Its identity.
    pub id: Uuid,
    /// The service that subscribed.
    pub owner: Option<String>,
    /// Which tables it is to.
    pub selector: String,
    /// When it began.
    pub since: Timestamp,
    /// The tables it has now, and where it stands with each.
    pub tables: Vec<(Arc<Address>, Option<Position>)>,
    /// What became of its messages.
    pub counters: Counters,
}

/// A subscription to one table or many. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    bus: Bus,
    queue: Arc<Queue>,
    resumed: bool,
}

impl Subscription {
    pub(super) fn new(bus: Bus, queue: Arc<Queue>, resumed: bool) -> Self {
        Self { bus, queue, resumed }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.queue.id()
    }

    /// Whether it goes on from where [`SubscribeOptions::resume`] says; else it begins with a snapshot.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The next message; waits for it. Cancel safe.
    pub async fn next(&mut self) -> Delivery {
        self.queue.next().await
    }

    /// The next message, if there is one.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.queue.pop()
    }

    /// As a stream that never ends.
    pub fn into_stream(self) -> impl Stream<Item = Delivery> {
        stream::unfold(self, |mut subscription| async move { Some((subscription.next().await, subscription)) })
    }

    /// The states of the tables as a stream: the present one whenever it changed; `None` of a table that is no more.
    pub fn as_states(self) -> impl Stream<Item = (Arc<Address>, Option<Arc<TableView>>)> {
        let known: BTreeMap<Arc<Address>, Position> = BTreeMap::new();
        stream::unfold((self, known), |(subscription, mut known)| async move {
            loop {
                let (Delivery { address, message }, slot) = subscription.queue.next_at().await;
                // The message is a sign that there is something to see; what is seen is the present.
                let seen = match slot.view().filter(|_| !matches!(message, Message::Gone)) {
                    None => known.remove(&address).map(|_| None),
                    Some(view) => {
                        let now = (view.epoch, view.to);
                        (known.insert(Arc::clone(&address), now) != Some(now)).then_some(Some(view))
                    }
                };
                if let Some(seen) = seen {
                    return Some(((address, seen), (subscription, known)));
                }
            }
        })
    }

    /// The tables that it has now, there or not.
    #[must_use]
    pub fn places(&self) -> Vec<Arc<Address>> {
        self.queue.slots().iter().map(|(slot, _)| Arc::clone(slot.address())).collect()
    }

    /// The present states of its tables.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<TableView>> {
        self.queue.slots().iter().filter_map(|(slot, _)| slot.view()).collect()
    }

    /// Waits until a table is as `predicate` says, and answers it as it is then. Messages that come meanwhile are used up.
    ///
    /// # Errors
    ///
    /// When none was within `deadline`.
    pub async fn wait_for(
        &mut self,
        mut predicate: impl FnMut(&TableView) -> bool,
        deadline: Duration,
    ) -> Result<Arc<TableView>, NotInTime> {
        let watch = async {
            loop {
                while self.queue.pop().is_some() {}
                if let Some(view) = self.tables().into_iter().find(|view| predicate(view)) {
                    return view;
                }
                self.queue.rung().await;
            }
        };
        tokio::time::timeout(deadline, watch).await.map_err(|_| NotInTime(deadline))
    }

    /// What the subscriber holds of a table is not to be trusted: its next message is a snapshot. At most once in ten
    /// seconds a table; sooner, the snapshot comes when they are over. Answers whether it is one of its tables.
    pub fn resync(&self, table: &Address) -> bool {
        let slots = self.queue.slots();
        let found = slots.iter().find(|(slot, _)| &**slot.address() == table);
        found.is_some_and(|(slot, _)| {
            self.bus.resync_later(&self.queue, slot);
            true
        })
    }

    /// What is seen of its table now, if it is to one: [`SubscribeOptions::resume_mark`] of one that goes on from here.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.queue.first().map_or(0, |slot| slot.view_of().mark())
    }

    /// How much may wait for it.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.queue.bounds()
    }

    /// What became of its messages.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.queue.counters()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.unsubscribe(self.queue.id());
    }
}
