//! Those who have sources of a driver open, as a reload sees them.

use super::super::generation::Generation;
use super::Settings;
use super::report::Ledger;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether plain errors of sources that were well are no reason not to move. Clones are the same: a reload that is under way
/// can be told so, too.
#[derive(Debug, Clone, Default)]
pub struct Lenience(Arc<AtomicBool>);

impl Lenience {
    /// From the beginning, or not yet.
    #[must_use]
    pub fn new(lenient: bool) -> Self {
        Self(Arc::new(AtomicBool::new(lenient)))
    }

    /// From now on.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is so now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// On what terms sources are moved.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Whether a plain error of a source that was well is no reason not to move: only faults of the code are.
    pub accept_errors: Lenience,
    /// What sources hand over may be this large, in bytes of JSON.
    pub most_state: usize,
    /// Whether a source whose state the new code can't read begins without.
    pub cold_start: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Settings::default().terms()
    }
}

/// Sources were moved. Those that were in charge before wait, paused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many.
    pub sources: usize,
    /// How long the one that waited longest was without a source in charge.
    pub pause: Duration,
    /// Which of them begin without the state of what they replace, and why: a sentence each, of many for the first few.
    pub cold: Vec<String>,
}

/// Those who have sources of a driver open.
pub trait Tenants: Send + Sync + 'static {
    /// Moves every source of the driver to this generation, or none: opened beside the old ones and polled before
    /// anything is switched. The old ones wait until [`retire`](Self::retire) or [`revert`](Self::revert).
    ///
    /// # Errors
    ///
    /// What kept it; the old generation serves on as before.
    fn switch(&self, to: Arc<Generation>, terms: Terms) -> impl Future<Output = Result<Moved, SwitchError>> + Send;

    /// Waits until each of the sources that was well before has given something good since, and at least this long.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong; the source in question does nothing more.
    fn probe(&self, driver: &str, least: Duration) -> impl Future<Output = Result<(), SwitchError>> + Send;

    /// Lets the old sources go; calls that run in them get this long to end.
    fn retire(&self, driver: &str, drain: Duration) -> impl Future<Output = Ledger> + Send;

    /// Puts the old sources back in charge.
    fn revert(&self, driver: &str) -> impl Future<Output = Ledger> + Send;

    /// Whoever moved the driver's sources is lost, nobody knows how far it came: the old ones serve on, be they paused, on
    /// their way or replaced, unless they were let go.
    fn abort(&self, driver: &str) -> impl Future<Output = Ledger> + Send;
}

/// Why sources did not move to a new generation, or did not stay with it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{error}", datasource.as_ref().map(|name| format!("datasource {name:?} could not {step} with it: ")).unwrap_or_default())]
pub struct SwitchError {
    /// Whose source it was; none: an operator's doing.
    pub datasource: Option<String>,
    /// What it was asked.
    pub step: &'static str,
    /// What it answered.
    pub error: String,
    /// Whether the driver's code is at fault, not its data.
    pub code_fault: bool,
}

impl SwitchError {
    /// A source's answer.
    #[must_use]
    pub fn of(datasource: &str, step: &'static str, error: &impl ToString, code_fault: bool) -> Self {
        Self { datasource: Some(datasource.to_owned()), step, error: error.to_string(), code_fault }
    }

    /// Somebody wants it so.
    pub(super) fn ordered(why: String) -> Self {
        Self { datasource: None, step: "", error: why, code_fault: true }
    }
}
