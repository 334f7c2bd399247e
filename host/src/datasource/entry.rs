//! A datasource that the host knows, and what runs of it.

use super::keep::Place;
use super::news::News;
use super::record::Record;
use super::runner::{Command, Event, Shared, Status};
use crate::bus::Service;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// What runs of a datasource.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) service: Arc<Service>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// The record that it is to go by. Of many changes at once it follows the last.
    pub(super) record: watch::Sender<Arc<Record>>,
    pub(super) task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    record: Arc<Record>,
    shared: Arc<Shared>,
    running: Option<Running>,
}

/// A datasource that the host knows.
#[derive(Debug)]
pub(super) struct Entry {
    state: Mutex<State>,
    /// Where its tables are kept, if they are.
    place: Arc<Place>,
}

impl Entry {
    /// One that does not run.
    pub(super) fn new(record: Arc<Record>, place: Place, news: &Arc<News>) -> Self {
        let shared = Arc::new(Shared::new(Arc::clone(news), &record.name));
        idle(&shared, &record);
        Self { state: Mutex::new(State { record, shared, running: None }), place: Arc::new(place) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.state().record)
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.state().shared)
    }

    pub(super) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    pub(super) fn status(&self) -> Status {
        self.shared().status().clone()
    }

    pub(super) fn runs(&self) -> bool {
        self.state().running.is_some()
    }

    /// Its service, as nobody else has it.
    #[cfg(test)]
    pub(super) fn service(&self) -> Arc<Service> {
        self.state().running.as_ref().map(|running| Arc::clone(&running.service)).unwrap()
    }

    /// Ends its runner as a panic would.
    #[cfg(test)]
    pub(super) async fn break_runner(&self) {
        let task = self.state().running.as_ref().map(|running| running.task.abort_handle()).unwrap();
        task.abort();
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Whether its runner ended by itself, which none should: it panicked.
    pub(super) fn is_lost(&self) -> bool {
        self.state().running.as_ref().is_some_and(|running| running.task.is_finished())
    }

    /// Notes the record as it is now.
    pub(super) fn note(&self, record: Arc<Record>) {
        let mut state = self.state();
        if state.running.is_none() {
            idle(&state.shared, &record);
        }
        state.record = record;
    }

    /// It runs from now on.
    pub(super) fn begin(&self, shared: Arc<Shared>, running: Running) {
        let mut state = self.state();
        (state.shared, state.running) = (shared, Some(running));
    }

    /// Tells its runner of the record as it is now.
    pub(super) fn follow(&self) {
        let state = self.state();
        if let Some(running) = &state.running {
            let record = &state.record;
            listen(&running.service, record);
            running.record.send_replace(Arc::clone(record));
        }
    }

    /// Takes it off the bus at once, and lets its runner end; that may take as long as a call of its driver. Whatever the
    /// runner has to say from now on is of no interest.
    pub(super) fn end(&self, event: Event, news: &Arc<News>) -> Option<JoinHandle<()>> {
        let mut state = self.state();
        let running = state.running.take()?;
        running.service.unregister();
        state.shared.end();
        let _ = running.commands.send(Command::Stop(event));
        let shared = Arc::new(Shared::new(Arc::clone(news), &state.record.name));
        shared.change(|s| s.on(event, ""));
        state.shared = shared;
        Some(running.task)
    }

    /// Asks its runner; `None`: it does not run.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.state().running.as_ref()?.commands.send(command(reply)).ok()?;
        answer.await.ok()
    }
}

/// Listens on the record's further addresses, and on no others.
pub(super) fn listen(service: &Service, record: &Record) {
    for address in service.addresses().iter().filter(|a| *a != service.name() && !record.spec.addresses.contains(*a)) {
        service.unlisten(address);
    }
    for address in &record.spec.addresses {
        if let Err(error) = service.listen(address) {
            tracing::warn!(datasource = record.name, address, %error, "the datasource does not listen there");
        }
    }
}

/// How it is when it does not run.
fn idle(shared: &Shared, record: &Record) {
    let (event, error) = match &record.fault {
        Some(fault) => (Event::Lost, fault.clone()),
        None if !record.spec.enabled => (Event::Disabled, String::new()),
        None => (Event::NoSource, String::new()),
    };
    shared.change(|s| {
        // Anew: what was before does not keep it from there.
        s.phase = super::Phase::default();
        s.on(event, error);
    });
}
