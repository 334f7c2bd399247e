//! Options from one definition: a serde struct gives types, defaults, documentation and parsing.

use crate::info::OptionInfo;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};
use std::cell::RefCell;

/// A driver's options: any struct that derives `Deserialize` and [`JsonSchema`]. Doc comments become descriptions,
/// `#[serde(default)]` makes an option optional, [`Secret`](crate::Secret) makes it secret.
pub trait Options: DeserializeOwned + JsonSchema {}

impl<T: DeserializeOwned + JsonSchema> Options for T {}

/// What `T` declares, in the struct's order.
#[must_use]
pub fn declare<T: Options>() -> Vec<OptionInfo> {
    let schema = SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>();
    let schema = schema.to_value();
    let required: Vec<&str> =
        schema["required"].as_array().map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    properties
        .iter()
        .map(|(name, property)| OptionInfo {
            name: name.clone(),
            kind: kind(property).to_owned(),
            required: required.contains(&name.as_str()),
            secret: is_secret(property),
            default: property["default"].clone(),
            description: property["description"].as_str().unwrap_or_default().replace('\n', " "),
            schema: property.clone(),
        })
        .collect()
}

/// A secret anywhere within the option hides the whole of it.
fn is_secret(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.get("writeOnly") == Some(&Value::Bool(true)) || map.values().any(is_secret),
        Value::Array(items) => items.iter().any(is_secret),
        _ => false,
    }
}

fn kind(schema: &Value) -> &str {
    const KINDS: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];
    let named = |value: &Value| KINDS.into_iter().find(|k| value.as_str() == Some(k));
    if let Some(kind) = named(&schema["type"]) {
        return kind;
    }
    // `Option<T>` is ["string", "null"], or anyOf with null; an enum is oneOf constants.
    let mut kinds: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(named).collect(),
        _ => ["anyOf", "oneOf"]
            .iter()
            .filter_map(|of| schema[of].as_array())
            .flatten()
            .filter(|s| s["type"] != "null")
            .map(kind)
            .collect(),
    };
    kinds.dedup();
    if let [one] = kinds[..] {
        return one;
    }
    if schema["enum"].is_array() || schema["const"].is_string() { "string" } else { "any" }
}

/// What is wrong with a configuration, everything at once: unknown options with the nearest known one, missing ones,
/// values of another type. A secret's value is never quoted.
#[must_use]
pub fn problems(declared: &[OptionInfo], given: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for name in given.keys().filter(|name| !declared.iter().any(|o| &o.name == *name)) {
        let near = nearest(name, declared.iter().map(|o| o.name.as_str()));
        found.push(match near {
            Some(near) => format!("unknown option {name:?}: did you mean {near:?}?"),
            None if declared.is_empty() => format!("unknown option {name:?}: the driver has none"),
            None => format!("unknown option {name:?}: the driver has {}", list(declared)),
        });
    }
    for option in declared {
        match given.get(&option.name) {
            None | Some(Value::Null) if option.required => {
                found.push(format!("missing option {:?} ({}){}", option.name, option.kind, colon(&option.description)));
            }
            None | Some(Value::Null) => {}
            Some(value) if !fits(&option.kind, value) => {
                let got = if option.secret { "<hidden>".to_owned() } else { value.to_string() };
                found.push(format!("option {:?} takes {}, got {got}", option.name, article(&option.kind)));
            }
            Some(_) => {}
        }
    }
    found
}

/// The name that was probably meant, if one is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn article(kind: &str) -> String {
    match kind {
        "integer" => "a whole number".to_owned(),
        "array" => "a list".to_owned(),
        "object" => "a table".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => format!("a {other}"),
    }
}

fn list(declared: &[OptionInfo]) -> String {
    declared.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// The options of a configuration.
///
/// # Errors
///
/// All problems at once, as [`problems`] finds them, then what serde says.
pub fn parse<T: Options>(given: &Map<String, Value>) -> Result<T, Vec<String>> {
    let declared = declare::<T>();
    let found = problems(&declared, given);
    if !found.is_empty() {
        return Err(found);
    }
    // Null means "not set": serde would take it for a value where there is a default.
    let given: Map<String, Value> =
        given.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    // Serde's errors don't say which option they are about: that is the one it was handed last.
    let at = RefCell::new(None);
    let known = given.into_iter().inspect(|(name, _)| *at.borrow_mut() = Some(name.clone())).map(Some);
    // Behind the last one, it is about none of them.
    let ended = std::iter::once_with(|| {
        at.take();
        None
    });
    let map = MapDeserializer::new(known.chain(ended).flatten());
    T::deserialize(map).map_err(|e: serde_json::Error| {
        vec![match at.borrow().as_ref().and_then(|name| declared.iter().find(|option| &option.name == name)) {
            Some(option) if option.secret => format!("option {:?} has an unfit value", option.name),
            Some(option) => format!("option {:?}: {e}", option.name),
            None => e.to_string(),
        }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use serde_json::json;

    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow,
    }

    fn four() -> u32 {
        4
    }

    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only its declaration is read")]
    struct Example {
        /// Where it lies.
        path: String,
        #[serde(default = "four")]
        tries: u32,
        ratio: Option<f64>,
        password: Option<Secret<String>>,
        mode: Option<Mode>,
        #[serde(default)]
        names: Vec<String>,
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn one_definition_declares_everything() {
        let declared = declare::<Example>();
        let line = |o: &OptionInfo| {
            format!("{} {} {} {} {} {}", o.name, o.kind, o.required, o.secret, o.default, o.description)
        };
        assert_eq!(
            declared.iter().map(line).collect::<Vec<_>>(),
            [
                "path string true false null Where it lies.",
                "tries integer false false 4 ",
                "ratio number false false null ",
                "password string false true null ",
                "mode string false false null ",
                "names array false false [] ",
            ]
        );
    }

    #[test]
    fn all_problems_at_once_and_no_secret_quoted() {
        let given = object(json!({"pth": "x", "tries": "many", "password": 7, "zzz": 1, "ratio": null}));
        assert_eq!(
            problems(&declare::<Example>(), &given),
            [
                "unknown option \"pth\": did you mean \"path\"?",
                "unknown option \"zzz\": the driver has path, tries, ratio, password, mode, names",
                "missing option \"path\" (string): Where it lies.",
                "option \"tries\" takes a whole number, got \"many\"",
                "option \"password\" takes a string, got <hidden>",
            ]
        );
    }

    #[test]
    fn defaults_fill_in_and_serde_has_the_last_word() {
        let parsed = parse::<Example>(&object(json!({"path": "/", "tries": null, "mode": "slow"})));
        assert!(parsed.is_ok_and(|p| p.tries == 4 && p.names.is_empty() && matches!(p.mode, Some(Mode::Slow))));
        let refused = parse::<Example>(&object(json!({"path": "/", "mode": "medium"}))).err().unwrap_or_default();
        assert!(refused[0].contains("unknown variant `medium`"), "{refused:?}");
        assert!(matches!(Mode::Fast, Mode::Fast));
    }
}
