//! Where an event stands among all that were published here.

use super::Events;
use super::queue::Told;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;

/// The extension in which an event that is given to others says where it stands.
pub const PLACE: &str = "buswayposition";

/// Where an event stands: a position, and the process in which it is one. Positions begin anew with each process; a place of
/// one is none of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    process: String,
    position: u64,
}

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place among events: give the {PLACE:?} of one, or the \"next\" or \"position\" of an answer, as it is"
)]
pub struct BadPlace(pub String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.process, self.position)
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let read = text.split_once('-').and_then(|(process, position)| {
            let is_hex = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_hexdigit());
            let position = position.parse().ok().filter(|_| is_hex && !position.starts_with('+'))?;
            Some(Self { process: process.to_owned(), position })
        });
        read.ok_or_else(|| BadPlace(text.to_owned()))
    }
}

impl Events {
    /// The place of a position of this process.
    #[must_use]
    pub fn place(&self, position: u64) -> Place {
        Place { process: self.inner.process.clone(), position }
    }

    /// The position of a place, if it is one of this process.
    #[must_use]
    pub fn position_of(&self, place: &Place) -> Option<u64> {
        (place.process == self.inner.process).then_some(place.position)
    }

    /// An event as it is given to others: a CloudEvent in JSON that says where it stands.
    #[must_use]
    pub fn to_json(&self, told: &Told) -> Value {
        let mut event = told.event.to_json();
        event[PLACE] = json!(self.place(told.position).to_string());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_one_process() {
        let (one, other) = (Events::default(), Events::default());
        let place = one.place(7);
        assert_eq!(place.to_string().parse(), Ok(place.clone()));
        assert_eq!((one.position_of(&place), other.position_of(&place)), (Some(7), None));
        for bad in ["", "7", "-7", "ab-", "ab-x", "ab--7", "ab-+7", "xy-7", "ab-7-7", "ab-99999999999999999999"] {
            assert_eq!(bad.parse::<Place>(), Err(BadPlace(bad.to_owned())), "{bad}");
        }
    }
}
