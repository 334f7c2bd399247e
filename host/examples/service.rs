//! Two services on one bus: one publishes a table and answers a call, the other subscribes by pattern and calls.
//!
//! `cargo run --example service`

use busway::TableSpec;
use busway::bus::{Bus, Call, Fault, Selector, SubscribeOptions};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    status: String,
}

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let bus = Bus::new("alpha");
    // Both would be in programs of their own, on nodes of their own, just so.
    let shop = tokio::spawn(shop(bus.clone()));
    let dashboard = tokio::spawn(dashboard(bus.clone()));

    // Whoever is in a hurry waits for one state.
    let mut orders = bus.subscribe("shop.*/orders".parse::<Selector>()?);
    orders.wait_for(|table| table.rows.num_rows() > 0, Duration::from_secs(5)).await?;
    let shipped = bus.call("shop.north", "ship", json!({"id": 1})).await?;
    println!("shop.north answers {shipped}");
    match bus.call("shop.north", "ship", json!({"id": 9})).deadline(Duration::from_secs(5)).await {
        Err(error) => println!("shop.north answers: {error}"),
        Ok(_) => return Err("there is no order 9".into()),
    }

    dashboard.await??;
    shop.abort();
    Ok(())
}

async fn shop(bus: Bus) -> Result<(), busway::bus::PublishError> {
    let service = match bus.register("shop.north") {
        Ok(service) => Arc::new(service),
        // One of that name is there: it is unharmed.
        Err(error) => {
            eprintln!("{error}");
            return Ok(());
        }
    };
    let spec = TableSpec::of::<Order>("orders").key(["id"]).describe("All orders");
    let order = Order { id: 1, customer: "Ada".to_owned(), status: "new".to_owned() };
    let orders = Arc::new(Mutex::new(vec![order]));
    service.publish(&spec, &orders.lock().unwrap_or_else(PoisonError::into_inner))?;

    let handle = Arc::downgrade(&service);
    service.method("ship", "sends an order: {\"id\"}", move |call: Call| {
        let (spec, orders, service) = (spec.clone(), Arc::clone(&orders), handle.upgrade());
        async move {
            let id = call.args.get("id").and_then(Value::as_u64).ok_or_else(|| Fault::arguments("which id?"))?;
            let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
            let order = orders.iter_mut().find(|order| order.id == id);
            let order = order.ok_or_else(|| Fault::new("not_found", format!("there is no order {id}")))?;
            order.status = "shipped".to_owned();
            if let Some(service) = service {
                service.publish(&spec, &orders).map_err(|e| Fault::new("unpublished", e))?;
            }
            Ok(json!({"shipped": id}))
        }
    });
    // A service is there as long as its handle is.
    std::future::pending().await
}

async fn dashboard(bus: Bus) -> Result<(), busway::bus::BadSelector> {
    let options = SubscribeOptions { owner: Some("dashboard".to_owned()), ..SubscribeOptions::default() };
    let tables: Selector = "shop.*/orders".parse()?;
    let Ok(orders) = bus.subscribe_with(tables, options) else { return Ok(()) };
    // Whole states, the present one whenever it changed: nothing to apply.
    let mut states = pin!(orders.as_states());
    while let Some((address, state)) = states.next().await {
        let Some(table) = state else {
            println!("{address} is gone");
            break;
        };
        let rows = busway::table::rows_json(table.rows.batches()).map(|rows| rows.to_string()).unwrap_or_default();
        println!("{address} at step {}: {rows}", table.to);
        if rows.contains("shipped") {
            break;
        }
    }
    Ok(())
}
