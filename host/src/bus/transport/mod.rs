//! The pipe between nodes: it promises nothing, and the bus needs no more.
//!
//! Two ends in memory are here: [`Direct`] delivers all it is given, in order; [`Faulty`] loses, doubles, delays and
//! reorders by seed. An engine that joins processes comes behind the same trait.

mod direct;
mod faulty;
mod inbox;

pub use direct::{Direct, Hub};
pub use faulty::{FaultCounters, Faults, Faulty, FaultyHub};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'a> {
    /// All ends of the node of that name: there are two when two processes say that they are one node.
    Node(&'a str),
    /// All ends.
    All,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The name of the node whose end sent it.
    pub from: String,
    /// What it sent, whole and unchanged.
    pub message: Arc<[u8]>,
}

/// One node's end of a pipe to all others.
///
/// A message comes whole and unchanged, or not at all. It may come late, twice, in any order, or never, and the sender does
/// not learn which: the bus above numbers, repeats and fetches what it misses.
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Sends a message; never blocks, never fails. It does not come to the end that sent it. One larger than
    /// [`Transport::max_message`], to nobody, or to who has no room for it, is lost. May be called on any thread.
    fn send(&self, to: To<'_>, message: Arc<[u8]>);

    /// How many bytes a message has at most.
    fn max_message(&self) -> usize;

    /// Waits for the next message; `None`: this end is closed, none will come.
    ///
    /// Cancel safe: when the future is dropped before it is ready, no message is lost. One caller at a time is expected;
    /// of several, each message comes to one.
    fn receive(&self) -> Pin<Box<dyn Future<Output = Option<Received>> + Send + '_>>;
}
