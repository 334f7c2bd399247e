//! A host within a program: it loads the drivers of a directory, runs a datasource and follows one of its tables, without
//! a socket between.
//!
//! `cargo build && cargo run --example embed -- target/debug`

use busway::bus::{Address, Message};
use busway::config::Datasource;
use busway::node::Node;
use busway::table::rows_json;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before there is a thread: drivers are tried in a child process, which is this program once more.
    busway::child_main_if_asked();
    tokio::runtime::Runtime::new()?.block_on(host())
}

async fn host() -> Result<(), Box<dyn std::error::Error>> {
    let plugins = std::env::args().nth(1).unwrap_or_else(|| "target/debug".to_owned());
    let state = std::env::temp_dir().join(format!("busway-embed-{}", std::process::id()));
    let system = Datasource::new("system").poll(Duration::from_secs(1));
    let node = Node::builder().name("embedded").state_dir(&state).plugins(&plugins).datasource("machine", system);
    let node = node.start().await?;

    let table: Address = "machine/load".parse()?;
    let mut load = node.bus().subscribe(&table);
    for _ in 0..3 {
        match tokio::time::timeout(Duration::from_secs(10), load.next()).await.map(|delivery| delivery.message) {
            Ok(Message::Snapshot(view)) => println!("{table}: {}", rows_json(view.rows.batches())?),
            Ok(Message::Step(step)) => println!("step {}: {}", step.to, rows_json([&step.added])?),
            Ok(Message::Gone) => println!("{table} is gone"),
            Err(_) => {
                for file in node.catalog().files() {
                    println!("{}: {} {}", file.path.display(), file.state.as_str(), file.reason);
                }
                return Err(format!("no {table} within 10 s: is the driver system in {plugins}?").into());
            }
        }
    }
    node.stop().await;
    std::fs::remove_dir_all(&state)?;
    Ok(())
}
