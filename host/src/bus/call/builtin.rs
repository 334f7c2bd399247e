//! What every service answers, and every node.

use super::{Call, Fault, ServiceInfo};
use crate::bus::service::{Core, ServiceState};
use crate::bus::table_view::TableView;
use crate::bus::{Address, Bus, View};
use crate::table::rows_json;
use serde_json::{Value, json};
use std::sync::Arc;

/// Their names and what they are for.
pub(super) const LIST: [(&str, &str); 10] = [
    ("get_last_published_data_with_seqnum", "the number of a table's state, and its rows"),
    ("get_snapshot", "a table's rows"),
    ("held", "the tables it holds of others, and where it stands with each"),
    ("info", "what it is: the predecessor's five keys"),
    ("methods", "what it answers"),
    ("ping", "its arguments, as they came"),
    ("published", "the tables it publishes"),
    ("status", "how it is"),
    ("subscribers", "who subscribes to its tables, on all nodes"),
    ("subscriptions", "the tables it subscribes to"),
];

/// What a node answers.
pub(super) const OF_A_NODE: [&str; 4] = ["nodes", "ping", "services", "status"];

/// The answer of a service that has no handler of its own for it; `None`: nothing that every service answers.
pub(super) fn answer(bus: &Bus, core: &Arc<Core>, call: &Call) -> Option<Result<Value, Fault>> {
    let name = &core.name;
    Some(match call.method.as_str() {
        "ping" => Ok(call.args.clone()),
        "get_snapshot" => table(bus, name, call).and_then(|view| rows(&view)),
        "get_last_published_data_with_seqnum" => {
            table(bus, name, call).and_then(|view| rows(&view).map(|rows| json!([view.to, rows])))
        }
        "info" => Ok(json!(info(bus, core))),
        "methods" => {
            let one = |(name, about)| json!({"name": name, "description": about});
            Ok(core.methods.list().into_iter().map(one).collect())
        }
        "published" => {
            Ok(bus.slots_of(name).iter().filter_map(|slot| slot.view()).map(|view| position(&view)).collect())
        }
        "held" => Ok(held(bus, name)),
        "subscriptions" => Ok(json!(bus.subscribed_by(name))),
        "subscribers" => Ok(Value::Array(bus.subscribers_of(name))),
        "status" => Ok(json!({
            "state": match core.state() {
                ServiceState::Running => "running",
                ServiceState::Stopped => "stopped",
                ServiceState::NameLost(_) => "name lost",
            },
            "node": bus.node(),
            "instance": core.instance,
            "addresses": core.addresses(),
            "tables": bus.slots_of(name).iter().filter(|slot| slot.is_there()).count(),
            "calls": *core.outstanding.borrow(),
        })),
        _ => return None,
    })
}

/// The answer of a node itself.
pub(crate) fn of_a_node(bus: &Bus, method: &str, args: &Value) -> Option<Value> {
    Some(match method {
        "ping" => args.clone(),
        "services" => json!(bus.services(true)),
        "nodes" => json!(bus.nodes()),
        "status" => json!({
            "node": bus.node(),
            "process": bus.process(),
            "running": bus.is_running(),
            "services": bus.services(true).len(),
            "tables": bus.tables().len(),
            "subscriptions": bus.subscriptions().len(),
        }),
        _ => return None,
    })
}

fn table(bus: &Bus, service: &str, call: &Call) -> Result<Arc<TableView>, Fault> {
    let Some(table) = call.args.get("table").and_then(Value::as_str) else {
        return Err(Fault::arguments(format!("{} takes {{\"table\": NAME}}", call.method)));
    };
    let address = Address::new(service, table).map_err(Fault::arguments)?;
    // As whoever calls would see it as a subscriber.
    let seen = bus.look(&address, call.caller.service.as_deref(), &View::default());
    seen.map_err(|e| Fault::new("no_such_view", e))?.ok_or_else(|| {
        let there: Vec<String> =
            bus.slots_of(service).iter().filter(|s| s.is_there()).map(|s| s.address().table().to_owned()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        Fault::new("not_found", format!("service {service:?} has no table {table:?} now: it has {there}"))
    })
}

fn rows(view: &TableView) -> Result<Value, Fault> {
    let text = rows_json(view.rows.batches()).map_err(|e| Fault::new("no_json", e))?;
    serde_json::from_str(text.get()).map_err(|e| Fault::new("no_json", e))
}

fn position(view: &TableView) -> Value {
    json!({"service": view.address.service(), "table": view.address.table(), "epoch": view.epoch.0, "to": view.to,
        "rows": view.rows.num_rows(), "node": &*view.publisher.node, "instance": view.publisher.instance})
}

fn held(bus: &Bus, name: &str) -> Value {
    let mine = bus.subscriptions_of(name).into_iter();
    let tables = mine.flat_map(|s| s.tables.into_iter().map(move |(address, at)| (s.id, address, at)));
    let one = |(id, address, at): (uuid::Uuid, Arc<Address>, Option<crate::bus::Position>)| {
        let publisher = bus.table(&address).map(|view| view.publisher.clone());
        json!({"subscription": id, "service": address.service(), "table": address.table(),
            "epoch": at.map(|(epoch, _)| epoch.0), "to": at.map(|(_, to)| to),
            "node": publisher.as_ref().map(|p| p.node.to_string()), "instance": publisher.map(|p| p.instance)})
    };
    tables.map(one).collect()
}

fn info(bus: &Bus, core: &Core) -> ServiceInfo {
    let there = bus.slots_of(&core.name).into_iter().filter(|slot| slot.is_there());
    ServiceInfo {
        service_id: core.name.clone(),
        node_id: bus.node().to_owned(),
        published_tables: there.map(|slot| slot.address().table().to_owned()).collect(),
        subscribed_tables: bus.subscribed_by(&core.name).into_iter().collect(),
        rpc_endpoints_info: core.methods.list().into_iter().map(|(name, _)| name).collect(),
    }
}
