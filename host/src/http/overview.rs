//! Who is on the bus and follows what, and subscribers that are to begin anew.

use super::State;
use super::error::{Body, Error};
use crate::bus::{Resync, SubscriptionView};
use axum::Json;
use axum::extract::State as Extract;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The host that is asked.
pub(super) async fn node(Extract(state): Extract<State>) -> Json<Value> {
    let retired = state.catalog.retired();
    Json(json!({
        "node": state.bus.node(),
        "version": env!("CARGO_PKG_VERSION"),
        "contract": busway_plugin_api::abi::VERSION,
        "pid": std::process::id(),
        "started": format!("{:.0}", state.started),
        "retired": {"generations": retired.generations, "bytes": retired.bytes, "budget": retired.budget,
            "advice": retired.advice()},
    }))
}

pub(super) async fn nodes(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({"results": state.bus.nodes()}))
}

pub(super) async fn subscriptions(Extract(state): Extract<State>) -> Json<Value> {
    let one = |s: SubscriptionView| {
        let tables = s.tables.iter().map(|(address, at)| {
            json!({"service": address.service(), "table": address.table(), "epoch": at.map(|(epoch, _)| epoch.0),
                "to": at.map(|(_, to)| to)})
        });
        json!({
            "id": s.id, "subscriber": s.owner, "tables": s.selector, "since": s.since, "holds": tables.collect::<Vec<_>>(),
            "waiting": {"messages": s.counters.held, "bytes": s.counters.bytes, "late_tables": s.counters.late},
            "dropped": s.counters.dropped, "coalesced": s.counters.coalesced, "resynced": s.counters.resynced,
        })
    };
    Json(json!({"results": state.bus.subscriptions().into_iter().map(one).collect::<Vec<_>>()}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    #[serde(default)]
    all: bool,
    service: Option<String>,
    subscription: Option<Uuid>,
}

/// `{"all": true}`, `{"service": NAME}` or `{"subscription": ID}`.
pub(super) async fn resync(Extract(state): Extract<State>, Body(body): Body) -> Result<Json<Value>, Error> {
    let bad = |why: String| {
        let form = "the body is {\"all\": true}, {\"service\": NAME} or {\"subscription\": ID}";
        Error::bad_request(format!("{form}: {why}"))
    };
    let whose: Whose = serde_json::from_value(body).map_err(|e| bad(e.to_string()))?;
    let whose = match (whose.all, whose.service, whose.subscription) {
        (true, None, None) => Resync::All,
        (false, Some(service), None) if state.bus.has_service(&service) => Resync::Service(service),
        (false, Some(service), None) => {
            let there = state.bus.services(false).join(", ");
            return Err(Error::not_found(format!("no service {service:?}: there are {there}")));
        }
        (false, None, Some(id)) => Resync::Subscription(id),
        _ => return Err(bad("say one of them".to_owned())),
    };
    let subscriptions = state.bus.resync(&whose);
    match whose {
        Resync::Subscription(id) if subscriptions == 0 => {
            Err(Error::not_found(format!("no subscription {id}: GET /v1/subscriptions lists those there are")))
        }
        _ => Ok(Json(json!({"subscriptions": subscriptions}))),
    }
}
