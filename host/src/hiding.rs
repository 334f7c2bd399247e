//! Taking secrets out of what a driver says: what finds them, and what stands in their place.
//!
//! Who knows secrets is of no interest here: a [`Finder`] says where one is. What several know is hidden together, since
//! hiding one after the other could leave a part of a longer secret that a shorter one is in.

use busway_plugin_api::message::{ErrorBody, LogRecord};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What stands where a secret was.
pub const HIDDEN: &str = "<hidden>";

/// Of those that are gone so many are still heeded: a thread of a driver's may talk after its source was closed.
const LATE: usize = 64;

/// Knows secrets.
pub(crate) trait Finder: Send + Sync {
    /// Adds the places in the text where one is, in any order; they may overlap. Costs little when there is none.
    fn find(&self, text: &str, found: &mut Vec<Range<usize>>);

    /// The text with [`HIDDEN`] in place of each secret. Secrets that overlap are hidden as one.
    fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = Vec::new();
        self.find(text, &mut found);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| range.start);
        let mut hidden = String::with_capacity(text.len());
        let mut done = 0;
        let mut ranges = found.into_iter().peekable();
        while let Some(mut range) = ranges.next() {
            while let Some(next) = ranges.next_if(|next| next.start < range.end) {
                range.end = range.end.max(next.end);
            }
            hidden.push_str(&text[done..range.start]);
            hidden.push_str(HIDDEN);
            done = range.end;
        }
        hidden.push_str(&text[done..]);
        Cow::Owned(hidden)
    }

    /// The same, in its place.
    fn hide_in(&self, text: &mut String) {
        if let Cow::Owned(hidden) = self.hide(text) {
            *text = hidden;
        }
    }

    /// The same for every text in a value, names of fields too; a number that is a secret becomes [`HIDDEN`].
    fn hide_in_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.hide_in(text),
            Value::Number(number) => {
                if self.hide(&number.to_string()) == HIDDEN {
                    *value = Value::String(HIDDEN.to_owned());
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide_in_json(value)),
            Value::Object(map) => self.hide_in_map(map),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// The same for all fields of an object.
    fn hide_in_map(&self, map: &mut Map<String, Value>) {
        let hidden = std::mem::take(map).into_iter().map(|(name, mut value)| {
            self.hide_in_json(&mut value);
            (self.hide(&name).into_owned(), value)
        });
        *map = hidden.collect();
    }

    /// The same for all that a record says.
    fn hide_in_record(&self, record: &mut LogRecord) {
        let LogRecord { level: _, target, message, fields, spans, file, line: _ } = record;
        [target, message].into_iter().chain(spans).chain(file).for_each(|text| self.hide_in(text));
        self.hide_in_map(fields);
    }

    /// The same for all that an error says.
    fn hide_in_error(&self, error: &mut ErrorBody) {
        let ErrorBody { message, code, place, transient: _, problems } = error;
        [message].into_iter().chain(code).chain(place).chain(problems).for_each(|text| self.hide_in(text));
    }
}

/// All that know secrets which one loaded copy of a driver was told.
#[derive(Default)]
pub(crate) struct Finders {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// The next one's number.
    next: u64,
    /// By number.
    heeded: Vec<(u64, Arc<dyn Finder>)>,
    /// Those that are gone, the last one last.
    late: VecDeque<Arc<dyn Finder>>,
}

impl Finders {
    /// Heeds this one too, as long as what is returned lives and for some time after.
    #[must_use]
    pub(crate) fn heed(self: &Arc<Self>, finder: Arc<dyn Finder>) -> Heeded {
        let mut known = self.write();
        let number = known.next;
        known.next += 1;
        known.heeded.push((number, finder));
        drop(known);
        Heeded { finders: Arc::clone(self), number }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Finder for Finders {
    fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let known = self.read();
        known.heeded.iter().map(|(_, finder)| finder).chain(&known.late).for_each(|finder| finder.find(text, found));
    }
}

impl fmt::Debug for Finders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.read();
        f.debug_struct("Finders")
            .field("heeded", &known.heeded.len())
            .field("late", &known.late.len())
            .finish_non_exhaustive()
    }
}

/// Has a finder heeded.
#[derive(Debug)]
pub(crate) struct Heeded {
    finders: Arc<Finders>,
    number: u64,
}

impl Drop for Heeded {
    fn drop(&mut self) {
        let mut known = self.finders.write();
        let Ok(at) = known.heeded.binary_search_by_key(&self.number, |(number, _)| *number) else { return };
        let (_, finder) = known.heeded.remove(at);
        known.late.push_back(finder);
        if known.late.len() > LATE {
            known.late.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Word(&'static str);

    impl Finder for Word {
        fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
            found.extend(text.match_indices(self.0).map(|(at, word)| at..at + word.len()));
        }
    }

    #[test]
    fn what_several_know_is_hidden_together_and_for_a_while_after() {
        let finders = Arc::new(Finders::default());
        assert!(matches!(finders.hide("admin-hunter2"), Cow::Borrowed("admin-hunter2")));
        let short = finders.heed(Arc::new(Word("admin")));
        let long = finders.heed(Arc::new(Word("admin-hunter2")));
        assert_eq!(finders.hide("as admin-hunter2, admin"), "as <hidden>, <hidden>");
        drop(long);
        assert_eq!(finders.hide("as admin-hunter2"), "as <hidden>");
        for _ in 0..LATE {
            drop(finders.heed(Arc::new(Word("other"))));
        }
        assert_eq!(finders.hide("as admin-hunter2"), "as <hidden>-hunter2");
        assert_eq!(format!("{finders:?}"), "Finders { heeded: 1, late: 64, .. }");
        drop(short);
    }

    #[test]
    fn all_that_a_record_or_an_error_says() {
        let mut record: LogRecord = serde_json::from_value(json!({
            "level": "info", "target": "to s3cret", "message": "a s3cret", "spans": ["one", "s3cret"],
            "fields": {"s3cret": [{"at": "s3cret"}, 7, null]}, "file": "s3cret.rs", "line": 3
        }))
        .unwrap();
        Word("s3cret").hide_in_record(&mut record);
        let hidden = json!({
            "level": "info", "target": "to <hidden>", "message": "a <hidden>", "spans": ["one", "<hidden>"],
            "fields": {"<hidden>": [{"at": "<hidden>"}, 7, null]}, "file": "<hidden>.rs", "line": 3
        });
        assert_eq!(serde_json::to_value(&record).unwrap(), hidden);
        let mut error: ErrorBody = serde_json::from_value(json!({
            "message": "a s3cret", "code": "s3cret", "place": "s3cret:1", "problems": ["no", "s3cret"]
        }))
        .unwrap();
        Word("s3cret").hide_in_error(&mut error);
        let hidden = json!({
            "message": "a <hidden>", "code": "<hidden>", "place": "<hidden>:1", "problems": ["no", "<hidden>"]
        });
        assert_eq!(serde_json::to_value(&error).unwrap(), hidden);
    }
}
