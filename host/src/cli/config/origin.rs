//! Where a value of the configuration comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody said it.
    Default,
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// A variable.
    Variable(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl Origin {
    /// For programs.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Default => json!({"kind": "default"}),
            Self::File(path, line) => json!({"kind": "file", "path": path, "line": line}),
            Self::Variable(name) => json!({"kind": "environment", "variable": name}),
            Self::Flag(flag) => json!({"kind": "flag", "flag": flag}),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The arguments that override a key of the file: clap's id, the key, the flag, the variable.
const OVERRIDES: [(&str, &str, &str, &str); 6] = [
    ("plugins", "plugins.directories", "--plugins", "BUSWAY_PLUGINS"),
    ("listen", "listen.tcp", "--listen", "BUSWAY_LISTEN"),
    ("socket", "listen.socket", "--socket", "BUSWAY_SOCKET"),
    ("state_dir", "state_dir", "--state-dir", "BUSWAY_STATE_DIR"),
    ("log", "log.filter", "--log", "BUSWAY_LOG"),
    ("log_format", "log.format", "--log-format", "BUSWAY_LOG_FORMAT"),
];

/// What flags and variables say, by the key of the file that each overrides.
#[derive(Debug, Default)]
pub(crate) struct Given(BTreeMap<&'static str, Origin>);

impl Given {
    /// Of the command that was called, however deep.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut matches = matches;
        while let Some((_, deeper)) = matches.subcommand() {
            matches = deeper;
        }
        let has = |id: &str| matches.ids().any(|known| known.as_str() == id);
        let one = |(id, key, flag, variable)| match has(id).then(|| matches.value_source(id)).flatten() {
            Some(ValueSource::CommandLine) => Some((key, Origin::Flag(flag))),
            Some(ValueSource::EnvVariable) => Some((key, Origin::Variable(variable))),
            _ => None,
        };
        Self(OVERRIDES.into_iter().filter_map(one).collect())
    }

    /// What overrides that key.
    pub(super) fn get(&self, key: &str) -> Option<&Origin> {
        self.0.get(key)
    }
}

/// The lines of a file's keys, by their names joined by dots. Parts of a value that is no table have none.
pub(super) fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    // A file that is none was refused before.
    if let Ok(table) = DeTable::parse(text) {
        walk(text, "", table.get_ref(), &mut lines);
    }
    lines
}

fn walk(text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => walk(text, &format!("{name}."), table, lines),
            _ => {
                let at = key.span().start.min(text.len());
                lines.insert(name, text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_of_a_file_has_its_line() {
        let text = "# a file\nnode = 'é'\n[listen]\n\ntcp = '127.0.0.1:1'\n[datasource.'web']\ndriver = 'files'\noptions = { path = \
                    '/srv' }\n[datasource.web2.options]\na.b = 1\n";
        let lines = lines(text);
        let expected = [
            ("datasource.web.driver", 7),
            ("datasource.web.options.path", 8),
            ("datasource.web2.options.a.b", 10),
            ("listen.tcp", 5),
            ("node", 2),
        ];
        assert_eq!(lines, expected.map(|(key, line)| (key.to_owned(), line)).into());
    }
}
