//! The host's log: text or JSON on standard error, drivers' records among the host's own.

mod errors;
mod handling;

pub use errors::layer;
pub(crate) use errors::{Heard, errors, unheard};
pub(crate) use handling::Handling;

use crate::hiding::{Finder, Finders};
use crate::plugin::{CallError, HostCalls};
use busway_plugin_api::abi::Status;
use busway_plugin_api::message::{CallRequest, EventBody, LogRecord, PollRequest, encode};
use busway_plugin_api::table::Update;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use tracing_core::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// How records are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The target of drivers' records; they were filtered on the driver's side.
const DRIVER: &str = "driver";

/// Reads a filter: a default level and `target=level` pairs, separated by commas.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_filter(filter: &str) -> Result<Targets, String> {
    let targets: Targets = filter
        .parse()
        .map_err(|e| format!("log filter {filter:?}: {e}; it is a level and target=level pairs: info,busway=debug"))?;
    Ok(targets.with_target(DRIVER, LevelFilter::TRACE))
}

/// Starts logging, for the rest of the process: to a file, or to standard error. A second call changes nothing.
pub fn start(filter: Targets, format: Format, file: Option<std::fs::File>) {
    let colour = file.is_none() && std::io::stderr().is_terminal();
    let writer = match file {
        Some(file) => BoxMakeWriter::new(file),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour);
    let layer = match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter);
    // An author embedding the host may have a log of their own: it stays, and its levels are theirs.
    if tracing_subscriber::registry().with(layer.with_filter(filter)).with(errors::layer()).try_init().is_ok() {
        errors::hear_panics();
        let _ = CHANGE.set(Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())));
    }
}

type Change = Box<dyn Fn(Targets) -> Result<(), String> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// Changes what the host itself logs, from now on. Drivers filter on their own side.
///
/// # Errors
///
/// When the log was not [started](start) here.
pub fn change(filter: Targets) -> Result<(), String> {
    CHANGE.get().ok_or_else(|| "this process's log is not the host's".to_owned())?(filter)
}

/// Writes a driver's record into the host's log.
pub fn forward(record: &LogRecord, driver: &str, generation: u64, datasource: Option<&str>) {
    let LogRecord { target, message, file, line, .. } = record;
    let fields = if record.fields.is_empty() { None } else { Some(encode(&record.fields)) };
    let fields = fields.as_deref().map(tracing::field::display);
    let spans = if record.spans.is_empty() { None } else { Some(record.spans.join(":")) };
    let file = file.as_deref();
    macro_rules! write {
        ($level:ident) => {
            tracing::event!(
                target: DRIVER, tracing::Level::$level,
                driver, generation, datasource, from = target, spans, fields, file, line, "{message}"
            )
        };
    }
    match record.level.as_str() {
        "error" => write!(ERROR),
        "warn" => write!(WARN),
        "info" => write!(INFO),
        "debug" => write!(DEBUG),
        _ => write!(TRACE),
    }
}

/// The host of records logged outside any source. It does nothing else.
#[derive(Debug)]
pub struct DriverLog {
    driver: String,
    generation: u64,
    /// Of all sources that the loaded copy has or had: nobody knows whose secret a thread outside any source has.
    secrets: Arc<Finders>,
}

impl DriverLog {
    /// For one generation of a driver. What these secrets are is taken out of its records.
    pub(crate) fn new(driver: &str, generation: u64, secrets: Arc<Finders>) -> Self {
        Self { driver: driver.to_owned(), generation, secrets }
    }
}

fn refused() -> CallError {
    CallError::new(Status::REFUSED, "only a source may do that")
}

impl HostCalls for DriverLog {
    fn publish(&self, _: Update) -> Result<(), CallError> {
        Err(refused())
    }
    fn request_poll(&self, _: PollRequest) -> Result<(), CallError> {
        Err(refused())
    }
    fn call(&self, _: CallRequest) -> Result<Value, CallError> {
        Err(refused())
    }
    fn emit(&self, _: EventBody) -> Result<(), CallError> {
        Err(refused())
    }
    fn status(&self, _: String) -> Status {
        Status::REFUSED
    }
    fn log(&self, mut record: LogRecord) -> Status {
        self.secrets.hide_in_record(&mut record);
        forward(&record, &self.driver, self.generation, None);
        Status::OK
    }
    fn cancelled(&self, _: u64) -> bool {
        false
    }
}
