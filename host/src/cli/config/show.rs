//! `busway config show`: what holds, and who says so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::host_arguments::HostArguments;
use super::super::output::{DIM, Format, Output};
use super::super::sheet::{grid, plain};
use super::super::snapshot::Row;
use super::origin::{Given, Origin, lines};
use crate::config::{Config, Datasource};
use crate::datasource::secret::HIDDEN;

/// Show every value that a host started now would have
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway config show --origin
  busway config show --config busway.toml --output jsonl | jq -r 'select(.origin.kind != \"default\") | .key'

The options of datasources are hidden: only their drivers know which are secret. Datasources that were made by command
are not the configuration's; `busway datasource list` has all. No host is asked.

JSON: {\"schema_version\":1,\"file\",\"values\":[{\"key\",\"value\",\"origin\":{\"kind\",…}}]}
JSON lines: one value's object a line")]
pub(crate) struct ShowArguments {
    /// Also who says so: the file and its line, a variable, a flag, or nobody
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// A value that holds, and where it comes from.
#[derive(Debug)]
struct Held {
    key: String,
    value: Value,
    origin: Origin,
}

/// Prints all values.
pub(super) fn run(arguments: &ShowArguments, given: &Given, output: &mut Output) -> Result<(), Failure> {
    let config = arguments.host.configuration()?;
    let file = config.file.clone();
    let text = match &file {
        Some(path) => std::fs::read_to_string(path)?,
        None => String::new(),
    };
    let all = held(&config, given, file.as_ref(), &lines(&text));
    let shown = |one: &Held| json!({"key": one.key, "value": one.value, "origin": one.origin.json()});
    match output.format() {
        Format::Json => {
            output.json_document(&json!({"file": file, "values": all.iter().map(shown).collect::<Vec<_>>()}))
        }
        Format::Jsonl => all.iter().try_for_each(|one| output.json_line(&shown(one))),
        Format::Table => print(&all, arguments.origin, output),
    }
}

fn print(all: &[Held], origins: bool, output: &mut Output) -> Result<(), Failure> {
    let row = |one: &Held| {
        let value = if one.value.is_null() { "none".into() } else { one.value.to_string().into() };
        Row::from_iter([
            ("key".to_owned(), one.key.clone().into()),
            ("value".to_owned(), value),
            ("origin".to_owned(), one.origin.to_string().into()),
        ])
    };
    let rows: Vec<Row> = all.iter().map(row).collect();
    let paint = output.paint();
    let painted = move |column: &str, text: &str| match (column, text) {
        ("origin", "default") | ("value", "none") => paint.put(DIM, text),
        _ => plain(column, text),
    };
    grid(if origins { &["key", "value", "origin"] } else { &["key", "value"] }, &rows, &painted, output)
}

fn held(config: &Config, given: &Given, file: Option<&PathBuf>, lines: &BTreeMap<String, usize>) -> Vec<Held> {
    let origin = |key: &str| match (given.get(key), file, lines.get(key)) {
        (Some(given), ..) => given.clone(),
        (None, Some(file), Some(line)) => Origin::File(file.clone(), *line),
        _ => Origin::Default,
    };
    let mut all = Vec::new();
    let mut hold = |key: String, value: Value| {
        let origin = origin(&key);
        all.push(Held { key, value, origin });
    };
    let time = |time| Value::from(humantime::format_duration(time).to_string());
    let word = |name: String| json!(name.to_lowercase());
    for (key, value) in [
        ("node", json!(config.node_name())),
        ("bus_id", json!(config.bus_id())),
        ("state_dir", json!(config.state_dir())),
        ("plugins.directories", json!(config.plugins.directories)),
        ("plugins.scan_interval", time(config.plugins.scan_interval)),
        ("plugins.on_conflict", word(format!("{:?}", config.plugins.on_conflict))),
        ("plugins.on_remove", word(format!("{:?}", config.plugins.on_remove))),
        ("plugins.files", json!(config.plugins.files)),
        ("plugins.trust", word(format!("{:?}", config.plugins.trust))),
        ("plugins.probation", time(config.plugins.probation)),
        ("plugins.drain", time(config.plugins.drain)),
        ("plugins.most_state", json!(config.plugins.most_state)),
        ("plugins.cold_start", json!(config.plugins.cold_start)),
        ("plugins.retired_budget", json!(config.plugins.retired_budget)),
        ("plugins.vet.timeout", time(config.plugins.vet.timeout)),
        ("plugins.vet.cpu", time(config.plugins.vet.cpu)),
        ("plugins.vet.memory", json!(config.plugins.vet.memory)),
        ("plugins.vet.file_size", json!(config.plugins.vet.file_size)),
        ("plugins.vet.files", json!(config.plugins.vet.files)),
        ("plugins.vet.processes", json!(config.plugins.vet.processes)),
        ("plugins.vet.program", json!(config.plugins.vet.program)),
        ("listen.tcp", json!(config.listen.tcp)),
        ("listen.socket", json!(config.socket())),
        ("listen.hosts", json!(config.listen.hosts)),
        ("listen.token_file", json!(config.listen.token_file)),
        ("listen.open_writes", json!(config.listen.open_writes)),
        ("events.history", json!(config.events.history)),
        ("events.history_bytes", json!(config.events.history_bytes)),
        ("events.rate", json!(config.events.rate)),
        ("events.strict", json!(config.events.strict)),
        ("events.durable", json!(config.events.durable)),
        ("events.durable_events", json!(config.events.durable_events)),
        ("log.filter", json!(config.log.filter)),
        ("log.format", json!(format!("{:?}", config.log.format).to_lowercase())),
    ] {
        hold(key.to_owned(), value);
    }
    for (name, datasource) in &config.datasource {
        // As the file has it: a name may have dots.
        let Datasource { driver, description, enabled, addresses, poll, deadline, .. } = datasource;
        for (key, value) in [
            ("driver", json!(driver)),
            ("description", json!(description)),
            ("enabled", json!(enabled)),
            ("addresses", json!(addresses)),
            ("poll", time(*poll)),
            ("deadline", time(*deadline)),
            ("max_rows", json!(datasource.limits().rows)),
            ("max_bytes", json!(datasource.limits().bytes)),
            ("persist_data", json!(datasource.persist_data)),
        ] {
            hold(format!("datasource.{name}.{key}"), value);
        }
        for option in datasource.options.keys() {
            hold(format!("datasource.{name}.options.{option}"), HIDDEN.into());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::pages;
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Subcommand)]
    enum Command {
        Show(ShowArguments),
    }

    #[test]
    fn every_value_says_where_it_comes_from_and_no_option_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("busway.toml");
        let text = "node = 'alpha'\nstate_dir = '/state'\n[plugins]\ndirectories = ['/drivers']\n[listen]\nsocket = \
                    '/a.sock'\ntcp = '127.0.0.1:1'\n[datasource.web]\ndriver = 'files'\n[datasource.web.options]\npassword = \
                    'hunter2'\n";
        std::fs::write(&file, text).unwrap();
        let config = file.display().to_string();
        let line = ["busway", "show", "--origin", "--config", &config, "--listen", "127.0.0.1:2"];
        let matches = Program::command().mut_subcommand("show", |show| {
            // The surroundings of whoever tests are of no interest.
            show.mut_args(|arg| arg.env(None::<&str>))
        });
        let matches = matches.get_matches_from(line);
        let Command::Show(arguments) = Program::from_arg_matches(&matches).unwrap().command;
        let (mut output, data, _) = pages(Format::Table, None);
        run(&arguments, &Given::of(&matches), &mut output).unwrap();
        let text = data.text();
        let said: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let at = |line: usize| format!("{config}:{line}");
        for (key, value, origin) in [
            ("node", "\"alpha\"", at(1)),
            ("state_dir", "\"/state\"", at(2)),
            ("plugins.directories", "[\"/drivers\"]", at(4)),
            ("plugins.scan_interval", "\"5s\"", "default".to_owned()),
            ("plugins.on_conflict", "\"keep\"", "default".to_owned()),
            ("plugins.trust", "\"any\"", "default".to_owned()),
            ("plugins.vet.timeout", "\"10s\"", "default".to_owned()),
            ("plugins.vet.program", "none", "default".to_owned()),
            ("listen.tcp", "\"127.0.0.1:2\"", "--listen".to_owned()),
            ("listen.socket", "\"/a.sock\"", at(6)),
            ("listen.hosts", "[]", "default".to_owned()),
            ("listen.token_file", "none", "default".to_owned()),
            ("listen.open_writes", "false", "default".to_owned()),
            ("log.filter", "\"info\"", "default".to_owned()),
            ("log.format", "\"text\"", "default".to_owned()),
            ("datasource.web.driver", "\"files\"", at(9)),
            ("datasource.web.enabled", "true", "default".to_owned()),
            ("datasource.web.options.password", "\"<hidden>\"", at(11)),
        ] {
            let line = said.iter().find(|line| line[0] == key).unwrap_or_else(|| panic!("{key} in {text}"));
            assert_eq!(line[1..], [value, origin.as_str()], "{key}");
        }
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(said.len(), 1 + 34 + 9 + 1);
    }
}
