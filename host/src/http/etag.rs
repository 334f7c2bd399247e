//! Which states of a thing a client names: those that it has, and those that it means to change.

use super::error::Error;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use serde_json::json;

/// The tags that a header lists, of all times that it was sent.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let given = headers.get_all(name).iter().map(|value| HeaderValue::to_str(value).unwrap_or("?"));
    given.flat_map(|tags| tags.split(',')).map(str::trim)
}

/// A tag without what says that it is a weak one.
fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether what a client has is among what it names: `If-None-Match`. Weak ones count, as is said of this header.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    listed(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || strong(tag) == etag)
}

/// A state of a datasource's record, as its `ETag` names it: the beginning of its id, and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    /// Eight digits.
    pub(super) id: String,
    pub(super) revision: u64,
}

/// The states that a change is for, if it says any: `If-Match: "6ba7b810-3"`. Weak ones count: something between may have
/// made them weak, by compressing an answer say, and they name a record's revision all the same.
///
/// # Errors
///
/// When one of them can't be a datasource's.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<Vec<Tag>>, Error> {
    if !headers.contains_key(IF_MATCH) {
        return Ok(None);
    }
    let mut tags = Vec::new();
    for text in listed(headers, &IF_MATCH) {
        if text == "*" {
            return Ok(None);
        }
        let bare = strong(text).strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let tag = bare.and_then(read).ok_or_else(|| {
            let example = "give the one that an answer had, as in If-Match: \"6ba7b810-3\"";
            let text = format!("If-Match: {text} is no ETag of a datasource: {example}");
            Error::bad_request(text).with(json!({"kind": "BadHeader"}))
        })?;
        tags.push(tag);
    }
    Ok(Some(tags))
}

/// Another thing's tag is one, too: it names no state of a datasource.
fn read(tag: &str) -> Option<Tag> {
    let (id, revision) = tag.rsplit_once('-')?;
    Some(Tag { id: id.to_owned(), revision: revision.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_those_that_are_named() {
        for (given, known) in [
            ("\"1-2-3\"", true),
            ("W/\"1-2-3\"", true),
            ("\"a\", \"1-2-3\"", true),
            ("*", true),
            ("\"1-2\"", false),
            ("1-2-3", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, given.parse().unwrap())]);
            assert_eq!(is_known(&headers, "\"1-2-3\""), known, "{given}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"1-2-3\""));
    }

    #[test]
    fn what_a_change_is_for() {
        let of = |given: &[&str]| {
            let headers = given.iter().map(|text| (IF_MATCH, text.parse().unwrap()));
            let mut map = HeaderMap::new();
            headers.for_each(|(name, value)| {
                map.append(name, value);
            });
            expected(&map)
        };
        let tag = |revision| Tag { id: "6ba7b810".to_owned(), revision };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["*"]), Ok(None));
        assert_eq!(of(&["\"6ba7b810-3\""]), Ok(Some(vec![tag(3)])));
        let several = of(&["W/\"6ba7b810-3\" , \"6ba7b810-4\"", "\"6ba7b810-5\""]);
        assert_eq!(several, Ok(Some(vec![tag(3), tag(4), tag(5)])));
        for bad in ["3", "\"3\"", "6ba7b810-3", "\"6ba7b810-x\"", "", "\"6ba7b810-3\",", "w/\"6ba7b810-3\""] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
    }
}
