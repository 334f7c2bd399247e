//! What is to be loaded: a pure function of what the files claim and who serves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A file whose bytes are a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The file.
    pub path: PathBuf,
    /// The driver id it claims.
    pub id: String,
    /// Its bytes.
    pub sha256: String,
}

/// Who serves a driver id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The file it was loaded from.
    pub path: PathBuf,
    /// Its bytes.
    pub sha256: String,
}

/// What to do about one driver id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nobody serves it: load this one.
    Load(Claim),
    /// Other bytes: from this file's next version, or from the only other claimant of a file that is gone.
    Reload(Claim),
    /// As it is.
    Keep,
    /// The serving file is gone, and nobody else claims the id: it serves on.
    Missing,
}

/// One decision for each driver id, and the files that claim an id they don't get, with the files they conflict with.
/// `history` says which file served an id before this process began, `undecided`
/// which files are there without it being known what they claim.
#[must_use]
pub fn plan(
    claims: &[Claim],
    serving: &BTreeMap<String, Serving>,
    history: &BTreeMap<String, PathBuf>,
    undecided: &BTreeSet<PathBuf>,
) -> (BTreeMap<String, Decision>, BTreeMap<PathBuf, Vec<PathBuf>>) {
    let mut by_id: BTreeMap<&str, Vec<&Claim>> = serving.keys().map(|id| (id.as_str(), Vec::new())).collect();
    for claim in claims {
        by_id.entry(&claim.id).or_default().push(claim);
    }
    let mut decisions = BTreeMap::new();
    let mut conflicts = BTreeMap::new();
    for (id, claims) in by_id {
        let own = serving.get(id).and_then(|s| claims.iter().find(|c| c.path == s.path).map(|c| (s, *c)));
        let decision = match (own, serving.get(id), &claims[..]) {
            (Some((serves, own)), _, _) if own.sha256 == serves.sha256 => Decision::Keep,
            (Some((_, own)), _, _) => Decision::Reload(own.clone()),
            // The serving file is there, being written or no plugin any more: nobody takes its place meanwhile.
            (None, Some(serves), _) if undecided.contains(&serves.path) => Decision::Keep,
            (None, None, _) if history.get(id).is_some_and(|path| undecided.contains(path)) => Decision::Keep,
            (None, Some(_), [only]) => Decision::Reload((*only).clone()),
            (None, Some(_), _) => Decision::Missing,
            (None, None, [only]) => Decision::Load((*only).clone()),
            (None, None, several) => match several.iter().find(|c| history.get(id) == Some(&c.path)) {
                Some(served) => Decision::Load((*served).clone()),
                None => Decision::Keep,
            },
        };
        if claims.len() > 1 {
            let served = match &decision {
                Decision::Load(claim) => Some(&claim.path),
                _ => own.map(|(_, own)| &own.path),
            };
            for claim in claims.iter().filter(|c| Some(&c.path) != served) {
                let others = claims.iter().filter(|c| c.path != claim.path).map(|c| c.path.clone());
                conflicts.insert(claim.path.clone(), others.collect());
            }
        }
        decisions.insert(id.to_owned(), decision);
    }
    (decisions, conflicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(path: &str, id: &str, sha256: &str) -> Claim {
        Claim { path: path.into(), id: id.into(), sha256: sha256.into() }
    }

    fn unknown() -> BTreeMap<String, PathBuf> {
        BTreeMap::new()
    }

    fn serves(id: &str, path: &str, sha256: &str) -> BTreeMap<String, Serving> {
        BTreeMap::from([(id.to_owned(), Serving { path: path.into(), sha256: sha256.into() })])
    }

    #[test]
    fn a_single_claimant_is_loaded_and_its_new_bytes_are_a_reload() {
        let none = BTreeMap::new();
        let (decided, conflicts) = plan(&[claim("a.so", "x", "1")], &none, &unknown(), &BTreeSet::new());
        assert_eq!(decided["x"], Decision::Load(claim("a.so", "x", "1")));
        assert!(conflicts.is_empty());
        let serving = serves("x", "a.so", "1");
        assert_eq!(plan(&[claim("a.so", "x", "1")], &serving, &unknown(), &BTreeSet::new()).0["x"], Decision::Keep);
        assert_eq!(
            plan(&[claim("a.so", "x", "2")], &serving, &unknown(), &BTreeSet::new()).0["x"],
            Decision::Reload(claim("a.so", "x", "2"))
        );
    }

    #[test]
    fn inv04_two_claimants_and_no_history_none_is_loaded_and_both_are_named() {
        let two = [claim("a.so", "x", "1"), claim("b.so", "x", "2")];
        let (decided, conflicts) = plan(&two, &BTreeMap::new(), &unknown(), &BTreeSet::new());
        assert_eq!(decided["x"], Decision::Keep);
        assert_eq!(conflicts[&PathBuf::from("a.so")], [PathBuf::from("b.so")]);
        assert_eq!(conflicts[&PathBuf::from("b.so")], [PathBuf::from("a.so")]);
    }

    #[test]
    fn inv04_who_served_before_a_restart_serves_again() {
        let two = [claim("a.so", "x", "1"), claim("b.so", "x", "2")];
        let history = BTreeMap::from([("x".to_owned(), PathBuf::from("b.so"))]);
        let (decided, conflicts) = plan(&two, &BTreeMap::new(), &history, &BTreeSet::new());
        assert_eq!(decided["x"], Decision::Load(claim("b.so", "x", "2")));
        assert_eq!(conflicts.into_keys().collect::<Vec<_>>(), [PathBuf::from("a.so")]);
    }

    #[test]
    fn inv04_the_one_that_serves_stays_and_the_other_is_the_conflict() {
        let serving = serves("x", "b.so", "2");
        let (decided, conflicts) =
            plan(&[claim("a.so", "x", "1"), claim("b.so", "x", "2")], &serving, &unknown(), &BTreeSet::new());
        assert_eq!(decided["x"], Decision::Keep);
        assert_eq!(conflicts.into_keys().collect::<Vec<_>>(), [PathBuf::from("a.so")]);
        let (decided, _) =
            plan(&[claim("a.so", "x", "1"), claim("b.so", "x", "3")], &serving, &unknown(), &BTreeSet::new());
        assert_eq!(decided["x"], Decision::Reload(claim("b.so", "x", "3")));
    }

    #[test]
    fn inv04_an_id_whose_file_is_gone_goes_to_the_only_other_claimant() {
        let serving = serves("x", "gone.so", "1");
        assert_eq!(
            plan(&[claim("a.so", "x", "2")], &serving, &unknown(), &BTreeSet::new()).0["x"],
            Decision::Reload(claim("a.so", "x", "2"))
        );
        assert_eq!(plan(&[], &serving, &unknown(), &BTreeSet::new()).0["x"], Decision::Missing);
        let (decided, conflicts) =
            plan(&[claim("a.so", "x", "2"), claim("b.so", "x", "3")], &serving, &unknown(), &BTreeSet::new());
        assert_eq!(decided["x"], Decision::Missing);
        assert_eq!(conflicts.len(), 2);
    }

    #[test]
    fn inv04_nobody_takes_the_place_of_a_file_that_is_being_written() {
        let serving = serves("x", "a.so", "1");
        let writing = BTreeSet::from([PathBuf::from("a.so")]);
        let (decided, _) = plan(&[claim("b.so", "x", "2")], &serving, &unknown(), &writing);
        assert_eq!(decided["x"], Decision::Keep);
        let history = BTreeMap::from([("x".to_owned(), PathBuf::from("a.so"))]);
        let (decided, _) = plan(&[claim("b.so", "x", "2")], &BTreeMap::new(), &history, &writing);
        assert_eq!(decided["x"], Decision::Keep);
    }
}
