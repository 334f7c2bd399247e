//! `busway datasource list`: what there is, and how it is.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::age::age;
use super::super::cell::printable;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{Format, Output, RED};
use super::super::sheet::{grid, of};
use super::super::snapshot::Row;
use super::{ALL, cells, conditions, joined, results, style_of};

/// List the datasources, and how each is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource list
  busway datasource list --state failed --state degraded
  busway datasource list --output jsonl | jq -r 'select(.error) | .name'

JSON: {\"schema_version\":1,\"datasources\":[{\"name\",\"driver\",\"state\",\"error\",\"rows\",\"last_poll\",\"config\",…}]}
JSON lines: one datasource's object a line")]
pub(crate) struct ListArguments {
    /// Only those of this driver
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Only those in this state (running, degraded, failed, hung, opening, waiting, disabled); may be given several times
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
}

/// Prints a row for each.
pub(super) async fn run(client: &Client, arguments: &ListArguments, output: &mut Output) -> Result<(), Failure> {
    let (answer, conditions) = (client.read(ALL).await?, conditions(client).await?);
    let mut all: Vec<Row> = results(&answer).iter().map(|one| joined(one, &conditions)).collect();
    let total = all.len();
    let is = |row: &Row, key: &str, wanted: &str| of(row, key).as_str().is_some_and(|text| text.starts_with(wanted));
    all.retain(|row| {
        arguments.driver.as_ref().is_none_or(|driver| of(row, "driver") == driver.as_str())
            && (arguments.state.is_empty() || arguments.state.iter().any(|state| is(row, "state", state)))
    });
    match output.format() {
        Format::Json => output.json_document(&json!({"datasources": all})),
        Format::Jsonl => all.iter().try_for_each(|row| output.json_line(row)),
        Format::Table => {
            print(&all, Timestamp::now(), output)?;
            if all.is_empty() && output.is_terminal() {
                output.note(match total {
                    0 => "no datasources; `busway datasource add NAME DRIVER` adds one",
                    _ => "none of them is so",
                });
            }
            Ok(())
        }
    }
}

fn print(all: &[Row], now: Timestamp, output: &mut Output) -> Result<(), Failure> {
    // An error is what one looks for: on a terminal it is never cut, and stands below.
    let below = output.is_terminal();
    let rows: Vec<Row> = all.iter().map(|row| shown(row, now, below)).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match column {
        "state" => paint.put(style_of(text), text),
        "error" => paint.put(RED, text),
        _ => text.to_owned(),
    };
    let columns = ["name", "driver", "state", "rows", "last poll", "managed by", "error", "description"];
    grid(&columns, &rows, &painted, output)?;
    let says = |row: &&Row| of(row, "error").as_str().is_some_and(|error| !error.is_empty());
    if below && all.iter().any(|row| says(&row)) {
        output.line("")?;
        for row in all.iter().filter(says) {
            let text = |key: &str| of(row, key).as_str().unwrap_or_default();
            let state = paint.put(style_of(text("state")), text("state"));
            output.line(&format!("{} is {state}: {}", text("name"), printable(text("error"))))?;
        }
    }
    Ok(())
}

fn shown(row: &Row, now: Timestamp, below: bool) -> Row {
    let cell = |key: &str| of(row, key).clone();
    // Made over the API is what one expects.
    let managed_by = if of(row, "managed_by") == "file" { Value::from("file") } else { Value::Null };
    cells([
        ("name", cell("name")),
        ("driver", cell("driver")),
        ("state", cell("state")),
        ("rows", cell("rows")),
        ("last poll", age(&cell("last_poll"), now).map_or(Value::Null, |age| format!("{age} ago").into())),
        ("managed by", managed_by),
        ("error", if below { Value::Null } else { cell("error") }),
        ("description", cell("description")),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::{condition, datasource, table};
    use super::*;

    fn rows() -> Vec<Row> {
        let of_file = |mut of: Value| {
            of["managed_by"] = json!("file");
            of
        };
        let all = [
            of_file(datasource("db", "failed", json!("can't connect:\nrefused"))),
            datasource("new", "opening", Value::Null),
            datasource("web", "running", Value::Null),
        ];
        let conditions: Vec<Row> = [condition("web", 11)].iter().map(|one| one.as_object().unwrap().clone()).collect();
        all.iter().map(|one| joined(one, &conditions)).collect()
    }

    fn printed(rows: &[Row], width: Option<usize>) -> String {
        let (mut output, data, _) = pages(Format::Table, width);
        print(rows, "2026-11-22T03:01:30Z".parse().unwrap(), &mut output).unwrap();
        data.text()
    }

    #[test]
    fn a_person_sees_who_is_not_well() {
        assert_eq!(
            printed(&rows(), Some(100)),
            "name  driver  state    rows  last poll   managed by\n\
             db    files   failed      -  -           file\n\
             new   files   opening     -  -           -\n\
             web   files   running    11  1m 30s ago  -\n\
             \n\
             db is failed: can't connect:\\nrefused\n"
        );
        assert_eq!(
            printed(&rows(), None),
            "name  driver  state    rows  last poll   managed by  error\n\
             db    files   failed      -  -           file        can't connect:\\nrefused\n\
             new   files   opening     -  -           -           -\n\
             web   files   running    11  1m 30s ago  -           -\n"
        );
        assert_eq!(
            printed(&rows()[2..], None),
            "name  driver  state    rows  last poll\nweb   files   running    11  1m 30s ago\n"
        );
    }

    #[tokio::test]
    async fn those_of_a_state_or_a_driver() {
        let all = json!({"results": [datasource("db", "waiting for driver", Value::Null), datasource("web", "running", Value::Null)]});
        let host = ToldHost::start(vec![
            ("GET /v1/data-sources", all),
            ("GET /v1/services/_host/tables/datasources/rows", table(json!([condition("web", 1)]))),
        ]);
        let listed = async |driver: Option<&str>, state: &[&str]| {
            let (mut output, data, _) = pages(Format::Jsonl, None);
            let state = state.iter().map(|state| (*state).to_owned()).collect();
            let arguments = ListArguments { driver: driver.map(str::to_owned), state };
            run(&host.client(), &arguments, &mut output).await.unwrap();
            let names = data
                .text()
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].to_string())
                .collect::<Vec<_>>();
            names.join(" ")
        };
        assert_eq!(listed(None, &[]).await, "\"db\" \"web\"");
        assert_eq!(listed(None, &["waiting"]).await, "\"db\"");
        assert_eq!(listed(None, &["waiting", "running"]).await, "\"db\" \"web\"");
        assert_eq!(listed(Some("sql"), &[]).await, "");
        let (mut output, data, said) = pages(Format::Table, Some(80));
        let arguments = ListArguments { driver: Some("sql".to_owned()), state: Vec::new() };
        run(&host.client(), &arguments, &mut output).await.unwrap();
        assert_eq!(said.text(), "none of them is so\n");
        assert_eq!(data.text(), "name  driver  state  rows  last poll  managed by  error  description\n");
    }
}
