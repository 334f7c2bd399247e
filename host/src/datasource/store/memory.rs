//! Records in memory: all of a store that keeps none, and what a durable one reads from.

use super::{Change, Document, Store, StoreError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};
use uuid::Uuid;

/// A store that forgets with the process: for tests, for hosts inside other programs that want nothing on disk, and for
/// readers of a durable one.
#[derive(Debug, Default)]
pub struct MemoryStore {
    shelf: RwLock<Shelf>,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One with these.
    pub(super) fn of(documents: Vec<Document>) -> Self {
        let mut shelf = Shelf::default();
        documents.into_iter().for_each(|document| shelf.put(document));
        Self { shelf: RwLock::new(shelf) }
    }

    /// Makes changes that were found good; readers see all of them or none.
    pub(super) fn make(&self, changes: Vec<Change>) {
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().for_each(|change| shelf.make(change));
    }

    fn change(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        // Like any future, it does nothing before it is awaited.
        async move {
            change.check()?;
            self.shelf.write().unwrap_or_else(PoisonError::into_inner).apply(change)
        }
        .boxed()
    }
}

impl Store for MemoryStore {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        async { Ok(self.shelf.read().unwrap_or_else(PoisonError::into_inner).all()) }.boxed()
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        async move { Ok(self.shelf.read().unwrap_or_else(PoisonError::into_inner).get(id)) }.boxed()
    }

    fn create(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Create(document))
    }

    fn replace(&self, document: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Replace(document))
    }

    fn remove(&self, id: Uuid, revision: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(Change::Remove { id, revision })
    }
}

/// Records by id, and their names.
#[derive(Debug, Default)]
struct Shelf {
    documents: HashMap<Uuid, Document>,
    names: BTreeMap<String, Uuid>,
}

impl Shelf {
    fn all(&self) -> Vec<Document> {
        self.names.values().filter_map(|id| self.documents.get(id)).cloned().collect()
    }

    fn get(&self, id: Uuid) -> Option<Document> {
        self.documents.get(&id).cloned()
    }

    /// Makes a change whole, or refuses it and changes nothing.
    fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        match &change {
            Change::Create(document) => {
                self.expect(document.id, 0)?;
                self.free(document)?;
            }
            Change::Replace(document) => {
                self.expect_there(document.id, document.revision.saturating_sub(1))?;
                self.free(document)?;
            }
            Change::Remove { id, revision } => self.expect_there(*id, *revision)?,
        }
        self.make(change);
        Ok(())
    }

    /// Makes a change that was found good.
    fn make(&mut self, change: Change) {
        match change {
            Change::Create(document) | Change::Replace(document) => self.put(document),
            Change::Remove { id, .. } => self.take(id),
        }
    }

    fn expect(&self, id: Uuid, expected: u64) -> Result<(), StoreError> {
        let found = self.documents.get(&id).map_or(0, |there| there.revision);
        if found == expected { Ok(()) } else { Err(StoreError::Conflict { id, expected, found }) }
    }

    fn expect_there(&self, id: Uuid, expected: u64) -> Result<(), StoreError> {
        if self.documents.contains_key(&id) { self.expect(id, expected) } else { Err(StoreError::NotFound { id }) }
    }

    fn free(&self, document: &Document) -> Result<(), StoreError> {
        match self.names.get(&document.name) {
            Some(owner) if *owner != document.id => Err(StoreError::NameInUse { name: document.name.clone() }),
            _ => Ok(()),
        }
    }

    fn put(&mut self, document: Document) {
        self.take(document.id);
        self.names.insert(document.name.clone(), document.id);
        self.documents.insert(document.id, document);
    }

    fn take(&mut self, id: Uuid) {
        if let Some(former) = self.documents.remove(&id) {
            self.names.remove(&former.name);
        }
    }
}
