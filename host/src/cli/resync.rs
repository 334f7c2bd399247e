//! `busway resync`: subscribers begin anew.

use clap::Args;
use serde_json::{Value, json};

use super::client::{ANSWER, Client};
use super::failure::Failure;
use super::output::{Format, Output};

/// Serve subscribers a snapshot next, when what they hold is not to be trusted
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway resync --all
  busway resync --service mailer           what the service mailer subscribes to
  busway rows _host/subscriptions          lists the subscriptions

Over TCP the host wants its token, in BUSWAY_TOKEN.

JSON: {\"schema_version\":1,\"subscriptions\"}, how many begin anew
JSON lines: {\"subscriptions\"}")]
#[group(required = true, multiple = false, id = "whose")]
pub(crate) struct ResyncArguments {
    /// All subscriptions of the host
    #[arg(long, group = "whose")]
    all: bool,
    /// The subscriptions of one service
    #[arg(long, value_name = "SERVICE", group = "whose")]
    service: Option<String>,
    /// One subscription
    #[arg(long, value_name = "ID", group = "whose")]
    subscription: Option<uuid::Uuid>,
}

/// Says so to the host, and prints how many subscriptions it meant.
pub(crate) async fn run(client: &Client, arguments: &ResyncArguments, output: &mut Output) -> Result<(), Failure> {
    let whose = match (&arguments.service, arguments.subscription) {
        (Some(service), _) => json!({"service": service}),
        (_, Some(id)) => json!({"subscription": id}),
        _ => json!({"all": true}),
    };
    let answer = client.post("/v1/resync", &whose, ANSWER).await?;
    match output.format() {
        Format::Json => output.json_document(&answer),
        Format::Jsonl => output.json_line(&answer),
        Format::Table => match answer.get("subscriptions").and_then(Value::as_u64).unwrap_or_default() {
            1 => output.line("1 subscription begins anew"),
            count => output.line(&format!("{count} subscriptions begin anew")),
        },
    }
}
