//! Of each of many things at most one in a time, and the last one always.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use tokio::time::{Duration, Instant};

/// Of each key at most one in a time: the first at once, what comes meanwhile together when the time is over. Costs what
/// happened lately, not what there is.
#[derive(Debug)]
pub(super) struct Throttle<K, V> {
    every: Duration,
    /// What came since the last time, of those that were told of lately.
    waiting: HashMap<K, Option<V>>,
    /// When each of these may be told of again: in order.
    due: VecDeque<(Instant, K)>,
}

impl<K: Clone + Eq + Hash, V> Throttle<K, V> {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, waiting: HashMap::new(), due: VecDeque::new() }
    }

    /// Something came. Answers it, if it may be told of now; else it is put with what waits.
    pub(super) fn offer(&mut self, key: &K, value: V, join: impl FnOnce(V, V) -> V, now: Instant) -> Option<V> {
        if self.every.is_zero() {
            return Some(value);
        }
        match self.waiting.get_mut(key) {
            Some(waiting) => {
                *waiting = Some(match waiting.take() {
                    Some(before) => join(before, value),
                    None => value,
                });
                None
            }
            None => {
                self.begin(key.clone(), now);
                Some(value)
            }
        }
    }

    fn begin(&mut self, key: K, now: Instant) {
        self.waiting.insert(key.clone(), None);
        self.due.push_back((now + self.every, key));
    }

    /// What waited long enough.
    pub(super) fn ready(&mut self, now: Instant) -> Vec<(K, V)> {
        let mut ready = Vec::new();
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, key)) = self.due.pop_front() else { break };
            if let Some(Some(value)) = self.waiting.remove(&key) {
                self.begin(key.clone(), now);
                ready.push((key, value));
            }
        }
        ready
    }

    /// When something is ready next, if anything is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_and_the_last_always() {
        let (start, mut throttle) = (Instant::now(), Throttle::new(Duration::from_secs(10)));
        let at = |secs| start + Duration::from_secs(secs);
        let offer = |throttle: &mut Throttle<_, _>, n, secs| throttle.offer(&"a", n, |_, last| last, at(secs));
        assert_eq!(offer(&mut throttle, 1, 0), Some(1));
        assert_eq!((offer(&mut throttle, 2, 1), offer(&mut throttle, 3, 9)), (None, None));
        assert_eq!(throttle.ready(at(9)), []);
        assert_eq!(throttle.ready(at(10)), [("a", 3)]);
        assert_eq!(offer(&mut throttle, 4, 11), None, "its time begins anew");
        assert_eq!((throttle.ready(at(20)), throttle.ready(at(30))), (vec![("a", 4)], vec![]));
        assert_eq!((throttle.next(), throttle.waiting.len()), (None, 0), "nothing is kept of it");
        assert_eq!(offer(&mut throttle, 5, 31), Some(5));
    }

    #[test]
    fn of_no_time_all() {
        let mut throttle = Throttle::new(Duration::ZERO);
        assert_eq!((0..3).filter_map(|n| throttle.offer(&"a", n, |_, last| last, Instant::now())).count(), 3);
        assert_eq!(throttle.next(), None);
    }
}
