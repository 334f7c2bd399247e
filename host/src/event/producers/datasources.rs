//! Datasources: made, changed, removed, not to be read, read again; and that their tables changed.

use super::super::Publisher;
use super::super::catalogue::{
    DatasourceChange, DatasourceChangeEvent, DatasourceLifecycleEvent, DatasourceUnavailable,
    DatasourceUnavailableEvent, DatasourceUpdateEvent, ResourceLifecycle, ResourceState, Trigger,
};
use super::throttle::Throttle;
use super::{next, own_up, tell};
use crate::datasource::{Happening, Phase, Record, Updates};
use crate::happenings::Receiver;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So many tables are named.
const NAMED: usize = 20;

/// Tells of all that happens to datasources.
pub(super) async fn run(publisher: Publisher, mut happenings: Receiver<Happening>) {
    let (mut lost, mut standing) = (0, Standing::default());
    while let Some(happening) = next(&mut happenings, &mut lost).await {
        own_up(&mut lost, "datasources");
        match happening {
            Happening::Created(record) => is(&publisher, &record.name, ResourceState::NEW, Some(&record)),
            Happening::Changed(record) => {
                let data = DatasourceChange { datasource_id: Some(record.name.clone()) };
                let id = record.id.to_string();
                tell::<DatasourceChangeEvent>(&publisher, &record.name, &data, &[("data_resource_id", &id)]);
            }
            Happening::Removed(record) => {
                standing.forget(&record.name);
                is(&publisher, &record.name, ResourceState::TERMINATED, Some(&record));
            }
            Happening::Moved { name, phase, unread, error } => match standing.moved(&name, phase, unread) {
                Some(Turn::Fell) => {
                    let why = if error.is_empty() { phase.as_str().to_owned() } else { error };
                    let data = DatasourceUnavailable {
                        datasource_id: Some(name.to_string()),
                        error_explanation: Some(why),
                        ..DatasourceUnavailable::default()
                    };
                    tell::<DatasourceUnavailableEvent>(&publisher, &name, &data, &[("description", phase.as_str())]);
                }
                Some(Turn::Rose) => is(&publisher, &name, ResourceState::ACTIVE, None),
                None => {}
            },
        }
    }
}

fn is(publisher: &Publisher, name: &str, state: ResourceState, record: Option<&Record>) {
    let data = ResourceLifecycle { state: Some(state) };
    let id = record.map(|record| record.id.to_string()).unwrap_or_default();
    let driver = record.map(|record| format!("a datasource of driver {}", record.spec.driver)).unwrap_or_default();
    let more = [("data_resource_id", id.as_str()), ("description", &driver)];
    tell::<DatasourceLifecycleEvent>(publisher, name, &data, &more);
}

/// What is told of a datasource that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It can't be read any more.
    Fell,
    /// It can be read again.
    Rose,
}

/// Which datasources are up, and which fell: a fall is told once, however often it is tried again.
#[derive(Debug, Default)]
struct Standing {
    up: HashMap<Arc<str>, bool>,
}

impl Standing {
    /// `unread`: while it is polled, nothing of it can be read.
    fn moved(&mut self, name: &Arc<str>, phase: Phase, unread: bool) -> Option<Turn> {
        let was = self.up.get(name).copied();
        let (now, turn) = match (phase, was) {
            (Phase::Degraded, Some(false)) if unread => return None,
            (Phase::Degraded, _) if unread => (false, Some(Turn::Fell)),
            (Phase::Running | Phase::Degraded, Some(false)) => (true, Some(Turn::Rose)),
            (Phase::Running | Phase::Degraded, _) => (true, None),
            (Phase::Failed | Phase::Hung, Some(true) | None) => (false, Some(Turn::Fell)),
            // One that has not been up yet waits for its driver as all do at the start.
            (Phase::Waiting, Some(true)) => (false, Some(Turn::Fell)),
            // An operator's wish is no fall.
            (Phase::Disabled | Phase::Stopped, _) => {
                self.forget(name);
                return None;
            }
            _ => return None,
        };
        self.up.insert(Arc::clone(name), now);
        turn
    }

    fn forget(&mut self, name: &str) {
        self.up.remove(name);
    }
}

/// Tells that datasources' tables changed: of each at most once in that time.
pub(super) async fn updates(publisher: Publisher, updates: Arc<Updates>, every: Duration) {
    let mut throttle: Throttle<String, BTreeSet<String>> = Throttle::new(every);
    loop {
        let due = throttle.next();
        let ready = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            updated = updates.take() => {
                let now = Instant::now();
                let join = |mut before: BTreeSet<String>, after| { before.extend(after); before };
                for (name, tables) in updated {
                    if let Some(tables) = throttle.offer(&name, tables, join, now) {
                        changed(&publisher, &name, &tables);
                    }
                }
            }
            () = ready => {
                for (name, tables) in throttle.ready(Instant::now()) {
                    changed(&publisher, &name, &tables);
                }
            }
        }
    }
}

fn changed(publisher: &Publisher, name: &str, tables: &BTreeSet<String>) {
    let mut shown: Vec<&str> = tables.iter().take(NAMED).map(String::as_str).collect();
    if tables.len() > NAMED {
        shown.push("…");
    }
    let payload = match (tables.first(), tables.len()) {
        (Some(table), 1) => format!("{name}/{table}"),
        _ => name.to_owned(),
    };
    let data = Trigger { task_id: None, payload: Some(payload) };
    let description = format!("changed: {}", shown.join(", "));
    tell::<DatasourceUpdateEvent>(publisher, name, &data, &[("description", &description)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_is_told_once_and_so_is_the_way_back() {
        let (mut standing, name) = (Standing::default(), Arc::from("web"));
        let mut moves = |phases: &[Phase]| phases.iter().map(|p| standing.moved(&name, *p, false)).collect::<Vec<_>>();
        use Phase::{Degraded, Disabled, Failed, Hung, Opening, Running, Waiting};
        assert_eq!(moves(&[Waiting, Opening, Running, Degraded, Running]), [None; 5]);
        assert_eq!(
            moves(&[Failed, Opening, Failed, Opening, Hung, Waiting]),
            [Some(Turn::Fell), None, None, None, None, None]
        );
        assert_eq!(moves(&[Opening, Degraded, Running]), [None, Some(Turn::Rose), None]);
        assert_eq!(moves(&[Waiting, Opening, Running]), [Some(Turn::Fell), None, Some(Turn::Rose)]);
        assert_eq!(moves(&[Disabled, Waiting, Opening, Running]), [None; 4], "its operator meant it");
        assert_eq!(moves(&[Disabled, Waiting, Opening, Failed]), [None, None, None, Some(Turn::Fell)]);
    }

    #[test]
    fn polls_of_which_nothing_comes_are_a_fall_and_some_tables_errors_are_none() {
        let (mut standing, name) = (Standing::default(), Arc::from("web"));
        let mut moves =
            |of: &[(Phase, bool)]| of.iter().map(|(p, u)| standing.moved(&name, *p, *u)).collect::<Vec<_>>();
        use Phase::{Degraded, Failed, Opening, Running};
        assert_eq!(moves(&[(Running, false), (Degraded, false), (Degraded, true)]), [None, None, Some(Turn::Fell)]);
        assert_eq!(moves(&[(Failed, true), (Opening, true), (Degraded, true)]), [None; 3], "it was told");
        assert_eq!(moves(&[(Degraded, false), (Running, false)]), [Some(Turn::Rose), None], "some of it can be read");
        assert_eq!(moves(&[(Degraded, true), (Running, false)]), [Some(Turn::Fell), Some(Turn::Rose)]);
    }
}
