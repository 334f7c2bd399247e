//! `busway call`: ask a service to do something.

use std::io::Read as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::bus::WORK_DEADLINE;

use super::client::{Client, part};
use super::failure::Failure;
use super::output::{Format, Output};

/// The host answers a little later than its deadline, at most.
const LATER: Duration = Duration::from_secs(5);

/// Call a method of a service, and print what it answers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway call web methods                  what it answers: of every service ping, status, info, …
  busway call web get_snapshot '{\"table\": \"orders\"}'
  busway call mailer send - --deadline 30s < letter.json
  busway call --node alpha services        a node itself: ping, status, services, nodes
  busway call --any workers run '{\"job\": 7}'

Over TCP the host wants its token, in BUSWAY_TOKEN. A call that is interrupted is taken back.

JSON: {\"schema_version\":1,\"to\",\"method\",\"result\"}
JSON lines: the result on a line")]
pub(crate) struct CallArguments {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// What it is to do
    #[arg(value_name = "METHOD")]
    method: String,
    /// The arguments, a JSON object of named ones; `-` reads them from stdin
    #[arg(value_name = "JSON")]
    args: Option<String>,
    /// How long to wait for the answer, such as 500ms or 1m; else 5s for ping, status, info and methods, 2m for the rest
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// SERVICE is a node
    #[arg(long, conflicts_with = "any")]
    node: bool,
    /// SERVICE is an address: any one service that listens on it
    #[arg(long)]
    any: bool,
}

/// Makes the call and prints its result.
pub(crate) async fn run(client: &Client, arguments: &CallArguments, output: &mut Output) -> Result<(), Failure> {
    let CallArguments { service, method, args, deadline, .. } = arguments;
    let args = match args.as_deref() {
        None => json!({}),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::BadJson(error.to_string()))?;
            parse(&text)?
        }
        Some(text) => parse(text)?,
    };
    let kind = match (arguments.node, arguments.any) {
        (true, _) => "nodes",
        (_, true) => "addresses",
        _ => "services",
    };
    let mut path = format!("/v1/{kind}/{}/calls/{}", part(service), part(method));
    if let Some(deadline) = deadline {
        path.push_str(&format!("?deadline={}", part(&humantime::format_duration(*deadline).to_string())));
    }
    let patience = deadline.unwrap_or(WORK_DEADLINE) + LATER;
    let answer = match client.post(&path, &args, patience).await {
        Ok(answer) => answer,
        Err(failure) => return Err(explain(failure, service, method)),
    };
    let result = answer.get("result").cloned().unwrap_or_default();
    match output.format() {
        Format::Json => output.json_document(&json!({"to": service, "method": method, "result": result})),
        Format::Jsonl => output.json_line(&result),
        Format::Table => match result {
            Value::String(text) => output.line(&text),
            other => output.line(&format!("{other:#}")),
        },
    }
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::BadJson(error.to_string()))
}

/// What there is instead.
fn explain(failure: Failure, service: &str, method: &str) -> Failure {
    let Failure::Refused { status: 404, data, .. } = &failure else { return failure };
    let list = |key: &str| -> Option<Vec<String>> {
        let list = data.get(key)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    match (list("methods"), list("there")) {
        (Some(known), _) => Failure::NoMethod { service: service.to_owned(), method: method.to_owned(), known },
        (_, Some(known)) => Failure::NoService { service: service.to_owned(), known },
        _ => failure,
    }
}
