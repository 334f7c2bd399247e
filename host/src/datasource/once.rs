//! Requests that carry an id run once, however often they come.

use super::action::ActionError;
use busway_plugin_api::message::ExecuteRequest;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// So many requests are remembered.
const REMEMBERED: usize = 10_000;
/// So many bytes of requests and their answers: the oldest are forgotten first.
const BYTES: usize = 16 << 20;

type Outcome = Result<Value, ActionError>;

/// One request.
#[derive(Debug)]
struct Slot {
    /// What it asks, of which datasource.
    asks: (Uuid, ExecuteRequest),
    outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<String, Arc<Slot>>,
    order: VecDeque<(String, usize)>,
    bytes: usize,
}

/// A request that was begun, now or when it came first.
#[derive(Debug)]
pub struct Begun {
    repeated: bool,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Begun {
    /// One without an id.
    pub(super) fn of(work: impl Future<Output = Outcome> + Send + 'static) -> Self {
        let (sender, outcome) = watch::channel(None);
        tokio::spawn(async move {
            // Nobody may wait for it.
            let _ = sender.send(Some(work.await));
        });
        Self { repeated: false, outcome }
    }

    /// Whether it came before: nothing was run now.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Its outcome, however often it came.
    ///
    /// # Errors
    ///
    /// Why it was not run, or what the source answered.
    pub async fn end(mut self) -> Result<Value, ActionError> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(ActionError::Lost)),
            // It panicked, which was logged where it happened.
            Err(_) => Err(ActionError::Lost),
        }
    }
}

/// The requests of this host's life that carried an id: the last ones.
#[derive(Debug, Default)]
pub(super) struct Once {
    state: Mutex<State>,
}

impl Once {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request of that id was run or runs.
    ///
    /// # Errors
    ///
    /// When that was another request.
    pub(super) fn knows(&self, datasource: Uuid, id: &str, request: &ExecuteRequest) -> Result<bool, ActionError> {
        match self.state().slots.get(id) {
            Some(slot) if slot.asks.0 != datasource || slot.asks.1 != *request => {
                Err(ActionError::RequestId(id.to_owned()))
            }
            known => Ok(known.is_some()),
        }
    }

    /// Runs a request with an id, unless one of that id was run or runs: then its outcome is this one's. One that runs goes on
    /// when its caller goes: who comes back hears how it ended. One that could not begin is forgotten.
    ///
    /// # Errors
    ///
    /// When another request came under the id.
    pub(super) fn begin<F>(
        self: &Arc<Self>,
        datasource: Uuid,
        id: &str,
        request: ExecuteRequest,
        work: F,
    ) -> Result<Begun, ActionError>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let asks = (datasource, request);
        let mut state = self.state();
        if let Some(slot) = state.slots.get(id) {
            return match slot.asks == asks {
                true => Ok(Begun { repeated: true, outcome: slot.outcome.subscribe() }),
                false => Err(ActionError::RequestId(id.to_owned())),
            };
        }
        let slot = Arc::new(Slot { asks, outcome: watch::Sender::new(None) });
        state.slots.insert(id.to_owned(), Arc::clone(&slot));
        drop(state);
        let begun = Begun { repeated: false, outcome: slot.outcome.subscribe() };
        let (once, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            // A panic was logged where it happened.
            let outcome = tokio::spawn(work).await.unwrap_or(Err(ActionError::Lost));
            once.end(id, &slot, outcome);
        });
        Ok(begun)
    }

    fn end(&self, id: String, slot: &Slot, outcome: Outcome) {
        let began = !matches!(&outcome, Err(error) if error.is_before());
        let said = match &outcome {
            Ok(value) => value.to_string().len(),
            Err(error) => error.to_string().len(),
        };
        // What was asked is kept, too.
        let asked = serde_json::to_vec(&slot.asks.1).map_or(0, |json| json.len());
        let size = id.len() + said + asked;
        let mut state = self.state();
        if began {
            state.bytes += size;
            state.order.push_back((id, size));
            while state.order.len() > REMEMBERED || state.bytes > BYTES {
                let Some((id, size)) = state.order.pop_front() else { break };
                state.bytes -= size;
                state.slots.remove(&id);
            }
        } else {
            state.slots.remove(&id);
        }
        drop(state);
        slot.outcome.send_replace(Some(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    impl Once {
        async fn run<F>(self: &Arc<Self>, datasource: Uuid, id: &str, request: ExecuteRequest, work: F) -> Outcome
        where
            F: Future<Output = Outcome> + Send + 'static,
        {
            self.begin(datasource, id, request, work)?.end().await
        }
    }

    fn request(action: &str) -> ExecuteRequest {
        ExecuteRequest { action: action.to_owned(), ..ExecuteRequest::default() }
    }

    #[tokio::test]
    async fn a_request_of_one_id_runs_once_also_when_its_first_caller_went() {
        let (once, ran, gate) =
            (Arc::new(Once::default()), Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let id = Uuid::new_v4();
        let work = || {
            let (ran, gate) = (Arc::clone(&ran), Arc::clone(&gate));
            async move {
                gate.notified().await;
                Ok(json!(ran.fetch_add(1, Ordering::SeqCst)))
            }
        };
        let first = tokio::spawn({
            let (once, work) = (Arc::clone(&once), work());
            async move { once.run(id, "a", request("x"), work).await }
        });
        while once.state().slots.is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        gate.notify_one();
        assert_eq!(once.run(id, "a", request("x"), work()).await, Ok(json!(0)));
        assert_eq!(once.run(id, "a", request("x"), work()).await, Ok(json!(0)));
        assert_eq!(ran.load(Ordering::SeqCst), 1);
        // Another request under the id is not taken for it.
        let other = once.run(id, "a", request("y"), work()).await;
        assert_eq!(other, Err(ActionError::RequestId("a".to_owned())));
        let other = once.run(Uuid::new_v4(), "a", request("x"), work()).await;
        assert_eq!(other, Err(ActionError::RequestId("a".to_owned())));
    }

    #[tokio::test]
    async fn what_could_not_begin_is_tried_again_and_what_failed_is_not() {
        let (once, id) = (Arc::new(Once::default()), Uuid::new_v4());
        let closed = ActionError::NotOpen { name: "web".to_owned(), phase: "opening", error: String::new() };
        let failed = ActionError::Failed(crate::bus::Fault::new("failed", "no"));
        let run = |outcome: Outcome| once.run(id, "a", request("x"), async move { outcome });
        assert_eq!(run(Err(closed.clone())).await, Err(closed));
        assert_eq!(run(Err(failed.clone())).await, Err(failed.clone()));
        assert_eq!(run(Ok(json!(1))).await, Err(failed));
    }

    #[tokio::test]
    async fn one_that_met_a_source_in_between_two_is_tried_again() {
        let (once, id) = (Arc::new(Once::default()), Uuid::new_v4());
        let run = |outcome: Outcome| once.run(id, "a", request("x"), async move { outcome });
        let busy = ActionError::Failed(crate::bus::Fault::new("busy", "no thread is free"));
        for early in [ActionError::Standby("web".to_owned()), busy] {
            assert_eq!(run(Err(early.clone())).await, Err(early));
        }
        assert_eq!(run(Ok(json!(1))).await, Ok(json!(1)));
    }

    #[tokio::test]
    async fn one_whose_work_panics_is_answered() {
        let (once, id) = (Arc::new(Once::default()), Uuid::new_v4());
        let run = || {
            let ended = once.run(id, "a", request("x"), async { panic!("on purpose") });
            tokio::time::timeout(std::time::Duration::from_secs(5), ended)
        };
        assert_eq!(run().await, Ok(Err(ActionError::Lost)));
        assert_eq!(run().await, Ok(Err(ActionError::Lost)));
    }

    #[tokio::test]
    async fn large_requests_are_not_all_kept() {
        let (once, id) = (Arc::new(Once::default()), Uuid::new_v4());
        let large = "x".repeat(BYTES / 4);
        for name in ["a", "b", "c", "d", "e"] {
            let request = ExecuteRequest { positional: vec![json!(large)], ..request("x") };
            once.run(id, name, request, async { Ok(json!(1)) }).await.unwrap();
        }
        let state = once.state();
        assert!(state.slots.len() < 4 && state.bytes <= BYTES, "{}: {}", state.slots.len(), state.bytes);
    }

    #[tokio::test]
    async fn the_oldest_are_forgotten() {
        let (once, id) = (Arc::new(Once::default()), Uuid::new_v4());
        let large = || json!("x".repeat(BYTES / 4));
        for name in ["a", "b", "c", "d"] {
            once.run(id, name, request("x"), async move { Ok(large()) }).await.unwrap();
        }
        assert_eq!(once.run(id, "d", request("x"), async { Ok(json!(2)) }).await, Ok(large()));
        assert_eq!(once.run(id, "a", request("x"), async { Ok(json!(2)) }).await, Ok(json!(2)));
        for n in 0..=REMEMBERED {
            once.run(id, &n.to_string(), request("x"), async { Ok(json!(1)) }).await.unwrap();
        }
        assert_eq!(once.run(id, "0", request("x"), async { Ok(json!(2)) }).await, Ok(json!(2)));
        assert_eq!(once.run(id, "9", request("x"), async { Ok(json!(2)) }).await, Ok(json!(1)));
    }
}
