//! `busway datasource show`: what it was told.

use clap::Args;
use serde_json::Value;

use super::super::cell::shown;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{DIM, Format, Output};
use super::super::sheet::{Sheet, plain, section};
use super::super::snapshot::Row;
use super::{cells, fetch, style_of};

/// Show what a datasource was told; secrets are hidden
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway datasource show web
  busway datasource show web --output json | jq .config

JSON: {\"schema_version\":1,\"id\",\"name\",\"driver\",\"enabled\",\"config\":{OPTION:VALUE,…},\"poll\",\"revision\",\"state\",…}")]
pub(crate) struct ShowArguments {
    /// The datasource, by name or id
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints its record.
pub(super) async fn run(client: &Client, arguments: &ShowArguments, output: &mut Output) -> Result<(), Failure> {
    let datasource = fetch(client, &arguments.name).await?;
    match output.format() {
        Format::Json => output.json_document(&datasource),
        Format::Jsonl => output.json_line(&datasource),
        Format::Table => print(&datasource, output),
    }
}

fn print(datasource: &Value, output: &mut Output) -> Result<(), Failure> {
    let text = |key: &str| datasource[key].as_str().unwrap_or_default();
    let mut sheet = Sheet::default();
    sheet.line("name", text("name"));
    sheet.line("id", text("id"));
    sheet.line("driver", text("driver"));
    sheet.maybe("description", &datasource["description"]);
    sheet.painted("state", text("state"), style_of(text("state")));
    sheet.maybe("error", &datasource["error"]);
    if datasource["fault"] != datasource["error"] {
        sheet.maybe("fault", &datasource["fault"]);
    }
    sheet.line("enabled", if datasource["enabled"] == true { "yes" } else { "no" });
    sheet.maybe("addresses", &datasource["addresses"]);
    sheet.line(
        "poll",
        if text("poll") == "0s" { "on request only".to_owned() } else { format!("every {}", text("poll")) },
    );
    sheet.line("deadline", text("deadline"));
    for (name, key) in [("most rows", "max_rows"), ("most bytes", "max_bytes")] {
        if !datasource[key].is_null() {
            sheet.line(name, shown(key, &datasource[key]));
        }
    }
    if datasource["persist_data"] == true {
        sheet.line("persist data", "yes");
    }
    let managed_by = match text("managed_by") {
        "file" => "the configuration file: change it there",
        "unknown" => "nobody known: its record can't be read",
        _ => "commands and the API",
    };
    sheet.line("managed by", managed_by);
    let brief = |key: &str| text(key).split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned() + "Z";
    sheet.line("created", brief("created"));
    sheet.line("changed", format!("{}, revision {}", brief("changed"), text("etag")));
    sheet.print(output)?;
    let value = |value: &Value| match value {
        Value::String(text) => Value::from(text.as_str()),
        other => Value::from(other.to_string()),
    };
    let options = datasource["config"].as_object();
    let options = options.into_iter().flatten();
    let options: Vec<Row> =
        options.map(|(name, of)| cells([("option", name.as_str().into()), ("value", value(of))])).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match (column, text) {
        ("value", "<hidden>") => paint.put(DIM, text),
        _ => plain(column, text),
    };
    section("options", &["option", "value"], &options, &painted, output)
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::super::tests::datasource;
    use super::*;
    use serde_json::json;

    async fn printed(datasource: Value, format: Format) -> String {
        let host = ToldHost::start(vec![("GET /v1/data-sources/web", datasource)]);
        let (mut output, data, _) = pages(format, None);
        run(&host.client(), &ShowArguments { name: "web".to_owned() }, &mut output).await.unwrap();
        data.text()
    }

    #[tokio::test]
    async fn a_record_is_told_in_lines() {
        let mut all = datasource("web", "degraded", json!("row 7 is no row"));
        for (key, value) in [
            ("description", json!("The shop")),
            ("addresses", json!(["a", "b"])),
            ("poll", json!("0s")),
            ("max_bytes", json!(1_048_576)),
            ("persist_data", json!(true)),
            ("managed_by", json!("file")),
            ("config", json!({"path": "/srv", "password": "<hidden>", "ports": [80, 443]})),
        ] {
            all[key] = value;
        }
        assert_eq!(
            printed(all, Format::Table).await,
            "name          web\n\
             id            6ba7b810-9dad-11d1-80b4-00c04fd430c8\n\
             driver        files\n\
             description   The shop\n\
             state         degraded\n\
             error         row 7 is no row\n\
             enabled       yes\n\
             addresses     a, b\n\
             poll          on request only\n\
             deadline      30s\n\
             most bytes    1.0 MiB\n\
             persist data  yes\n\
             managed by    the configuration file: change it there\n\
             created       2026-11-22T01:00:00Z\n\
             changed       2026-11-22T02:00:00Z, revision 6ba7b810-3\n\
             \n\
             options:\n\
             option    value\n\
             path      /srv\n\
             password  <hidden>\n\
             ports     [80,443]\n"
        );
    }

    #[tokio::test]
    async fn json_is_what_the_host_says() {
        let all = datasource("web", "running", Value::Null);
        assert_eq!(serde_json::from_str::<Value>(&printed(all.clone(), Format::Jsonl).await).unwrap(), all);
        let document: Value = serde_json::from_str(&printed(all.clone(), Format::Json).await).unwrap();
        assert_eq!((&document["schema_version"], &document["config"]), (&json!(1), &all["config"]));
    }
}
