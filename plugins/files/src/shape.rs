//! What a JSON value is, learnt from all the values at its place.

use busway_plugin_api::arrow_schema::{DataType, Field, Fields};
use busway_plugin_api::serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The type of all values so far at one place of the rows.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    /// Nulls alone.
    Unknown,
    Boolean,
    Integer,
    Float,
    Text,
    List(Items),
    Struct(Object),
    /// Its type is declared: nothing is learnt of it.
    Declared,
}

/// The items of all lists at one place.
#[derive(Debug, PartialEq)]
pub(crate) struct Items {
    shape: Box<Shape>,
    count: u64,
}

/// The keys of the objects at one place, in the order in which they came up.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Object {
    keys: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
    /// Keys of which nothing is learnt.
    declared: HashSet<String>,
}

impl Object {
    /// Of rows with these declared columns.
    pub(crate) fn of_rows(declared: impl IntoIterator<Item = String>) -> Self {
        Self { declared: declared.into_iter().collect(), ..Self::default() }
    }

    /// Learns from one more row.
    pub(crate) fn learn_row(&mut self, row: &Map<String, Value>) -> Result<(), String> {
        self.learn(row, &String::new)
    }

    /// Learns from one more object. `path` is its place, for messages: empty for a row.
    fn learn(&mut self, object: &Map<String, Value>, path: &dyn Fn() -> String) -> Result<(), String> {
        for (i, (key, value)) in object.iter().enumerate() {
            if key.is_empty() || key.contains('\0') {
                let path = path();
                let within = if path.is_empty() { path } else { format!(" in {path:?}") };
                let what = if key.is_empty() { "that is empty" } else { "that holds a zero byte" };
                return Err(format!("a key{within} {what}: no column can be named so"));
            }
            // Most rows have the same keys in the same order.
            let known = match self.keys.get(i) {
                Some((name, _)) if name == key => Some(i),
                _ => self.places.get(key).copied(),
            };
            let known = known.unwrap_or_else(|| {
                self.places.insert(key.clone(), self.keys.len());
                let declared = self.declared.contains(key);
                self.keys.push((key.clone(), if declared { Shape::Declared } else { Shape::Unknown }));
                self.keys.len() - 1
            });
            let place = || match path() {
                path if path.is_empty() => key.clone(),
                path => format!("{path}.{key}"),
            };
            self.keys[known].1.learn(value, &place)?;
        }
        Ok(())
    }

    /// As columns, but for those that are declared.
    pub(crate) fn fields(&self) -> Fields {
        let learnt = self.keys.iter().filter(|(_, shape)| *shape != Shape::Declared);
        learnt.map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect()
    }

    /// All keys that came up, and then the declared ones that never did.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut absent: Vec<&str> =
            self.declared.iter().filter(|name| !self.places.contains_key(*name)).map(String::as_str).collect();
        absent.sort_unstable();
        self.keys.iter().map(|(name, _)| name.as_str()).chain(absent).collect()
    }

    /// How many cells, nulls among them, columns of so many objects have.
    pub(crate) fn cells(&self, objects: u64) -> u64 {
        self.keys
            .iter()
            .fold(0, |sum: u64, (_, shape)| sum.saturating_add(objects).saturating_add(shape.cells(objects)))
    }
}

impl Shape {
    fn learn(&mut self, value: &Value, path: &dyn Fn() -> String) -> Result<(), String> {
        if *self == Self::Unknown {
            *self = Self::of(value);
        }
        match (&mut *self, value) {
            (Self::Declared, _)
            | (_, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Float, Value::Number(_))
            | (Self::Text, Value::String(_)) => Ok(()),
            (Self::Integer, Value::Number(number)) => {
                if !number.is_i64() {
                    *self = Self::Float;
                }
                Ok(())
            }
            (Self::List(items), Value::Array(values)) => {
                items.count += values.len() as u64;
                values.iter().try_for_each(|value| items.shape.learn(value, &|| format!("{}[]", path())))
            }
            (Self::Struct(object), Value::Object(value)) => object.learn(value, path),
            (earlier, value) => {
                Err(format!("{:?} is {} here and {} before", path(), Self::of(value).name(), earlier.name()))
            }
        }
    }

    /// Of one value, without what is in it.
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Unknown,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List(Items { shape: Box::new(Self::Unknown), count: 0 }),
            Value::Object(_) => Self::Struct(Object::default()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Declared => "null",
            Self::Boolean => "true or false",
            Self::Integer | Self::Float => "a number",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Struct(_) => "an object",
        }
    }

    fn cells(&self, values: u64) -> u64 {
        match self {
            Self::List(items) => items.count.saturating_add(items.shape.cells(items.count)),
            Self::Struct(object) => object.cells(values),
            _ => 0,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::List(items) => DataType::List(Arc::new(Field::new_list_field(items.shape.data_type(), true))),
            Self::Struct(object) => DataType::Struct(object.fields()),
            // A column of Arrow's null type helps no consumer.
            Self::Unknown | Self::Declared | Self::Text => DataType::Utf8,
        }
    }
}

/// What a value is, for messages.
pub(crate) fn name(value: &Value) -> &'static str {
    Shape::of(value).name()
}
