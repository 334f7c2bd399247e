//! `busway driver`: what serves datasources.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, part};
use super::failure::Failure;
use super::output::{BOLD, Format, Output, YELLOW};
use super::sheet::{Sheet, grid, of, plain, section, wrapped};
use super::snapshot::Row;
use super::table_name::TableName;

/// The drivers of a host
#[derive(Debug, Subcommand)]
pub(crate) enum DriverCommand {
    /// List the drivers that serve
    #[command(after_help = "\
Examples:
  busway driver list
  busway plugin list                       the files they come from, and those that were refused

JSON: {\"schema_version\":1,\"drivers\":[{\"driver\",\"version\",\"generation\",\"datasources\",\"file\",\"description\"}]}
JSON lines: one driver's object a line")]
    List,
    /// Show what a driver's datasources can be told, which tables they have, and what they can be asked to do
    #[command(after_help = "\
Examples:
  busway driver show files

JSON: {\"schema_version\":1,\"id\",\"version\",\"generation\",\"file\",\"options\":[{\"name\",\"type\",…}],\"tables\",\"actions\",…}")]
    Show {
        /// The driver's id
        #[arg(value_name = "DRIVER")]
        driver: String,
    },
}

/// Does what the command says.
pub(crate) async fn run(client: &Client, command: &DriverCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        DriverCommand::List => list(client, output).await,
        DriverCommand::Show { driver } => show(client, driver, output).await,
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let answer = client.read("/v1/system/drivers").await?;
    let generations = client.rows(&TableName::of_host("generations")).await?.rows;
    let plugins = client.rows(&TableName::of_host("plugins")).await?.rows;
    let drivers = answer["results"].as_array().into_iter().flatten().map(|driver| {
        let serving =
            generations.iter().find(|row| row.get("driver") == Some(&driver["id"]) && of(row, "state") == "serving");
        let cell = |column: &str| serving.and_then(|row| row.get(column)).cloned().unwrap_or_default();
        let number = cell("generation");
        let plugin = plugins.iter().find(|row| !number.is_null() && row.get("generation") == Some(&number));
        row([
            ("driver", driver["id"].clone()),
            ("version", cell("version")),
            ("generation", number),
            ("datasources", cell("sources")),
            ("file", plugin.and_then(|row| row.get("file")).cloned().unwrap_or_default()),
            ("description", driver["description"].clone()),
        ])
    });
    let drivers: Vec<Row> = drivers.collect();
    match output.format() {
        Format::Json => output.json_document(&json!({"drivers": drivers})),
        Format::Jsonl => drivers.iter().try_for_each(|row| output.json_line(row)),
        Format::Table => {
            grid(&["driver", "version", "generation", "datasources", "description"], &drivers, &plain, output)?;
            if drivers.is_empty() && output.is_terminal() {
                output.note("no driver serves; `busway plugin list` says what became of the files");
            }
            Ok(())
        }
    }
}

/// What a driver says of itself, and where it comes from.
pub(crate) async fn fetch(client: &Client, driver: &str) -> Result<Value, Failure> {
    let answer = match client.read(&format!("/v1/system/drivers/{}", part(driver))).await {
        Ok(answer) => answer,
        Err(failure) => return Err(explain(client, driver, failure).await),
    };
    let mut info = answer["info"].clone();
    info["generation"] = answer["generation"].clone();
    info["file"] = answer["module"].clone();
    Ok(info)
}

/// `failure`, or if there is no such driver, one that knows those there are.
pub(crate) async fn explain(client: &Client, driver: &str, failure: Failure) -> Failure {
    if !matches!(failure, Failure::Refused { status: 404, .. }) {
        return failure;
    }
    let Ok(plugins) = client.rows(&TableName::of_host("plugins")).await else { return failure };
    if plugins.rows.iter().any(|row| row.get("driver").is_some_and(|id| id == driver)) {
        // Its file is there, and refused: the host's own words tell why.
        return failure;
    }
    let Ok(answer) = client.read("/v1/system/drivers").await else { return failure };
    let ids = answer["results"].as_array().into_iter().flatten().filter_map(|driver| driver["id"].as_str());
    Failure::Unknown { what: "driver", name: driver.to_owned(), known: ids.map(str::to_owned).collect() }
}

async fn show(client: &Client, driver: &str, output: &mut Output) -> Result<(), Failure> {
    let info = fetch(client, driver).await?;
    match output.format() {
        Format::Json => output.json_document(&info),
        Format::Jsonl => output.json_line(&info),
        Format::Table => print(&info, output),
    }
}

fn print(info: &Value, output: &mut Output) -> Result<(), Failure> {
    let mut sheet = Sheet::default();
    let text = |key: &str| info[key].as_str().unwrap_or_default();
    sheet.line("driver", format!("{} {}", text("id"), text("version")));
    sheet.maybe("description", &info["description"]);
    sheet.line("file", text("file"));
    sheet.maybe("generation", &info["generation"]);
    sheet.line("contract", format!("{}, built with {}", text("contract"), text("sdk")));
    let overlap = match text("overlap") {
        "exclusive" => "one source at a time: it pauses while its code is replaced",
        _ => "old and new code side by side while it is replaced",
    };
    sheet.line("reload", overlap);
    sheet.print(output)?;
    let list = |key: &str| info[key].as_array().cloned().unwrap_or_default();
    let mark = |value: &Value, word: &str| if value == true { Value::from(word) } else { Value::Null };
    let declared = list("options");
    let options = declared.iter().map(|option| {
        row([
            ("option", option["name"].clone()),
            ("type", option["type"].clone()),
            ("must", mark(&option["required"], "required")),
            ("secret", mark(&option["secret"], "secret")),
            ("default", default(option)),
            ("description", option["description"].clone()),
        ])
    });
    let options: Vec<Row> = options.collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match column {
        "must" | "secret" => paint.put(YELLOW, text),
        _ => text.to_owned(),
    };
    let columns = ["option", "type", "must", "secret", "default", "description"];
    section("options", &columns, &wrapped(&columns, options, output.width()), &painted, output)?;
    let tables: Vec<Row> = list("tables").iter().flat_map(described).collect();
    let columns = ["table", "key", "kind", "description"];
    section("tables", &columns, &wrapped(&columns, tables, output.width()), &plain, output)?;
    if !list("actions").is_empty() {
        output.line("")?;
        output.line(&paint.put(BOLD, "actions:"))?;
        print_actions(&list("actions"), output)?;
    }
    Ok(())
}

/// A table, then its columns, which may be many.
fn described(table: &Value) -> Vec<Row> {
    let names = |of: Vec<&Value>| of.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let key = names(table["key"].as_array().into_iter().flatten().collect());
    let columns = names(table["columns"].as_array().into_iter().flatten().map(|column| &column["name"]).collect());
    let kind = match (table["lazy"] == true, table["pushed"] == true) {
        (true, _) => Value::from("lazy"),
        (_, true) => Value::from("pushed"),
        _ => Value::Null,
    };
    let mut rows = vec![row([
        ("table", table["name"].clone()),
        ("key", key.into()),
        ("kind", kind),
        ("description", table["description"].clone()),
    ])];
    if !columns.is_empty() {
        let blank = || Value::from("");
        rows.push(row([
            ("table", blank()),
            ("key", blank()),
            ("kind", blank()),
            ("description", format!("columns: {columns}").into()),
        ]));
    }
    rows
}

/// Text as it is; anything else as JSON.
fn default(option: &Value) -> Value {
    match &option["default"] {
        Value::Null => Value::Null,
        Value::String(text) if text.is_empty() => Value::from("\"\""),
        Value::String(text) => Value::from(text.as_str()),
        other => Value::from(other.to_string()),
    }
}

/// Each action as it is called, what it does, and what its arguments are.
pub(crate) fn print_actions(actions: &[Value], output: &mut Output) -> Result<(), Failure> {
    let rows = actions.iter().flat_map(|action| {
        let args = action["args"].as_array().cloned().unwrap_or_default();
        let usage = args.iter().map(|arg| match (arg["name"].as_str(), arg["required"] == true) {
            (Some(name), true) => name.to_uppercase(),
            (Some(name), false) => format!("[{}]", name.to_uppercase()),
            _ => String::new(),
        });
        let call = action["name"].as_str().into_iter().map(str::to_owned).chain(usage).collect::<Vec<_>>().join(" ");
        let first = row([("action", call.into()), ("description", action["description"].clone())]);
        let others = args.into_iter().filter(|arg| arg["description"] != "").map(|arg| {
            let name = arg["name"].as_str().unwrap_or_default();
            row([("action", format!("  {}", name.to_uppercase()).into()), ("description", arg["description"].clone())])
        });
        std::iter::once(first).chain(others).collect::<Vec<_>>()
    });
    let rows: Vec<Row> = rows.collect();
    let columns = ["action", "description"];
    grid(&columns, &wrapped(&columns, rows, output.width()), &plain, output)
}

fn row<const N: usize>(cells: [(&str, Value); N]) -> Row {
    cells.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::pages;
    use super::super::told::ToldHost;
    use super::*;

    fn host() -> ToldHost {
        let rows = |rows: Value| json!({"service": "_host", "table": "x", "epoch": 1, "to": 1, "rows": rows});
        let info = json!({
            "id": "files", "version": "0.1.0", "contract": "1.0.0", "sdk": "busway-plugin-api 0.1.0",
            "description": "Tables from files", "overlap": "beside",
            "options": [
                {"name": "path", "type": "string", "required": true, "secret": false, "description": "The folder"},
                {"name": "password", "type": "string", "required": false, "secret": true, "description": "For it"},
                {"name": "depth", "type": "integer", "required": false, "secret": false, "default": 3, "description": ""},
            ],
            "tables": [{"name": "orders", "description": "What was ordered", "key": ["id"],
                "columns": [{"name": "id"}, {"name": "customer"}]}],
            "actions": [{"name": "touch", "description": "Makes a file",
                "args": [{"name": "file", "description": "Which", "required": true}, {"name": "mode", "description": "", "required": false}]}],
        });
        ToldHost::refusing(
            vec![
                ("GET /v1/system/drivers", json!({"results": [{"id": "files", "description": "Tables from files"}]})),
                (
                    "GET /v1/services/_host/tables/generations/rows",
                    rows(json!([
                        {"generation": 1, "driver": "files", "version": "0.0.9", "state": "retired", "sources": 0},
                        {"generation": 2, "driver": "files", "version": "0.1.0", "state": "serving", "sources": 3},
                    ])),
                ),
                (
                    "GET /v1/services/_host/tables/plugins/rows",
                    rows(json!([
                        {"file": "plugins/libfiles.so", "driver": "files", "generation": 2},
                        {"file": "plugins/b.so", "driver": "broken", "generation": null},
                    ])),
                ),
                (
                    "GET /v1/system/drivers/files",
                    json!({"id": "files", "module": "plugins/libfiles.so", "generation": 2, "info": info}),
                ),
            ],
            vec![
                (
                    "GET /v1/system/drivers/fils",
                    404,
                    "Driver not found fils: no driver \"fils\" is loaded: did you mean \"files\"?",
                    json!({"kind": "DriverNotFound"}),
                ),
                (
                    "GET /v1/system/drivers/broken",
                    404,
                    "Driver not found broken: no driver \"broken\" is loaded: b.so is refused: it is text",
                    json!({"kind": "DriverNotFound"}),
                ),
            ],
        )
    }

    async fn said(command: DriverCommand) -> Result<String, Failure> {
        let (mut output, data, _) = pages(Format::Table, None);
        run(&host().client(), &command, &mut output).await.map(|()| data.text())
    }

    #[tokio::test]
    async fn drivers_are_listed_with_what_serves() {
        assert_eq!(
            said(DriverCommand::List).await.unwrap(),
            "driver  version  generation  datasources  description\n\
             files   0.1.0             2            3  Tables from files\n"
        );
    }

    #[tokio::test]
    async fn a_driver_is_shown_whole() {
        assert_eq!(
            said(DriverCommand::Show { driver: "files".to_owned() }).await.unwrap(),
            "driver       files 0.1.0\n\
             description  Tables from files\n\
             file         plugins/libfiles.so\n\
             generation   2\n\
             contract     1.0.0, built with busway-plugin-api 0.1.0\n\
             reload       old and new code side by side while it is replaced\n\
             \n\
             options:\n\
             option    type     must      secret  default  description\n\
             path      string   required  -       -        The folder\n\
             password  string   -         secret  -        For it\n\
             depth     integer  -         -       3\n\
             \n\
             tables:\n\
             table   key  description\n\
             orders  id   What was ordered\n             \
             columns: id, customer\n\
             \n\
             actions:\n\
             action             description\n\
             touch FILE [MODE]  Makes a file\n  \
               FILE             Which\n"
        );
    }

    #[tokio::test]
    async fn a_driver_that_is_not_there() {
        let failure = said(DriverCommand::Show { driver: "fils".to_owned() }).await.unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            "error: no driver fils\n  why: the drivers are files\n  try: files, which is a near name"
        );
        let failure = said(DriverCommand::Show { driver: "broken".to_owned() }).await.unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            "error: Driver not found broken: no driver \"broken\" is loaded: b.so is refused: it is text\n  \
             why: the host answered with HTTP status 404, DriverNotFound"
        );
    }
}
