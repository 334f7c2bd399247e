//! Busway: a plugin host that turns driver libraries into live tables on a bus.
//!
//! The program `busway` is one use of it. A Rust program can have a host within ([`node::Node::builder`]), and be on the
//! bus itself: register services, publish tables, follow those of others, answer calls and make them.
//!
//! ```
//! use busway::TableSpec;
//! use busway::bus::{Address, Bus, Call, Fault, Message, Selector};
//! use serde::{Deserialize, Serialize};
//! use serde_json::{Value, json};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     id: u64,
//!     customer: String,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A host's is `node.bus()`.
//! let bus = Bus::new("alpha");
//!
//! // Whoever follows a table gets its state first, then each step from there: none is missed, none comes twice. The
//! // table need not be there yet.
//! let mut orders = bus.subscribe("shop/orders".parse::<Address>()?);
//!
//! // A service publishes whole states; what changed in between is found.
//! let shop = bus.register("shop")?;
//! let spec = TableSpec::of::<Order>("orders").key(["id"]);
//! let order = |id, customer: &str| Order { id, customer: customer.to_owned() };
//! shop.publish(&spec, &[order(1, "Ada")])?;
//! shop.publish(&spec, &[order(1, "Ada"), order(2, "Grace")])?;
//!
//! let Message::Snapshot(table) = orders.next().await.message else { panic!("a state comes first") };
//! assert_eq!(table.rows.num_rows(), 1);
//! let Message::Step(step) = orders.next().await.message else { panic!("then steps") };
//! assert_eq!((step.added.num_rows(), step.removed.num_rows()), (1, 0));
//!
//! // All tables that a pattern meets, those that come later too; here only until something is so.
//! let mut all = bus.subscribe("#/orders".parse::<Selector>()?);
//! let table = all.wait_for(|table| table.rows.num_rows() == 2, Duration::from_secs(5)).await?;
//! assert_eq!(table.address.to_string(), "shop/orders");
//!
//! // A method, and a call of it. Every service also answers ping, info, status, methods and more.
//! shop.method("ship", "sends an order", |call: Call| async move {
//!     let id = call.args.get("id").and_then(Value::as_u64).ok_or_else(|| Fault::arguments("which id?"))?;
//!     Ok(json!({"shipped": id}))
//! });
//! let shipped = bus.call("shop", "ship", json!({"id": 2})).deadline(Duration::from_secs(5)).await?;
//! assert_eq!(shipped, json!({"shipped": 2}));
//! let refused = bus.call("shop", "ship", json!({})).await;
//! assert_eq!(refused.unwrap_err().to_string(), "which id?");
//!
//! // Its tables end with it.
//! drop(shop);
//! assert!(matches!(orders.next().await.message, Message::Gone));
//! # Ok(())
//! # }
//! ```
//!
//! More: the programs in `host/examples`. Other languages do the same over HTTP; `host/examples/follow.py` follows a
//! table.

pub mod bus;
pub mod cli;
pub mod config;
pub mod datasource;
pub mod event;
mod happenings;
mod hiding;
pub mod http;
pub mod logging;
pub mod node;
pub mod plugin;
pub mod table;

pub use plugin::vet::child_main_if_asked;

/// What a table is declared by, here as in a driver.
pub use busway_plugin_api::TableSpec;
/// What rows and columns are made of, in the version that the bus hands out.
pub use busway_plugin_api::{arrow_array, arrow_schema};
