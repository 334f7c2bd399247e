//! JSON as clients send it. A key that stands twice in one object is an error: what was meant is not known, and readers
//! differ in which of the two they take.

use super::error::Error;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use tokio::sync::Semaphore;

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

/// The same of what may wait long for others of its kind: no more of it is at work than has a turn, so that all else finds
/// threads. Who is not there any more when his turn comes is left out.
pub(super) async fn written_in_turn(
    turns: &'static Semaphore,
    make: impl FnOnce() -> Result<Value, Error> + Send + 'static,
) -> Result<Response, Error> {
    let turn = turns.acquire().await.map_err(|error| Error::internal(&error))?;
    written(move || {
        // To the end, whoever has gone meanwhile.
        let _turn = turn;
        make()
    })
    .await
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
    use std::time::Duration;
    use tokio::sync::watch;

    fn read(text: &str) -> Result<Value, String> {
        serde_json::from_str(text).map(|Unique(value)| value).map_err(|e| e.to_string())
    }

    /// As many as there are threads want to be made, and none comes to an end: another finds one all the same.
    #[test]
    fn what_waits_for_others_leaves_threads_for_all_else() {
        static TURNS: Semaphore = Semaphore::const_new(2);
        let runtime =
            tokio::runtime::Builder::new_current_thread().max_blocking_threads(3).enable_all().build().unwrap();
        runtime.block_on(async {
            let (open, gate) = watch::channel(false);
            let make = |gate: &watch::Receiver<bool>| {
                let mut gate = gate.clone();
                let wait = async move { gate.wait_for(|open| *open).await.map(drop) };
                written_in_turn(&TURNS, move || {
                    tokio::runtime::Handle::current().block_on(wait).unwrap();
                    Ok(json!(1))
                })
            };
            let all: Vec<_> = (0..8).map(|_| tokio::spawn(make(&gate))).collect();
            tokio::task::yield_now().await;
            let (gone, _) = all.split_at(4);
            // The turn of who has gone is another's only when what it began has ended.
            gone.iter().for_each(tokio::task::JoinHandle::abort);
            tokio::task::yield_now().await;
            assert_eq!(TURNS.available_permits(), 0);
            let other = tokio::time::timeout(Duration::from_secs(20), tokio::task::spawn_blocking(|| 7)).await;
            assert_eq!(other.expect("it finds no thread").unwrap(), 7);
            open.send_replace(true);
            for one in all.into_iter().skip(4) {
                assert_eq!(one.await.unwrap().unwrap().status(), 200);
            }
        });
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
