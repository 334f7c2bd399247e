//! `busway event types`: what can happen.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::cell::{printable, shortened, width};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{BOLD, DIM, Format, Output};
use crate::cli::sheet::{Sheet, section, wrapped};
use crate::cli::snapshot::Row;
use crate::event::{Catalogue, EventType, Kind, Owner, PREFIX, Role, describe, page, schema_of};

/// List the types of events, or show one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway event types
  busway event types ResourceLifecycleEvent
  busway event types 4001                  all that have the number
  busway event types AppLoaderEvent --schema
  busway event types --markdown > events.md

Of a running host these are its own, its drivers' and its operator's. Without one: those that every host knows.

JSON: {\"schema_version\":1,\"types\":[{\"type\",\"id\",\"base\",\"message\",\"role\",\"about\",\"origin\",\"owner\",\"fields\",\"schema\"}]}
JSON lines: one type's object a line")]
pub(crate) struct TypesArguments {
    /// The type: its name, with or without `busway.`, or its number
    #[arg(value_name = "TYPE")]
    of: Option<String>,
    /// The JSON Schema of its data
    #[arg(long, requires = "of")]
    schema: bool,
    /// All of them as a page in Markdown
    #[arg(long, conflicts_with_all = ["of", "schema"])]
    markdown: bool,
}

/// Prints them. Without a host: those that every host knows.
pub(crate) async fn run(
    client: Option<&Client>,
    arguments: &TypesArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let catalogue = match client {
        Some(client) => super::catalogue(client).await?,
        None => {
            output.note("no host answers: these are the types that every host knows");
            Catalogue::default()
        }
    };
    if arguments.markdown {
        return output.bytes(page(&catalogue).as_bytes());
    }
    let types = match &arguments.of {
        None => catalogue.all(),
        Some(of) => catalogue.find(of),
    };
    if let (true, Some(name)) = (types.is_empty(), &arguments.of) {
        let known = catalogue.all().iter().map(|one| short(&one.name).to_owned()).collect();
        return Err(Failure::Unknown { what: "event type", name: name.clone(), known });
    }
    if arguments.schema {
        return types.iter().try_for_each(|one| output.line(&format!("{:#}", schema_of(one))));
    }
    match output.format() {
        Format::Json => output.json_document(&json!({"types": types.iter().map(|o| describe(o)).collect::<Vec<_>>()})),
        Format::Jsonl => types.iter().try_for_each(|one| output.json_line(&describe(one))),
        Format::Table if arguments.of.is_some() => {
            for (at, one) in types.iter().enumerate() {
                if at > 0 {
                    output.line("")?;
                }
                sheet(one, output)?;
            }
            Ok(())
        }
        Format::Table => tree(&types, output),
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// All of them, each under its base.
fn tree<T: AsRef<EventType>>(types: &[T], output: &mut Output) -> Result<(), Failure> {
    let mut lines = Vec::new();
    branch(types, None, "", &mut lines);
    let wide = lines.iter().map(|(stem, one)| width(stem) + width(short(&one.name))).max().unwrap_or_default();
    let (paint, most) = (output.paint(), output.width());
    for (stem, one) in lines {
        let name = printable(short(&one.name));
        let pad = " ".repeat(wide.saturating_sub(width(&stem) + width(&name)));
        let number = one.id.map(|id| id.to_string()).unwrap_or_default();
        let note = match (&one.role, &one.owner) {
            (Role::Raw, _) => " (only to subscribe to)".to_owned(),
            (_, Owner::Host) => String::new(),
            (_, owner) => format!(" ({owner})"),
        };
        let about = printable(&format!("{}{note}", one.about));
        let about = most.map_or(about.clone(), |most| shortened(&about, most.saturating_sub(wide + 9)));
        let name = if one.role == Role::Base { paint.put(BOLD, &name) } else { name };
        let line =
            format!("{}{name}{pad}  {}  {about}", paint.put(DIM, &stem), paint.put(DIM, &format!("{number:>5}")));
        output.line(line.trim_end())?;
    }
    Ok(())
}

fn branch<'a, T: AsRef<EventType>>(
    types: &'a [T],
    base: Option<&EventType>,
    stem: &str,
    lines: &mut Vec<(String, &'a EventType)>,
) {
    let is_of = |one: &&EventType| one.base.as_deref() == base.map(|base| &*base.name);
    let mut of: Vec<&EventType> = types.iter().map(AsRef::as_ref).filter(is_of).collect();
    of.sort_by_key(|one| (one.id.unwrap_or(u32::MAX), &one.name));
    for (at, one) in of.iter().enumerate() {
        let (own, below) = match (base, at + 1 == of.len()) {
            (None, _) => ("", ""),
            (_, true) => ("└─ ", "   "),
            (_, false) => ("├─ ", "│  "),
        };
        lines.push((format!("{stem}{own}"), *one));
        branch(types, Some(one), &format!("{stem}{below}"), lines);
    }
}

fn sheet(one: &EventType, output: &mut Output) -> Result<(), Failure> {
    let mut sheet = Sheet::default();
    sheet.line("type", &*one.name);
    sheet.maybe("number", &json!(one.id));
    sheet.maybe("of", &json!(one.base.as_deref()));
    sheet.maybe("message", &json!(one.message));
    match one.role {
        Role::Event => {}
        Role::Base => sheet.line("role", "a base: who subscribes to it gets all that are of it"),
        Role::Raw => sheet.line("role", "only to subscribe to: what comes is in no envelope"),
    }
    sheet.line("means", one.about.as_str());
    sheet.maybe("origin", &json!(one.origin));
    if one.owner != Owner::Host {
        sheet.line("from", one.owner.to_string());
    }
    sheet.print(output)?;
    let row = |field: &crate::event::Field| {
        let kind = match &field.kind {
            Kind::OneOf(names) => {
                names.iter().map(|(name, number)| format!("{name}={number}")).collect::<Vec<_>>().join(" ")
            }
            kind => kind.to_string(),
        };
        let required = if field.required { json!("required") } else { Value::Null };
        let cells = [("field", json!(field.name)), ("", required), ("says", json!(field.about)), ("is", json!(kind))];
        cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Row>()
    };
    let columns = ["field", "", "says", "is"];
    let rows = wrapped(&columns, one.fields.iter().map(row).collect(), output.width());
    section("fields", &columns, &rows, &|_, text| text.to_owned(), output)
}
