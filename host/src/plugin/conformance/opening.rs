//! Checks of what a driver says of itself, and of which options it opens with.

use super::bench::{Bench, told};
use super::{Checked, Finding};
use crate::plugin::driver::CallError;
use busway_plugin_api::info::OptionInfo;
use serde_json::{Map, Value, json};

/// An option that nobody has.
const UNKNOWN: &str = "busway_conformance_unknown";
/// What must not be repeated when it is no secret's value.
const UNTOLD: &str = "busway-conformance-untold";

pub(super) fn describe_again(bench: &Bench<'_>) -> Checked {
    bench.step("when it was described again");
    for _ in 0..3 {
        let again = bench.driver.describe().map_err(|error| told("it describes itself only once", &error))?;
        if again != bench.info {
            return Err(format!("it describes itself otherwise when asked again: {}", differs(&bench.info, &again)));
        }
    }
    Ok(Finding::passed())
}

/// The first thing that is different.
fn differs(one: &impl serde::Serialize, other: &impl serde::Serialize) -> String {
    let (one, other) = (json!(one), json!(other));
    let of = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (one, other) = (of(&one), of(&other));
    let names = one.keys().chain(other.keys());
    let first = names.into_iter().find(|name| one.get(*name) != other.get(*name));
    first.map_or_else(|| "in its order".to_owned(), |name| {
        let said = |map: &Map<String, Value>| map.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
        format!("{name} was {}, then {}", said(&one), said(&other))
    })
}

pub(super) fn options_unknown(bench: &Bench<'_>) -> Checked {
    let mut options = bench.options.clone();
    options.insert(UNKNOWN.to_owned(), true.into());
    let without = "so an operator's slip of the pen goes unnoticed";
    refused(bench, &options, UNKNOWN, || format!("it opens with option {UNKNOWN:?}, which it does not have, {without}"))?;
    Ok(Finding::passed())
}

pub(super) fn options_missing(bench: &Bench<'_>) -> Checked {
    let required: Vec<&OptionInfo> = bench.info.options.iter().filter(|option| option.required).collect();
    if required.is_empty() {
        return Ok(Finding::skipped("it requires no option"));
    }
    for option in required {
        let mut options = bench.options.clone();
        options.remove(&option.name);
        let name = &option.name;
        refused(bench, &options, name, || format!("it opens without option {name:?}, which it declares as required"))?;
    }
    Ok(Finding::passed())
}

pub(super) fn options_type(bench: &Bench<'_>) -> Checked {
    let mut tried = false;
    for option in &bench.info.options {
        let wrong = match option.kind.as_str() {
            "string" => json!([UNTOLD]),
            "integer" | "number" | "boolean" | "array" | "object" => json!(UNTOLD),
            _ => continue,
        };
        tried = true;
        let (name, kind) = (&option.name, &option.kind);
        let mut options = bench.options.clone();
        options.insert(name.clone(), wrong.clone());
        let opened = || format!("it opens with {wrong} for option {name:?}, which it declares as {kind}");
        let error = refused(bench, &options, name, opened)?;
        if option.secret && error.to_string().contains(UNTOLD) {
            return Err(format!("it repeats the value of option {name:?}, which it declares as secret: {error}"));
        }
    }
    Ok(if tried { Finding::passed() } else { Finding::skipped("it has no option of one type") })
}

/// These options must be refused by an error that names the one that is wrong.
fn refused(
    bench: &Bench<'_>,
    options: &Map<String, Value>,
    name: &str,
    opened: impl FnOnce() -> String,
) -> Result<CallError, String> {
    let error = match bench.try_open(options) {
        Ok(session) => {
            session.end()?;
            return Err(opened());
        }
        Err(error) => error,
    };
    if error.is_code_fault() {
        return Err(told(&format!("it does not refuse what is wrong with option {name:?}"), &error));
    }
    if !error.to_string().contains(name) {
        return Err(format!("it refuses what is wrong with option {name:?} without naming it: {error}"));
    }
    Ok(error)
}

pub(super) fn open_close(bench: &Bench<'_>) -> Checked {
    // In standby, and without a single poll.
    bench.open()?.end()?;
    let session = bench.serve()?;
    let tables = session.tables()?;
    let mut found: Vec<String> = tables.iter().flat_map(|table| table.problems()).collect();
    let declared = bench.info.tables.iter().map(|table| &table.name);
    let missing = declared.filter(|name| !tables.iter().any(|table| table.name == **name));
    found.extend(missing.map(|name| format!("table {name:?}, which every source is to have, is none of this source's")));
    if !found.is_empty() {
        return Err(format!("its tables break the rules: {}", found.join("; ")));
    }
    session.end()?;
    Ok(Finding::passed())
}
