//! What is to be done so that what runs is what the records say: pure functions of both.

use super::record::{ManagedBy, Record};
use super::runner::Event;
use crate::config::Datasource;
use std::collections::{BTreeMap, BTreeSet};

/// One thing to do about a datasource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// End its runner, since that happened.
    Stop(Event),
    /// Note the record as it is now.
    Note,
    /// Begin to run it.
    Start,
    /// Tell its runner of the record as it is now.
    Follow,
    /// Forget it.
    Forget,
}

/// What to do, in this order, when `have` is known, runs or not, and `want` is what the store has.
pub(super) fn plan(have: Option<&Record>, runs: bool, want: Option<&Record>) -> Vec<Deed> {
    let Some(want) = want else {
        let stop = runs.then_some(Deed::Stop(Event::Stopped));
        return stop.into_iter().chain(have.map(|_| Deed::Forget)).collect();
    };
    let same = have.is_some_and(|have| have.revision == want.revision && have.fault == want.fault);
    let another = have.is_some_and(|have| have.spec.driver != want.spec.driver || have.name != want.name);
    let shall = want.spec.enabled && want.fault.is_none();
    let mut deeds = Vec::new();
    if runs && !shall {
        deeds.push(Deed::Stop(Event::Disabled));
    } else if runs && another {
        deeds.push(Deed::Stop(Event::Stopped));
    }
    if !same {
        deeds.push(Deed::Note);
    }
    match (runs && !another, shall) {
        (true, true) if !same => deeds.push(Deed::Follow),
        (false, true) => deeds.push(Deed::Start),
        _ => {}
    }
    deeds
}

/// What the configuration file says otherwise than the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The file has one that there is no record of.
    Added {
        /// Its name.
        name: String,
    },
    /// The file says something else.
    Changed {
        /// Its name.
        name: String,
        /// What differs: keys as in the file; of options `options.NAME`. No values: they may be secret.
        keys: Vec<String>,
    },
    /// The file has it no more.
    Removed {
        /// Its name.
        name: String,
    },
    /// The file has a name that a record made over the API has: that one stays.
    Clash {
        /// The name.
        name: String,
    },
}

impl Difference {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Added { name } | Self::Changed { name, .. } | Self::Removed { name } | Self::Clash { name } => name,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Changed { .. } => "changed",
            Self::Removed { .. } => "removed",
            Self::Clash { .. } => "clash",
        }
    }
}

/// What the file says otherwise, by name.
pub(super) fn differences(file: &BTreeMap<String, Datasource>, records: &[&Record]) -> Vec<Difference> {
    let known: BTreeMap<&str, &Record> = records.iter().map(|r| (r.name.as_str(), *r)).collect();
    let names: BTreeSet<&str> = file.keys().map(String::as_str).chain(known.keys().copied()).collect();
    let of = |name: &str| {
        let text = name.to_owned();
        match (file.get(name), known.get(name)) {
            (Some(_), None) => Some(Difference::Added { name: text }),
            (Some(_), Some(record)) if record.managed_by == ManagedBy::Api => Some(Difference::Clash { name: text }),
            // One that nobody is known to manage is the file's from now on.
            (Some(spec), Some(record))
                if *spec != record.spec || record.fault.is_some() || record.managed_by == ManagedBy::Unknown =>
            {
                Some(Difference::Changed { name: text, keys: keys(&record.spec, spec) })
            }
            (None, Some(record)) if record.managed_by == ManagedBy::File => Some(Difference::Removed { name: text }),
            _ => None,
        }
    };
    names.into_iter().filter_map(of).collect()
}

fn keys(a: &Datasource, b: &Datasource) -> Vec<String> {
    let all = [
        ("driver", a.driver != b.driver),
        ("description", a.description != b.description),
        ("enabled", a.enabled != b.enabled),
        ("addresses", a.addresses != b.addresses),
        ("poll", a.poll != b.poll),
        ("deadline", a.deadline != b.deadline),
        ("max_rows", a.max_rows != b.max_rows),
        ("max_bytes", a.max_bytes != b.max_bytes),
        ("persist_data", a.persist_data != b.persist_data),
    ];
    let options: BTreeSet<&String> = a.options.keys().chain(b.options.keys()).collect();
    let options = options.into_iter().filter(|name| a.options.get(*name) != b.options.get(*name));
    let plain = all.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key.to_owned());
    plain.chain(options.map(|name| format!("options.{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, managed_by: ManagedBy) -> Record {
        Record::new(name, Datasource::new("files"), managed_by, BTreeSet::new())
    }

    #[test]
    fn what_runs_becomes_what_the_records_say() {
        let one = record("one", ManagedBy::Api);
        let changed = one.to(Datasource::new("files").option("path", "/srv"), BTreeSet::new());
        let off = one.to(Datasource { enabled: false, ..one.spec.clone() }, BTreeSet::new());
        let other = one.to(Datasource::new("system"), BTreeSet::new());
        let broken = Record { fault: Some("sealed with another key".to_owned()), ..one.clone() };
        assert_eq!(plan(None, false, Some(&one)), [Deed::Note, Deed::Start]);
        assert_eq!(plan(Some(&one), true, Some(&one)), []);
        // It could not be put on the bus before.
        assert_eq!(plan(Some(&one), false, Some(&one)), [Deed::Start]);
        assert_eq!(plan(Some(&one), true, Some(&changed)), [Deed::Note, Deed::Follow]);
        assert_eq!(plan(Some(&one), true, Some(&off)), [Deed::Stop(Event::Disabled), Deed::Note]);
        assert_eq!(plan(Some(&off), false, Some(&off)), []);
        assert_eq!(plan(None, false, Some(&off)), [Deed::Note]);
        let on = off.to(one.spec.clone(), BTreeSet::new());
        assert_eq!(plan(Some(&off), false, Some(&on)), [Deed::Note, Deed::Start]);
        assert_eq!(plan(Some(&one), true, Some(&other)), [Deed::Stop(Event::Stopped), Deed::Note, Deed::Start]);
        assert_eq!(plan(Some(&one), true, Some(&broken)), [Deed::Stop(Event::Disabled), Deed::Note]);
        assert_eq!(plan(None, false, Some(&broken)), [Deed::Note]);
        assert_eq!(plan(Some(&one), true, None), [Deed::Stop(Event::Stopped), Deed::Forget]);
        assert_eq!(plan(Some(&off), false, None), [Deed::Forget]);
        assert_eq!(plan(None, false, None), []);
    }

    #[test]
    fn the_file_against_the_records() {
        let (same, changed, gone) =
            (record("same", ManagedBy::File), record("changed", ManagedBy::File), record("gone", ManagedBy::File));
        let (api, clash) = (record("api", ManagedBy::Api), record("clash", ManagedBy::Api));
        let other = Datasource { description: "x".to_owned(), ..Datasource::new("files").option("path", "/srv") };
        let file = BTreeMap::from([
            ("same".to_owned(), Datasource::new("files")),
            ("changed".to_owned(), other),
            ("new".to_owned(), Datasource::new("files")),
            ("clash".to_owned(), Datasource::new("files")),
        ]);
        let name = |name: &str| name.to_owned();
        assert_eq!(
            differences(&file, &[&same, &changed, &gone, &api, &clash]),
            [
                Difference::Changed { name: name("changed"), keys: vec![name("description"), name("options.path")] },
                Difference::Clash { name: name("clash") },
                Difference::Removed { name: name("gone") },
                Difference::Added { name: name("new") },
            ]
        );
    }
}
