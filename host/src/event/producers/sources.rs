//! What sources tell of, over the contract.

use super::super::publisher::{How, PublishError, Publisher};
use super::super::{EventError, Events, topic};
use super::types::DriverTypes;
use crate::datasource::{Emit, Emitter};
use crate::plugin::{CallError, Generation};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::{ErrorBody, EventBody};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Takes what sources tell of.
#[derive(Debug)]
pub(super) struct Sources {
    events: Events,
    types: Arc<DriverTypes>,
}

impl Sources {
    pub(super) fn new(events: &Events, types: &Arc<DriverTypes>) -> Self {
        Self { events: events.clone(), types: Arc::clone(types) }
    }
}

impl Emit for Sources {
    fn emitter(&self, datasource: &str, generation: &Arc<Generation>) -> Box<dyn Emitter> {
        Box::new(Source {
            publisher: self.events.publisher(datasource).with_origin(datasource),
            generation: Arc::clone(generation),
            events: self.events.clone(),
            types: Arc::clone(&self.types),
        })
    }
}

/// One source: its datasource's name is the sender, and the origin unless it says another.
struct Source {
    publisher: Publisher,
    generation: Arc<Generation>,
    events: Events,
    types: Arc<DriverTypes>,
}

fn invalid(message: impl Into<String>) -> CallError {
    CallError::new(Status::INVALID, message)
}

impl Emitter for Source {
    fn emit(&self, event: EventBody) -> Result<(), CallError> {
        self.types.bring(&self.generation);
        let EventBody { topic, kind, origin, body } = event;
        let fields = match body {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            _ => return Err(invalid("the body of an event must be an object: its type's fields")),
        };
        if !origin.is_empty() && fields.contains_key("origin") {
            return Err(invalid(EventError::Both("origin".to_owned()).to_string()));
        }
        let draft = self.publisher.create(&kind, fields).map_err(|error| invalid(error.to_string()))?;
        let own = || draft.get("origin").and_then(|origin| origin.as_str().map(str::to_owned));
        let origin = Some(origin).filter(|origin| !origin.is_empty()).or_else(own);
        let origin = origin.unwrap_or_else(|| self.publisher.name().to_owned());
        if !topic.is_empty() && !self.is_topic(&topic, draft.kind(), &origin) {
            let right = format!("{}.{origin}", topic::word(draft.kind()));
            return Err(invalid(format!(
                "topic {topic:?} is not where an event of this type and origin is told, which is {right:?}: leave it empty"
            )));
        }
        let told = self.publisher.publish(draft, How { origin: Some(&origin), ..How::default() });
        told.map(drop).map_err(|error| match error {
            PublishError::RateLimited { .. } => {
                CallError::of(Status::FULL, ErrorBody { transient: true, ..ErrorBody::new(error.to_string()) })
            }
            _ => invalid(error.to_string()),
        })
    }
}

impl Source {
    /// Whether a topic is where an event is told: under its type's name, or its number.
    fn is_topic(&self, topic: &str, kind: &str, origin: &str) -> bool {
        let Some(of) = topic.strip_suffix(origin).and_then(|of| of.strip_suffix('.')) else { return false };
        self.events.catalogue().find(of).iter().any(|one| &*one.name == kind)
    }
}
