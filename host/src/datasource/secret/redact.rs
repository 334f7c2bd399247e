//! Takes secrets out of texts that leave the host: what a driver says of itself may quote its options.

use crate::hiding::Finder;
pub use crate::hiding::HIDDEN;
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// Shorter ones would hide every other word.
const SHORTEST: usize = 3;
/// Of a secret of several lines each line that long is one, too: logs are cut into lines.
const SHORTEST_LINE: usize = 8;
/// Letters of base64 within a longer text: fewer could come about by chance.
const SHORTEST_CODE: usize = 8;

/// All but what a URL may hold as it is (RFC 3986).
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, with slashes left: what Python's `quote` does.
const QUOTE: &AsciiSet = &URL.remove(b'/');
/// What must not stand in a path as it is: browsers and most libraries leave the rest.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');
/// What must not stand in a URL's user and password as it is.
const USER: &AsciiSet =
    &PATH.add(b'/').add(b':').add(b';').add(b'=').add(b'@').add(b'[').add(b'\\').add(b']').add(b'^').add(b'|');

/// Knows the secrets of one datasource, and hides them.
///
/// A secret is found as it is, as JSON and `Debug` write it, percent-encoded, and in base64, by itself or within a longer text
/// (as in `Authorization: Basic`); one of several lines by its lines, too. It is not found when it was changed otherwise: in
/// another case, cut in two, hashed. Secrets of less than three characters are not looked for. It holds the secrets in clear.
#[derive(Clone)]
pub struct Redactor {
    /// None: there is nothing to hide.
    finder: Option<AhoCorasick>,
}

impl Redactor {
    /// One that hides nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { finder: None }
    }

    /// One for the values of secret options, resolved: every text and number in them, however deep.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut forms = BTreeSet::new();
        secrets.into_iter().for_each(|value| collect(value, &mut forms));
        if forms.is_empty() {
            return Self::none();
        }
        // It fails for gigabytes of patterns; options are bounded.
        Self { finder: AhoCorasick::builder().match_kind(MatchKind::Standard).build(forms).ok() }
    }

    /// Whether there is anything to hide.
    pub(in crate::datasource) fn hides(&self) -> bool {
        self.finder.is_some()
    }

    /// The text with [`HIDDEN`] in place of each secret. Secrets that overlap are hidden as one.
    #[must_use]
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hide(text)
    }

    /// The same for every text in a value, names of fields too; a number that is a secret becomes [`HIDDEN`].
    pub fn clean_json(&self, value: &mut Value) {
        if self.finder.is_some() {
            self.hide_in_json(value);
        }
    }
}

impl Finder for Redactor {
    fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        // What finds them all is slower than what finds whether there is one.
        if let Some(finder) = self.finder.as_ref().filter(|finder| finder.is_match(text)) {
            found.extend(finder.find_overlapping_iter(text).map(|found| found.range()));
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("hides", &self.finder.is_some()).finish_non_exhaustive()
    }
}

fn collect(value: &Value, forms: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            add(text, forms);
            if text.contains('\n') {
                text.lines()
                    .map(str::trim)
                    .filter(|line| line.len() >= SHORTEST_LINE)
                    .for_each(|line| add(line, forms));
            }
        }
        Value::Number(number) => add(&number.to_string(), forms),
        Value::Array(values) => values.iter().for_each(|value| collect(value, forms)),
        Value::Object(map) => map.values().for_each(|value| collect(value, forms)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn add(secret: &str, forms: &mut BTreeSet<String>) {
    if secret.chars().count() < SHORTEST {
        return;
    }
    forms.insert(secret.to_owned());
    for quoted in [Value::from(secret).to_string(), format!("{secret:?}")] {
        forms.insert(quoted[1..quoted.len() - 1].to_owned());
    }
    for set in [NON_ALPHANUMERIC, URL, QUOTE, PATH, USER] {
        let encoded = utf8_percent_encode(secret, set).to_string();
        // As forms write it, and as some write its digits.
        forms.insert(encoded.replace("%20", "+"));
        forms.insert(lower(&encoded));
        forms.insert(encoded);
    }
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.insert(engine.encode(secret));
        // Within a longer text it may begin at any of three places of a group of three bytes; its first and last letters then
        // hold bits of what is beside it.
        for shift in 0..3_usize {
            let shifted = [&[0; 2][..shift.min(2)], secret.as_bytes()].concat();
            let letters = engine.encode(&shifted);
            let (first, last) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
            if last >= first + SHORTEST_CODE {
                forms.insert(letters[first..last].to_owned());
            }
        }
    }
}

/// `%3A` as `%3a`.
fn lower(encoded: &str) -> String {
    let mut left = 0;
    let letter = |c: char| {
        left = if c == '%' { 3 } else { usize::saturating_sub(left, 1) };
        if left > 0 { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secret = "p\"ä ss\\w/rd\n?Z";
        let redactor = Redactor::new([&json!(secret)]);
        let percent = |set| utf8_percent_encode(secret, set).to_string();
        let forms = [
            secret.to_owned(),
            json!(secret).to_string().trim_matches('"').to_owned(),
            format!("{secret:?}").trim_matches('"').to_owned(),
            percent(NON_ALPHANUMERIC),
            percent(URL),
            percent(QUOTE),
            percent(PATH),
            percent(USER),
            percent(URL).replace("%20", "+"),
            "p%22%c3%a4%20ss%5cw%2frd%0a%3fZ".to_owned(),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        for form in forms {
            assert_eq!(redactor.clean(&format!("a {form} b")), "a <hidden> b", "{form}");
        }
        for text in ["", "nothing", "p\"ä ss", "<hidden>"] {
            assert!(matches!(redactor.clean(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(format!("{redactor:?}"), "Redactor { hides: true, .. }");
    }

    #[test]
    fn it_is_hidden_within_base64() {
        let secret = "correct horse";
        let redactor = Redactor::new([&json!(secret)]);
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = format!("{before}{secret}{after}");
                for code in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                    let cleaned = redactor.clean(&code).into_owned();
                    let (left, right) = cleaned.split_once(HIDDEN).unwrap_or_else(|| panic!("{text}: {code}"));
                    // At most a letter that holds bits of a neighbour, and the filling, are left of it.
                    assert!(left.len() <= before.len() * 8 / 6 + 1, "{text}: {cleaned}");
                    assert!(right.len() <= (after.len() * 8).div_ceil(6) + 3, "{text}: {cleaned}");
                }
            }
        }
    }

    #[test]
    fn several_secrets_and_lines() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADAN\n  Bgkqhki\nG9w0BAQEFAASC\n-----END KEY-----\n";
        let secrets =
            json!({"a": ["abcde", "defgh", {"b": "abc"}], "pin": 4711, "key": key, "short": "ab", "on": true});
        let redactor = Redactor::new([&secrets]);
        assert_eq!(redactor.clean("xabcdefghx abc. ab true"), "x<hidden>x <hidden>. ab true");
        assert_eq!(redactor.clean("abcabc"), "<hidden><hidden>");
        assert_eq!(redactor.clean("line 2: MIIEvQIBADAN, line 4: G9w0BAQEFAASC"), "line 2: <hidden>, line 4: <hidden>");
        assert_eq!(redactor.clean(key), "<hidden>");
        let mut value =
            json!({"message": "login abcde failed", "abcde": [4711, 14711, 47, null], "n": {"x": "pin 4711"}});
        redactor.clean_json(&mut value);
        assert_eq!(
            value,
            json!({"message": "login <hidden> failed", "<hidden>": ["<hidden>", 14711, 47, null], "n": {"x": "pin <hidden>"}})
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_secret_is_left(secrets in prop::collection::vec("[a-c]{3,6}", 1..4), text in "[a-d]{0,40}") {
            let values = json!(secrets);
            let cleaned = Redactor::new([&values]).clean(&text).into_owned();
            for part in cleaned.split(HIDDEN) {
                prop_assert!(!secrets.iter().any(|secret| part.contains(secret)), "{secrets:?}: {text} became {cleaned}");
            }
            // What is no part of a secret stays.
            prop_assert_eq!(cleaned.matches('d').count() - cleaned.matches(HIDDEN).count() * 2, text.matches('d').count());
        }
    }
}
