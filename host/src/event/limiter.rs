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
    fn none_at_all() {
        let mut limiter = RateLimiter::new(0, Duration::from_secs(1));
        assert!(limiter.is_limited(Instant::now()));
    }
}
