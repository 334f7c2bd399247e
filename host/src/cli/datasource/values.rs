//! Options and arguments as people write them on a command line.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::super::input::Input;

/// What is said of secrets and references wherever options are given.
pub(crate) const HELP: &str = "\
A value is a text, which the host reads as the driver declares it: rows=7,
deep=yes, names=a,b, ports=[80,443]. `busway driver show DRIVER` lists them.
Other users of the machine may see a command line. For secrets there are:
  OPTION=-                      asked for, unseen; when piped, all of stdin
  'OPTION=${file:/run/secret}'  the host reads its file when it opens it
  'OPTION=${env:PASSWORD}'      the same, a variable of the host's";

/// `OPTION=VALUE` in two.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is not of the form OPTION=VALUE".to_owned()),
    }
}

/// The options: those of an object, then those given one by one. A value `-` is asked for.
pub(crate) fn options(
    object: Option<&str>,
    pairs: &[(String, String)],
    input: &mut Input,
) -> Result<Map<String, Value>, Failure> {
    let mut options = object.map_or(Ok(Map::new()), read)?;
    if !input.is_terminal() && pairs.iter().filter(|(_, value)| value == "-").count() > 1 {
        return Err(Failure::Usage {
            what: "more than one option is to be read from stdin".to_owned(),
            remedy: "one OPTION=- and the others as ${file:PATH}, or all in --config-json @FILE".to_owned(),
        });
    }
    for (name, value) in pairs {
        let value = if value == "-" { input.secret(name)? } else { value.clone() };
        options.insert(name.clone(), value.into());
    }
    Ok(options)
}

/// An object as JSON, or of a file: `@FILE`.
fn read(text: &str) -> Result<Map<String, Value>, Failure> {
    let from_file = match text.strip_prefix('@') {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let why = |error| super::super::client::reason(&error);
            Some(read.map_err(|error| Failure::File { path: Path::new(path).to_owned(), why: why(error) })?)
        }
        None => None,
    };
    serde_json::from_str(from_file.as_deref().unwrap_or(text)).map_err(|error| {
        // What it holds may be secret: the place alone is told.
        let what = format!("the options are no JSON object (line {}, column {})", error.line(), error.column());
        Failure::Usage { what, remedy: "--config-json '{\"path\": \"/srv\"}', or --config-json @FILE".to_owned() }
    })
}

/// A revision as `datasource show` says it: the record's id begins it, so that another record of the name has another.
pub(super) fn revision(text: &str) -> Result<String, String> {
    let is_one = text.split_once('-').is_some_and(|(id, number)| {
        id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()) && number.parse::<u64>().is_ok()
    });
    match is_one {
        true => Ok(text.to_owned()),
        false => Err("a revision is as `busway datasource show` says it, like 6ba7b810-3".to_owned()),
    }
}

/// A time as the host reads it.
pub(super) fn time(time: Duration) -> Value {
    humantime::format_duration(time).to_string().into()
}

/// A number, or `default`: null.
pub(super) fn limit(text: &str) -> Result<Value, String> {
    match text {
        "default" => Ok(Value::Null),
        number => {
            number.replace('_', "").parse::<u64>().map(Value::from).map_err(|_| "it is no whole number".to_owned())
        }
    }
}

/// The arguments of an action: those by their place, and `NAME=VALUE`. Values are JSON if they can be, else texts.
pub(super) fn arguments(given: &[String]) -> (Vec<Value>, Map<String, Value>) {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let (mut positional, mut named) = (Vec::new(), Map::new());
    for text in given {
        match text.split_once('=').filter(|(name, _)| is_word(name)) {
            Some((name, of)) => drop(named.insert(name.to_owned(), value(of))),
            None => positional.push(value(text)),
        }
    }
    (positional, named)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::super::input::tests::given;
    use super::*;
    use serde_json::json;

    fn pairs(texts: &[&str]) -> Vec<(String, String)> {
        texts.iter().map(|text| pair(text).unwrap()).collect()
    }

    #[test]
    fn options_are_texts_and_secrets_come_from_stdin() {
        let some = pairs(&["path=/srv", "query=a=b", "empty=", "password=-"]);
        let read = options(Some("{\"depth\": 3, \"path\": \"x\"}"), &some, &mut given("hunter2\n", false)).unwrap();
        assert_eq!(
            Value::Object(read),
            json!({"depth": 3, "path": "/srv", "query": "a=b", "empty": "", "password": "hunter2"})
        );
        assert_eq!(pair("path").unwrap_err(), "it is not of the form OPTION=VALUE");
        assert!(pair("=x").is_err());
        let failure = options(None, &pairs(&["a=-", "b=-"]), &mut given("x\n", false)).unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            "error: more than one option is to be read from stdin\n  \
             try: one OPTION=- and the others as ${file:PATH}, or all in --config-json @FILE"
        );
    }

    #[test]
    fn an_object_that_is_none_is_not_quoted() {
        for bad in ["{\"password\": \"hunter2\"", "[\"hunter2\"]", "hunter2"] {
            let text = options(Some(bad), &[], &mut given("", false)).unwrap_err().report().unwrap();
            assert!(text.starts_with("error: the options are no JSON object (line 1, column "), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("options.json");
        let named = format!("@{}", file.display());
        let failure = options(Some(&named), &[], &mut given("", false)).unwrap_err();
        assert_eq!(failure.report().unwrap(), format!("error: {}: no such file or directory", file.display()));
        std::fs::write(&file, "{\"a\": [1]}\n").unwrap();
        assert_eq!(Value::Object(options(Some(&named), &[], &mut given("", false)).unwrap()), json!({"a": [1]}));
    }

    #[test]
    fn arguments_are_json_where_they_can_be() {
        let given = ["7", "text", "\"8\"", "[1,2]", "a=true", "b-c=x=y", "\"d=e\"", "1=2", "--"].map(str::to_owned);
        let (positional, named) = arguments(&given);
        assert_eq!(Value::Array(positional), json!([7, "text", "8", [1, 2], "d=e", "1=2", "--"]));
        assert_eq!(Value::Object(named), json!({"a": true, "b-c": "x=y"}));
    }

    #[test]
    fn a_revision_is_of_one_record() {
        assert_eq!(revision("6ba7b810-3"), Ok("6ba7b810-3".to_owned()));
        for bad in ["3", "6ba7b810", "6ba7b810-", "6ba7b81-3", "6ba7b810-x", "\"6ba7b810-3\""] {
            let text = "a revision is as `busway datasource show` says it, like 6ba7b810-3";
            assert_eq!(revision(bad), Err(text.to_owned()), "{bad}");
        }
    }

    #[test]
    fn limits_are_numbers_or_the_default() {
        assert_eq!(limit("1_000"), Ok(json!(1000)));
        assert_eq!(limit("default"), Ok(Value::Null));
        assert!(limit("-1").is_err() && limit("many").is_err());
    }
}
