//! `busway config diff` and `reload`: the configuration file against what the host has.

use serde_json::{Value, json};

use super::super::client::{ANSWER, Client};
use super::super::failure::Failure;
use super::super::output::{Format, GREEN, Output, RED, YELLOW};

/// Says what the file has otherwise.
pub(super) async fn diff(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let answer = client.read("/v1/config/diff").await?;
    told(&answer, "the host has what the file says", output)
}

/// Lets the host follow the file.
pub(super) async fn reload(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let answer = client.post("/v1/config/reload", &Value::Null, ANSWER).await?;
    told(&answer, "the host had what the file says: nothing changed", output)
}

fn told(answer: &Value, none: &str, output: &mut Output) -> Result<(), Failure> {
    let changes = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
    match output.format() {
        Format::Json => output.json_document(&json!({"changes": changes})),
        Format::Jsonl => changes.iter().try_for_each(|change| output.json_line(change)),
        Format::Table if changes.is_empty() => output.line(none),
        Format::Table => changes.iter().try_for_each(|change| {
            let line = line(change, output);
            output.line(&line)
        }),
    }
}

/// As `watch` writes what came, changed and went.
fn line(change: &Value, output: &Output) -> String {
    let name = change["name"].as_str().unwrap_or_default();
    let paint = output.paint();
    match change["change"].as_str().unwrap_or_default() {
        "added" => paint.put(GREEN, &format!("+ {name}")),
        "removed" => paint.put(RED, &format!("- {name}")),
        "changed" => {
            let keys = change["keys"].as_array().into_iter().flatten();
            let keys = keys.filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            format!("{}: {keys}", paint.put(YELLOW, &format!("~ {name}")))
        }
        "clash" => {
            let mark = paint.put(YELLOW, &format!("! {name}"));
            format!("{mark}: a datasource of that name was made by command, and stays; rename one, or remove that one")
        }
        other => format!("? {name}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::super::super::told::ToldHost;
    use super::*;

    #[tokio::test]
    async fn what_the_file_says_otherwise() {
        let changes = json!([
            {"name": "db", "change": "changed", "keys": ["poll", "options.path"]},
            {"name": "own", "change": "clash"},
            {"name": "old", "change": "removed"},
            {"name": "web", "change": "added"},
        ]);
        let host = ToldHost::start(vec![
            ("GET /v1/config/diff", json!({"results": changes})),
            ("POST /v1/config/reload", json!({"results": []})),
        ]);
        let (mut output, data, _) = pages(Format::Table, None);
        diff(&host.client(), &mut output).await.unwrap();
        assert_eq!(
            data.text(),
            "~ db: poll, options.path\n\
             ! own: a datasource of that name was made by command, and stays; rename one, or remove that one\n\
             - old\n\
             + web\n"
        );
        let (mut output, data, _) = pages(Format::Table, None);
        reload(&host.client(), &mut output).await.unwrap();
        assert_eq!(data.text(), "the host had what the file says: nothing changed\n");
        let (mut output, data, _) = pages(Format::Json, None);
        diff(&host.client(), &mut output).await.unwrap();
        let document: Value = serde_json::from_str(&data.text()).unwrap();
        assert_eq!(document, json!({"schema_version": 1, "changes": changes}));
    }
}
