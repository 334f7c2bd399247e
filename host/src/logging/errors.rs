//! The errors of the log, for who makes something of them.
//!
//! A layer hears what is written and puts it where it can be followed, bounded and without waiting. What is written while
//! it is made something of is not heard: nothing can go round in a circle.

use super::handling::is_handling;
use crate::happenings::{Happenings, Receiver};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_core::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// So many wait for who makes something of them; then the oldest are lost, and counted.
const MOST: usize = 1024;
/// No more of a text is kept, in bytes.
const MAX_TEXT: usize = 4096;
/// No more fields are kept.
const MAX_FIELDS: usize = 32;

/// What the events' own code writes.
const EVENTS: &str = "busway::event";

static ERRORS: Happenings<Heard> = Happenings::new(MOST);

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// An error in the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Heard {
    /// It must be seen to at once.
    pub(crate) critical: bool,
    /// The module that wrote it, here or in a driver.
    pub(crate) target: String,
    /// The driver that wrote it.
    pub(crate) driver: Option<String>,
    /// The datasource whose source wrote it.
    pub(crate) datasource: Option<String>,
    /// The text.
    pub(crate) message: String,
    /// Everything else.
    pub(crate) fields: Map<String, Value>,
}

/// All errors that are logged from now on.
pub(crate) fn errors() -> Receiver<Heard> {
    ERRORS.follow()
}

/// Does something of which nothing that this thread logs is [heard](errors).
pub(crate) fn unheard<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            let _ = QUIET.try_with(|quiet| quiet.set(self.0));
        }
    }
    // A thread that ends has nothing to say any more.
    let _before = Before(QUIET.try_with(|quiet| quiet.replace(true)).unwrap_or(true));
    work()
}

fn is_quiet() -> bool {
    QUIET.try_with(Cell::get).unwrap_or(true)
}

/// A layer for a program's own subscriber: of what it hears, errors become events. A host that logs by itself has it.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Ears.with_filter(LevelFilter::ERROR)
}

/// Has panics heard, and reported as before.
pub(super) fn hear_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        if is_quiet() || is_handling() {
            return;
        }
        // Not by way of the log, which may be what panicked.
        ERRORS.tell(|| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            let thread = std::thread::current();
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            Heard {
                critical: true,
                target: "panic".to_owned(),
                message: cut(format!("panicked: {}", text.as_deref().unwrap_or("with no message"))),
                fields: [
                    ("place".to_owned(), Value::from(place)),
                    ("thread".to_owned(), thread.name().unwrap_or("unnamed").into()),
                ]
                .into_iter()
                .collect(),
                ..Heard::default()
            }
        });
    }));
}

struct Ears;

impl<S: Subscriber> Layer<S> for Ears {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        let own = target.strip_prefix(EVENTS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        if own || is_quiet() || !ERRORS.is_followed() || is_handling() {
            return;
        }
        let mut heard = Heard { target: target.to_owned(), ..Heard::default() };
        event.record(&mut Reading(&mut heard));
        if target == super::DRIVER {
            heard.settle();
        }
        ERRORS.tell(|| heard);
    }
}

impl Heard {
    /// Of a driver's record: what it says is in fields.
    fn settle(&mut self) {
        self.driver = self.take("driver");
        self.datasource = self.take("datasource");
        if let Some(from) = self.take("from") {
            self.critical |= from == "panic";
            self.target = from;
        }
        let Some(Value::String(own)) = self.fields.get("fields") else { return };
        if let Ok(own) = serde_json::from_str::<Map<String, Value>>(own) {
            self.critical |= own.get("critical") == Some(&Value::Bool(true));
        }
    }

    fn take(&mut self, field: &str) -> Option<String> {
        match self.fields.remove(field)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        if self.fields.len() < MAX_FIELDS {
            self.fields.insert(field.name().to_owned(), value);
        }
    }
}

struct Reading<'a>(&'a mut Heard);

impl Visit for Reading<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "critical" => self.0.critical = value,
            _ => self.0.put(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = cut(value.to_owned());
        match field.name() {
            "message" => self.0.message = text,
            _ => self.0.put(field, text.into()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Not more of it than is kept.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// Other tests of this process may log, too.
    fn next(heard: &mut Receiver<Heard>, about: &str) -> Option<Heard> {
        std::iter::from_fn(|| heard.try_recv().ok()).find(|heard| heard.message.contains(about))
    }

    #[test]
    fn errors_are_heard_unless_they_are_of_who_makes_something_of_them() {
        let mut heard = errors();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
            tracing::warn!("told-a a warning");
            tracing::error!(target: "busway::event::queue", "told-a of events");
            unheard(|| tracing::error!("told-a while telling"));
            tracing::error!(table = "web/pages", rows = 7, critical = true, "told-a: {}", "it");
        });
        let expected = Heard {
            critical: true,
            target: "busway::logging::errors::tests".to_owned(),
            message: "told-a: it".to_owned(),
            fields: [("table".to_owned(), "web/pages".into()), ("rows".to_owned(), 7.into())].into_iter().collect(),
            ..Heard::default()
        };
        assert_eq!(next(&mut heard, "told-a"), Some(expected));
    }

    #[test]
    fn a_driver_s_record_is_of_its_datasource() {
        let mut heard = errors();
        let record = serde_json::from_value(serde_json::json!({
            "level": "error", "target": "files::read", "message": "told-b no way in", "fields": {"critical": true}
        }));
        let long = serde_json::from_value(
            serde_json::json!({"level": "error", "target": "panic", "message": format!("told-b {}", "é".repeat(9000))}),
        );
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
            super::super::forward(&record.unwrap(), "files", 3, Some("web"));
            super::super::forward(&long.unwrap(), "files", 3, None);
        });
        let first = next(&mut heard, "told-b").unwrap();
        let names = (first.driver.as_deref(), first.datasource.as_deref(), first.target.as_str(), first.critical);
        assert_eq!(names, (Some("files"), Some("web"), "files::read", true));
        let second = next(&mut heard, "told-b").unwrap();
        assert!(second.critical && second.datasource.is_none() && second.message.len() <= MAX_TEXT + 3);
    }
}
