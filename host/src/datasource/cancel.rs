//! How a source is told that calls of it are to end, on few threads, however many sources there are.

use super::ingest::{Ingest, lock};
use crate::plugin::Source;
use std::sync::Arc;
use std::time::Duration;

/// To cancel, a source has so long: it is to return at once.
const CANCEL: Duration = Duration::from_secs(1);
/// What could not be told within this is not told any more: the calls' own deadlines end them.
const TOLD: Duration = Duration::from_secs(5);

impl Ingest {
    /// The source is open: from now on it is told what is cancelled.
    pub(super) fn came(&self, source: &Arc<dyn Source>) {
        *lock(&self.source) = Some(Arc::downgrade(source));
    }

    /// Cancels a call, if it runs or waits for a thread.
    pub(super) fn cancel(&self, call: u64) {
        if self.calls.cancel(call) {
            self.tell(Some(call));
        }
    }

    /// Cancels all calls, those too that come later, but for the one that closes the source.
    pub(super) fn cancel_all(&self) {
        if self.calls.close() {
            self.tell(None);
        }
    }

    /// It is foreign code, and the driver's threads may be what hangs: it runs on threads of its own.
    fn tell(&self, call: Option<u64>) {
        // One that is being opened reads the flag.
        let Some(source) = lock(&self.source).clone() else { return };
        let (cancels, name) = (self.generation.cancels.clone(), self.generation.info.id.clone());
        self.runtime.spawn(async move {
            let waited = Arc::new(());
            let waits = Arc::downgrade(&waited);
            let tell = move || {
                if let (Some(_), Some(source)) = (waits.upgrade(), source.upgrade()) {
                    source.cancel(call.as_ref().map(std::slice::from_ref));
                }
            };
            let why = match tokio::time::timeout(TOLD, cancels.run(CANCEL, || (), tell)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no thread was free in time".to_owned(),
            };
            tracing::warn!(driver = name, why, "a source could not be told that its calls are cancelled");
        });
    }
}
