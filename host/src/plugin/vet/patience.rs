//! When a plugin that was refused is worth another try.

use super::verdict::{Bad, Weight};
use jiff::{SignedDuration, Timestamp};

/// The pauses before the second, third and fourth try of what may be chance.
const PAUSES: [SignedDuration; 3] =
    [SignedDuration::from_secs(5), SignedDuration::from_secs(30), SignedDuration::from_secs(300)];

/// So often it is tried in all.
pub(super) const TRIES: usize = PAUSES.len() + 1;

/// What the system lacks is looked for so often.
const SYSTEM: SignedDuration = SignedDuration::from_secs(30);

/// The verdict of a try that ended now, after as many earlier ones of the same bytes.
pub(super) fn after(mut bad: Bad, earlier: u32, now: Timestamp) -> Bad {
    bad.tries = earlier.saturating_add(1);
    let pause = match bad.kind.weight() {
        Weight::Bytes => None,
        Weight::Chance => usize::try_from(earlier).ok().and_then(|earlier| PAUSES.get(earlier).copied()),
        Weight::System => Some(SYSTEM),
    };
    bad.again = pause.and_then(|pause| now.checked_add(pause).ok());
    bad
}

/// Whether it is time for another try.
pub(super) fn is_due(bad: &Bad, now: Timestamp) -> bool {
    let Some(again) = bad.again else { return false };
    let left = again.duration_since(now);
    // A clock that was set back must not put it off for a year.
    left <= SignedDuration::ZERO || PAUSES.iter().all(|pause| left > *pause)
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Kind;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_may_be_chance_is_tried_three_more_times_ever_later() {
        let tries = [Some(at(5)), Some(at(30)), Some(at(300)), None, None];
        for (earlier, again) in (0..).zip(tries) {
            let bad = after(Bad::new(Kind::Signal, "it died"), earlier, NOW);
            assert_eq!((bad.tries, bad.again), (earlier + 1, again));
        }
        let bad = |earlier| after(Bad::new(Kind::Overdue, "it hangs"), earlier, NOW).to_string();
        assert_eq!(bad(0), "it hangs; tried 1 of 4 times");
        assert_eq!(bad(3), "it hangs; tried 4 times, not again until its bytes change");
    }

    #[test]
    fn what_is_wrong_with_the_bytes_is_final_and_what_the_system_lacks_never() {
        let rules = after(Bad::new(Kind::Rules, "no"), 0, NOW);
        assert_eq!((rules.again, rules.to_string()), (None, "no".to_owned()));
        let loader = after(Bad::new(Kind::Loader, "no"), 1000, NOW);
        assert_eq!((loader.again, loader.to_string()), (Some(at(30)), "no".to_owned()));
    }

    #[test]
    fn it_is_due_when_its_time_has_come_or_the_clock_was_set_back() {
        let bad = after(Bad::new(Kind::Signal, "it died"), 1, at(1_000_000));
        for (now, due) in [(1_000_000, false), (1_000_029, false), (1_000_030, true), (2_000_000, true), (5, true)] {
            assert_eq!(is_due(&bad, at(now)), due, "{now}");
        }
        assert!(!is_due(&after(bad, 3, NOW), at(9)));
    }
}
