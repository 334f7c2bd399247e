//! Patterns of dot-separated words, by the rules of AMQP's topics.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 255;

/// So many words `#` a pattern may have.
pub const MAX_HASHES: usize = 4;

/// Which keys are meant: dot-separated words, where `*` stands for exactly one word that is not empty, `#` for any number
/// of words, none included, and every other word for itself. Compared and ordered as text.
///
/// A key is words joined by dots as well; the empty text has none. A key may have empty words: only `#` takes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPattern {
    /// There is nothing.
    #[error("\"\" is no pattern, it has no words: say \"#\" for every key")]
    Empty,
    /// Two dots in a row, or one at an end.
    #[error("{pattern:?} is no pattern, it has an empty word: take out the dot too many, or say * for any one word")]
    EmptyWord {
        /// The text.
        pattern: String,
    },
    /// A wildcard that is only a part of a word.
    #[error(
        "{pattern:?} is no pattern, {word:?} mixes a wildcard with other characters: * and # stand for whole words \
         between dots, so say \"*\" and choose among what comes, or name the words"
    )]
    PartOfWord {
        /// The text.
        pattern: String,
        /// The word.
        word: String,
    },
    /// More words `#` than a pattern may have.
    #[error("{pattern:?} is no pattern, it has {count} words # and may have {MAX_HASHES}: make several patterns of it")]
    TooManyHashes {
        /// The text.
        pattern: String,
        /// How many it has.
        count: usize,
    },
    /// More bytes than a pattern may have.
    #[error("{start:?}… is no pattern, it has {bytes} bytes and may have {MAX_PATTERN}: say # for some of its words")]
    TooLong {
        /// How it begins.
        start: String,
        /// How long it is.
        bytes: usize,
    },
}

/// A key's words.
pub(crate) fn words(key: &str) -> impl Iterator<Item = &str> + Clone {
    (!key.is_empty()).then(|| key.split('.')).into_iter().flatten()
}

impl Pattern {
    /// One that means a name and nothing else. The name is a service's: words without wildcards.
    pub(crate) fn literal(name: &str) -> Self {
        Self { text: name.to_owned() }
    }

    /// Whether it has no wildcard: it matches one key, its own text.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.words().all(|word| word != "*" && word != "#")
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &str> + Clone {
        self.text.split('.')
    }

    /// Whether it means this key. Compares each of its words with each of the key's once at most.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let (mut pattern, mut key) = (self.words(), words(key));
        // Where the last `#` began: the pattern after it, and the key it may take one more word of. Those before need no
        // second try: the last one can take whatever they would.
        let mut last = None;
        loop {
            match pattern.next() {
                Some("#") => {
                    last = Some((pattern.clone(), key.clone()));
                    continue;
                }
                Some(word) => match key.next() {
                    Some(of_key) if word == of_key || (word == "*" && !of_key.is_empty()) => continue,
                    Some(_) => {}
                    // Taking more would leave still less.
                    None => return false,
                },
                None if key.next().is_none() => return true,
                None => {}
            }
            let Some((after, rest)) = &mut last else { return false };
            if rest.next().is_none() {
                return false;
            }
            (pattern, key) = (after.clone(), rest.clone());
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let pattern = || text.to_owned();
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(BadPattern::TooLong { start: text.chars().take(40).collect(), bytes: text.len() });
        }
        let mut count = 0;
        for word in text.split('.') {
            match word {
                "" => return Err(BadPattern::EmptyWord { pattern: pattern() }),
                "#" => count += 1,
                "*" => {}
                _ if word.contains(['*', '#']) => {
                    return Err(BadPattern::PartOfWord { pattern: pattern(), word: word.to_owned() });
                }
                _ => {}
            }
        }
        if count > MAX_HASHES {
            return Err(BadPattern::TooManyHashes { pattern: pattern(), count });
        }
        Ok(Self { text: pattern() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_none_say_why() {
        let long = format!("{}.x", "é".repeat(127));
        for (text, why) in [
            ("", "\"\" is no pattern, it has no words: say \"#\" for every key"),
            (
                "a..b",
                "\"a..b\" is no pattern, it has an empty word: take out the dot too many, or say * for any one word",
            ),
            (".a", "\".a\" is no pattern, it has an empty word: take out the dot too many, or say * for any one word"),
            ("a.", "\"a.\" is no pattern, it has an empty word: take out the dot too many, or say * for any one word"),
            (
                "x.a*",
                "\"x.a*\" is no pattern, \"a*\" mixes a wildcard with other characters: * and # stand for whole words \
                 between dots, so say \"*\" and choose among what comes, or name the words",
            ),
            (
                "##",
                "\"##\" is no pattern, \"##\" mixes a wildcard with other characters: * and # stand for whole words \
                 between dots, so say \"*\" and choose among what comes, or name the words",
            ),
            (
                "#.a.#.a.#.a.#.a.#",
                "\"#.a.#.a.#.a.#.a.#\" is no pattern, it has 5 words # and may have 4: make several patterns of it",
            ),
            (
                &long,
                "\"éééééééééééééééééééééééééééééééééééééééé\"… is no pattern, it has 256 bytes and may have 255: say # \
                 for some of its words",
            ),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn they_are_texts_wherever_they_are_written() {
        let pattern: Pattern = "web.*.#".parse().unwrap();
        assert_eq!(pattern.to_string(), "web.*.#");
        assert_eq!(serde_json::to_string(&pattern).unwrap(), "\"web.*.#\"");
        assert_eq!(serde_json::from_str::<Pattern>("\"web.*.#\"").unwrap(), pattern);
        assert_eq!(
            serde_json::from_str::<Pattern>("\"a#\"").unwrap_err().to_string(),
            "\"a#\" is no pattern, \"a#\" mixes a wildcard with other characters: * and # stand for whole words \
             between dots, so say \"*\" and choose among what comes, or name the words"
        );
        assert!("x".repeat(255).parse::<Pattern>().is_ok());
        assert!("a.b".parse::<Pattern>().unwrap().is_literal());
        assert!(!"a.*".parse::<Pattern>().unwrap().is_literal());
        assert!(!"#".parse::<Pattern>().unwrap().is_literal());
    }

    #[test]
    fn words_are_whole_and_a_key_may_have_empty_ones() {
        for (pattern, key, expected) in [
            ("D", "D", true),
            ("D", "Dev-tenant", false),
            ("D", "D.x", false),
            ("d", "D", false),
            ("*", "D.x", false),
            ("*", "", false),
            ("#", "", true),
            ("#", "...", true),
            ("a.*", "a.", false),
            ("a.#", "a.", true),
            ("a.#", "a", true),
            ("a.#", "ab", false),
            ("#.a.b", "x.a.b", true),
            ("#.a.a", "a", false),
            ("#.a.#.b.#.c.#.d", "a.b.c.c.d.d", true),
            ("#.a.#.b.#.c.#.d", "a.c.b.d", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(key), expected, "{pattern} {key:?}");
        }
    }
}
