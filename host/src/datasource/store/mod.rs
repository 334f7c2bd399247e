//! Where records are kept, behind a trait: what was acknowledged is there after any end of the process.
//!
//! A store knows of a record its id, its name and its revision. The rest is a text to it, in which secrets are sealed
//! before they come here. Every implementation passes one `suite`.

mod backup;
mod fault;
mod memory;
mod place;
mod schema;
mod sqlite;
mod writer;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod suite;

pub use backup::{BackupError, RestoreError, Restored, backup, read, restore};
pub use memory::MemoryStore;
pub use schema::OpenError;
pub use sqlite::SqliteStore;

use futures_util::future::BoxFuture;
use uuid::Uuid;

/// A store takes no record whose name and body together are longer, in bytes. A store in another process takes messages of
/// about a megabyte, and what waits in a queue of records is to have a bound.
pub const MAX_DOCUMENT: usize = 512 * 1024;

/// A record as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Unique for good.
    pub id: Uuid,
    /// Unique among those there are.
    pub name: String,
    /// 1 when it is created, one more with each change.
    pub revision: u64,
    /// What is kept, as JSON; nothing in it is a secret in clear.
    pub body: String,
}

/// Why a store did not do what it was asked. Nothing was changed, except as [`Unknown`](Self::Unknown) says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another record has the name.
    #[error("the name {name:?} is in use")]
    NameInUse {
        /// The name.
        name: String,
    },
    /// No record of that id.
    #[error("no record {id}")]
    NotFound {
        /// The id.
        id: Uuid,
    },
    /// Somebody else changed it first.
    #[error("record {id} is at revision {found}, not {expected}")]
    Conflict {
        /// The record.
        id: Uuid,
        /// The revision that the change was made for; 0: that there is none.
        expected: u64,
        /// The revision there is; 0: there is none.
        found: u64,
    },
    /// It is longer than any store takes.
    #[error("the record {name:?} has {bytes} bytes, and a store takes {MAX_DOCUMENT}: shorten its configuration")]
    TooLarge {
        /// Its name, of a very long one the beginning.
        name: String,
        /// Name and body together.
        bytes: usize,
    },
    /// It can't be written or read now: a full disk, one that turned read-only, an error of the device. Later calls may work.
    #[error("the store can't be used now: {reason}")]
    Unavailable {
        /// What the system says, and what to do.
        reason: String,
    },
    /// It is not known whether it was written. Until a later change is acknowledged, it may yet be there after a restart.
    #[error("the store gave no answer: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Keeps records. Calls may come from any task at once.
///
/// * An acknowledged change is durable: it is there after any end of the process, and whole.
/// * It is ordered before every call that begins after its acknowledgement, whoever makes either: reads show it or what
///   came after it. Calls that overlap have some order, the same for all who look; of several changes made for one revision,
///   and of several creations of one name, exactly one is acknowledged.
/// * A refused change changes nothing. One whose future is dropped is made whole or not at all.
/// * Reads go on while nothing can be written.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// All records, by name, as they were at one moment.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>>;
    /// One of them.
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>>;
    /// Adds one, of revision 1. Refused when its name is in use, and as a conflict when its id is or its revision is another.
    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Replaces one, its name too: the one there is must be of the revision before the new one's.
    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Removes one, which must be of that revision.
    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// One change, as it waits for its turn.
#[derive(Debug, Clone)]
enum Change {
    Create(Document),
    Replace(Document),
    Remove { id: Uuid, revision: u64 },
}

impl Change {
    fn check(&self) -> Result<(), StoreError> {
        let document = match self {
            Self::Create(document) if document.revision != 1 => {
                let expected = document.revision.saturating_sub(1);
                return Err(StoreError::Conflict { id: document.id, expected, found: 0 });
            }
            Self::Create(document) | Self::Replace(document) => document,
            Self::Remove { .. } => return Ok(()),
        };
        let bytes = document.name.len() + document.body.len();
        if bytes > MAX_DOCUMENT {
            return Err(StoreError::TooLarge { name: document.name.chars().take(64).collect(), bytes });
        }
        Ok(())
    }
}
