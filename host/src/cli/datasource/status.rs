//! `busway datasource status`: how it is, and its tables.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::age::age;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{Format, Output, RED};
use super::super::sheet::{Sheet, of, section};
use super::super::snapshot::Row;
use super::super::table_name::TableName;
use super::{cells, conditions, fetch, joined, remedy_of, style_of, tables_of};

/// Show how a datasource is: its state, its polls, its tables and who follows them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource status web

JSON: {\"schema_version\":1,\"name\",\"state\",\"error\",\"since\",\"polls\",\"failures\",\"last_poll\",\"rows\",
       \"tables\":[{\"table\",\"rows\",\"error\",\"as_of\",\"subscribers\",…}],…}")]
pub(crate) struct StatusArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints how it is.
pub(super) async fn run(client: &Client, arguments: &StatusArguments, output: &mut Output) -> Result<(), Failure> {
    let datasource = fetch(client, &arguments.name).await?;
    let name = datasource["name"].as_str().unwrap_or(&arguments.name);
    let mut whole = joined(&datasource, &conditions(client).await?);
    let subscriptions = client.rows(&TableName::of_host("subscriptions")).await?.rows;
    let mut tables = tables_of(client, name).await?;
    for table in &mut tables {
        let mine = |row: &&Row| row.get("service").is_some_and(|s| s == name) && row.get("table") == table.get("table");
        let subscribers = subscriptions.iter().filter(mine).count();
        table.insert("subscribers".to_owned(), subscribers.into());
    }
    whole.insert("tables".to_owned(), json!(tables));
    match output.format() {
        Format::Json => output.json_document(&whole),
        Format::Jsonl => output.json_line(&whole),
        Format::Table => print(&whole, &tables, Timestamp::now(), output),
    }
}

fn print(whole: &Row, tables: &[Row], now: Timestamp, output: &mut Output) -> Result<(), Failure> {
    let text = |key: &str| of(whole, key).as_str().unwrap_or_default();
    let mut sheet = Sheet::default();
    sheet.line("name", text("name"));
    let driver = match of(whole, "generation").as_u64() {
        Some(generation) => format!("{}, generation {generation}", text("driver")),
        None => text("driver").to_owned(),
    };
    sheet.line("driver", driver);
    sheet.painted("state", text("state"), style_of(text("state")));
    if let Some(since) = age(of(whole, "since"), now) {
        sheet.line("for", since);
    }
    sheet.maybe("error", of(whole, "error"));
    // Its tables stand below.
    if text("state") != "degraded" {
        sheet.maybe("try", &remedy_of(text("name"), text("state")).into());
    }
    sheet.maybe("it says", of(whole, "status"));
    let number = |key: &str| of(whole, key).as_u64();
    if let (Some(good), Some(failed)) = (number("polls"), number("failures")) {
        sheet.line("polls", format!("{good} good, {failed} failed"));
    }
    if let Some(last) = age(of(whole, "last_poll"), now) {
        sheet.line("last good", format!("{last} ago"));
    }
    sheet.maybe("rows", of(whole, "rows"));
    sheet.print(output)?;
    let shown = |row: &Row| {
        let cell = |key: &str| of(row, key).clone();
        cells([
            ("table", format!("{}/{}", text("name"), of(row, "table").as_str().unwrap_or_default()).into()),
            ("rows", cell("rows")),
            ("as of", age(&cell("as_of"), now).map_or(Value::Null, |age| format!("{age} ago").into())),
            ("followers", cell("subscribers")),
            ("error", cell("error")),
        ])
    };
    let rows: Vec<Row> = tables.iter().map(shown).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match column {
        "error" => paint.put(RED, text),
        _ => text.to_owned(),
    };
    section("tables", &["table", "rows", "as of", "followers", "error"], &rows, &painted, output)
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::{condition, datasource, table};
    use super::*;

    #[tokio::test]
    async fn how_it_is_with_its_tables_and_their_followers() {
        let of = |service: &str, table: &str, error: Value| json!({"service": service, "table": table, "rows": 3, "error": error, "as_of": "2026-11-22T03:00:00Z"});
        let host = ToldHost::start(vec![
            ("GET /v1/data-sources/web", datasource("web", "degraded", json!("orders: row 7 is no row"))),
            ("GET /v1/services/_host/tables/datasources/rows", table(json!([condition("web", 6)]))),
            (
                "GET /v1/services/_host/tables/tables/rows",
                table(json!([
                    of("web", "orders", json!("row 7 is no row")),
                    of("web", "a", Value::Null),
                    of("db", "x", Value::Null)
                ])),
            ),
            (
                "GET /v1/services/_host/tables/subscriptions/rows",
                table(
                    json!([{"service": "web", "table": "a"}, {"service": "web", "table": "a"}, {"service": "db", "table": "x"}]),
                ),
            ),
        ]);
        let (mut output, data, _) = pages(Format::Jsonl, None);
        run(&host.client(), &StatusArguments { name: "web".to_owned() }, &mut output).await.unwrap();
        let whole: Row = serde_json::from_str(&data.text()).unwrap();
        let tables: Vec<Row> = serde_json::from_value(whole["tables"].clone()).unwrap();
        assert_eq!(tables.len(), 2);
        let (mut output, data, _) = pages(Format::Table, None);
        print(&whole, &tables, "2026-11-22T03:00:05Z".parse().unwrap(), &mut output).unwrap();
        assert_eq!(
            data.text(),
            "name       web\n\
             driver     files, generation 2\n\
             state      degraded\n\
             for        30m 5s\n\
             error      orders: row 7 is no row\n\
             polls      7 good, 1 failed\n\
             last good  5s ago\n\
             rows       6\n\
             \n\
             tables:\n\
             table       rows  as of   followers  error\n\
             web/a          3  5s ago          2  -\n\
             web/orders     3  5s ago          0  row 7 is no row\n"
        );
    }
}
