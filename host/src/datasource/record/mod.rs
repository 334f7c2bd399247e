//! A record: what an operator said of a datasource, and what the host notes beside it.

mod document;
mod request;

pub(super) use document::{read, write};
pub use request::{Change, Draft};

use crate::config::Datasource;
use jiff::Timestamp;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Who says what a datasource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedBy {
    /// Whoever asks the host to create, change or remove it.
    Api,
    /// The configuration file, or the program that started the host.
    File,
    /// Nobody can say: the record can't be read at all. It is left alone until the configuration file has its name, which
    /// takes it over then, or until somebody removes it.
    Unknown,
}

impl ManagedBy {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::File => "file",
            Self::Unknown => "unknown",
        }
    }

    /// What the word stands for.
    fn of(word: &str) -> Self {
        match word {
            "api" => Self::Api,
            "file" => Self::File,
            _ => Self::Unknown,
        }
    }
}

/// A datasource as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Unique for good.
    pub id: Uuid,
    /// Unique among those there are; its service's name.
    pub name: String,
    /// What the operator said.
    pub spec: Datasource,
    /// The options that the driver declared secret when they were set: they stay hidden when it is gone or another.
    pub secret: BTreeSet<String>,
    /// Who may change it.
    pub managed_by: ManagedBy,
    /// Since when it is there.
    pub created: Timestamp,
    /// When it was changed last.
    pub changed: Timestamp,
    /// 1 when it was created, one more with each change.
    pub revision: u64,
    /// Why it can't be read in full: written by another version, or sealed with another key. It does not run then.
    pub fault: Option<String>,
}

impl Record {
    /// A new one.
    pub(crate) fn new(name: &str, spec: Datasource, managed_by: ManagedBy, secret: BTreeSet<String>) -> Self {
        let (id, name, now) = (Uuid::new_v4(), name.to_owned(), Timestamp::now());
        Self { id, name, spec, secret, managed_by, created: now, changed: now, revision: 1, fault: None }
    }

    /// The beginning of its id, which tells it from others that had its name.
    #[must_use]
    pub fn short_id(&self) -> String {
        let mut id = self.id.simple().to_string();
        id.truncate(8);
        id
    }

    /// What names this state of it: no other of this record, or of another under its name, has it.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}-{}", self.short_id(), self.revision)
    }

    /// The same, changed now to what is said.
    pub(crate) fn to(&self, spec: Datasource, secret: BTreeSet<String>) -> Self {
        let now = Timestamp::now();
        // One that can't be read does not say since when it is there.
        let created = if self.created == Timestamp::UNIX_EPOCH { now } else { self.created };
        Self { spec, secret, created, changed: now, revision: self.revision + 1, fault: None, ..self.clone() }
    }
}
