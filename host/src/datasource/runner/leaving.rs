//! Sources that were replaced, and end: nobody waits for them but who ends their datasource.

use crate::datasource::ingest::Ingest;
use crate::datasource::open::Open;
use std::sync::Weak;
use tokio::task::JoinHandle;

/// Those of one datasource.
#[derive(Debug, Default)]
pub(super) struct Leaving(Vec<(Weak<Ingest>, JoinHandle<()>)>);

impl Leaving {
    /// A source ends as `end` does.
    pub(super) fn see_off(&mut self, open: &Open, end: impl Future<Output = ()> + Send + 'static) {
        self.0.retain(|(_, task)| !task.is_finished());
        self.0.push((std::sync::Arc::downgrade(&open.ingest), tokio::spawn(end)));
    }

    /// Their calls are cancelled, and each is waited for: it is closed, or given up by its own deadline.
    pub(super) async fn end(&mut self) {
        self.0.iter().filter_map(|(ingest, _)| ingest.upgrade()).for_each(|ingest| ingest.cancel_all());
        for (_, task) in self.0.drain(..) {
            // A panic was logged where it happened.
            let _ = task.await;
        }
    }
}
