//! The publisher's side: each table that another node follows is one more subscription here, whose messages go over the
//! pipe.

use super::Timing;
use super::wire::{self, Position, Word};
use crate::bus::queue::Message;
use crate::bus::subscription::Subscription;
use crate::bus::table_view::TableView;
use arrow_array::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// Room in a message for all that is not rows.
const HEADER: usize = 8 << 10;
/// So many rows at most are in one part: they are read faster than more at once.
const ROWS: usize = 8192;

/// Puts a message into the pipe to one process.
pub(super) type Say = Arc<dyn Fn(Word, Vec<u8>) + Send + Sync>;

#[derive(Debug)]
struct Feed {
    /// Ends with the feed.
    task: JoinHandle<()>,
    /// Where the last message led to.
    told: Arc<Mutex<(u64, u64)>>,
    seen: Instant,
    subscription: Uuid,
    services: BTreeSet<String>,
    transfer: Option<Transfer>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole state that is being fetched: one a feed.
#[derive(Debug)]
struct Transfer {
    number: u64,
    view: Arc<TableView>,
    parts: Vec<RecordBatch>,
    used: Instant,
}

#[derive(Debug)]
pub(super) struct Feeds {
    timing: Timing,
    all: BTreeMap<(Uuid, u64), Feed>,
}

impl Feeds {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, all: BTreeMap::new() }
    }

    /// The process says again that it follows; answers the subscription, if there is one.
    pub(super) fn refresh(
        &mut self,
        process: Uuid,
        feed: u64,
        services: &BTreeSet<String>,
        now: Instant,
    ) -> Option<(Uuid, bool)> {
        let feed = self.all.get_mut(&(process, feed))?;
        feed.seen = now;
        let news = feed.services != *services;
        feed.services.clone_from(services);
        Some((feed.subscription, news))
    }

    /// Begins to serve.
    pub(super) fn begin(
        &mut self,
        (process, feed): (Uuid, u64),
        subscription: Subscription,
        services: BTreeSet<String>,
        (say, max): (Say, usize),
        now: Instant,
    ) {
        let told = Arc::new(Mutex::new((0, 0)));
        let id = subscription.id();
        let task = tokio::spawn(serve(feed, subscription, Arc::clone(&told), say, max));
        let new = Feed { task, told, seen: now, subscription: id, services, transfer: None };
        self.all.insert((process, feed), new);
    }

    pub(super) fn end(&mut self, process: Uuid, feed: u64) {
        self.all.remove(&(process, feed));
    }

    pub(super) fn end_all(&mut self, process: Uuid) {
        self.all.retain(|(of, _), _| *of != process);
    }

    /// Those that nobody spoke of for long are no more.
    pub(super) fn expire(&mut self, now: Instant) {
        self.all.retain(|_, feed| now < feed.seen + self.timing.down);
        for feed in self.all.values_mut() {
            feed.transfer.take_if(|transfer| now >= transfer.used + self.timing.down);
        }
    }

    /// Where each table stands that a process follows.
    pub(super) fn positions(&self) -> BTreeMap<Uuid, Vec<Position>> {
        let mut all: BTreeMap<Uuid, Vec<Position>> = BTreeMap::new();
        for ((process, number), feed) in &self.all {
            let (epoch, to) = *feed.told.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(*process).or_default().push((*number, epoch, to));
        }
        all
    }

    /// Part of the whole state of a table: what to answer.
    pub(super) fn pull(
        &mut self,
        process: Uuid,
        (feed, number, part): (u64, u64, usize),
        view: impl FnOnce(Uuid) -> Option<Arc<TableView>>,
        max: usize,
        now: Instant,
    ) -> Option<(Word, Vec<u8>)> {
        let serving = self.all.get_mut(&(process, feed))?;
        if part == 0 && serving.transfer.as_ref().is_none_or(|t| t.number != number) {
            serving.transfer = view(serving.subscription).map(|view| {
                let parts = parts(&view, max);
                Transfer { number, view, parts, used: now }
            });
        }
        let nothing = Word::Part { feed, transfer: number, part, parts: 0, at: (0, 0, 0), shape: None };
        let asked = serving.transfer.as_mut().filter(|t| t.number == number && part < t.parts.len());
        let Some(transfer) = asked else { return Some((nothing, Vec::new())) };
        transfer.used = now;
        let refused = |why: String| Some((Word::Refused { feed, transfer: number, why }, Vec::new()));
        let batch = &transfer.parts[part];
        let last = part + 1 == transfer.parts.len();
        match wire::write(&batch.schema(), &[batch]) {
            Err(error) => refused(error.to_string()),
            Ok(rows) if rows.len() + HEADER > max => refused(format!(
                "a row of {} bytes is larger than what the pipe between nodes carries ({max})",
                rows.len()
            )),
            Ok(rows) => {
                let TableView { epoch, to, poll, shape, .. } = &*transfer.view;
                let shape = last.then(|| (&**shape).into());
                let parts = transfer.parts.len();
                let word = Word::Part { feed, transfer: number, part, parts, at: (epoch.0, *to, *poll), shape };
                Some((word, rows))
            }
        }
    }
}

/// Rows in pieces that a message holds; one at least.
fn parts(view: &TableView, max: usize) -> Vec<RecordBatch> {
    let room = max.saturating_sub(2 * HEADER).max(1) / 2;
    let mut parts = Vec::new();
    for batch in view.rows.batches() {
        let each = batch.get_array_memory_size().div_ceil(batch.num_rows().max(1)).max(1);
        let rows = (room / each).clamp(1, ROWS);
        let mut at = 0;
        while at < batch.num_rows() {
            let length = rows.min(batch.num_rows() - at);
            split(batch.slice(at, length), room, &mut parts);
            at += length;
        }
    }
    if parts.is_empty() {
        parts.push(RecordBatch::new_empty(Arc::clone(&view.shape.schema)));
    }
    parts
}

/// Rows of very unequal sizes are halved until they fit.
fn split(batch: RecordBatch, room: usize, parts: &mut Vec<RecordBatch>) {
    let bytes: usize =
        batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(usize::MAX / 64)).sum();
    if bytes <= room || batch.num_rows() <= 1 {
        return parts.push(batch);
    }
    let half = batch.num_rows() / 2;
    split(batch.slice(0, half), room, parts);
    split(batch.slice(half, batch.num_rows() - half), room, parts);
}

async fn serve(feed: u64, mut subscription: Subscription, told: Arc<Mutex<(u64, u64)>>, say: Say, max: usize) {
    loop {
        #[cfg(test)]
        if subscription.bounds().messages == 1 {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        let message = subscription.next().await.message;
        let tell = |at: (u64, u64)| *told.lock().unwrap_or_else(PoisonError::into_inner) = at;
        match message {
            Message::Snapshot(view) => {
                tell((view.epoch.0, view.to));
                say(Word::Moved { feed, epoch: view.epoch.0, to: view.to }, Vec::new());
            }
            Message::Step(step) => {
                tell((step.epoch.0, step.to));
                let (epoch, from, to, poll) = (step.epoch.0, step.from, step.to, step.poll);
                match wire::write_step(&step) {
                    Ok(rows) if rows.len() + HEADER <= max => {
                        say(Word::Step { feed, epoch, from, to, poll, updated: step.updated }, rows);
                    }
                    // Too large for one message: the other side fetches the whole state in parts.
                    _ => say(Word::Moved { feed, epoch, to }, Vec::new()),
                }
            }
            Message::Gone => {
                let epoch = told.lock().unwrap_or_else(PoisonError::into_inner).0;
                tell((epoch, 0));
                say(Word::Moved { feed, epoch, to: 0 }, Vec::new());
            }
        }
    }
}
