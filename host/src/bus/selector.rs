//! Which tables a subscription is to.

use super::address::{Address, is_table_name};
use super::pattern::{BadPattern, Pattern};
use std::fmt;
use std::str::FromStr;

/// Tables by address: `service/table`, either side with `*` (one word) and `#` (any number of words).
///
/// The service side meets a service's name and its shared addresses. A hidden one (`_…`) is met only when asked for: by a
/// pattern whose first word begins with `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    service: Pattern,
    table: Tables,
    /// The one address that it can be, when it has no wildcard.
    literal: Option<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Tables {
    One(String),
    Some(Pattern),
}

/// Why a text selects no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// There is no slash.
    #[error("{0:?} selects no table: write service/table, where * is any word and # any number of words")]
    NoSlash(String),
    /// One side is no pattern.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The table's name can't be one.
    #[error(
        "{0:?} selects no table: a table's name is not empty, has no slash or control character, and at most 255 bytes"
    )]
    Table(String),
}

fn has_wildcard(text: &str) -> bool {
    text.split('.').any(|word| word == "*" || word == "#")
}

impl Selector {
    /// The pattern for services.
    #[must_use]
    pub fn service(&self) -> &Pattern {
        &self.service
    }

    /// The one address that is meant, when there is no wildcard.
    #[must_use]
    pub fn literal(&self) -> Option<&Address> {
        self.literal.as_ref()
    }

    /// Whether a table of this name is meant.
    #[must_use]
    pub fn has_table(&self, table: &str) -> bool {
        match &self.table {
            Tables::One(name) => name == table,
            Tables::Some(pattern) => pattern.matches(table),
        }
    }

    /// Whether a service that listens on `address` is meant.
    #[must_use]
    pub fn has_service(&self, address: &str) -> bool {
        self.service.matches(address) && (!address.starts_with('_') || self.service.to_string().starts_with('_'))
    }
}

impl From<&Address> for Selector {
    fn from(address: &Address) -> Self {
        Self {
            service: Pattern::literal(address.service()),
            table: Tables::One(address.table().to_owned()),
            literal: Some(address.clone()),
        }
    }
}

impl From<Address> for Selector {
    fn from(address: Address) -> Self {
        Self::from(&address)
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let Some((service, table)) = text.split_once('/') else { return Err(BadSelector::NoSlash(text.to_owned())) };
        if !is_table_name(table) {
            return Err(BadSelector::Table(text.to_owned()));
        }
        let pattern: Pattern = service.parse()?;
        let table = if has_wildcard(table) { Tables::Some(table.parse()?) } else { Tables::One(table.to_owned()) };
        let literal = match &table {
            Tables::One(name) if pattern.is_literal() => Address::new(service, name).ok(),
            _ => None,
        };
        Ok(Self { service: pattern, table, literal })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Tables::One(name) => write!(f, "{}/{name}", self.service),
            Tables::Some(pattern) => write!(f, "{}/{pattern}", self.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_matched_and_hidden_services_only_when_asked_for() {
        let all: Selector = "#/#".parse().unwrap();
        assert!(all.has_service("web.north") && all.has_table("a.b") && all.literal().is_none());
        assert!(!all.has_service("_host"));
        let hidden: Selector = "_host/*".parse().unwrap();
        assert!(hidden.has_service("_host") && hidden.has_table("tables") && !hidden.has_table("a.b"));
        let one: Selector = "web/orders of May".parse().unwrap();
        assert_eq!(one.literal().map(ToString::to_string).as_deref(), Some("web/orders of May"));
        assert_eq!(all.to_string(), "#/#");
        assert_eq!(Selector::from("web/x".parse::<Address>().unwrap()), "web/x".parse().unwrap());
    }

    #[test]
    fn what_selects_nothing() {
        let why = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert_eq!(
            why("web"),
            "\"web\" selects no table: write service/table, where * is any word and # any number of words"
        );
        assert_eq!(
            why("web/"),
            "\"web/\" selects no table: a table's name is not empty, has no slash or control character, and at most 255 \
             bytes"
        );
        assert!(why("a..b/c").contains("a..b"));
    }
}
