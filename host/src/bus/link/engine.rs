//! What turns the link: one task that hears what comes, and looks after what is due.

use super::calls::Taken;
use super::copies::{Copies, Outgoing};
use super::feeds::{Feeds, Say};
use super::peers::Peers;
use super::wire::{Announced, Envelope, Word};
use super::{Link, NodeView, Timing, WeakBus, upgrade};
use crate::bus::Bus;
use crate::bus::address::Address;
use crate::bus::call::{Call, CallError, Fault};
use crate::bus::selector::Selector;
use crate::bus::subscription::SubscribeOptions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// What is due is looked for so often.
const TICK: Duration = Duration::from_millis(100);
/// Changes that come so close together are one.
const SETTLE: Duration = Duration::from_millis(5);
/// Looking after changes takes one in so many parts of the time: where that is much work, more of them are one.
const SHARE: u32 = 5;
/// Answers are kept for so long after a call's deadline.
const KEEP: Duration = Duration::from_secs(10);
/// No call runs for longer, whatever its caller says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Engine {
    bus: WeakBus,
    link: Arc<Link>,
    timing: Timing,
    peers: Peers,
    copies: Copies,
    feeds: Feeds,
    /// What this node has, as it said.
    catalogue: BTreeMap<String, Announced>,
    revision: u64,
    beat: Instant,
}

impl Engine {
    pub(super) fn new(bus: &Bus, link: &Arc<Link>, timing: Timing) -> Self {
        Self {
            bus: bus.downgrade(),
            link: Arc::clone(link),
            timing,
            peers: Peers::new(&bus.inner.node, link.process, timing),
            copies: Copies::new(timing),
            feeds: Feeds::new(timing),
            catalogue: BTreeMap::new(),
            revision: 0,
            beat: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        let transport = Arc::clone(&self.link.transport);
        let link = Arc::clone(&self.link);
        let mut pause = SETTLE;
        let mut settled: Option<Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.refresh();
        loop {
            tokio::select! {
                received = transport.receive() => match received {
                    Some(received) => self.hear(&received.from, &received.message),
                    None => return,
                },
                () = link.bell.notified(), if settled.is_none() => settled = Some(Instant::now() + pause),
                () = tokio::time::sleep_until(settled.unwrap_or_else(Instant::now)), if settled.is_some() => {
                    settled = None;
                    let begun = Instant::now();
                    self.refresh();
                    pause = SETTLE.max(begun.elapsed() * (SHARE - 1));
                }
                _ = tick.tick() => self.tick(),
            }
            if self.bus.strong_count() == 0 {
                return;
            }
        }
    }

    /// What this node has and follows, after something changed.
    fn refresh(&mut self) {
        let Some(bus) = upgrade(&self.bus) else { return };
        let first = self.revision == 0;
        let (mut services, mut gone) = (Vec::new(), BTreeSet::new());
        for (name, now) in bus.news(self.link.process, first) {
            match now {
                Some(now) if self.catalogue.get(&name) == Some(&now) => {}
                Some(now) => {
                    services.push(now.clone());
                    self.catalogue.insert(name, now);
                }
                None if self.catalogue.remove(&name).is_some() => _ = gone.insert(name),
                None => {}
            }
        }
        if first || !services.is_empty() || !gone.is_empty() {
            self.revision += 1;
            let word = Word::Changed { from: self.revision - 1, revision: self.revision, services, gone };
            let small = serde_json::to_vec(&word).is_ok_and(|text| text.len() <= self.link.transport.max_message() / 2);
            if small && !first {
                self.link.say(None, word, &[]);
            } else {
                self.announce(None);
            }
        }
        self.follow(&bus);
        self.tick();
    }

    /// Follows what somebody here subscribes to, and nothing else.
    fn follow(&mut self, bus: &Bus) {
        let wanted = bus.followed();
        #[cfg(test)]
        {
            self.copies.mutant = *self.link.mutant.lock().unwrap();
        }
        let mut out = Outgoing::new();
        let ended = self.copies.follow(wanted, Instant::now(), &mut out);
        for slot in ended {
            // One whose service is not there any more was ended with it; it may be this node's already.
            if bus.is_elsewhere(slot.address().service()) {
                slot.end(&crate::bus::slot::always);
            }
            bus.tidy(&slot);
        }
        self.send(out);
    }

    /// Says what this node has, to all or one.
    fn announce(&self, to: Option<(&str, Uuid)>) {
        let all = pages(self.catalogue.values(), self.link.transport.max_message() / 2);
        let pages = all.len();
        for (page, services) in all.into_iter().enumerate() {
            self.link.say(to, Word::Catalogue { revision: self.revision, page, pages, services }, &[]);
        }
    }

    fn tick(&mut self) {
        let Some(bus) = upgrade(&self.bus) else { return };
        let now = Instant::now();
        let mut out = Outgoing::new();
        if self.beat <= now {
            self.beat = now + self.timing.beat;
            self.link.say(None, Word::Beat { revision: self.revision, positions: Vec::new() }, &[]);
            for (process, positions) in self.feeds.positions() {
                out.push((process, Word::Beat { revision: self.revision, positions }, Vec::new()));
            }
        }
        let dead = self.peers.expire(now);
        dead.iter().for_each(|process| self.forget(*process));
        if !dead.is_empty() {
            self.learn(&bus, None);
        }
        self.feeds.expire(now);
        self.copies.tick(now, &mut out);
        out.extend(self.link.calls.tick(now).into_iter().map(|(process, word)| (process, word, Vec::new())));
        self.send(out);
        self.show(&bus, now);
    }

    fn show(&self, bus: &Bus, now: Instant) {
        let here = NodeView {
            node: bus.node().to_owned(),
            process: bus.process(),
            state: "here",
            clash: self.peers.is_doubled(),
        };
        let others = self.peers.list(now).map(|(node, process, silent, clash)| NodeView {
            node: node.to_string(),
            process,
            state: if silent { "suspect" } else { "alive" },
            clash,
        });
        *self.link.nodes.lock().unwrap_or_else(PoisonError::into_inner) = std::iter::once(here).chain(others).collect();
    }

    fn send(&self, out: Outgoing) {
        for (process, word, rows) in out {
            if let Some(node) = self.peers.node_of(process) {
                self.link.say(Some((&node, process)), word, &rows);
            }
        }
    }

    fn forget(&mut self, process: Uuid) {
        self.feeds.end_all(process);
        self.link.calls.leave(process, Instant::now());
    }

    /// Who has which name may be others now.
    /// `only`: as far as those names are concerned.
    fn learn(&mut self, bus: &Bus, only: Option<&BTreeSet<String>>) {
        let (remote, lost) = self.peers.winners(&bus.claims(only), only);
        bus.learn(only, remote, &lost);
        // At once: nothing that is on its way for a copy may reach what is no copy any more.
        if only.is_none_or(|names| self.copies.concerns(names)) {
            self.follow(bus);
        }
        self.link.ring();
    }

    fn hear(&mut self, node: &str, message: &[u8]) {
        let Some(bus) = upgrade(&self.bus) else { return };
        let Some((envelope, rows)) = Envelope::decode(message) else {
            tracing::warn!(node, bytes = message.len(), "a message that is not understood was dropped");
            return;
        };
        let (process, now) = (envelope.from, Instant::now());
        if process == self.link.process || envelope.to.is_some_and(|to| to != self.link.process) {
            return;
        }
        if envelope.word == Word::Bye {
            if self.peers.leave(process) {
                self.forget(process);
                self.learn(&bus, None);
            }
            return;
        }
        let heard = self.peers.hear(node, process, now);
        if heard.late {
            return;
        }
        if heard.new {
            self.link.say(Some((node, process)), Word::Beat { revision: self.revision, positions: Vec::new() }, &[]);
        }
        if !heard.replaced.is_empty() {
            heard.replaced.iter().for_each(|process| self.forget(*process));
            self.learn(&bus, None);
        }
        let mut out = Outgoing::new();
        match envelope.word {
            Word::Beat { revision, positions } => {
                if self.peers.beat(process, revision, now) {
                    out.push((process, Word::AskCatalogue, Vec::new()));
                }
                for position in positions {
                    if self.copies.is_from(position.0, process) {
                        self.copies.position(position, now, &mut out);
                    }
                }
            }
            Word::AskCatalogue => self.announce(Some((node, process))),
            Word::Catalogue { revision, page, pages, services } => {
                if self.peers.catalogue(process, revision, (page, pages), services) {
                    self.learn(&bus, None);
                }
            }
            Word::Changed { from, revision, services, gone } => {
                match self.peers.changed(process, (from, revision), services, gone) {
                    Some(names) => self.learn(&bus, Some(&names)),
                    // It is not what follows on what is known: all of it will do.
                    None if self.peers.beat(process, revision, now) => {
                        out.push((process, Word::AskCatalogue, Vec::new()));
                    }
                    None => {}
                }
            }
            Word::Bye => {}
            Word::Follow { .. } => self.serve(&bus, node, process, envelope.word, now),
            Word::Unfollow { feed } => self.feeds.end(process, feed),
            Word::Step { feed, .. }
            | Word::Moved { feed, .. }
            | Word::Part { feed, .. }
            | Word::Refused { feed, .. }
                if !self.copies.is_from(feed, process) => {}
            Word::Step { feed, .. } => self.copies.step(feed, &envelope.word, rows, now, &mut out),
            Word::Moved { feed, epoch, to } => self.copies.position((feed, epoch, to), now, &mut out),
            Word::Pull { feed, transfer, part } => {
                let max = self.link.transport.max_message();
                let view = |id| bus.follower_view(id);
                if let Some((word, rows)) = self.feeds.pull(process, (feed, transfer, part), view, max, now) {
                    out.push((process, word, rows));
                }
            }
            Word::Part { .. } => self.copies.part(envelope.word, rows, now, &mut out),
            Word::Refused { feed, transfer, why } => self.copies.refused(feed, transfer, why, now),
            Word::Call { .. } => self.run_call(&bus, node, process, envelope.word),
            Word::Accepted { id } => self.link.calls.accepted(process, id),
            Word::Answer { id, result } => self.link.calls.answered(process, id, result),
            Word::Cancel { id } => {
                let gone = CallError::Failed(Fault::new("cancelled", "the caller went away"));
                self.link.calls.cancel(process, id, now + KEEP, gone);
            }
        }
        self.send(out);
    }

    /// Another node follows a table of ours, or says again that it does.
    fn serve(&mut self, bus: &Bus, node: &str, process: Uuid, word: Word, now: Instant) {
        let Word::Follow { feed, instance, service, table, view, services } = word else { return };
        if let Some((subscription, news)) = self.feeds.refresh(process, feed, &services, now) {
            if news {
                bus.serves(&subscription, services);
            }
            return;
        }
        let Ok(address) = Address::new(&service, &table) else { return };
        if bus.instance_of(&service) != Some(instance) {
            // What they know of us is old: the catalogue will tell them.
            return;
        }
        let on = Some((Arc::from(node), Mutex::new(services.clone())));
        let options = SubscribeOptions { view, ..SubscribeOptions::default() };
        #[cfg(test)]
        let options = match *self.link.slow.lock().unwrap() {
            true => SubscribeOptions { bounds: crate::bus::Bounds { messages: 1, bytes: 1 << 20 }, ..options },
            false => options,
        };
        let subscription = bus.begin(Selector::from(address), options, on);
        let (link, to) = (Arc::downgrade(&self.link), node.to_owned());
        let say: Say = Arc::new(move |word, rows| {
            if let Some(link) = link.upgrade() {
                link.say(Some((&to, process)), word, &rows);
            }
        });
        let max = self.link.transport.max_message();
        self.feeds.begin((process, feed), subscription, services, (say, max), now);
    }

    fn run_call(&self, bus: &Bus, node: &str, process: Uuid, word: Word) {
        let Word::Call { id, open, service, method, args, caller, deadline_ms } = word else { return };
        let answer = |result| self.link.say(Some((node, process)), Word::Answer { id, result }, &[]);
        match self.link.calls.take(process, id, open) {
            Taken::Running => return self.link.say(Some((node, process)), Word::Accepted { id }, &[]),
            Taken::Done(result) => return answer(result),
            Taken::Late => return,
            Taken::Full(calls) => {
                return answer(Err(CallError::Busy { what: format!("node {:?}", bus.node()), calls }));
            }
            Taken::New => {}
        }
        self.link.say(Some((node, process)), Word::Accepted { id }, &[]);
        let deadline = Duration::from_millis(deadline_ms).min(LONGEST);
        let call = Call { method, args, caller, deadline };
        let (bus, link, to) = (bus.clone(), Arc::clone(&self.link), node.to_owned());
        let begun = Instant::now();
        let task = tokio::spawn(async move {
            let mut result = match service {
                Some(name) => bus.answer(&name, call).await,
                None => bus.answer_as_node(call).await,
            };
            drop(bus);
            let size = |result: &Result<_, CallError>| serde_json::to_vec(result).map_or(usize::MAX, |text| text.len());
            let (bytes, most) = (size(&result), link.transport.max_message());
            if bytes.saturating_add(1024) > most {
                result = Err(CallError::TooLarge { bytes, most });
            }
            link.calls.done(process, id, result.clone(), begun + deadline + KEEP);
            link.say(Some((&to, process)), Word::Answer { id, result }, &[]);
        });
        self.link.calls.running(process, id, task, begun);
    }
}

/// A catalogue in pages of so many bytes, about; one at least. A service with many tables spans several.
fn pages<'a>(catalogue: impl Iterator<Item = &'a Announced>, room: usize) -> Vec<Vec<Announced>> {
    let (mut pages, mut used) = (vec![Vec::new()], 0);
    let mut put = |service: Announced, bytes: usize| {
        if used + bytes > room && used > 0 {
            pages.push(Vec::new());
            used = 0;
        }
        used += bytes;
        if let Some(page) = pages.last_mut() {
            page.push(service);
        }
    };
    for service in catalogue {
        let tables = |tables: BTreeSet<String>| Announced { tables, ..service.clone() };
        let own = serde_json::to_vec(&tables(BTreeSet::new())).map_or(0, |text| text.len());
        let (mut some, mut bytes) = (BTreeSet::new(), own);
        for table in &service.tables {
            // In quotes, with a comma, each character escaped at worst.
            let more = 2 * table.len() + 3;
            if bytes + more > room && !some.is_empty() {
                put(tables(std::mem::take(&mut some)), bytes);
                bytes = own;
            }
            bytes += more;
            some.insert(table.clone());
        }
        put(tables(some), bytes);
    }
    pages
}
