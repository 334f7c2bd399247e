//! `busway plugin new`: a crate that builds, tests and loads, for a driver's author to begin with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use busway_plugin_api::info::is_driver_id;
use serde_json::json;

use super::super::client::reason;
use super::super::failure::Failure;
use super::super::output::{Format, Output};

/// Make a crate for a new driver: a table, options, an action and tests, which build and load as they are
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  busway plugin new folder
  busway plugin new folder --path drivers/folder
  busway plugin new folder --sdk ~/src/busway/plugin-api

The crate depends on busway-plugin-api by its version; with --sdk on the sources in a directory, for as long as no registry
has that version, or to try changes of it. Nothing is built, and no host is asked.

JSON: {\"schema_version\":1,\"driver\",\"path\",\"files\"}")]
pub(crate) struct NewArguments {
    /// The driver's id, and the crate's name: a lower-case letter, then at most 63 of a-z, 0-9, - and _
    name: String,
    /// Where the crate goes; else a directory of the driver's name, here
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The directory of busway-plugin-api's sources, to depend on instead of its published version
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Files and what they hold.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("template/lib.rs.txt")),
    ("README.md", include_str!("template/README.md.txt")),
    (".gitignore", include_str!("template/gitignore.txt")),
];

/// Makes the crate.
pub(crate) fn new(arguments: &NewArguments, output: &mut Output) -> Result<(), Failure> {
    let name = &arguments.name;
    if let Some((what, remedy)) = misnamed(name) {
        return Err(Failure::Usage { what, remedy });
    }
    let folder = arguments.path.clone().unwrap_or_else(|| PathBuf::from(name));
    let sdk = arguments.sdk.as_deref().map(sdk).transpose()?;
    let files = FILES.map(|(file, text)| (file, filled(text, name, sdk.as_deref())));
    write(&folder, &files)?;
    let shown = folder.display();
    match output.format() {
        Format::Table => {
            output.line(&format!("made {shown}: driver {name}, with a table, options, an action and tests"))?;
            output.line("next:")?;
            let library = format!("target/release/{}", library(name));
            let steps = [
                format!("cd {shown}"),
                "busway dev".to_owned(),
                "cargo test".to_owned(),
                "cargo build --release".to_owned(),
                format!("busway plugin test {library} --option name=Ada"),
                format!("busway run --plugins {}", Path::new(&library).parent().unwrap_or(&folder).display()),
            ];
            steps.iter().try_for_each(|step| output.line(&format!("  {step}")))
        }
        format => {
            let files: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
            let made = json!({"driver": name, "path": folder, "files": files});
            if format == Format::Json { output.json_document(&made) } else { output.json_line(&made) }
        }
    }
}

/// What is wrong with a name, and what to write instead.
fn misnamed(name: &str) -> Option<(String, String)> {
    if !is_driver_id(name) {
        let what = format!("{name:?} can't be a driver's id");
        return Some((what, "a lower-case letter, then at most 63 of a-z, 0-9, - and _".to_owned()));
    }
    // Cargo refuses them as crates' names, as do its output folder and the language.
    const TAKEN: [&str; 14] = [
        "build",
        "deps",
        "examples",
        "incremental",
        "test",
        "core",
        "std",
        "alloc",
        "proc_macro",
        "proc-macro",
        "serde",
        "busway",
        "busway-plugin-api",
        "busway_plugin_api",
    ];
    const WORDS: [&str; 36] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "if", "impl", "in", "let", "loop", "macro", "match",
        "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    ];
    const MORE_WORDS: [&str; 15] = [
        "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where",
        "while", "yield", "gen",
    ];
    [&TAKEN[..], &WORDS, &MORE_WORDS].concat().contains(&name).then(|| {
        let remedy = format!("{name}-driver");
        (format!("{name:?} can't be a crate's name: cargo or the language has it already"), remedy)
    })
}

/// The directory as a dependency names it.
fn sdk(folder: &Path) -> Result<String, Failure> {
    let refuse = |why: String| Failure::File { path: folder.to_owned(), why };
    let folder = fs::canonicalize(folder).map_err(|error| refuse(reason(&error)))?;
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    if !manifest.contains("name = \"busway-plugin-api\"") {
        return Err(refuse(
            "these are not the sources of busway-plugin-api: name its directory, plugin-api".to_owned(),
        ));
    }
    folder.to_str().map(str::to_owned).ok_or_else(|| refuse("its path is not UTF-8".to_owned()))
}

fn filled(text: &str, name: &str, sdk: Option<&str>) -> String {
    let sdk = match sdk {
        // Of all strings JSON's form is one of TOML's.
        Some(path) => format!("{{ path = {} }}", json!(path)),
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
    };
    text.replace("{{name}}", name)
        .replace("{{type}}", &type_name(name))
        .replace("{{library}}", &library(name))
        .replace("{{rust}}", env!("CARGO_PKG_RUST_VERSION"))
        .replace("{{sdk}}", &sdk)
}

/// The file that cargo makes of the crate.
fn library(name: &str) -> String {
    format!("lib{}.so", name.replace('-', "_"))
}

/// `web-shop` is `WebShop`. What the template has as a type already gets another name.
fn type_name(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    let joined: String = words.map(capital).collect();
    const TAKEN: [&str; 26] = [
        "Options",
        "Greeting",
        "Driver",
        "Source",
        "Context",
        "Error",
        "PollSource",
        "TableSpec",
        "ActionInfo",
        "Args",
        "Batches",
        "Change",
        "Overlap",
        "Retry",
        "Secret",
        "StateInfo",
        "Update",
        "JsonSchema",
        "Serialize",
        "Deserialize",
        "Option",
        "Result",
        "String",
        "Vec",
        "Ok",
        "Err",
    ];
    if TAKEN.contains(&joined.as_str()) || ["Some", "None", "Box", "Self", "TestHost"].contains(&joined.as_str()) {
        return format!("{joined}Driver");
    }
    joined
}

/// Writes all files, or none: what is there stays as it is.
fn write(folder: &Path, files: &[(&str, String)]) -> Result<(), Failure> {
    let refuse = |path: &Path, error: &io::Error| Failure::File { path: path.to_owned(), why: reason(error) };
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| refuse(parent, &error))?;
    }
    fs::create_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::File {
            path: folder.to_owned(),
            why: "it is there already, and nothing in it was changed: name another directory with --path".to_owned(),
        },
        _ => refuse(folder, &error),
    })?;
    for (file, text) in files {
        let path = folder.join(file);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        if let Err(error) = written {
            let _ = fs::remove_dir_all(folder);
            return Err(refuse(&path, &error));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_types_and_libraries() {
        let types = ["web-shop", "a__b-", "x9", "error", "options"].map(type_name);
        assert_eq!(types, ["WebShop", "AB", "X9", "ErrorDriver", "OptionsDriver"]);
        assert_eq!(library("web-shop"), "libweb_shop.so");
    }

    #[test]
    fn names_that_can_t_be_are_told() {
        assert_eq!(misnamed("folder"), None);
        let told = |name: &str| misnamed(name).map(|(what, remedy)| format!("{what}; {remedy}")).unwrap();
        let id = "a lower-case letter, then at most 63 of a-z, 0-9, - and _";
        assert_eq!(told("My Driver"), format!("\"My Driver\" can't be a driver's id; {id}"));
        assert_eq!(told("../x"), format!("\"../x\" can't be a driver's id; {id}"));
        assert_eq!(
            told("match"),
            "\"match\" can't be a crate's name: cargo or the language has it already; match-driver"
        );
        assert!(misnamed("test").is_some() && misnamed("where").is_some() && misnamed("").is_some());
    }

    #[test]
    fn a_path_is_quoted_and_nothing_is_left_to_fill_in() {
        let toml = filled(FILES[0].1, "one", Some("/a \"b\"\\c"));
        assert!(toml.contains("busway-plugin-api = { path = \"/a \\\"b\\\"\\\\c\" }"), "{toml}");
        for (file, text) in FILES {
            assert!(!filled(text, "one", None).contains("{{"), "{file}");
        }
        let version = env!("CARGO_PKG_VERSION");
        assert!(filled(FILES[0].1, "one", None).contains(&format!("busway-plugin-api = \"{version}\"")));
    }
}
