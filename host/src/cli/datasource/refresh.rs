//! `busway datasource refresh`: polled now, not when its turn comes.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::cell::count_of;
use super::super::client::{ANSWER, Client};
use super::super::failure::Failure;
use super::super::output::{Format, Output};
use super::super::top;
use super::{explain, fetch, path, settled};

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
    let deadline = datasource["deadline"].as_str().and_then(|text| humantime::parse_duration(text).ok());
    let patience = arguments.timeout.unwrap_or(deadline.unwrap_or(ANSWER) + LATER);
    let before = match arguments.wait {
        true => {
            settled(client, datasource.clone()).await;
            counted(client, name).await?
        }
        false => Counted::default(),
    };
    let asked = client.post(&format!("{}?action=request-refresh", path(name)), &Value::Null, ANSWER).await;
    if let Err(failure) = asked {
        return Err(explain(client, name, failure).await);
    }
    if !arguments.wait {
        return told(&json!({"name": name}), &format!("{name} is polled soon"), output);
    }
    let after = ended(client, name, &before, patience).await?;
    let whole = json!({"name": name, "polls": after.good, "rows": after.rows});
    told(&whole, &format!("{name} was polled: {}", count_of(after.rows)), output)
}

/// How many polls it has had, good and failed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    good: u64,
    failed: u64,
    rows: usize,
    error: String,
}

/// Waits until one more poll has ended than before. Counts that went back are those of a source that was opened since.
async fn ended(client: &Client, name: &str, before: &Counted, patience: Duration) -> Result<Counted, Failure> {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        sleep(LOOK).await;
        let now = counted(client, name).await?;
        let anew = now.good < before.good || now.failed < before.failed;
        let since = if anew { &Counted::default() } else { before };
        if now.failed > since.failed {
            return Err(Failure::Poll { name: name.to_owned(), why: now.error });
        }
        if now.good > since.good {
            return Ok(now);
        }
    }
    let patience = humantime::format_duration(patience);
    Err(Failure::Waited(format!("no poll of {name} ended within {patience}: it may yet")))
}

async fn counted(client: &Client, name: &str) -> Result<Counted, Failure> {
    let status = client.read(&format!("{}/status", path(name))).await?;
    Ok(Counted {
        good: status["polls"].as_u64().unwrap_or_default(),
        failed: status["failed_polls"].as_u64().unwrap_or_default(),
        rows: status["rows"].as_u64().and_then(|rows| usize::try_from(rows).ok()).unwrap_or_default(),
        error: status["last_error"].as_str().unwrap_or_default().to_owned(),
    })
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
    use super::super::tests::datasource;
    use super::*;

    fn host() -> ToldHost {
        let status = json!({"polls": 7, "failed_polls": 1, "rows": 3, "last_error": "can't connect"});
        ToldHost::start(vec![
            ("GET /v1/data-sources/web", datasource("web", "running", Value::Null)),
            ("GET /v1/data-sources/web/status", status),
            ("POST /v1/data-sources/web?action=request-refresh", Value::Null),
        ])
    }

    #[tokio::test]
    async fn a_poll_is_asked_for() {
        let host = host();
        let (mut output, data, _) = pages(Format::Table, None);
        let arguments = RefreshArguments { name: "web".to_owned(), wait: false, timeout: None };
        run(&host.client(), &arguments, &mut output).await.unwrap();
        assert_eq!((data.text().as_str(), host.told().len()), ("web is polled soon\n", 1));
    }

    #[tokio::test]
    async fn a_poll_is_waited_for_and_its_failure_is_one() {
        let before = |good: u64, failed: u64| Counted { good, failed, ..Counted::default() };
        let host = host();
        let client = host.client();
        let patience = Duration::from_secs(5);
        // The host has it at 7 good ones and a failed one.
        assert_eq!(ended(&client, "web", &before(6, 1), patience).await.unwrap().rows, 3);
        let failed = "error: web was polled, and that failed: can't connect";
        for before in [before(7, 0), before(9, 1)] {
            let failure = ended(&client, "web", &before, patience).await.unwrap_err();
            assert_eq!(failure.report().unwrap(), failed, "{before:?}");
        }
        assert_eq!(
            ended(&client, "web", &before(7, 1), LOOK).await.unwrap_err().report().unwrap(),
            "error: no poll of web ended within 100ms: it may yet"
        );
    }
}
