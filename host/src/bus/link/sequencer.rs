//! The order of steps, whatever the network made of it: which to apply now, which to hold back, which to drop, and when to
//! ask for the whole state. A function of what came and when; no clock of its own.

use crate::table::Epoch;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// So many steps are held back for one table; with more, a snapshot is cheaper.
const HELD: usize = 256;

/// What a subscriber knows of a table's position, and the steps that came too early.
#[derive(Debug)]
pub(crate) struct Sequencer<T> {
    at: Option<(Epoch, u64)>,
    /// By where they start, in the epoch of `life`.
    held: BTreeMap<u64, (u64, T)>,
    life: Epoch,
    /// When to ask for the whole state, unless what is missing comes before.
    ask: Option<Instant>,
    patience: Duration,
    #[cfg(test)]
    pub(crate) mutant: Option<Mutant>,
}

/// Faults to be put in on purpose: the tests of the bus must see each.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Steps are applied though others before them are missing.
    NoGapCheck,
    /// Steps of another life of the table are taken for this one's.
    NoEpoch,
    /// A step that begins before the position is applied as if it began there.
    WrongOverlap,
    /// What liveness says of positions is not heard.
    LostLast,
}

impl<T> Sequencer<T> {
    /// One that knows nothing and asks at once. What is missing is waited for so long before it asks again.
    pub(crate) fn new(patience: Duration, now: Instant) -> Self {
        Self {
            at: None,
            held: BTreeMap::new(),
            life: Epoch(0),
            ask: Some(now),
            patience,
            #[cfg(test)]
            mutant: None,
        }
    }

    /// Where it stands.
    #[cfg(test)]
    pub(crate) fn at(&self) -> Option<(Epoch, u64)> {
        self.at
    }

    /// Whether the whole state is to be asked for now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.ask.is_some_and(|when| when <= now)
    }

    /// A step came; the answer are those to apply now, in order.
    pub(crate) fn step(&mut self, (epoch, from, to): (Epoch, u64, u64), step: T, now: Instant) -> Vec<T> {
        #[cfg(test)]
        let epoch = match (self.mutant, self.at) {
            (Some(Mutant::NoEpoch), Some((mine, _))) => mine,
            _ => epoch,
        };
        #[cfg(test)]
        if let (Some((mine, at)), Some(mutant)) = (self.at, self.mutant) {
            let skips = mutant == Mutant::NoGapCheck && from > at;
            let overlaps = mutant == Mutant::WrongOverlap && from < at && at < to;
            if mine == epoch && (skips || overlaps) {
                self.at = Some((epoch, to));
                return vec![step];
            }
        }
        match self.at {
            // Late, from before: what it said is known.
            Some((mine, at)) if epoch < mine || (epoch == mine && to <= at) => Vec::new(),
            Some((mine, at)) if epoch == mine && from == at => {
                self.at = Some((epoch, to));
                let mut ready = vec![step];
                self.drain(&mut ready, now);
                ready
            }
            Some((mine, at)) if epoch == mine && from < at => {
                self.ask_at(now);
                Vec::new()
            }
            other => {
                let same = other.is_some_and(|(mine, _)| mine == epoch);
                self.hold(epoch, from, to, step);
                // Of this life: what lies between may be on its way. Of another: only its whole state helps.
                self.ask_at(if same { now + self.patience } else { now });
                Vec::new()
            }
        }
    }

    fn hold(&mut self, epoch: Epoch, from: u64, to: u64, step: T) {
        if epoch < self.life {
            return;
        }
        if epoch > self.life {
            self.life = epoch;
            self.held.clear();
        }
        let wider = self.held.get(&from).is_none_or(|(held, _)| *held < to);
        if wider {
            self.held.insert(from, (to, step));
        }
        if self.held.len() > HELD {
            self.held.pop_last();
        }
    }

    /// Takes what was held back and is next now.
    fn drain(&mut self, ready: &mut Vec<T>, now: Instant) {
        let Some((epoch, mut at)) = self.at else { return };
        if self.life > epoch {
            // They belong to a life whose state is still to come.
            return;
        }
        let mut overlap = false;
        while let Some((from, (to, step))) = self.held.pop_first() {
            if self.life < epoch || to <= at {
                continue;
            }
            if from > at {
                self.held.insert(from, (to, step));
                break;
            }
            if from < at {
                overlap = true;
                continue;
            }
            at = to;
            ready.push(step);
        }
        self.at = Some((epoch, at));
        self.ask = match (overlap, self.held.is_empty()) {
            (true, _) => Some(now),
            (false, true) => None,
            (false, false) => Some(now + self.patience),
        };
    }

    /// Liveness says where the table stands. The last step of a burst may be lost: nothing but this tells of it.
    pub(crate) fn position(&mut self, epoch: Epoch, to: u64, now: Instant) {
        #[cfg(test)]
        if self.mutant == Some(Mutant::LostLast) && self.at.is_some() {
            return;
        }
        match self.at {
            Some((mine, at)) if epoch < mine || (epoch == mine && to <= at) => {}
            Some((mine, _)) if epoch == mine => self.ask_at(now + self.patience),
            _ => self.ask_at(now),
        }
    }

    /// The whole state of a position came: whether it is to be taken, and the steps to apply after it.
    pub(crate) fn snapshot(&mut self, epoch: Epoch, to: u64, now: Instant) -> Option<Vec<T>> {
        if self.at.is_some_and(|at| (epoch, to) < at) {
            // Overtaken by steps.
            return None;
        }
        self.at = Some((epoch, to));
        self.ask = None;
        let mut ready = Vec::new();
        self.drain(&mut ready, now);
        if self.life > epoch {
            self.ask_at(now);
        }
        Some(ready)
    }

    /// The table of that life is no more. Answers whether it was the one that is known.
    pub(crate) fn gone(&mut self, epoch: Epoch) -> bool {
        if self.at.is_some_and(|(mine, _)| mine > epoch) || (self.at.is_none() && self.life > epoch) {
            return false;
        }
        self.at = None;
        self.ask = None;
        if self.life <= epoch {
            self.held.clear();
        }
        true
    }

    /// What is held can't be trusted: ask at that moment.
    pub(crate) fn distrust(&mut self, when: Instant) {
        self.held.clear();
        self.at = None;
        self.ask = Some(when);
    }

    /// There is nothing to ask for, until something says otherwise.
    pub(crate) fn quiet(&mut self) {
        self.ask = None;
    }

    fn ask_at(&mut self, when: Instant) {
        self.ask = Some(self.ask.map_or(when, |ask| ask.min(when)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: Epoch = Epoch(7);
    const SOON: Duration = Duration::from_millis(200);

    fn at(to: u64) -> (Sequencer<u64>, Instant) {
        let now = Instant::now();
        let mut sequencer = Sequencer::new(SOON, now);
        assert!(sequencer.is_due(now));
        assert_eq!(sequencer.snapshot(E, to, now), Some(vec![]));
        assert!(!sequencer.is_due(now + SOON));
        (sequencer, now)
    }

    #[tokio::test]
    async fn inv09_next_is_applied_old_is_dropped_early_is_held() {
        let (mut s, now) = at(5);
        assert_eq!(s.step((E, 4, 5), 5, now), Vec::<u64>::new());
        assert_eq!(s.step((E, 6, 7), 7, now), Vec::<u64>::new());
        assert_eq!(s.step((E, 7, 9), 9, now), Vec::<u64>::new());
        assert!(!s.is_due(now) && s.is_due(now + SOON));
        assert_eq!(s.step((E, 5, 6), 6, now), [6, 7, 9]);
        assert_eq!(s.at(), Some((E, 9)));
        assert!(!s.is_due(now + SOON));
    }

    #[tokio::test]
    async fn inv09_an_overlap_asks_for_a_snapshot() {
        let (mut s, now) = at(5);
        assert_eq!(s.step((E, 4, 7), 7, now), Vec::<u64>::new());
        assert!(s.is_due(now));
        assert_eq!(s.snapshot(E, 7, now), Some(vec![]));
        assert!(!s.is_due(now));
    }

    #[tokio::test]
    async fn inv09_another_life_needs_its_whole_state_and_late_words_of_the_old_are_dropped() {
        let (mut s, now) = at(5);
        let next = Epoch(8);
        assert_eq!(s.step((next, 1, 2), 2, now), Vec::<u64>::new());
        assert!(s.is_due(now));
        assert_eq!(s.step((E, 5, 6), 6, now), [6], "the old life goes on until the new one's state is here");
        assert_eq!(s.snapshot(next, 1, now), Some(vec![2]));
        assert_eq!(s.at(), Some((next, 2)));
        assert_eq!(s.step((E, 6, 7), 7, now), Vec::<u64>::new());
        assert_eq!(s.snapshot(E, 9, now), None);
        assert!(!s.gone(E));
        assert!(s.gone(next));
    }

    #[tokio::test]
    async fn inv09_liveness_tells_of_the_last_step_that_was_lost() {
        let (mut s, now) = at(5);
        s.position(E, 5, now);
        assert!(!s.is_due(now + SOON));
        s.position(E, 6, now);
        assert!(!s.is_due(now) && s.is_due(now + SOON));
        assert_eq!(s.step((E, 5, 6), 6, now), [6]);
        assert!(!s.is_due(now + SOON), "it was only late");
    }

    #[tokio::test]
    async fn steps_that_come_before_the_first_state_wait_for_it() {
        let now = Instant::now();
        let mut s = Sequencer::new(SOON, now);
        assert_eq!(s.step((E, 3, 4), 4, now), Vec::<u64>::new());
        assert_eq!(s.step((E, 2, 3), 3, now), Vec::<u64>::new());
        assert_eq!(s.snapshot(E, 3, now), Some(vec![4]));
    }

    #[tokio::test]
    async fn what_is_held_is_bounded() {
        let (mut s, now) = at(1);
        for from in 10..2000 {
            s.step((E, from, from + 1), from, now);
        }
        assert_eq!(s.held.len(), HELD);
        assert!(s.held.contains_key(&10), "the next ones are worth most");
    }
}
