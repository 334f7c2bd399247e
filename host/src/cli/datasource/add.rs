//! `busway datasource add`: a new one.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::client::{ANSWER, Client};
use super::super::failure::Failure;
use super::super::input::Input;
use super::super::output::Output;
use super::settings::Settings;
use super::values::{HELP, pair};
use super::{ALL, settled, told};

/// Add a datasource; it runs at once
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  busway datasource add web files --option path=/srv/data --poll 2s
  busway datasource add db sql --option user=me --option password=-
  pass show db | busway datasource add db sql --option user=me --option password=-
  busway datasource add web files --config-json @web.json --disabled

{HELP}

JSON: the datasource's object, as `datasource show` has it"))]
pub(crate) struct AddArguments {
    /// Its name, which its tables' names begin with: words of A-Z a-z 0-9 _ - joined by dots
    #[arg(value_name = "NAME")]
    name: String,
    /// The driver's id
    #[arg(value_name = "DRIVER")]
    driver: String,
    /// What the driver is told; may be given several times
    #[arg(long = "option", value_name = "OPTION=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,
    #[command(flatten)]
    settings: Settings,
    /// Do not run it yet
    #[arg(long)]
    disabled: bool,
    /// Keep its last tables on disk, and serve them after a start until the first poll
    #[arg(long)]
    persist_data: bool,
}

/// Creates it, and says how it is.
pub(super) async fn run(
    client: &Client,
    arguments: &AddArguments,
    input: &mut Input,
    output: &mut Output,
) -> Result<(), Failure> {
    let body = body(arguments, input)?;
    let answer = client.post(ALL, &body, ANSWER).await?;
    told(&settled(client, answer).await, "added", output)
}

fn body(arguments: &AddArguments, input: &mut Input) -> Result<Value, Failure> {
    let AddArguments { name, driver, options, settings, disabled, persist_data } = arguments;
    let config = settings.options(options, input)?;
    let mut body = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("driver".to_owned(), json!(driver)),
        ("config".to_owned(), Value::Object(config)),
    ]);
    settings.put(&mut body);
    let said = [("enabled", disabled.then_some(false)), ("persist_data", persist_data.then_some(true))];
    body.extend(said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))));
    Ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use super::super::super::input::tests::given;
    use super::super::super::output::Format;
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::datasource;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        add: AddArguments,
    }

    fn parsed(arguments: &[&str]) -> AddArguments {
        Program::try_parse_from([&["add"], arguments].concat()).unwrap_or_else(|error| panic!("{error}")).add
    }

    #[tokio::test]
    async fn all_that_is_said_is_sent() {
        let host = ToldHost::start(vec![("POST /v1/data-sources", datasource("web", "opening", Value::Null))]);
        let arguments = parsed(&[
            "web",
            "files",
            "--option",
            "path=/srv",
            "--option",
            "password=-",
            "--description",
            "The shop",
            "--disabled",
            "--address",
            "a",
            "--address",
            "b",
            "--poll",
            "5s",
            "--deadline",
            "90",
            "--max-rows",
            "10",
            "--max-bytes",
            "1_000",
            "--persist-data",
        ]);
        let (mut output, data, _) = pages(Format::Table, None);
        run(&host.client(), &arguments, &mut given("hunter2\n", false), &mut output).await.unwrap();
        assert_eq!(data.text(), "web added: opening\n");
        let body = json!({
            "name": "web", "driver": "files", "config": {"path": "/srv", "password": "hunter2"},
            "description": "The shop", "enabled": false, "addresses": ["a", "b"], "poll": "5s", "deadline": "1m 30s",
            "max_rows": 10, "max_bytes": 1000, "persist_data": true,
        });
        assert_eq!(host.told(), [("POST /v1/data-sources".to_owned(), body)]);
    }

    #[tokio::test]
    async fn what_is_not_said_is_the_hosts_to_decide() {
        let host =
            ToldHost::start(vec![("POST /v1/data-sources", datasource("web", "failed", json!("no such folder")))]);
        let (mut output, data, _) = pages(Format::Table, None);
        run(&host.client(), &parsed(&["web", "files", "--poll", "0"]), &mut given("", false), &mut output)
            .await
            .unwrap();
        assert_eq!(data.text(), "web added: failed\n  no such folder\n");
        let body = json!({"name": "web", "driver": "files", "config": {}, "poll": "0s"});
        assert_eq!(host.told()[0].1, body);
    }

    #[tokio::test]
    async fn a_refusal_lists_what_is_wrong() {
        let problems = json!(["unknown option \"pth\": did you mean \"path\"?", "missing option \"path\" (string)"]);
        let message =
            "Invalid driver options: unknown option \"pth\": did you mean \"path\"?; missing option \"path\" (string)";
        let refused =
            ("POST /v1/data-sources", 400, message, json!({"kind": "InvalidDriverOption", "problems": problems}));
        let host = ToldHost::refusing(Vec::new(), vec![refused]);
        let (mut output, _, _) = pages(Format::Table, None);
        let failure =
            run(&host.client(), &parsed(&["web", "files"]), &mut given("", false), &mut output).await.unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            "error: Invalid driver options\n  why: unknown option \"pth\": did you mean \"path\"?\n  \
             why: missing option \"path\" (string)"
        );
    }
}
