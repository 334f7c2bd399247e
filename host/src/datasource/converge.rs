//! Brings what runs to what the records say: at once after each change, and from time to time.

use super::action;
use super::entry::{Entry, Running, listen};
use super::interest::{self, Noted};
use super::news::Happening;
use super::record::{self, Record};
use super::runner::{Event, Runner, Shared};
use super::set::Datasources;
use super::store::{Document, StoreError};
use super::synchronize::{Deed, plan};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// All records are looked at so often, whatever was rung.
const PERIOD: Duration = Duration::from_secs(30);
/// So long a change waits for a source to close. One that takes longer closes on its own.
const CLOSING: Duration = Duration::from_secs(2);

/// All that a datasource does, until it ends.
#[allow(clippy::manual_async_fn, reason = "an async fn holds what it is given twice, and thousands wait")]
pub(super) fn live(mut runner: Runner, noted: Arc<Noted>, shared: Arc<Shared>) -> impl Future<Output = ()> + Send {
    async move {
        tokio::select! {
            () = runner.run() => {}
            never = interest::tell(&shared, &noted) => match never {},
        }
    }
}

impl Datasources {
    /// Looks at all records when rung and from time to time, until the host stops.
    pub(super) async fn keep_synchronized(self) {
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = self.inner.wake.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
            if let Err(error) = self.synchronize().await {
                tracing::warn!(%error, "the records could not be read: what runs goes on, and they are tried again");
            }
        }
    }

    /// Brings everything to what the records say.
    pub(super) async fn synchronize(&self) -> Result<(), StoreError> {
        let turn = self.inner.turn.lock().await;
        let (all, runtime) = (self.clone(), Handle::current());
        // Many records are copied and unsealed: that is no work for a thread that others wait for.
        let read = tokio::task::spawn_blocking(move || runtime.block_on(all.wanted())).await;
        let wanted = read.unwrap_or_else(|panic| Err(StoreError::Unavailable { reason: panic.to_string() }))?;
        let gone: Vec<Uuid> = self.entries().by_id.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        // What goes first leaves its name to what comes.
        let mut ending: Vec<JoinHandle<()>> = gone.into_iter().filter_map(|id| self.bring(id, None)).collect();
        ending.extend(wanted.into_iter().filter_map(|(id, record)| self.bring(id, Some(record))));
        drop(turn);
        self.let_end(ending);
        Ok(())
    }

    /// All records as they are kept. One that is known as of its revision is not unsealed again.
    async fn wanted(&self) -> Result<BTreeMap<Uuid, Arc<Record>>, StoreError> {
        let documents = self.inner.store.all().await?;
        let one = |document: Document| {
            let entry = self.entries().by_id.get(&document.id).cloned();
            let known = entry.map(|entry| entry.record()).filter(|record| record.revision == document.revision);
            known.unwrap_or_else(|| Arc::new(record::read(document, &self.inner.keyring)))
        };
        Ok(documents.into_iter().map(|document| (document.id, one(document))).collect())
    }

    /// Brings one datasource to what its record says; waits a moment for a source to close.
    pub(super) async fn settle(&self, id: Uuid) {
        let ended = {
            let _turn = self.inner.turn.lock().await;
            match self.inner.store.get(id).await {
                Ok(document) => {
                    let record = document.map(|document| Arc::new(record::read(document, &self.inner.keyring)));
                    self.bring(id, record)
                }
                Err(error) => {
                    tracing::warn!(%id, %error, "a changed record could not be read: it is tried again");
                    self.inner.wake.notify_one();
                    None
                }
            }
        };
        if let Some(mut task) = ended
            && tokio::time::timeout(CLOSING, &mut task).await.is_err()
        {
            self.let_end(vec![task]);
        }
    }

    /// Does what is to be done about one datasource. What it ended may take its time to.
    fn bring(&self, id: Uuid, want: Option<Arc<Record>>) -> Option<JoinHandle<()>> {
        if *self.inner.stopping.borrow() {
            return None;
        }
        let entry = self.entries().by_id.get(&id).cloned();
        let have = entry.as_ref().map(|entry| entry.record());
        if let Some(entry) = entry.as_ref().filter(|entry| entry.is_lost()) {
            tracing::error!(datasource = entry.record().name, "the datasource's runner was lost: another one begins");
            entry.end(Event::NoSource, &self.inner.news);
        }
        let runs = entry.as_ref().is_some_and(|entry| entry.runs());
        let deeds = plan(have.as_deref(), runs, want.as_deref());
        let mut entry = entry;
        let mut ended = None;
        for deed in deeds {
            match (deed, &entry) {
                (Deed::Stop(event), Some(entry)) => ended = entry.end(event, &self.inner.news),
                (Deed::Note, _) => entry = want.as_ref().map(|record| self.note(record)),
                (Deed::Start, Some(entry)) => self.begin(entry),
                (Deed::Follow, Some(entry)) => entry.follow(),
                (Deed::Forget, Some(entry)) => self.forget(entry),
                (_, None) => {}
            }
        }
        ended
    }

    fn note(&self, record: &Arc<Record>) -> Arc<Entry> {
        let mut entries = self.entries_mut();
        let known = entries.by_id.get(&record.id).map(|entry| entry.record().revision);
        let entry = entries.by_id.entry(record.id).or_insert_with(|| {
            Arc::new(Entry::new(Arc::clone(record), self.inner.keep.place(record.id), &self.inner.news))
        });
        let entry = Arc::clone(entry);
        entry.note(Arc::clone(record));
        // What one kept whose record can't be read is left until somebody can say.
        if record.fault.is_none() && entry.place().turn(record.spec.persist_data) && !record.spec.persist_data {
            let place = entry.place();
            tokio::task::spawn_blocking(move || place.clear());
        }
        entries.by_name.insert(record.name.clone(), record.id);
        drop(entries);
        match known {
            None => self.inner.news.tell(|| Happening::Created(Arc::clone(record))),
            Some(known) if known != record.revision => self.inner.news.tell(|| Happening::Changed(Arc::clone(record))),
            Some(_) => {}
        }
        self.inner.news.ring();
        entry
    }

    fn forget(&self, entry: &Entry) {
        let record = entry.record();
        let mut entries = self.entries_mut();
        entries.by_id.remove(&record.id);
        // Another may have the name by now.
        if entries.by_name.get(&record.name) == Some(&record.id) {
            entries.by_name.remove(&record.name);
        } else {
            // It could not be put on the bus under a name that was not free yet.
            self.inner.wake.notify_one();
        }
        drop(entries);
        let place = entry.place();
        // For good: its runner may not have ended yet.
        place.turn(false);
        tokio::task::spawn_blocking(move || place.clear());
        self.inner.news.tell(|| Happening::Removed(record));
        self.inner.news.ring();
    }

    /// Puts it on the bus and runs it. When its name is taken there, that is its error, and it is tried again.
    fn begin(&self, entry: &Arc<Entry>) {
        let record = entry.record();
        let service = match self.inner.bus.register(&record.name) {
            Ok(service) => Arc::new(service),
            Err(error) => {
                let text = error.to_string();
                tracing::warn!(datasource = record.name, error = text, "the datasource can't be put on the bus");
                return entry.shared().change(|s| s.on(Event::Lost, text));
            }
        };
        listen(&service, &record);
        let shared = Arc::new(Shared::new(Arc::clone(&self.inner.news), &record.name));
        let (commands, receiver) = mpsc::unbounded_channel();
        action::expose(&service, &record.spec.driver, &self.inner.catalog, &shared);
        let noted = interest::listen(&service);
        let (catalog, seen) = (Arc::clone(&self.inner.catalog), Arc::clone(&shared));
        let (record, records) = watch::channel(record);
        let asked = (receiver, records);
        let runner = Runner::new(Arc::clone(&service), catalog, seen, asked, entry.place());
        let task = tokio::spawn(live(runner, noted, Arc::clone(&shared)));
        entry.begin(shared, Running { service, commands, record, task });
    }

    /// Lets runners end by themselves; the host's end waits for them.
    fn let_end(&self, tasks: Vec<JoinHandle<()>>) {
        let mut ending = self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.retain(|task| !task.is_finished());
        ending.extend(tasks);
    }
}
