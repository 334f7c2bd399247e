//! `busway events`: what happened of late, then what happens.

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::client::{Client, part};
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output};

use super::follower::{Follower, News};
use super::line::line;

/// So many of the past are shown before what happens, if nothing else is said.
const LATEST: u64 = 10;
/// The most that a page of the past has.
const PAGE: u64 = 1000;

/// Print what happened of late, then what happens as it does
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway events
  busway events --family LoggingEvent --origin 'busway.plugin.#'
  busway events --type PluginLifecycleEvent --where state=REFUSED --where driver=files
  busway events --since 1h --no-follow --output jsonl | jq -r .type | sort | uniq -c

An origin may have wildcards: between dots, * is any word and # any number of words. A pattern is TYPE.ORIGIN.
FIELD=VALUE: exactly that; FIELD^=START: begins so; FIELD=A|B: one of these. All of several --where must hold.

If the host goes away, this says so on stderr, waits for it and goes on where it was. What is lost is said there, too.

JSON and JSON lines: a CloudEvent a line; with --no-follow, JSON is {\"schema_version\":1,\"events\":[…]}")]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    wanted: Wanted,
    /// What happened then or later: a time, or how long ago, such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// So many of the past at most, the latest; else 10, and with --since or --no-follow all there are
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(..=1000))]
    limit: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Only the past
    #[arg(long)]
    no_follow: bool,
    /// Only the past, over restarts of the host, which must have `events.durable` set
    #[arg(long, conflicts_with = "follow")]
    archived: bool,
    /// Go on with what happens, as it does in any case
    #[arg(long, short, conflicts_with = "no_follow")]
    follow: bool,
}

/// Which events.
#[derive(Debug, Default, Args)]
struct Wanted {
    /// Only of this type: its name, with or without `busway.`, or its number. A base is all that are of it
    #[arg(long = "type", value_name = "TYPE", conflicts_with_all = ["family", "pattern"])]
    of: Option<String>,
    /// Only of this origin: to what it happened
    #[arg(long, value_name = "ORIGIN", conflicts_with = "pattern")]
    origin: Option<String>,
    /// Only of this type and all that are of it
    #[arg(long, value_name = "TYPE", conflicts_with = "pattern")]
    family: Option<String>,
    /// Only what this meets, such as '1001.rack.*'
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
    /// Only with this field, which may be outside or inside the data
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    filters: Vec<String>,
}

impl Wanted {
    /// As a query's parameters.
    fn pairs(&self) -> Vec<(String, String)> {
        let one = |name: &str, value: &Option<String>| Some((name.to_owned(), value.clone()?));
        let named = [
            one("type", &self.of),
            one("origin", &self.origin),
            one("family", &self.family),
            one("pattern", &self.pattern),
        ];
        let filters = self.filters.iter().map(|filter| ("where".to_owned(), filter.clone()));
        named.into_iter().flatten().chain(filters).collect()
    }
}

/// Prints events until the count is reached or Ctrl-C.
pub(crate) async fn run(client: &Client, arguments: &EventsArguments, output: &mut Output) -> Result<(), Failure> {
    tokio::select! {
        // First, so that it is heard before anything is printed.
        biased;
        interrupt = tokio::signal::ctrl_c() => {
            output.flush()?;
            Err(interrupt.map_or_else(Failure::from, |()| Failure::Interrupted))
        }
        done = print(client, arguments, output) => done,
    }
}

async fn print(client: &Client, arguments: &EventsArguments, output: &mut Output) -> Result<(), Failure> {
    let query = arguments.wanted.pairs();
    let mut printer = Printer { zone: TimeZone::system(), left: arguments.count };
    let Past { events: past, place, cut, unreadable } = past(client, arguments, &query).await?;
    if cut {
        output.note("too many others came since: further back nobody looked; say since when, or ask for all of them");
    }
    if unreadable > 0 {
        output.note(&format!(
            "{unreadable} events of the archive can't be read, and are left out: the host's log says more"
        ));
    }
    let no_follow = arguments.no_follow || arguments.archived;
    if no_follow && output.format() == Format::Json {
        let most = arguments.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        return output.json_document(&json!({"events": past.iter().take(most).collect::<Vec<_>>()}));
    }
    past.iter().try_for_each(|event| printer.print(event, output))?;
    if no_follow {
        if past.is_empty() && output.is_terminal() {
            output.note("nothing of that kind happened of late");
        }
        return Ok(());
    }
    let mut follower = Follower::new(client.clone(), &query, place);
    let (mut was_there, mut away) = (false, false);
    while printer.left != Some(0) {
        output.flush()?;
        match follower.next().await {
            News::Event(event) => {
                was_there = true;
                printer.print(&event, output)?;
            }
            News::Gap { lost: Some(lost), reason } => output.note(&format!("{lost} events are lost: {reason}")),
            News::Gap { lost: None, reason } => output.note(&format!("events may be lost: {reason}")),
            News::Back => {
                (was_there, away) = (true, false);
                output.note("back");
            }
            News::Lost { failure: failure @ Failure::Refused { .. }, .. } if !was_there && !away => {
                return Err(failure);
            }
            News::Lost { failure, wait } => {
                if !std::mem::replace(&mut away, true) {
                    output.note(&format!("{failure}; trying again in {wait:?}, then ever more slowly"));
                }
            }
        }
    }
    Ok(())
}

/// What happened, as far as it was asked for.
struct Past {
    events: Vec<Value>,
    /// Behind which the present goes on.
    place: String,
    /// There may be more: the host looked no further.
    cut: bool,
    /// So many the host could not read.
    unreadable: u64,
}

/// What is asked for of the past, and behind which place the present goes on.
async fn past(client: &Client, arguments: &EventsArguments, query: &[(String, String)]) -> Result<Past, Failure> {
    let mut path: String = query.iter().map(|(name, value)| format!("{name}={}&", part(value))).collect();
    if let Some(since) = &arguments.since {
        path.push_str(&format!("since={}&", part(since)));
    }
    if arguments.archived {
        path.push_str("archived=true&");
    }
    let unsaid = if arguments.no_follow || arguments.archived { None } else { Some(LATEST) };
    let limit = arguments.limit.or(unsaid.filter(|_| arguments.since.is_none()));
    let (mut events, mut after, mut unreadable) = (Vec::new(), None::<String>, 0);
    loop {
        let page = match (limit, &after) {
            // None of them, but the place.
            (Some(limit), _) => format!("latest=true&limit={}", limit.max(1)),
            (None, None) => format!("limit={PAGE}"),
            (None, Some(after)) => format!("limit={PAGE}&after={}", part(after)),
        };
        let answer = client.read(&format!("/v1/events?{path}{page}")).await?;
        let more = answer["events"].as_array().cloned().unwrap_or_default();
        events.extend(more.into_iter().filter(|_| limit != Some(0)));
        unreadable += answer["unreadable"].as_u64().unwrap_or_default();
        // Whoever reads all of it goes on.
        let cut = limit.is_some_and(|limit| limit > 0) && answer["cut"] == true;
        match (answer["next"].as_str(), answer["position"].as_str()) {
            (Some(next), _) if limit.is_none() => after = Some(next.to_owned()),
            (_, Some(position)) => return Ok(Past { events, place: position.to_owned(), cut, unreadable }),
            // What goes on behind it is not in the archive yet.
            _ if arguments.archived => return Ok(Past { events, place: String::new(), cut, unreadable }),
            _ => return Err(Failure::Unreadable("it does not say where its events end".to_owned())),
        }
    }
}

struct Printer {
    zone: TimeZone,
    /// How many may still be printed.
    left: Option<u64>,
}

impl Printer {
    fn print(&mut self, event: &Value, output: &mut Output) -> Result<(), Failure> {
        if self.left == Some(0) {
            return Ok(());
        }
        self.left = self.left.map(|left| left - 1);
        match output.format() {
            Format::Json | Format::Jsonl => output.json_line(event),
            Format::Table => {
                let line = line(event, &self.zone, output.width(), output.paint());
                output.line(&line)
            }
        }
    }
}
