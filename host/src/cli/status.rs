//! `busway status`: a host on one screen.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age;
use super::cell::{count_of, count_of_things, printable};
use super::client::Client;
use super::datasource::{conditions, joined, remedy_of, style_of};
use super::failure::Failure;
use super::output::{BOLD, DIM, Format, Output, RED};
use super::sheet::{Sheet, of};
use super::snapshot::Row;
use super::table_name::TableName;

/// Show a host on one screen: what it runs, and what is not well
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway status
  busway status --output json | jq -e '.not_well == []'

JSON: {\"schema_version\":1,\"node\",\"version\",\"started\",\"address\",\"retired\":{\"generations\",\"bytes\",
       \"budget\",\"advice\"},\"drivers\":[{\"driver\",\"version\"}],
       \"plugins\":{STATE:N},\"datasources\":{STATE:N},\"tables\",\"rows\",\"subscriptions\",
       \"not_well\":[{\"what\",\"name\",\"state\",\"why\",\"try\"}]}")]
pub(crate) struct StatusArguments {}

/// Something that is not well.
#[derive(Debug)]
struct Trouble {
    what: &'static str,
    name: String,
    state: String,
    since: Option<String>,
    why: String,
    remedy: Option<String>,
}

/// Prints what the host runs, and what of it is not well.
pub(crate) async fn run(client: &Client, _: &StatusArguments, output: &mut Output) -> Result<(), Failure> {
    let node = client.read("/v1/node").await?;
    let drivers = client.rows(&TableName::of_host("generations")).await?.rows;
    let plugins = client.rows(&TableName::of_host("plugins")).await?.rows;
    let answer = client.read("/v1/data-sources").await?;
    let conditions = conditions(client).await?;
    let tables = client.rows(&TableName::of_host("tables")).await?.rows;
    let subscriptions = client.read("/v1/subscriptions").await?;
    let now = Timestamp::now();
    let own = |row: &&Row| of(row, "service").as_str().is_none_or(|service| service.starts_with('_'));
    let tables: Vec<&Row> = tables.iter().filter(|row| !own(row)).collect();
    let datasources = answer["results"].as_array().into_iter().flatten();
    let datasources: Vec<Row> = datasources.map(|one| joined(one, &conditions)).collect();
    let serving: Vec<&Row> = drivers.iter().filter(|row| of(row, "state") == "serving").collect();
    let mut troubles = troubles(&plugins, &datasources, &tables, now);
    troubles.extend(heavy(&node));
    let subscriptions = subscriptions["results"].as_array().map_or(0, Vec::len);
    let rows: u64 = tables.iter().filter_map(|row| of(row, "rows").as_u64()).sum();
    let whole = json!({
        "node": node["node"], "version": node["version"], "contract": node["contract"], "pid": node["pid"],
        "started": node["started"], "address": client.address().to_string(), "retired": node["retired"],
        "drivers": serving.iter().map(|row| json!({"driver": of(row, "driver"), "version": of(row, "version")})).collect::<Vec<_>>(),
        "plugins": counted(&plugins), "datasources": counted(&datasources),
        "tables": tables.len(), "rows": rows, "subscriptions": subscriptions,
        "not_well": troubles.iter().map(Trouble::json).collect::<Vec<_>>(),
    });
    match output.format() {
        Format::Json => output.json_document(&whole),
        Format::Jsonl => output.json_line(&whole),
        Format::Table => {
            print(&whole, now, output)?;
            troubles.iter().try_for_each(|trouble| trouble.print(output))
        }
    }
}

/// How many are in each state.
fn counted(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for row in rows {
        *count.entry(of(row, "state").as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    count
}

fn troubles(plugins: &[Row], datasources: &[Row], tables: &[&Row], now: Timestamp) -> Vec<Trouble> {
    let text = |row: &Row, key: &str| of(row, key).as_str().unwrap_or_default().to_owned();
    let plugins = plugins.iter().filter(|row| of(row, "state") != "serving").map(|row| Trouble {
        what: "plugin",
        name: text(row, "file"),
        state: super::plugin::predicate(&text(row, "state")).to_owned(),
        since: None,
        why: text(row, "reason"),
        remedy: None,
    });
    let well = ["running", "opening", "disabled"];
    let is_well =
        |row: &&Row| of(row, "state").as_str().is_some_and(|state| well.contains(&state)) && of(row, "error").is_null();
    let sources = datasources.iter().filter(|row| !is_well(row)).map(|row| Trouble {
        what: "datasource",
        name: text(row, "name"),
        state: text(row, "state"),
        since: age(of(row, "since"), now),
        why: text(row, "error"),
        remedy: remedy_of(&text(row, "name"), &text(row, "state")),
    });
    // A datasource's own trouble says more than its tables'.
    let told =
        |row: &&&Row| datasources.iter().any(|source| of(source, "name") == of(row, "service") && !is_well(&source));
    let tables = tables.iter().filter(|row| !of(row, "error").is_null()).filter(|row| !told(row)).map(|row| Trouble {
        what: "table",
        name: format!("{}/{}", text(row, "service"), text(row, "table")),
        state: "not read".to_owned(),
        since: age(of(row, "as_of"), now),
        why: text(row, "error"),
        remedy: None,
    });
    plugins.chain(sources).chain(tables).collect()
}

/// Code that serves no more and holds too much; an older host does not say.
fn heavy(node: &Value) -> Option<Trouble> {
    let why = node["retired"]["advice"].as_str()?;
    let (why, remedy) = why.split_once(": ").unwrap_or((why, ""));
    let name = node["node"].as_str().unwrap_or_default().to_owned();
    let (state, remedy) = ("over its budget".to_owned(), Some(remedy.to_owned()).filter(|text| !text.is_empty()));
    Some(Trouble { what: "host", name, state, since: None, why: why.to_owned(), remedy })
}

impl Trouble {
    fn json(&self) -> Value {
        json!({"what": self.what, "name": self.name, "state": self.state, "why": self.why, "try": self.remedy})
    }

    fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let paint = output.paint();
        let state = match self.what {
            "datasource" => paint.put(style_of(&self.state), &self.state),
            _ => paint.put(RED, &self.state),
        };
        let since = self.since.as_ref().map(|since| format!(" for {since}")).unwrap_or_default();
        output.line("")?;
        output.line(&format!("{} {} is {state}{since}", self.what, paint.put(BOLD, &printable(&self.name))))?;
        for (head, text) in [("why", Some(&self.why)), ("try", self.remedy.as_ref())] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                output.line(&format!("  {} {}", paint.put(DIM, &format!("{head}:")), printable(text)))?;
            }
        }
        Ok(())
    }
}

fn print(whole: &Value, now: Timestamp, output: &mut Output) -> Result<(), Failure> {
    let text = |key: &str| whole[key].as_str().unwrap_or_default();
    let number = |key: &str| usize::try_from(whole[key].as_u64().unwrap_or_default()).unwrap_or(usize::MAX);
    let paint = output.paint();
    let states = |key: &str, style: &dyn Fn(&str) -> anstyle::Style| {
        let states = whole[key].as_object().into_iter().flatten();
        let states: Vec<String> = states.map(|(state, n)| paint.put(style(state), &format!("{n} {state}"))).collect();
        if states.is_empty() { "none".to_owned() } else { states.join(", ") }
    };
    let drivers = whole["drivers"].as_array().into_iter().flatten();
    let drivers: Vec<String> = drivers
        .map(|d| format!("{} {}", d["driver"].as_str().unwrap_or_default(), d["version"].as_str().unwrap_or_default()))
        .collect();
    let up = age(&whole["started"], now).map(|up| format!(", up {up}")).unwrap_or_default();
    let mut sheet = Sheet::default();
    sheet.line(
        "node",
        format!("{}: busway {}, process {}{up}, at {}", text("node"), text("version"), whole["pid"], text("address")),
    );
    sheet.line("drivers", if drivers.is_empty() { "none".to_owned() } else { drivers.join(", ") });
    sheet.raw("plugins", states("plugins", &|state| if state == "serving" { anstyle::Style::new() } else { RED }));
    sheet.raw("datasources", states("datasources", &style_of));
    sheet.line("tables", format!("{}, {}", number("tables"), count_of(number("rows"))));
    sheet.line("followers", count_of_things(number("subscriptions"), "subscription"));
    sheet.print(output)
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::pages;
    use super::super::told::ToldHost;
    use super::*;

    fn host(broken: bool) -> ToldHost {
        let rows = |rows: Value| json!({"service": "_host", "table": "x", "epoch": 1, "to": 1, "rows": rows});
        let source = |name: &str, state: &str, error: Value| json!({"name": name, "driver": "files", "state": state, "error": error});
        let (mut sources, mut plugins) = (
            vec![source("web", "running", Value::Null), source("off", "disabled", Value::Null)],
            vec![json!({"file": "libfiles.so", "state": "serving", "reason": null})],
        );
        let mut tables = vec![
            json!({"service": "_host", "table": "tables", "rows": 9, "error": null}),
            json!({"service": "web", "table": "a", "rows": 3, "error": null}),
        ];
        if broken {
            sources.push(source("db", "failed", json!("can't connect")));
            sources.push(source("old", "waiting for driver", Value::Null));
            plugins.push(json!({"file": "notes.so", "state": "refused", "reason": "it is text"}));
            tables.push(json!({"service": "db", "table": "x", "rows": 0, "error": "told already"}));
            tables.push(json!({"service": "web", "table": "b", "rows": 0, "error": "row 7 is no row"}));
        }
        let generation = json!({"generation": 1, "driver": "files", "version": "0.1.0", "state": "serving"});
        ToldHost::start(vec![
            ("GET /v1/node", json!({"node": "alpha", "version": "0.1.0", "contract": "1.0.0", "pid": 7})),
            ("GET /v1/data-sources", json!({"results": sources})),
            ("GET /v1/subscriptions", json!({"results": [{}, {}]})),
            ("GET /v1/services/_host/tables/generations/rows", rows(json!([generation]))),
            ("GET /v1/services/_host/tables/plugins/rows", rows(json!(plugins))),
            ("GET /v1/services/_host/tables/datasources/rows", rows(json!([]))),
            ("GET /v1/services/_host/tables/tables/rows", rows(json!(tables))),
        ])
    }

    async fn said(host: &ToldHost, format: Format) -> String {
        let (mut output, data, _) = pages(format, None);
        let client = host.client();
        run(&client, &StatusArguments {}, &mut output).await.unwrap();
        data.text().replace(&client.address().to_string(), "SOCKET")
    }

    #[tokio::test]
    async fn all_is_well() {
        assert_eq!(
            said(&host(false), Format::Table).await,
            "node         alpha: busway 0.1.0, process 7, at SOCKET\n\
             drivers      files 0.1.0\n\
             plugins      1 serving\n\
             datasources  1 disabled, 1 running\n\
             tables       1, 3 rows\n\
             followers    2 subscriptions\n"
        );
    }

    #[tokio::test]
    async fn what_is_not_well_is_named_with_why_and_what_to_do() {
        let text = said(&host(true), Format::Table).await;
        let (_, troubles) = text.split_once("subscriptions\n").unwrap();
        assert_eq!(
            troubles,
            "\nplugin notes.so is refused\n  why: it is text\n\
             \ndatasource db is failed\n  why: can't connect\n  \
             try: it is tried again by itself; `busway datasource set db OPTION=VALUE` changes it\n\
             \ndatasource old is waiting for driver\n  \
             try: `busway plugin list` says what became of the driver's file\n\
             \ntable web/b is not read\n  why: row 7 is no row\n"
        );
        let whole: Value = serde_json::from_str(&said(&host(true), Format::Jsonl).await).unwrap();
        assert_eq!(whole["datasources"], json!({"disabled": 1, "failed": 1, "running": 1, "waiting for driver": 1}));
        assert_eq!(
            whole["not_well"][1],
            json!({"what": "datasource", "name": "db", "state": "failed",
            "why": "can't connect", "try": "it is tried again by itself; `busway datasource set db OPTION=VALUE` changes it"})
        );
        assert_eq!(whole["not_well"].as_array().unwrap().len(), 4);
    }
}
