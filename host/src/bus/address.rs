//! How services and tables are named.

use std::fmt;
use std::str::FromStr;

/// A table's name on the bus: `service/table`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    service: String,
    table: String,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not service/table, where a service is words of A-Z a-z 0-9 _ - joined by dots: {why}")]
pub struct BadAddress {
    text: String,
    why: &'static str,
}

/// Whether `name` may name a service: dot-separated words of letters, digits, `_` and `-`, 255 characters at most.
#[must_use]
pub fn is_service_name(name: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    name.len() <= 255 && name.split('.').all(word)
}

/// Whether `name` may name a table: not empty, no control character, no `/`, 255 bytes at most.
#[must_use]
pub fn is_table_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains('/') && !name.chars().any(char::is_control)
}

impl Address {
    /// The table `table` of the service `service`.
    ///
    /// # Errors
    ///
    /// When one of them can't be a name.
    pub fn new(service: &str, table: &str) -> Result<Self, BadAddress> {
        let refuse = |why| Err(BadAddress { text: format!("{service}/{table}"), why });
        if !is_service_name(service) {
            return refuse("the service's name is not of that form");
        }
        if !is_table_name(table) {
            return refuse("the table's name is empty, too long, or holds a slash or control character");
        }
        Ok(Self { service: service.to_owned(), table: table.to_owned() })
    }

    /// The place before a service's first table, for ranges.
    pub(crate) fn first_of(service: &str) -> Self {
        Self { service: service.to_owned(), table: String::new() }
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.table)
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.split_once('/') {
            Some((service, table)) => Self::new(service, table),
            None => Err(BadAddress { text: text.to_owned(), why: "there is no slash" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web.north-1.x_y", "_host"] {
            assert!(is_service_name(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a/b", "ä", &"x".repeat(256)] {
            assert!(!is_service_name(bad), "{bad}");
        }
        assert_eq!("a.b/c d".parse::<Address>().map(|a| a.to_string()), Ok("a.b/c d".to_owned()));
        assert_eq!(
            "ab".parse::<Address>().map_err(|e| e.to_string()),
            Err(
                "\"ab\" is not service/table, where a service is words of A-Z a-z 0-9 _ - joined by dots: there is no \
                 slash"
                    .to_owned()
            )
        );
    }
}
