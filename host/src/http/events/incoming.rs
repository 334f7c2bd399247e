//! Events that clients publish: CloudEvents in the structured, the batched and the binary mode of its HTTP binding, and a short
//! form for people.

use crate::event::{Data, Draft, EventError, Events, How, MAX_PAGE, PublishError, Receipt};
use crate::http::State;
use crate::http::error::{Error, MOST_BYTES, parsed, unread};
use crate::http::extract::Query;
use crate::http::json::Unique;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use busway_plugin_api::options::nearest;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// So many events are in one batch at most.
const MOST: usize = MAX_PAGE;
/// What the short form has besides `data`.
const SHORT: [&str; 9] =
    ["type", "origin", "data_resource_id", "name", "status", "description", "datetime", "body", "user_id"];
/// What only a CloudEvent has.
const OF_CLOUDEVENTS: [&str; 4] = ["specversion", "id", "source", "subject"];
/// The headers of the binary mode begin so.
const PREFIX: &str = "ce-";

/// How it is to be published.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Wish {
    #[serde(default)]
    mandatory: bool,
}

/// What came: one event or several, each a CloudEvent in JSON or in the short form.
#[derive(Debug, PartialEq)]
enum Came {
    One(Value),
    Several(Vec<Value>),
}

/// Tells who listens. Answered when it is in their queues and in the history: what they make of it is their affair.
pub(in crate::http) async fn publish(
    Extract(state): Extract<State>,
    Query(Wish { mandatory }): Query<Wish>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let body = body.map_err(|e| unread(&e, MOST_BYTES, ": send several batches, or where the rest is to be had"))?;
    let session = state.sessions.speaking(&headers)?;
    let publisher = session.as_ref().map_or(&*state.publisher, |session| &session.publisher);
    let events = &state.happenings.events;
    let how = How { origin: None, mandatory };
    let shown = |receipt: Receipt| {
        let position = events.place(receipt.position).to_string();
        json!({"id": receipt.id, "position": position, "listeners": receipt.listeners})
    };
    let answer = match came(&headers, &body)? {
        Came::One(event) => shown(publisher.publish(draft(events, event)?, how)?),
        Came::Several(all) => {
            // More than this never pass at once.
            let most = events.settings().rate.map_or(MOST, |(most, _)| most.min(MOST));
            if all.len() > most {
                let why = format!("the batch has {} events, and may have {most}: send several", all.len());
                return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, why));
            }
            let count = all.len();
            let at = |at: usize, error: Error| {
                error.of(&format!("event {} of {count}", at + 1)).with(json!({"event": at + 1}))
            };
            let drafts = all.into_iter().enumerate().map(|(n, event)| draft(events, event).map_err(|e| at(n, e)));
            let drafts = drafts.collect::<Result<Vec<_>, _>>()?;
            let receipts = publisher.publish_all(drafts, how).map_err(|refused| match *refused.error {
                // Of no one of them.
                limited @ PublishError::RateLimited { .. } => limited.into(),
                error => at(refused.at, error.into()),
            })?;
            json!({"results": receipts.into_iter().map(shown).collect::<Vec<_>>()})
        }
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn came(headers: &HeaderMap, body: &[u8]) -> Result<Came, Error> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let bare = kind.as_deref().map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase());
    let is_cloudevents = bare.as_deref().is_some_and(|kind| kind.starts_with("application/cloudevents"));
    let is_binary = headers.keys().any(|name| name.as_str().starts_with(PREFIX));
    if is_binary && !is_cloudevents {
        return Ok(Came::One(binary(headers, kind.as_deref(), body)?));
    }
    let form = match (bare.as_deref(), is_cloudevents) {
        (Some("application/cloudevents+json"), _) => "the body is a CloudEvent in JSON",
        (Some("application/cloudevents-batch+json"), _) => "the body is a list of CloudEvents in JSON",
        (Some(other), true) => {
            let why = format!("CloudEvents are read in JSON, not as {other}: send application/cloudevents+json");
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        _ => "the body is an event, {\"type\": …, \"origin\": …, \"data\": {…}}, a CloudEvent, or a list of them",
    };
    let Unique(read) = parsed(body, form)?;
    match (read, bare.as_deref()) {
        (Value::Array(_), Some("application/cloudevents+json"))
        | (Value::Object(_), Some("application/cloudevents-batch+json")) => Err(bad(form)),
        (Value::Array(all), _) if is_cloudevents && !all.iter().all(is_cloudevent) => {
            let at = all.iter().position(|one| !is_cloudevent(one)).unwrap_or_default() + 1;
            Err(Error::from(EventError::Malformed("\"specversion\" is missing".to_owned()))
                .of(&format!("event {at} of {}", all.len()))
                .with(json!({"event": at})))
        }
        (Value::Array(all), _) => Ok(Came::Several(all)),
        (one @ Value::Object(_), _) if is_cloudevents && !is_cloudevent(&one) => {
            Err(EventError::Malformed("\"specversion\" is missing".to_owned()).into())
        }
        (one @ Value::Object(_), _) => Ok(Came::One(one)),
        _ => Err(bad(form)),
    }
}

fn bad(form: &str) -> Error {
    Error::bad_request(form).with(json!({"kind": "BadBody"}))
}

fn is_cloudevent(event: &Value) -> bool {
    OF_CLOUDEVENTS.iter().any(|name| event.get(name).is_some())
}

fn draft(events: &Events, event: Value) -> Result<Draft, Error> {
    if is_cloudevent(&event) {
        return Ok(events.foreign(event)?);
    }
    let Value::Object(mut given) = event else {
        return Err(bad("an event is an object: {\"type\": …, \"origin\": …, \"data\": {…}}, or a CloudEvent"));
    };
    let malformed = |why: String| Error::bad_request(why).with(json!({"kind": "BadEvent"}));
    let of = match given.remove("type") {
        Some(Value::String(of)) => of,
        // A number is a name, too.
        Some(Value::Number(of)) => of.to_string(),
        Some(_) => return Err(malformed("\"type\" is the name or the number of an event type".to_owned())),
        None => return Err(malformed("\"type\" is missing: it says which event this is".to_owned())),
    };
    let data = match given.remove("data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data,
        Some(_) => return Err(malformed("\"data\" is an object of the type's own fields".to_owned())),
    };
    if let Some(unknown) = given.keys().find(|name| !SHORT.contains(&name.as_str())) {
        let near = nearest(unknown, SHORT.into_iter().chain(["data"])).map(|near| format!(", did you mean {near:?}?"));
        let near = near.unwrap_or_default();
        let hint = "an event's own fields are in its \"data\"";
        return Err(malformed(format!("there is no field {unknown:?} beside \"data\"{near}: {hint}")));
    }
    // Where all events have it is outside.
    if let Some(both) = data.keys().find(|name| SHORT[1..].contains(&name.as_str()) || *name == "sender") {
        return Err(EventError::Both(both.clone()).into());
    }
    given.extend(data);
    Ok(Draft::open(events.catalogue(), &of, given, events.settings().strict)?)
}

/// The binary mode: attributes are headers, the body is the data.
fn binary(headers: &HeaderMap, kind: Option<&str>, body: &[u8]) -> Result<Value, Error> {
    let malformed = |why: String| Error::from(EventError::Malformed(why));
    let mut event = Map::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        if ["datacontenttype", "data", "data_base64"].contains(&name) {
            let why = "the body is the data, and Content-Type says what it is";
            return Err(malformed(format!("there is no header {PREFIX}{name}: {why}")));
        }
        let value = std::str::from_utf8(value.as_bytes()).ok().and_then(decoded);
        let value =
            value.ok_or_else(|| malformed(format!("the header {PREFIX}{name} is no UTF-8, percent-encoded")))?;
        if event.insert(name.to_owned(), value.into()).is_some() {
            return Err(malformed(format!("the header {PREFIX}{name} is there twice")));
        }
    }
    if body.is_empty() {
        return Ok(Value::Object(event));
    }
    let bare = kind.map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase());
    let is_json = bare.as_deref().is_none_or(|kind| kind.ends_with("/json") || kind.ends_with("+json"));
    let text = || std::str::from_utf8(body).ok().filter(|_| bare.as_deref().is_some_and(|b| b.starts_with("text/")));
    let data = match (is_json, text()) {
        (true, _) => {
            let Unique(data) = parsed(body, "the body is JSON, as its Content-Type says")?;
            Data::Json(data)
        }
        (false, Some(text)) => Data::Text(text.to_owned()),
        (false, None) => Data::Binary(base64::engine::general_purpose::STANDARD.encode(body)),
    };
    if let Some(kind) = kind {
        event.insert("datacontenttype".to_owned(), kind.into());
    }
    match data {
        Data::Json(data) => event.insert("data".to_owned(), data),
        Data::Text(text) => event.insert("data".to_owned(), text.into()),
        Data::Binary(text) => event.insert("data_base64".to_owned(), text.into()),
        Data::None => None,
    };
    Ok(Value::Object(event))
}

/// A header's value: quoted or not, then percent-encoded.
fn decoded(value: &str) -> Option<String> {
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let plain = match inner {
        None => value.to_owned(),
        Some(inner) => {
            let (mut plain, mut letters) = (String::with_capacity(inner.len()), inner.chars());
            while let Some(letter) = letters.next() {
                plain.push(if letter == '\\' { letters.next()? } else { letter });
            }
            plain
        }
    };
    percent_decode_str(&plain).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&str, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn attributes_are_quoted_or_percent_encoded() {
        for (value, plain) in [
            ("plain", Some("plain")),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            ("\"a \\\"b\\\" %25\"", Some("a \"b\" %")),
            ("100%", Some("100%")),
            ("%ff", None),
            ("\"open\\\"", None),
        ] {
            assert_eq!(decoded(value).as_deref(), plain, "{value}");
        }
    }

    #[test]
    fn the_binary_mode_is_the_same_event() {
        let ce = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/x"), ("ce-type", "a.b"), ("ce-ext", "7")];
        let read = |kind: &[(&'static str, &'static str)], body: &[u8]| {
            let Came::One(event) = came(&headers(&[&ce[..], kind].concat()), body).unwrap() else { panic!() };
            event
        };
        let bare = json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "a.b", "ext": "7"});
        let with = |more: Value| {
            let mut all = bare.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(read(&[], b""), bare);
        assert_eq!(read(&[], b"[1]"), with(json!({"data": [1]})));
        let json = [("content-type", "application/vnd.a+json; charset=utf-8")];
        let kind = "application/vnd.a+json; charset=utf-8";
        // As its other modes, it has media types in any case.
        let capital = read(&[("content-type", "application/JSON")], b"{\"a\": 1}");
        assert!(Draft::of_json(Events::default().catalogue(), capital, false).is_ok());
        assert_eq!(read(&json, b"{\"a\": 1}"), with(json!({"datacontenttype": kind, "data": {"a": 1}})));
        let text = read(&[("content-type", "text/plain")], b"hi");
        assert_eq!(text, with(json!({"datacontenttype": "text/plain", "data": "hi"})));
        let bytes = read(&[("content-type", "image/png")], &[0, 1, 255]);
        assert_eq!(bytes, with(json!({"datacontenttype": "image/png", "data_base64": "AAH/"})));
    }
}
