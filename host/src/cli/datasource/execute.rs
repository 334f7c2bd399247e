//! `busway datasource execute`: it is asked to do something.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{Format, Output};
use super::values::arguments;
use super::{explain, path};
use crate::bus::WORK_DEADLINE;

/// The host answers a little later than its deadline, at most.
const LATER: Duration = Duration::from_secs(5);

/// Ask a datasource to do something, and print what it answers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource execute system signal_process 1234 TERM
  busway datasource execute web touch file=news.csv mode=600
  busway datasource execute web touch '\"a=b\"'     a text that would be taken for NAME=VALUE
  busway datasource execute web touch news.csv --request-id 7f3a    runs once, however often it is sent

Values are JSON if they can be (7, true, [1,2], \"7\"), else texts. It may take 2 minutes; one that is interrupted is
taken back. `busway datasource actions NAME` lists what there is.

JSON: {\"schema_version\":1,\"name\",\"action\",\"result\"}
JSON lines: the result on a line")]
pub(crate) struct ExecuteArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is to do
    #[arg(value_name = "ACTION")]
    action: String,
    /// The arguments, by place or by name
    #[arg(value_name = "VALUE|NAME=VALUE", allow_negative_numbers = true)]
    args: Vec<String>,
    /// A request of this id runs once in the host's life: sent again, it is answered as the first was
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// Runs the action and prints its result.
pub(super) async fn run(client: &Client, asked: &ExecuteArguments, output: &mut Output) -> Result<(), Failure> {
    let ExecuteArguments { name, action, args, request_id } = asked;
    let (positional, named) = arguments(args);
    let mut body = json!({"name": action, "args": {"positional": positional, "named": named}});
    if let Some(id) = request_id {
        body["request_id"] = json!(id);
    }
    let path = format!("{}?action=execute&wait=true", path(name));
    let answer = match client.post(&path, &body, WORK_DEADLINE + LATER).await {
        Ok(answer) => answer,
        Err(failure) => return Err(explain(client, name, failure).await),
    };
    let result = answer.get("result").cloned().unwrap_or_default();
    match output.format() {
        Format::Json => output.json_document(&json!({"name": name, "action": action, "result": result})),
        Format::Jsonl => output.json_line(&result),
        Format::Table => match result {
            Value::Null => Ok(()),
            Value::String(text) => output.line(&text),
            other => output.line(&format!("{other:#}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::*;

    const PATH: &str = "POST /v1/data-sources/web?action=execute&wait=true";

    #[tokio::test]
    async fn arguments_go_by_place_and_by_name() {
        let host = ToldHost::start(vec![(PATH, json!({"result": {"done": 1}}))]);
        let (mut output, data, _) = pages(Format::Table, None);
        let asked = ExecuteArguments {
            name: "web".to_owned(),
            action: "touch".to_owned(),
            args: ["7", "mode=600", "file=a b"].map(str::to_owned).to_vec(),
            request_id: Some("r".to_owned()),
        };
        run(&host.client(), &asked, &mut output).await.unwrap();
        assert_eq!(data.text(), "{\n  \"done\": 1\n}\n");
        let args = json!({"positional": [7], "named": {"mode": 600, "file": "a b"}});
        assert_eq!(host.told(), [(PATH.to_owned(), json!({"name": "touch", "args": args, "request_id": "r"}))]);
    }

    #[tokio::test]
    async fn a_refusal_is_the_hosts() {
        let refused = (PATH, 400, "no action \"toch\": did you mean \"touch\"?", json!({"kind": "unknown_action"}));
        let host = ToldHost::refusing(Vec::new(), vec![refused]);
        let (mut output, _, _) = pages(Format::Table, None);
        let asked =
            ExecuteArguments { name: "web".to_owned(), action: "toch".to_owned(), args: Vec::new(), request_id: None };
        assert_eq!(
            run(&host.client(), &asked, &mut output).await.unwrap_err().report().unwrap(),
            "error: no action \"toch\": did you mean \"touch\"?\n  \
             why: the host answered with HTTP status 400, unknown_action"
        );
    }
}
