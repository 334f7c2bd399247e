//! What becomes of plugins, for whoever follows it.

use super::generation::Generation;
use super::plan::Claim;
use super::record::Entry;
use std::path::PathBuf;
use std::sync::Arc;

/// So much may happen at once before the oldest is lost.
pub(super) const MOST: usize = 1024;

/// Something that became of a plugin.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// It was written into the journal.
    Written(Arc<Entry>),
    /// A private copy of the bytes was made.
    Staged(Arc<Claim>),
    /// They were tried, and are good.
    Vetted(Arc<Claim>),
    /// A generation was made of them.
    Loaded(Arc<Generation>),
    /// The sources are its own, on probation.
    Switched(Arc<Generation>),
    /// It serves no more, for good.
    Retired(Arc<Generation>),
    /// A file's bytes do not serve, those before do.
    HeldBack {
        /// The file.
        path: PathBuf,
        /// Its driver's id.
        driver: String,
        /// The version that it claims.
        version: Option<String>,
        /// Its bytes.
        sha256: Option<String>,
        /// Why.
        reason: String,
    },
}
