//! Why a plugin was refused: in a line, in five, and in full.

use crate::check::major;
use crate::mismatch::{Difference, Mismatch};
use crate::{ABI_STABLE, VERSION};
use core::{cmp::Ordering, fmt};

/// Why a plugin was refused. [`Display`](fmt::Display) is short enough for a table's cell; [`explanation`] has at most
/// five lines; `detail` holds the rest.
///
/// [`explanation`]: Self::explanation
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incompatible {
    /// What differs, in one line.
    pub reason: String,
    /// The contract that the plugin was built with, when it could be read.
    pub theirs: Option<String>,
    /// The checker's whole report, up to thousands of lines; empty when there is none.
    pub detail: String,
    /// What differs, the first thing first; empty when it was not about the contract's types and versions.
    pub mismatches: Vec<Mismatch>,
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Incompatible {}

/// The side that was built with less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Older {
    Host,
    Driver,
    /// They say the same of themselves.
    Neither,
}

impl Incompatible {
    pub(crate) fn new(reason: impl AsRef<str>) -> Self {
        Self { reason: line(reason.as_ref(), 480), theirs: None, detail: String::new(), mismatches: Vec::new() }
    }

    pub(crate) fn of(reason: impl AsRef<str>, mismatch: Mismatch) -> Self {
        Self { mismatches: vec![mismatch], ..Self::new(reason) }
    }

    pub(crate) fn with_version(self, theirs: &str) -> Self {
        Self { theirs: Some(theirs.to_owned()), ..self }
    }

    /// Of what differs, and of the checker's own report.
    pub(crate) fn of_layouts(mismatches: Vec<Mismatch>, theirs: &str, report: &str) -> Self {
        let mut new = Self { mismatches, ..Self::new("") }.with_version(theirs);
        let first = new.mismatches.first().map(Mismatch::to_string).unwrap_or_default();
        let remedy = new.remedy();
        let reason =
            format!("its types differ from contract {VERSION} (it was built with {theirs}): {first}; {remedy}");
        new.reason = line(&reason, 480);
        let mut detail = format!("{} in all:\n", count(new.mismatches.len()));
        for mismatch in &new.mismatches {
            let at: Vec<&str> = mismatch.path.iter().map(String::as_str).chain([mismatch.place.as_str()]).collect();
            detail.push_str(&format!(
                "  {}\n    {mismatch}\n    expected {}\n    found    {}\n",
                at.join(" > "),
                mismatch.expected,
                mismatch.found
            ));
        }
        detail.push_str("\nabi_stable's report:\n");
        // It ends lines with spaces, and has up to three empty ones in a row.
        let mut empty = false;
        for line in report.lines().map(str::trim_end) {
            if !(empty && line.is_empty()) {
                detail.push_str(line);
                detail.push('\n');
            }
            empty = line.is_empty();
        }
        new.detail = detail;
        new
    }

    /// What differs, what was expected and found, who is older, and what to do: at most five lines.
    pub fn explanation(&self) -> String {
        let (first, more) = match self.mismatches.split_first() {
            Some((first, more)) => (first, more.len()),
            None => return self.reason.clone(),
        };
        let more = match more {
            0 => String::new(),
            1 => " (and one more difference)".to_owned(),
            more => format!(" (and {more} more differences)"),
        };
        let lines = [
            format!("{first}{more}"),
            format!("expected: {}", first.expected),
            format!("found:    {}", first.found),
            format!("older:    {}", self.who()),
            format!("now:      {}", self.remedy()),
        ];
        lines.iter().map(|text| line(text, 240)).collect::<Vec<_>>().join("\n")
    }

    fn older(&self) -> Older {
        let difference = self.mismatches.first().map(|mismatch| mismatch.difference);
        let (ours, theirs) = match (difference, &self.theirs) {
            (Some(Difference::AbiStable), _) => {
                (numbers(ABI_STABLE), numbers(self.mismatches.first().map_or("", |mismatch| &mismatch.found)))
            }
            (_, Some(theirs)) => (numbers(VERSION), numbers(theirs)),
            _ => return Older::Neither,
        };
        match theirs.as_slice().cmp(&ours[..theirs.len().min(ours.len())]) {
            Ordering::Less => Older::Driver,
            Ordering::Greater => Older::Host,
            Ordering::Equal => match self.growth().cmp(&0) {
                Ordering::Less => Older::Driver,
                Ordering::Greater => Older::Host,
                Ordering::Equal => Older::Neither,
            },
        }
    }

    /// How much more the driver has than the host.
    fn growth(&self) -> isize {
        self.mismatches.iter().map(|mismatch| mismatch.growth).find(|growth| *growth != 0).unwrap_or(0)
    }

    fn who(&self) -> String {
        let difference = self.mismatches.first().map(|mismatch| mismatch.difference);
        match difference {
            Some(Difference::Library) => return "neither: they are made for different things".to_owned(),
            Some(Difference::NoLayout) => return "can't be told without it".to_owned(),
            _ => {}
        }
        let by_version = self.theirs.as_deref() != Some(VERSION);
        let theirs = match (difference, &self.theirs) {
            (Some(Difference::AbiStable), _) => {
                let found = self.mismatches.first().map_or("", |mismatch| &mismatch.found);
                format!("abi_stable {found}, and this host {ABI_STABLE}")
            }
            (_, Some(theirs)) => format!("contract {theirs}, and this host {VERSION}"),
            _ => "what can't be read".to_owned(),
        };
        match self.older() {
            Older::Driver if by_version => format!("the driver: it has {theirs}"),
            Older::Host if by_version => format!("this host: the driver has {theirs}"),
            Older::Driver => format!("the driver, by what it lacks, though both say contract {VERSION}"),
            Older::Host => format!("this host, by what it lacks, though both say contract {VERSION}"),
            Older::Neither => format!("neither: both say contract {VERSION}, so one was built from changed sources"),
        }
    }

    /// What to do about it.
    fn remedy(&self) -> String {
        let exact = format!("`cargo update -p busway-abi --precise {VERSION}`");
        let ours = major(VERSION);
        match self.mismatches.first().map(|mismatch| mismatch.difference) {
            Some(Difference::AbiStable) => {
                format!("rebuild the driver with busway-abi {ours}.x, which brings abi_stable {ABI_STABLE}")
            }
            Some(Difference::Library) => "keep it where its own host looks for it; a driver is made with \
                                          busway-plugin-api's export_driver!"
                .to_owned(),
            Some(Difference::Major) => {
                let theirs = self.theirs.as_deref().map_or("", major);
                let host = match self.older() {
                    Older::Host => format!(", or use a host of contract {theirs}"),
                    _ => String::new(),
                };
                format!("rebuild the driver with a busway-plugin-api that is made with busway-abi {ours}.x{host}")
            }
            Some(Difference::NoLayout) => {
                format!("rebuild the driver with busway-abi {VERSION} and export_driver!, which puts them in")
            }
            _ => match self.older() {
                Older::Host if self.theirs.as_deref() != Some(VERSION) => {
                    let theirs = self.theirs.as_deref().unwrap_or("the driver's");
                    format!(
                        "rebuild the driver with busway-abi {VERSION} ({exact}), or use a host of contract {theirs}"
                    )
                }
                Older::Driver if self.theirs.as_deref() != Some(VERSION) => {
                    format!("rebuild the driver with busway-plugin-api on busway-abi {VERSION} ({exact})")
                }
                _ => format!("rebuild the driver with busway-plugin-api on busway-abi {VERSION} as it was released"),
            },
        }
    }
}

/// One line of at most so many characters: the names in it are the driver's.
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most + 1).collect();
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn count(differences: usize) -> String {
    if differences == 1 {
        "one difference".to_owned()
    } else {
        format!("{differences} differences")
    }
}

/// A version's numbers, as many as there are.
fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}
