//! The books of a reload: of each table how many states its sources made, by how many it went on, and how many a subscriber
//! of its own was given.

use crate::bus::{Address, Message, Service, Subscription};
use crate::datasource::ingest::Ingest;
use crate::plugin::Ledger;
use std::collections::{BTreeMap, BTreeSet};

/// Where a table stands: its epoch and number.
type Position = (u64, u64);

/// What a subscriber was given of a table since the books were opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Given {
    /// Where it stands.
    last: Position,
    states: u64,
    gap: u64,
    dup: u64,
}

impl Given {
    fn begin(at: Position) -> Self {
        Self { last: at, ..Self::default() }
    }

    /// Is given a step. What is of another epoch is another story.
    fn step(&mut self, epoch: u64, from: u64, to: u64) {
        let (at, last) = self.last;
        if epoch != at {
            return;
        }
        // Steps up to where it began are no news.
        if self.states > 0 {
            self.dup += last.min(to).saturating_sub(from);
        }
        self.states += to.saturating_sub(from.max(last));
        self.gap += from.saturating_sub(last);
        self.last = (at, to.max(last));
    }

    /// Is given a whole state.
    fn whole(&mut self, epoch: u64, to: u64) {
        let (at, last) = self.last;
        if epoch == at && to > last {
            self.states += to - last;
            self.last = (at, to);
        }
    }
}

/// Open books.
#[derive(Debug)]
pub(super) struct Audit {
    witness: Vec<Subscription>,
    /// The tables that it follows.
    wanted: BTreeSet<String>,
    given: BTreeMap<String, Given>,
}

impl Audit {
    /// Opens them for the tables that are there now, except for these. From now on the source in charge counts what it makes.
    pub(super) fn open(service: &Service, in_charge: &Ingest, except: impl Fn(&str) -> bool) -> Self {
        let tables: Vec<String> = service.tables().into_iter().filter(|table| !except(table)).collect();
        let address = |table: &String| Address::new(service.name(), table).ok();
        // Who follows a table that nobody follows would wake what is there only while somebody does.
        let wanted: BTreeSet<String> = tables.iter().filter(|table| service.is_wanted(table)).cloned().collect();
        let mut witness: Vec<Subscription> =
            wanted.iter().filter_map(address).map(|address| service.bus().subscribe(address)).collect();
        // What is there already is no news.
        witness.iter_mut().for_each(|witness| drop(witness.try_next()));
        let at = in_charge.count_from_now(|| positions(service));
        let given =
            tables.into_iter().filter_map(|table| Some((table.clone(), Given::begin(*at.get(&table)?)))).collect();
        Self { witness, wanted, given }
    }

    /// Closes them: only tables count that were there all the time, with the same columns.
    pub(super) fn close(mut self, service: &Service, former: &Ingest, in_charge: &Ingest) -> Ledger {
        let begun: BTreeMap<String, Position> =
            self.given.iter().map(|(table, given)| (table.clone(), given.last)).collect();
        let (now, made) = in_charge.counted(|| positions(service));
        let (_, made_before) = former.counted(|| ());
        for witness in &mut self.witness {
            while let Some(delivery) = witness.try_next() {
                let Some(given) = self.given.get_mut(delivery.address.table()) else { continue };
                match delivery.message {
                    Message::Step(step) => given.step(step.epoch.0, step.from, step.to),
                    Message::Snapshot(view) => given.whole(view.epoch.0, view.to),
                    _ => {}
                }
            }
        }
        let mut ledger = Ledger::default();
        for (table, mut given) in self.given {
            let (Some(now), Some(begun)) = (now.get(&table), begun.get(&table)) else { continue };
            if now.0 != begun.0 {
                continue;
            }
            // There was nobody to give it to.
            if !self.wanted.contains(&table) {
                given.states = now.1 - begun.1;
            }
            let of = |made: &BTreeMap<String, u64>| made.get(&table).copied().unwrap_or_default();
            ledger = ledger.and(balance(of(&made) + of(&made_before), now.1 - begun.1, &given));
        }
        ledger
    }
}

/// The books of one table.
fn balance(produced: u64, accepted: u64, given: &Given) -> Ledger {
    let delivered = given.states;
    // One that a subscriber was given late is in neither.
    let lost = produced.saturating_sub(accepted.min(delivered));
    let many = accepted.max(delivered).saturating_sub(produced);
    Ledger { tables: 1, produced, accepted, delivered, gap: given.gap.max(lost), dup: given.dup.max(many) }
}

fn positions(service: &Service) -> BTreeMap<String, Position> {
    let at = |table: String| {
        let view = service.bus().table(&Address::new(service.name(), &table).ok()?)?;
        Some((table, (view.epoch.0, view.to)))
    };
    service.tables().into_iter().filter_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(steps: &[(u64, u64)]) -> Given {
        let mut given = Given::begin((1, 10));
        steps.iter().for_each(|(from, to)| given.step(1, *from, *to));
        given
    }

    #[test]
    fn books_that_fit_balance() {
        let good = given(&[(8, 9), (10, 11), (11, 13)]);
        assert_eq!((good.states, good.gap, good.dup), (3, 0, 0));
        assert_eq!(balance(3, 3, &good), Ledger { tables: 1, produced: 3, accepted: 3, delivered: 3, gap: 0, dup: 0 });
    }

    #[test]
    fn books_that_are_off_by_one_are_found_out() {
        let good = given(&[(10, 11), (11, 12)]);
        assert_eq!(balance(3, 2, &good).gap, 1, "made and not kept");
        assert_eq!(balance(1, 2, &good).dup, 1, "kept, and nobody made it");
        let hole = given(&[(10, 11), (12, 13)]);
        assert_eq!((hole.gap, hole.dup), (1, 0));
        assert_eq!(balance(3, 3, &hole).gap, 1, "kept and not given");
        let twice = given(&[(10, 12), (11, 13)]);
        assert_eq!((twice.gap, twice.dup), (0, 1));
        assert_eq!(balance(3, 3, &twice).dup, 1, "given twice");
        let mut whole = given(&[(10, 11)]);
        whole.whole(1, 14);
        whole.whole(2, 1);
        assert_eq!((whole.states, whole.gap, whole.last), (4, 0, (1, 14)), "a snapshot stands for all before it");
    }
}
