//! Trying a plugin in a process that may die, before it is mapped into the one that may not.
//!
//! A library's constructors run before any check of what it exports can, so nothing but another process can tell what they
//! do. The host starts itself again ([`program`]), as a child that limits itself ([`confines`]), maps the private copy, has
//! it describe itself and panic ([`child`]), and answers over a socket of its own ([`wire`]). The host watches it
//! ([`guest`]) and makes a [`Verdict`] of how it ended ([`judge`]). What depends on the bytes is remembered ([`memory`]),
//! what may be chance is tried again ([`patience`]).
//!
//! It keeps honest mistakes out, not attackers: a plugin has the host's rights, here as there.

mod build;
mod child;
mod confines;
mod examiner;
mod guest;
mod judge;
mod last_words;
mod memory;
mod patience;
mod program;
mod traces;
mod verdict;
mod vetter;
mod wire;

pub(crate) use examiner::{Examiner, Vetted, copy};
pub use program::{ProgramError, child_main_if_asked};
pub(crate) use traces::Traces;
pub use verdict::{Bad, Good, Kind, Verdict};
pub use vetter::{ChildVetter, VetterError};
pub(crate) use wire::Stage;

use super::bytes::Note;
use futures_util::future::BoxFuture;
use std::path::Path;

/// What is to be tried.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The operator's file, for the log.
    pub file: &'a Path,
    /// The private copy, which is mapped.
    pub staged: &'a Path,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: &'a str,
    /// What its note says.
    pub note: &'a Note,
}

/// Tells whether a plugin may be mapped.
pub trait Vet: Send + Sync {
    /// Tries it, or says what is known of its bytes already.
    fn vet<'a>(&'a self, subject: Subject<'a>) -> BoxFuture<'a, Verdict>;

    /// Forgets what is known of these bytes, for an operator who wants them tried again. May wait for the disk.
    fn forget(&self, sha256: &str);
}
