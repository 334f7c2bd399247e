//! `busway datasource refresh`: polled now, not when its turn comes.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::cell::count_of;
use super::super::client::{ANSWER, Client};
use super::super::failure::Failure;
use super::super::output::{Format, Output};
use super::super::snapshot::Row;
use super::super::top;
use super::{conditions, explain, fetch, path};

/// How often is looked whether the poll is over.
const LOOK: Duration = Duration::from_millis(100);
/// A host tells of a poll's end a little later.
const LATER: Duration = Duration::from_secs(5);

/// Poll a datasource now
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource refresh web
  busway datasource refresh web --wait && busway rows web/orders

JSON: {\"schema_version\":1,\"name\",\"polls\",\"rows\"}; without --wait only the name")]
pub(crate) struct RefreshArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
    /// Wait until a poll has ended, and fail if it failed
    #[arg(long)]
    wait: bool,
    /// How long to wait at most; else as long as a poll may take
    #[arg(long, value_name = "TIME", value_parser = top::time, requires = "wait")]
    timeout: Option<Duration>,
}

/// Asks for a poll, and perhaps waits for it.
pub(super) async fn run(client: &Client, arguments: &RefreshArguments, output: &mut Output) -> Result<(), Failure> {
    let datasource = fetch(client, &arguments.name).await?;
    let name = datasource["name"].as_str().unwrap_or(&arguments.name);
    let before = if arguments.wait { counted(client, name).await? } else { Row::new() };
    let asked = client.post(&format!("{}?action=request-refresh", path(name)), &Value::Null, ANSWER).await;
    if let Err(failure) = asked {
        return Err(explain(client, name, failure).await);
    }
    if !arguments.wait {
        return told(&json!({"name": name}), &format!("{name} is polled soon"), output);
    }
    let deadline = datasource["deadline"].as_str().and_then(|text| humantime::parse_duration(text).ok());
    let patience = arguments.timeout.unwrap_or(deadline.unwrap_or(ANSWER) + LATER);
    let after = ended(client, name, &before, patience).await?;
    let rows = after.get("rows").and_then(Value::as_u64).unwrap_or_default();
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let whole = json!({"name": name, "polls": after.get("polls"), "rows": rows});
    told(&whole, &format!("{name} was polled: {}", count_of(rows)), output)
}

/// Waits until one more poll has ended than before.
async fn ended(client: &Client, name: &str, before: &Row, patience: Duration) -> Result<Row, Failure> {
    let until = Instant::now() + patience;
    let more = |now: &Row, key: &str| now.get(key).and_then(Value::as_u64) > before.get(key).and_then(Value::as_u64);
    while Instant::now() < until {
        sleep(LOOK).await;
        let now = counted(client, name).await?;
        if more(&now, "failures") {
            let why = now.get("error").and_then(Value::as_str).unwrap_or("it does not say why");
            return Err(Failure::Poll { name: name.to_owned(), why: why.to_owned() });
        }
        if more(&now, "polls") {
            return Ok(now);
        }
    }
    let patience = humantime::format_duration(patience);
    Err(Failure::Waited(format!("no poll of {name} ended within {patience}: it may yet")))
}

/// How many polls it has had.
async fn counted(client: &Client, name: &str) -> Result<Row, Failure> {
    let rows = conditions(client).await?;
    Ok(rows.into_iter().find(|row| row.get("name").is_some_and(|n| n == name)).unwrap_or_default())
}

fn told(whole: &Value, text: &str, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json_document(whole),
        Format::Jsonl => output.json_line(whole),
        Format::Table => output.line(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::{condition, datasource, table};
    use super::*;

    fn host(now: Value) -> ToldHost {
        ToldHost::start(vec![
            ("GET /v1/data-sources/web", datasource("web", "running", Value::Null)),
            ("GET /v1/services/_host/tables/datasources/rows", table(json!([now]))),
            ("POST /v1/data-sources/web?action=request-refresh", Value::Null),
        ])
    }

    #[tokio::test]
    async fn a_poll_is_asked_for() {
        let host = host(condition("web", 3));
        let (mut output, data, _) = pages(Format::Table, None);
        let arguments = RefreshArguments { name: "web".to_owned(), wait: false, timeout: None };
        run(&host.client(), &arguments, &mut output).await.unwrap();
        assert_eq!((data.text().as_str(), host.told().len()), ("web is polled soon\n", 1));
    }

    #[tokio::test]
    async fn a_poll_is_waited_for_and_its_failure_is_one() {
        let before = |polls: u64, failures: u64| {
            json!({"name": "web", "polls": polls, "failures": failures}).as_object().unwrap().clone()
        };
        let mut now = condition("web", 3);
        now["error"] = json!("can't connect");
        let host = host(now);
        let client = host.client();
        let patience = Duration::from_secs(5);
        // The host has it at 7 good ones and a failed one.
        assert_eq!(ended(&client, "web", &before(6, 1), patience).await.unwrap()["rows"], 3);
        assert_eq!(
            ended(&client, "web", &before(7, 0), patience).await.unwrap_err().report().unwrap(),
            "error: web was polled, and that failed: can't connect"
        );
        assert_eq!(
            ended(&client, "web", &before(7, 1), LOOK).await.unwrap_err().report().unwrap(),
            "error: no poll of web ended within 100ms: it may yet"
        );
    }
}
