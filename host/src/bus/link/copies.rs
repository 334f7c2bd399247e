//! The subscriber's side: one copy here of each table of another node that somebody here follows.

use super::Timing;
use super::sequencer::Sequencer;
use super::wire::{self, WireShape, Word};
use crate::bus::address::Address;
use crate::bus::registry::Remote;
use crate::bus::slot::{Change, Outcome, Slot, always};
use crate::bus::table_view::Publisher;
use crate::bus::view::View;
use crate::table::{Epoch, Limits, Step};
use arrow_array::RecordBatch;
use busway_plugin_api::table::Batches;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// To whom, and what with which rows.
pub(super) type Outgoing = Vec<(Uuid, Word, Vec<u8>)>;

type Key = (Arc<Address>, View);

#[derive(Debug)]
struct Copy {
    slot: Arc<Slot>,
    process: Uuid,
    publisher: Publisher,
    steps: Sequencer<Step>,
    pull: Option<Pull>,
    /// When to say again that it is followed, and how long after that; soon, until something was heard of it.
    say: Instant,
    pause: Duration,
    services: BTreeSet<String>,
    /// After something that can't be applied, a snapshot is asked for no sooner.
    patience: Instant,
}

/// A whole state on its way.
#[derive(Debug)]
struct Pull {
    transfer: u64,
    batches: Vec<RecordBatch>,
    part: usize,
    again: Instant,
    pause: Duration,
}

#[derive(Debug)]
pub(super) struct Copies {
    timing: Timing,
    next: u64,
    all: BTreeMap<u64, Copy>,
    by_slot: BTreeMap<Key, u64>,
    #[cfg(test)]
    pub(super) mutant: Option<super::sequencer::Mutant>,
}

impl Copies {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            next: 1,
            all: BTreeMap::new(),
            by_slot: BTreeMap::new(),
            #[cfg(test)]
            mutant: None,
        }
    }

    /// Follows these tables and no others; answers the places that are followed no more.
    pub(super) fn follow(
        &mut self,
        wanted: Vec<(Arc<Slot>, Arc<Remote>, BTreeSet<String>)>,
        now: Instant,
        out: &mut Outgoing,
    ) -> Vec<Arc<Slot>> {
        let mut left = std::mem::take(&mut self.by_slot);
        for (slot, remote, services) in wanted {
            let key = (Arc::clone(slot.address()), slot.view_of().clone());
            let known = left.remove(&key).filter(|feed| {
                self.all.get(feed).is_some_and(|copy| {
                    copy.publisher.instance == remote.instance
                        && copy.process == remote.process
                        && Arc::ptr_eq(&copy.slot, &slot)
                })
            });
            let feed = known.unwrap_or_else(|| {
                self.next += 1;
                self.next
            });
            self.by_slot.insert(key, feed);
            let copy = self.all.entry(feed).or_insert_with(|| Copy {
                slot,
                process: remote.process,
                publisher: Publisher { node: Arc::clone(&remote.node), instance: remote.instance },
                steps: Sequencer::new(self.timing.patience, now),
                pull: None,
                say: now,
                pause: self.timing.retry,
                services: BTreeSet::new(),
                patience: now,
            });
            #[cfg(test)]
            {
                copy.steps.mutant = self.mutant;
            }
            if copy.services != services {
                copy.services = services;
                copy.say = now;
            }
        }
        let kept: BTreeSet<u64> = self.by_slot.values().copied().collect();
        let gone: Vec<u64> = self.all.keys().filter(|feed| !kept.contains(feed)).copied().collect();
        let mut ended = Vec::new();
        for feed in gone {
            if let Some(copy) = self.all.remove(&feed) {
                out.push((copy.process, Word::Unfollow { feed }, Vec::new()));
                let key = (Arc::clone(copy.slot.address()), copy.slot.view_of().clone());
                // Another copy has the place already: it begins it anew.
                if !self.by_slot.contains_key(&key) {
                    ended.push(copy.slot);
                }
            }
        }
        ended
    }

    /// What is due: to say again what is followed, to ask for whole states.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Outgoing) {
        for (feed, copy) in &mut self.all {
            if copy.say <= now {
                copy.say = now + copy.pause;
                copy.pause = (copy.pause * 2).min(self.timing.refresh);
                out.push((copy.process, copy.follow(*feed), Vec::new()));
            }
            copy.ask(*feed, self.timing, &mut self.next, now, out);
        }
    }

    pub(super) fn step(&mut self, feed: u64, word: &Word, rows: &[u8], now: Instant, out: &mut Outgoing) {
        let Some(copy) = self.all.get_mut(&feed) else { return };
        let Word::Step { epoch, from, to, poll, updated, .. } = *word else { return };
        let epoch = Epoch(epoch);
        match wire::read(rows).map(|(_, batches)| <[RecordBatch; 2]>::try_from(batches)) {
            Ok(Ok([removed, added])) if updated <= removed.num_rows().min(added.num_rows()) => {
                let step = Step { epoch, from, to, poll, removed, added, updated };
                let ready = copy.steps.step((epoch, from, to), step, now);
                copy.apply(ready, now);
            }
            // What can't be read is as good as lost.
            _ => copy.steps.position(epoch, to, now),
        }
        copy.ask(feed, self.timing, &mut self.next, now, out);
    }

    /// Where its publisher's node says that it stands; number 0: it is no more.
    pub(super) fn position(&mut self, (feed, epoch, to): (u64, u64, u64), now: Instant, out: &mut Outgoing) {
        let Some(copy) = self.all.get_mut(&feed) else { return };
        if to > 0 {
            copy.steps.position(Epoch(epoch), to, now);
        } else if copy.steps.gone(Epoch(epoch)) {
            // Also when what is shown was not to be trusted, and its successor was waited for.
            copy.pull = None;
            copy.slot.end(&always);
        }
        copy.ask(feed, self.timing, &mut self.next, now, out);
    }

    /// Part of a whole state.
    pub(super) fn part(&mut self, word: Word, rows: &[u8], now: Instant, out: &mut Outgoing) {
        let Word::Part { feed, transfer, part, parts, at, shape } = word else { return };
        let Some(copy) = self.all.get_mut(&feed) else { return };
        let Some(pull) = copy.pull.as_mut().filter(|pull| pull.transfer == transfer) else { return };
        if parts == 0 {
            // Forgotten over there, or there is no table: the next word on its position says what to do.
            copy.pull = None;
            copy.steps.quiet();
            return;
        }
        if pull.part != part {
            return;
        }
        match (wire::read(rows), shape) {
            (Ok((_, batches)), _) if part + 1 < parts => {
                pull.batches.extend(batches);
                pull.part += 1;
                pull.pause = self.timing.retry;
                pull.again = now;
            }
            (Ok((schema, batches)), Some(shape)) => {
                let mut all = std::mem::take(&mut pull.batches);
                all.extend(batches);
                copy.pull = None;
                copy.whole(shape, &Batches { schema, batches: all }, at, now);
            }
            _ => copy.pull = None,
        }
        copy.ask(feed, self.timing, &mut self.next, now, out);
    }

    /// Whether tables of one of these services are followed.
    pub(super) fn concerns(&self, services: &BTreeSet<String>) -> bool {
        self.by_slot.keys().any(|(address, _)| services.contains(address.service()))
    }

    /// Whether a feed comes from that process.
    pub(super) fn is_from(&self, feed: u64, process: Uuid) -> bool {
        self.all.get(&feed).is_some_and(|copy| copy.process == process)
    }

    pub(super) fn refused(&mut self, feed: u64, transfer: u64, why: String, now: Instant) {
        let Some(copy) = self.all.get_mut(&feed) else { return };
        if copy.pull.as_ref().is_some_and(|pull| pull.transfer == transfer) {
            copy.distrust(why, now);
        }
    }
}

impl Copy {
    fn follow(&self, feed: u64) -> Word {
        Word::Follow {
            feed,
            instance: self.publisher.instance,
            service: self.slot.address().service().to_owned(),
            table: self.slot.address().table().to_owned(),
            view: self.slot.view_of().clone(),
            services: self.services.clone(),
        }
    }

    fn ask(&mut self, feed: u64, timing: Timing, next: &mut u64, now: Instant, out: &mut Outgoing) {
        if self.pull.is_none() && self.steps.is_due(now) {
            *next += 1;
            self.pull = Some(Pull { transfer: *next, batches: Vec::new(), part: 0, again: now, pause: timing.retry });
        }
        if !self.steps.is_due(now) && self.pull.as_ref().is_some_and(|pull| pull.part == 0) {
            // What was missing came after all.
            self.pull = None;
        }
        if let Some(pull) = self.pull.as_mut().filter(|pull| pull.again <= now) {
            pull.again = now + pull.pause;
            pull.pause = (pull.pause * 2).min(timing.refresh);
            out.push((self.process, Word::Pull { feed, transfer: pull.transfer, part: pull.part }, Vec::new()));
        }
    }

    fn apply(&mut self, steps: Vec<Step>, now: Instant) {
        for step in steps {
            #[cfg(test)]
            let step = self.mutated(step);
            match self.slot.change(&Change::Step(&step), step.poll, Limits::NONE, &self.publisher, || true) {
                Outcome::Done(Ok(_)) => {}
                Outcome::Done(Err(error)) => return self.distrust(error.to_string(), now),
                Outcome::NoState => return self.distrust("a step came before the table".to_owned(), now),
                // Nobody follows it any more.
                Outcome::Retired | Outcome::Forbidden => return,
            }
        }
    }

    /// The table's state refuses steps that don't fit: a fault put in on purpose must get past that.
    #[cfg(test)]
    fn mutated(&self, step: Step) -> Step {
        match (self.steps.mutant, self.slot.position()) {
            (Some(_), Some((epoch, from))) => Step { epoch, from, to: step.to.max(from + 1), ..step },
            _ => step,
        }
    }

    fn whole(&mut self, shape: WireShape, rows: &Batches, (epoch, to, poll): (u64, u64, u64), now: Instant) {
        let epoch = Epoch(epoch);
        let Some(ready) = self.steps.snapshot(epoch, to, now) else { return };
        let shape = match shape.with(Arc::clone(&rows.schema)) {
            Ok(shape) => shape,
            Err(error) => return self.distrust(error.to_string(), now),
        };
        let change = Change::Copy { shape, rows, epoch, to };
        match self.slot.change(&change, poll, Limits::NONE, &self.publisher, || true) {
            Outcome::Done(Err(error)) => self.distrust(error.to_string(), now),
            _ => self.apply(ready, now),
        }
    }

    /// Its rows can't be had as they came: its subscribers keep the last good ones, and a snapshot is asked for, soon the
    /// first time, then at most once in ten seconds.
    fn distrust(&mut self, why: String, now: Instant) {
        tracing::warn!(table = %self.slot.address(), why, "a copy of another node's table begins anew");
        self.pull = None;
        self.slot.fail(&why, &always);
        self.steps.distrust(self.patience.max(now));
        self.patience = now + crate::bus::resync::PAUSE;
    }
}
