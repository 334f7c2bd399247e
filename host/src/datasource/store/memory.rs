//! STUB
use super::{Document, Store, StoreError};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Mutex;
use uuid::Uuid;
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<HashMap<Uuid, Document>>);
impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }
}
impl Store for MemoryStore {
    fn all(&self) -> BoxFuture<'_, Result<Vec<Document>, StoreError>> {
        Box::pin(async { Ok(self.0.lock().unwrap().values().cloned().collect()) })
    }
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Document>, StoreError>> {
        Box::pin(async move { Ok(self.0.lock().unwrap().get(&id).cloned()) })
    }
    fn create(&self, d: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut m = self.0.lock().unwrap();
            if m.values().any(|o| o.name == d.name) {
                return Err(StoreError::NameInUse { name: d.name });
            }
            m.insert(d.id, d);
            Ok(())
        })
    }
    fn replace(&self, d: Document) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.0.lock().unwrap().insert(d.id, d);
            Ok(())
        })
    }
    fn remove(&self, id: Uuid, _r: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.0.lock().unwrap().remove(&id);
            Ok(())
        })
    }
}
