//! `busway datasource remove`: its record and its tables go.

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::super::cell::{count_of, count_of_things};
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::input::Input;
use super::super::output::{Format, Output};
use super::values::revision;
use super::{explain, fetch, path, tables_of};

/// Remove a datasource: its tables go, and what it was told
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource remove web
  busway datasource remove web --yes       asks nothing; in a pipe it must be said
  busway datasource disable web            keeps what it was told

JSON: {\"schema_version\":1,\"removed\"}, its name")]
pub(crate) struct RemoveArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only if it is at this revision still, as `datasource show` says it
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    if_revision: Option<String>,
}

/// Asks, and removes it.
pub(super) async fn run(
    client: &Client,
    arguments: &RemoveArguments,
    input: &mut Input,
    output: &mut Output,
) -> Result<(), Failure> {
    let datasource = fetch(client, &arguments.name).await?;
    let text = |key: &str| datasource[key].as_str().unwrap_or_default();
    let name = text("name");
    // It can't be done, so it is not asked.
    let may = datasource["managed_by"] != "file";
    if !arguments.yes && may {
        let tables = tables_of(client, name).await?;
        let rows: u64 = tables.iter().filter_map(|table| table.get("rows").and_then(Value::as_u64)).sum();
        let rows = count_of(usize::try_from(rows).unwrap_or(usize::MAX));
        let tables = count_of_things(tables.len(), "table");
        let what = format!("{name} ({}, {}, {tables}, {rows})", text("driver"), text("state"));
        input.confirm(&format!("Remove {what}?"), &format!("removing {name}"), output)?;
    }
    // Who was asked has seen this one.
    let id = datasource["id"].as_str().unwrap_or(name);
    let removed = client.change(Method::DELETE, &path(id), &Value::Null, arguments.if_revision.as_deref()).await;
    if let Err(failure) = removed {
        return Err(explain(client, name, failure).await);
    }
    match output.format() {
        Format::Json => output.json_document(&json!({"removed": name})),
        Format::Jsonl => output.json_line(&json!({"removed": name})),
        Format::Table => output.line(&format!("{name} removed")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::input::tests::given;
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::{datasource, table};
    use super::*;

    const DELETE: &str = "DELETE /v1/data-sources/6ba7b810-9dad-11d1-80b4-00c04fd430c8";

    fn host() -> ToldHost {
        let tables = json!([{"service": "web", "table": "a", "rows": 3}, {"service": "db", "table": "b", "rows": 4}]);
        ToldHost::start(vec![
            ("GET /v1/data-sources/web", datasource("web", "running", Value::Null)),
            ("GET /v1/services/_host/tables/tables/rows", table(tables)),
            (DELETE, Value::Null),
        ])
    }

    async fn removed(host: &ToldHost, yes: bool, answer: &str, terminal: bool) -> (Result<String, Failure>, String) {
        let (mut output, data, asked) = pages(Format::Table, None);
        let arguments = RemoveArguments { name: "web".to_owned(), yes, if_revision: None };
        let done = run(&host.client(), &arguments, &mut given(answer, terminal), &mut output).await;
        (done.map(|()| data.text()), asked.text())
    }

    #[tokio::test]
    async fn somebody_says_yes_first() {
        let question = "Remove web (files, running, 1 table, 3 rows)? [y/N] ";
        let host = host();
        let (done, asked) = removed(&host, false, "n\n", true).await;
        assert_eq!(
            (done.unwrap_err().report().unwrap(), asked.as_str()),
            ("error: nothing was changed".to_owned(), question)
        );
        let (done, asked) = removed(&host, false, "y\n", false).await;
        assert_eq!(
            done.unwrap_err().report().unwrap(),
            "error: removing web needs a yes, and stdin is no terminal to ask on\n  try: say it with --yes"
        );
        assert_eq!((asked.as_str(), host.told().len()), ("", 0));
        let (done, asked) = removed(&host, false, "y\n", true).await;
        assert_eq!((done.unwrap().as_str(), asked.as_str()), ("web removed\n", question));
        let (done, asked) = removed(&host, true, "", false).await;
        assert_eq!((done.unwrap().as_str(), asked.as_str()), ("web removed\n", ""));
        assert_eq!(host.told(), [(DELETE.to_owned(), Value::Null), (DELETE.to_owned(), Value::Null)]);
    }
}
