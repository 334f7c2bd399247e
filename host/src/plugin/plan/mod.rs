//! What is to be loaded: a pure function of what lies in the directories, what the configuration says and what is recorded.

mod explain;

pub use explain::explain;

use super::record::{KeptCopy, Served};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file whose bytes are a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The file.
    pub path: PathBuf,
    /// The driver id it claims.
    pub id: String,
    /// The driver's version.
    pub version: String,
    /// Its bytes.
    pub sha256: String,
}

/// Who serves a driver id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The file it is of; what serves may be a kept copy of it.
    pub path: PathBuf,
    /// Its bytes.
    pub sha256: String,
}

/// Why it is not known what a file claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    /// It was changed just now, or its directory can't be read just now.
    Changing,
    /// It is not whole, and may become so.
    Incomplete,
    /// It is no plugin for this host.
    Refused,
}

/// What a plan follows from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inputs {
    /// Files whose bytes are plugins.
    pub claims: Vec<Claim>,
    /// Files of which nobody knows what they claim.
    pub unclear: BTreeMap<PathBuf, Unclear>,
    /// By driver id.
    pub serving: BTreeMap<String, Serving>,
    /// Who served last, by driver id. Of the copies those that are there.
    pub served: BTreeMap<String, Served>,
    /// Bytes that are not to be loaded now, and why, by SHA-256.
    pub barred: BTreeMap<String, String>,
    /// Drivers that something is being done with.
    pub busy: BTreeSet<String>,
    /// Drivers of which a fresh copy of the bytes that serve is wanted: what is mapped of them hangs, or failed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub renew: BTreeSet<String>,
    /// The files that the configuration names, by driver id.
    pub named: BTreeMap<String, PathBuf>,
    /// Whether a driver whose file is gone ends.
    pub stop_missing: bool,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Nobody serves the id: load this one.
    Load {
        /// Which.
        claim: Claim,
    },
    /// Other bytes: from this file's next version, or from another file; or a fresh copy of the same.
    Reload {
        /// Which.
        claim: Claim,
    },
    /// The bytes that serve lie under another name: nothing is to be loaded.
    Adopt {
        /// Which.
        claim: Claim,
    },
    /// A kept copy, instead of what the file holds.
    Restore {
        /// Which; its path is the file's, its bytes are the copy's.
        claim: Claim,
    },
    /// Its file is gone, and it is to end then.
    Stop {
        /// The driver's id.
        id: String,
    },
}

impl Step {
    /// The driver id that it is about.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Load { claim } | Self::Reload { claim } | Self::Adopt { claim } | Self::Restore { claim } => {
                &claim.id
            }
            Self::Stop { id } => id,
        }
    }
}

/// How it stands with a driver id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Something is to be done.
    Do(Step),
    /// What serves is what is to serve; or nothing does, and nothing can.
    Keep,
    /// Its file holds bytes that are not to be loaded: what was there before serves on, if anything.
    HeldBack(Claim),
    /// Several files claim it.
    Conflict,
    /// Its file is gone, and nobody else claims it: it serves on.
    Missing,
    /// It is decided when that is over: its file is being written, or something is being done with it.
    Wait,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// By driver id.
    pub decisions: BTreeMap<String, Decision>,
    /// The files that claim an id which they don't get because others claim it, and those.
    pub conflicts: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl Plan {
    /// What is to be done, in the order of ids.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let step = |decision: &Decision| match decision {
            Decision::Do(step) => Some(step.clone()),
            _ => None,
        };
        self.decisions.values().filter_map(step).collect()
    }
}

/// One decision for each driver id.
#[must_use]
pub fn plan(inputs: &Inputs) -> Plan {
    let known = inputs.serving.keys().chain(inputs.served.keys());
    let mut by_id: BTreeMap<&str, Vec<&Claim>> = known.map(|id| (id.as_str(), Vec::new())).collect();
    for claim in &inputs.claims {
        by_id.entry(&claim.id).or_default().push(claim);
    }
    let mut plan = Plan::default();
    for (id, claims) in by_id {
        let choice = Choice { inputs, id, claims };
        let decision = choice.decide();
        let served = match &decision {
            Decision::Do(
                Step::Load { claim } | Step::Reload { claim } | Step::Adopt { claim } | Step::Restore { claim },
            ) => Some(&claim.path),
            _ => inputs.serving.get(id).map(|serving| &serving.path),
        };
        let rivals: Vec<&Claim> = choice.claims.iter().copied().filter(|c| choice.may(&c.sha256)).collect();
        for claim in rivals.iter().filter(|c| Some(&c.path) != served) {
            let in_charge = served.filter(|path| choice.is_there(path));
            let others: BTreeSet<&PathBuf> = rivals.iter().map(|c| &c.path).chain(in_charge).collect();
            let others: Vec<PathBuf> = others.into_iter().filter(|path| **path != claim.path).cloned().collect();
            if !others.is_empty() {
                plan.conflicts.insert(claim.path.clone(), others);
            }
        }
        plan.decisions.insert(id.to_owned(), decision);
    }
    plan
}

/// All that decides about one driver id.
struct Choice<'a> {
    inputs: &'a Inputs,
    id: &'a str,
    claims: Vec<&'a Claim>,
}

impl<'a> Choice<'a> {
    fn may(&self, sha256: &str) -> bool {
        !self.inputs.barred.contains_key(sha256)
    }

    fn at(&self, path: &Path) -> Option<&'a Claim> {
        self.claims.iter().copied().find(|claim| claim.path == path)
    }

    fn is_there(&self, path: &Path) -> bool {
        self.at(path).is_some() || self.inputs.unclear.contains_key(path)
    }

    /// The claims that may be loaded.
    fn good(&self) -> Vec<&'a Claim> {
        self.claims.iter().copied().filter(|claim| self.may(&claim.sha256)).collect()
    }

    /// A kept copy that may be loaded, but not of these bytes.
    fn copy(&self, path: &Path, but: &str) -> Option<Claim> {
        let kept: &[KeptCopy] = self.inputs.served.get(self.id).map_or(&[], |served| &served.good);
        let good = kept.iter().find(|good| good.sha256 != but && self.may(&good.sha256))?;
        Some(Claim {
            path: path.to_owned(),
            id: self.id.to_owned(),
            version: good.version.clone(),
            sha256: good.sha256.clone(),
        })
    }

    fn decide(&self) -> Decision {
        if self.inputs.busy.contains(self.id) {
            return Decision::Wait;
        }
        match self.inputs.serving.get(self.id) {
            Some(serving) => self.beside(serving),
            None => self.begin(),
        }
    }

    /// Something serves the id.
    fn beside(&self, serving: &Serving) -> Decision {
        let named = self.inputs.named.get(self.id);
        if let Some(claim) = named.filter(|path| **path != serving.path).and_then(|path| self.at(path))
            && self.may(&claim.sha256)
        {
            return take(claim, serving);
        }
        let own = self.at(&serving.path);
        // What serves is to be replaced by something else, whatever that is.
        if !self.may(&serving.sha256) {
            if let Some(own) = own.filter(|own| self.may(&own.sha256)) {
                return Decision::Do(Step::Reload { claim: own.clone() });
            }
            if let Some(claim) = self.copy(&serving.path, &serving.sha256) {
                return Decision::Do(Step::Restore { claim });
            }
        }
        match own {
            Some(own) if own.sha256 == serving.sha256 => {
                let fresh = self.renews().then(|| Decision::Do(Step::Reload { claim: own.clone() }));
                return fresh.filter(|_| self.may(&own.sha256)).unwrap_or(Decision::Keep);
            }
            Some(own) if self.may(&own.sha256) => return Decision::Do(Step::Reload { claim: own.clone() }),
            Some(own) => return self.renewed(serving).unwrap_or_else(|| Decision::HeldBack(own.clone())),
            // It is there, being written or no plugin any more: nobody takes its place meanwhile.
            None if self.inputs.unclear.get(&serving.path) == Some(&Unclear::Refused) => {
                return self.renewed(serving).unwrap_or(Decision::Wait);
            }
            None if self.inputs.unclear.contains_key(&serving.path) => return Decision::Wait,
            None => {}
        }
        match &self.good()[..] {
            [only] => take(only, serving),
            [] if self.inputs.stop_missing => Decision::Do(Step::Stop { id: self.id.to_owned() }),
            _ => self.renewed(serving).unwrap_or(Decision::Missing),
        }
    }

    fn renews(&self) -> bool {
        self.inputs.renew.contains(self.id)
    }

    /// The bytes that serve, from the copy that is kept of them, if a fresh one is wanted.
    fn renewed(&self, serving: &Serving) -> Option<Decision> {
        let kept: &[KeptCopy] = self.inputs.served.get(self.id).map_or(&[], |served| &served.good);
        let may = |good: &&KeptCopy| self.renews() && good.sha256 == serving.sha256 && self.may(&good.sha256);
        let claim = kept.iter().find(may).map(|good| Claim {
            path: serving.path.clone(),
            id: self.id.to_owned(),
            version: good.version.clone(),
            sha256: good.sha256.clone(),
        })?;
        Some(Decision::Do(Step::Restore { claim }))
    }

    /// Nothing serves the id.
    fn begin(&self) -> Decision {
        let load = |claim: &Claim| Decision::Do(Step::Load { claim: claim.clone() });
        let good = self.good();
        if let Some(named) = self.inputs.named.get(self.id) {
            return match self.at(named) {
                Some(claim) if self.may(&claim.sha256) => load(claim),
                // Nobody else's: the configuration says whose it is.
                Some(claim) => self.instead(claim, &[]),
                None if self.inputs.unclear.contains_key(named) => Decision::Wait,
                None => Decision::Keep,
            };
        }
        if let Some(served) = self.inputs.served.get(self.id) {
            match (self.at(&served.path), self.inputs.unclear.get(&served.path)) {
                (Some(claim), _) if !self.may(&claim.sha256) => return self.instead(claim, &good),
                // What was good opens first; what is new has to prove itself beside it.
                (Some(claim), _) => {
                    let former = self.copy(&served.path, &claim.sha256);
                    let is_new = served.good.iter().all(|good| good.sha256 != claim.sha256);
                    return match former.filter(|_| is_new) {
                        Some(claim) => Decision::Do(Step::Restore { claim }),
                        None => load(claim),
                    };
                }
                (None, Some(Unclear::Changing)) => return Decision::Wait,
                (None, Some(Unclear::Incomplete | Unclear::Refused)) => {
                    if let Some(claim) = self.copy(&served.path, "") {
                        return Decision::Do(Step::Restore { claim });
                    }
                    if self.inputs.unclear.get(&served.path) == Some(&Unclear::Incomplete) {
                        return Decision::Wait;
                    }
                }
                // Another file has taken its place: what was good opens first, here too.
                (None, None) => {
                    if let [only] = good[..]
                        && served.good.iter().all(|kept| kept.sha256 != only.sha256)
                        && let Some(claim) = self.copy(&served.path, &only.sha256)
                    {
                        return Decision::Do(Step::Restore { claim });
                    }
                }
            }
        }
        match &good[..] {
            [only] => load(only),
            [] => self.claims.first().map_or(Decision::Keep, |claim| Decision::HeldBack((*claim).clone())),
            _ => Decision::Conflict,
        }
    }

    /// Something instead of a file whose bytes may not be loaded.
    fn instead(&self, barred: &Claim, good: &[&Claim]) -> Decision {
        if let Some(claim) = self.copy(&barred.path, &barred.sha256) {
            return Decision::Do(Step::Restore { claim });
        }
        match good {
            [only] => Decision::Do(Step::Load { claim: (*only).clone() }),
            _ => Decision::HeldBack(barred.clone()),
        }
    }
}

/// From a file that is to serve from now on.
fn take(claim: &Claim, serving: &Serving) -> Decision {
    let claim = claim.clone();
    Decision::Do(if claim.sha256 == serving.sha256 { Step::Adopt { claim } } else { Step::Reload { claim } })
}

#[cfg(test)]
mod tests;
