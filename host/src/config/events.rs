//! `[events]`: how events are kept and told, and the types that the operator brings.

use super::{ConfigError, duration};
use crate::event::{Catalogue, EventType, Kept, Owner, RegisterTypeError, Role, Settings, fields_of};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How events are kept and told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// So many of each type are kept in memory; 0: none.
    pub history: usize,
    /// What is kept of all types together has no more bytes.
    pub history_bytes: usize,
    /// So many a second each publisher may publish; 0: as many as it has.
    pub rate: usize,
    /// Whether events of types that nobody described are refused.
    pub strict: bool,
    /// That a datasource's tables changed is told no more often than once in this time; 0: each time.
    #[serde(deserialize_with = "duration::deserialize")]
    pub update_interval: Duration,
    /// Types of events, by name.
    pub types: BTreeMap<String, TypeOfEvents>,
    /// Whether what happened is kept over restarts, in a file of its own in the state directory.
    pub durable: bool,
    /// So many events are kept there.
    pub durable_events: u64,
}

/// A type of events that the operator brings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TypeOfEvents {
    /// What it means that it happened.
    pub about: String,
    /// The type that it is of: one of the host's, or of these. None: of no other.
    pub base: Option<String>,
    /// A number by which it may be subscribed to as well.
    pub id: Option<u32>,
    /// What its origin is.
    pub origin: String,
    /// The JSON Schema of its data; none, and no file: it has none.
    pub schema: Option<Value>,
    /// A file with the schema.
    pub schema_file: Option<PathBuf>,
}

impl Default for Events {
    fn default() -> Self {
        let Settings { kept, rate, strict, updates, .. } = Settings::default();
        Self {
            history: kept.events,
            history_bytes: kept.bytes,
            rate: rate.map_or(0, |(most, _)| most),
            strict,
            update_interval: updates,
            types: BTreeMap::new(),
            durable: false,
            durable_events: 1_000_000,
        }
    }
}

impl Events {
    /// The same, for the events' room.
    #[must_use]
    pub fn settings(&self, bus_id: &str, node: &str) -> Settings {
        Settings {
            bus_id: bus_id.to_owned(),
            node: node.to_owned(),
            kept: Kept { events: self.history, bytes: self.history_bytes },
            rate: (self.rate > 0).then_some((self.rate, Duration::from_secs(1))),
            strict: self.strict,
            updates: self.update_interval,
        }
    }

    /// The operator's types. Reads the files of their schemas.
    ///
    /// # Errors
    ///
    /// The first that can't be one, and why.
    pub fn types(&self) -> Result<Vec<EventType>, String> {
        let types: Vec<EventType> = self.types.iter().map(|(name, of)| of.read(name)).collect::<Result<_, _>>()?;
        let refused = Catalogue::default().replace_of(&Owner::Operator, types.clone(), true);
        refused.first().map_or(Ok(types), |error| Err(format!("events.types: {error}")))
    }

    /// Has a host's events know the operator's types as they are now. Answers which are not taken, since drivers have their
    /// names already; all others are.
    ///
    /// # Errors
    ///
    /// The first that can't be one whoever else is there; nothing was changed.
    pub fn bring(&self, events: &crate::event::Events) -> Result<Vec<RegisterTypeError>, ConfigError> {
        let types = self.types().map_err(ConfigError::Value)?;
        let refused = events.catalogue().replace_of(&Owner::Operator, types, false);
        for error in &refused {
            tracing::warn!(%error, "an event type of the configuration is not taken");
        }
        Ok(refused)
    }

    /// Paths are taken from the configuration's folder.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.types.values_mut().filter_map(|of| of.schema_file.as_mut())
    }
}

impl TypeOfEvents {
    fn read(&self, name: &str) -> Result<EventType, String> {
        let wrong = |why: String| format!("events.types.{name:?}: {why}");
        let schema = match (&self.schema, &self.schema_file) {
            (Some(_), Some(_)) => {
                return Err(wrong("it has a schema and a schema_file: leave one of them out".to_owned()));
            }
            (Some(schema), None) => schema.clone(),
            (None, Some(file)) => read(file).map_err(|why| wrong(format!("schema_file {}: {why}", file.display())))?,
            (None, None) => serde_json::json!({"type": "object"}),
        };
        Ok(EventType {
            name: name.into(),
            id: self.id,
            base: self.base.as_deref().map(Into::into),
            message: None,
            role: Role::Event,
            fields: fields_of(&schema).map_err(|error| wrong(error.to_string()))?,
            origin: self.origin.clone(),
            about: self.about.clone(),
            owner: Owner::Operator,
        })
    }
}

fn read(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("it is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Events as Room;

    #[test]
    fn a_type_that_a_driver_has_is_left_out_and_no_other() {
        let room = Room::default();
        let of_driver = EventType {
            name: "acme.door".into(),
            id: None,
            base: None,
            owner: Owner::Driver("doors".to_owned()),
            ..(*room.catalogue().get("ScheduleEvent").unwrap()).clone()
        };
        room.catalogue().add(of_driver).unwrap();
        let names = ["acme.door", "acme.window"].map(|name| (name.to_owned(), TypeOfEvents::default()));
        let config = Events { types: names.into_iter().collect(), ..Events::default() };
        let refused: Vec<String> = config.bring(&room).unwrap().iter().map(ToString::to_string).collect();
        let text = "event type \"acme.door\" is driver \"doors\"'s: choose another name, such as one that begins with your own domain";
        assert_eq!(refused, [text]);
        let owner = |name: &str| room.catalogue().get(name).map(|one| one.owner.clone());
        assert_eq!(owner("acme.window"), Some(Owner::Operator));
        assert_eq!(owner("acme.door"), Some(Owner::Driver("doors".to_owned())));
    }
}
