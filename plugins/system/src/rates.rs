//! What grows between polls: earlier samples, and the rates that come of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time that a rate is taken over. The kernel counts processor time in ticks of 10 ms: over less than this
/// a rate would be noise, and the host may poll twice in a row.
const SHORTEST: Duration = Duration::from_millis(500);

/// Remembers what earlier polls saw.
#[derive(Debug)]
pub(crate) struct Samples<S> {
    /// The oldest first; at most two, since the younger one may still be too young to compare with.
    taken: Mutex<Vec<(Instant, Arc<S>)>>,
}

impl<S> Default for Samples<S> {
    fn default() -> Self {
        Self { taken: Mutex::default() }
    }
}

impl<S> Samples<S> {
    /// Keeps this poll's sample; gives the latest one that is old enough to compare it with, and its age.
    pub(crate) fn exchange(&self, now: Instant, sample: S) -> Option<(Arc<S>, Duration)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |(at, _): &(Instant, Arc<S>)| now.saturating_duration_since(*at);
        if taken.last().is_none_or(|last| age(last) >= SHORTEST) {
            // The last one serves from now on; what was before it is done with.
            let before = taken.len().saturating_sub(1);
            taken.drain(..before);
            taken.push((now, Arc::new(sample)));
        }
        taken.first().filter(|first| age(first) >= SHORTEST).map(|first| (Arc::clone(&first.1), age(first)))
    }
}

/// How many a second, of a counter that went from `before` to `now`; none if it was reset.
pub(crate) fn per_second(before: u64, now: u64, elapsed: Duration) -> Option<u64> {
    let grown = now.checked_sub(before)?;
    Some((grown as f64 / elapsed.as_secs_f64()).round() as u64)
}

/// `part` of `whole` in percent, to one decimal; none of nothing.
pub(crate) fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (part / whole * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_compared_with_the_latest_that_is_old_enough() {
        let samples = Samples::default();
        let start = Instant::now();
        let at = |ms: u64, sample: u32| {
            let earlier = samples.exchange(start + Duration::from_millis(ms), sample);
            earlier.map(|(sample, age)| (*sample, age.as_millis()))
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(100, 1), None, "too soon after the first");
        assert_eq!(at(600, 2), Some((0, 600)));
        assert_eq!(at(700, 3), Some((0, 700)), "2 is too young yet");
        assert_eq!(at(1100, 4), Some((2, 500)));
        assert_eq!(at(5000, 5), Some((4, 3900)));
        assert_eq!(at(6000, 6), Some((5, 1000)));
    }

    #[test]
    fn rates_and_percentages() {
        assert_eq!(per_second(1000, 2500, Duration::from_millis(500)), Some(3000));
        assert_eq!(per_second(10, 3, Duration::from_secs(1)), None, "the counter was reset");
        assert_eq!(percent(1.0, 3.0), Some(33.3));
        assert_eq!(percent(0.0, 0.0), None);
    }
}
