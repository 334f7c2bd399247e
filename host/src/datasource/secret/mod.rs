//! What keeps a secret one: sealed at rest, named instead of written, taken out of what is shown.
//!
//! A secret option's value is sealed ([`Keyring`]) before it comes to the store, or is a [`resolve`]d reference to where it
//! is kept; when a source has it in clear, a [`Redactor`] takes it out of what the source says.

mod check;
mod file;
mod keyring;
mod reading;
mod redact;
mod reference;

pub use check::{Unsealable, unsealable};
pub use file::KeyError;
pub use keyring::{Keyring, SealError};
pub(super) use reading::read;
pub use redact::{HIDDEN, Redactor};
pub use reference::{ReferenceProblem, read_limited, resolve};
