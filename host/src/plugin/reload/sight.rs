//! What lies in the directories, and all that a plan follows from.

use super::super::plan::{Inputs, Unclear};
use super::super::record::Event;
use super::super::scan::{Found, ScanError};
use super::judge::SETTLED;
use super::{Executor, Tenants};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory answers in this time.
const ANSWER: Duration = Duration::from_secs(2);

/// What a directory holds.
pub(super) type Scanned = Result<BTreeMap<PathBuf, Result<Found, ScanError>>, ScanError>;
/// Looks at a directory. Tests put in another.
pub(super) type Scan = fn(&Path) -> Scanned;

/// What is to be seen in the directories.
pub(super) struct Sight {
    pub(super) files: BTreeMap<PathBuf, Result<Found, ScanError>>,
    /// Directories that can't be read just now.
    pub(super) unreadable: Vec<PathBuf>,
    pub(super) troubles: Vec<(PathBuf, String)>,
    /// When to look again at the latest, if files are still changing.
    pub(super) again: Option<Duration>,
}

impl<T: Tenants> Executor<T> {
    /// Looks at the directories, and reads what has settled.
    pub(super) async fn look(&mut self) -> Sight {
        let ask = |directory: &PathBuf| {
            let (scan, place, directory) = (self.scan, directory.clone(), directory.clone());
            let scans = &self.scans;
            async move { scans.ask_anew(&place, ANSWER, move || scan(&directory)).await }
        };
        // One that gives no answer must not hold up the others.
        let scanned = join_all(self.settings.directories.iter().map(ask)).await;
        let mut troubles = Vec::new();
        let mut files: BTreeMap<PathBuf, Result<Found, ScanError>> = BTreeMap::new();
        let mut unreadable: Vec<PathBuf> = Vec::new();
        for (directory, scanned) in self.settings.directories.iter().zip(scanned) {
            let silent = || Err(ScanError::Silent { path: directory.clone() });
            match scanned.unwrap_or_else(silent) {
                Ok(found) => files.extend(found),
                Err(error) => {
                    if !matches!(error, ScanError::NoDirectory { .. }) {
                        unreadable.push(directory.clone());
                    }
                    troubles.push((directory.clone(), error.to_string()));
                }
            }
        }
        let (again, refused) = self.judge.look(&files, &self.workshop.stage).await;
        for (path, reason) in refused {
            tracing::warn!(file = %path.display(), reason, "plugin refused");
            self.journal.write(Event::Refused { path, sha256: None, driver: None, reason });
        }
        Sight { files, unreadable, troubles, again }
    }

    /// Files of which something serves and that went away a moment ago: one that is moved or replaced comes back, so nothing
    /// follows from that yet. With when to look again.
    pub(super) fn absent(
        &mut self,
        files: &BTreeMap<PathBuf, Result<Found, ScanError>>,
        unreadable: &[PathBuf],
        again: Option<Duration>,
    ) -> (Option<Duration>, BTreeSet<PathBuf>) {
        let lost = |path: &PathBuf| unreadable.iter().any(|d| path.parent() == Some(d.as_path()));
        let gone: BTreeSet<&PathBuf> =
            self.serving.values().map(|s| &s.path).filter(|path| !files.contains_key(*path) && !lost(path)).collect();
        self.gone.retain(|path, _| gone.contains(path));
        for path in gone {
            self.gone.entry(path.clone()).or_insert_with(Instant::now);
        }
        let left = |since: &Instant| SETTLED.checked_sub(since.elapsed()).filter(|left| !left.is_zero());
        let soon = self.gone.values().filter_map(left).min();
        let absent = self.gone.iter().filter(|(_, since)| left(since).is_some()).map(|(path, _)| path.clone());
        (again.into_iter().chain(soon).min(), absent.collect())
    }

    /// All that a plan follows from.
    pub(super) fn inputs(
        &self,
        files: &BTreeMap<PathBuf, Result<Found, ScanError>>,
        unreadable: &[PathBuf],
        absent: BTreeSet<PathBuf>,
    ) -> Inputs {
        let record = self.record.now();
        let mut unclear = self.judge.unclear();
        // What can't be looked at is there.
        let odd = files.iter().filter(|(_, look)| look.is_err()).map(|(path, _)| (path.clone(), Unclear::Refused));
        unclear.extend(odd);
        // Files of directories that can't be read just now.
        let known = self.serving.values().map(|s| &s.path).chain(record.served.values().map(|s| &s.path));
        let lost = known.filter(|path| unreadable.iter().any(|d| path.parent() == Some(d.as_path())));
        unclear.extend(lost.map(|path| (path.clone(), Unclear::Changing)));
        unclear.extend(absent.into_iter().map(|path| (path, Unclear::Changing)));
        let mut served = record.served.clone();
        for served in served.values_mut() {
            served.good.retain(|good| self.workshop.copies.has(&good.sha256));
        }
        let quarantined = record.quarantine.iter().map(|(sha256, q)| (sha256.clone(), q.reason.clone()));
        // What serves is not taken out for what kept it from moving.
        let barred = self.bars.iter().filter(|(sha256, bar)| bar.holds() && !self.serves(sha256));
        let barred = barred.map(|(sha256, bar)| (sha256.clone(), bar.reason.clone()));
        let claims = self.judge.claims();
        let distrusted = claims.iter().map(|claim| (&claim.id, &claim.path, &claim.sha256));
        let kept =
            served.iter().flat_map(|(id, served)| served.good.iter().map(move |g| (id, &served.path, &g.sha256)));
        let distrusted: BTreeMap<String, String> = (distrusted.chain(kept))
            .filter(|(id, _, sha256)| self.serving.get(*id).is_none_or(|serving| serving.sha256 != **sha256))
            .filter_map(|(_, path, sha256)| Some((sha256.clone(), self.trust.refusal(path, sha256)?.to_string())))
            .collect();
        Inputs {
            claims,
            unclear,
            serving: self.serving.clone(),
            served,
            barred: distrusted.into_iter().chain(barred).chain(quarantined).collect(),
            busy: self.busy.keys().cloned().collect(),
            renew: self.renew.clone(),
            named: self.settings.named.clone(),
            stop_missing: self.settings.stop_missing,
        }
    }
}
