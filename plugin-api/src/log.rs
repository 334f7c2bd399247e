//! `tracing` inside the plugin -> the host's tracing.
//!
//! A plugin has a `tracing` of its own, which knows nothing of the host's. So the first `attach` installs a subscriber
//! here that hands each record over, filtered on this side: a record below the level costs a comparison.

use crate::abi::HostObject;
use crate::message::{LogRecord, encode};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

type Reload = Box<dyn Fn(Targets) -> Result<(), String> + Send + Sync>;

/// Where records go that no source made.
static UNOWNED: RwLock<Option<HostObject>> = RwLock::new(None);
static RELOAD: OnceLock<Option<Reload>> = OnceLock::new();

/// What a thread is working on.
struct Work {
    id: u64,
    host: Arc<HostObject>,
    call: u64,
    /// Of a source's own thread: how often the source had been paused when it was started.
    pauses: Option<u64>,
}

thread_local! {
    /// The sources this thread works for; innermost last.
    static CURRENT: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
}

/// Marks a thread as working for a source; see [`Context::enter`](crate::Context::enter).
#[derive(Debug)]
pub struct Entered(u64, PhantomData<*const ()>);

impl Drop for Entered {
    fn drop(&mut self) {
        // By its number: guards may be dropped in any order. What is removed is dropped outside the borrow: dropping the
        // host's last clone runs its code.
        let left = CURRENT.try_with(|work| {
            let mut work = work.borrow_mut();
            work.iter().rposition(|w| w.id == self.0).map(|i| work.remove(i))
        });
        drop(left);
    }
}

pub(crate) fn enter(host: Arc<HostObject>, call: u64, pauses: Option<u64>) -> Entered {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    CURRENT.with_borrow_mut(|work| work.push(Work { id, host, call, pauses }));
    Entered(id, PhantomData)
}

/// The number of the call this thread is in; 0 on a thread of the driver's own.
pub(crate) fn current_call() -> u64 {
    CURRENT.with_borrow(|work| work.last().map_or(0, |w| w.call))
}

/// How often the source had been paused when it started this thread, if it did.
pub(crate) fn pauses_at_start() -> Option<u64> {
    CURRENT.with_borrow(|work| work.last().and_then(|w| w.pauses))
}

/// Whether this thread works for a source.
pub(crate) fn owned() -> bool {
    CURRENT.try_with(|work| work.try_borrow().is_ok_and(|work| !work.is_empty())).unwrap_or(false)
}

#[cfg(feature = "tokio")]
pub(crate) fn enter_for_good(host: Arc<HostObject>) {
    std::mem::forget(enter(host, 0, None));
}

/// Installs the subscriber, once in the plugin's life, and sets where unowned records go.
pub(crate) fn attach(host: HostObject, filter: &str) -> Result<(), String> {
    let targets = parse(filter)?;
    *UNOWNED.write().unwrap_or_else(PoisonError::into_inner) = Some(host);
    RELOAD.get_or_init(|| {
        let (filter, handle) = reload::Layer::new(Targets::new());
        let subscriber = Registry::default().with(Forward.with_filter(filter));
        // Within an author's own tests there may be another one already: theirs stays.
        tracing::subscriber::set_global_default(subscriber).ok()?;
        Some(Box::new(move |targets| handle.reload(targets).map_err(|e| e.to_string())))
    });
    apply(targets)
}

/// Which records cross, from now on.
pub(crate) fn set_filter(filter: &str) -> Result<(), String> {
    apply(parse(filter)?)
}

fn parse(filter: &str) -> Result<Targets, String> {
    filter.parse().map_err(|e| format!("log filter {filter:?}: {e}"))
}

fn apply(targets: Targets) -> Result<(), String> {
    match RELOAD.get() {
        Some(Some(reload)) => reload(targets),
        _ => Ok(()),
    }
}

/// Sends a record to the source this thread works for, else to the driver's.
pub(crate) fn send(record: &LogRecord) {
    let json = encode(record);
    let sent = CURRENT
        .try_with(|work| {
            let host = Arc::clone(&work.try_borrow().ok()?.last()?.host);
            let _ = host.log(json.as_str().into());
            Some(())
        })
        .ok()
        .flatten();
    if sent.is_none()
        && let Some(host) = UNOWNED.read().unwrap_or_else(PoisonError::into_inner).as_ref()
    {
        let _ = host.log(json.as_str().into());
    }
}

struct Forward;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Forward {
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &tracing::Id, values: &tracing::span::Record<'_>, context: LayerContext<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let mut record = LogRecord::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            record.spans.push(span.name().to_owned());
            if let Some(fields) = span.extensions().get::<Fields>() {
                record.fields.extend(fields.map.clone());
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        match fields.map.shift_remove("message") {
            Some(Value::String(message)) => record.message = message,
            Some(other) => record.message = other.to_string(),
            None => {}
        }
        record.fields.extend(fields.map);
        let about = event.metadata();
        record.level = about.level().as_str().to_ascii_lowercase();
        record.target = about.target().to_owned();
        record.file = about.file().map(str::to_owned);
        record.line = about.line();
        send(&record);
    }
}

#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.map.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
    // The contract's whole numbers stay below 2^53: greater ones cross as text.
    fn record_i64(&mut self, field: &Field, value: i64) {
        if value.unsigned_abs() < 1 << 53 { self.put(field, value) } else { self.put(field, value.to_string()) }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        if value < 1 << 53 { self.put(field, value) } else { self.put(field, value.to_string()) }
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
