//! What can happen: the types of events, each with its fields and its base.
//!
//! The host's own are one table; drivers and operators add theirs. A name belongs to who had it first, as drivers' ids do.

mod described;
mod field;
mod page;
mod schema;
mod table;

pub use described::{describe, described};
pub use field::{Field, FieldError, Kind};
pub use page::page;
pub use schema::{SchemaError, fields_of, schema_of};
pub use table::*;

pub(crate) use field::read_all;

use super::topic::Words;
use busway_plugin_api::options::nearest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// What the names of the host's own types begin with.
pub const PREFIX: &str = "busway.";

/// The longest name of a type, in bytes: it is one word of a topic.
pub const MAX_TYPE: usize = 100;

/// What can be done with a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is published.
    Event,
    /// Others are of it: who subscribes to it gets all of these.
    Base,
    /// It is subscribed to only; what comes is in no envelope.
    Raw,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Base => "base",
            Self::Raw => "raw",
        }
    }
}

/// Who brought a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The host's own table.
    Host,
    /// A driver, by its id.
    Driver(String),
    /// The configuration.
    Operator,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Driver(id) => write!(f, "driver {id:?}"),
            Self::Operator => f.write_str("the configuration"),
        }
    }
}

/// A type of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType {
    /// The CloudEvents `type`.
    pub name: Arc<str>,
    /// The predecessor's number. Two types may have one: who subscribes to it gets both.
    pub id: Option<u32>,
    /// The type it is of; only the first has none.
    pub base: Option<Arc<str>>,
    /// The predecessor's number of its message.
    pub message: Option<u32>,
    /// What can be done with it.
    pub role: Role,
    /// What it says, besides what all events say.
    pub fields: Vec<Field>,
    /// What its origin is.
    pub origin: String,
    /// What it means that it happened.
    pub about: String,
    /// Who brought it.
    pub owner: Owner,
}

/// Why a type can't be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterTypeError {
    /// The name is none.
    #[error(
        "{0:?} can't be the name of an event type: it has 1 to {MAX_TYPE} letters, digits, or characters of - _ . and /, in words \
         that are not empty, and is no number"
    )]
    BadName(String),
    /// Another one's.
    #[error("event type {name:?} is {owner}'s: choose another name, such as one that begins with your own domain")]
    Taken {
        /// The type.
        name: String,
        /// Whose it is.
        owner: Owner,
    },
    /// There is no such base.
    #[error("event type {name:?} can't be of {base:?}: there is no such type{}", nearest.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    NoBase {
        /// The type.
        name: String,
        /// What it is to be of.
        base: String,
        /// What looks most like it.
        nearest: Option<String>,
    },
    /// One of its own is what all have.
    #[error("event type {name:?} can't have a field {field:?}: all events have one of that name, outside their data")]
    ReservedField {
        /// The type.
        name: String,
        /// The field.
        field: String,
    },
}

#[derive(Debug, Clone, Default)]
struct Types {
    by_name: BTreeMap<Arc<str>, Arc<EventType>>,
    by_id: BTreeMap<u32, BTreeSet<Arc<str>>>,
    /// The words under which events of each type are told: made once.
    words: HashMap<Arc<str>, Arc<Words>>,
}

/// All types there are. Clones are the same.
#[derive(Debug, Clone)]
pub struct Catalogue(Arc<RwLock<Types>>);

impl Default for Catalogue {
    /// The host's own.
    fn default() -> Self {
        Self::of(table::types())
    }
}

impl Types {
    fn put(&mut self, one: EventType) {
        if let Some(id) = one.id {
            self.by_id.entry(id).or_default().insert(Arc::clone(&one.name));
        }
        self.by_name.insert(Arc::clone(&one.name), Arc::new(one));
    }

    fn remove(&mut self, name: &str) {
        if let Some(id) = self.by_name.remove(name).and_then(|gone| gone.id)
            && let Some(same) = self.by_id.get_mut(&id)
        {
            same.remove(name);
        }
        self.by_id.retain(|_, same| !same.is_empty());
    }

    fn add(&mut self, mut one: EventType) -> Result<(), RegisterTypeError> {
        let name = one.name.to_string();
        if !is_type_name(&name) {
            return Err(RegisterTypeError::BadName(name));
        }
        if let Some(field) = one.fields.iter().find(|field| super::envelope::is_common(&field.name)) {
            return Err(RegisterTypeError::ReservedField { name, field: field.name.clone() });
        }
        // `a/b` and `a.b` are one word of a topic.
        let word = super::topic::word(&name);
        let there = self.by_name.values().find(|there| super::topic::word(&there.name) == word);
        if let Some(there) = there.filter(|there| there.owner != one.owner || there.name != one.name) {
            return Err(RegisterTypeError::Taken { name, owner: there.owner.clone() });
        }
        let base = one.base.clone().unwrap_or_else(|| format!("{PREFIX}Event").into());
        // Nothing is of itself.
        match self.named(&base).filter(|base| self.family(&base.name).iter().all(|of| of.name != one.name)) {
            Some(base) => one.base = Some(Arc::clone(&base.name)),
            None => {
                return Err(RegisterTypeError::NoBase { name, nearest: self.nearest(&base), base: base.to_string() });
            }
        }
        self.remove(&name);
        self.put(one);
        Ok(())
    }

    /// Types of others that are of one of these are then of what that was of.
    fn remove_where(&mut self, gone: impl Fn(&EventType) -> bool) {
        let gone: Vec<Arc<EventType>> = self.by_name.values().filter(|one| gone(one)).cloned().collect();
        for one in gone {
            self.remove(&one.name);
            // Its base may be another by now, if that went as well.
            let base = one.base.as_ref().filter(|base| self.by_name.contains_key(*base)).cloned();
            let base = base.or_else(|| Some(format!("{PREFIX}Event").into()));
            let orphans: Vec<EventType> =
                self.by_name.values().filter(|o| o.base.as_ref() == Some(&one.name)).map(|o| (**o).clone()).collect();
            for orphan in orphans {
                self.put(EventType { base: base.clone(), ..orphan });
            }
        }
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let short = self.by_name.keys().map(|known| known.strip_prefix(PREFIX).unwrap_or(known));
        nearest(name.strip_prefix(PREFIX).unwrap_or(name), short).map(str::to_owned)
    }

    /// Whose base changed is told elsewhere, too.
    fn settle(&mut self) {
        let names = self.by_name.keys();
        self.words = names.map(|name| (Arc::clone(name), Arc::new(Words::of(&self.family(name))))).collect();
    }

    fn family(&self, name: &str) -> Vec<Arc<EventType>> {
        let mut family = Vec::new();
        let mut next = self.named(name).cloned();
        while let Some(one) = next {
            next = one.base.as_deref().and_then(|base| self.by_name.get(base)).cloned();
            family.push(one);
        }
        family
    }

    fn named(&self, name: &str) -> Option<&Arc<EventType>> {
        // Topics have it in one word.
        let dotted = name.contains('/').then(|| name.replace('/', "."));
        let names = [name].into_iter().chain(dotted.as_deref());
        names.clone().find_map(|name| self.by_name.get(name)).or_else(|| {
            let mut own = names.map(|name| format!("{PREFIX}{name}"));
            own.find_map(|name| self.by_name.get(name.as_str()))
        })
    }
}

impl Catalogue {
    /// Just these, as another catalogue had them.
    #[must_use]
    pub fn of(all: impl IntoIterator<Item = EventType>) -> Self {
        let mut types = Types::default();
        all.into_iter().for_each(|one| types.put(one));
        types.settle();
        Self(Arc::new(RwLock::new(types)))
    }

    /// The type of that name; the host's own may be named without their prefix.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<EventType>> {
        self.types().named(name).cloned()
    }

    /// The types of that name or number: none, one, or those that share the number.
    #[must_use]
    pub fn find(&self, name_or_id: &str) -> Vec<Arc<EventType>> {
        let types = self.types();
        match name_or_id.parse::<u32>() {
            Ok(id) => {
                types.by_id.get(&id).into_iter().flatten().filter_map(|name| types.by_name.get(name).cloned()).collect()
            }
            Err(_) => types.named(name_or_id).cloned().into_iter().collect(),
        }
    }

    /// The name that looks most like it.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<String> {
        self.types().nearest(name)
    }

    /// The type and all that it is of, itself first.
    #[must_use]
    pub fn family(&self, name: &str) -> Vec<Arc<EventType>> {
        self.types().family(name)
    }

    /// The words under which events of that type, by its whole name, are told.
    pub(super) fn words(&self, kind: &str) -> Arc<Words> {
        self.types().words.get(kind).map_or_else(|| Arc::new(Words::untyped(kind)), Arc::clone)
    }

    /// All types, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<EventType>> {
        self.types().by_name.values().cloned().collect()
    }

    /// Adds a type. Its owner may change its own by adding it again.
    ///
    /// # Errors
    ///
    /// Why not; nothing was changed.
    pub fn add(&self, one: EventType) -> Result<(), RegisterTypeError> {
        let mut types = self.types_mut();
        types.add(one)?;
        types.settle();
        Ok(())
    }

    /// An owner's types are these from now on, in any order. Answers why some can't be; `whole`: then nothing was changed,
    /// else those that can be are.
    pub fn replace_of(&self, owner: &Owner, with: Vec<EventType>, whole: bool) -> Vec<RegisterTypeError> {
        let mut now = self.types_mut();
        let mut types = now.clone();
        types.remove_where(|one| one.owner == *owner && with.iter().all(|new| new.name != one.name));
        let (mut left, mut refused) = (with, Vec::new());
        // A base may come after what is of it.
        loop {
            let before = left.len();
            refused.clear();
            left.retain(|one| match types.add(one.clone()) {
                Ok(()) => false,
                Err(error) => {
                    refused.push(error);
                    true
                }
            });
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        if refused.is_empty() || !whole {
            types.remove_where(|one| one.owner == *owner && left.iter().any(|new| new.name == one.name));
            types.settle();
            *now = types;
        }
        refused
    }

    /// Takes away what an owner added. Types of others that are of one of these are then of what that was of.
    pub fn remove_of(&self, owner: &Owner) {
        let mut types = self.types_mut();
        types.remove_where(|one| one.owner == *owner);
        types.settle();
    }

    fn types_mut(&self) -> std::sync::RwLockWriteGuard<'_, Types> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn types(&self) -> std::sync::RwLockReadGuard<'_, Types> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text can be a type's name.
#[must_use]
pub fn is_type_name(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= MAX_TYPE && name.split(['.', '/']).all(is_word) && name.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests;
