//! Who tells, of the host itself: what the lower rooms let be followed becomes events here, and nowhere else.
//!
//! One file each. All is bounded: what comes faster than it can be told is lost, oldest first, counted and said. Nothing
//! that is logged here becomes an event.

mod datasources;
mod errors;
mod node;
mod plugins;
mod schemas;
mod sources;
mod subscriptions;
mod throttle;
mod types;

pub(crate) use node::Container;
pub(crate) use types::DriverTypes;

use super::catalogue::Typed;
use super::topic::{MAX_ORIGIN, check_origin};
use super::{Events, Publisher};
use crate::bus::Bus;
use crate::datasource::{Datasources, Emit};
use crate::happenings::{Receiver, RecvError};
use crate::plugin::Catalog;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What happens in the rooms below becomes events, as long as this lives.
#[derive(Debug)]
pub(crate) struct Producers {
    events: Events,
    types: Arc<DriverTypes>,
    tasks: JoinSet<()>,
}

impl Producers {
    /// Follows plugins, the bus and the log from now on.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn start(events: &Events, bus: &Bus, catalog: &Arc<Catalog>) -> Self {
        let types = Arc::new(DriverTypes::new(events, catalog));
        let mut tasks = JoinSet::new();
        tasks.spawn(plugins::run(own(events), catalog.news()));
        tasks.spawn(Arc::clone(&types).run(catalog.changed()));
        tasks.spawn(subscriptions::run(own(events), bus.follows()));
        tasks.spawn(schemas::run(own(events), bus.reshapes()));
        tasks.spawn(errors::run(own(events), crate::logging::errors()));
        Self { events: events.clone(), types, tasks }
    }

    /// What sources tell of is told by it.
    pub(crate) fn sources(&self) -> Arc<dyn Emit> {
        Arc::new(sources::Sources::new(&self.events, &self.types))
    }

    /// Follows datasources from now on.
    pub(crate) fn follow(&mut self, datasources: &Datasources) {
        let every = self.events.settings().updates;
        self.tasks.spawn(datasources::run(own(&self.events), datasources.happenings()));
        self.tasks.spawn(datasources::updates(own(&self.events), datasources.updates(), every));
    }
}

/// The node itself tells: what it has to say is bounded by what there is.
fn own(events: &Events) -> Publisher {
    events.publisher(&events.settings().node).with_limit(None)
}

/// Tells of something that happened. What can't be told is a fault of the host's own, and is logged.
fn tell<T: Typed>(publisher: &Publisher, to: &str, data: &T::Data, more: &[(&str, &str)]) {
    let fields = more.iter().filter(|(_, text)| !text.is_empty());
    let fields = fields.map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    if let Err(error) = publisher.tell_with::<T>(&origin(to), data, fields) {
        tracing::warn!(kind = T::NAME, origin = to, %error, "something that happened can't be told");
    }
}

/// What is next, and how much was lost before it; `None`: nothing comes any more.
async fn next<T: Clone>(happenings: &mut Receiver<T>, lost: &mut u64) -> Option<T> {
    loop {
        match happenings.recv().await {
            Ok(next) => return Some(next),
            Err(RecvError::Lagged(more)) => *lost += more,
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Says, if something was lost, that it was.
fn own_up(lost: &mut u64, of: &str) {
    let lost = std::mem::take(lost);
    if lost > 0 {
        tracing::warn!(lost, of, "more happened at once than could be told as events");
    }
}

/// Any name as an origin.
fn origin(name: &str) -> String {
    let fits = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '*' | '#');
    let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let words: Vec<&str> = name.split('.').filter(|word| !word.is_empty()).collect();
    let mut origin = words.join(".");
    while origin.len() > MAX_ORIGIN || origin.ends_with('.') {
        origin.pop();
    }
    if check_origin(&origin).is_err() { "unnamed".to_owned() } else { origin }
}

#[cfg(test)]
mod suite;
