//! Nodes in one process, joined by a pipe that delivers all it is given, in order.

use super::inbox::Inbox;
use super::{Received, To, Transport};
use crate::bus::queue::Bounds;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// As large as the usual broker's messages.
const MAX_MESSAGE: usize = 1 << 20;

/// What waits at an end, at most.
const BOUNDS: Bounds = Bounds { messages: 16_384, bytes: 64 << 20 };

#[derive(Debug)]
struct Inner {
    ends: Mutex<Ends>,
    bounds: Bounds,
    max_message: usize,
}

#[derive(Debug, Default)]
struct Ends {
    /// In the order in which they joined.
    all: Vec<Arc<Inbox>>,
    closed: bool,
}

/// Where the ends of a pipe in memory meet. Clones are the same hub; it lives as long as one of them or an end does.
///
/// ```
/// use busway::bus::{Hub, To, Transport};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let hub = Hub::new();
/// let (a, b) = (hub.join("a"), hub.join("b"));
/// a.send(To::Node("b"), b"hello".as_slice().into());
/// let received = b.receive().await.unwrap();
/// assert_eq!((received.from.as_str(), &*received.message), ("a", b"hello".as_slice()));
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// One whose messages have 1 MiB at most, and at whose ends 16,384 messages or 64 MiB wait at most.
    #[must_use]
    pub fn new() -> Self {
        Self::with(BOUNDS, MAX_MESSAGE)
    }

    /// One with other limits: `bounds` for what waits at each end, `max_message` bytes for a message.
    #[must_use]
    pub fn with(bounds: Bounds, max_message: usize) -> Self {
        Self { inner: Arc::new(Inner { ends: Mutex::default(), bounds, max_message }) }
    }

    /// A new end, of the node of that name. There may be several of one name. On a closed hub it is closed from the start.
    #[must_use]
    pub fn join(&self, node: &str) -> Direct {
        let inbox = Inbox::new(node, self.inner.bounds);
        let mut ends = self.ends();
        match ends.closed {
            true => inbox.close(),
            false => ends.all.push(Arc::clone(&inbox)),
        }
        drop(ends);
        Direct { hub: self.clone(), inbox }
    }

    /// The names of the nodes whose ends are open, in the order in which they joined.
    #[must_use]
    pub fn nodes(&self) -> Vec<String> {
        self.ends().all.iter().map(|end| end.name.clone()).collect()
    }

    /// Closes it and all its ends: who receives is told, what waited is lost.
    pub fn close(&self) {
        let mut ends = self.ends();
        ends.closed = true;
        let all = std::mem::take(&mut ends.all);
        drop(ends);
        all.iter().for_each(|end| end.close());
    }

    /// Who is meant, in the order in which they joined; not who sends.
    fn meant(&self, from: &Arc<Inbox>, to: To<'_>) -> Vec<Arc<Inbox>> {
        let ends = self.ends();
        let mut meant: Vec<Arc<Inbox>> = Vec::new();
        // One whose own end is closed reaches nobody.
        if !ends.all.iter().any(|end| Arc::ptr_eq(end, from)) {
            return meant;
        }
        let others = ends.all.iter().filter(|end| !Arc::ptr_eq(end, from));
        meant.extend(others.filter(|end| matches!(to, To::All) || to == To::Node(&end.name)).cloned());
        meant
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.inner.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a pipe in memory: what is sent comes, in order, unless who receives has no room. Dropping it closes it.
#[derive(Debug)]
pub struct Direct {
    hub: Hub,
    inbox: Arc<Inbox>,
}

impl Direct {
    /// The name of its node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.inbox.name
    }

    /// How many messages to it were lost: for want of room, too large, or because it was closed while they waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inbox.lost()
    }

    /// Leaves the hub: who receives is told, what waited is lost, and what is sent reaches nobody.
    pub fn close(&self) {
        self.hub.ends().all.retain(|end| !Arc::ptr_eq(end, &self.inbox));
        self.inbox.close();
    }

    /// Who gets a message, and who would but for its size: they count it as lost.
    pub(super) fn meant(&self, to: To<'_>, message: &[u8]) -> Vec<Arc<Inbox>> {
        let meant = self.hub.meant(&self.inbox, to);
        if message.len() > self.max_message() {
            meant.iter().for_each(|end| end.lose());
            return Vec::new();
        }
        meant
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.close();
    }
}

impl Transport for Direct {
    fn send(&self, to: To<'_>, message: Arc<[u8]>) {
        for end in self.meant(to, &message) {
            end.put(self.node(), &message, None);
        }
    }

    fn max_message(&self) -> usize {
        self.hub.inner.max_message
    }

    fn receive(&self) -> Pin<Box<dyn Future<Output = Option<Received>> + Send + '_>> {
        Box::pin(self.inbox.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn bytes(text: &str) -> Arc<[u8]> {
        Arc::from(text.as_bytes())
    }

    /// What is there now, as `from:text`.
    fn all(end: &Direct) -> Vec<String> {
        let next = || end.receive().now_or_never().flatten();
        let text = |got: Received| format!("{}:{}", got.from, String::from_utf8_lossy(&got.message));
        std::iter::from_fn(next).map(text).collect()
    }

    #[test]
    fn messages_reach_whom_they_are_for_in_order() {
        let hub = Hub::new();
        let (a, b, c) = (hub.join("a"), hub.join("b"), hub.join("c"));
        a.send(To::Node("b"), bytes("1"));
        a.send(To::All, bytes("2"));
        c.send(To::Node("b"), bytes("3"));
        a.send(To::Node("nobody"), bytes("4"));
        assert_eq!(all(&b), ["a:1", "a:2", "c:3"]);
        assert_eq!(all(&c), ["a:2"]);
        assert!(all(&a).is_empty());
        assert_eq!(hub.nodes(), ["a", "b", "c"]);
    }

    #[test]
    fn two_ends_of_one_name_are_both_reached_but_never_who_sends() {
        let hub = Hub::new();
        let (a, one, two) = (hub.join("a"), hub.join("b"), hub.join("b"));
        a.send(To::Node("b"), bytes("1"));
        one.send(To::Node("b"), bytes("2"));
        assert_eq!(all(&one), ["a:1"]);
        assert_eq!(all(&two), ["a:1", "b:2"]);
    }

    #[test]
    fn what_has_no_room_is_lost_and_counted() {
        let hub = Hub::with(Bounds { messages: 2, bytes: 10 }, 8);
        let (a, b) = (hub.join("a"), hub.join("b"));
        for text in ["1", "2", "3"] {
            a.send(To::Node("b"), bytes(text));
        }
        assert_eq!((all(&b), b.lost()), (vec!["a:1".to_owned(), "a:2".to_owned()], 1));
        a.send(To::Node("b"), bytes("12345678"));
        a.send(To::Node("b"), bytes("123"));
        assert_eq!((all(&b), b.lost()), (vec!["a:12345678".to_owned()], 2));
        a.send(To::Node("b"), bytes("123456789"));
        assert_eq!((all(&b), b.lost()), (vec![], 3), "larger than a message may be");
    }

    #[test]
    fn an_end_that_is_closed_or_dropped_is_gone() {
        let hub = Hub::new();
        let (a, b) = (hub.join("a"), hub.join("b"));
        a.send(To::Node("b"), bytes("1"));
        b.close();
        assert_eq!(b.receive().now_or_never(), Some(None));
        assert_eq!(b.lost(), 1, "what waited is lost");
        b.send(To::All, bytes("2"));
        assert!(all(&a).is_empty());
        drop(hub.join("c"));
        assert_eq!(hub.nodes(), ["a"]);
        hub.close();
        assert_eq!(a.receive().now_or_never(), Some(None));
        assert_eq!(hub.join("d").receive().now_or_never(), Some(None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_by_a_message_and_by_the_end() {
        let hub = Hub::new();
        let (a, b) = (hub.join("a"), Arc::new(hub.join("b")));
        let receiver = Arc::clone(&b);
        let task = tokio::spawn(async move {
            let mut count = 0;
            while receiver.receive().await.is_some() {
                count += 1;
            }
            count
        });
        tokio::task::yield_now().await;
        a.send(To::All, bytes("1"));
        tokio::task::yield_now().await;
        hub.close();
        assert_eq!(task.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_is_dropped_takes_no_message_with_it() {
        let hub = Hub::new();
        let (a, b) = (hub.join("a"), hub.join("b"));
        let mut waits = b.receive();
        assert!(waits.as_mut().now_or_never().is_none());
        // It is woken, and dropped before it looks.
        a.send(To::All, bytes("1"));
        drop(waits);
        assert_eq!(all(&b), ["a:1"]);
        let mut waits = b.receive();
        assert!(waits.as_mut().now_or_never().is_none());
        a.send(To::All, bytes("2"));
        assert!(waits.await.is_some());
    }
}
