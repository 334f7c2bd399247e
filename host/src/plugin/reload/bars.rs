//! Bytes that are not to be loaded: for a while, or until an operator says otherwise.

use super::super::generation::Generation;
use super::super::marker::Death;
use super::super::plan::Claim;
use super::super::record::{By, Event, Quarantined};
use super::{Executor, Tenants};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that plain errors of their sources kept from serving are tried again so soon, and twice as late each time.
const AGAIN: Duration = Duration::from_secs(30);
/// But not later than this.
const LATEST: Duration = Duration::from_secs(600);
/// Bytes in which the host died so often are not loaded again.
const MOST_DEATHS: u32 = 2;
/// Bytes that are not to be loaded now.
#[derive(Debug, Default)]
pub(super) struct Bar {
    pub(super) reason: String,
    /// When to try again; never, when the code is at fault.
    pub(super) again: Option<Instant>,
    pub(super) tries: u32,
    /// What was made of them already: it stays mapped, so the next try takes it.
    pub(super) made: Option<Arc<Generation>>,
}

impl Bar {
    pub(super) fn holds(&self) -> bool {
        self.again.is_none_or(|again| Instant::now() < again)
    }
}

impl<T: Tenants> Executor<T> {
    /// Bytes in which the host died twice are not loaded again.
    pub(super) fn mourn(&mut self, death: Death) {
        let Death { driver, version, sha256, .. } = &death;
        let reason = format!("the host died in {}", death.place());
        let mut deaths = 0;
        self.record.change(|now| {
            let of_these = now.deaths.entry(sha256.clone()).or_default();
            *of_these += 1;
            deaths = *of_these;
        });
        tracing::error!(driver, version, sha256, deaths, "an earlier host died in a driver: {reason}");
        if deaths >= MOST_DEATHS && !self.record.now().quarantine.contains_key(sha256) {
            let path = self.record.now().served.get(driver).map(|served| served.path.clone()).unwrap_or_default();
            let why = Quarantined {
                driver: driver.clone(),
                version: version.clone(),
                path,
                reason: format!("{reason}, for the {deaths}. time"),
                by: By::Crash,
                since: jiff::Timestamp::now(),
            };
            self.quarantine(sha256, why);
        }
        self.journal.write(Event::Died(death));
    }

    /// Of bytes that lie nowhere any more nothing is known.
    pub(super) fn forget_bars(&mut self) {
        let claims = self.judge.claims();
        let there: BTreeSet<&str> = claims.iter().map(|c| c.sha256.as_str()).chain(self.record.now().good()).collect();
        self.bars.retain(|sha256, _| there.contains(sha256.as_str()));
    }

    /// Bytes that did not come to serve are not loaded for a while, or at all when they are at fault.
    pub(super) fn put_off(
        &mut self,
        claim: &Claim,
        reason: String,
        code_fault: bool,
        again: Option<Duration>,
        made: Option<Arc<Generation>>,
    ) {
        let bar = self.bars.entry(claim.sha256.clone()).or_default();
        bar.tries += 1;
        let pause = AGAIN.saturating_mul(1 << (bar.tries - 1).min(16)).min(LATEST);
        // One who knows when says the least.
        let pause = again.map_or(pause, |again| again.max(pause.min(again * bar.tries)));
        (bar.reason, bar.made) = (reason, made);
        bar.again = (!code_fault).then(|| Instant::now() + pause);
    }

    pub(super) fn quarantine(&mut self, sha256: &str, why: Quarantined) {
        let (driver, reason, by) = (why.driver.clone(), why.reason.clone(), why.by);
        self.journal.write(Event::Quarantined { sha256: sha256.to_owned(), driver, reason, by });
        self.record.change(|now| drop(now.quarantine.insert(sha256.to_owned(), why)));
    }
}
