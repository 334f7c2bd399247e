//! Names of column types, for tables that are declared in a configuration or a request.

use arrow_schema::{DataType, Field, TimeUnit};
use std::fmt;
use std::sync::Arc;

/// A text names no type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadKind(pub String);

impl fmt::Display for BadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no type: there are {}", self.0, kinds().join(", "))
    }
}

impl std::error::Error for BadKind {}

/// Lists in lists, at most: deeper ones would be for nobody.
const DEEPEST: usize = 8;

/// Names without parts, and the types that they stand for.
const NAMED: [(&str, DataType); 15] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("text", DataType::Utf8),
    ("binary", DataType::Binary),
    ("date", DataType::Date32),
    ("local_timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

/// All names of types: those that clients of a host use as well.
#[must_use]
pub fn kinds() -> Vec<&'static str> {
    let mut names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
    names.insert(names.len() - 1, "timestamp");
    names.extend(["decimal(P,S)", "list(T)"]);
    names
}

/// The type of that name: `int64`, `text`, `timestamp` (of microseconds, in UTC), `decimal(12,2)`, `list(int64)` …
///
/// # Errors
///
/// When there is none.
pub fn kind_of_name(name: &str) -> Result<DataType, BadKind> {
    kind_within(name, 0).ok_or_else(|| BadKind(name.to_owned()))
}

fn kind_within(name: &str, depth: usize) -> Option<DataType> {
    if depth > DEEPEST {
        return None;
    }
    if name == "timestamp" {
        return Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }
    if let Some((_, kind)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some(kind.clone());
    }
    let parts = |of: &str| name.strip_prefix(of)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(of) = parts("list") {
        return Some(DataType::List(Arc::new(Field::new_list_field(kind_within(of, depth + 1)?, true))));
    }
    let (precision, scale) = parts("decimal")?.split_once(',')?;
    match (precision.trim().parse().ok()?, scale.trim().parse().ok()?) {
        (precision @ 1..=38_u8, scale @ 0_i8..) if scale.unsigned_abs() <= precision => {
            Some(DataType::Decimal128(precision, scale))
        }
        _ => None,
    }
}

/// A type's name; of one that has none, Arrow's own.
#[must_use]
pub fn name_of_kind(kind: &DataType) -> String {
    match kind {
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "local_timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(of) => format!("list({})", name_of_kind(of.data_type())),
        other => {
            let named = NAMED.iter().find(|(_, kind)| kind == other);
            named.map_or_else(|| other.to_string(), |(name, _)| (*name).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_is_read_and_written() {
        let others = ["decimal(12,2)", "list(int64)", "list(list(text))", "list(decimal(38,38))"];
        let plain = kinds().into_iter().filter(|name| !name.contains('('));
        for name in plain.chain(others) {
            assert_eq!(name_of_kind(&kind_of_name(name).unwrap()), name);
        }
    }

    #[test]
    fn what_is_no_type() {
        let deep = format!("{}text{}", "list(".repeat(9), ")".repeat(9));
        let deepest = format!("{}text{}", "list(".repeat(8), ")".repeat(8));
        assert!(kind_of_name(&deepest).is_ok());
        for name in [
            "",
            "string",
            "decimal",
            "decimal(39,2)",
            "decimal(2,3)",
            "decimal(2,-1)",
            "list",
            "list()",
            "list(x)",
            &deep,
        ] {
            assert!(kind_of_name(name).is_err(), "{name}");
        }
        assert_eq!(
            kind_of_name("string").unwrap_err().to_string(),
            "\"string\" is no type: there are bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, \
             float64, text, binary, date, timestamp, local_timestamp, decimal(P,S), list(T)"
        );
    }
}
