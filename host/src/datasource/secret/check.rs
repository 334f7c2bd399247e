//! Do the keys that are here open what is there? After a restore, or a move to another machine, they may not.

use super::keyring::{Keyring, SealError};
use crate::datasource::store::Document;
use serde_json::Value;
use uuid::Uuid;

/// A record with a secret that can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {error}")]
pub struct Unsealable {
    /// The record.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The first reason met.
    pub error: SealError,
}

/// Tries every sealed text in the records, each sealed for its record's id. Gives the records that have one that can't be
/// opened.
#[must_use]
pub fn unsealable(keys: &Keyring, documents: &[Document]) -> Vec<Unsealable> {
    let first = |document: &Document| {
        let body: Value = serde_json::from_str(&document.body).ok()?;
        let error = try_all(keys, document.id.as_bytes(), &body).err()?;
        Some(Unsealable { id: document.id, name: document.name.clone(), error })
    };
    documents.iter().filter_map(first).collect()
}

fn try_all(keys: &Keyring, owner: &[u8], value: &Value) -> Result<(), SealError> {
    match value {
        Value::String(text) if Keyring::is_sealed(text) => keys.open_sealed(owner, text).map(drop),
        Value::Array(values) => values.iter().try_for_each(|value| try_all(keys, owner, value)),
        Value::Object(map) => map.values().try_for_each(|value| try_all(keys, owner, value)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_the_keys_do_not_open_are_named() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (keys, lost) = (Keyring::open(one.path()).unwrap(), Keyring::open(two.path()).unwrap());
        let record = |name: &str, sealed_by: &Keyring| {
            let id = Uuid::new_v4();
            let sealed = sealed_by.seal(id.as_bytes(), b"hunter2").unwrap();
            let body = format!("{{\"options\":[{{\"password\":{sealed:?},\"port\":1}}]}}");
            Document { id, name: name.to_owned(), revision: 1, body }
        };
        let (good, bad) = (record("good", &keys), record("bad", &lost));
        let moved = Document { id: Uuid::new_v4(), name: "moved".to_owned(), ..good.clone() };
        let found = unsealable(&keys, &[good, bad.clone(), moved.clone()]);
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["bad", "moved"]);
        assert!(found[0].to_string().starts_with("bad: this secret is sealed with the key "), "{}", found[0]);
        assert_eq!(found[1].error, SealError::Altered);
    }
}
