//! What a datasource may set.

use crate::declared::Types;
use crate::directory;
use busway_plugin_api::abi::Status;
use busway_plugin_api::prelude::*;
use busway_plugin_api::table::kind_of_name;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The largest file that may be allowed: Arrow's text columns count their bytes in 31 bits.
const LARGEST: u64 = i32::MAX as u64;

/// As they are given.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Options {
    /// The directory; a relative one starts at the host's working directory.
    path: String,
    /// The character between the cells of a .csv file; in a .tsv file it is always the tab.
    #[serde(default = "comma")]
    delimiter: String,
    /// Whether the first row of a CSV file names the columns; otherwise they are column_1, column_2 and so on.
    #[serde(default = "yes")]
    header: bool,
    /// The key columns of tables, by the table's name: {"sales": ["id"]}. Keys hold no nulls, floats, lists or structs.
    #[serde(default)]
    key: BTreeMap<String, Vec<String>>,
    /// The types of columns, by the table's name: {"sales": {"id": "int64", "total": "decimal(12,2)"}}. The others' are found
    /// out. Types are bool, int8 to int64, uint8 to uint64, float32, float64, text, binary, date, timestamp,
    /// local_timestamp, decimal(P,S), list(T).
    #[serde(default)]
    types: BTreeMap<String, BTreeMap<String, String>>,
    /// A larger file is not read; at most 2147483647.
    #[serde(default = "max_file_bytes")]
    max_file_bytes: u64,
}

fn comma() -> String {
    ",".to_owned()
}

fn yes() -> bool {
    true
}

fn max_file_bytes() -> u64 {
    256 << 20
}

/// The options, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Between the cells of a `.csv` file.
    pub(crate) delimiter: char,
    /// Whether a CSV file's first row names its columns.
    pub(crate) header: bool,
    /// Key columns by table.
    pub(crate) key: BTreeMap<String, Vec<String>>,
    /// Declared types by table.
    pub(crate) types: BTreeMap<String, Types>,
    /// A larger file is not read.
    pub(crate) max_file_bytes: u64,
}

impl Options {
    /// Finds what types alone do not: all problems at once.
    pub(crate) fn check(self) -> Result<Settings, Error> {
        let mut problems = Vec::new();
        if self.path.is_empty() {
            problems.push("option \"path\" is empty: it takes a directory".to_owned());
        }
        let mut characters = self.delimiter.chars();
        let delimiter = match (characters.next(), characters.next()) {
            (Some(one), None) if !matches!(one, '"' | '\r' | '\n' | '\0') => one,
            _ => {
                let got = &self.delimiter;
                problems.push(format!("option \"delimiter\" takes one character, no quote or line end, got {got:?}"));
                ','
            }
        };
        let mut named = |option: &str, table: &String| {
            let name = directory::table_name(table);
            if &name != table || table.is_empty() {
                problems.push(format!("option {option:?}: no table can be named {table:?}; did you mean {name:?}?"));
            }
        };
        self.key.keys().for_each(|table| named("key", table));
        self.types.keys().for_each(|table| named("types", table));
        for (table, columns) in &self.key {
            if columns.is_empty() {
                problems.push(format!("option \"key\": table {table:?} has no key columns: name one, or leave it out"));
            }
            for (i, column) in columns.iter().enumerate() {
                if columns[..i].contains(column) {
                    problems.push(format!("option \"key\": table {table:?} has column {column:?} twice"));
                }
            }
        }
        let mut types: BTreeMap<String, Types> = BTreeMap::new();
        for (table, columns) in &self.types {
            if columns.is_empty() {
                problems.push(format!("option \"types\": table {table:?} has no columns: name one, or leave it out"));
            }
            for (column, name) in columns {
                if column.is_empty() || column.contains('\0') {
                    problems.push(format!("option \"types\": table {table:?}: no column can be named {column:?}"));
                }
                match kind_of_name(name) {
                    Ok(kind) => drop(types.entry(table.clone()).or_default().insert(column.clone(), kind)),
                    Err(e) => problems.push(format!("option \"types\": table {table:?}, column {column:?}: {e}")),
                }
            }
        }
        if !(1..=LARGEST).contains(&self.max_file_bytes) {
            let got = self.max_file_bytes;
            problems.push(format!("option \"max_file_bytes\" takes a number from 1 to {LARGEST}, got {got}"));
        }
        if !problems.is_empty() {
            let message = "the options of the files driver are wrong";
            return Err(Error::with_status(Status::INVALID, message).problems(problems));
        }
        let (header, key, max_file_bytes) = (self.header, self.key, self.max_file_bytes);
        Ok(Settings { path: self.path.into(), delimiter, header, key, types, max_file_bytes })
    }
}

#[cfg(test)]
mod tests {
    use crate::Files;
    use busway_plugin_api::testing::TestHost;
    use serde_json::json;

    #[test]
    fn all_wrong_options_at_once() {
        let wrong = json!({"path": "", "delimiter": ";;", "max_file_bytes": 0, "key": {"a b": ["x", "x"], "c": []},
            "types": {"d/e": {"n": "int64"}, "f": {}, "g": {"n": "number", "": "text"}}});
        let refused = TestHost::new().open::<Files>(wrong).unwrap_err().body().problems.join("\n");
        let expected = "\
            option \"path\" is empty: it takes a directory\n\
            option \"delimiter\" takes one character, no quote or line end, got \";;\"\n\
            option \"key\": no table can be named \"a b\"; did you mean \"a_b\"?\n\
            option \"types\": no table can be named \"d/e\"; did you mean \"d_e\"?\n\
            option \"key\": table \"a b\" has column \"x\" twice\n\
            option \"key\": table \"c\" has no key columns: name one, or leave it out\n\
            option \"types\": table \"f\" has no columns: name one, or leave it out\n\
            option \"types\": table \"g\": no column can be named \"\"\n\
            option \"types\": table \"g\", column \"n\": \"number\" is no type: there are bool, int8, int16, int32, int64, \
            uint8, uint16, uint32, uint64, float32, float64, text, binary, date, timestamp, local_timestamp, decimal(P,S), \
            list(T)\n\
            option \"max_file_bytes\" takes a number from 1 to 2147483647, got 0";
        assert_eq!(refused, expected);
        let unknown = TestHost::new().open::<Files>(json!({"path": ".", "delimeter": ";"})).unwrap_err().to_string();
        assert!(unknown.contains("did you mean \"delimiter\"?"), "{unknown}");
    }

    #[test]
    fn it_describes_itself() {
        let info = TestHost::describe::<Files>().unwrap();
        let options: Vec<String> =
            info.options.iter().map(|o| format!("{} {} {}", o.name, o.kind, o.default)).collect();
        let expected = [
            "path string null",
            "delimiter string \",\"",
            "header boolean true",
            "key object {}",
            "types object {}",
            "max_file_bytes integer 268435456",
        ];
        assert_eq!(options, expected);
        assert!(info.options.iter().all(|option| !option.description.is_empty()));
    }
}
