//! A type of events as JSON, for those outside; and back.

use super::{EventType, Field, Kind, Owner, Role, schema_of};
use serde_json::{Map, Value, json};

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Texts => "texts",
            Self::OneOf(_) => "one_of",
            Self::Json => "any",
        }
    }
}

/// A type as JSON, with the schema of its data.
#[must_use]
pub fn describe(one: &EventType) -> Value {
    let owner = match &one.owner {
        Owner::Host => json!({"kind": "host"}),
        Owner::Driver(id) => json!({"kind": "driver", "driver": id}),
        Owner::Operator => json!({"kind": "operator"}),
    };
    json!({
        "type": &*one.name, "id": one.id, "base": one.base.as_deref(), "message": one.message, "role": one.role.as_str(),
        "about": one.about, "origin": one.origin, "owner": owner,
        "fields": one.fields.iter().map(field).collect::<Vec<_>>(), "schema": schema_of(one),
    })
}

fn field(field: &Field) -> Value {
    let mut said = json!({"name": field.name, "kind": field.kind.as_str()});
    if let Kind::OneOf(names) = &field.kind {
        said["values"] = names.iter().map(|(name, number)| (name.clone(), json!(number))).collect::<Map<_, _>>().into();
    }
    said["required"] = json!(field.required);
    said["about"] = json!(field.about);
    said
}

/// The type that was described so; what a later host may say besides is passed over. None: it is no description.
#[must_use]
pub fn described(said: &Value) -> Option<EventType> {
    let text = |key: &str| said[key].as_str();
    let number = |key: &str| said[key].as_u64().and_then(|number| u32::try_from(number).ok());
    let role = match text("role")? {
        "base" => Role::Base,
        "raw" => Role::Raw,
        _ => Role::Event,
    };
    let owner = match (said["owner"]["kind"].as_str()?, said["owner"]["driver"].as_str()) {
        ("host", _) => Owner::Host,
        (_, Some(driver)) => Owner::Driver(driver.to_owned()),
        _ => Owner::Operator,
    };
    Some(EventType {
        name: text("type")?.into(),
        id: number("id"),
        base: text("base").map(Into::into),
        message: number("message"),
        role,
        fields: said["fields"].as_array()?.iter().map(field_of).collect::<Option<_>>()?,
        origin: text("origin").unwrap_or_default().to_owned(),
        about: text("about").unwrap_or_default().to_owned(),
        owner,
    })
}

fn field_of(said: &Value) -> Option<Field> {
    let kind = match said["kind"].as_str()? {
        "text" => Kind::Text,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "texts" => Kind::Texts,
        "one_of" => {
            let values = said["values"].as_object()?.iter();
            Kind::OneOf(values.map(|(name, number)| Some((name.clone(), number.as_i64()?))).collect::<Option<_>>()?)
        }
        _ => Kind::Json,
    };
    let mut field = Field::new(said["name"].as_str()?, kind, said["about"].as_str().unwrap_or_default());
    field.required = said["required"] == true;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;
    use super::*;

    #[test]
    fn every_type_is_described_whole() {
        for one in Catalogue::default().all() {
            assert_eq!(described(&describe(&one)).as_ref(), Some(&*one));
        }
        let (name, base) = ("acme.door".into(), Some("busway.Event".into()));
        let fields = vec![Field { required: true, ..Field::new("open", Kind::Boolean, "Whether it is") }];
        let owner = Owner::Driver("doors".to_owned());
        let (origin, about, role) = ("the door".to_owned(), "A door moved".to_owned(), Role::Event);
        let one = EventType { name, id: None, base, message: None, role, fields, origin, about, owner };
        assert_eq!(described(&describe(&one)), Some(one));
        assert_eq!((described(&json!({})), described(&json!(7))), (None, None));
    }
}
