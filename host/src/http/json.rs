//! JSON as clients send it. A key that stands twice in one object is an error: what was meant is not known, and readers
//! differ in which of the two they take.

use super::error::Error;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Any value, in none of whose objects a key stands twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unique(pub(super) Value);

/// For serde's `deserialize_with`.
pub(super) fn unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    let values = Vec::<Unique>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|Unique(value)| value).collect())
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

/// An answer that is worth a thread of its own to be made and written: what is large would hold up all others.
pub(super) async fn written(make: impl FnOnce() -> Result<Value, Error> + Send + 'static) -> Result<Response, Error> {
    let write = move || make().map(|made| serde_json::to_vec(&made));
    let written = tokio::task::spawn_blocking(write).await.map_err(|error| Error::internal(&error))?;
    let bytes = written?.map_err(|error| Error::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} stands twice in one object")));
            }
            let Unique(value) = object.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, String> {
        serde_json::from_str(text).map(|Unique(value)| value).map_err(|e| e.to_string())
    }

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_place() {
        for (text, error) in [
            ("{\"a\": 1, \"a\": 1}", "the key \"a\" stands twice in one object at line 1 column 12"),
            ("[{\"b\": {\"\": 1,\n\"\": 2}}]", "the key \"\" stands twice in one object at line 2 column 2"),
            // The same key, written otherwise.
            ("{\"a\": 1, \"\\u0061\": 2}", "the key \"a\" stands twice in one object at line 1 column 17"),
        ] {
            assert_eq!(read(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(read("[{\"a\": {\"a\": 1}}, {\"a\": 2}]"), Ok(json!([{"a": {"a": 1}}, {"a": 2}])));
        assert_eq!(read("[1, 2").unwrap_err(), "EOF while parsing a list at line 1 column 5");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
            let object = prop::collection::btree_map(any::<String>(), inner, 0..5);
            prop_oneof![list, object.prop_map(|map| Value::Object(map.into_iter().collect()))]
        })
    }

    proptest! {
        #[test]
        fn anything_else_is_read_as_it_is(value in value()) {
            prop_assert_eq!(read(&value.to_string()), Ok(value));
        }
    }
}
