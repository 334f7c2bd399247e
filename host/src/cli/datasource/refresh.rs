//! `busway datasource refresh`: polled now, not when its turn comes.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::cell::count_of;
use super::super::client::{ANSWER, Client};
use super::super::failure::Failure;
use super::super::output::{Format, Output};
use super::super::top;
use super::{explain, fetch, path, settled};

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
    /// Wait until a poll has ended that began after this asked for it, and fail if it failed
    #[arg(long)]
    wait: bool,
    /// How long to wait at most; else as long as two polls may take
    #[arg(long, value_name = "TIME", value_parser = top::time, requires = "wait")]
    timeout: Option<Duration>,
}

/// Asks for a poll, and perhaps waits for it.
pub(super) async fn run(client: &Client, arguments: &RefreshArguments, output: &mut Output) -> Result<(), Failure> {
    let datasource = fetch(client, &arguments.name).await?;
    let name = datasource["name"].as_str().unwrap_or(&arguments.name);
    let refresh = format!("{}?action=request-refresh", path(name));
    if !arguments.wait {
        return match client.post(&refresh, &Value::Null, ANSWER).await {
            Ok(_) => told(&json!({"name": name}), &format!("{name} is polled soon"), output),
            Err(failure) => Err(explain(client, name, failure).await),
        };
    }
    let deadline = datasource["deadline"].as_str().and_then(|text| humantime::parse_duration(text).ok());
    // A poll that runs now was not asked for: it ends, and then there is another.
    let patience = arguments.timeout.unwrap_or(deadline.unwrap_or(ANSWER) * 2 + LATER);
    settled(client, datasource.clone()).await;
    let waiting = format!("{refresh}&wait=true&deadline={}", patience.as_secs_f64());
    let answer = match client.post(&waiting, &Value::Null, patience + LATER).await {
        Ok(answer) => answer,
        Err(failure) => return Err(explain(client, name, ended(name, failure)).await),
    };
    let rows = answer["rows"].as_u64().and_then(|rows| usize::try_from(rows).ok()).unwrap_or_default();
    let whole = json!({"name": name, "polls": answer["polls"], "rows": rows});
    told(&whole, &format!("{name} was polled: {}", count_of(rows)), output)
}

/// How the wait ended, when not with a good poll.
fn ended(name: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Refused { message, data, .. } if data["kind"] == "poll_failed" => {
            let why = message.split_once(", and that failed: ").map_or(&*message, |(_, why)| why);
            Failure::Poll { name: name.to_owned(), why: why.to_owned() }
        }
        Failure::Refused { message, data, .. } if data["kind"] == "timed_out" => Failure::Waited(message),
        other => other,
    }
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

    const WEB: &str = "GET /v1/data-sources/web";

    #[tokio::test]
    async fn a_poll_is_asked_for() {
        let host = ToldHost::start(vec![
            (WEB, datasource("web", "running", Value::Null)),
            ("POST /v1/data-sources/web?action=request-refresh", Value::Null),
        ]);
        let (mut output, data, _) = pages(Format::Table, None);
        let arguments = RefreshArguments { name: "web".to_owned(), wait: false, timeout: None };
        run(&host.client(), &arguments, &mut output).await.unwrap();
        assert_eq!((data.text().as_str(), host.told().len()), ("web is polled soon\n", 1));
    }

    #[tokio::test]
    async fn the_host_says_when_a_poll_has_ended_and_how() {
        const PATH: &str = "POST /v1/data-sources/web?action=request-refresh&wait=true&deadline=65";
        let web = || (WEB, datasource("web", "running", Value::Null));
        let waiting = RefreshArguments { name: "web".to_owned(), wait: true, timeout: None };
        let good = ToldHost::start(vec![web(), (PATH, json!({"polls": 8, "failed_polls": 1, "rows": 3}))]);
        let (mut output, data, _) = pages(Format::Jsonl, None);
        run(&good.client(), &waiting, &mut output).await.unwrap();
        assert_eq!(data.text(), "{\"name\":\"web\",\"polls\":8,\"rows\":3}\n");
        let late = "no poll of web ended within 65s: it may yet";
        for (status, text, kind, said) in [
            (
                502,
                "web was polled, and that failed: can't connect",
                "poll_failed",
                "error: web was polled, and that failed: can't connect".to_owned(),
            ),
            (504, late, "timed_out", format!("error: {late}")),
        ] {
            let host = ToldHost::refusing(vec![web()], vec![(PATH, status, text, json!({"kind": kind}))]);
            let (mut output, _, _) = pages(Format::Table, None);
            assert_eq!(run(&host.client(), &waiting, &mut output).await.unwrap_err().report().unwrap(), said);
        }
    }
}
