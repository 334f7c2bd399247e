//! Names of types where a table is declared in JSON.

use arrow_schema::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// A text names no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no type: there are {}", kinds().join(", "), name = .0)]
pub struct BadKind(pub String);

/// Names without parts, and the types that they stand for.
const NAMED: [(&str, DataType); 16] = [
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
    ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("local_timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

/// All names of types.
#[must_use]
pub fn kinds() -> Vec<&'static str> {
    NAMED.iter().map(|(name, _)| *name).chain(["decimal(P,S)", "list(T)"]).collect()
}

/// The type of that name.
///
/// # Errors
///
/// When there is none.
pub fn kind_of_name(name: &str) -> Result<DataType, BadKind> {
    let bad = || BadKind(name.to_owned());
    if name == "timestamp" {
        return Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }
    if let Some((_, kind)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Ok(kind.clone());
    }
    let parts = |of: &str| name.strip_prefix(of)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(of) = parts("list") {
        return Ok(DataType::List(Arc::new(Field::new_list_field(kind_of_name(of)?, true))));
    }
    let (precision, scale) = parts("decimal").and_then(|of| of.split_once(',')).ok_or_else(bad)?;
    match (precision.trim().parse::<u8>(), scale.trim().parse::<i8>()) {
        (Ok(precision @ 1..=38), Ok(scale @ 0..)) if scale.unsigned_abs() <= precision => {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err(bad()),
    }
}

/// As people call it.
pub(super) fn name_of(kind: &DataType) -> String {
    match kind {
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "local_timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(of) => format!("list({})", name_of(of.data_type())),
        other => {
            let named = NAMED.iter().find(|(_, kind)| kind == other);
            named.map_or_else(|| other.to_string(), |(name, _)| (*name).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_written() {
        let others = ["decimal(12,2)", "list(int64)", "list(list(text))", "list(decimal(38,38))"];
        for name in NAMED.iter().map(|(name, _)| *name).chain(others) {
            assert_eq!(name_of(&kind_of_name(name).unwrap()), name);
        }
    }

    #[test]
    fn what_is_no_type() {
        for name in
            ["", "string", "decimal", "decimal(39,2)", "decimal(2,3)", "decimal(2,-1)", "list", "list()", "list(x)"]
        {
            assert!(kind_of_name(name).is_err(), "{name}");
        }
        assert_eq!(
            kind_of_name("string").unwrap_err().to_string(),
            "\"string\" is no type: there are bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, \
             float64, text, binary, date, timestamp, local_timestamp, decimal(P,S), list(T)"
        );
    }
}
