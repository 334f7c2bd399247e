//! Everything that can be known of a plugin's file without a byte of it being run: that it is a whole library for this
//! machine and one that the system's loader can't stumble over, what its note says, that this system has what it needs,
//! that nobody else could have written it, and that it is the one that was meant.

mod checksum;
mod elf;
mod error;
mod facts;
mod kind;
mod note;
mod ownership;
mod surroundings;
mod system;
mod trust;
mod words;

pub use checksum::ChecksumError;
pub use error::BytesError;
pub use facts::{Facts, Needs, Version};
pub use note::Note;
pub use ownership::OwnershipError;
pub(crate) use surroundings::Surroundings;
pub use system::Libraries;
pub use trust::{TRUST_LIST, Trust, TrustError, TrustList, Trusted};

use super::scan::{ScanError, look};
use super::stage::{Bytes, StageError};
use object::{BinaryFormat, Object as _, ObjectKind, ObjectSection as _};
use std::path::Path;
use std::time::Duration;

/// A file that was changed so recently, and is not whole, is taken for one that is still being copied.
pub(crate) const FRESH: Duration = Duration::from_secs(10);

/// A file that is a plugin, as far as can be told without running it.
#[derive(Debug, Clone)]
pub struct Examined {
    /// What was read: this, and nothing that is read later, is to be staged.
    pub bytes: Bytes,
    /// What it says of itself.
    pub facts: Facts,
    /// Whether a checksum file lies beside it, which it matches.
    pub checksum: bool,
}

/// Why a file is no plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no file.
    #[error(transparent)]
    NoFile(#[from] ScanError),
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] StageError),
    /// Others could have written it.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// Its bytes are none.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// It is another than was meant.
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
}

impl Refusal {
    /// Whether a copy that is still being written looks like this.
    #[must_use]
    pub fn may_be_incomplete(&self) -> bool {
        match self {
            Self::Bytes(error) => error.may_be_incomplete(),
            Self::Checksum(error) => error.may_be_incomplete(),
            _ => false,
        }
    }

    /// Whether another look may help though the file, its checksum file and its directories stay as they are: something else
    /// on this system is in the way.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Read(_) | Self::Ownership(_) => true,
            Self::Bytes(error) => matches!(error, BytesError::Needs { .. } | BytesError::TooOld { .. }),
            Self::Checksum(error) => matches!(error, ChecksumError::Unreadable { .. }),
            Self::NoFile(_) => false,
        }
    }
}

/// Reads a file, once, and looks at it in every way that does not run it. `libraries` are those that the system has.
///
/// # Errors
///
/// What is wrong, and what to do.
pub fn examine(path: &Path, libraries: &Libraries) -> Result<Examined, Refusal> {
    // What is no file is not opened: to open a pipe is to wait for its writer.
    if let Some(Err(error)) = look(path) {
        return Err(error.into());
    }
    // First: what others wrote is not even parsed.
    ownership::of(path)?;
    inspect(path, libraries)
}

/// As [`examine`], whoever owns the file: it is not to be loaded.
///
/// # Errors
///
/// What is wrong, and what to do.
pub fn inspect(path: &Path, libraries: &Libraries) -> Result<Examined, Refusal> {
    if let Some(Err(error)) = look(path) {
        return Err(error.into());
    }
    let bytes = Bytes::read(path)?;
    let facts = facts(&bytes.bytes)?;
    libraries.satisfy(&facts, path.parent().unwrap_or(Path::new("/")))?;
    let checksum = checksum::check(path, &bytes.sha256)?;
    Ok(Examined { bytes, facts, checksum })
}

/// What bytes say of themselves, after every check that can be made of bytes alone.
///
/// # Errors
///
/// What is wrong, and what to do.
pub fn facts(bytes: &[u8]) -> Result<Facts, BytesError> {
    if bytes.is_empty() {
        return Err(BytesError::Empty);
    }
    let (format, ..) = kind::ours();
    if bytes.starts_with(kind::ELF) {
        let said = elf::read(bytes)?;
        let note = note::read(said.note.ok_or(BytesError::NoNote)?)?;
        return Ok(Facts { note, needs: said.needs, go: said.go, build_id: said.build_id });
    }
    if format == BinaryFormat::Elf {
        return Err(kind::stranger(bytes));
    }
    of_another_format(bytes, format)
}

/// Where libraries are no ELF files: what the parser finds wrong, and no more.
fn of_another_format(bytes: &[u8], format: BinaryFormat) -> Result<Facts, BytesError> {
    let Ok(file) = object::File::parse(bytes) else { return Err(kind::stranger(bytes)) };
    if file.format() != format || file.architecture() != kind::ours().2 || !file.is_64() {
        return Err(kind::stranger(bytes));
    }
    if file.kind() != ObjectKind::Dynamic {
        return Err(BytesError::NotALibrary("a program or an object file".to_owned()));
    }
    let section = file.section_by_name(busway_plugin_api::abi::NOTE_SECTION).ok_or(BytesError::NoNote)?;
    let note = note::read(section.data().map_err(|error| BytesError::BadNote(error.to_string()))?)?;
    Ok(Facts { note, needs: Needs::default(), go: None, build_id: None })
}
