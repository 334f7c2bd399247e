//! `busway event publish`: say that something happened.

use std::io::Read as _;

use clap::Args;
use serde_json::{Map, Number, Value, json};

use crate::cli::cell::{count_of_things, printable};
use crate::cli::client::{ANSWER, Client};
use crate::cli::failure::Failure;
use crate::cli::output::{Format, GREEN, Output, YELLOW};
use crate::event::{EventType, Kind};

use super::catalogue;

/// What all events may have; all else is the type's own.
const OUTSIDE: [&str; 7] = ["data_resource_id", "name", "status", "description", "datetime", "body", "user_id"];

/// Say that something happened
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway event publish ScheduleEvent --origin 1001 task_id=nightly
  busway event publish ErrorLoggingEvent --origin shop.till description='no paper' status=ERROR
  busway event publish ContainerStartupEvent --origin alpha startup_names=web,mail
  busway event publish DataBlockEvent --origin probe --data - < block.json
  busway event publish --cloudevent event.json

Values are read as the type's fields want them: numbers; lists with commas between, or in JSON; names of an enumeration or
their numbers. `busway event types TYPE` shows the fields. All events may have data_resource_id, name, status,
description, datetime, body and user_id.

Nobody has to listen, unless --mandatory. Over TCP the host wants its token, in BUSWAY_TOKEN.

JSON: {\"schema_version\":1,\"id\",\"position\",\"listeners\"}; of several CloudEvents {\"schema_version\":1,\"results\":[…]}
JSON lines: the same without the version, an event a line")]
pub(crate) struct PublishArguments {
    /// The type: its name, with or without `busway.`, or its number
    #[arg(value_name = "TYPE", required_unless_present = "cloudevent")]
    of: Option<String>,
    /// What it says
    #[arg(value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    /// To what it happened
    #[arg(long, value_name = "ORIGIN", required_unless_present = "cloudevent")]
    origin: Option<String>,
    /// The type's own fields, a JSON object; `-` reads it from stdin
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Only if somebody listens: else nothing is published, and this fails
    #[arg(long)]
    mandatory: bool,
    /// A CloudEvent in JSON, or a list of them, all of which are published or none; `-` reads it from stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["of", "fields", "origin", "data"])]
    cloudevent: Option<String>,
}

/// Publishes it, and says what became of it.
pub(crate) async fn run(client: &Client, arguments: &PublishArguments, output: &mut Output) -> Result<(), Failure> {
    let event = match (&arguments.cloudevent, &arguments.of) {
        (Some(file), _) => cloudevent(file)?,
        (None, Some(of)) => made(client, arguments, of).await?,
        // clap sees to it.
        (None, None) => Value::Null,
    };
    let path = if arguments.mandatory { "/v1/events?mandatory=true" } else { "/v1/events" };
    let answer = client.post(path, &event, ANSWER).await?;
    let receipts = answer["results"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    match output.format() {
        Format::Json => output.json_document(&answer),
        Format::Jsonl => receipts.iter().try_for_each(|receipt| output.json_line(receipt)),
        Format::Table => receipts.iter().try_for_each(|receipt| {
            let listeners =
                receipt["listeners"].as_u64().and_then(|many| usize::try_from(many).ok()).unwrap_or_default();
            let (style, told) = match listeners {
                0 => (YELLOW, "nobody listens".to_owned()),
                many => (GREEN, format!("told to {}", count_of_things(many, "listener"))),
            };
            let id = printable(receipt["id"].as_str().unwrap_or_default());
            let told = output.paint().put(style, &told);
            output.line(&format!("published {id}: {told}"))
        }),
    }
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn cloudevent(file: &str) -> Result<Value, Failure> {
    let bad = |why: String| Failure::File { path: file.into(), why };
    let text = match file {
        "-" => stdin()?,
        path => std::fs::read_to_string(path).map_err(|error| bad(crate::cli::client::reason(&error)))?,
    };
    serde_json::from_str(&text).map_err(|error| bad(format!("it is no JSON: {error}")))
}

/// The event in the short form that the host reads.
async fn made(client: &Client, arguments: &PublishArguments, of: &str) -> Result<Value, Failure> {
    let found = catalogue(client).await?.find(of);
    // What the host does not know it refuses itself, with what was probably meant.
    let of_type = found.first().filter(|_| found.len() == 1).map(|one| &**one);
    let mut data = match arguments.data.as_deref() {
        None => Map::new(),
        Some(text) => object(&if text == "-" { stdin()? } else { text.to_owned() })?,
    };
    let mut event = Map::new();
    event.insert("type".to_owned(), of.into());
    event.insert("origin".to_owned(), json!(arguments.origin));
    for field in &arguments.fields {
        let Some((name, value)) = field.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let (what, remedy) = (format!("{field:?} is no field"), "NAME=VALUE, such as state=READY".to_owned());
            return Err(Failure::Usage { what, remedy });
        };
        let (place, value) = match OUTSIDE.contains(&name) {
            true => (&mut event, outside(name, value)),
            false => (&mut data, typed(of_type, name, value)),
        };
        if place.insert(name.to_owned(), value).is_some() {
            let (what, remedy) = (format!("{name:?} is given twice"), "give it once".to_owned());
            return Err(Failure::Usage { what, remedy });
        }
    }
    event.insert("data".to_owned(), data.into());
    Ok(event.into())
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    let usage = |why: String| Failure::Usage {
        what: format!("the data is no JSON object: {why}"),
        remedy: "'{\"field\": \"value\"}', or FIELD=VALUE instead of --data".to_owned(),
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(data)) => Ok(data),
        Ok(_) => Err(usage("it is something else".to_owned())),
        Err(error) => Err(usage(error.to_string())),
    }
}

/// A field that all events may have.
fn outside(name: &str, text: &str) -> Value {
    match name {
        "status" | "datetime" => number(text),
        _ => text.into(),
    }
}

/// A value as its field wants it; one that can't be that goes as it is, and the host says what is wrong with it.
fn typed(of: Option<&EventType>, name: &str, text: &str) -> Value {
    let field = of.and_then(|of| of.fields.iter().find(|field| field.name == name));
    match field.map(|field| &field.kind) {
        Some(Kind::Text) => text.into(),
        Some(Kind::Integer | Kind::Number | Kind::OneOf(_)) => number(text),
        Some(Kind::Boolean) => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
        Some(Kind::Texts) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        Some(Kind::Texts) if text.is_empty() => json!([]),
        Some(Kind::Texts) => text.split(',').collect(),
        Some(_) | None => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

fn number(text: &str) -> Value {
    serde_json::from_str::<Number>(text).map_or_else(|_| text.into(), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Catalogue;

    #[test]
    fn values_are_what_their_fields_want() {
        let catalogue = Catalogue::default();
        let value = |of: &str, name: &str, text: &str| typed(Some(&catalogue.get(of).unwrap()), name, text);
        for (of, name, text, expected) in [
            ("ScheduleEvent", "task_id", "7", json!("7")),
            ("ResourceLifecycleEvent", "state", "READY", json!("READY")),
            ("ResourceLifecycleEvent", "state", "2", json!(2)),
            ("DatasetSupplementAddedEvent", "number_of_timesteps", "-3", json!(-3)),
            ("DatasetSupplementAddedEvent", "number_of_timesteps", "many", json!("many")),
            ("InstrumentSampleDataEvent", "salinity", "3.5e1", json!(35.0)),
            ("ContainerStartupEvent", "startup_names", "a,b", json!(["a", "b"])),
            ("ContainerStartupEvent", "startup_names", "[\"a,b\"]", json!(["a,b"])),
            ("ContainerStartupEvent", "startup_names", "", json!([])),
            ("ContainerStartupEvent", "unknown", "x", json!("x")),
        ] {
            assert_eq!(value(of, name, text), expected, "{of} {name}={text}");
        }
        assert_eq!((outside("status", "3"), outside("status", "ERROR")), (json!(3), json!("ERROR")));
        assert_eq!(outside("name", "3"), json!("3"));
    }
}
