//! `busway tables`: what tables there are.

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use super::grid::Grid;
use super::output::{Format, Output, RED};
use super::snapshot::Row;
use super::table_name::TableName;

/// List the tables of all services
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway tables
  busway tables --all                      the host's own, too
  busway tables --output jsonl | jq -r 'select(.error) | .service + \"/\" + .table'

JSON: {\"schema_version\":1,\"tables\":[{\"service\",\"table\",\"rows\",\"epoch\",\"to\",\"key\",\"error\",\"as_of\",…}]}
JSON lines: one table's object a line")]
pub(crate) struct TablesArguments {
    /// Also the tables of services whose names begin with `_`
    #[arg(long)]
    all: bool,
}

/// Prints a row for each table.
pub(crate) async fn run(client: &Client, arguments: &TablesArguments, output: &mut Output) -> Result<(), Failure> {
    let mut tables = client.rows(&TableName::of_host("tables")).await?.rows;
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
    tables.retain(|row| arguments.all || !text(row, "service").starts_with('_'));
    tables.sort_by_key(|row| (text(row, "service"), text(row, "table")));
    match output.format() {
        Format::Json => output.json_document(&json!({"tables": tables})),
        Format::Jsonl => tables.iter().try_for_each(|row| output.json_line(row)),
        Format::Table => {
            let rows: Vec<Row> = tables.iter().map(|row| shown(row, &text)).collect();
            print(&rows, output)?;
            if rows.is_empty() && output.is_terminal() {
                output.note("no tables; `busway tables --all` also lists the host's own");
            }
            Ok(())
        }
    }
}

fn shown(row: &Row, text: &dyn Fn(&Row, &str) -> String) -> Row {
    let mut shown = Row::new();
    shown.insert("table".to_owned(), format!("{}/{}", text(row, "service"), text(row, "table")).into());
    let key = match row.get("key") {
        Some(Value::Array(columns)) if !columns.is_empty() => {
            columns.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into()
        }
        Some(Value::String(columns)) if !columns.is_empty() => columns.clone().into(),
        _ => Value::Null,
    };
    for (column, value) in [
        ("rows", row.get("rows").cloned().unwrap_or_default()),
        ("step", row.get("to").cloned().unwrap_or_default()),
        ("key", key),
        ("as_of", row.get("as_of").cloned().unwrap_or_default()),
        ("error", row.get("error").cloned().unwrap_or_default()),
        ("description", row.get("description").cloned().unwrap_or_default()),
    ] {
        shown.insert(column.to_owned(), value);
    }
    shown
}

fn print(rows: &[Row], output: &mut Output) -> Result<(), Failure> {
    // A column in which nothing stands would only take room from the others.
    let optional = |column: &str| ["error", "description", "as_of"].contains(&column);
    let says = |column: &String| rows.iter().any(|row| row.get(column).is_some_and(|value| !value.is_null()));
    let columns = ["table", "rows", "step", "key", "as_of", "error", "description"].map(str::to_owned);
    let columns: Vec<String> = columns.into_iter().filter(|column| !optional(column) || says(column)).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match column {
        "error" => paint.put(RED, text),
        _ => text.to_owned(),
    };
    let drawn = Grid::new(&columns, rows).lines(output.width(), &painted, paint);
    drawn.lines.iter().try_for_each(|line| output.line(line))
}

#[cfg(test)]
mod tests {
    use super::super::mock::MockHost;
    use super::super::output::tests::pages;
    use super::*;

    async fn listed(format: Format, all: bool) -> String {
        let host = MockHost::start().await;
        let (mut output, data, _) = pages(format, None);
        run(&Client::new(host.socket()), &TablesArguments { all }, &mut output).await.unwrap();
        data.text()
    }

    #[tokio::test]
    async fn the_hosts_own_tables_are_listed_when_asked_for() {
        assert_eq!(
            listed(Format::Table, true).await,
            "table         rows  step  key  as_of                 error              description\n\
             _host/tables     3     7  id   2026-11-22T01:00:00Z  -                  What is there\n\
             files/orders     3     7  id   2026-11-22T01:00:00Z  -                  What is there\n\
             system/load      1     7  id   2026-11-22T01:00:00Z  permission denied  What is there\n"
        );
        assert!(!listed(Format::Table, false).await.contains("_host"));
    }

    #[tokio::test]
    async fn json_has_the_hosts_rows_as_they_are() {
        let document: Value = serde_json::from_str(&listed(Format::Json, false).await).unwrap();
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["tables"].as_array().unwrap().len(), 2);
        let lines = listed(Format::Jsonl, false).await;
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!((&first["service"], &first["to"]), (&json!("files"), &json!(7)));
    }
}
