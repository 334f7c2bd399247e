//! What bytes say of themselves.

use super::note::Note;

/// What a library needs beyond itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The libraries' names.
    pub libraries: Vec<String>,
    /// Places of its own where it would have them looked for.
    pub run_paths: Vec<String>,
    /// What of them.
    pub versions: Vec<Version>,
}

/// A version of symbols that is needed of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The library's name.
    pub library: String,
    /// The version's.
    pub version: String,
    /// Whether the library works without, too.
    pub optional: bool,
}

/// What a plugin's bytes say of it, without one of them being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its note.
    pub note: Note,
    /// What it needs beyond itself.
    pub needs: Needs,
    /// The version of Go whose runtime is in it. Such a runtime brings signal handlers and threads that stay, and two of
    /// them in one process are at odds.
    pub go: Option<String>,
    /// What its linker calls it: the same for the same build.
    pub build_id: Option<String>,
}

impl Needs {
    /// The newest version of the system's C library that it needs, as `2.34`.
    #[must_use]
    pub fn glibc(&self) -> Option<&str> {
        let versions = self.versions.iter().filter(|version| !version.optional);
        versions.filter_map(|version| version.version.strip_prefix("GLIBC_")).max_by_key(|version| numbers(version))
    }
}

/// A version's numbers, to be compared.
pub(super) fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}
