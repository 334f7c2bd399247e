//! The link to other nodes: what makes of a pipe that loses, doubles, delays and reorders a bus that does none of it.
//!
//! Presence: each node beats; who is silent for long is gone, and so are its services. Tables: each step says where it
//! starts, each beat where each table stands; who misses something fetches the whole state, in parts. Calls: see `calls`.

mod calls;
mod copies;
mod engine;
mod feeds;
mod peers;
pub(crate) mod sequencer;
mod wire;

use super::call::{CallError, CallOptions};
use super::transport::{To, Transport};
use super::{Bus, Inner};
use calls::Calls;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;
pub(super) use wire::Announced;
use wire::{Envelope, Word};

/// How long things take between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two beats.
    pub beat: Duration,
    /// Who is silent for so long is suspect.
    pub suspect: Duration,
    /// Who is silent for so long is gone.
    pub down: Duration,
    /// What was not answered is said again after this; twice as long each time.
    pub retry: Duration,
    /// A step that is missing is waited for so long.
    pub patience: Duration,
    /// What is followed is said again so often.
    pub refresh: Duration,
}

impl Default for Timing {
    /// Beats each second; suspect after 3, gone after 10.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            beat: ms(1000),
            suspect: ms(3000),
            down: ms(10_000),
            retry: ms(200),
            patience: ms(200),
            refresh: ms(3000),
        }
    }
}

/// Why a bus can't be joined with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It is already.
    #[error("this bus is joined with other nodes already: leave first")]
    Joined,
    /// The pipe is too narrow.
    #[error("the pipe carries messages of {0} bytes: {least} are needed at least", least = SMALLEST)]
    Narrow(usize),
}

/// Narrower pipes carry no table.
const SMALLEST: usize = 32 << 10;

/// A node on the bus.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// The process: another after each restart.
    pub process: Uuid,
    /// `here`, `alive`, `suspect`.
    pub state: &'static str,
    /// Another living process says that it is the same node: give one of them another name.
    pub clash: bool,
}

/// What the bus keeps of its link.
#[derive(Debug)]
pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    process: Uuid,
    calls: Calls,
    bell: Notify,
    nodes: Mutex<Vec<NodeView>>,
    task: Mutex<Option<JoinHandle<()>>>,
    #[cfg(test)]
    pub(crate) mutant: Mutex<Option<sequencer::Mutant>>,
    /// Feeds serve late, and so in wider steps: as on a machine that has much to do.
    #[cfg(test)]
    pub(crate) slow: Mutex<bool>,
}

impl Link {
    /// Something of this node's changed.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    fn say(&self, to: Option<(&str, Uuid)>, word: Word, rows: &[u8]) {
        let envelope = Envelope { from: self.process, to: to.map(|(_, process)| process), word };
        let message = envelope.encode(rows);
        self.transport.send(to.map_or(To::All, |(node, _)| To::Node(node)), message.into());
    }

    fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A call that is taken back when nobody waits for it any more.
struct Open<'a> {
    link: &'a Link,
    node: &'a str,
    id: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.link.calls.drop_waiting(self.id) {
            self.link.say(Some((self.node, process)), Word::Cancel { id: self.id }, &[]);
        }
    }
}

impl Bus {
    /// Joins the nodes at the other ends of `transport`: their services can be called and their tables followed as if they
    /// were here, and they do the same. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When it is joined already, or the pipe is too narrow.
    pub fn join(&self, transport: Arc<dyn Transport>, timing: Timing) -> Result<(), LinkError> {
        if transport.max_message() < SMALLEST {
            return Err(LinkError::Narrow(transport.max_message()));
        }
        let mut place = self.inner.link.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return Err(LinkError::Joined);
        }
        // Another life: numbers begin anew, and nothing said to the last one is meant for this.
        let process = Uuid::new_v4();
        *self.inner.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
        let link = Arc::new(Link {
            transport,
            process,
            calls: Calls::new(timing),
            bell: Notify::new(),
            nodes: Mutex::default(),
            task: Mutex::default(),
            #[cfg(test)]
            mutant: Mutex::default(),
            #[cfg(test)]
            slow: Mutex::default(),
        });
        let engine = engine::Engine::new(self, &link, timing);
        *link.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(engine.run()));
        *place = Some(link);
        Ok(())
    }

    /// Leaves the other nodes: they are told, and what was followed from them is no more here. It can join again.
    pub fn leave(&self) {
        let link = self.inner.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(link) = link else { return };
        link.stop();
        link.say(None, Word::Bye, &[]);
        let gone: Vec<Uuid> = self.registry().remote.values().map(|remote| remote.process).collect();
        gone.into_iter().for_each(|process| link.calls.leave(process, Instant::now()));
        self.registry().forget_news();
        self.learn(None, std::collections::BTreeMap::new(), &std::collections::BTreeMap::new());
    }

    /// The nodes of the bus, this one first.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        let link = self.link();
        let others = link.map(|link| link.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let here = |n: &NodeView| n.process == self.process();
        let mut all = others.unwrap_or_default();
        if !all.iter().any(here) {
            let node = self.node().to_owned();
            all.insert(0, NodeView { node, process: self.process(), state: "here", clash: false });
        }
        all
    }

    /// Calls a service of another node, or the node itself.
    pub(crate) async fn call_there(
        &self,
        (node, process): (&str, Uuid),
        service: Option<String>,
        method: &str,
        args: Value,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let what = service.as_ref().map_or_else(|| format!("node {node:?}"), |name| format!("service {name:?}"));
        let gone = CallError::Unreachable { what: what.clone(), method: method.to_owned(), node: node.to_owned() };
        let Some(link) = self.link() else { return Err(gone) };
        let deadline_ms = u64::try_from(options.deadline.as_millis()).unwrap_or(u64::MAX);
        let word = |id, open| Word::Call {
            id,
            open,
            service,
            method: method.to_owned(),
            args,
            caller: options.caller,
            deadline_ms,
        };
        let (id, word, answer) = link.calls.open(process, word, options.retries, gone.clone(), Instant::now());
        let open = Open { link: &link, node, id };
        let envelope = Envelope { from: link.process, to: Some(process), word };
        let message = envelope.encode(&[]);
        if message.len() > link.transport.max_message() {
            return Err(CallError::TooLarge { bytes: message.len(), most: link.transport.max_message() });
        }
        link.transport.send(To::Node(node), message.into());
        let result = tokio::time::timeout(options.deadline, answer).await;
        drop(open);
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone),
            Err(_) => {
                let deadline = humantime::format_duration(options.deadline).to_string();
                Err(CallError::TimedOut { what, method: method.to_owned(), deadline })
            }
        }
    }
}

/// A bus that does not keep itself alive by its own link.
type WeakBus = Weak<Inner>;

fn upgrade(bus: &WeakBus) -> Option<Bus> {
    bus.upgrade().map(|inner| Bus { inner })
}
