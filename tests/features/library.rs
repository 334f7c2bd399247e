//! The host as a library: a Rust program that embeds it, and reads the bus without a socket between.

use busway::bus::{Address, Message};
use busway::config::{Config, Datasource};
use busway::node::Node;
use busway::table::rows_json;
use busway_tests::DEADLINE;
use busway_tests::fixture::Fixture;
use serde_json::{Value, json};
use std::time::Duration;

fn config(folder: &std::path::Path) -> Config {
    let mut config = Config { state_dir: Some(folder.join("state")), ..Config::default() };
    config.plugins.vet.program = Some(busway_tests::workspace::program());
    config.plugins.directories = vec![folder.join("plugins")];
    config.listen.socket = Some(folder.join("bus.sock"));
    let one = Datasource::new("fixture-driver-aa").poll(Duration::from_millis(50)).option("rows", 2);
    config.datasource.insert("one".to_owned(), one);
    config
}

fn rows(rows: &busway::arrow_array::RecordBatch) -> Value {
    serde_json::from_str(rows_json([rows]).unwrap().get()).unwrap()
}

async fn follow() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("plugins/libfixture.so");
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    Fixture::new().rename_into(&library);

    let node = Node::start(&config(folder.path())).await.unwrap();
    let address: Address = "one/numbers".parse().unwrap();
    let mut numbers = node.bus().subscribe(&address);
    let Message::Snapshot(view) = numbers.next().await.message else { panic!("a snapshot comes first") };
    assert_eq!((view.to, &view.shape.key), (1, &vec!["id".to_owned()]));
    assert_eq!(rows(&view.rows.to_batch().unwrap()), json!([{"id": 0, "revision": 1}, {"id": 1, "revision": 1}]));

    Fixture::new().revision(2).rename_into(&library);
    let Message::Step(step) = numbers.next().await.message else { panic!("the new code's rows are a step") };
    assert_eq!((step.epoch, step.from, step.to, step.updated), (view.epoch, 1, 2, 2));
    assert_eq!(rows(&step.removed), rows(&view.rows.to_batch().unwrap()));
    assert_eq!(rows(&step.added), json!([{"id": 0, "revision": 2}, {"id": 1, "revision": 2}]));

    let bus = node.bus().clone();
    node.stop().await;
    assert!(matches!(numbers.next().await.message, Message::Gone), "the service ended with its host");
    assert!(!bus.has_service("one"));
    assert!(!folder.path().join("bus.sock").exists());
    // The state directory is free again.
    Node::start(&config(folder.path())).await.unwrap().stop().await;
}

#[test]
fn a_rust_program_embeds_a_host_and_follows_a_table() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, follow()).await }).expect("all of it in time");
}
