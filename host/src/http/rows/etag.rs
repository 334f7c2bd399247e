//! What a client needs not be told again.

use axum::http::{HeaderMap, header};

/// Whether what a client has is among what it names: `If-None-Match`. Weak ones count, as is said of this header.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|tags| tags.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
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
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, given.parse().unwrap())]);
            assert_eq!(is_known(&headers, "\"1-2-3\""), known, "{given}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"1-2-3\""));
    }
}
