//! Views that nobody looks at any more, for those who come back and say where they stood.
//!
//! A view's recent steps are its own: when it goes with its last subscriber, a client whose connection broke would always
//! begin anew. So it stays a while, few at a time: each has its rows in memory, and its table pays for each.

use super::registry::Touched;
use super::slot::Slot;
use super::{Bus, Inner};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// So long.
pub(super) const REST: Duration = Duration::from_secs(60);
/// So many.
pub(super) const MOST: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Resting {
    /// Until when, in order.
    views: VecDeque<(Instant, Arc<Slot>)>,
    /// Somebody will come when the first is due.
    awaited: bool,
}

impl Resting {
    /// One more; answers those that have to go.
    pub(crate) fn add(&mut self, view: &Arc<Slot>, now: Instant) -> Vec<Arc<Slot>> {
        self.views.retain(|(_, other)| !Arc::ptr_eq(other, view));
        self.views.push_back((now + REST, Arc::clone(view)));
        self.due(now)
    }

    /// Those that have to go.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Arc<Slot>> {
        let late = self.views.iter().take_while(|(until, _)| *until <= now).count();
        let many = self.views.len().saturating_sub(MOST);
        self.views.drain(..late.max(many)).map(|(_, view)| view).collect()
    }

    fn next(&self) -> Option<Instant> {
        self.views.front().map(|(until, _)| *until)
    }
}

impl Bus {
    /// Sees to it that views go when their time is over. Without a runtime they go when others come to rest.
    pub(super) fn await_resting(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut registry = self.registry();
        if registry.resting.awaited || registry.resting.next().is_none() {
            return;
        }
        registry.resting.awaited = true;
        drop(registry);
        let bus: Weak<Inner> = self.downgrade();
        runtime.spawn(async move {
            loop {
                let Some(bus) = bus.upgrade().map(|inner| Bus { inner }) else { return };
                let Some(next) = bus.let_rest_go() else { return };
                drop(bus);
                tokio::time::sleep_until(next).await;
            }
        });
    }

    /// Lets those go that are due; answers when the next ones are.
    fn let_rest_go(&self) -> Option<Instant> {
        let mut touched = Touched::default();
        let mut registry = self.registry();
        let due = registry.resting.due(Instant::now());
        due.iter().for_each(|view| registry.let_go(view, &mut touched));
        let next = registry.resting.next();
        registry.resting.awaited = next.is_some();
        drop(registry);
        Self::align(&touched);
        next
    }
}
