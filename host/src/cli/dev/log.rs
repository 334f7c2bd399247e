//! What the driver logs, on its way to the author.

use std::fmt;

use serde_json::{Map, Value};
use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Told;
use crate::config::ConfigError;
use crate::logging::parse_filter;

/// A record of the driver's, or an error of the host's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(super) level: Level,
    /// The module that says it.
    pub(super) from: String,
    pub(super) message: String,
    pub(super) fields: Map<String, Value>,
}

/// Sends all that drivers log from now on to `sender`; of the host's own records only errors.
///
/// # Errors
///
/// Never: the filter is a constant.
pub(super) fn start(sender: Sender<Told>) -> Result<(), ConfigError> {
    let filter = parse_filter("error").map_err(ConfigError::Value)?;
    // Nothing else in this process has a log.
    let _ = tracing_subscriber::registry().with(Tap { sender }.with_filter(filter)).try_init();
    Ok(())
}

struct Tap {
    sender: Sender<Told>,
}

impl<S: Subscriber> Layer<S> for Tap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut reader = Reader::default();
        event.record(&mut reader);
        let record = reader.record(*event.metadata().level(), event.metadata().target());
        // A driver that floods its log is not waited for, and does not wait.
        let _ = self.sender.try_send(Told::Log(record));
    }
}

/// The fields of an event, as the host forwards records.
#[derive(Default)]
struct Reader {
    message: String,
    from: Option<String>,
    fields: Option<String>,
}

impl Reader {
    fn put(&mut self, name: &str, text: String) {
        match name {
            "message" => self.message = text,
            "from" => self.from = Some(text),
            "fields" => self.fields = Some(text),
            // Which driver, generation and datasource: there is one.
            _ => {}
        }
    }

    fn record(self, level: Level, target: &str) -> Record {
        let fields = self.fields.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Record { level, from: self.from.unwrap_or_else(|| target.to_owned()), message: self.message, fields }
    }
}

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::forward;
    use busway_plugin_api::message::LogRecord;
    use serde_json::json;

    #[test]
    fn a_drivers_record_comes_whole_and_the_hosts_chatter_does_not() {
        let (sender, mut told) = tokio::sync::mpsc::channel(8);
        let filter = parse_filter("error").unwrap();
        let subscriber = tracing_subscriber::registry().with(Tap { sender }.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            let record = json!({"level": "debug", "target": "hello::page", "message": "a page of \"rows\"", "fields": {"rows": 3}});
            let record: LogRecord = serde_json::from_value(record).unwrap();
            forward(&record, "hello", 1, Some("hello"));
            tracing::info!("nobody asked");
            tracing::error!(target: "busway::plugin", "it is serious");
        });
        let fields = json!({"rows": 3}).as_object().cloned().unwrap();
        let page = Record {
            level: Level::DEBUG,
            from: "hello::page".to_owned(),
            message: "a page of \"rows\"".to_owned(),
            fields,
        };
        assert!(matches!(told.try_recv(), Ok(Told::Log(record)) if record == page));
        assert!(matches!(told.try_recv(), Ok(Told::Log(record)) if record.message == "it is serious"));
        assert!(told.try_recv().is_err());
    }
}
