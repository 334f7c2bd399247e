//! Any service's tables, and what a datasource can do.

use super::State;
use super::error::{Body, Error};
use super::extract::Path;
use crate::bus::{Address, TableView};
use axum::Json;
use axum::extract::State as Extract;
use busway_plugin_api::message::ExecuteRequest;
use serde_json::{Value, json};

pub(super) fn address(service: &str, table: &str) -> Result<Address, Error> {
    Address::new(service, table).map_err(|e| Error::bad_request(e.to_string()))
}

pub(super) fn no_table(state: &State, service: &str, table: &str) -> Error {
    let slots = state.bus.slots_of(service);
    let there: Vec<String> =
        slots.iter().filter(|slot| slot.is_there()).map(|slot| slot.address().table().to_owned()).collect();
    Error::not_found(match (state.bus.has_service(service), there.is_empty()) {
        (false, _) => format!("no service {service:?}: there are {}", state.bus.services(false).join(", ")),
        (true, true) => format!("no table {table:?}: service {service:?} has none now"),
        (true, false) => format!("no table {table:?}: service {service:?} has {}", there.join(", ")),
    })
}

pub(super) async fn list(Extract(state): Extract<State>) -> Json<Value> {
    let one = |name: String| {
        let slots = state.bus.slots_of(&name);
        let tables: Vec<&str> =
            slots.iter().filter(|slot| slot.is_there()).map(|slot| slot.address().table()).collect();
        json!({"id": name, "tables": tables})
    };
    Json(json!({"results": state.bus.services(true).into_iter().map(one).collect::<Vec<_>>()}))
}

pub(super) async fn tables(Extract(state): Extract<State>, Path(service): Path<String>) -> Result<Json<Value>, Error> {
    if !state.bus.has_service(&service) {
        return Err(no_table(&state, &service, ""));
    }
    let slots = state.bus.slots_of(&service);
    let one =
        |v: &TableView| json!({"id": v.address.table(), "rows": v.rows.num_rows(), "epoch": v.epoch.0, "to": v.to});
    Ok(Json(json!({"results": slots.iter().filter_map(|slot| slot.view()).map(|v| one(&v)).collect::<Vec<_>>()})))
}

/// Runs an action of a datasource with named arguments, and answers its result.
pub(super) async fn execute(
    Extract(state): Extract<State>,
    Path((service, action)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Json<Value>, Error> {
    let named = match body {
        Value::Null => serde_json::Map::new(),
        Value::Object(named) => named,
        _ => return Err(Error::bad_request("the body is a JSON object of named arguments")),
    };
    let request = ExecuteRequest { action, named, ..ExecuteRequest::default() };
    let result = state.datasources.execute(&service, request).await?;
    Ok(Json(json!({"result": result})))
}
