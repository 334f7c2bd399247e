//! Trying again, with growing pauses.

use crate::{Context, Error};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::time::Duration;

/// How often and how long to try again. Only [transient](Error::is_transient) errors are; the pauses grow twofold from
/// a tenth of a second to ten, with jitter, and end at once when the call is cancelled.
///
/// ```no_run
/// # use busway_plugin_api::{Context, Error, Retry};
/// # fn fetch() -> Result<String, Error> { Ok(String::new()) }
/// # fn example(context: &Context) -> Result<(), Error> {
/// let page = Retry::new().attempts(5).run(context, || fetch())?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    attempts: usize,
    first: Duration,
    longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// Three attempts in all.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempts: 3, first: Duration::from_millis(100), longest: Duration::from_secs(10) }
    }

    /// How many attempts in all, at least one.
    #[must_use]
    pub const fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts;
        self
    }

    /// The first pause and the longest.
    #[must_use]
    pub const fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// Does the work until it works, fails for good, runs out of attempts or is cancelled.
    ///
    /// # Errors
    ///
    /// The last attempt's.
    pub fn run<T>(self, context: &Context, mut work: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(self.first.min(self.longest))
            .with_max_delay(self.longest)
            .with_max_times(self.attempts.saturating_sub(1))
            .with_jitter()
            .build();
        loop {
            let error = match work() {
                Err(error) if error.is_transient() => error,
                done => return done,
            };
            match pauses.next() {
                // The jitter comes on top of the longest.
                Some(pause) if context.sleep(pause.min(self.longest)) => tracing::debug!(%error, "trying again"),
                _ => return Err(error),
            }
        }
    }
}
