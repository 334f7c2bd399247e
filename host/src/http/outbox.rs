//! What waits to be sent to a service from outside. Bounded without counting messages: calls by how many may run and by
//! their bytes, what was taken back by the calls that were sent, wanted tables by how many there are.

use crate::bus::Fault;
use busway_plugin_api::message::encode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// So many bytes of calls wait at most; more are refused.
const MOST: usize = 16 << 20;

type Answer = Result<Value, Fault>;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    closed: bool,
    /// Calls that were not sent yet.
    calls: VecDeque<(u64, String)>,
    bytes: usize,
    /// Calls that were sent, and are to be taken back.
    cancels: VecDeque<u64>,
    /// Who waits for the answers.
    open: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Wanted now, and what the client was told of it.
    wanted: BTreeSet<String>,
    told: BTreeSet<String>,
}

/// A call that waits for its answer. Dropping it takes the call back.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    outbox: Arc<Outbox>,
    pub(super) answer: oneshot::Receiver<Answer>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut inner = self.outbox.inner();
        if inner.open.remove(&self.id).is_none() {
            return;
        }
        if let Some(at) = inner.calls.iter().position(|(id, _)| *id == self.id) {
            // The client never heard of it.
            let text = inner.calls.remove(at).map_or(0, |(_, text)| text.len());
            inner.bytes -= text;
            return;
        }
        inner.cancels.push_back(self.id);
        drop(inner);
        self.outbox.bell.notify_one();
    }
}

impl Outbox {
    /// Puts a call in line; `text` writes it, given its number.
    pub(super) fn call(self: &Arc<Self>, text: impl FnOnce(u64) -> String) -> Result<Waiting, Fault> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut inner = self.inner();
            inner.next += 1;
            inner.next
        };
        let text = text(id);
        let mut inner = self.inner();
        if inner.closed {
            return Err(Fault::new("unreachable", "the service went away"));
        }
        if inner.bytes + text.len() > MOST {
            let why = format!("calls of {} bytes wait for the service: it reads too slowly, try later", inner.bytes);
            return Err(Fault::new("busy", why));
        }
        inner.bytes += text.len();
        inner.calls.push_back((id, text));
        inner.open.insert(id, sender);
        drop(inner);
        self.bell.notify_one();
        Ok(Waiting { id, outbox: Arc::clone(self), answer })
    }

    /// Whether somebody waited for it.
    pub(super) fn answer(&self, id: u64, answer: Answer) -> bool {
        let waiting = self.inner().open.remove(&id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }

    pub(super) fn wanted(&self, table: &str, wanted: bool) {
        let mut inner = self.inner();
        if wanted {
            inner.wanted.insert(table.to_owned());
        } else {
            inner.wanted.remove(table);
        }
        drop(inner);
        self.bell.notify_one();
    }

    /// Nobody is there to answer.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.open.clear();
    }

    /// The next event and its data. Cancel safe.
    pub(super) async fn next(&self) -> (&'static str, String) {
        loop {
            if let Some(event) = self.pop() {
                return event;
            }
            self.bell.notified().await;
        }
    }

    fn pop(&self) -> Option<(&'static str, String)> {
        let mut inner = self.inner();
        let Inner { wanted, told, .. } = &mut *inner;
        if let Some(table) = wanted.symmetric_difference(told).next().cloned() {
            let now = wanted.contains(&table);
            let data = encode(&json!({"table": table, "wanted": now}));
            if now {
                told.insert(table);
            } else {
                told.remove(&table);
            }
            return Some(("wanted", data));
        }
        if let Some(id) = inner.cancels.pop_front() {
            return Some(("cancel", encode(&json!({"id": id}))));
        }
        let (_, text) = inner.calls.pop_front()?;
        inner.bytes -= text.len();
        Some(("call", text))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(outbox: &Arc<Outbox>, bytes: usize) -> Result<Waiting, Fault> {
        outbox.call(|id| format!("{id}{}", " ".repeat(bytes)))
    }

    #[test]
    fn a_call_that_is_taken_back_before_it_was_sent_is_never_sent() {
        let outbox = Arc::new(Outbox::default());
        let (first, second) = (call(&outbox, 0).unwrap(), call(&outbox, 0).unwrap());
        drop(first);
        assert_eq!(outbox.pop(), Some(("call", "2".to_owned())));
        drop(second);
        assert_eq!(outbox.pop(), Some(("cancel", "{\"id\":2}".to_owned())));
        assert_eq!(outbox.pop(), None);
        assert!(!outbox.answer(2, Ok(Value::Null)), "nobody waits");
        assert_eq!(outbox.inner().bytes, 0);
    }

    #[test]
    fn calls_that_nobody_reads_are_refused_in_the_end() {
        let outbox = Arc::new(Outbox::default());
        let waiting: Vec<Waiting> = (0..15).map(|_| call(&outbox, 1 << 20).unwrap()).collect();
        assert_eq!(call(&outbox, 1 << 20).unwrap_err().kind, "busy");
        drop(waiting);
        call(&outbox, 1 << 20).unwrap();
    }

    #[test]
    fn a_table_wanted_and_unwanted_meanwhile_is_no_news() {
        let outbox = Outbox::default();
        outbox.wanted("a", true);
        outbox.wanted("a", false);
        assert_eq!(outbox.pop(), None);
        outbox.wanted("a", true);
        assert_eq!(outbox.pop(), Some(("wanted", "{\"table\":\"a\",\"wanted\":true}".to_owned())));
        assert_eq!(outbox.pop(), None);
        outbox.wanted("a", false);
        assert_eq!(outbox.pop(), Some(("wanted", "{\"table\":\"a\",\"wanted\":false}".to_owned())));
    }

    #[tokio::test]
    async fn an_answer_reaches_who_waits_and_an_end_too() {
        let outbox = Arc::new(Outbox::default());
        let (mut first, mut second) = (call(&outbox, 0).unwrap(), call(&outbox, 0).unwrap());
        assert!(outbox.answer(1, Ok(json!(7))));
        assert_eq!((&mut first.answer).await, Ok(Ok(json!(7))));
        outbox.close();
        assert!((&mut second.answer).await.is_err());
        assert_eq!(call(&outbox, 0).unwrap_err().kind, "unreachable");
    }
}
