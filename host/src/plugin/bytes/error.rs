//! What is wrong with bytes, in one sentence each.

use busway_plugin_api::abi::NOTE_SECTION;

/// Why bytes are no plugin for this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BytesError {
    /// There are none.
    #[error("the file is empty")]
    Empty,
    /// They are something else.
    #[error("it is no shared library: it is {0}")]
    NotALibrary(String),
    /// Another system's or machine's.
    #[error("it is built for {found}, this host runs on {host}: build it for this machine")]
    Machine {
        /// What the file is for.
        found: String,
        /// What the host is.
        host: String,
    },
    /// It ends before its parts do.
    #[error(
        "it is cut short: {part} ends at byte {end}, the file at {length}; copy it again, best under another name and then renamed"
    )]
    Truncated {
        /// Which part.
        part: String,
        /// Where it should end.
        end: u64,
        /// Where the file ends.
        length: u64,
    },
    /// Zeros stand where something else must.
    #[error(
        "it has a hole: in {part}, bytes {begin} to {end} are all zero; copy it again, best under another name and then renamed"
    )]
    Hole {
        /// In which part.
        part: String,
        /// Where the zeros begin in the file.
        begin: u64,
        /// Where they end.
        end: u64,
    },
    /// Its parts contradict each other: the system's loader would stumble over it, and not always live.
    #[error("it is malformed: {0}; copy it again, or build it again if the copy is like the original")]
    Malformed(String),
    /// No note: not made for this host.
    #[error("it is no Busway driver: it has no section {NOTE_SECTION}; export one with export_driver!")]
    NoNote,
    /// A note that can't be read.
    #[error("its note can't be read: {0}")]
    BadNote(String),
    /// A note that says what can't be.
    #[error("its note is not valid: {0}")]
    Note(String),
    /// A contract that can't work here.
    #[error("it speaks contract {theirs}, this host {ours}: {advice}")]
    Contract {
        /// The driver's.
        theirs: String,
        /// The host's.
        ours: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Another `abi_stable` is another contract.
    #[error("it is built with abi_stable {theirs}, the contract with {ours}: rebuild it with that version")]
    AbiStable {
        /// The driver's.
        theirs: String,
        /// The contract's.
        ours: &'static str,
    },
    /// A panic in it would end the host.
    #[error("it is built with panic = \"{0}\", so a panic in it would end the host: build it with panic = \"unwind\"")]
    Panics(String),
    /// It needs a library that this system does not have.
    #[error("it needs {library}, which {why}; link it statically or install it system-wide")]
    Needs {
        /// The library's name.
        library: String,
        /// What is wrong with that.
        why: String,
    },
    /// It needs a system library to be newer.
    #[error("it needs {version} of {library}, this system has {newest}: build it on a system as old as this one")]
    TooOld {
        /// The library's name.
        library: String,
        /// What is needed of it.
        version: String,
        /// The newest that there is.
        newest: String,
    },
    /// It would make the stacks of the whole host executable.
    #[error(
        "it asks for an executable stack, which would be every stack of the host: link it with -z noexecstack, and build its assembly so"
    )]
    ExecutableStack,
    /// Its code would be changed when it is loaded.
    #[error(
        "its code is changed when it is loaded (TEXTREL), which hardened systems forbid: build all of it with -fPIC"
    )]
    TextRelocations,
}

impl BytesError {
    /// Whether a copy that is still being written looks like this. What is false is so for good, whatever else is
    /// written to the file.
    #[must_use]
    pub fn may_be_incomplete(&self) -> bool {
        matches!(self, Self::Empty | Self::Truncated { .. } | Self::Hole { .. } | Self::Malformed(_) | Self::BadNote(_))
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_copy_in_progress_looks_like_may_pass_by_itself() {
        let machine = BytesError::Machine { found: String::new(), host: String::new() };
        for (error, incomplete) in [
            (BytesError::Empty, true),
            (BytesError::malformed("x"), true),
            (BytesError::Hole { part: String::new(), begin: 0, end: 1 }, true),
            (BytesError::NotALibrary("text".into()), false),
            (machine, false),
            (BytesError::NoNote, false),
            (BytesError::ExecutableStack, false),
        ] {
            assert_eq!(error.may_be_incomplete(), incomplete, "{error}");
        }
    }
}
