//! How often something may happen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// At most so many calls in a time, over a window that slides: Dragonflow's `RateLimiter` (its `common/utils.py`), on a clock
/// that nobody sets. What is refused is not counted, so that whoever tries all the time is not shut out for ever.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    most: usize,
    per: Duration,
    /// When the last of those that were let through were.
    passed: VecDeque<Instant>,
}

impl Default for RateLimiter {
    /// Three in a second, as the predecessor's.
    fn default() -> Self {
        Self::new(3, Duration::from_secs(1))
    }
}

impl RateLimiter {
    /// Lets `most` through in any time of this length; 0 lets none.
    #[must_use]
    pub fn new(most: usize, per: Duration) -> Self {
        Self { most, per, passed: VecDeque::new() }
    }

    /// Whether a call at this time is one too many. Times never go back.
    pub fn is_limited(&mut self, now: Instant) -> bool {
        let oldest = self.passed.front().copied();
        let passes = match oldest {
            _ if self.most == 0 => false,
            Some(oldest) if self.passed.len() >= self.most => now.saturating_duration_since(oldest) > self.per,
            _ => true,
        };
        if passes {
            if self.passed.len() >= self.most {
                self.passed.pop_front();
            }
            self.passed.push_back(now);
        }
        !passes
    }

    /// Whether so many calls at this time are too many: all of them pass, or none.
    pub fn are_limited(&mut self, calls: usize, now: Instant) -> bool {
        let mut tried = self.clone();
        let limited = (0..calls).any(|_| tried.is_limited(now));
        if !limited {
            *self = tried;
        }
        limited
    }

    /// How long until so many calls pass at once; more than pass in any time wait for as many as do.
    #[must_use]
    pub fn wait_for(&self, calls: usize, now: Instant) -> Duration {
        let free = self.most.saturating_sub(self.passed.len());
        match calls.min(self.most).checked_sub(free + 1).and_then(|last| self.passed.get(last)) {
            Some(goes) => (self.per + Duration::from_nanos(1)).saturating_sub(now.saturating_duration_since(*goes)),
            None => Duration::ZERO,
        }
    }

    /// How long until the next call passes.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        match self.passed.front() {
            Some(oldest) if self.passed.len() >= self.most => {
                (self.per + Duration::from_nanos(1)).saturating_sub(now.saturating_duration_since(*oldest))
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls at these times in milliseconds, and how many of them pass.
    fn passing(limiter: &mut RateLimiter, start: Instant, times: impl IntoIterator<Item = u64>) -> usize {
        let at = |millis| start + Duration::from_millis(millis);
        times.into_iter().filter(|millis| !limiter.is_limited(at(*millis))).count()
    }

    /// Its tests sleep, so that each second is a little longer than one.
    #[test]
    fn the_predecessor_s_own_cases() {
        let (mut limiter, start) = (RateLimiter::new(3, Duration::from_secs(5)), Instant::now());
        assert_eq!(passing(&mut limiter, start, [0; 5]), 3);
        assert_eq!(passing(&mut limiter, start, [5000; 5]), 0, "exactly the time is not over it yet");
        assert_eq!(passing(&mut limiter, start, [5001; 5]), 3);

        let mut limiter = RateLimiter::new(3, Duration::from_secs(5));
        assert_eq!(passing(&mut limiter, start, (0..11).map(|n| n * 1001)), 7);
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let (mut limiter, start) = (RateLimiter::new(1, Duration::from_secs(1)), Instant::now());
        let tries = (0..30).filter(|n| !limiter.is_limited(start + Duration::from_millis(n * 100))).count();
        assert_eq!(tries, 3, "0, 1.1 and 2.2 s");
        assert!(limiter.wait(start + Duration::from_millis(2900)) > Duration::ZERO);
        assert_eq!(limiter.wait(start + Duration::from_secs(10)), Duration::ZERO);
    }

    #[test]
    fn several_at_once_pass_together_or_not_at_all() {
        let (mut limiter, start) = (RateLimiter::new(3, Duration::from_secs(1)), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!limiter.are_limited(1, at(0)) && !limiter.are_limited(1, at(500)));
        assert!(limiter.are_limited(2, at(600)));
        let almost = Duration::from_nanos(1);
        assert_eq!(limiter.wait_for(1, at(600)), Duration::ZERO);
        assert_eq!(limiter.wait_for(2, at(600)), Duration::from_millis(400) + almost);
        assert_eq!(limiter.wait_for(3, at(600)), Duration::from_millis(900) + almost);
        assert_eq!(limiter.wait_for(9, at(600)), Duration::from_millis(900) + almost, "as long as for three");
        assert!(!limiter.are_limited(1, at(600)), "those that were refused were not counted");
        assert!(!limiter.are_limited(0, at(600)));
    }

    #[test]
    fn none_at_all() {
        let mut limiter = RateLimiter::new(0, Duration::from_secs(1));
        assert!(limiter.is_limited(Instant::now()));
    }
}
