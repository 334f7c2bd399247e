//! The host's own tables: service `_host`. Whoever wants to know something of the host reads them, as any other.

use crate::bus::{Address, Bus, RegisterError, Service};
use crate::datasource::{Datasources, View};
use crate::plugin::Catalog;
use crate::table::Epoch;
use busway_plugin_api::TableSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The host's service.
pub(crate) const HOST: &str = "_host";
/// Bursts of changes become one update.
const SETTLE: Duration = Duration::from_millis(100);
/// Numbers that nobody rings for (rows, steps, queues) are looked at so often.
const BEAT: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Plugin {
    file: String,
    driver: Option<String>,
    version: Option<String>,
    state: String,
    reason: Option<String>,
    generation: Option<u64>,
    sha256: Option<String>,
    size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Generation {
    generation: u64,
    driver: String,
    version: String,
    state: String,
    sources: u64,
    loaded: String,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Datasource {
    name: String,
    driver: String,
    state: String,
    error: Option<String>,
    generation: Option<u64>,
    poll_seconds: f64,
    polls: u64,
    failures: u64,
    last_poll: Option<String>,
    since: String,
    managed_by: String,
    rows: u64,
    status: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Table {
    service: String,
    table: String,
    rows: u64,
    epoch: u64,
    to: u64,
    key: String,
    columns: u64,
    error: Option<String>,
    as_of: Option<String>,
    description: String,
}

#[derive(Serialize, Deserialize)]
struct Subscription {
    subscription: String,
    service: String,
    table: String,
    subscriber: Option<String>,
    since: String,
    epoch: Option<u64>,
    to: Option<u64>,
    queued: u64,
    queued_bytes: u64,
    late: bool,
    dropped: u64,
    coalesced: u64,
    resynced: u64,
}

/// Begins to publish them, until aborted.
pub(super) fn start(
    bus: &Bus,
    catalog: Arc<Catalog>,
    datasources: Datasources,
) -> Result<JoinHandle<()>, RegisterError> {
    let service = bus.register(HOST)?;
    let bus = bus.clone();
    let (mut plugins, mut sources, mut tables) = (catalog.changed(), datasources.changed(), bus.changed());
    // The second time its own tables are there to be listed.
    for _ in 0..2 {
        publish(&service, &bus, &catalog, &datasources);
    }
    Ok(tokio::spawn(async move {
        loop {
            // Its own publications ring too; the settling time and unchanged tables keep that from going round.
            let _ = tokio::time::timeout(BEAT, async {
                tokio::select! {
                    _ = plugins.changed() => {}
                    _ = sources.changed() => {}
                    _ = tables.changed() => {}
                }
            })
            .await;
            tokio::time::sleep(SETTLE).await;
            plugins.mark_unchanged();
            sources.mark_unchanged();
            tables.mark_unchanged();
            publish(&service, &bus, &catalog, &datasources);
        }
    }))
}

fn publish(service: &Service, bus: &Bus, catalog: &Catalog, datasources: &Datasources) {
    let text = |time: jiff::Timestamp| format!("{time:.0}");
    let mut seen = BTreeSet::new();
    let plugins = catalog.files().into_iter().map(|f| Plugin {
        // A row a file: what serves of one that holds another driver now has its own.
        file: match (seen.insert(f.path.clone()), &f.driver) {
            (false, Some(driver)) => format!("{} (driver {driver})", f.path.display()),
            _ => f.path.display().to_string(),
        },
        driver: f.driver,
        version: f.version,
        state: f.state.as_str().to_owned(),
        reason: Some(f.reason).filter(|r| !r.is_empty()),
        generation: f.generation,
        sha256: f.sha256,
        size_bytes: f.size,
    });
    // A directory that can't be read stands among them: nothing in it can be loaded.
    let troubles = catalog.troubles().into_iter().map(|(directory, reason)| Plugin {
        file: directory.display().to_string(),
        driver: None,
        version: None,
        state: "unreadable".to_owned(),
        reason: Some(reason),
        generation: None,
        sha256: None,
        size_bytes: 0,
    });
    let plugins = plugins.chain(troubles);
    put(service, "plugins", &["file"], "Files of the plugin directories, and what became of them", plugins.collect());
    let generations = catalog.generations().into_iter().map(|g| Generation {
        generation: g.number,
        driver: g.driver,
        version: g.version,
        state: g.state.as_str().to_owned(),
        sources: g.sources as u64,
        loaded: text(g.loaded),
        sha256: g.sha256,
    });
    put(
        service,
        "generations",
        &["generation"],
        "Loaded copies of drivers; a retired one stays mapped",
        generations.collect(),
    );
    let views = bus.tables();
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    for view in &views {
        *rows.entry(view.address.service()).or_default() += view.rows.num_rows() as u64;
    }
    let sources = datasources.list().into_iter().map(|View { record, status }| Datasource {
        rows: rows.get(record.name.as_str()).copied().unwrap_or_default(),
        name: record.name.clone(),
        driver: record.spec.driver.clone(),
        state: status.phase.as_str().to_owned(),
        error: Some(status.error).filter(|e| !e.is_empty()),
        generation: status.generation,
        poll_seconds: record.spec.poll.as_secs_f64(),
        polls: status.polls,
        failures: status.failures,
        last_poll: status.last_poll.map(text),
        since: text(status.since),
        managed_by: record.managed_by.as_str().to_owned(),
        status: Some(status.text).filter(|t| !t.is_empty()),
    });
    put(service, "datasources", &["name"], "Datasources and how they are", sources.collect());
    let slots = bus.slots();
    let tables = slots.iter().filter_map(|slot| {
        let view = slot.view();
        // One that could not be read yet is listed with why.
        if view.is_none() && slot.error().is_none() {
            return None;
        }
        // The host's own are listed, but not their numbers: each look would change them.
        let own = slot.address().service() == HOST;
        let shape = view.as_ref().map(|v| &v.shape);
        Some(Table {
            service: slot.address().service().to_owned(),
            table: slot.address().table().to_owned(),
            rows: view.as_ref().map_or(0, |v| v.rows.num_rows() as u64),
            epoch: view.as_ref().map_or(0, |v| v.epoch.0),
            to: view.as_ref().filter(|_| !own).map_or(0, |v| v.to),
            key: shape.map(|s| s.key.join(",")).unwrap_or_default(),
            columns: shape.map_or(0, |s| s.schema.fields().len() as u64),
            error: slot.error(),
            as_of: view.as_ref().and_then(|v| v.as_of).filter(|_| !own).map(text),
            description: shape.map(|s| s.description.clone()).unwrap_or_default(),
        })
    });
    let mut tables: Vec<Table> = tables.collect();
    let count = tables.len() as u64;
    // As many as it is about to have: else it would be told once more for that alone.
    let own = tables.iter_mut().find(|row| row.service == HOST && row.table == "tables");
    own.into_iter().for_each(|row| row.rows = count);
    put(service, "tables", &["service", "table"], "All tables", tables);
    let subscriptions = bus.subscriptions().into_iter().flat_map(|s| {
        let one = move |(address, at): (Arc<Address>, Option<(Epoch, u64)>)| Subscription {
            subscription: s.id.to_string(),
            service: address.service().to_owned(),
            table: address.table().to_owned(),
            subscriber: s.owner.clone(),
            since: text(s.since),
            epoch: at.map(|(epoch, _)| epoch.0),
            // Of the host's own tables, each look would change it.
            to: at.filter(|_| address.service() != HOST).map(|(_, to)| to),
            queued: s.counters.held as u64,
            queued_bytes: s.counters.bytes as u64,
            late: s.counters.late > 0,
            dropped: s.counters.dropped,
            coalesced: s.counters.coalesced,
            resynced: s.counters.resynced,
        };
        s.tables.clone().into_iter().map(one).collect::<Vec<_>>()
    });
    put(
        service,
        "subscriptions",
        &["subscription", "service", "table"],
        "Who follows which table",
        subscriptions.collect(),
    );
}

fn put<T: Serialize + for<'de> Deserialize<'de>>(
    service: &Service,
    name: &str,
    key: &[&str],
    description: &str,
    rows: Vec<T>,
) {
    let spec = TableSpec::of::<T>(name).key(key.iter().copied()).describe(description);
    let published = service.publish(&spec, &rows);
    if let Err(error) = published {
        tracing::error!(table = name, %error, "the host's own table was refused");
    }
}
