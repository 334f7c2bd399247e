//! `busway rows`: a table as it is now.

use clap::Args;
use serde_json::{Value, json};

use super::cell::count_of;
use super::client::Client;
use super::failure::Failure;
use super::grid::Grid;
use super::output::{Format, Output};
use super::snapshot::Snapshot;
use super::table_name::{TableName, explain, resolve};

/// Print the rows of a table as they are now
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway rows system/processes --columns pid,name,memory_bytes --limit 20
  busway rows orders                       the only table of that name
  busway rows files/orders --output jsonl | jq .total
  busway rows files/orders --where status=paid --where status=sent --order -total,id
  busway rows files/orders --csv > orders.csv

JSON: {\"schema_version\":1,\"service\",\"table\",\"epoch\",\"to\",\"as_of\",\"key\",\"columns\",\"total_rows\",\"rows\":[{COLUMN:VALUE,…}]}
JSON lines: one row's object a line")]
pub(crate) struct RowsArguments {
    /// The table, SERVICE/TABLE; TABLE alone if only one service has it
    #[arg(value_name = "SERVICE/TABLE")]
    table: String,
    /// Only these columns, in this order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Vec<String>,
    /// No more rows than this, 100,000 at most; all unless given
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// In the order of these columns; -COLUMN: the greatest first. Nulls are last
    #[arg(long, value_name = "A,-B", allow_hyphen_values = true)]
    order: Option<String>,
    /// Only rows with this value; of several values of a column any
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = condition)]
    conditions: Vec<(String, String)>,
    /// As CSV with a header line, whatever --output says
    #[arg(long)]
    csv: bool,
}

fn condition(text: &str) -> Result<(String, String), &'static str> {
    if let Some((column, value)) = text.split_once('=') {
        return Ok((format!("where.{column}"), value.to_owned()));
    }
    // What has no = is nobody's value.
    let null = |ending, null: &str| Some((format!("null.{}", text.strip_suffix(ending)?), null.to_owned()));
    let asked = null(" is not null", "false").or_else(|| null(" is null", "true"));
    asked.ok_or("write COLUMN=VALUE, 'COLUMN is null' or 'COLUMN is not null'")
}

impl RowsArguments {
    /// What the host is asked for.
    fn query(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value| (name.to_owned(), value);
        let mut query = self.conditions.clone();
        query.extend(self.limit.map(|limit| pair("limit", limit.to_string())));
        query.extend(self.order.clone().map(|order| pair("order", order)));
        query.extend((!self.columns.is_empty()).then(|| pair("columns", self.columns.join(","))));
        query
    }
}

/// Prints the rows of a table.
pub(crate) async fn run(client: &Client, arguments: &RowsArguments, output: &mut Output) -> Result<(), Failure> {
    let name = resolve(client, &arguments.table).await?;
    match read(client, &name, arguments, output).await {
        Err(Failure::Refused { status: 400, data, .. }) if data["kind"] == "NoColumn" => Err(no_column(name, &data)),
        Err(failure) => Err(explain(client, &name, failure).await),
        done => done,
    }
}

async fn read(
    client: &Client,
    name: &TableName,
    arguments: &RowsArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let query = arguments.query();
    if arguments.csv {
        return output.bytes(&client.rows_as("text/csv", name, &query).await?);
    }
    let snapshot = client.some_rows(name, &query).await?;
    let total = snapshot.total_rows.unwrap_or(snapshot.rows.len());
    print(&snapshot, total, output)
}

/// As the host says which column is not there, and which are.
fn no_column(table: TableName, data: &Value) -> Failure {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let known = data["columns"].as_array().map(|columns| columns.iter().map(text).collect());
    Failure::NoColumn { table, column: text(&data["column"]), known: known.unwrap_or_default() }
}

fn print(snapshot: &Snapshot, total: usize, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => {
            let Snapshot { service, table, epoch, to, as_of, key, columns, rows, .. } = snapshot;
            output.json_document(&json!({
                "service": service, "table": table, "epoch": epoch, "to": to, "as_of": as_of,
                "key": key, "columns": columns, "total_rows": total, "rows": rows,
            }))
        }
        Format::Jsonl => snapshot.rows.iter().try_for_each(|row| output.json_line(row)),
        Format::Table => {
            let grid = Grid::new(&snapshot.column_names(), &snapshot.rows);
            let drawn = grid.lines(output.width(), &|_, text| text.to_owned(), output.paint());
            drawn.lines.iter().try_for_each(|line| output.line(line))?;
            if output.is_terminal() {
                output.flush()?;
                output.note(&footer(snapshot, total, &drawn.left_out));
            }
            Ok(())
        }
    }
}

fn footer(snapshot: &Snapshot, total: usize, left_out: &[String]) -> String {
    let mut text = match (snapshot.rows.len(), total) {
        (shown, total) if shown == total => count_of(total),
        (shown, total) => format!("{shown} of {}", count_of(total)),
    };
    text.push_str(&format!(", step {}", snapshot.to));
    if !left_out.is_empty() {
        text.push_str(&format!("; no room for {} (choose with --columns)", left_out.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::mock::MockHost;
    use super::super::output::tests::pages;
    use super::*;

    async fn told(
        format: Format,
        width: Option<usize>,
        table: &str,
        columns: &[&str],
        limit: Option<usize>,
    ) -> (String, String) {
        let host = MockHost::start().await;
        let (mut output, data, diagnostics) = pages(format, width);
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        let arguments =
            RowsArguments { table: table.to_owned(), columns, limit, order: None, conditions: Vec::new(), csv: false };
        if let Err(failure) = run(&Client::new(host.socket()), &arguments, &mut output).await {
            output.failure(&failure);
        }
        (data.text(), diagnostics.text())
    }

    #[tokio::test]
    async fn rows_are_printed_for_people() {
        let (data, diagnostics) = told(Format::Table, Some(80), "files/orders", &[], None).await;
        assert_eq!(
            data,
            "id  customer         total  size_bytes  tags\n \
             1  Ada               12.5     2.0 KiB  [\"new\"]\n \
             2  Grace\\nHopper        7           -  []\n\
             10  Edsger         1200.25    12.4 MiB  {\"a\":1}\n"
        );
        assert_eq!(diagnostics, "3 rows, step 7\n");
    }

    #[tokio::test]
    async fn what_has_no_room_is_named() {
        let (data, diagnostics) = told(Format::Table, Some(24), "orders", &[], Some(1)).await;
        assert_eq!(data, "id  customer  total\n 1  Ada        12.5\n");
        assert_eq!(diagnostics, "1 of 3 rows, step 7; no room for size_bytes, tags (choose with --columns)\n");
    }

    #[tokio::test]
    async fn columns_are_chosen_and_ordered() {
        let (data, diagnostics) = told(Format::Jsonl, None, "orders", &["total", "id"], Some(2)).await;
        assert_eq!((data.as_str(), diagnostics.as_str()), ("{\"total\":12.5,\"id\":1}\n{\"total\":7,\"id\":2}\n", ""));
        let (data, diagnostics) = told(Format::Table, None, "orders", &["totl"], None).await;
        assert_eq!(data, "");
        assert_eq!(
            diagnostics,
            "error: files/orders has no column totl\n  why: its columns are id, customer, total, size_bytes, tags\n  \
             try: total, which is a near name\n"
        );
    }

    #[test]
    fn what_the_host_is_asked_for() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            rows: RowsArguments,
        }
        let query = |arguments: &[&str]| {
            let line = Line::try_parse_from([&["rows", "orders"], arguments].concat());
            line.map(|line| serde_urlencoded::to_string(line.rows.query()).unwrap())
        };
        assert_eq!(query(&[]).unwrap(), "");
        assert_eq!(
            query(&["--order", "-total,id", "--where", "limit=a=b", "--where", "id=", "--limit", "5"]).unwrap(),
            "where.limit=a%3Db&where.id=&limit=5&order=-total%2Cid"
        );
        assert_eq!(
            query(&["--where", "a b is null", "--where", "c is not null", "--where", "d=x is null"]).unwrap(),
            "null.a+b=true&null.c=false&where.d=x+is+null"
        );
        assert_eq!(query(&["--columns", "a,b"]).unwrap(), "columns=a%2Cb");
        let error = query(&["--where", "id"]).unwrap_err().to_string();
        assert!(error.contains("invalid value 'id' for '--where <COLUMN=VALUE>': write COLUMN=VALUE, 'COLUMN is null' or 'COLUMN is not null'"), "{error}");
    }

    #[tokio::test]
    async fn a_document_tells_which_state_it_is() {
        let (data, _) = told(Format::Json, None, "files/orders", &["id"], Some(1)).await;
        let document: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(
            document,
            json!({"schema_version":1,"service":"files","table":"orders","epoch":1,"to":7,
                "as_of":"2026-11-22T01:00:00Z","key":["id"],
                "columns":[{"name":"id","type":"string","nullable":true,"description":null}],
                "total_rows":3,"rows":[{"id":1}]})
        );
    }

    #[tokio::test]
    async fn a_table_that_is_not_there_is_named_with_the_nearest() {
        let (_, diagnostics) = told(Format::Table, None, "file/orders", &[], None).await;
        assert_eq!(diagnostics, "error: no table file/orders\n  try: files/orders, which is a near name\n");
        let (_, diagnostics) = told(Format::Table, None, "ordres", &[], None).await;
        assert_eq!(diagnostics, "error: no table ordres\n  try: files/orders, which is a near name\n");
    }
}
