//! Plans that were made, made again: the same inputs give the same steps, or the planner changed since.

use super::super::plan::{Step, plan};
use super::{Entry, Event};
use jiff::Timestamp;
use serde::Serialize;

/// What planning again came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Replay {
    /// How many plans there were.
    pub plans: usize,
    /// How many came out the same.
    pub same: usize,
    /// The first that did not.
    pub difference: Option<Difference>,
}

/// A plan that comes out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// When it was made.
    pub at: Timestamp,
    /// What followed then.
    pub recorded: Vec<Step>,
    /// What follows now.
    pub planned: Vec<Step>,
}

/// Plans again from what was known at each plan.
#[must_use]
pub fn replay(entries: &[Entry]) -> Replay {
    let mut replay = Replay::default();
    for entry in entries {
        let Event::Planned { inputs, steps } = &entry.event else { continue };
        replay.plans += 1;
        let planned = plan(inputs).steps();
        if planned == *steps {
            replay.same += 1;
        } else if replay.difference.is_none() {
            replay.difference = Some(Difference { at: entry.at, recorded: steps.clone(), planned });
        }
    }
    replay
}

#[cfg(test)]
mod tests {
    use super::super::super::plan::{Claim, Inputs};
    use super::*;

    #[test]
    fn the_same_follows_from_the_same_and_a_forged_step_is_found_out() {
        let claim =
            Claim { path: "a.so".into(), id: "x".to_owned(), version: "1.0.0".to_owned(), sha256: "ab".to_owned() };
        let inputs = Inputs { claims: vec![claim.clone()], ..Inputs::default() };
        let entry = |steps: Vec<Step>| Entry {
            at: Timestamp::UNIX_EPOCH,
            event: Event::Planned { inputs: Box::new(inputs.clone()), steps },
        };
        let load = vec![Step::Load { claim }];
        let good = entry(load.clone());
        let other = Entry { at: Timestamp::UNIX_EPOCH, event: Event::Stopped { driver: "x".to_owned() } };
        assert_eq!(replay(&[good.clone(), other.clone()]), Replay { plans: 1, same: 1, difference: None });
        let forged = vec![Step::Stop { id: "x".to_owned() }];
        let difference = Difference { at: Timestamp::UNIX_EPOCH, recorded: forged.clone(), planned: load };
        assert_eq!(
            replay(&[good.clone(), entry(forged), entry(Vec::new()), other]),
            Replay { plans: 3, same: 1, difference: Some(difference) }
        );
        // It is written down whole.
        let read: Entry = serde_json::from_str(&serde_json::to_string(&good).unwrap()).unwrap();
        assert_eq!(read, good);
    }
}
