//! What a query about events asks for.

use super::consumer::MOST_UNCONFIRMED;
use super::fault::Fault;
use crate::event::{Catalogue, Filter, Listening, MAX_PAGE, Place, Query, Topics, is_type_name};
use crate::http::error::Error;
use crate::http::extract::bad_query;
use jiff::{SignedDuration, Timestamp};

/// What a page of the past may be asked by.
pub(super) const OF_PAGES: [&str; 11] =
    ["type", "origin", "pattern", "family", "where", "since", "after", "before", "limit", "latest", "archived"];
/// An answer has no more bytes of events, about; where to go on is said.
const MOST_BYTES: usize = 8 << 20;

/// What a stream may be asked by.
pub(super) const OF_STREAMS: [&str; 8] = ["type", "origin", "pattern", "family", "where", "queue", "confirm", "after"];

/// What a query asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    topics: Option<Topics>,
    filters: Vec<Filter>,
    since: Option<Timestamp>,
    limit: Option<usize>,
    latest: bool,
    pub(super) queue: Option<String>,
    /// Those who share the queue confirm what went well, and so many at most are on their way before they do.
    pub(super) confirm: Option<usize>,
    /// Those of the archive, which has places of its own.
    pub(super) archived: bool,
    pub(super) after: Option<String>,
    before: Option<String>,
}

impl Asked {
    /// `known`: what may be asked by here.
    pub(super) fn read(
        catalogue: &Catalogue,
        query: Option<&str>,
        known: &'static [&'static str],
    ) -> Result<Self, Error> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default()).map_err(bad_query)?;
        Ok(Self::of(catalogue, pairs, known)?)
    }

    fn of(catalogue: &Catalogue, pairs: Vec<(String, String)>, known: &'static [&'static str]) -> Result<Self, Fault> {
        let (mut asked, mut seen) = (Self::default(), Vec::new());
        let (mut of, mut origin, mut pattern, mut family) = (None, None, None, None);
        for (name, value) in pairs {
            let Some(name) = known.iter().copied().find(|known| *known == name) else {
                return Err(Fault::Unknown { name, known });
            };
            if name != "where" && seen.contains(&name) {
                return Err(Fault::Twice(name));
            }
            seen.push(name);
            match name {
                "type" => of = Some(value),
                "origin" => origin = Some(value),
                "pattern" => pattern = Some(value),
                "family" => family = Some(value),
                "where" => asked.filters.push(value.parse()?),
                "since" => asked.since = Some(since(&value, Timestamp::now()).ok_or(Fault::Since(value))?),
                "after" => asked.after = Some(value),
                "before" => asked.before = Some(value),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                    asked.limit = Some(limit.ok_or(Fault::Limit(value))?);
                }
                "confirm" => {
                    let most = value.parse().ok().filter(|most| (1..=MOST_UNCONFIRMED).contains(most));
                    asked.confirm = Some(most.ok_or(Fault::Confirm(value))?);
                }
                "latest" => asked.latest = value.parse().map_err(|_| Fault::Flag { name, value })?,
                "archived" => asked.archived = value.parse().map_err(|_| Fault::Flag { name, value })?,
                // A type's name is as long, and has the same characters.
                _ => {
                    asked.queue =
                        Some(Some(value.clone()).filter(|name| is_type_name(name)).ok_or(Fault::Queue(value))?)
                }
            }
        }
        if asked.confirm.is_some() && asked.queue.is_none() {
            return Err(Fault::ConfirmAndNoQueue);
        }
        let family = family.map(|family| whole(catalogue, &family));
        asked.topics = match (of.as_deref(), family.as_deref(), origin.as_deref(), pattern.as_deref()) {
            (None, None, None, None) => None,
            (None, None, None, Some(pattern)) => Some(Topics::matching(catalogue, pattern)?),
            (_, _, _, Some(_)) => return Err(Fault::PatternAndMore),
            (Some(_), Some(_), _, _) => return Err(Fault::TypeAndFamily),
            (of, family, origin, None) => Some(Topics::new(catalogue, of.or(family), origin)?),
        };
        Ok(asked)
    }

    /// The place behind which it goes on.
    pub(super) fn place(&self) -> Result<Option<Place>, Fault> {
        Ok(self.after.as_deref().map(str::parse).transpose()?)
    }

    /// The place before which it ends.
    pub(super) fn end(&self) -> Result<Option<Place>, Fault> {
        Ok(self.before.as_deref().map(str::parse).transpose()?)
    }

    /// The same as [`place`](Self::place), of the archive.
    pub(super) fn archived_place(&self) -> Result<Option<u64>, Fault> {
        if self.before.is_some() {
            return Err(Fault::BeforeAndArchived);
        }
        let read = |text: &String| text.parse().map_err(|_| Fault::Archived(text.clone()));
        self.after.as_ref().map(read).transpose()
    }

    /// As a question to the history.
    pub(super) fn query(self, after: Option<u64>, before: Option<u64>) -> Query {
        let Self { topics, filters, since, limit, latest, .. } = self;
        Query { topics, filters, since, after, before, limit, bytes: Some(MOST_BYTES), latest }
    }

    /// As what somebody listens to.
    pub(super) fn listening(self) -> Listening {
        Listening { topics: self.topics, filters: self.filters, ..Listening::default() }
    }
}

/// The type and all that are of it; it may be given by its number.
fn whole(catalogue: &Catalogue, family: &str) -> String {
    match catalogue.find(family).as_slice() {
        [one] => format!("{}+", one.name),
        _ => format!("{family}+"),
    }
}

/// A time, or how long ago it was.
fn since(text: &str, now: Timestamp) -> Option<Timestamp> {
    let ago = || {
        let ago = SignedDuration::try_from(humantime::parse_duration(text).ok()?).ok()?;
        now.checked_sub(ago).ok()
    };
    text.parse().ok().or_else(ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Asked, Fault> {
        let pairs = serde_urlencoded::from_str(query).unwrap();
        Asked::of(&Catalogue::default(), pairs, &OF_PAGES)
    }

    #[test]
    fn topics_in_every_form() {
        for (query, topics) in [
            ("", None),
            ("limit=3", None),
            ("type=ScheduleEvent", Some("busway/ScheduleEvent.#")),
            ("type=4001&origin=chan1.*", Some("4001.chan1.*")),
            ("origin=a.b", Some("*.a.b")),
            ("family=ResourceLifecycleEvent", Some("busway/ResourceLifecycleEvent+.#")),
            ("family=1001&origin=x", Some("busway/ResourceLifecycleEvent+.x")),
            ("pattern=%23.x", Some("#.x")),
        ] {
            let asked = read(query).unwrap();
            assert_eq!(asked.topics.as_ref().map(Topics::as_str), topics, "{query}");
        }
    }

    #[test]
    fn times_are_absolute_or_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(since("10m", now), "2026-01-31T11:50:00Z".parse().ok());
        assert_eq!(since("1h 30s", now), "2026-01-31T10:59:30Z".parse().ok());
        assert_eq!(since("2026-01-30T12:00:00+02:00", now), "2026-01-30T10:00:00Z".parse().ok());
        assert_eq!((since("yesterday", now), since("", now), since("9999999999y", now)), (None, None, None));
    }
}
