//! Where events are told: `<type or number>.<origin>`, and which of these a subscriber means.
//!
//! A type is one word, with `/` for the dots of its name; an origin is one word or more. Besides its own name an event is
//! told under its number, if it has one, and under `BASE+` for itself and each type that it is of: who subscribes to a base
//! gets what is of it now, and what will be.

use super::catalogue::{Catalogue, EventType, Role};
use crate::bus::{BadPattern, Matcher, Pattern};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest origin, in bytes.
pub const MAX_ORIGIN: usize = 255;

/// Marks a word that means a type and all that are of it.
const FAMILY: char = '+';

/// Why a text can't be an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOrigin {
    /// There is none.
    #[error("an event has no origin: say to what it happened (\"unknown\" is none)")]
    None,
    /// It can't be one.
    #[error("{origin:?} can't be an origin: {why}")]
    Illegal {
        /// How it begins.
        origin: String,
        /// Why not.
        why: &'static str,
    },
}

/// Whether it can be an origin: to what something happened.
///
/// # Errors
///
/// Why not.
pub fn check_origin(origin: &str) -> Result<(), BadOrigin> {
    let illegal = |why| Err(BadOrigin::Illegal { origin: origin.chars().take(60).collect(), why });
    match origin {
        "" | "unknown" => Err(BadOrigin::None),
        _ if origin.len() > MAX_ORIGIN => illegal("it has more than 255 bytes"),
        _ if origin.split('.').any(str::is_empty) => illegal("it has an empty word: take out the dot too many"),
        _ if origin.split('.').any(|word| word.contains(['*', '#'])) => {
            illegal("* and # are for those who subscribe, an event has one origin")
        }
        _ if origin.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            illegal("it has white space or control characters")
        }
        _ => Ok(()),
    }
}

/// A type's name as a word of a topic: `/` for dots. What others' types may have and words may not is percent-encoded: white
/// space, `*`, `#`, a `+` at the end; and the first digit of a number, which would be the catalogue's.
pub(super) fn word(name: &str) -> String {
    let mut word = escaped(&name.replace('.', "/"));
    if word.ends_with(FAMILY) {
        word.truncate(word.len() - FAMILY.len_utf8());
        word.push_str("%2B");
    }
    match word.bytes().next() {
        Some(digit) if word.bytes().all(|byte| byte.is_ascii_digit()) => format!("%{digit:02X}{}", &word[1..]),
        _ => word,
    }
}

/// Whether any type's name can be a word of a topic.
pub(super) fn is_word(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control) && word(name).len() <= MAX_ORIGIN
}

fn is_odd(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || matches!(letter, '*' | '#')
}

fn escaped(text: &str) -> String {
    with(text, is_odd)
}

/// With these percent-encoded. A `%` stays one: what was encoded already is what it was.
fn with(text: &str, odd: impl Fn(char) -> bool) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if odd(letter) {
            letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| plain.push_str(&format!("%{byte:02X}")));
        } else {
            plain.push(letter);
        }
    }
    plain
}

/// What another system says of to what something happened, as an origin. White space, `*` and `#` are percent-encoded, and
/// dots where words between them would be empty; of one that is too long the end is its hash. None: it says nothing.
pub(super) fn foreign_origin(said: &str) -> Option<String> {
    if matches!(said, "" | "unknown") {
        return None;
    }
    let has_empty = said.split('.').any(str::is_empty);
    let mut origin = with(said, |letter| is_odd(letter) || (has_empty && letter == '.'));
    if origin.len() > MAX_ORIGIN {
        let hash: String = Sha256::digest(said).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let end = (0..MAX_ORIGIN - hash.len()).rev().find(|at| origin.is_char_boundary(*at)).unwrap_or_default();
        // A dot at the end would make an empty word of the mark.
        origin.truncate(end);
        origin.push('~');
        origin.push_str(&hash);
    }
    Some(origin)
}

/// The words under which events of a type are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    all: Vec<String>,
}

/// The word that means a type and all that are of it.
pub(super) fn family_word(name: &str) -> String {
    format!("{}{FAMILY}", word(name))
}

impl Words {
    /// Whether events are told under that word.
    pub(super) fn contains(&self, word: &str) -> bool {
        self.all.iter().any(|one| one == word)
    }

    /// Of a type that nobody described.
    pub(super) fn untyped(name: &str) -> Self {
        Self { all: vec![word(name), format!("{}{FAMILY}", word(name))] }
    }

    /// As one text; no word has a space.
    pub(super) fn joined(&self) -> String {
        self.all.join(" ")
    }

    /// Of such a text.
    pub(super) fn parse(text: &str) -> Self {
        Self { all: text.split(' ').map(str::to_owned).collect() }
    }

    /// Of a type, given with all that it is of.
    pub(super) fn of(family: &[Arc<EventType>]) -> Self {
        let itself = family
            .first()
            .into_iter()
            .flat_map(|one| [Some(word(&one.name)), one.id.map(|id| id.to_string())].into_iter().flatten());
        let of = family.iter().map(|one| format!("{}{FAMILY}", word(&one.name)));
        Self { all: itself.chain(of).collect() }
    }
}

/// Which events somebody means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topics {
    pattern: Pattern,
}

/// Why nobody can mean that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTopics {
    /// There is no such type.
    #[error(
        "there is no event type {name:?}{}: busway event types lists them, and names of others' types have a domain, as in \
         com.example.door", nearest.as_ref().map(|near| format!(", did you mean {near:?}?")).unwrap_or_default()
    )]
    NoType {
        /// What was asked for.
        name: String,
        /// What looks most like it.
        nearest: Option<String>,
    },
    /// It is no pattern.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// Nothing could ever be of it.
    #[error("{pattern:?} can match nothing: an event's topic is TYPE.ORIGIN, so say {hint:?}")]
    Nothing {
        /// The pattern.
        pattern: String,
        /// What was meant, probably.
        hint: String,
    },
}

impl Topics {
    /// All events.
    #[must_use]
    pub fn all() -> Self {
        Self { pattern: Pattern::literal("#") }
    }

    /// Events of a type and an origin; either may be missing, and both may be patterns. A base means all that are of it, and
    /// so does the name of any type with a `+` behind it; a number means all types that have it.
    ///
    /// # Errors
    ///
    /// Nothing can be of that.
    pub fn new(catalogue: &Catalogue, of: Option<&str>, origin: Option<&str>) -> Result<Self, BadTopics> {
        let word = match of {
            Some(of) => word_of(catalogue, of)?,
            None => "*".to_owned(),
        };
        // As others' origins are told.
        let origin = with(origin.unwrap_or("#"), |letter| letter.is_whitespace() || letter.is_control());
        Ok(Self { pattern: format!("{word}.{origin}").parse()? })
    }

    /// Events whose topics match a pattern of words: the first is a type's.
    ///
    /// # Errors
    ///
    /// Nothing can match it.
    pub fn matching(catalogue: &Catalogue, pattern: &str) -> Result<Self, BadTopics> {
        let parsed: Pattern = pattern.parse()?;
        let (first, rest) = pattern.split_once('.').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
        match (first, rest) {
            ("#", _) => Ok(Self { pattern: parsed }),
            // One word is a type without an origin.
            (_, None) => Err(BadTopics::Nothing { pattern: pattern.to_owned(), hint: format!("{pattern}.#") }),
            ("*", Some(_)) => Ok(Self { pattern: parsed }),
            (of, Some(origin)) => {
                Self::new(catalogue, Some(of), Some(origin)).map_err(|error| match one_word(catalogue, pattern) {
                    Some(hint) => BadTopics::Nothing { pattern: pattern.to_owned(), hint },
                    None => error,
                })
            }
        }
    }

    /// As a pattern of words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.pattern.as_str()
    }

    /// Whether an event told under these words, of that origin, is meant.
    pub(super) fn mean(&self, words: &Words, origin: &str) -> bool {
        self.narrow(words).is_some_and(|origins| origins.mean(words, origin))
    }

    /// Which origins are meant of events told under these words; none: no event of theirs is.
    pub(super) fn narrow(&self, words: &Words) -> Option<Origins> {
        match self.as_str().split_once('.') {
            Some(("#", _)) | None => Some(Origins::Whole(self.pattern.clone())),
            Some((word, _)) if word != "*" && words.all.iter().all(|known| known != word) => None,
            Some((_, "#")) => Some(Origins::All),
            Some((_, origin)) => Some(Origins::Pattern(Pattern::literal(origin))),
        }
    }
}

/// Which origins are meant of events of some type.
#[derive(Debug)]
pub(super) enum Origins {
    All,
    Pattern(Pattern),
    /// Told by the whole topic.
    Whole(Pattern),
}

impl Origins {
    pub(super) fn mean(&self, words: &Words, origin: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(pattern) => pattern.matches(origin),
            Self::Whole(pattern) => words.all.iter().any(|word| pattern.matches(&format!("{word}.{origin}"))),
        }
    }
}

/// The pattern with its type in one word, if it begins with the dotted name of one.
fn one_word(catalogue: &Catalogue, pattern: &str) -> Option<String> {
    let dots = pattern.match_indices('.').map(|(at, _)| at).skip(1).chain([pattern.len()]);
    let name = dots.map(|end| pattern.split_at(end)).find(|(name, _)| catalogue.get(name).is_some());
    name.map(|(name, rest)| format!("{}{}", word(name), if rest.is_empty() { ".#" } else { rest }))
}

fn word_of(catalogue: &Catalogue, of: &str) -> Result<String, BadTopics> {
    let bare = of.strip_suffix(FAMILY).unwrap_or(of);
    let missing = || BadTopics::NoType { name: of.to_owned(), nearest: catalogue.nearest(bare) };
    if of == "*" {
        return Ok("*".to_owned());
    }
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return if catalogue.find(bare).is_empty() || bare != of { Err(missing()) } else { Ok(of.to_owned()) };
    }
    match catalogue.get(bare) {
        Some(known) if known.role == Role::Base || bare != of => Ok(format!("{}{FAMILY}", word(&known.name))),
        Some(known) => Ok(word(&known.name)),
        // Others' types need not be described here.
        None if bare.contains(['.', '/', ':', '%', ' ']) && is_word(bare) => {
            Ok(format!("{}{}", word(bare), &of[bare.len()..]))
        }
        None => Err(missing()),
    }
}

/// Who means which events: by the topic's first word, then by what is behind it.
#[derive(Debug, Default)]
pub(super) struct Index {
    named: HashMap<String, Matcher<u64>>,
    /// Of any type.
    star: Matcher<u64>,
    /// Patterns that begin with `#`, over whole topics.
    whole: Matcher<u64>,
}

impl Index {
    pub(super) fn insert(&mut self, topics: &Topics, value: u64) {
        let (matcher, pattern) = self.place(topics);
        matcher.insert(&pattern, value);
    }

    pub(super) fn remove(&mut self, topics: &Topics, value: u64) {
        let (matcher, pattern) = self.place(topics);
        matcher.remove(&pattern, &value);
        // All words are not looked at for one.
        if matcher.is_empty()
            && let Some((word, _)) = topics.as_str().split_once('.')
        {
            self.named.remove(word);
        }
    }

    fn place(&mut self, topics: &Topics) -> (&mut Matcher<u64>, Pattern) {
        match topics.as_str().split_once('.') {
            Some(("*", origin)) => (&mut self.star, Pattern::literal(origin)),
            Some((word, origin)) if word != "#" => {
                (self.named.entry(word.to_owned()).or_default(), Pattern::literal(origin))
            }
            _ => (&mut self.whole, topics.pattern.clone()),
        }
    }

    /// Those who mean such an event, in order, each once.
    pub(super) fn matches(&self, words: &Words, origin: &str) -> Vec<u64> {
        let mut found = Vec::new();
        self.star.for_each(origin, |value| found.push(*value));
        for word in &words.all {
            if let Some(matcher) = self.named.get(word) {
                matcher.for_each(origin, |value| found.push(*value));
            }
            if !self.whole.is_empty() {
                self.whole.for_each(&format!("{word}.{origin}"), |value| found.push(*value));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests;
