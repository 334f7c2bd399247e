//! Where records are kept, behind a trait: what was acknowledged is there after any end of the process.
//!
//! A store knows of a record its id, its name and its revision. The rest is a text to it, in which secrets are sealed
//! before they come here.

use futures_util::future::BoxFuture;
use uuid::Uuid;

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
        /// The revision that the change was made for.
        expected: u64,
        /// The revision there is.
        found: u64,
    },
    /// It can't be written or read now: a full disk, one that turned read-only, an error of the device.
    #[error("the store can't be used now: {reason}")]
    Unavailable {
        /// What the system says.
        reason: String,
    },
    /// It is not known whether it was written.
    #[error("the store gave no answer: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Keeps records. Calls may come from any task at once; each acknowledged change is durable, and ordered before every call
/// that begins after its acknowledgement. A change whose future is dropped may still be made.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// All records, by name.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>>;
    /// One of them.
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>>;
    /// Adds one, of revision 1. Refused when its name is in use.
    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Replaces one: the one there is must be of the revision before the new one's.
    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Removes one, which must be of that revision.
    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>>;
}
