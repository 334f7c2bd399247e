//! `busway nodes`: which nodes are on the bus.

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use super::grid::Grid;
use super::output::{Format, GREEN, Output, RED, YELLOW};
use super::snapshot::Row;

/// List the nodes on the bus
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway nodes
  busway nodes --output jsonl | jq 'select(.state == \"suspect\")'

The state is `here` of the host that is asked, `alive` or `suspect` of another. Two processes with one node's name clash.

JSON: {\"schema_version\":1,\"nodes\":[{\"node\",\"process\",\"state\",\"clash\"}]}
JSON lines: one node's object a line")]
pub(crate) struct NodesArguments {}

/// Prints a row for each node.
pub(crate) async fn run(client: &Client, _: &NodesArguments, output: &mut Output) -> Result<(), Failure> {
    let answer = client.read("/v1/nodes").await?;
    let nodes = answer.get("results").and_then(Value::as_array).cloned().unwrap_or_default();
    match output.format() {
        Format::Json => output.json_document(&json!({"nodes": nodes})),
        Format::Jsonl => nodes.iter().try_for_each(|node| output.json_line(node)),
        Format::Table => {
            let rows: Vec<Row> = nodes.iter().filter_map(Value::as_object).map(shown).collect();
            let paint = output.paint();
            let painted = move |column: &str, text: &str| match (column, text) {
                ("state", "here" | "alive") => paint.put(GREEN, text),
                ("state", "suspect") => paint.put(YELLOW, text),
                ("state", _) => paint.put(RED, text),
                _ => text.to_owned(),
            };
            let columns = ["node", "state", "process"].map(str::to_owned);
            let drawn = Grid::new(&columns, &rows).lines(output.width(), &painted, paint);
            drawn.lines.iter().try_for_each(|line| output.line(line))
        }
    }
}

fn shown(node: &Row) -> Row {
    let mut row = node.clone();
    if row.get("clash").and_then(Value::as_bool).unwrap_or_default() {
        row.insert("state".to_owned(), "clashes".into());
    }
    row
}
