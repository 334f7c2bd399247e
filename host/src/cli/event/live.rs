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
  busway events --before b9c2f9646cbdd4cf-4711 -n 100

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
    /// Only what was published before this place: an event's buswayposition, as JSON lines show it
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["follow", "archived"])]
    before: Option<String>,
    /// So many of the past at most, the latest; else 10, and with --since, --before or --no-follow all there are
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

impl EventsArguments {
    /// Whether it ends with what happened.
    fn is_past(&self) -> bool {
        self.no_follow || self.archived || self.before.is_some()
    }
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
    let no_follow = arguments.is_past();
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
#[derive(Default)]
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
    let unsaid = if arguments.is_past() { None } else { Some(LATEST) };
    match arguments.limit.or(unsaid.filter(|_| arguments.since.is_none())) {
        Some(limit) => latest(client, arguments, &path, limit).await,
        None => all(client, arguments, &path).await,
    }
}

/// All there are.
async fn all(client: &Client, arguments: &EventsArguments, path: &str) -> Result<Past, Failure> {
    let before = arguments.before.as_ref().map(|place| format!("&before={}", part(place))).unwrap_or_default();
    let (mut past, mut after) = (Past::default(), String::new());
    loop {
        let mut answer = client.read(&format!("/v1/events?{path}limit={PAGE}{before}{after}")).await?;
        past.events.append(&mut page_of(&mut answer));
        past.unreadable += unreadable(&answer);
        match answer["next"].as_str() {
            // What is short goes on.
            Some(next) => after = format!("&after={}", part(next)),
            None => return Ok(Past { place: end_of(&answer, arguments)?, ..past }),
        }
    }
}

/// The latest. A page of large ones, or of few among many, is short, and goes on backwards.
async fn latest(client: &Client, arguments: &EventsArguments, path: &str, limit: u64) -> Result<Past, Failure> {
    let (mut past, mut before, mut end) = (Past::default(), arguments.before.clone(), None);
    loop {
        // None of them, but the place.
        let missing = limit.saturating_sub(past.events.len() as u64).max(1);
        let ends = before.as_ref().map(|place| format!("&before={}", part(place))).unwrap_or_default();
        let mut answer = client.read(&format!("/v1/events?{path}latest=true&limit={missing}{ends}")).await?;
        let mut more = page_of(&mut answer);
        more.append(&mut past.events);
        (past.events, past.unreadable) = (more, past.unreadable + unreadable(&answer));
        if end.is_none() {
            end = Some(end_of(&answer, arguments)?);
        }
        match answer["previous"].as_str() {
            Some(previous) if (past.events.len() as u64) < limit => before = Some(previous.to_owned()),
            previous => {
                past.cut = limit > 0 && previous.is_none() && answer["cut"] == true;
                past.place = end.unwrap_or_default();
                if limit == 0 {
                    past.events.clear();
                }
                return Ok(past);
            }
        }
    }
}

fn unreadable(answer: &Value) -> u64 {
    answer["unreadable"].as_u64().unwrap_or_default()
}

fn page_of(answer: &mut Value) -> Vec<Value> {
    match answer["events"].take() {
        Value::Array(events) => events,
        _ => Vec::new(),
    }
}

/// Behind which place what happens goes on.
fn end_of(answer: &Value, arguments: &EventsArguments) -> Result<String, Failure> {
    match answer["position"].as_str() {
        Some(position) => Ok(position.to_owned()),
        // What goes on behind it is not in the archive yet.
        None if arguments.archived => Ok(String::new()),
        None => Err(Failure::Unreadable("it does not say where its events end".to_owned())),
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
