//! `busway datasource set`, `enable`, `disable`: a change of one.

use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::super::client::Client;
use super::super::failure::Failure;
use super::super::input::Input;
use super::super::output::Output;
use super::settings::Settings;
use super::values::{HELP, pair, revision};
use super::{explain, path, settled, told};

/// Change a datasource; what is not named stays as it is
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  busway datasource set web path=/srv/other --poll 1m
  busway datasource set db password=-
  busway datasource set web --unset depth --if-revision 6ba7b810-3

It is opened anew beside the old one, and its tables go on.

{HELP}

JSON: the datasource's object, as `datasource show` has it"))]
pub(crate) struct SetArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
    /// Options that are set
    #[arg(value_name = "OPTION=VALUE", value_parser = pair)]
    options: Vec<(String, String)>,
    #[command(flatten)]
    settings: Settings,
    /// An option that is set no more; may be given several times
    #[arg(long, value_name = "OPTION")]
    unset: Vec<String>,
    /// It listens on no further address
    #[arg(long, conflicts_with = "addresses")]
    no_addresses: bool,
    /// Whether its last tables are kept on disk
    #[arg(long, value_name = "true|false")]
    persist_data: Option<bool>,
    /// Only if it is at this revision still, as `datasource show` says it
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    if_revision: Option<String>,
}

/// Changes it, and says how it is.
pub(super) async fn run(
    client: &Client,
    arguments: &SetArguments,
    input: &mut Input,
    output: &mut Output,
) -> Result<(), Failure> {
    let body = body(arguments, input)?;
    change(client, &arguments.name, &body, arguments.if_revision.as_deref(), "changed", output).await
}

/// Lets it run, or not.
pub(super) async fn enable(client: &Client, name: &str, enabled: bool, output: &mut Output) -> Result<(), Failure> {
    let done = if enabled { "enabled" } else { "disabled" };
    change(client, name, &json!({"enabled": enabled}), None, done, output).await
}

async fn change(
    client: &Client,
    name: &str,
    body: &Value,
    revision: Option<&str>,
    done: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    match client.change(Method::PATCH, &path(name), body, revision).await {
        Ok(answer) => told(&settled(client, answer).await, done, output),
        Err(failure) => Err(explain(client, name, failure).await),
    }
}

fn body(arguments: &SetArguments, input: &mut Input) -> Result<Value, Failure> {
    let mut config = arguments.settings.options(&arguments.options, input)?;
    for name in &arguments.unset {
        if config.insert(name.clone(), Value::Null).is_some() {
            return Err(Failure::Usage {
                what: format!("{name} is set and unset at once"),
                remedy: "one of the two".to_owned(),
            });
        }
    }
    let mut body = Map::new();
    if !config.is_empty() {
        body.insert("config".to_owned(), Value::Object(config));
    }
    arguments.settings.put(&mut body);
    if arguments.no_addresses {
        body.insert("addresses".to_owned(), json!([]));
    }
    if let Some(persist_data) = arguments.persist_data {
        body.insert("persist_data".to_owned(), persist_data.into());
    }
    if body.is_empty() {
        return Err(Failure::Usage {
            what: "nothing is to be changed".to_owned(),
            remedy: format!("busway datasource set {} OPTION=VALUE, or see --help", arguments.name),
        });
    }
    Ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use super::super::super::input::tests::given;
    use super::super::super::output::Format;
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::{datasource, missing};
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        set: SetArguments,
    }

    async fn said(host: &ToldHost, arguments: &[&str]) -> Result<String, Failure> {
        let parsed = Program::try_parse_from([&["set"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
        let (mut output, data, _) = pages(Format::Table, None);
        run(&host.client(), &parsed.set, &mut given("hunter2", false), &mut output).await.map(|()| data.text())
    }

    #[tokio::test]
    async fn what_is_said_is_sent_and_nothing_else() {
        let host = ToldHost::start(vec![("PATCH /v1/data-sources/web", datasource("web", "running", Value::Null))]);
        let all = [
            "web",
            "path=/srv",
            "password=-",
            "--unset",
            "depth",
            "--description",
            "x",
            "--no-addresses",
            "--poll",
            "1m",
            "--max-rows",
            "default",
            "--persist-data",
            "false",
            "--if-revision",
            "6ba7b810-3",
        ];
        assert_eq!(said(&host, &all).await.unwrap(), "web changed: running\n");
        assert_eq!(host.revision().as_deref(), Some("\"6ba7b810-3\""));
        let body = json!({
            "config": {"path": "/srv", "password": "hunter2", "depth": null}, "description": "x", "addresses": [],
            "poll": "1m", "max_rows": null, "persist_data": false,
        });
        assert_eq!(host.told(), [("PATCH /v1/data-sources/web".to_owned(), body)]);
        said(&host, &["web", "--address", "a"]).await.unwrap();
        assert_eq!((&host.told()[1].1, host.revision()), (&json!({"addresses": ["a"]}), None));
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_not_sent() {
        let host = ToldHost::start(Vec::new());
        assert_eq!(
            said(&host, &["web"]).await.unwrap_err().report().unwrap(),
            "error: nothing is to be changed\n  try: busway datasource set web OPTION=VALUE, or see --help"
        );
        assert_eq!(
            said(&host, &["web", "a=1", "--unset", "a"]).await.unwrap_err().report().unwrap(),
            "error: a is set and unset at once\n  try: one of the two"
        );
        assert!(host.told().is_empty());
    }

    #[tokio::test]
    async fn refusals_say_why() {
        let good = vec![("GET /v1/data-sources?fields=name", json!({"results": [{"name": "web"}]}))];
        let conflict = "Datasource web is at revision 4, not 3: read it again, and decide anew";
        let host = ToldHost::refusing(
            good,
            vec![
                missing("PATCH /v1/data-sources/wbe"),
                ("PATCH /v1/data-sources/web", 409, conflict, json!({"kind": "DatasourceRevisionConflict"})),
            ],
        );
        assert_eq!(
            said(&host, &["wbe", "a=1"]).await.unwrap_err().report().unwrap(),
            "error: no datasource wbe\n  why: the datasources are web\n  try: web, which is a near name"
        );
        assert_eq!(
            said(&host, &["web", "a=1", "--if-revision", "6ba7b810-3"]).await.unwrap_err().report().unwrap(),
            format!("error: {conflict}\n  why: the host answered with HTTP status 409, DatasourceRevisionConflict")
        );
    }

    #[tokio::test]
    async fn enabling_and_disabling() {
        let host = ToldHost::start(vec![
            ("PATCH /v1/data-sources/off", datasource("off", "disabled", Value::Null)),
            ("PATCH /v1/data-sources/web", datasource("web", "opening", Value::Null)),
        ]);
        let (mut output, data, _) = pages(Format::Table, None);
        enable(&host.client(), "off", false, &mut output).await.unwrap();
        enable(&host.client(), "web", true, &mut output).await.unwrap();
        assert_eq!(data.text(), "off is disabled\nweb enabled: opening\n");
        let bodies: Vec<Value> = host.told().into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [json!({"enabled": false}), json!({"enabled": true})]);
    }
}
