//! Who else is there, what they have, and who has a name when two claim it. Functions of what was heard and when.

use super::Timing;
use super::wire::Announced;
use crate::bus::registry::Remote;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// Who was taken for dead is remembered for so many times the silence after which others are gone.
const REMEMBERED: u32 = 60;

/// Another process on the bus.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: Arc<str>,
    heard: Instant,
    /// The catalogue that it says it has.
    latest: u64,
    /// The one that is known here.
    revision: u64,
    asked: Option<Instant>,
    services: BTreeMap<String, Announced>,
    /// Pages of a catalogue that came so far.
    coming: Option<(u64, BTreeMap<usize, Vec<Announced>>)>,
}

#[derive(Debug)]
pub(super) struct Peers {
    node: Arc<str>,
    process: Uuid,
    timing: Timing,
    peers: BTreeMap<Uuid, Peer>,
    /// Processes taken for dead because another took their node's name, and since when.
    replaced: BTreeMap<Uuid, Instant>,
}

/// What a message changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// It is new here: it should hear from us.
    pub(super) new: bool,
    /// Processes that it is the successor of.
    pub(super) replaced: Vec<Uuid>,
    /// It is dead: what came was late.
    pub(super) late: bool,
}

impl Peers {
    pub(super) fn new(node: &Arc<str>, process: Uuid, timing: Timing) -> Self {
        let (node, peers) = (Arc::clone(node), BTreeMap::new());
        Self { node, process, timing, peers, replaced: BTreeMap::new() }
    }

    /// Anything came from a process.
    pub(super) fn hear(&mut self, node: &str, process: Uuid, now: Instant) -> Heard {
        if let Some(peer) = self.peers.get_mut(&process) {
            peer.heard = now;
            return Heard::default();
        }
        let mut heard = Heard { new: true, ..Heard::default() };
        let node: Arc<str> = Arc::from(node);
        match self.replaced.get(&process) {
            Some(since) if now < *since + self.timing.suspect => return Heard { late: true, ..Heard::default() },
            // It still speaks: two live under one name. Both are heard, by their processes; people are told.
            Some(_) => drop(self.replaced.remove(&process)),
            None => {
                // A restart: what the process before it had is gone.
                let before: Vec<Uuid> = self.peers.iter().filter(|(_, p)| p.node == node).map(|(id, _)| *id).collect();
                for id in before {
                    self.peers.remove(&id);
                    self.replaced.insert(id, now);
                    heard.replaced.push(id);
                }
            }
        }
        let services = BTreeMap::new();
        let peer = Peer { node, heard: now, latest: 0, revision: 0, asked: None, services, coming: None };
        self.peers.insert(process, peer);
        heard
    }

    /// It has that catalogue; answers whether it should be asked for it now.
    pub(super) fn beat(&mut self, process: Uuid, revision: u64, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&process) else { return false };
        peer.latest = peer.latest.max(revision);
        let waits = peer.asked.is_some_and(|asked| now < asked + self.timing.retry);
        let ask = peer.revision < peer.latest && !waits;
        if ask {
            peer.asked = Some(now);
        }
        ask
    }

    /// A page of its catalogue; answers whether its services are others now.
    pub(super) fn catalogue(
        &mut self,
        process: Uuid,
        revision: u64,
        (page, pages): (usize, usize),
        services: Vec<Announced>,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(&process) else { return false };
        if revision <= peer.revision || page >= pages {
            return false;
        }
        match &mut peer.coming {
            Some((coming, _)) if *coming > revision => return false,
            Some((coming, got)) if *coming == revision => drop(got.insert(page, services)),
            other => *other = Some((revision, BTreeMap::from([(page, services)]))),
        }
        if peer.coming.as_ref().is_some_and(|(_, got)| got.len() == pages)
            && let Some((revision, got)) = peer.coming.take()
        {
            peer.revision = revision;
            peer.latest = peer.latest.max(revision);
            peer.services.clear();
            for service in got.into_values().flatten() {
                // One with many tables comes in pieces.
                match peer.services.get_mut(&service.name) {
                    Some(known) => known.tables.extend(service.tables),
                    None => drop(peer.services.insert(service.name.clone(), service)),
                }
            }
            return true;
        }
        false
    }

    /// What changed in its catalogue since the one of number `from`; answers which names that is about. `None`: it is not
    /// the next after the one that is known.
    pub(super) fn changed(
        &mut self,
        process: Uuid,
        (from, revision): (u64, u64),
        services: Vec<Announced>,
        gone: BTreeSet<String>,
    ) -> Option<BTreeSet<String>> {
        let peer = self.peers.get_mut(&process)?;
        if peer.revision != from || revision <= from || from == 0 {
            return None;
        }
        peer.revision = revision;
        peer.latest = peer.latest.max(revision);
        let mut names = gone;
        names.iter().for_each(|name| drop(peer.services.remove(name)));
        for service in services {
            names.insert(service.name.clone());
            peer.services.insert(service.name.clone(), service);
        }
        Some(names)
    }

    /// It goes, or is gone.
    pub(super) fn leave(&mut self, process: Uuid) -> bool {
        self.peers.remove(&process).is_some()
    }

    /// Those that were silent for too long; they are forgotten.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Uuid> {
        let dead = self.peers.iter().filter(|(_, peer)| now >= peer.heard + self.timing.down);
        let dead: Vec<Uuid> = dead.map(|(process, _)| *process).collect();
        dead.iter().for_each(|process| drop(self.peers.remove(process)));
        // One that lives beats: after so long it is no more, or it was cut off and is new here as anybody who was.
        let long = self.timing.down * REMEMBERED;
        self.replaced.retain(|_, since| now < *since + long);
        dead
    }

    /// Who has each name among the other nodes, and the names that a service of this node loses, and to whom. The earlier
    /// claim has a name; of two of one moment the smaller process. `only`: as far as those names are concerned.
    pub(super) fn winners(
        &self,
        mine: &BTreeMap<String, u64>,
        only: Option<&BTreeSet<String>>,
    ) -> (BTreeMap<String, Remote>, BTreeMap<String, Arc<str>>) {
        let mut best: BTreeMap<&str, (u64, Uuid, &Peer, &Announced)> = BTreeMap::new();
        for (process, peer) in &self.peers {
            let services: Vec<&Announced> = match only {
                None => peer.services.values().collect(),
                Some(names) => names.iter().filter_map(|name| peer.services.get(name)).collect(),
            };
            for service in services {
                let claim = (service.claim, *process);
                if best.get(service.name.as_str()).is_none_or(|(c, p, ..)| claim < (*c, *p)) {
                    best.insert(&service.name, (claim.0, claim.1, peer, service));
                }
            }
        }
        let (mut remote, mut lost) = (BTreeMap::new(), BTreeMap::new());
        for (name, (claim, process, peer, service)) in best {
            match mine.get(name) {
                Some(own) if (*own, self.process) < (claim, process) => continue,
                Some(_) => drop(lost.insert(name.to_owned(), Arc::clone(&peer.node))),
                None => {}
            }
            let entry = Remote {
                node: Arc::clone(&peer.node),
                process,
                instance: service.instance,
                addresses: service.addresses.clone(),
                tables: service.tables.clone(),
                methods: service.methods.clone(),
                policies: service.policies.clone(),
            };
            remote.insert(name.to_owned(), entry);
        }
        (remote, lost)
    }

    #[cfg(test)]
    fn has(&self, process: Uuid) -> bool {
        self.peers.contains_key(&process)
    }

    /// Node, process, whether it was silent for a while, whether another says that it is the same node.
    pub(super) fn list(&self, now: Instant) -> impl Iterator<Item = (Arc<str>, Uuid, bool, bool)> + '_ {
        self.peers.iter().map(move |(process, peer)| {
            let silent = now >= peer.heard + self.timing.suspect;
            let doubled = self.peers.values().filter(|other| other.node == peer.node).count() > 1;
            (Arc::clone(&peer.node), *process, silent, doubled || peer.node == self.node)
        })
    }

    /// Whether another process says that it is this node.
    pub(super) fn is_doubled(&self) -> bool {
        self.peers.values().any(|peer| peer.node == self.node)
    }

    pub(super) fn node_of(&self, process: Uuid) -> Option<Arc<str>> {
        self.peers.get(&process).map(|peer| Arc::clone(&peer.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        Peers::new(&Arc::from("me"), Uuid::from_u128(5), Timing::default())
    }

    fn service(name: &str, claim: u64) -> Announced {
        Announced {
            name: name.to_owned(),
            instance: Uuid::new_v4(),
            claim,
            addresses: Default::default(),
            tables: Default::default(),
            methods: Default::default(),
            policies: BTreeMap::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_for_too_long_is_gone_and_who_restarts_replaces_what_it_was() {
        let (mut peers, now) = (peers(), Instant::now());
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(peers.hear("a", old, now).new);
        assert!(peers.beat(old, 1, now) && !peers.beat(old, 1, now));
        assert!(peers.catalogue(old, 1, (0, 1), vec![service("s", 1)]));
        assert_eq!(peers.hear("a", new, now), Heard { new: true, replaced: vec![old], late: false });
        assert!(!peers.has(old) && peers.has(new));
        assert_eq!(peers.list(now).map(|p| p.3).collect::<Vec<_>>(), [false]);
        assert!(peers.hear("a", old, now).late, "a message that was on its way when it died");
        let later = now + Timing::default().suspect;
        assert!(peers.hear("a", old, later).new);
        assert!(peers.list(later).count() == 2 && peers.list(later).all(|p| p.3), "both live: a clash");
        assert_eq!(peers.expire(later + Timing::default().down).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_replaced_is_forgotten_in_the_end() {
        let (mut peers, begun) = (peers(), Instant::now());
        for n in 0..500 {
            peers.hear("a", Uuid::from_u128(100 + n), begun);
        }
        assert_eq!(peers.replaced.len(), 499);
        peers.expire(begun + Timing::default().down);
        assert_eq!(peers.replaced.len(), 499, "what is on its way may still come");
        peers.expire(begun + Timing::default().down * REMEMBERED);
        assert_eq!(peers.replaced.len(), 0);
    }

    #[tokio::test]
    async fn the_earlier_claim_has_the_name() {
        let (mut peers, now) = (peers(), Instant::now());
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(9));
        peers.hear("a", a, now);
        peers.hear("b", b, now);
        peers.catalogue(a, 1, (0, 1), vec![service("x", 10), service("y", 30)]);
        peers.catalogue(b, 1, (0, 2), vec![service("x", 5)]);
        assert_eq!(&*peers.winners(&BTreeMap::new(), None).0["x"].node, "a", "a catalogue counts when it is whole");
        peers.catalogue(b, 1, (1, 2), vec![service("y", 30)]);
        let mine = BTreeMap::from([("x".to_owned(), 7), ("y".to_owned(), 20)]);
        let (remote, lost) = peers.winners(&mine, None);
        assert_eq!((&*remote["x"].node, &*lost["x"]), ("b", "b"));
        assert!(!remote.contains_key("y") && !lost.contains_key("y"), "mine is the earlier");
        assert_eq!(&*peers.winners(&BTreeMap::new(), None).0["y"].node, "a", "of one moment the smaller process");
    }

    #[tokio::test]
    async fn old_pages_change_nothing() {
        let (mut peers, now) = (peers(), Instant::now());
        let a = Uuid::from_u128(1);
        peers.hear("a", a, now);
        assert!(peers.catalogue(a, 4, (0, 1), vec![service("new", 1)]));
        assert!(!peers.catalogue(a, 3, (0, 1), vec![service("old", 1)]));
        assert!(!peers.catalogue(a, 4, (0, 1), vec![]));
        assert!(peers.winners(&BTreeMap::new(), None).0.contains_key("new"));
    }

    #[tokio::test]
    async fn what_changed_is_added_to_what_is_known_and_to_nothing_else() {
        let (mut peers, now) = (peers(), Instant::now());
        let a = Uuid::from_u128(1);
        peers.hear("a", a, now);
        assert_eq!(peers.changed(a, (0, 1), vec![service("x", 1)], BTreeSet::new()), None, "nothing is known yet");
        assert!(peers.catalogue(a, 4, (0, 1), vec![service("x", 1), service("y", 1)]));
        let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let changed = peers.changed(a, (4, 5), vec![service("z", 1)], names(&["x"]));
        assert_eq!(changed, Some(names(&["x", "z"])));
        let known = |peers: &Peers| peers.winners(&BTreeMap::new(), None).0.into_keys().collect::<BTreeSet<_>>();
        assert_eq!(known(&peers), names(&["y", "z"]));
        assert_eq!(peers.changed(a, (4, 5), vec![service("x", 1)], BTreeSet::new()), None, "twice");
        assert_eq!(peers.changed(a, (6, 7), vec![service("x", 1)], BTreeSet::new()), None, "one was lost");
        assert_eq!(known(&peers), names(&["y", "z"]));
        assert!(peers.beat(a, 7, now), "it is asked for all");
        let only = peers.winners(&BTreeMap::new(), Some(&names(&["z", "x"])));
        assert_eq!(only.0.into_keys().collect::<BTreeSet<_>>(), names(&["z"]));
    }
}
