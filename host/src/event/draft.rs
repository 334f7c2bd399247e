//! An event in the making.

use super::catalogue::{Catalogue, EventType, PREFIX, Role, read_all};
use super::envelope::{self, Data, Event, EventError, MAX_DEPTH, MAX_EVENT, Subject, attribute_of, common, is_common};
use super::topic::{self, BadOrigin, Words, check_origin};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// An event in the making: made of a type and fields, may be changed, and is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    of: Option<Arc<EventType>>,
    kind: Arc<str>,
    origin: Option<String>,
    /// What it says of that, as it came.
    subject: Subject,
    time: Option<Timestamp>,
    id: Option<String>,
    source: Option<String>,
    extensions: Map<String, Value>,
    content_type: Option<String>,
    schema: Option<String>,
    data: Data,
}

/// The type of that name or number, if it can be published.
fn publishable(catalogue: &Catalogue, name_or_id: &str) -> Result<Arc<EventType>, EventError> {
    let found = catalogue.find(name_or_id);
    let mut events = found.iter().filter(|one| one.role == Role::Event);
    match (events.next(), events.next(), found.first()) {
        (Some(one), None, _) => Ok(Arc::clone(one)),
        (Some(_), Some(_), _) => Err(EventError::Ambiguous {
            id: name_or_id.parse().unwrap_or_default(),
            names: found.iter().map(|one| one.name.to_string()).collect(),
        }),
        (None, _, Some(one)) => Err(EventError::NotPublished {
            name: one.name.to_string(),
            why: match one.role {
                Role::Raw => "what comes of it is in no envelope; it can be subscribed to",
                Role::Base | Role::Event => "it is a base, publish one of the types that are of it",
            },
        }),
        (None, _, None) => {
            Err(EventError::NoType { name: name_or_id.to_owned(), nearest: catalogue.nearest(name_or_id) })
        }
    }
}

/// The type of that whole name.
fn whole(catalogue: &Catalogue, name: &str) -> Option<Arc<EventType>> {
    catalogue.get(name).filter(|of| topic::word(&of.name) == topic::word(name))
}

impl Draft {
    /// Who says it, if it came from elsewhere.
    pub(super) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// What it says in an attribute of its own, as text.
    pub(super) fn said(&self, attribute: &str) -> Option<Cow<'_, str>> {
        match self.extensions.get(attribute)? {
            Value::String(text) => Some(text.into()),
            // A name may look like a number.
            other => Some(other.to_string().into()),
        }
    }

    /// An event of a type, by its name or its number, with these fields: those that all events have, and those of its own.
    /// None is needed but those that a type requires.
    ///
    /// # Errors
    ///
    /// There is no such type, or a field is none of its.
    pub fn create(catalogue: &Catalogue, of: &str, fields: Map<String, Value>) -> Result<Self, EventError> {
        let of = publishable(catalogue, of)?;
        let (all, own): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(name, _)| is_common(name));
        let mut draft = Self::empty(Arc::clone(&of.name), Some(of));
        draft.data = Data::Json(Value::Object(draft.read(own.into_iter().collect())?));
        for (name, value) in all {
            draft.set(&name, value)?;
        }
        Ok(draft)
    }

    /// The same, of a type that may be nobody's: unless `strict`, one with a domain before its name, as in
    /// `com.example.door`, passes with whatever fields it has.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn open(catalogue: &Catalogue, of: &str, fields: Map<String, Value>, strict: bool) -> Result<Self, EventError> {
        let is_others = of.contains(['.', '/', ':']) && !topic::word(of).starts_with(&topic::word(PREFIX));
        if strict || !is_others || catalogue.get(of).is_some() || !topic::is_word(of) {
            return Self::create(catalogue, of, fields);
        }
        let (all, own): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(|(name, _)| is_common(name));
        if own.values().map(envelope::depth).max().unwrap_or_default() >= MAX_DEPTH {
            return Err(EventError::TooDeep);
        }
        let mut draft = Self::empty(of.into(), None);
        draft.data = Data::Json(Value::Object(own));
        all.into_iter().try_for_each(|(name, value)| draft.set(&name, value))?;
        Ok(draft)
    }

    fn empty(kind: Arc<str>, of: Option<Arc<EventType>>) -> Self {
        Self {
            of,
            kind,
            origin: None,
            subject: Subject::Origin,
            time: None,
            id: None,
            source: None,
            extensions: Map::new(),
            content_type: None,
            schema: None,
            data: Data::None,
        }
    }

    /// Of a CloudEvent in JSON. Its type is the whole name of one, not a number or the host's own names without their prefix;
    /// one that nobody described passes as it is, unless `strict`; its origin is its subject, else its source.
    ///
    /// # Errors
    ///
    /// It is none, or not what its type says.
    pub fn of_json(catalogue: &Catalogue, event: Value, strict: bool) -> Result<Self, EventError> {
        let parts = envelope::parse(event)?;
        let of = match whole(catalogue, &parts.kind) {
            Some(of) => Some(publishable(catalogue, &of.name)?),
            None if strict => {
                let short = catalogue.find(&parts.kind).first().map(|of| of.name.to_string());
                let nearest = short.or_else(|| catalogue.nearest(&parts.kind));
                return Err(EventError::NoType { name: parts.kind, nearest });
            }
            // One word of a topic, as any type; of nobody's.
            None if topic::is_word(&parts.kind) => None,
            None => {
                let why =
                    format!("its \"type\" is too long: it may have {} bytes as a word of a topic", topic::MAX_ORIGIN);
                return Err(EventError::Malformed(why));
            }
        };
        // To whom it happened that another system tells of, if not to itself.
        let is_meant = of.is_some() || parts.subject.as_ref().is_some_and(|subject| subject != "unknown");
        let mut draft = Self {
            kind: of.as_ref().map_or_else(|| parts.kind.as_str().into(), |of| Arc::clone(&of.name)),
            origin: if is_meant { parts.subject.clone() } else { Some(parts.source.clone()) },
            subject: match parts.subject {
                _ if is_meant => Subject::Origin,
                said => Subject::Unsaid(said.map(Into::into)),
            },
            of,
            time: parts.time,
            id: Some(parts.id),
            source: Some(parts.source),
            extensions: parts.extensions,
            content_type: parts.content_type,
            schema: parts.schema,
            data: parts.data,
        };
        if let Some(of) = &draft.of {
            let data = match std::mem::replace(&mut draft.data, Data::None) {
                Data::None => Map::new(),
                Data::Json(Value::Object(data)) => data,
                _ => {
                    let why = format!("the \"data\" of {} must be a JSON object", of.name);
                    return Err(EventError::Malformed(why));
                }
            };
            draft.data = Data::Json(Value::Object(draft.read(data)?));
        }
        Ok(draft)
    }

    /// Values of its own fields, as they are kept.
    fn read(&self, given: Map<String, Value>) -> Result<Map<String, Value>, EventError> {
        let Some(of) = &self.of else { return Ok(given) };
        if let Some(both) = given.keys().find(|name| is_common(name)) {
            return Err(EventError::Both(both.clone()));
        }
        if given.values().map(envelope::depth).max().unwrap_or_default() >= MAX_DEPTH {
            return Err(EventError::TooDeep);
        }
        read_all(&of.fields, given).map_err(|error| EventError::Field { name: of.name.to_string(), error })
    }

    /// Sets one of its fields: one that all events have, or one of its own.
    ///
    /// # Errors
    ///
    /// It has none of that name, or it can't be that; nothing was changed.
    pub fn set(&mut self, field: &str, value: Value) -> Result<(), EventError> {
        let fault = |error| EventError::Field { name: self.kind.to_string(), error };
        match (field, attribute_of(field)) {
            ("origin", _) => self.origin = common(field, value).map_err(fault)?.as_str().map(str::to_owned),
            ("datetime", _) => {
                let value = common(field, value).map_err(fault)?;
                self.time = Some(envelope::time(&value).map_err(fault)?);
            }
            (_, Some(attribute)) => {
                let value = common(field, value).map_err(fault)?;
                self.extensions.insert(attribute.to_owned(), value);
            }
            _ => {
                let mut data = match &self.data {
                    Data::Json(Value::Object(data)) => data.clone(),
                    _ => Map::new(),
                };
                data.insert(field.to_owned(), value);
                self.data = Data::Json(Value::Object(self.read(data)?));
            }
        }
        Ok(())
    }

    /// A field's value, if it was given.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<Value> {
        match (field, attribute_of(field)) {
            ("origin", _) => self.origin.as_ref().map(|origin| json!(origin)),
            ("datetime", _) => self.time.map(|time| json!(time.to_string())),
            (_, Some(attribute)) => self.extensions.get(attribute).cloned(),
            _ => match &self.data {
                Data::Json(data) => data.get(field).cloned(),
                _ => None,
            },
        }
    }

    /// To what it happens.
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    /// The type's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The event, as it is told from now on. `origin`: instead of its own; `last`: if it has none.
    pub(super) fn finish(
        self,
        now: Timestamp,
        words: Arc<Words>,
        origin: Option<&str>,
        last: Option<&str>,
        sender: Option<&str>,
        made: impl FnOnce() -> (String, Arc<str>),
    ) -> Result<Event, EventError> {
        let is_told = origin.is_some();
        let said = origin.map(str::to_owned).or(self.origin).or_else(|| last.map(str::to_owned)).unwrap_or_default();
        let (origin, subject) = match self.source {
            // Others need not know what can stand in a topic here.
            Some(_) => {
                let origin = topic::foreign_origin(&said).ok_or(BadOrigin::None)?;
                let own = if is_told { Subject::Origin } else { self.subject };
                let subject = match own {
                    Subject::Origin if origin != said => Subject::Other(said.into()),
                    subject => subject,
                };
                (origin, subject)
            }
            None => {
                check_origin(&said)?;
                (said, Subject::Origin)
            }
        };
        let mut extensions = self.extensions;
        // What came from elsewhere says itself whose it is.
        if let Some(sender) = sender.filter(|_| self.source.is_none()) {
            // Who says it is who says it: nobody speaks for others.
            extensions.insert("sender".to_owned(), json!(sender));
        }
        let (id, source) = match (self.id, self.source) {
            (Some(id), Some(source)) => (id, source.into()),
            _ => made(),
        };
        let event = Event {
            id,
            source,
            kind: self.kind,
            of: self.of,
            origin: origin.into(),
            subject,
            time: self.time.unwrap_or(now),
            home: None,
            extensions,
            content_type: self.content_type,
            schema: self.schema,
            data: self.data,
            words,
        };
        match event.bytes() {
            bytes if bytes > MAX_EVENT => Err(EventError::TooLarge { bytes }),
            _ => Ok(event),
        }
    }
}

impl Event {
    /// About how large it is, in bytes of JSON.
    pub(super) fn bytes(&self) -> usize {
        let data = match &self.data {
            Data::None => 0,
            Data::Json(value) => size(value),
            Data::Text(text) | Data::Binary(text) => text.len(),
        };
        let extensions: usize = self.extensions.iter().map(|(name, value)| name.len() + 4 + size(value)).sum();
        let rest = [&self.source, &self.kind, &self.origin].iter().map(|text| text.len()).sum::<usize>();
        let rest = rest
            + match &self.subject {
                Subject::Other(text) | Subject::Unsaid(Some(text)) => text.len(),
                Subject::Origin | Subject::Unsaid(None) => 0,
            };
        160 + self.id.len() + rest + extensions + data + self.schema.as_ref().map_or(0, String::len)
    }
}

/// About the bytes of a value in JSON: what is escaped takes more, most numbers less.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 20,
        Value::String(text) => 2 + text.len(),
        Value::Array(all) => 2 + all.iter().map(|one| 1 + size(one)).sum::<usize>(),
        Value::Object(all) => 2 + all.iter().map(|(name, one)| 4 + name.len() + size(one)).sum::<usize>(),
    }
}
