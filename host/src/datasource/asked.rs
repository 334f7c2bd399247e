//! What a datasource can be asked: to run an action, or to be polled.

use super::action::{self, ACTION, ActionError};
use super::once::Begun;
use super::set::Datasources;
use crate::bus::Fault;
use busway_plugin_api::message::{ExecuteRequest, PollRequest};
use serde_json::Value;
use std::sync::{Arc, Weak};

impl Datasources {
    /// Runs an action of a datasource's source. When the future is dropped, the action is cancelled; one of a request with
    /// an id goes on, as [`submit`](Self::submit) says.
    ///
    /// # Errors
    ///
    /// When it is not there or not open, has no such action or no such arguments, and what the source answers.
    pub async fn execute(&self, name_or_id: &str, request: ExecuteRequest) -> Result<Value, ActionError> {
        if request.request_id.is_some() {
            return self.submit(name_or_id, request, false)?.end().await;
        }
        let entry = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        action::run(&entry.record().name, &entry.shared(), request, ACTION).await
    }

    /// Begins to run an action, which goes on whoever goes. A request with an id runs once in this host's life (of the last
    /// 10,000): one that comes again runs nothing, and its outcome is the first one's. `now`: only if it could begin now, as
    /// far as that can be told.
    ///
    /// # Errors
    ///
    /// When it is not there, or can't begin now, or another request came under its id.
    pub fn submit(&self, name_or_id: &str, request: ExecuteRequest, now: bool) -> Result<Begun, ActionError> {
        let entry = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        let (record, shared) = (entry.record(), entry.shared());
        let id = request.request_id.clone();
        let known = match &id {
            Some(id) => self.inner.once.knows(record.id, id, &request)?,
            None => false,
        };
        if now && !known {
            let open = shared.open().ok_or_else(|| ActionError::not_open(&record.name, &shared))?;
            action::check(&open.generation.info.actions, &request)?;
        }
        let (name, asked) = (record.name.clone(), request.clone());
        let work = async move { action::run(&name, &shared, asked, ACTION).await };
        match id {
            Some(id) => self.inner.once.begin(record.id, &id, request, work),
            None => Ok(Begun::of(work)),
        }
    }

    /// Polls a datasource soon.
    ///
    /// # Errors
    ///
    /// When it is not there or not open.
    pub fn refresh(&self, name_or_id: &str) -> Result<(), ActionError> {
        let entry = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        let shared = entry.shared();
        let open = shared.open().ok_or_else(|| ActionError::not_open(&entry.record().name, &shared))?;
        open.ingest.want(&PollRequest::default());
        Ok(())
    }

    /// Polls a datasource, and waits until a poll of all its tables has ended that began after this did. May take as long as
    /// two polls.
    ///
    /// # Errors
    ///
    /// When it is not there or not open, or is not any more, or the poll failed.
    pub async fn refreshed(&self, name_or_id: &str) -> Result<(), ActionError> {
        let entry = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        let mut changed = self.changed();
        let mut shared = entry.shared();
        // A poll that runs now was begun before; the one after it is ours.
        let mut before = shared.status().rounds.begun;
        let mut asked = Weak::new();
        loop {
            let now = entry.shared();
            if !Arc::ptr_eq(&now, &shared) {
                // It was begun anew since: all its polls were.
                (shared, before, asked) = (now, 0, Weak::new());
            }
            let name = &entry.record().name;
            let rounds = shared.status().rounds.clone();
            if rounds.ended > before {
                return match rounds.error.is_empty() {
                    true => Ok(()),
                    false => {
                        let text = format!("{name} was polled, and that failed: {}", rounds.error);
                        Err(ActionError::Failed(Fault::new("poll_failed", text)))
                    }
                };
            }
            let mut standing = shared.standing();
            let open = shared.open().ok_or_else(|| ActionError::not_open(name, &shared))?;
            // Also of a source that took over from the one that was asked.
            if !std::ptr::eq(asked.as_ptr(), Arc::as_ptr(&open)) {
                open.ingest.want(&PollRequest::default());
                asked = Arc::downgrade(&open);
            }
            drop(open);
            tokio::select! {
                _ = changed.changed() => {}
                _ = standing.changed() => {}
            }
        }
    }
}
