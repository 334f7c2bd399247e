//! When a datasource is polled or tried again: spread, so that thousands of one interval don't come at once.

use std::time::Duration;

/// The first pause after a failure; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Each time is moved by at most so many thousandths of it.
const JITTER: u64 = 100;

/// A datasource's own sequence of intervals and pauses.
#[derive(Debug)]
pub(super) struct Schedule {
    state: u64,
    pause: Duration,
}

impl Schedule {
    /// `seed` tells datasources apart.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, pause: FIRST_PAUSE }
    }

    /// How long until the second poll, if polls are `interval` apart: any time within it, so that those that began together
    /// part; moved as any other, so that third ones begin to come as second ones cease to.
    pub(super) fn second(&mut self, interval: Duration) -> Duration {
        let (any, moved) = (self.random() % 1000, self.random() % (2 * JITTER + 1));
        share(interval, (any + moved).abs_diff(JITTER))
    }

    /// How long until the next poll, if polls are `interval` apart: within a tenth of it.
    pub(super) fn next(&mut self, interval: Duration) -> Duration {
        self.moved(interval)
    }

    /// How long until the next attempt after a failure.
    pub(super) fn back_off(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        self.moved(pause)
    }

    /// It worked.
    pub(super) fn worked(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    fn moved(&mut self, time: Duration) -> Duration {
        let permille = 1000 - JITTER + self.random() % (2 * JITTER + 1);
        share(time, permille)
    }

    fn random(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): enough to tell times apart.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// So many thousandths of a time.
fn share(time: Duration, permille: u64) -> Duration {
    let nanoseconds = time.as_nanos() * u128::from(permille) / 1000;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_an_interval_apart_within_a_tenth_and_not_all_alike() {
        let second = Duration::from_secs(1);
        let times = |seed| {
            let mut schedule = Schedule::new(seed);
            (0..1000).map(|_| schedule.next(second)).collect::<Vec<_>>()
        };
        let one = times(1);
        assert!(one.iter().all(|t| (Duration::from_millis(900)..=Duration::from_millis(1100)).contains(t)));
        let mean = one.iter().sum::<Duration>() / 1000;
        assert!((Duration::from_millis(990)..Duration::from_millis(1010)).contains(&mean), "{mean:?}");
        assert_ne!(one, times(2));
        assert_eq!(one, times(1));
        assert_eq!(Schedule::new(3).next(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn those_that_began_together_come_evenly_from_then_on() {
        let mut seconds = [0; 60];
        for seed in 0..10_000 {
            let mut schedule = Schedule::new(seed);
            let interval = Duration::from_secs(10);
            let mut time = schedule.second(interval);
            while time < Duration::from_secs(60) {
                seconds[usize::try_from(time.as_secs()).unwrap()] += 1;
                time += schedule.next(interval);
            }
        }
        assert!(seconds.iter().all(|polls| (900..=1100).contains(polls)), "{seconds:?}");
    }

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew_when_it_worked() {
        let mut schedule = Schedule::new(7);
        let pauses: Vec<Duration> = (0..10).map(|_| schedule.back_off()).collect();
        assert!(pauses[0] <= Duration::from_millis(550) && pauses[1] > pauses[0]);
        assert!(pauses[9] >= Duration::from_secs(54) && pauses[9] <= Duration::from_secs(66), "{pauses:?}");
        schedule.worked();
        assert!(schedule.back_off() <= Duration::from_millis(550));
    }
}
